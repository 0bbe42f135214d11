package elasticache

import (
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

const (
	// mostReplicas bounds a shard's nodes beside its primary, as ElastiCache does.
	mostReplicas = 5
	// mostShards bounds those of a group: ElastiCache has up to 500.
	mostShards = 8
)

// describe reads what a group is to be. The caller holds the lock.
func (f *Fake) describe(g *group, p door.Params) error {
	if !groupID.MatchString(g.id) {
		return invalidValue("The parameter ReplicationGroupId is not a valid identifier.")
	}
	if p.Has("Port") {
		port, ok := p.Int("Port")
		if !ok || port < 1024 || port > 65535 {
			return invalidValue("Port must be from 1024 to 65535.")
		}
		g.port = port
	}
	g.engine, g.version, g.nodeType = p.Str("Engine"), p.Str("EngineVersion"), p.Str("CacheNodeType")
	if g.engine == "" {
		g.engine = "valkey"
	}
	if g.version == "" {
		g.version = "8.0"
	}
	g.automaticFailover, g.multiAZ = p.Truth("AutomaticFailoverEnabled"), p.Truth("MultiAZEnabled")
	g.tls, g.atRest = p.Truth("TransitEncryptionEnabled"), p.Truth("AtRestEncryptionEnabled")
	if err := f.count(g, p); err != nil {
		return err
	}
	if g.global != "" {
		return nil // joins judges the rest
	}
	return g.check(p)
}

// count reads which nodes a group is to have, and whether it is a cluster.
func (f *Fake) count(g *group, p door.Params) (err error) {
	shards, replicas := 1, 0
	if p.Has("NumNodeGroups") {
		shards, _ = p.Int("NumNodeGroups")
	}
	switch {
	case p.Has("ReplicasPerNodeGroup"):
		replicas, _ = p.Int("ReplicasPerNodeGroup")
	case p.Has("NumCacheClusters") && shards == 1: // with more it is not used
		n, _ := p.Int("NumCacheClusters")
		replicas = n - 1
	}
	if g.cluster, err = f.clusterMode(g.region, p); err != nil {
		return err
	}
	switch {
	case replicas < 0 || replicas > mostReplicas:
		return invalidValue("The number of replicas must be from 0 to %d.", mostReplicas)
	case shards < 1:
		return invalidValue("NumNodeGroups must be 1 or more.")
	case shards > 1 && !g.cluster:
		return invalidCombination("NumNodeGroups %d needs cluster mode enabled, by CacheParameterGroupName or ClusterMode.", shards)
	case shards > mostShards:
		return fault("NodeGroupsPerReplicationGroupQuotaExceeded", "fakeaws has at most %d node groups in a replication group", mostShards)
	case g.cluster && len(p.Objects("NodeGroupConfiguration")) > 0:
		return invalidCombination("fakeaws knows no NodeGroupConfiguration: node groups are alike")
	}
	g.perShard = 1 + replicas
	g.divide(shards)
	return nil
}

// divide gives a group its shards.
func (g *group) divide(shards int) {
	g.shards = nil
	for i := range shards {
		g.shards = append(g.shards, &shard{number: i + 1})
	}
}

// clusterMode reports whether a group is to be a cluster: a parameter group of AWS's or of one's
// own says so, or ClusterMode does.
func (f *Fake) clusterMode(region string, p door.Params) (bool, error) {
	name := strings.ToLower(p.Str("CacheParameterGroupName"))
	by := strings.HasSuffix(name, ".cluster.on")
	if own := f.parameters[groupKey{region, name}]; own != nil {
		by = own.values["cluster-enabled"] == "yes"
	}
	switch mode := strings.ToLower(p.Str("ClusterMode")); {
	case mode == "" || mode == "disabled" && !by:
		return by, nil
	case mode == "enabled":
		return true, nil
	case mode == "disabled":
		return false, invalidCombination("ClusterMode is disabled, and parameter group %s has it enabled.", name)
	default:
		return false, invalidValue("fakeaws knows no ClusterMode %.20s", mode)
	}
}

// check judges a group that stands alone.
func (g *group) check(p door.Params) error {
	switch {
	case g.engine != "valkey" && g.engine != "redis":
		return invalidValue("Unrecognized engine: %s", g.engine)
	case !engineVersion.MatchString(g.version):
		return invalidValue("Invalid engine version: %s; it has two parts", g.version)
	case g.nodeType == "":
		return invalidCombination("CacheNodeType is required")
	case g.cluster && !g.automaticFailover:
		return invalidValue("Cluster mode enabled can't be had with automatic failover turned off.")
	case g.automaticFailover && g.perShard < 2 && !g.cluster:
		return invalidCombination("Automatic failover needs a replica.")
	case g.multiAZ && g.perShard < 2:
		return invalidCombination("Multi-AZ needs a replica.")
	case g.multiAZ && !g.automaticFailover:
		return invalidCombination("Multi-AZ needs automatic failover.")
	}
	return g.checkToken(p)
}

func (g *group) checkToken(p door.Params) error {
	switch {
	case !p.Has("AuthToken"):
		return nil
	case !g.tls:
		return invalidCombination("AuthToken needs encryption in transit.")
	case !authToken.MatchString(g.token):
		return invalidValue("Invalid AuthToken provided.")
	}
	return nil
}

// checkTopic judges the topic of a group's events.
func (f *Fake) checkTopic(g *group, arn string) error {
	if arn == "" {
		return nil
	}
	if !strings.HasPrefix(arn, "arn:aws:sns:"+g.region+":"+f.config.Account+":") {
		return invalidValue("The topic %s is not one of this account and Region.", arn)
	}
	g.topic, g.topicStatus = arn, "active"
	return nil
}
