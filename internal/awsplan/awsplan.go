package awsplan

import (
	"maps"
	"slices"
)

// New returns the plan of settings. It asks nobody anything. It fails with Faults, which says all that
// is wrong at once, and what to do about each.
func New(s Settings) (Plan, error) {
	s = s.withDefaults()
	if faults := judge(s); len(faults) > 0 {
		return Plan{}, faults
	}
	b := &builder{s: s, plan: Plan{Name: s.Name}}
	b.networks()
	switch s.Variant {
	case VariantCache:
		b.caches()
		b.names()
		b.watchers()
		b.members()
	case VariantDynamo:
		b.table()
		b.sweeper()
		b.described()
	case VariantDSQL:
		b.clusters()
		b.described()
	}
	b.front()
	b.advise()
	b.bill()
	b.undo()
	return b.plan, nil
}

// Artifacts returns what must be in the buckets of Settings.Artifacts, by Region: the archives of "make lambda",
// and the program roam for Linux.
func Artifacts(s Settings) map[string][]string {
	s = s.withDefaults()
	out := map[string][]string{}
	for _, r := range s.Regions {
		if s.Variant == VariantCache || s.sweeps() && r.Name == s.Regions[0].Name {
			out[r.Name] = append(out[r.Name], s.archive())
		}
		if s.Shop || s.nodes() {
			out[r.Name] = append(out[r.Name], s.program())
		}
	}
	if s.nodes() && s.Witness.Name != "" {
		out[s.Witness.Name] = append(out[s.Witness.Name], s.program())
	}
	return out
}

// withDefaults returns settings with all that has a default.
func (s Settings) withDefaults() Settings {
	text := func(v *string, standard string) {
		if *v == "" {
			*v = standard
		}
	}
	text(&s.Variant, VariantCache)
	text(&s.Architecture, "arm64")
	text(&s.Release, "roam")
	text(&s.Retain, RetainSnapshots)
	if s.Variant == VariantCache {
		text(&s.DNS, DNSRecord)
		text(&s.Promoter, PromoterLambda)
		text(&s.NodeType, "cache.r7g.large")
		text(&s.EngineVersion, "8.2")
		if len(s.Regions) == 1 && s.Promoter == PromoterLambda {
			s.Promoter = PromoterNone // there is nobody to promote
		}
	}
	if s.Shards == 0 {
		s.Shards = 1
	}
	if s.Replicas == nil {
		one := 1
		s.Replicas = &one
	}
	s.Regions = slices.Clone(s.Regions)
	for i := range s.Regions {
		if s.Regions[i].Zones == 0 {
			s.Regions[i].Zones = 2
		}
	}
	if s.Witness.Name != "" && s.Witness.Zones == 0 {
		s.Witness.Zones = 2
	}
	return s
}

// nodes reports whether there are nodes.
func (s Settings) nodes() bool { return s.Variant == VariantCache && s.Promoter == PromoterNodes }

// sweeps reports whether somebody has to delete what is past its time.
func (s Settings) sweeps() bool { return s.Variant == VariantDynamo && s.Strong }

// networked reports whether Regions have networks.
func (s Settings) networked() bool { return s.Variant == VariantCache || s.Shop }

// transit reports whether networks meet at Transit Gateways: each of a mesh of peerings is two routes in each
// network, and beyond ten networks nobody reads them any more.
func (s Settings) transit() bool {
	return s.Variant == VariantCache && (s.Transit || len(s.places())+s.Networks > mostPeered)
}

// mostPeered are the networks up to which they are peered, each with each.
const mostPeered = 10

// places are the Regions that have a network.
func (s Settings) places() []Region {
	if s.nodes() && s.Witness.Name != "" {
		return append(slices.Clone(s.Regions), s.Witness)
	}
	return s.Regions
}

// lambdaArchitecture is the architecture in Lambda's words.
func (s Settings) lambdaArchitecture() string {
	if s.Architecture == "amd64" {
		return "x86_64"
	}
	return s.Architecture
}

func (s Settings) archive() string { return s.Release + "/lambda-" + s.Architecture + ".zip" }
func (s Settings) program() string { return s.Release + "/roam-" + s.Architecture }

// group is the ID of a Region's replication group, and of a node of it: AWS's names can be told.
func (s Settings) group(region string) string { return s.Name + "-" + region }

func (s Settings) cacheNode(region, number string) string {
	if s.ClusterMode {
		return s.group(region) + "-0001-" + number
	}
	return s.group(region) + "-" + number
}

// A builder makes a plan.
type builder struct {
	s    Settings
	plan Plan
}

// name is a stack's.
func (b *builder) name(part string) string { return b.s.Name + "-" + part }

// a stack that is to be added: its part, where, which template.
type stack struct {
	part, region, template string
	parameters             map[string]string
	feeds                  []Feed
	iam, roles             bool
	policy                 string
	why                    string
}

func (b *builder) add(s stack) {
	step := Step{
		Do: DoStack, Stack: b.name(s.part), Region: s.region, Template: s.template, Parameters: maps.Clone(s.parameters),
		Feeds: s.feeds, Roles: s.roles, Policy: s.policy, Why: s.why,
	}
	if s.iam {
		step.Capabilities = []string{"CAPABILITY_IAM"}
	}
	b.plan.Steps = append(b.plan.Steps, step)
}

// feed is a parameter that the output of a part in a Region fills.
func (b *builder) feed(parameter, part, region, output string) Feed {
	return Feed{Parameter: parameter, Stack: b.name(part), Region: region, Output: output}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
