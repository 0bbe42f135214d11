package elasticache

import (
	"context"
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// mostSecondaries is how many secondaries a Global Datastore may have.
const mostSecondaries = 2

// primaryOnly is a Global Datastore without secondaries.
const primaryOnly = "primary-only"

// globalFamilies are the node types that a Global Datastore may have, of the size large and
// above: no t2, t3, t4g, M4 and R4.
var globalFamilies = regexp.MustCompile(`^cache\.(m5|m6g|m7g|r5|r6g|r6gd|r7g|c7gn)\.([0-9]+x)?large$`)

// A global is a Global Datastore.
type global struct {
	id, description, status string
	primary                 groupKey
	members                 []*member
	stalled                 *groupKey // who is to become primary once the primary's Region is back
}

// A member is a group's place in a Global Datastore.
type member struct {
	groupKey
	status string
}

// role is what the API calls a member.
func (gl *global) role(k groupKey) string {
	if gl.primary == k {
		return "PRIMARY"
	}
	return "SECONDARY"
}

func (gl *global) member(k groupKey) *member {
	i := slices.IndexFunc(gl.members, func(m *member) bool { return m.groupKey == k })
	if i < 0 {
		return nil
	}
	return gl.members[i]
}

// rest is the status of a Global Datastore to which nothing happens.
func (gl *global) rest() string {
	if len(gl.members) < 2 {
		return primaryOnly
	}
	return available
}

// prefix is what AWS puts before the suffix of an ID, by the Region of its making. Nobody
// should build on it; of those that are not known it is made up.
func prefix(region string) string {
	known := map[string]string{"us-west-1": "virxk", "us-west-2": "sgaui", "us-east-1": "ldgnf", "us-east-2": "fpkhr"}
	if p, ok := known[region]; ok {
		return p
	}
	sum := sha256.Sum256([]byte(region))
	out := make([]byte, 5)
	for i := range out {
		out[i] = 'a' + sum[i]%26
	}
	return string(out)
}

type globalAnswer struct{ GlobalReplicationGroup globalShape }

type memberShape struct {
	ReplicationGroupId, ReplicationGroupRegion, Role, AutomaticFailover, Status string
}

type globalNodeGroup struct{ GlobalNodeGroupId, Slots string }

type globalShape struct {
	GlobalReplicationGroupId          string
	GlobalReplicationGroupDescription string
	Status                            string
	CacheNodeType                     string
	Engine                            string
	EngineVersion                     string
	Members                           []memberShape `xml:"Members>GlobalReplicationGroupMember,omitempty"`
	ClusterEnabled                    bool
	GlobalNodeGroups                  []globalNodeGroup `xml:"GlobalNodeGroups>GlobalNodeGroup,omitempty"`
	AuthTokenEnabled                  bool
	TransitEncryptionEnabled          bool
	AtRestEncryptionEnabled           bool
	ARN                               string
}

// tellGlobal tells a Global Datastore. The caller holds the lock.
func (f *Fake) tellGlobal(gl *global, members bool) globalShape {
	out := globalShape{
		GlobalReplicationGroupId: gl.id, GlobalReplicationGroupDescription: gl.description, Status: gl.status, ARN: f.globalARN(gl.id),
	}
	if p := f.groups[gl.primary]; p != nil {
		out.CacheNodeType, out.Engine, out.EngineVersion = p.nodeType, p.engine, p.version
		out.ClusterEnabled = p.cluster
		for _, s := range p.shards {
			if p.cluster {
				out.GlobalNodeGroups = append(out.GlobalNodeGroups, globalNodeGroup{gl.id + "-" + s.id(), s.keyspace(len(p.shards))})
			}
		}
		out.AuthTokenEnabled, out.TransitEncryptionEnabled, out.AtRestEncryptionEnabled = p.token != "", p.tls, p.atRest
	}
	for _, m := range gl.members {
		if g := f.groups[m.groupKey]; members && g != nil {
			out.Members = append(out.Members, memberShape{m.id, m.region, gl.role(m.groupKey), enabled(g.automaticFailover), m.status})
		}
	}
	return out
}

// global finds a Global Datastore, which every Region knows.
func (f *Fake) global(p door.Params) (*global, error) {
	id := p.Str("GlobalReplicationGroupId")
	if gl := f.globals[id]; gl != nil {
		return gl, nil
	}
	return nil, noGlobal(id)
}

func (f *Fake) createGlobal(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "GlobalReplicationGroupIdSuffix", "PrimaryReplicationGroupId"); err != nil {
		return nil, err
	}
	suffix := p.Str("GlobalReplicationGroupIdSuffix")
	if !groupID.MatchString(suffix) {
		return nil, invalidValue("The parameter GlobalReplicationGroupIdSuffix is not a valid identifier.")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := prefix(c.Region) + "-" + suffix
	g, err := f.find(c, p.Str("PrimaryReplicationGroupId"))
	switch {
	case err != nil:
		return nil, err
	case f.globals[id] != nil:
		return nil, fault("GlobalReplicationGroupAlreadyExistsFault", "Global replication group %s already exists.", id)
	case g.status != available:
		return nil, groupState("Replication group %s must be in available state.", g.id)
	case g.global != "":
		return nil, groupState("Replication group %s is part of the global replication group %s.", g.id, g.global)
	case !g.automaticFailover || !g.multiAZ:
		return nil, invalidValue("The primary replication group must have automatic failover and Multi-AZ enabled.")
	case !globalFamilies.MatchString(g.nodeType):
		return nil, invalidValue("Node type %s is not supported for global replication groups.", g.nodeType)
	case len(f.globals) >= mostGlobals:
		return nil, invalidValue("fakeaws has at most %d global replication groups", mostGlobals)
	}
	gl := &global{
		id: id, description: p.Str("GlobalReplicationGroupDescription"), status: creating, primary: g.key(),
		members: []*member{{groupKey: g.key(), status: "associating"}},
	}
	f.globals[id] = gl
	g.global, g.status = id, modifying
	f.agenda.After(f.config.Times.Create, func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		g.status, gl.status = available, gl.rest()
		gl.members[0].status = "associated"
	})
	return globalAnswer{f.tellGlobal(gl, true)}, nil
}

