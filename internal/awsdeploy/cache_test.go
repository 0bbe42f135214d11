package awsdeploy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// roleTime is how long ElastiCache takes for a member that leaves, and for whatever is deleted.
const roleTime = 8 * time.Second

// A cache is ElastiCache in all Regions.
type cache struct {
	groups    []*fakeGroup
	globals   []*fakeGlobal
	snapshots []string // Region and name
	topic     string   // status of all groups' topics; empty: active
}

type fakeGroup struct {
	id, region, status string
	gone               time.Time // zero: it is not going
}

type fakeGlobal struct {
	id, status string
	members    []fakeMember
	due        time.Time // when it is available again; zero: it is
	gone       bool      // and then it is gone
}

type fakeMember struct {
	group, region, role string
	leaving             bool
}

// made makes a resource of a stack, and returns its ID.
func (w *world) made(s *fakeStack, r *fakeResource) string {
	sc, _ := scopeOf(s)
	switch r.kind {
	case groupType:
		id := property(s, r.name, "ReplicationGroupId")
		w.cache.groups = append(w.cache.groups, &fakeGroup{id: id, region: s.region, status: "available"})
		if g := w.cache.global(property(s, r.name, "GlobalReplicationGroupId")); g != nil {
			g.members = append(g.members, fakeMember{group: id, region: s.region, role: "SECONDARY"})
			g.status = "available"
		}
		return id
	case globalType:
		if !sc.wants(r.name) {
			return ""
		}
		id := "virxk-" + property(s, r.name, "GlobalReplicationGroupIdSuffix")
		member := strings.Split(property(s, r.name, "Members"), ",")
		w.cache.globals = append(w.cache.globals, &fakeGlobal{id: id, status: "primary-only", members: []fakeMember{{group: member[1], region: s.region, role: "PRIMARY"}}})
		return id
	}
	id := s.name + "-" + strings.ToLower(r.name)
	switch r.kind {
	case "AWS::EC2::TransitGatewayPeeringAttachment":
		w.peerings[id+".TransitGatewayAttachmentId"] = "initiatingRequest"
	case "AWS::Route53RecoveryControl::RoutingControl":
		w.controls[id+".RoutingControlArn"] = false
	}
	w.resources[s.region+" "+r.kind+" "+id] = "{}"
	return id
}

// unmade deletes a resource of a stack.
func (w *world) unmade(s *fakeStack, r *fakeResource) {
	c := &w.cache
	c.groups = slices.DeleteFunc(c.groups, func(g *fakeGroup) bool { return r.kind == groupType && g.region == s.region && g.id == r.id })
	c.globals = slices.DeleteFunc(c.globals, func(g *fakeGlobal) bool { return r.kind == globalType && g.id == r.id })
	delete(w.resources, s.region+" "+r.kind+" "+r.id)
}

func (c *cache) global(id string) *fakeGlobal {
	i := slices.IndexFunc(c.globals, func(g *fakeGlobal) bool { return g.id == id })
	if i < 0 {
		return nil
	}
	return c.globals[i]
}

// promote makes another Region the primary.
func (c *cache) promote(region string) {
	for _, g := range c.globals {
		for i := range g.members {
			g.members[i].role = "SECONDARY"
			if g.members[i].region == region {
				g.members[i].role = "PRIMARY"
			}
		}
	}
}

// advance does what is due.
func (c *cache) advance(now time.Time) {
	c.groups = slices.DeleteFunc(c.groups, func(g *fakeGroup) bool { return !g.gone.IsZero() && !g.gone.After(now) })
	for _, g := range c.globals {
		if g.due.IsZero() || g.due.After(now) {
			continue
		}
		g.due = time.Time{}
		g.members = slices.DeleteFunc(g.members, func(m fakeMember) bool { return m.leaving })
		if g.status = "available"; len(g.members) == 1 {
			g.status = "primary-only"
		}
	}
	c.globals = slices.DeleteFunc(c.globals, func(g *fakeGlobal) bool { return g.gone && g.due.IsZero() })
}

func (c *cache) do(a call, form url.Values, now time.Time) (string, *refusal) {
	c.advance(now)
	switch a.action {
	case "DescribeGlobalReplicationGroups", "DisassociateGlobalReplicationGroup", "DeleteGlobalReplicationGroup":
		g := c.global(form.Get("GlobalReplicationGroupId"))
		if g == nil {
			return "", &refusal{"GlobalReplicationGroupNotFoundFault", "not found", http.StatusNotFound}
		}
		return c.globally(a, g, form, now)
	case "DescribeSnapshots", "DeleteSnapshot":
		return c.snapshot(a, form)
	case "DescribeCacheClusters":
		status := c.topic
		if status == "" {
			status = "active"
		}
		return envelope(a.action, in("CacheClusters", in("CacheCluster", el("CacheClusterId", form.Get("CacheClusterId")),
			in("NotificationConfiguration", el("TopicArn", "arn:aws:sns:"+a.region+":1:t"), el("TopicStatus", status))))), nil
	}
	i := slices.IndexFunc(c.groups, func(g *fakeGroup) bool { return g.region == a.region && g.id == form.Get("ReplicationGroupId") })
	if i < 0 {
		return "", &refusal{"ReplicationGroupNotFoundFault", "not found", http.StatusNotFound}
	}
	return c.grouply(a, c.groups[i], form, now)
}

