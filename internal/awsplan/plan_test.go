package awsplan

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/plans anew")

// planned is the plan of settings that there is one of.
func planned(t *testing.T, s Settings) Plan {
	t.Helper()
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each plan can be carried out: templates are there, parameters are theirs and allowed, feeds come from stacks before
// and of the same Region where they must, and nothing is where it is not offered. Done again, it changes nothing.
func TestPlansWork(t *testing.T) {
	for name, s := range matrix() {
		t.Run(name, func(t *testing.T) {
			spec := schemas(t)
			c := newCloud(t)
			p := planned(t, s)
			_, replaced := c.run(p, spec)
			if len(replaced) > 0 {
				t.Errorf("a later step makes anew what an earlier one made: %v", replaced)
			}
			if changed, _ := c.run(p, spec); len(changed) > 0 {
				t.Errorf("carried out again it changes %v", changed)
			}
			c.bounds()
			c.apart()
		})
	}
}

// bounds wants names and texts to be as short as AWS wants them.
func (c *cloud) bounds() {
	for kind, property := range map[string]struct {
		name string
		most int
	}{
		"AWS::ElastiCache::ReplicationGroup": {"ReplicationGroupId", 40}, "AWS::Lambda::Function": {"FunctionName", 64}, "AWS::SQS::Queue": {"QueueName", 80},
		"AWS::SSM::Parameter": {"Value", 4096},
	} {
		for at, r := range c.of(kind) {
			if v := fmt.Sprint(r.Properties[property.name]); len(v) > property.most || len(v) == 0 {
				c.t.Errorf("%s: %s has %d bytes, at most %d may be", at, property.name, len(v), property.most)
			}
		}
	}
	for at, r := range c.of("AWS::CloudWatch::Dashboard") {
		var body struct{ Widgets []any }
		if err := json.Unmarshal([]byte(fmt.Sprint(r.Properties["DashboardBody"])), &body); err != nil || len(body.Widgets) == 0 {
			c.t.Errorf("%s: %d widgets, %v", at, len(body.Widgets), err)
		}
	}
	for at, r := range c.of("AWS::EC2::LaunchTemplate") {
		data, _ := r.Properties["LaunchTemplateData"].(map[string]any)
		script, err := base64.StdEncoding.DecodeString(fmt.Sprint(data["UserData"]))
		if err != nil || len(script) > 16<<10 {
			c.t.Errorf("%s: user data of %d bytes, %v", at, len(script), err)
		}
		shell(c.t, at, string(script))
	}
}

// shell wants a script to be one.
func shell(t *testing.T, at, script string) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Logf("NOT RUN: %s is not held against bash: %v", at, err)
		return
	}
	c := exec.CommandContext(t.Context(), bash, "-n")
	c.Stdin = strings.NewReader(script)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: bash -n: %v\n%s\n%s", at, err, out, script)
	}
}

// apart wants networks to have no part in common.
func (c *cloud) apart() {
	all := map[string]netip.Prefix{}
	for at, r := range c.of("AWS::EC2::VPC") {
		p := netip.MustParsePrefix(fmt.Sprint(r.Properties["CidrBlock"]))
		for other, o := range all {
			if o.Overlaps(p) {
				c.t.Errorf("%s %v and %s %v have a part in common", at, p, other, o)
			}
		}
		all[at] = p
	}
}

// A plan is a text that people read in review: -update writes it anew.
func TestPlansRead(t *testing.T) {
	for _, name := range []string{"one", "two", "two-nodes", "three-all", "three-arc", "dynamodb-witness", "dsql"} {
		got := listing(planned(t, matrix()[name]))
		file := filepath.Join("testdata", "plans", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-update writes it anew):\n%s", name, d)
		}
	}
}

// listing writes a plan down.
func listing(p Plan) string {
	var b strings.Builder
	steps := func(title string, steps []Step) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, s := range steps {
			fmt.Fprintf(&b, "  %s %s %s %s\n", s.Do, s.Region, s.Stack, s.Template)
			if s.Do == DoDelete {
				continue
			}
			for _, k := range sortedKeys(s.Parameters) {
				if s.Parameters[k] != "" {
					fmt.Fprintf(&b, "    %s = %s\n", k, s.Parameters[k])
				}
			}
			for _, f := range s.Feeds {
				fmt.Fprintf(&b, "    %s < %s of %s in %s\n", f.Parameter, f.Output, f.Stack, f.Region)
			}
		}
	}
	steps("do", p.Steps)
	steps("undo", p.Undo())
	b.WriteString("remains\n")
	for _, r := range p.Remains() {
		fmt.Fprintf(&b, "  %s %s %s%s\n", r.Type, r.Region, r.ID, r.Feed.Output)
	}
	for _, a := range p.Advice {
		fmt.Fprintf(&b, "advice: %s\n", a)
	}
	for _, a := range p.Billable {
		fmt.Fprintf(&b, "costs: %s\n", a)
	}
	return b.String()
}

