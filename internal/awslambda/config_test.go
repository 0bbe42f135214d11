package awslambda

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func environment(pairs ...string) func(string) string {
	env := map[string]string{"AWS_REGION": west2, "ROAM_GROUP": groupOf(west2), "ROAM_GLOBAL": global}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return env[name] }
}

func TestReadConfig(t *testing.T) {
	c := setup(west2, DriveRecord, DriveControl, DriveMetric)
	var endpoints []string
	for _, e := range c.Endpoints {
		endpoints = append(endpoints, e.Region+"="+e.URL)
	}
	got, err := ReadConfig(environment("ROAM_DRIVE", "record, control,metric", "ROAM_ZONE", zone, "ROAM_NAME", name,
		"ROAM_CONTROL", c.Control, "ROAM_CONTROLS_OFF", strings.Join(c.Off, ","), "ROAM_ENDPOINTS", strings.Join(endpoints, ",")))
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("ReadConfig = %+v, %v, want %+v", got, err, c)
	}
	got, err = ReadConfig(environment("ROAM_FUNCTION", Promote, "ROAM_SWITCH", kill, "ROAM_MEMORY", memory,
		"ROAM_ALARMS", "errors,latency,cpu", "ROAM_PATIENCE", "2m"))
	want := promoter()
	if err != nil || !reflect.DeepEqual(got.Rules, want.Rules) || got.CacheCluster != want.CacheCluster || got.Switch != kill {
		t.Errorf("ReadConfig = %+v, %v, want rules %+v", got, err, want.Rules)
	}
	got, err = ReadConfig(environment("ROAM_DRIVE", "metric", "ROAM_STANDALONE", "primary", "ROAM_ADOPT", "yes", "ROAM_NAMESPACE", "Shop"))
	if err != nil || !got.Place.Standalone || !got.Adopt || got.Namespace != "Shop" {
		t.Errorf("ReadConfig = %+v, %v", got, err)
	}
}

// A sweeper needs no Global Datastore.
func TestReadConfigOfASweeper(t *testing.T) {
	got, err := ReadConfig(environment("ROAM_FUNCTION", Sweep, "ROAM_TABLE", table, "ROAM_GROUP", "", "ROAM_GLOBAL", ""))
	if err != nil || !reflect.DeepEqual(got, sweeper()) {
		t.Errorf("ReadConfig = %+v, %v, want %+v", got, err, sweeper())
	}
}

func TestReadConfigFaults(t *testing.T) {
	for what, c := range map[string]struct {
		pairs []string
		want  []string
	}{
		"nothing":           {[]string{"AWS_REGION", "", "ROAM_GROUP", "", "ROAM_GLOBAL", ""}, []string{"AWS_REGION", "ROAM_GROUP", "ROAM_GLOBAL", "ROAM_DRIVE"}},
		"another function":  {[]string{"ROAM_FUNCTION", "demote"}, []string{"ROAM_FUNCTION"}},
		"another drive":     {[]string{"ROAM_DRIVE", "record,car"}, []string{"ROAM_DRIVE", "ROAM_ZONE", "ROAM_NAME"}},
		"controls":          {[]string{"ROAM_DRIVE", "control", "ROAM_CONTROL", "a", "ROAM_CONTROLS_OFF", "a"}, []string{"ROAM_CONTROLS_OFF", "ROAM_ENDPOINTS"}},
		"a TTL":             {[]string{"ROAM_DRIVE", "record", "ROAM_ZONE", zone, "ROAM_NAME", name, "ROAM_TTL", "10"}, []string{"ROAM_TTL"}},
		"words":             {[]string{"ROAM_DRIVE", "metric", "ROAM_STANDALONE", "yes", "ROAM_ADOPT", "true"}, []string{"ROAM_STANDALONE", "ROAM_ADOPT"}},
		"a promoter":        {[]string{"ROAM_FUNCTION", Promote}, []string{"ROAM_SWITCH", "ROAM_MEMORY", "ROAM_ALARMS"}},
		"too many to alarm": {[]string{"ROAM_FUNCTION", Promote, "ROAM_ALARMS", "a,b", "ROAM_NEED", "3"}, []string{"ROAM_ALARMS"}},
		"none to alarm":     {[]string{"ROAM_FUNCTION", Promote, "ROAM_ALARMS", "a,b", "ROAM_NEED", "0"}, []string{"ROAM_ALARMS"}},
		"a sweeper":         {[]string{"ROAM_FUNCTION", Sweep, "AWS_REGION", ""}, []string{"AWS_REGION", "ROAM_TABLE"}},
		"a table's ARN":     {[]string{"ROAM_FUNCTION", Sweep, "ROAM_TABLE", "arn:aws:dynamodb:us-west-2:123456789012:table/a"}, []string{"ROAM_TABLE"}},
		"a short cooldown":  {[]string{"ROAM_FUNCTION", Promote, "ROAM_ALARMS", "a,b", "ROAM_COOLDOWN", "1m"}, []string{"ROAM_COOLDOWN"}},
	} {
		_, err := ReadConfig(environment(c.pairs...))
		if err == nil {
			t.Errorf("%s: it was taken", what)
			continue
		}
		for _, name := range c.want {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v does not name %s", what, err, name)
			}
		}
	}
	if c, err := ReadConfig(environment("ROAM_DRIVE", "record", "ROAM_ZONE", zone, "ROAM_NAME", name)); err != nil || c.TTL != 10*time.Second {
		t.Errorf("ReadConfig = %+v, %v", c, err)
	}
}
