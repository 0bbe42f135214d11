package awsplan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/cfn"
)

// A record is a failover record, as Route 53 sees it.
type record struct {
	role, health, target string
}

// recordsOf returns the failover records of a deployment by their names, and the health checks by theirs.
func recordsOf(t *testing.T, s Settings) (names map[string][]record, checks map[string]map[string]any) {
	t.Helper()
	c := newCloud(t)
	c.run(planned(t, s), &cfn.Spec{})
	names, checks = map[string][]record{}, map[string]map[string]any{}
	for at, r := range c.of("AWS::Route53::HealthCheck") {
		stack, name, _ := strings.Cut(at, "/")
		config, _ := r.Properties["HealthCheckConfig"].(map[string]any)
		checks[idOf(Step{Stack: strings.Split(stack, "@")[0], Region: strings.Split(stack, "@")[1]}, name, "", r)] = config
	}
	for _, r := range c.of("AWS::Route53::RecordSetGroup") {
		for _, set := range r.Properties["RecordSets"].([]any) {
			set := set.(map[string]any)
			name := fmt.Sprint(set["Name"])
			health := ""
			if h, ok := set["HealthCheckId"]; ok {
				health = fmt.Sprint(h)
			}
			names[name] = append(names[name], record{fmt.Sprint(set["Failover"]), health, fmt.Sprint(set["ResourceRecords"].([]any)[0])})
		}
	}
	return names, checks
}

// answer is what Route 53 answers: the primary record while its check is good, or none is; else the secondary.
func answer(names map[string][]record, name string, good map[string]bool) string {
	for range 5 {
		set := names[name]
		if len(set) == 0 {
			return name
		}
		by := map[string]record{}
		for _, r := range set {
			by[r.role] = r
		}
		name = by["PRIMARY"].target
		if !good[by["PRIMARY"].health] && (by["SECONDARY"].health == "" || good[by["SECONDARY"].health]) {
			name = by["SECONDARY"].target
		}
	}
	return "a loop"
}

// Whichever Region is the primary: with its health check good and all others bad, the writer's name leads to
// its cache. With none good it leads somewhere all the same.
func TestRecordsFollowHealth(t *testing.T) {
	for _, regions := range [][]string{{"us-west-1", "us-west-2"}, {"us-west-1", "us-west-2", "ca-central-1"}} {
		for _, dns := range []string{DNSFailover, DNSARC} {
			names, checks := recordsOf(t, in(regions...).with(func(s *Settings) { s.DNS = dns }))
			if len(checks) != len(regions) {
				t.Fatalf("%d health checks, want %d", len(checks), len(regions))
			}
			for _, primary := range regions {
				good := map[string]bool{}
				for id, config := range checks {
					good[id] = follows(config, primary, regions)
				}
				if got := answer(names, "write.session.internal", good); !strings.Contains(got, "sessions-"+primary+".") {
					t.Errorf("%v, %s: while %s is the primary, the name leads to %s", regions, dns, primary, got)
				}
			}
			if got := answer(names, "write.session.internal", nil); !strings.Contains(got, ".cache.amazonaws.com") {
				t.Errorf("%v, %s: while nobody is known to be the primary, the name leads to %s", regions, dns, got)
			}
		}
	}
}

// follows reports whether a health check is about a Region: by its alarm, or by its control, which are numbered by
// the order of Regions.
func follows(config map[string]any, region string, regions []string) bool {
	silent := "Unhealthy" // one that is gone says nothing
	if region == regions[len(regions)-1] {
		silent = "LastKnownStatus"
	}
	if alarm, ok := config["AlarmIdentifier"].(map[string]any); ok {
		return alarm["Region"] == region && alarm["Name"] == "sessions-primary" && config["InsufficientDataHealthStatus"] == silent
	}
	number := map[string]string{"us-west-1": "Control1", "us-west-2": "Control2", "ca-central-1": "Control3"}[region]
	return strings.Contains(fmt.Sprint(config["RoutingControlArn"]), "/"+number+"/")
}

// Records that somebody has migrated are left to whoever did; their health checks are made.
func TestMigratedRecordsAreLeft(t *testing.T) {
	names, checks := recordsOf(t, matrix()["two-migrated"])
	if len(names) != 0 || len(checks) != 2 {
		t.Errorf("records %v, health checks %v", names, checks)
	}
}

// With one record, no stack has it.
func TestNoStackHasTheRecord(t *testing.T) {
	for name, s := range matrix() {
		if s.Variant != "" || s.DNS != "" {
			continue
		}
		c := newCloud(t)
		c.run(planned(t, s), &cfn.Spec{})
		for at, r := range c.of("AWS::Route53::RecordSet") {
			if r.Properties["Type"] != "A" {
				t.Errorf("%s: %s is %v", name, at, r.Properties)
			}
		}
		if groups := c.of("AWS::Route53::RecordSetGroup"); len(groups) > 0 {
			t.Errorf("%s: %v", name, sortedKeys(groups))
		}
	}
}
