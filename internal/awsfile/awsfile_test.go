package awsfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/yamlfile"
)

func TestExampleIsGood(t *testing.T) {
	f, plan, err := Parse([]byte(Example()))
	if err != nil {
		t.Fatalf("Parse(Example()) = %v, want nil", err)
	}
	if plan.Name != "sessions" || len(plan.Steps) < 8 || len(plan.Undo()) < 8 || f.Settings.Regions[1].CIDR != "10.2.0.0/16" || f.Account != "" {
		t.Errorf("the example is %+v, with %d steps", f, len(plan.Steps))
	}
}

// full has every key there is.
const full = `
version: 1
name: shop
account: "123456789012"
role: arn:aws:iam::123456789012:role/deploy/cfn
variant: cache
regions: [{name: us-west-1, cidr: 10.1.0.0/16, zones: 3}, {name: us-west-2, cidr: 10.2.0.0/16}]
witness: {name: us-east-1, cidr: 10.3.0.0/16}
strong: true
cluster_mode: true
dns: arc
migrated: true
promoter: nodes
shop: true
edge: true
certificate: {us-west-1: arn:c1, us-west-2: arn:c2}
networks: 7
transit: true
domain: session.internal
artifacts: {us-west-1: b1, us-west-2: b2, us-east-1: b3}
release: v1
architecture: amd64
shards: 2
replicas: 0
node_type: cache.r7g.xlarge
engine_version: "8.1"
side: true
mail: on@call.example
retain: data
`

// Every setting has a key, and every key is one's.
func TestParseReadsEveryKey(t *testing.T) {
	in, top := yamlfile.Parse([]byte(full), "")
	f := read(top)
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	zero := 0
	want := awsplan.Settings{
		Name: "shop", Regions: []awsplan.Region{{Name: "us-west-1", CIDR: "10.1.0.0/16", Zones: 3}, {Name: "us-west-2", CIDR: "10.2.0.0/16"}},
		Witness: awsplan.Region{Name: "us-east-1", CIDR: "10.3.0.0/16"}, Variant: "cache", Strong: true, ClusterMode: true, DNS: "arc", Promoter: "nodes",
		Shop: true, Edge: true, Certificate: map[string]string{"us-west-1": "arn:c1", "us-west-2": "arn:c2"}, Networks: 7, Transit: true, Migrated: true,
		Domain: "session.internal", Artifacts: map[string]string{"us-west-1": "b1", "us-west-2": "b2", "us-east-1": "b3"}, Release: "v1",
		Architecture: "amd64", Shards: 2, Replicas: &zero, NodeType: "cache.r7g.xlarge", EngineVersion: "8.1", Side: true, Mail: "on@call.example", Retain: "data",
	}
	if !reflect.DeepEqual(f.Settings, want) || f.Account != "123456789012" || f.Role != "arn:aws:iam::123456789012:role/deploy/cfn" {
		t.Errorf("it reads\n%+v, and wants\n%+v", f, want)
	}
	v := reflect.ValueOf(f.Settings)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("no key sets %s", v.Type().Field(i).Name)
		}
	}
}

// Every fault is told at once, where it is and what to do about it, the plan's too: a file of testdata/faults, whose
// comments say what is expected of it.
func TestParseTellsAllFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v; want files", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(text)) {
			if _, fault, ok := strings.Cut(line, "#! "); ok {
				want = append(want, strings.TrimSpace(fault))
			}
		}
		_, _, err = Parse(text)
		var faults yamlfile.Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: Parse = %v, want Faults", name, err)
			continue
		}
		var got []string
		for _, f := range faults {
			got = append(got, fmt.Sprintf("%d %s: %s", f.Line, f.Path, f.What))
			if f.Mend == "" {
				t.Errorf("%s: %v does not say what to do", name, f)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(Example()))
	files, _ := filepath.Glob("testdata/faults/*.yaml") // another test wants some
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, plan, err := Parse(text)
		var faults yamlfile.Faults
		switch {
		case err == nil && (plan.Name != file.Settings.Name || len(plan.Steps) == 0):
			t.Errorf("Parse = %+v, and no error", plan)
		case err != nil && !errors.As(err, &faults):
			t.Errorf("Parse = %v, want Faults", err)
		}
	})
}
