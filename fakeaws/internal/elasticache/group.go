package elasticache

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// What groups are called while something happens to them, and when nothing does.
const (
	creating     = "creating"
	available    = "available"
	modifying    = "modifying"
	deleting     = "deleting"
	createFailed = "create-failed"
)

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

	cluster   bool // mode enabled
	shards    []*shard
	perShard  int         // how many nodes each of them is to have
	endpoints []*endpoint // the primary's and the reader's, or the cluster's and each node's
	up        bool        // all that it is made of is there
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
	if err := f.describe(g, p); err != nil {
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
	if f.nodes+g.size() > mostNodes {
		return nil, fault("NodeQuotaForCustomerExceeded", "fakeaws runs at most %d nodes", mostNodes)
	}
	f.nodes += g.size()
	f.groups[g.key()] = g
	if gl := f.globals[g.global]; gl != nil {
		gl.status = modifying
		gl.members = append(gl.members, &member{groupKey: g.key(), status: "associating"})
	}
	f.agenda.After(f.config.Times.Create, func(ctx context.Context) { f.startGroup(ctx, g) })
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
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
		if g.cluster && !p.Truth("AutomaticFailoverEnabled") {
			return invalidCombination("Automatic failover can't be turned off with cluster mode enabled.")
		}
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
		f.nodes -= g.size()
		f.mu.Unlock()
		f.tearDown(g)
		f.tell(g, "DeleteCacheClusterComplete", nil)
	})
}
