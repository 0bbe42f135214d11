package elasticache

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// failover begins the change of a Global Datastore's primary. From now on nobody takes
// writes; what the new primary has not got by then is lost, as replication is asynchronous.
func (f *Fake) failover(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "GlobalReplicationGroupId", "PrimaryRegion", "PrimaryReplicationGroupId"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gl, err := f.global(p)
	if err != nil {
		return nil, err
	}
	to := groupKey{p.Str("PrimaryRegion"), strings.ToLower(p.Str("PrimaryReplicationGroupId"))}
	m := gl.member(to)
	switch {
	case m == nil:
		return nil, invalidValue("Replication group %s in %s is not a member of %s.", to.id, to.region, gl.id)
	case gl.primary == to:
		return nil, invalidValue("Replication group %s in %s is the primary already.", to.id, to.region)
	case gl.status != available || m.status != "associated":
		return nil, globalState("Global replication group %s is not available or in primary-only state: it is %s.", gl.id, gl.status)
	case f.dark[to.region]:
		return nil, globalState("Replication group %s in %s can't be reached.", to.id, to.region)
	case f.dark[gl.primary.region] && f.config.DeadPrimary == Refuse:
		return nil, globalState("The primary of %s can't be reached: disassociate a secondary instead.", gl.id)
	}
	f.beginFailover(gl, to)
	return globalAnswer{f.tellGlobal(gl, true)}, nil
}

// beginFailover has the primary take no more writes, and plans the rest. The caller holds
// the lock.
func (f *Fake) beginFailover(gl *global, to groupKey) {
	gl.status = modifying
	for _, m := range gl.members {
		if g := f.groups[m.groupKey]; g != nil {
			g.status = modifying
		}
	}
	if f.dark[gl.primary.region] && f.config.DeadPrimary == Stall {
		gl.stalled = &to
		return
	}
	if g := f.groups[gl.primary]; g != nil {
		g.frozen = true
	}
	f.agenda.Go(f.align)
	f.agenda.After(f.config.Times.Failover, func(ctx context.Context) { f.endFailover(ctx, gl, to) })
}

// goOn takes up the failovers that waited for a Region.
func (f *Fake) goOn(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, gl := range f.globals {
		if to := gl.stalled; to != nil && !f.dark[gl.primary.region] {
			gl.stalled = nil
			f.beginFailover(gl, *to)
		}
	}
}

// endFailover swaps the roles.
func (f *Fake) endFailover(ctx context.Context, gl *global, to groupKey) {
	f.mu.Lock()
	if old := f.groups[gl.primary]; old != nil {
		old.frozen = false
	}
	gl.primary = to
	for _, m := range gl.members {
		f.cutOff(m.groupKey)
	}
	f.setPaths()
	f.mu.Unlock()
	f.align(ctx)
	f.mu.Lock()
	gl.status = gl.rest()
	for _, m := range gl.members {
		if g := f.groups[m.groupKey]; g != nil && g.status == modifying {
			g.status = available
		}
	}
	promoted := f.groups[to]
	f.mu.Unlock()
	if promoted != nil && f.config.PromotedEvent != "" {
		f.tell(promoted, f.config.PromotedEvent, nil)
	}
}

// cutOff loses what is still on its way to a group. The caller holds the lock.
func (f *Fake) cutOff(k groupKey) {
	if g := f.groups[k]; g != nil && g.up {
		for _, s := range g.shards {
			s.link.Reset()
		}
	}
}

