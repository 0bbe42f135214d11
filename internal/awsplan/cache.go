package awsplan

import (
	"strconv"
	"strings"
)

// policyFile is what no update may do to a stack that keeps sessions.
const policyFile = "stack-policy.json"

// home is the Region that a deployment begins with.
func (b *builder) home() Region { return b.s.Regions[0] }

// grown reports whether there is more than one Region.
func (b *builder) grown() bool { return len(b.s.Regions) > 1 }

// secret adds the key of cookies and, if there are caches, their password.
func (b *builder) secret(why string) {
	parameters := map[string]string{"Deployment": b.s.Name, "Caches": yes(b.s.Variant == VariantCache)}
	for i := 1; i < mostInFile; i++ {
		n := strconv.Itoa(i)
		parameters["Replica"+n] = ""
		if i < len(b.s.Regions) {
			parameters["Replica"+n] = b.s.Regions[i].Name
		}
	}
	b.add(stack{part: "secret", region: b.home().Name, template: "secret.yaml", parameters: parameters, why: why})
}

// caches adds the password and the caches, one after the other: a Global Datastore takes one member at a time.
func (b *builder) caches() {
	home := b.home()
	b.secret("The password of the caches, with a copy in each Region.")
	b.primary()
	for _, r := range b.s.Regions[1:] {
		b.settled("Before " + r.Name + " joins, nothing else may be going on.")
		b.add(stack{
			part: "cache", region: r.Name, template: "cache-secondary.yaml", roles: true, policy: policyFile,
			parameters: b.sized(map[string]string{"Deployment": b.s.Name}),
			feeds:      append(b.inside(r), b.feed("Global", "cache", home.Name, "Global")),
			why:        "The cache of " + r.Name + " joins, and copies what there is.",
		})
	}
	if b.grown() {
		b.settled("All have joined.")
	}
	if b.s.Side {
		b.sides()
	}
}

// primary adds the cache of the first Region.
func (b *builder) primary() {
	parameters := b.sized(map[string]string{
		"Deployment": b.s.Name, "Global": yes(b.grown()), "Shards": strconv.Itoa(b.s.Shards), "NodeType": b.s.NodeType,
		"EngineVersion": b.s.EngineVersion, "Family": b.family(),
	})
	why := "The cache of " + b.home().Name + "."
	if b.grown() {
		why = "The cache of " + b.home().Name + ", and the Global Datastore that it is the first member of."
	}
	b.add(stack{
		part: "cache", region: b.home().Name, template: "cache-primary.yaml", roles: true, policy: policyFile,
		parameters: parameters, feeds: b.inside(b.home()), why: why,
	})
}

// sized adds the size of a cache to parameters.
func (b *builder) sized(parameters map[string]string) map[string]string {
	parameters["ClusterMode"] = yes(b.s.ClusterMode)
	parameters["Replicas"] = strconv.Itoa(*b.s.Replicas)
	parameters["Nodes"] = strconv.Itoa(*b.s.Replicas + 1)
	return parameters
}

// family is the parameter group family of a version of Valkey.
func (b *builder) family() string {
	major, _, _ := strings.Cut(b.s.EngineVersion, ".")
	return "valkey" + major
}

// inside are the feeds of whatever cache is in a Region.
func (b *builder) inside(r Region) []Feed {
	return []Feed{
		b.feed("Subnets", "network", r.Name, "PrivateSubnets"), b.feed("SecurityGroup", "network", r.Name, "CacheSecurityGroup"),
		b.feed("Secret", "secret", b.home().Name, "Name"),
	}
}

func (b *builder) settled(why string) {
	b.plan.Steps = append(b.plan.Steps, Step{
		Do: DoWaitGlobal, Stack: b.name("cache"), Region: b.home().Name,
		Feeds: []Feed{b.feed("Global", "cache", b.home().Name, "Global")}, Why: why,
	})
}

func (b *builder) sides() {
	for _, r := range b.s.Regions {
		b.add(stack{
			part: "side", region: r.Name, template: "side.yaml",
			parameters: map[string]string{"Deployment": b.s.Name, "EngineVersion": b.s.EngineVersion, "Family": b.family()},
			feeds:      b.inside(r),
			why:        "A small cache of " + r.Name + "'s own, for writes that can't get to the primary.",
		})
	}
}
