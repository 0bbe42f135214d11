package awsplan

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/cfn"
)

// schemas are AWS's, where there are any; none otherwise, and in CI that is a failure.
func schemas(t *testing.T) *cfn.Spec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "bin", "cfnspec", "spec.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no schemas, and this is CI: scripts/install-test-deps.sh makes them: %v", err)
		}
		t.Logf("NOT RUN against AWS's schemas, so what would be made anew is not known; scripts/install-test-deps.sh makes them, with Node: %v", err)
		return &cfn.Spec{}
	}
	spec, err := cfn.ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// in returns settings in some Regions, with networks and buckets.
func in(regions ...string) Settings {
	s := Settings{Name: "sessions", Domain: "session.internal", Artifacts: map[string]string{}, Mail: "oncall@example.com"}
	for i, r := range regions {
		s.Regions = append(s.Regions, Region{Name: r, CIDR: "10." + string(rune('1'+i%9)) + ".0.0/16"})
		s.Artifacts[r] = "programs-" + r
	}
	return s
}

// with changes settings.
func (s Settings) with(change func(*Settings)) Settings {
	s.Regions, s.Artifacts = slices.Clone(s.Regions), maps.Clone(s.Artifacts)
	change(&s)
	return s
}

// bare returns settings without what is a cache's.
func (s Settings) bare(variant string) Settings {
	s.Variant, s.Domain, s.Mail = variant, "", ""
	return s
}

func witness(s *Settings) {
	s.Witness = Region{Name: "eu-west-1", CIDR: "10.99.0.0/16"}
	s.Artifacts["eu-west-1"] = "programs-eu-west-1"
}

// matrix are settings of all kinds that can be deployed.
func matrix() map[string]Settings {
	two := in("us-west-1", "us-west-2")
	three := in("us-west-1", "us-west-2", "ca-central-1")
	sixteen := strings.Fields("us-east-1 us-east-2 us-west-1 us-west-2 ca-central-1 sa-east-1 eu-west-1 eu-west-2 eu-west-3 eu-central-1 eu-north-1 ap-south-1 ap-northeast-1 ap-northeast-2 ap-southeast-1 ap-southeast-2")
	return map[string]Settings{
		"one":          in("us-west-2"),
		"small":        in("us-west-2").with(func(s *Settings) { s.NodeType, s.Replicas = "cache.t4g.small", new(0) }),
		"two":          two,
		"two-failover": two.with(func(s *Settings) { s.DNS, s.Side = DNSFailover, true }),
		"two-arc":      two.with(func(s *Settings) { s.DNS = DNSARC }),
		"two-nodes":    two.with(func(s *Settings) { s.Promoter, s.Side = PromoterNodes, true; witness(s) }),
		"two-nodes-shop": two.with(func(s *Settings) {
			s.Promoter, s.Shop = PromoterNodes, true
			s.Certificate = map[string]string{"us-west-1": "arn:aws:acm:us-west-1:123456789012:certificate/1"}
			witness(s)
		}),
		"two-nodes-cluster": two.with(func(s *Settings) {
			s.Promoter, s.ClusterMode, s.Shards = PromoterNodes, true, 3
			witness(s)
		}),
		"two-cluster":  two.with(func(s *Settings) { s.ClusterMode, s.Shards, s.Promoter = true, 3, PromoterNone }),
		"two-migrated": two.with(func(s *Settings) { s.DNS, s.Migrated = DNSFailover, true }),
		"three":        three,
		"three-arc":    three.with(func(s *Settings) { s.DNS, s.Side = DNSARC, true }),
		"three-nodes":  three.with(func(s *Settings) { s.DNS, s.Promoter = DNSFailover, PromoterNodes }),
		"three-all": three.with(func(s *Settings) {
			s.DNS, s.Shop, s.Edge, s.Transit, s.Side, s.Architecture, s.EngineVersion = DNSFailover, true, true, true, true, "amd64", "9.0"
		}),
		"dynamodb":        in(sixteen...).bare(VariantDynamo),
		"dynamodb-one":    in("us-west-1").bare(VariantDynamo),
		"dynamodb-shop":   two.bare(VariantDynamo).with(func(s *Settings) { s.Shop, s.Edge = true, true }),
		"dynamodb-strong": in("us-east-1", "us-east-2", "us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Strong = true }),
		"dynamodb-witness": in("us-east-1", "us-west-2").bare(VariantDynamo).with(func(s *Settings) {
			s.Strong, s.Witness = true, Region{Name: "us-east-2"}
		}),
		"dsql":                in("us-east-1", "us-west-2").bare(VariantDSQL).with(func(s *Settings) { s.Witness = Region{Name: "us-east-2"} }),
		"dynamodb-seven-shop": in(sixteen[:7]...).bare(VariantDynamo).with(func(s *Settings) { s.Shop = true }),
		"dynamodb-strong-shop": in("us-east-1", "us-west-2").bare(VariantDynamo).with(func(s *Settings) {
			s.Strong, s.Shop, s.Witness = true, true, Region{Name: "us-east-2"}
		}),
		"dsql-shop":     in("us-east-1", "us-west-2").bare(VariantDSQL).with(func(s *Settings) { s.Shop, s.Witness = true, Region{Name: "us-east-2"} }),
		"dsql-one-shop": in("eu-west-1").bare(VariantDSQL).with(func(s *Settings) { s.Shop = true }),
		"dsql-one":      in("eu-west-1").bare(VariantDSQL),
	}
}