// One Region grows into two and three. What keeps sessions is not touched, and nothing is made anew.
func TestGrows(t *testing.T) {
	for _, dns := range []string{DNSRecord, DNSFailover} {
		spec := schemas(t)
		c := newCloud(t)
		c.run(planned(t, in("us-west-1")), spec)
		cache := [2]string{"sessions-cache", "us-west-1"}
		was := c.stacks[cache].rendered.Resources["Cache"]
		for _, regions := range [][]string{{"us-west-1", "us-west-2"}, {"us-west-1", "us-west-2", "ca-central-1"}} {
			changed, replaced := c.run(planned(t, in(regions...).with(func(s *Settings) { s.DNS = dns })), spec)
			if len(replaced) > 0 {
				t.Errorf("with %v: made anew: %v", regions, replaced)
			}
			if !slices.ContainsFunc(changed, func(s string) bool { return strings.HasPrefix(s, "sessions-zone@us-west-1: Zone.VPCs") }) {
				t.Errorf("with %v: the zone is not seen from there: %v", regions, changed)
			}
		}
		if d := cmp.Diff(was, c.stacks[cache].rendered.Resources["Cache"]); d != "" {
			t.Errorf("the first cache was touched:\n%s", d)
		}
		if _, ok := c.stacks[cache].rendered.Resources["Datastore"]; !ok {
			t.Error("there is no Global Datastore")
		}
	}
}

