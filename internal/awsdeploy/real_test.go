package awsdeploy

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	templates "github.com/roam-sessions/roam/deploy/aws"
	"github.com/roam-sessions/roam/internal/awsplan"
)

// realTemplate returns one of deploy/aws.
func realTemplate(name string) (string, error) {
	text, err := templates.Files.ReadFile(name)
	return string(text), err
}

// realSettings are deployments of all kinds, by what is special about them.
func realSettings() map[string]awsplan.Settings {
	three := []awsplan.Region{{Name: west1, CIDR: "10.1.0.0/16"}, {Name: west2, CIDR: "10.2.0.0/16"}, {Name: "us-east-1", CIDR: "10.3.0.0/16"}}
	buckets := map[string]string{west1: "bucket-1", west2: "bucket-2", "us-east-1": "bucket-3", "us-east-2": "bucket-4"}
	cache := func(n int, change func(*awsplan.Settings)) awsplan.Settings {
		s := awsplan.Settings{Name: "shop", Regions: three[:n], Domain: "session.internal", Artifacts: buckets}
		change(&s)
		return s
	}
	return map[string]awsplan.Settings{
		"one Region":    cache(1, func(*awsplan.Settings) {}),
		"a record":      cache(2, func(*awsplan.Settings) {}),
		"failover":      cache(2, func(s *awsplan.Settings) { s.DNS, s.Retain, s.Side = awsplan.DNSFailover, awsplan.RetainNothing, true }),
		"three, by ARC": cache(3, func(s *awsplan.Settings) { s.DNS, s.Transit = awsplan.DNSARC, true }),
		"nodes": cache(2, func(s *awsplan.Settings) {
			s.Promoter, s.Witness = awsplan.PromoterNodes, awsplan.Region{Name: "us-east-2", CIDR: "10.4.0.0/16"}
		}),
		"kept":    cache(2, func(s *awsplan.Settings) { s.Retain = awsplan.RetainData }),
		"a table": {Name: "shop", Variant: awsplan.VariantDynamo, Regions: []awsplan.Region{{Name: west2}, {Name: "us-east-1"}}, Retain: awsplan.RetainNothing},
		"DSQL":    {Name: "shop", Variant: awsplan.VariantDSQL, Regions: []awsplan.Region{{Name: "us-east-1"}, {Name: "us-east-2"}}, Witness: awsplan.Region{Name: west2}, Retain: awsplan.RetainNothing},
	}
}

func realPlan(t *testing.T, s awsplan.Settings) awsplan.Plan {
	t.Helper()
	p, err := awsplan.New(s)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	return p
}

func (w *world) real(p awsplan.Plan, c Config) (*Deployer, *[]Event) {
	d, told := w.deployer(p, c)
	d.templates = realTemplate
	return d, told
}

// The plans and templates that there are, each made, made again, looked at and taken away.
func TestRealPlans(t *testing.T) {
	for name, settings := range realSettings() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := realPlan(t, settings)
				w := newWorld()
				d, told := w.real(p, Config{})
				if err := d.Deploy(t.Context()); err != nil {
					t.Fatalf("Deploy = %v\n%s", err, text(*told))
				}
				before := w.changes()
				d, told = w.real(p, Config{})
				if err := d.Deploy(t.Context()); err != nil || w.changes() != before {
					t.Errorf("again: Deploy = %v, with %d changes\n%s", err, w.changes()-before, text(*told))
				}
				d, _ = w.real(p, Config{})
				rows, err := d.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					if r.Health != Well {
						t.Errorf("Status says %+v", r)
					}
				}
				d, told = w.real(p, Config{})
				remains, err := d.Destroy(t.Context())
				if err != nil {
					t.Fatalf("Destroy = %v\n%s", err, text(*told))
				}
				if err := d.Purge(t.Context(), remains); err != nil {
					t.Errorf("Purge = %v of %+v", err, remains)
				}
				left(t, w, settings, remains)
				w.sound(t)
			})
		})
	}
}

