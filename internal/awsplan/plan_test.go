package awsplan

import (
	"encoding/base64"
	"errors"
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

	"github.com/roam-sessions/roam/internal/topology"
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

// The file that nodes and applications go by is one that topology takes, and it says what was settled.
func TestFile(t *testing.T) {
	for name, s := range matrix() {
		if s.Variant != "" && s.Variant != VariantCache {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.run(planned(t, s), schemas(t))
			var texts []string
			for key, m := range c.stacks {
				if key[0] == "sessions-config" {
					texts = append(texts, fmt.Sprint(m.rendered.Resources["File"].Properties["Value"]))
				}
			}
			if n := len(s.withDefaults().places()); len(texts) != n || len(slices.Compact(texts)) != 1 {
				t.Fatalf("%d files, and not the same everywhere, in %d Regions:\n%s", len(texts), n, strings.Join(texts, "\n"))
			}
			d, err := topology.Parse([]byte(texts[0]))
			if err != nil {
				t.Fatalf("%v\n%s", err, texts[0])
			}
			if len(d.Regions) != len(s.Regions) || d.Primary != s.Regions[0].Name || d.Name != "sessions" {
				t.Errorf("%+v", d)
			}
			if (d.Control != nil) != (s.Promoter == PromoterNodes) {
				t.Errorf("control = %+v, promoter %q", d.Control, s.Promoter)
			}
			for i, r := range d.Regions {
				if r.Name != s.Regions[i].Name || r.Engine.Valkey == nil || r.Engine.Valkey.TLS == nil || (r.Side != nil) != s.Side {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// What Undo does leaves nothing that was made but what is retained, and groups go before their stacks.
func TestUndo(t *testing.T) {
	for name, s := range matrix() {
		for _, retain := range []string{RetainData, RetainSnapshots, RetainNothing} {
			s.Retain = retain
			p := planned(t, s)
			left := map[string]string{}
			for _, step := range p.Steps {
				if step.Do == DoStack {
					left[step.Stack+"@"+step.Region] = step.Template
				}
			}
			var order []string
			for _, step := range p.Undo() {
				key := step.Stack + "@" + step.Region
				order = append(order, step.Do+" "+key)
				for _, f := range step.Feeds {
					if left[f.Stack+"@"+f.Region] == "" {
						t.Errorf("%s, %s: %s asks %s in %s, which is deleted", name, retain, step.Do, f.Stack, f.Region)
					}
				}
				if step.Do == DoDelete {
					if left[key] == "" {
						t.Errorf("%s, %s: %s is deleted twice, or was not made", name, retain, key)
					}
					delete(left, key)
				}
			}
			wanted := map[string][]string{RetainData: {"cache-primary.yaml", "cache-secondary.yaml", "dsql.yaml", "dynamodb.yaml", "network.yaml", "secret.yaml"}, RetainSnapshots: {"dsql.yaml", "dynamodb.yaml"}}[retain]
			for key, template := range left {
				if !slices.Contains(wanted, template) {
					t.Errorf("%s, %s: %s (%s) is left", name, retain, key, template)
				}
			}
			if len(left) > 0 && len(p.Remains()) == 0 {
				t.Errorf("%s, %s: nothing is said of %v", name, retain, left)
			}
			first := func(what string) int {
				return slices.IndexFunc(order, func(s string) bool { return strings.HasPrefix(s, what) })
			}
			if gone, apart, group := first("delete-stack sessions-cache"), first(DoDisassociate), first(DoDeleteGroup); gone >= 0 && (group > gone || apart > group) {
				t.Errorf("%s, %s: %v", name, retain, order)
			}
			if s.Variant == "" && retain != RetainData && first(DoDeleteGroup) < 0 {
				t.Errorf("%s, %s: no group is deleted", name, retain)
			}
		}
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

// All faults of settings are told at once, each with what to do.
func TestFaults(t *testing.T) {
	two := in("us-west-1", "us-west-2")
	for name, c := range map[string]struct {
		settings Settings
		want     []string
	}{
		"nothing": {Settings{}, []string{"name: \"\" is no name", "regions: there are 0"}},
		"names": {two.with(func(s *Settings) { s.Name, s.Domain, s.Mail, s.Release = "My--shop", "Session.internal.", "me", "/x" }), []string{
			"name: \"My--shop\"", "domain: \"Session.internal.\"", "mail: \"me\"", "release: \"/x\"",
		}},
		"long name":                {two.with(func(s *Settings) { s.Name = strings.Repeat("a", 21) }), []string{"name: "}},
		"words":                    {two.with(func(s *Settings) { s.Variant, s.Retain, s.Architecture = "redis", "all", "riscv" }), []string{"variant: ", "retain: ", "architecture: "}},
		"dns and promoter":         {two.with(func(s *Settings) { s.DNS, s.Promoter = "weighted", "alarms" }), []string{"dns: ", "promoter: "}},
		"four Regions":             {in("us-west-1", "us-west-2", "us-east-1", "us-east-2"), []string{"regions: there are 4; want 1 to 3"}},
		"no Region of AWS":         {in("us-west-1", "oregon"), []string{`regions[1].name: "oregon"`}},
		"twice":                    {in("us-west-1", "us-west-1"), []string{"is there twice"}},
		"overlap":                  {two.with(func(s *Settings) { s.Regions[1].CIDR = "10.1.16.0/20" }), []string{"regions[1].cidr: 10.1.16.0/20 and regions[0].cidr 10.1.0.0/16 have a part in common"}},
		"overlap with the witness": {matrix()["two-nodes"].with(func(s *Settings) { s.Witness.CIDR = "10.2.0.0/20" }), []string{"witness.cidr: 10.2.0.0/20 and regions[1].cidr"}},
		"networks": {in("us-west-1", "us-west-2", "ca-central-1").with(func(s *Settings) {
			s.Regions[0].CIDR, s.Regions[1].CIDR, s.Regions[2].CIDR = "10.1.0.1/16", "10.2.0.0/24", "100.64.0.0/16"
		}), []string{"regions[0].cidr: \"10.1.0.1/16\" is no network", "regions[1].cidr: 10.2.0.0/24 has the wrong size", "regions[2].cidr: 100.64.0.0/16 is not private"}},
		"zones":       {two.with(func(s *Settings) { s.Regions[0].Zones = 4 }), []string{"regions[0].zones"}},
		"no buckets":  {two.with(func(s *Settings) { s.Artifacts = map[string]string{"us-west-2": "s3://x/y"} }), []string{"artifacts.us-west-1: there is no bucket", "artifacts.us-west-2: \"s3://x/y\""}},
		"small nodes": {two.with(func(s *Settings) { s.NodeType, s.Replicas = "cache.t4g.small", number(0) }), []string{"node_type: \"cache.t4g.small\" can't be in a Global Datastore", "replicas: "}},
		"sizes": {in("us-west-2").with(func(s *Settings) { s.Shards, s.Replicas, s.EngineVersion, s.NodeType = 3, number(9), "9.0.0", "large" }), []string{
			"shards: ", "replicas: ", "engine_version: ", "node_type: ",
		}},
		"old engine":            {in("us-west-2").with(func(s *Settings) { s.EngineVersion = "7.1" }), []string{"engine_version: "}},
		"failover of one":       {in("us-west-2").with(func(s *Settings) { s.DNS = DNSFailover }), []string{"dns: failover has nothing to choose from"}},
		"nodes without witness": {two.with(func(s *Settings) { s.Promoter = PromoterNodes }), []string{"witness.name: there is none"}},
		"witness without need":  {two.with(func(s *Settings) { witness(s) }), []string{"witness.name: there is nobody"}},
		"witness among Regions": {matrix()["two-nodes"].with(func(s *Settings) { s.Witness.Name = "us-west-2" }), []string{"keeps sessions already"}},
		"edge without shop":     {two.with(func(s *Settings) { s.Edge = true }), []string{"edge: there is no shop"}},
		"foreign certificate": {two.with(func(s *Settings) {
			s.Shop, s.Edge, s.Certificate = true, true, map[string]string{"us-west-1": "arn:aws:acm:us-west-2:1:certificate/x"}
		}), []string{"certificate.us-west-1: ", "certificate.us-west-2: is missing"}},
		"DSQL in us-west-1": {in("us-west-1", "us-west-2").bare(VariantDSQL).with(func(s *Settings) { s.Witness.Name = "us-east-2" }), []string{
			"regions[0].name: Aurora DSQL in several Regions is not offered in us-west-1; use us-east-1, us-east-2 and us-west-2",
		}},
		"DSQL alone in us-west-1": {in("us-west-1").bare(VariantDSQL), []string{"regions[0].name: Aurora DSQL is not offered in us-west-1"}},
		"strong in us-west-1": {in("us-west-1", "us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Strong, s.Witness.Name = true, "eu-west-1" }), []string{
			"regions[0].name: a Global Table of strong consistency is not offered in us-west-1", "witness.name: a Global Table of strong consistency is not offered in eu-west-1",
		}},
		"strong and alone": {in("us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Strong = true }), []string{"strong: "}},
		"a cache's": {in("us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.DNS, s.Side, s.NodeType, s.ClusterMode = DNSARC, true, "cache.r7g.large", true }), []string{
			"dns: is a cache's", "side: is a cache's", "node_type: is a cache's", "cluster_mode: is a cache's",
		}},
		"partitions":   {in("us-west-1", "cn-north-1"), []string{"regions[1].name: cn-north-1 is in another partition"}},
		"ARC in China": {in("cn-north-1", "cn-northwest-1").with(func(s *Settings) { s.DNS, s.Shop, s.Edge = DNSARC, true, true }), []string{"dns: routing controls of ARC are not offered", "edge: Global Accelerator is not offered"}},
		"isolated":     {in("us-iso-east-1"), []string{"is not known here"}},
		"migrated":     {two.with(func(s *Settings) { s.Migrated = true }), []string{"migrated: "}},
	} {
		_, err := New(c.settings)
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: New = %v, want Faults", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: New = %v, want %q", name, err, want)
			}
		}
		if len(faults) != len(c.want) {
			t.Errorf("%s: %d faults, want %d:\n%v", name, len(faults), len(c.want), err)
		}
		for _, f := range faults {
			if f.Mend == "" || f.Path == "" {
				t.Errorf("%s: %+v says not where or what to do", name, f)
			}
		}
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
