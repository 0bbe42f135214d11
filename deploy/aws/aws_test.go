package aws

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/cfn"
)

// templates are all there are, read.
func templates(t *testing.T) map[string]*cfn.Template {
	t.Helper()
	entries, err := Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*cfn.Template{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		raw, err := Files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		read, err := cfn.Read(raw)
		if err != nil {
			t.Errorf("%s:\n%v", e.Name(), err)
			continue
		}
		out[e.Name()] = read
	}
	if len(out) < 20 {
		t.Fatalf("%d templates", len(out))
	}
	return out
}

// spec is the slice of AWS's schemas; nil where there is none and this is not CI.
func spec(t *testing.T) *cfn.Spec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "bin", "cfnspec", "spec.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no schemas, and this is CI: scripts/install-test-deps.sh makes them: %v", err)
		}
		return nil
	}
	s, err := cfn.ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Templates keep to our own rules, and hold together: each reference leads to what is there when it is followed.
func TestTemplates(t *testing.T) {
	for name, read := range templates(t) {
		for _, f := range read.Check(nil, cfn.World{}) {
			t.Errorf("%s:%v", name, f)
		}
	}
}

// Every resource of every template is one that AWS's schemas take.
func TestTemplatesAgainstSchemas(t *testing.T) {
	schemas := spec(t)
	if schemas == nil {
		t.Skip("NOT RUN against AWS's schemas; scripts/install-test-deps.sh makes them, with Node")
	}
	for name, read := range templates(t) {
		for _, f := range read.Check(schemas, cfn.World{}) {
			t.Errorf("%s:%v", name, f)
		}
		for _, kind := range read.Types() {
			if _, ok := schemas.Types[kind]; !ok {
				t.Errorf("%s: add %s to tools/cfnspec/types.txt", name, kind)
			}
		}
	}
}

// What no update may replace or delete is exactly what our rules want kept, and more than one may think of.
func TestStackPolicy(t *testing.T) {
	raw, err := Files.ReadFile("stack-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Statement []struct {
			Effect    string
			Action    any
			Condition map[string]map[string][]string
		}
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	denied := p.Statement[1].Condition["StringEquals"]["ResourceType"]
	for _, kind := range []string{"AWS::ElastiCache::ReplicationGroup", "AWS::ElastiCache::GlobalReplicationGroup", "AWS::DynamoDB::GlobalTable", "AWS::DSQL::Cluster", "AWS::KMS::Key"} {
		if p.Statement[1].Effect != "Deny" || !slices.Contains(denied, kind) {
			t.Errorf("an update may replace a %s", kind)
		}
	}
}

// Every template stands in a plan of some settings: what nobody uses goes.
func TestEveryTemplateIsPlanned(t *testing.T) {
	used := map[string]bool{}
	for _, s := range samples() {
		p, err := awsplan.New(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range p.Steps {
			used[step.Template] = true
		}
	}
	for name := range templates(t) {
		if !used[name] {
			t.Errorf("no plan uses %s", name)
		}
	}
}

// samples are settings that use all templates between them.
func samples() []awsplan.Settings {
	places := func(names ...string) (out []awsplan.Region) {
		for i, n := range names {
			out = append(out, awsplan.Region{Name: n, CIDR: "10." + string(rune('1'+i)) + ".0.0/16"})
		}
		return out
	}
	buckets := map[string]string{"us-east-1": "programs-a", "us-east-2": "programs-b", "us-west-1": "programs-c", "us-west-2": "programs-d"}
	return []awsplan.Settings{
		{Name: "sessions", Domain: "session.internal", Regions: places("us-west-1", "us-west-2"), Artifacts: buckets, Side: true, DNS: awsplan.DNSARC, Shop: true, Edge: true},
		{
			Name: "sessions", Domain: "session.internal", Regions: places("us-west-1", "us-west-2"), Artifacts: buckets, Transit: true,
			Promoter: awsplan.PromoterNodes, Witness: awsplan.Region{Name: "us-east-1", CIDR: "10.9.0.0/16"},
		},
		{Name: "sessions", Regions: places("us-east-1", "us-west-2"), Variant: awsplan.VariantDSQL, Witness: awsplan.Region{Name: "us-east-2"}},
		{Name: "sessions", Regions: places("us-east-1", "us-west-2"), Variant: awsplan.VariantDynamo, Artifacts: buckets, Shop: true},
		{
			Name: "sessions", Regions: places("us-east-1", "us-west-2"), Variant: awsplan.VariantDynamo, Artifacts: buckets, Mail: "oncall@example.com",
			Strong: true, Witness: awsplan.Region{Name: "us-east-2"},
		},
	}
}
