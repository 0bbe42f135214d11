package elasticache

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// What groups are called while something happens to them, and when nothing does.
const (
	creating     = "creating"
	available    = "available"
	modifying    = "modifying"
	deleting     = "deleting"
	createFailed = "create-failed"
)

// mostReplicas bounds a group's nodes beside its primary, as ElastiCache does.
const mostReplicas = 5

// groupID is what groups may be called.
var groupID = regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9]){0,39}$`)

// engineVersion is how versions are said: two parts, or three for Redis of old.
var engineVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)

// authToken is what tokens may be: printable, and few special ones.
var authToken = regexp.MustCompile(`^[A-Za-z0-9!&#$^<>-]{16,128}$`)

// A group is a replication group.
type group struct {
	region, id, description, status string
	engine, version, nodeType       string
	automaticFailover, multiAZ      bool
	tls, atRest                     bool
	token                           string
	topic, topicStatus              string
	port                            int
	created                         time.Time
	global                          string // the Global Datastore's ID; "" if it is in none
	frozen                          bool   // takes no writes: a failover is going on

	primary int // among nodes
	nodes   []*node
	size    int            // how many nodes it is to have
	fronts  []*relay.Relay // the primary's endpoint and the reader's
	link    *relay.Relay   // by which its primary follows that of another Region
}

// A node is one server.
type node struct {
	id     string
	server *valkeyserver.Server
}

func (g *group) key() groupKey { return groupKey{g.region, g.id} }

// inherited are the parameters that a secondary must not have.
func inherited() []string {
	return []string{
		"PrimaryClusterId", "AutomaticFailoverEnabled", "NumNodeGroups", "CacheParameterGroupName", "CacheNodeType", "Engine",
		"EngineVersion", "CacheSecurityGroupNames", "TransitEncryptionEnabled", "AtRestEncryptionEnabled", "SnapshotArns", "SnapshotName",
	}
}

func (f *Fake) createGroup(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "ReplicationGroupId", "ReplicationGroupDescription"); err != nil {
		return nil, err
	}
	g := &group{
		region: c.Region, id: strings.ToLower(p.Str("ReplicationGroupId")), description: p.Str("ReplicationGroupDescription"),
		status: creating, created: f.agenda.Now(), global: p.Str("GlobalReplicationGroupId"), token: p.Str("AuthToken"), port: 6379,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups[g.key()] != nil {
		return nil, fault("ReplicationGroupAlreadyExists", "Replication group %s already exists", g.id)
	}
	if err := g.describe(p); err != nil {
		return nil, err
	}
	if g.global != "" {
		if err := f.joins(g, p); err != nil {
			return nil, err
		}
	}
	if err := f.checkTopic(g, p.Str("NotificationTopicArn")); err != nil {
		return nil, err
	}
	if f.nodes+g.size > mostNodes {
		return nil, fault("NodeQuotaForCustomerExceeded", "fakeaws runs at most %d nodes", mostNodes)
	}
	f.nodes += g.size
	f.groups[g.key()] = g
	if gl := f.globals[g.global]; gl != nil {
		gl.status = modifying
		gl.members = append(gl.members, &member{groupKey: g.key(), status: "associating"})
	}
	f.agenda.After(f.config.Times.Create, func(ctx context.Context) { f.startGroup(ctx, g) })
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
}

// describe reads what a group is to be.
func (g *group) describe(p door.Params) error {
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
	if err := g.count(p); err != nil {
		return err
	}
	if g.global != "" {
		return nil // joins judges the rest
	}
	return g.check(p)
}

// count reads how many nodes a group is to have.
func (g *group) count(p door.Params) error {
	shards, replicas := 1, 0
	if p.Has("NumNodeGroups") {
		shards, _ = p.Int("NumNodeGroups")
	}
	switch {
	case p.Has("ReplicasPerNodeGroup"):
		replicas, _ = p.Int("ReplicasPerNodeGroup")
	case p.Has("NumCacheClusters"):
		n, _ := p.Int("NumCacheClusters")
		replicas = n - 1
	}
	if replicas < 0 || replicas > mostReplicas {
		return invalidValue("The number of replicas must be from 0 to %d.", mostReplicas)
	}
	if shards != 1 || strings.HasSuffix(p.Str("CacheParameterGroupName"), ".cluster.on") || p.Str("ClusterMode") == "enabled" {
		return invalidCombination("fakeaws has cluster mode disabled alone: one node group")
	}
	g.size = 1 + replicas
	return nil
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
	case g.automaticFailover && g.size < 2:
		return invalidCombination("Automatic failover needs a replica.")
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

// find returns a group of the Region that is asked.
func (f *Fake) find(c *door.Call, id string) (*group, error) {
	g := f.groups[groupKey{c.Region, strings.ToLower(id)}]
	if g == nil {
		return nil, noGroup(id)
	}
	return g, nil
}

func (f *Fake) describeGroups(c *door.Call) (any, error) {
	var out struct {
		Marker            string       `xml:",omitempty"`
		ReplicationGroups []groupShape `xml:"ReplicationGroups>ReplicationGroup"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var groups []*group
	if id := c.Params.Str("ReplicationGroupId"); id != "" {
		g, err := f.find(c, id)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	} else {
		for _, g := range f.groups {
			if g.region == c.Region {
				groups = append(groups, g)
			}
		}
		slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	}
	page, next, err := paged(c.Params, groups, func(g *group) string { return g.id })
	if err != nil {
		return nil, err
	}
	for _, g := range page {
		out.ReplicationGroups = append(out.ReplicationGroups, f.shape(g))
	}
	out.Marker = next
	return out, nil
}

// paged returns what Marker and MaxRecords ask for of a sorted list.
func paged[T any](p door.Params, all []T, name func(T) string) (page []T, marker string, err error) {
	most := 100
	if p.Has("MaxRecords") {
		n, ok := p.Int("MaxRecords")
		if !ok || n < 20 || n > 100 {
			return nil, "", invalidValue("MaxRecords must be from 20 to 100.")
		}
		most = n
	}
	if after := p.Str("Marker"); after != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(t T) bool { return name(t) <= after })
	}
	if len(all) > most {
		return all[:most], name(all[most-1]), nil
	}
	return all, "", nil
}

func (f *Fake) modifyGroup(c *door.Call) (any, error) {
	p := c.Params
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(c, p.Str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if g.status != available {
		return nil, groupState("Replication group must be in available state to modify.")
	}
	if err := f.applyTo(g, p); err != nil {
		return nil, err
	}
	g.status = modifying
	f.agenda.After(f.config.Times.Modify, func(context.Context) { f.settle(g) })
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
}

// settle ends a modification.
func (f *Fake) settle(g *group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.status == modifying {
		g.status = available
	}
}

// applyTo changes what a modification says.
func (f *Fake) applyTo(g *group, p door.Params) error {
	ownAlone := []string{"AutomaticFailoverEnabled", "MultiAZEnabled", "CacheNodeType", "Engine", "EngineVersion", "CacheParameterGroupName"}
	known := append(slices.Clone(ownAlone), "ReplicationGroupId", "ReplicationGroupDescription", "NotificationTopicArn", "NotificationTopicStatus", "ApplyImmediately", "Action", "Version")
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(known, name) {
			return invalidCombination("fakeaws can't modify %s", name)
		}
		if g.global != "" && slices.Contains(ownAlone, name) {
			return groupState("Cluster is part of a global cluster. Request rejected")
		}
	}
	if p.Has("AutomaticFailoverEnabled") {
		g.automaticFailover = p.Truth("AutomaticFailoverEnabled")
	}
	if p.Has("MultiAZEnabled") {
		g.multiAZ = p.Truth("MultiAZEnabled")
	}
	for name, field := range map[string]*string{
		"CacheNodeType": &g.nodeType, "EngineVersion": &g.version, "Engine": &g.engine,
		"ReplicationGroupDescription": &g.description, "NotificationTopicStatus": &g.topicStatus,
	} {
		if p.Has(name) {
			*field = p.Str(name)
		}
	}
	if p.Has("NotificationTopicArn") {
		return f.checkTopic(g, p.Str("NotificationTopicArn"))
	}
	return nil
}

func (f *Fake) deleteGroup(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(c, c.Params.Str("ReplicationGroupId"))
	switch {
	case err != nil:
		return nil, err
	case g.global != "":
		return nil, groupState("Cluster is part of a global cluster. Request rejected")
	case g.status != available && g.status != createFailed:
		return nil, groupState("Replication group %s has status %s which is not valid for deletion.", g.id, g.status)
	}
	f.remove(g)
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
}

// remove begins a group's end. The caller holds the lock.
func (f *Fake) remove(g *group) {
	g.status = deleting
	f.agenda.After(f.config.Times.Delete, func(context.Context) {
		f.mu.Lock()
		if f.groups[g.key()] != g {
			f.mu.Unlock()
			return // Close has it
		}
		delete(f.groups, g.key())
		f.nodes -= g.size
		f.mu.Unlock()
		f.tearDown(g)
		f.tell(g, "DeleteCacheClusterComplete", nil)
	})
}

// testFailover is a failover within a Region: a replica becomes primary, and the endpoint
// leads there.
func (f *Fake) testFailover(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(c, c.Params.Str("ReplicationGroupId"))
	switch {
	case err != nil:
		return nil, err
	case c.Params.Str("NodeGroupId") != "0001":
		return nil, door.Faultf(404, "NodeGroupNotFoundFault", "Node group %s not found.", c.Params.Str("NodeGroupId"))
	case g.status != available:
		return nil, groupState("Replication group must be in available state.")
	case !g.automaticFailover || len(g.nodes) < 2:
		return nil, groupState("Automatic failover must be enabled, and there must be a replica.")
	}
	g.status = modifying
	f.agenda.After(f.config.Times.Failover, func(ctx context.Context) {
		f.mu.Lock()
		g.primary = (g.primary + 1) % len(g.nodes)
		promoted := g.nodes[g.primary].id
		f.mu.Unlock()
		f.align(ctx)
		f.settle(g)
		f.tell(g, "FailoverComplete", map[string]string{"Cache Cluster ID": promoted, "Replication Group ID": g.id})
	})
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
}

// nodeID is what a group's node is called.
func (g *group) nodeID(i int) string { return fmt.Sprintf("%s-%03d", g.id, i+1) }
