package awsdeploy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// look returns what Status says, one row a line, but for what is well.
func status(t *testing.T, w *world) string {
	t.Helper()
	d, _ := w.deployer(testPlan(), Config{})
	rows, err := d.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range rows {
		if r.Health != Well {
			fmt.Fprintf(&b, "%s %s %s: %s\n", r.Health, r.Region, r.Part, r.Seen)
			if r.Mend == "" {
				t.Errorf("%+v does not say what to do", r)
			}
		}
	}
	return b.String()
}

func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(w *world)
		want    string
	}{
		"all is well":   {func(*world) {}, ""},
		"failed over":   {func(w *world) { w.cache.promote(west2) }, ""},
		"no such stack": {func(w *world) { w.formation.find(west1, "shop-zone").status = "DELETE_COMPLETE" }, "FAULT us-west-1 shop-zone: there is no such stack\n"},
		"drifted": {
			func(w *world) { w.formation.find(west2, "shop-network").parameters["Cidr"] = "10.9.0.0/16" },
			`FAULT us-west-2 shop-network: create complete; differs from the plan: Cidr is "10.9.0.0/16" and not "10.2.0.0/16"` + "\n",
		},
		"another template, with roles": {func(w *world) { w.formation.find(west1, "shop-cache").template += "# more" }, "warn us-west-1 shop-cache: create complete; differs from the plan: another template\n"},
		"rolled back":                  {func(w *world) { w.formation.find(west2, "shop-network").status = "UPDATE_ROLLBACK_COMPLETE" }, "FAULT us-west-2 shop-network: update rollback complete\n"},
		"goes on":                      {func(w *world) { w.formation.find(west2, "shop-network").status = "UPDATE_IN_PROGRESS" }, "warn us-west-2 shop-network: update in progress\n"},
		"another's":                    {func(w *world) { w.formation.find(west2, "shop-arc").tags[tagName] = "" }, "FAULT us-west-2 shop-arc: stack shop-arc in us-west-2: a stack of that name is there, and is not of this deployment"},
		"topic": {
			func(w *world) { w.cache.topic = "inactive" },
			"FAULT us-west-1 group shop-us-west-1: available; its topic is inactive\nFAULT us-west-2 group shop-us-west-2: available; its topic is inactive\n",
		},
		"fails over": {
			func(w *world) { w.cache.globals[0].status = "modifying" },
			"warn  global: Global Datastore virxk-shop is modifying: us-west-1 primary associated, us-west-2 secondary associated\n",
		},
		"taken out": {
			func(w *world) { w.cache.globals[0].members = w.cache.globals[0].members[:1] },
			"FAULT  global: Global Datastore virxk-shop is available: us-west-1 primary associated; not a member: us-west-2\n",
		},
		"two primaries": {
			func(w *world) { w.cache.globals[0].members[1].role = "PRIMARY" },
			"FAULT  global: Global Datastore virxk-shop is available: us-west-1 primary associated, us-west-2 primary associated\n",
		},
		"no Global Datastore": {func(w *world) { w.cache.globals = nil }, "FAULT  global: there is no Global Datastore virxk-shop, though a stack has one\n"},
		"no group":            {func(w *world) { w.cache.groups = w.cache.groups[:1] }, "FAULT us-west-2 group shop-us-west-2: there is no such group, though a stack has it\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := deployed(t)
				c.trouble(w)
				if got := status(t, w); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
					t.Errorf("Status =\n%swant\n%s", got, c.want)
				}
				if w.changes() > 0 {
					t.Error("it changed something")
				}
				w.sound(t)
			})
		})
	}
}

// A Region that is away hides neither the others nor the Global Datastore.
func TestStatusWithoutARegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		w.fate = func(_ int, c call) fate { return fate{lost: c.region == west1} }
		begun := time.Now()
		got := status(t, w)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		for _, want := range []string{"unknown us-west-1 shop-network: ", "unknown us-west-1 shop-cache: ", "unknown us-west-1 shop-zone: "} {
			if !strings.Contains(got, want) {
				t.Errorf("Status lacks %q:\n%s", want, got)
			}
		}
		if strings.Contains(got, "us-west-2 shop-arc") || strings.Contains(got, "FAULT") {
			t.Errorf("Status says of the other Region:\n%s", got)
		}
	})
}
