package awsplan

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// A faulty case is settings with all that is to be said of them.
type faulty struct {
	settings Settings
	want     []string
}

// faultyWords are about single settings.
func faultyWords() map[string]faulty {
	two := in("us-west-1", "us-west-2")
	return map[string]faulty{
		"nothing": {Settings{}, []string{"name: \"\" is no name", "regions: there are 0"}},
		"names": {two.with(func(s *Settings) { s.Name, s.Domain, s.Mail, s.Release = "My--shop", "Session.internal.", "me", "/x" }), []string{
			"name: \"My--shop\"", "domain: \"Session.internal.\"", "mail: \"me\"", "release: \"/x\"",
		}},
		"long name":        {two.with(func(s *Settings) { s.Name = strings.Repeat("a", 21) }), []string{"name: "}},
		"words":            {two.with(func(s *Settings) { s.Variant, s.Retain, s.Architecture = "redis", "all", "riscv" }), []string{"variant: ", "retain: ", "architecture: "}},
		"dns and promoter": {two.with(func(s *Settings) { s.DNS, s.Promoter = "weighted", "alarms" }), []string{"dns: ", "promoter: "}},
		"small nodes":      {two.with(func(s *Settings) { s.NodeType, s.Replicas = "cache.t4g.small", new(0) }), []string{"node_type: \"cache.t4g.small\" can't be in a Global Datastore", "replicas: "}},
		"sizes": {in("us-west-2").with(func(s *Settings) { s.Shards, s.Replicas, s.EngineVersion, s.NodeType = 3, new(9), "9.0.0", "large" }), []string{
			"shards: ", "replicas: ", "engine_version: ", "node_type: ",
		}},
		"old engine":             {in("us-west-2").with(func(s *Settings) { s.EngineVersion = "7.1" }), []string{"engine_version: "}},
		"nodes of one":           {in("us-west-2").with(func(s *Settings) { s.Promoter = PromoterNodes }), []string{"promoter: with one Region there is nobody"}},
		"failover of one":        {in("us-west-2").with(func(s *Settings) { s.DNS = DNSFailover }), []string{"dns: failover has nothing to choose from"}},
		"edge without shop":      {two.with(func(s *Settings) { s.Edge = true }), []string{"edge: there is no shop"}},
		"shops in eight Regions": {in("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Shop = true }), []string{"shop: there are 8 Regions, and a roam.yaml has 7"}},
		"foreign certificate": {two.with(func(s *Settings) {
			s.Shop, s.Edge, s.Certificate = true, true, map[string]string{"us-west-1": "arn:aws:acm:us-west-2:1:certificate/x"}
		}), []string{"certificate.us-west-1: ", "certificate.us-west-2: is missing"}},
		"a cache's": {in("us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.DNS, s.Side, s.NodeType, s.ClusterMode = DNSARC, true, "cache.r7g.large", true }), []string{
			"dns: is a cache's", "side: is a cache's", "node_type: is a cache's", "cluster_mode: is a cache's",
		}},
		"migrated": {two.with(func(s *Settings) { s.Migrated = true }), []string{"migrated: "}},
	}
}

// faultyPlaces are about Regions, networks and witnesses.
func faultyPlaces() map[string]faulty {
	two := in("us-west-1", "us-west-2")
	return map[string]faulty{
		"four Regions":             {in("us-west-1", "us-west-2", "us-east-1", "us-east-2"), []string{"regions: there are 4; want 1 to 3"}},
		"no Region of AWS":         {in("us-west-1", "oregon"), []string{`regions[1].name: "oregon"`}},
		"twice":                    {in("us-west-1", "us-west-1"), []string{"is there twice"}},
		"overlap":                  {two.with(func(s *Settings) { s.Regions[1].CIDR = "10.1.16.0/20" }), []string{"regions[1].cidr: 10.1.16.0/20 and regions[0].cidr 10.1.0.0/16 have a part in common"}},
		"overlap with the witness": {matrix()["two-nodes"].with(func(s *Settings) { s.Witness.CIDR = "10.2.0.0/20" }), []string{"witness.cidr: 10.2.0.0/20 and regions[1].cidr"}},
		"networks": {in("us-west-1", "us-west-2", "ca-central-1").with(func(s *Settings) {
			s.Regions[0].CIDR, s.Regions[1].CIDR, s.Regions[2].CIDR = "10.1.0.1/16", "10.2.0.0/24", "100.64.0.0/16"
		}), []string{"regions[0].cidr: \"10.1.0.1/16\" is no network", "regions[1].cidr: 10.2.0.0/24 has the wrong size", "regions[2].cidr: 100.64.0.0/16 is not private"}},
		"zones":                 {two.with(func(s *Settings) { s.Regions[0].Zones = 4 }), []string{"regions[0].zones"}},
		"no buckets":            {two.with(func(s *Settings) { s.Artifacts = map[string]string{"us-west-2": "s3://x/y"} }), []string{"artifacts.us-west-1: there is no bucket", "artifacts.us-west-2: \"s3://x/y\""}},
		"nodes without witness": {two.with(func(s *Settings) { s.Promoter = PromoterNodes }), []string{"witness.name: there is none"}},
		"witness without need":  {two.with(func(s *Settings) { witness(s) }), []string{"witness.name: there is nobody"}},
		"witness among Regions": {matrix()["two-nodes"].with(func(s *Settings) { s.Witness.Name = "us-west-2" }), []string{"keeps sessions already"}},
	}
}

// faultyChoices are about what is not offered where it is wanted.
func faultyChoices() map[string]faulty {
	return map[string]faulty{
		"DSQL in us-west-1": {in("us-west-1", "us-west-2").bare(VariantDSQL).with(func(s *Settings) { s.Witness.Name = "us-east-2" }), []string{
			"regions[0].name: Aurora DSQL in several Regions is not offered in us-west-1; use us-east-1, us-east-2 and us-west-2",
		}},
		"DSQL alone in us-west-1": {in("us-west-1").bare(VariantDSQL), []string{"regions[0].name: Aurora DSQL is not offered in us-west-1"}},
		"strong in us-west-1": {in("us-west-1", "us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Strong, s.Witness.Name = true, "eu-west-1" }), []string{
			"regions[0].name: a Global Table of strong consistency is not offered in us-west-1", "witness.name: a Global Table of strong consistency is not offered in eu-west-1",
		}},
		"strong and alone": {in("us-west-2").bare(VariantDynamo).with(func(s *Settings) { s.Strong = true }), []string{"strong: "}},
		"witness elsewhere": {matrix()["two-nodes"].with(func(s *Settings) {
			s.Witness.Name, s.Artifacts["cn-north-1"] = "cn-north-1", "programs-cn"
		}), []string{"witness.name: cn-north-1 is in another partition"}},
		"partitions":   {in("us-west-1", "cn-north-1"), []string{"regions[1].name: cn-north-1 is in another partition"}},
		"ARC in China": {in("cn-north-1", "cn-northwest-1").with(func(s *Settings) { s.DNS, s.Shop, s.Edge = DNSARC, true, true }), []string{"dns: routing controls of ARC are not offered", "edge: Global Accelerator is not offered"}},
		"isolated":     {in("us-iso-east-1"), []string{"is not known here"}},
	}
}

// All faults of settings are told at once, each with what to do, and nothing else is.
func TestFaults(t *testing.T) {
	all := faultyWords()
	maps.Copy(all, faultyPlaces())
	maps.Copy(all, faultyChoices())
	for name, c := range all {
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