// disassociate makes a secondary a group of its own, which takes writes.
func (f *Fake) disassociate(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "GlobalReplicationGroupId", "ReplicationGroupId", "ReplicationGroupRegion"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gl, err := f.global(p)
	if err != nil {
		return nil, err
	}
	key := groupKey{p.Str("ReplicationGroupRegion"), strings.ToLower(p.Str("ReplicationGroupId"))}
	m := gl.member(key)
	switch {
	case m == nil:
		return nil, invalidValue("Replication group %s in %s is not a member of %s.", key.id, key.region, gl.id)
	case gl.primary == key:
		return nil, invalidValue("Replication group %s in %s is the primary: only a secondary can be disassociated.", key.id, key.region)
	case gl.status != available && gl.stalled == nil || m.status != "associated":
		return nil, globalState("Global replication group %s is not available or in primary-only state: it is %s.", gl.id, gl.status)
	case f.dark[key.region]:
		return nil, globalState("Replication group %s in %s can't be reached.", key.id, key.region)
	}
	m.status, gl.status = "disassociating", modifying
	if gl.stalled != nil && *gl.stalled == key {
		gl.stalled = nil // it becomes primary of its own
	}
	f.agenda.After(f.config.Times.Disassociate, func(ctx context.Context) { f.endDisassociate(ctx, gl, key) })
	return globalAnswer{f.tellGlobal(gl, true)}, nil
}

func (f *Fake) endDisassociate(ctx context.Context, gl *global, key groupKey) {
	f.mu.Lock()
	gl.members = slices.DeleteFunc(gl.members, func(m *member) bool { return m.groupKey == key })
	if g := f.groups[key]; g != nil {
		g.global, g.status = "", available
		f.cutOff(key)
	}
	for _, m := range gl.members {
		if g := f.groups[m.groupKey]; g != nil && gl.stalled == nil {
			g.status = available
		}
	}
	if gl.stalled == nil {
		gl.status = gl.rest()
	}
	f.setPaths()
	f.mu.Unlock()
	f.align(ctx)
}

// testFailover is a failover of a shard within a Region: a replica becomes primary, and the
// endpoint leads there, or the nodes of a cluster do.
func (f *Fake) testFailover(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(c, c.Params.Str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(g.shards, func(s *shard) bool { return s.id() == c.Params.Str("NodeGroupId") })
	switch {
	case i < 0:
		return nil, door.Faultf(404, "NodeGroupNotFoundFault", "Node group %s not found.", c.Params.Str("NodeGroupId"))
	case g.status != available:
		return nil, groupState("Replication group must be in available state.")
	case !g.automaticFailover || g.perShard < 2:
		return nil, groupState("Automatic failover must be enabled, and there must be a replica.")
	}
	g.status = modifying
	s := g.shards[i]
	f.agenda.After(f.config.Times.Failover, func(ctx context.Context) {
		f.mu.Lock()
		s.primary = (s.primary + 1) % len(s.nodes)
		promoted := s.leader().id
		f.leadTo(g) // whom the servers follow takes its time
		f.mu.Unlock()
		f.align(ctx)
		f.settle(g)
		f.tell(g, "FailoverComplete", map[string]string{"Cache Cluster ID": promoted, "Replication Group ID": g.id})
	})
	return struct{ ReplicationGroup groupShape }{f.shape(g)}, nil
}

// tell sends an event to a group's topic, and keeps it for DescribeEvents. Other keys than
// the event's own come in any order, as JSON has none.
func (f *Fake) tell(g *group, name string, more map[string]string) {
	message := map[string]string{"ElastiCache:" + name: g.id}
	maps.Copy(message, more)
	text, _ := json.Marshal(message) // texts alone
	f.mu.Lock()
	if len(f.events) >= mostEvents {
		f.events = slices.Delete(f.events, 0, 1)
	}
	f.events = append(f.events, event{region: g.region, source: g.id, kind: "replication-group", message: name, at: f.agenda.Now()})
	topic, active := g.topic, g.topicStatus == "active"
	f.mu.Unlock()
	if topic == "" || !active {
		return
	}
	if err := f.config.Publish(topic, "Amazon ElastiCache Notification", string(text)); err != nil {
		f.config.Log.Warn("ElastiCache can't publish: the topic is inactive from now on", "topic", topic, "err", err)
		f.mu.Lock()
		g.topicStatus = "inactive"
		f.mu.Unlock()
	}
}