// joins judges a group that is to be a secondary, and has it inherit what it must.
func (f *Fake) joins(g *group, p door.Params) error {
	gl := f.globals[g.global]
	if gl == nil {
		return noGlobal(g.global)
	}
	for _, name := range inherited() {
		if p.Has(name) {
			return invalidCombination("%s can't be given for a secondary of a global replication group: it is inherited", name)
		}
	}
	from := f.groups[gl.primary]
	switch {
	case gl.status != available && gl.status != primaryOnly:
		return globalState("Global replication group %s is in %s state.", gl.id, gl.status)
	case len(gl.members) > mostSecondaries:
		return invalidValue("Global replication group %s has %d secondaries already.", gl.id, mostSecondaries)
	case slices.ContainsFunc(gl.members, func(m *member) bool { return m.region == g.region }):
		return invalidValue("Global replication group %s has a member in %s already.", gl.id, g.region)
	case from == nil || f.dark[from.region]:
		return globalState("The primary of %s can't be reached.", gl.id)
	case p.Has("ClusterMode") && g.cluster != from.cluster:
		return invalidCombination("ClusterMode is another one than the primary's")
	case from.token != "" && g.token == "":
		return invalidCombination("AuthToken is required: the primary has one.")
	}
	g.engine, g.version, g.nodeType = from.engine, from.version, from.nodeType
	g.automaticFailover, g.tls, g.atRest, g.cluster = from.automaticFailover, from.tls, from.atRest, from.cluster
	g.divide(len(from.shards))
	return g.checkToken(p)
}

