package awslambda

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns/arc"
)

const (
	west1, west2 = "us-west-1", "us-west-2"
	global       = "virxk-sessions"
	zone         = "Z0123456789"
	name         = "write.session.internal"
	panel        = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef0123456789abcdef/routingcontrol/"
)

func groupOf(region string) string {
	return map[string]string{west1: "session-usw1", west2: "session-usw2"}[region]
}

func endpointOf(region string) string { return awstest.Endpoint("master", groupOf(region), region) }

// newWorld returns a Global Datastore of two Regions, and a record that leads to one of them.
func newWorld(primary, record string) *awstest.World {
	w := &awstest.World{
		Cache: awstest.Cache{Global: global, Members: []awstest.Member{
			{ID: groupOf(west1), Region: west1}, {ID: groupOf(west2), Region: west2},
		}},
		Route53: awstest.Route53{Zone: zone, Sync: 30 * time.Second},
		Routing: awstest.Routing{On: map[string]bool{panel + west1: record == west1, panel + west2: record == west2}},
	}
	w.Cache.Promote(primary)
	setRecord(w, record)
	return w
}

// setRecord makes the record lead to a Region's endpoint, to an address, or nowhere.
func setRecord(w *awstest.World, to string) {
	r := awstest.RecordSet{Name: name + ".", Type: "CNAME", TTL: 10, Values: []string{endpointOf(to)}}
	switch {
	case to == "":
		return
	case groupOf(to) == "":
		r.Type, r.Values = "A", []string{to}
	}
	w.Route53.Records = append(w.Route53.Records, r)
}

// getRecord tells where the record leads, in the words of setRecord.
func getRecord(w *awstest.World) string {
	for _, r := range w.Route53.Records {
		if r.Name == name+"." {
			for _, region := range []string{west1, west2} {
				if r.Values[0] == endpointOf(region) {
					return region
				}
			}
			return r.Values[0]
		}
	}
	return ""
}

func setup(region string, drive ...string) Config {
	c := Config{
		Function: Reconcile, Place: Place{Region: region, Group: groupOf(region), Global: global}, Namespace: "SessionStore",
		Drive: drive, Zone: zone, Name: name, TTL: 10 * time.Second, Control: panel + region,
		Off: slices.DeleteFunc([]string{panel + west1, panel + west2}, func(arn string) bool { return arn == panel+region }),
	}
	for _, r := range []string{"us-east-1", "us-west-2", "eu-west-1", "ap-southeast-2", "ap-northeast-1"} {
		c.Endpoints = append(c.Endpoints, arc.Endpoint{URL: "https://abc.route53-recovery-cluster." + r + ".amazonaws.com/v1", Region: r})
	}
	return c
}

func function(t *testing.T, w *awstest.World, c Config) (Function, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	f, err := New(c, aws.Config{
		Region: c.Place.Region, HTTPClient: w, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, ""),
	}, "", &out)
	if err != nil {
		t.Fatal(err)
	}
	return f, &out
}

// reported reads the lines of a run: the metric's own, if there is one, and the report. It checks
// that CloudWatch finds their metrics, and returns what they say together.
func reported(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	fields := map[string]any{}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if len(lines) > 2 || len(lines) == 2 && !bytes.Contains(lines[0], []byte("IsGlobalPrimary")) {
		t.Fatalf("%d lines, want one, and one of the metric: %s", len(lines), out)
	}
	for _, line := range lines {
		measured(t, line, fields)
	}
	out.Reset()
	return fields
}

// measured reads a line into fields.
func measured(t *testing.T, line []byte, fields map[string]any) {
	t.Helper()
	var emf struct {
		AWS struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []metric
			}
		} `json:"_aws"`
	}
	if err := errors.Join(json.Unmarshal(line, &fields), json.Unmarshal(line, &emf)); err != nil || emf.AWS.Timestamp == 0 || len(emf.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("no metrics in %s: %v", line, err)
	}
	directive := emf.AWS.CloudWatchMetrics[0]
	for _, m := range directive.Metrics {
		if _, ok := fields[m.Name].(float64); !ok {
			t.Errorf("metric %s has no value in %s", m.Name, line)
		}
	}
	for _, set := range directive.Dimensions {
		for _, d := range set {
			if s, ok := fields[d].(string); !ok || s == "" {
				t.Errorf("dimension %s has no value in %s", d, line)
			}
		}
	}
}

func tick() []byte { return []byte(`{"source":"aws.events","detail-type":"Scheduled Event"}`) }