// snapshot tells one snapshot a page.
func (c *cache) snapshot(a call, form url.Values) (string, *refusal) {
	name := a.region + " " + form.Get("SnapshotName")
	if a.action == "DeleteSnapshot" {
		if !slices.Contains(c.snapshots, name) {
			return "", &refusal{"SnapshotNotFoundFault", "not found", http.StatusNotFound}
		}
		c.snapshots = slices.DeleteFunc(c.snapshots, func(s string) bool { return s == name })
		return envelope(a.action, ""), nil
	}
	var names []string
	for _, s := range c.snapshots {
		if region, name, _ := strings.Cut(s, " "); region == a.region && name > form.Get("Marker") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return envelope(a.action, ""), nil
	}
	more := ""
	if len(names) > 1 {
		more = el("Marker", names[0])
	}
	return envelope(a.action, more+in("Snapshots", in("Snapshot", el("SnapshotName", names[0])))), nil
}

func (c *cache) grouply(a call, g *fakeGroup, form url.Values, now time.Time) (string, *refusal) {
	global := c.of(g)
	switch a.action {
	case "DescribeReplicationGroups":
		var info string
		if global != "" {
			info = in("GlobalReplicationGroupInfo", el("GlobalReplicationGroupId", global))
		}
		return envelope(a.action, in("ReplicationGroups", in("ReplicationGroup", el("ReplicationGroupId", g.id), el("Status", g.status), info, in("MemberClusters", el("ClusterId", g.id+"-001"))))), nil
	case "DeleteReplicationGroup":
		name := form.Get("FinalSnapshotIdentifier")
		switch {
		case global != "":
			return "", refuse("InvalidReplicationGroupState", "it is part of a Global Datastore")
		case g.status != "available":
			return "", refuse("InvalidReplicationGroupState", "it is %s", g.status)
		case name != "" && slices.Contains(c.snapshots, a.region+" "+name):
			return "", refuse("SnapshotAlreadyExistsFault", "there is one")
		case name != "":
			c.snapshots = append(c.snapshots, a.region+" "+name)
		}
		g.status, g.gone = "deleting", now.Add(roleTime)
		return envelope(a.action, ""), nil
	}
	return "", refuse("InvalidAction", "%s", a.action)
}

// of returns the Global Datastore that a group is in; empty: none.
func (c *cache) of(g *fakeGroup) string {
	for _, all := range c.globals {
		if slices.ContainsFunc(all.members, func(m fakeMember) bool { return m.region == g.region && m.group == g.id }) {
			return all.id
		}
	}
	return ""
}

func (c *cache) globally(a call, g *fakeGlobal, form url.Values, now time.Time) (string, *refusal) {
	switch a.action {
	case "DescribeGlobalReplicationGroups":
		var all []string
		for _, m := range g.members {
			status := "associated"
			if m.leaving {
				status = "disassociating"
			}
			all = append(all, in("GlobalReplicationGroupMember", el("ReplicationGroupId", m.group), el("ReplicationGroupRegion", m.region), el("Role", m.role), el("Status", status)))
		}
		return envelope(a.action, in("GlobalReplicationGroups", in("GlobalReplicationGroup", el("GlobalReplicationGroupId", g.id), el("Status", g.status), in("Members", all...)))), nil
	case "DisassociateGlobalReplicationGroup":
		i := slices.IndexFunc(g.members, func(m fakeMember) bool {
			return m.group == form.Get("ReplicationGroupId") && m.region == form.Get("ReplicationGroupRegion")
		})
		switch {
		case i < 0 || g.members[i].role == "PRIMARY":
			return "", refuse("InvalidParameterValue", "it is no secondary")
		case g.status != "available":
			return "", refuse("InvalidGlobalReplicationGroupState", "it is %s", g.status)
		}
		g.members[i].leaving = true
		g.status, g.due = "modifying", now.Add(roleTime)
		return envelope(a.action, ""), nil
	}
	switch {
	case form.Get("RetainPrimaryReplicationGroup") != "true":
		return "", refuse("InvalidParameterValue", "the primary would go, too")
	case g.status != "primary-only" || len(g.members) > 1:
		return "", refuse("InvalidGlobalReplicationGroupState", "it is %s", g.status)
	}
	g.status, g.due, g.gone = "deleting", now.Add(roleTime), true
	return envelope(a.action, ""), nil
}