// finishJoin waits until a new secondary has the primary's state.
func (f *Fake) finishJoin(ctx context.Context, g *group) {
	if !f.synced(ctx, g) {
		return // closed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if gl := f.globals[g.global]; gl != nil {
		if m := gl.member(g.key()); m != nil {
			m.status = "associated"
		}
		gl.status = gl.rest()
	}
	g.status = available
}

func (f *Fake) describeGlobals(c *door.Call) (any, error) {
	var out struct {
		Marker                  string        `xml:",omitempty"`
		GlobalReplicationGroups []globalShape `xml:"GlobalReplicationGroups>GlobalReplicationGroup"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*global
	if c.Params.Str("GlobalReplicationGroupId") != "" {
		gl, err := f.global(c.Params)
		if err != nil {
			return nil, err
		}
		all = append(all, gl)
	} else {
		for _, gl := range f.globals {
			all = append(all, gl)
		}
		slices.SortFunc(all, func(a, b *global) int { return strings.Compare(a.id, b.id) })
	}
	page, next, err := paged(c.Params, all, func(gl *global) string { return gl.id })
	if err != nil {
		return nil, err
	}
	for _, gl := range page {
		out.GlobalReplicationGroups = append(out.GlobalReplicationGroups, f.tellGlobal(gl, c.Params.Truth("ShowMemberInfo")))
	}
	out.Marker = next
	return out, nil
}

func (f *Fake) modifyGlobal(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "GlobalReplicationGroupId", "ApplyImmediately"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gl, err := f.global(p)
	switch {
	case err != nil:
		return nil, err
	case gl.status != available && gl.status != primaryOnly:
		return nil, globalState("Global replication group %s is not available or in primary-only state.", gl.id)
	case p.Has("EngineVersion") && !engineVersion.MatchString(p.Str("EngineVersion")):
		return nil, invalidValue("Invalid engine version: %s; it has two parts", p.Str("EngineVersion"))
	case p.Has("AutomaticFailoverEnabled") && !p.Truth("AutomaticFailoverEnabled") && f.groups[gl.primary] != nil && f.groups[gl.primary].cluster:
		return nil, invalidCombination("Automatic failover can't be turned off with cluster mode enabled.")
	case p.Has("CacheNodeType") && !globalFamilies.MatchString(p.Str("CacheNodeType")):
		return nil, invalidValue("Node type %s is not supported for global replication groups.", p.Str("CacheNodeType"))
	}
	if p.Has("GlobalReplicationGroupDescription") {
		gl.description = p.Str("GlobalReplicationGroupDescription")
	}
	gl.status = modifying
	f.agenda.After(f.config.Times.Modify, func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range gl.members {
			if g := f.groups[m.groupKey]; g != nil {
				g.inherit(p)
			}
		}
		gl.status = gl.rest()
	})
	return globalAnswer{f.tellGlobal(gl, true)}, nil
}

// inherit changes what a modification of the Global Datastore says of each member.
func (g *group) inherit(p door.Params) {
	for name, field := range map[string]*string{"EngineVersion": &g.version, "CacheNodeType": &g.nodeType, "Engine": &g.engine} {
		if p.Has(name) {
			*field = p.Str(name)
		}
	}
	if p.Has("AutomaticFailoverEnabled") {
		g.automaticFailover = p.Truth("AutomaticFailoverEnabled")
	}
}

func (f *Fake) deleteGlobal(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "GlobalReplicationGroupId", "RetainPrimaryReplicationGroup"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gl, err := f.global(p)
	switch {
	case err != nil:
		return nil, err
	case gl.status != primaryOnly:
		return nil, globalState("Global replication group %s is in %s state: disassociate all secondaries first.", gl.id, gl.status)
	}
	gl.status = deleting
	retain := p.Truth("RetainPrimaryReplicationGroup")
	f.agenda.After(f.config.Times.Delete, func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.globals, gl.id)
		if g := f.groups[gl.primary]; g != nil {
			g.global = ""
			if !retain {
				f.remove(g)
			}
		}
	})
	return globalAnswer{f.tellGlobal(gl, true)}, nil
}