// left checks what is there after Destroy and Purge: nothing, or what is to be kept, whole.
func left(t *testing.T, w *world, s awsplan.Settings, remains []Remainder) {
	t.Helper()
	w.formation.advance(nowOf())
	w.cache.advance(nowOf())
	states := w.formation.states()
	if s.Retain == awsplan.RetainData {
		for _, stack := range []string{west1 + " shop-cache", west2 + " shop-cache", west1 + " shop-network"} {
			if states[stack] == "" {
				t.Errorf("%s is gone: there are %v", stack, states)
			}
		}
		if len(w.cache.groups) != 2 || len(w.cache.globals) != 1 || len(w.cache.globals[0].members) != 2 {
			t.Errorf("there are groups %+v and Global Datastores %+v", w.cache.groups, w.cache.globals)
		}
		return
	}
	if len(states)+len(w.cache.groups)+len(w.cache.globals)+len(w.cache.snapshots) > 0 {
		t.Errorf("there are stacks %v, groups %v, Global Datastores %v and snapshots %v", states, w.cache.groups, w.cache.globals, w.cache.snapshots)
	}
	for _, kind := range []string{"KMS::Key", "DynamoDB", "DSQL", "HostedZone"} {
		for _, r := range sortedKeys(w.resources) {
			if strings.Contains(r, kind) {
				t.Errorf("%s is there; told of were %s", r, ids(remains))
			}
		}
	}
}

// A table that is kept is kept in all its Regions, whoever purges: only one of them has a stack that says so.
func TestPurgeLeavesATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := realSettings()["a table"]
		s.Retain = ""
		p := realPlan(t, s)
		w := newWorld()
		d, _ := w.real(p, Config{})
		if err := d.Deploy(t.Context()); err != nil {
			t.Fatal(err)
		}
		table := w.formation.find(west2, "shop-table").resource("Table").id
		for _, r := range p.Remains() {
			w.resources[r.Region+" "+r.Type+" "+r.ID] = "{}"
		}
		w.formation.find(west2, "shop-table").resource("Table").id = p.Remains()[0].ID
		remains, err := d.Destroy(t.Context())
		if err != nil || len(remains) == 0 {
			t.Fatalf("Destroy = %+v, %v; the stack's table is %s", remains, err, table)
		}
		if err := d.Purge(t.Context(), remains); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Remains() {
			if w.resources[r.Region+" "+r.Type+" "+r.ID] == "" {
				t.Errorf("the copy in %s is gone", r.Region)
			}
		}
		if w.formation.find(west2, "shop-table") == nil {
			t.Error("the table's stack is gone")
		}
	})
}

// One Region grows into two once somebody says that the cache's stack may be updated; until then nothing is half done.
func TestOneRegionGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d, _ := w.real(realPlan(t, realSettings()["one Region"]), Config{})
		if err := d.Deploy(t.Context()); err != nil {
			t.Fatal(err)
		}
		grown := realPlan(t, realSettings()["a record"])
		d, _ = w.real(grown, Config{})
		if err := d.Deploy(t.Context()); err == nil || !strings.Contains(err.Error(), "--allow-cache-update") {
			t.Errorf("Deploy = %v, want one that says what to allow", err)
		}
		if len(w.cache.groups) != 1 {
			t.Errorf("groups are %+v", w.cache.groups)
		}
		d, told := w.real(grown, Config{AllowCacheUpdate: true})
		if err := d.Deploy(t.Context()); err != nil {
			t.Fatalf("Deploy = %v\n%s", err, text(*told))
		}
		if g := w.cache.globals; len(g) != 1 || len(g[0].members) != 2 || g[0].members[0].role != "PRIMARY" || g[0].members[0].region != west1 {
			t.Errorf("Global Datastores are %+v", g)
		}
		if rows, err := d.Status(t.Context()); err != nil || slices.ContainsFunc(rows, func(r Row) bool { return r.Health != Well }) {
			t.Errorf("Status = %+v, %v", rows, err)
		}
	})
}

// The policy of each plan names all services of its templates.
func TestPoliciesOfRealPlans(t *testing.T) {
	for name, settings := range realSettings() {
		raw, err := Policy(realPlan(t, settings), realTemplate, Account{ID: account})
		if err != nil || len(raw) > 6144 { // IAM's bound of a managed policy, without its spaces
			t.Errorf("%s: Policy = %d bytes, %v", name, len(raw), err)
		}
		for _, bad := range []string{"elasticloadbalancingv2", "route53recoverycontrol:"} {
			if strings.Contains(string(raw), bad) {
				t.Errorf("%s: the policy has %s:\n%s", name, bad, raw)
			}
		}
	}
}