// A table grows by copies, and an update changes nothing else of it.
func TestTableGrows(t *testing.T) {
	spec := schemas(t)
	c := newCloud(t)
	for n := 1; n <= 5; n++ {
		regions := []string{"us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "sa-east-1"}[:n]
		changed, replaced := c.run(planned(t, in(regions...).bare(VariantDynamo)), spec)
		want := []string{"sessions-table@us-west-1: Table.Replicas"}
		if n == 2 {
			want = append(want, "sessions-table@us-west-1: Table.StreamSpecification")
		}
		if n > 1 && (!slices.Equal(changed, want) || len(replaced) > 0) {
			t.Errorf("with %d Regions: changed %v, want %v; made anew %v", n, changed, want, replaced)
		}
	}
}

// What Undo does leaves nothing that was made but what is retained, and groups go before their stacks.
func TestUndo(t *testing.T) {
	retained := map[string][]string{
		RetainData:      {"cache-primary.yaml", "cache-secondary.yaml", "dsql.yaml", "dynamodb.yaml", "network.yaml", "secret.yaml"},
		RetainSnapshots: {"dsql.yaml", "dynamodb.yaml"},
	}
	for name, s := range matrix() {
		for _, retain := range []string{RetainData, RetainSnapshots, RetainNothing} {
			s.Retain = retain
			p := planned(t, s)
			left := undone(t, name+", "+retain, p)
			for key, template := range left {
				stays := template == "secret.yaml" && (retain == RetainData || retain == RetainSnapshots && s.Variant != "")
				if !slices.Contains(retained[retain], template) && !stays {
					t.Errorf("%s, %s: %s (%s) is left", name, retain, key, template)
				}
				if stays && !slices.ContainsFunc(p.Remains(), func(r Remain) bool { return r.ID == "sessions/cookies" }) {
					t.Errorf("%s, %s: nothing is said of the key of cookies", name, retain)
				}
			}
			if len(left) > 0 && len(p.Remains()) == 0 {
				t.Errorf("%s, %s: nothing is said of %v", name, retain, left)
			}
			ordered(t, name+", "+retain, p, s.Variant == "" && retain != RetainData)
		}
	}
}

// undone carries Undo out, and returns the stacks that are left, with their templates.
func undone(t *testing.T, name string, p Plan) map[string]string {
	t.Helper()
	left := map[string]string{}
	for _, step := range p.Steps {
		if step.Do == DoStack {
			left[step.Stack+"@"+step.Region] = step.Template
		}
	}
	for _, step := range p.Undo() {
		for _, f := range step.Feeds {
			if left[f.Stack+"@"+f.Region] == "" {
				t.Errorf("%s: %s asks %s in %s, which is deleted", name, step.Do, f.Stack, f.Region)
			}
		}
		if step.Do != DoDelete {
			continue
		}
		key := step.Stack + "@" + step.Region
		if left[key] == "" {
			t.Errorf("%s: %s is deleted twice, or was not made", name, key)
		}
		delete(left, key)
	}
	return left
}

// ordered wants members to leave the Global Datastore, and groups to go, before their stacks.
func ordered(t *testing.T, name string, p Plan, groups bool) {
	t.Helper()
	first := func(do string) int {
		return slices.IndexFunc(p.Undo(), func(s Step) bool { return s.Do == do && strings.HasSuffix(s.Stack, "-cache") })
	}
	stack, apart, global, group := first(DoDelete), first(DoDisassociate), first(DoDeleteGlobal), first(DoDeleteGroup)
	if (group >= 0) != groups {
		t.Errorf("%s: groups are deleted: %v, want %v", name, group >= 0, groups)
	}
	if stack >= 0 && !(apart <= global && global < group && group < stack) {
		t.Errorf("%s: members leave at %d, the Global Datastore goes at %d, groups at %d, stacks at %d", name, apart, global, group, stack)
	}
}

// Promoters go first: nobody is to promote a Region of a deployment that is being taken away.
func TestUndoEndsPromotersFirst(t *testing.T) {
	undo := planned(t, matrix()["two"]).Undo()
	at := func(stack string) int {
		return slices.IndexFunc(undo, func(s Step) bool { return s.Do == DoDelete && s.Stack == stack })
	}
	apart := slices.IndexFunc(undo, func(s Step) bool { return s.Do == DoDisassociate })
	if p := at("sessions-promoter"); p < 0 || p > apart || at("sessions-reconciler") > apart {
		t.Errorf("%+v", undo)
	}
}

// What must be in buckets is what stacks take from there.
func TestArtifacts(t *testing.T) {
	for name, s := range matrix() {
		p := planned(t, s)
		want := map[string]map[string]bool{}
		for _, step := range p.Steps {
			for _, k := range []string{"Archive", "Program"} {
				if v, ok := step.Parameters[k]; ok {
					if want[step.Region] == nil {
						want[step.Region] = map[string]bool{}
					}
					want[step.Region][v] = true
					if step.Parameters["Bucket"] != s.Artifacts[step.Region] {
						t.Errorf("%s: %s takes programs from %q", name, step.Stack, step.Parameters["Bucket"])
					}
				}
			}
		}
		got := map[string]map[string]bool{}
		for region, keys := range Artifacts(s) {
			got[region] = map[string]bool{}
			for _, k := range keys {
				got[region][k] = true
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// A strong table is swept in one Region, which has a copy of it; no other plan has anybody who sweeps.
func TestStrongTablesAreSwept(t *testing.T) {
	for name, s := range matrix() {
		var at []string
		for _, step := range planned(t, s).Steps {
			if step.Template == "sweep.yaml" {
				at = append(at, step.Region)
			}
		}
		var want []string
		if s.Strong {
			want = []string{s.Regions[0].Name}
		}
		if !slices.Equal(at, want) {
			t.Errorf("%s: swept in %v, want %v", name, at, want)
		}
	}
	mail := matrix()["dynamodb-witness"].with(func(s *Settings) { s.Mail = "oncall@example.com" })
	if _, err := New(mail); err != nil {
		t.Errorf("who is told that a table is not swept: %v", err)
	}
	weak := mail.with(func(s *Settings) { s.Strong, s.Witness = false, Region{} })
	if _, err := New(weak); err == nil || !strings.Contains(err.Error(), "mail: is a cache's") {
		t.Errorf("mail where there are no alarms: %v", err)
	}
}

// Clusters of DSQL are told of both, in the second pass alone, and never forget it.
func TestClustersKnowEachOther(t *testing.T) {
	p := planned(t, matrix()["dsql"])
	c := newCloud(t)
	spec := schemas(t)
	c.run(Plan{Steps: p.Steps[:2]}, spec)
	peers := func(region string) any {
		m, _ := c.stacks[[2]string{"sessions-cluster", region}].rendered.Resources["Cluster"].Properties["MultiRegionProperties"].(map[string]any)
		if m["WitnessRegion"] != "us-east-2" {
			t.Errorf("%s: %v", region, m)
		}
		return m["Clusters"]
	}
	arn := func(region string) string { return c.stacks[[2]string{"sessions-cluster", region}].outputs["Arn"] }
	if peers("us-east-1") != nil || peers("us-west-2") != nil {
		t.Error("a cluster knows of another before that is there")
	}
	for range 2 { // carried out again, the first pass takes nothing back
		c.run(p, spec)
		for _, r := range []struct{ here, there string }{{"us-east-1", "us-west-2"}, {"us-west-2", "us-east-1"}} {
			if d := cmp.Diff([]any{arn(r.here), arn(r.there)}, peers(r.here)); d != "" {
				t.Errorf("%s: %s", r.here, d)
			}
		}
	}
	c.run(Plan{Steps: p.Steps[:2]}, spec)
	if peers("us-east-1") == nil {
		t.Error("a first pass that is carried out again makes a cluster forget")
	}
}

// More than ten networks meet at Transit Gateways, and somebody is told why.
func TestTransitBeyondTen(t *testing.T) {
	for networks, transit := range map[int]bool{0: false, 8: false, 9: true} {
		p := planned(t, in("us-west-1", "us-west-2").with(func(s *Settings) { s.Networks = networks }))
		is := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Template == "transit.yaml" })
		accepts := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Do == DoAccept })
		peers := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Template == "peering.yaml" })
		if is != transit || accepts != transit || peers == transit {
			t.Errorf("%d more networks: transit %v, accepts %v, peers %v", networks, is, accepts, peers)
		}
	}
}
