package elasticache

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// stamp is how times are written.
const stamp = "2006-01-02T15:04:05.000Z"

type endpointShape struct {
	Address string
	Port    int
}

type globalInfoShape struct {
	GlobalReplicationGroupId         string
	GlobalReplicationGroupMemberRole string
}

type nodeShape struct {
	CacheClusterId            string
	CacheNodeId               string
	ReadEndpoint              *endpointShape `xml:",omitempty"`
	PreferredAvailabilityZone string
	CurrentRole               string `xml:",omitempty"`
}

type nodeGroupShape struct {
	NodeGroupId      string
	Status           string
	Slots            string         `xml:",omitempty"`
	PrimaryEndpoint  *endpointShape `xml:",omitempty"`
	ReaderEndpoint   *endpointShape `xml:",omitempty"`
	NodeGroupMembers []nodeShape    `xml:"NodeGroupMembers>NodeGroupMember"`
}

// A groupShape is a replication group as the API tells it.
type groupShape struct {
	ReplicationGroupId         string
	Description                string
	GlobalReplicationGroupInfo *globalInfoShape `xml:",omitempty"`
	Status                     string
	MemberClusters             []string         `xml:"MemberClusters>ClusterId"`
	NodeGroups                 []nodeGroupShape `xml:"NodeGroups>NodeGroup"`
	AutomaticFailover          string
	MultiAZ                    string
	ConfigurationEndpoint      *endpointShape `xml:",omitempty"`
	ClusterEnabled             bool
	ClusterMode                string
	CacheNodeType              string
	AuthTokenEnabled           bool
	TransitEncryptionEnabled   bool
	AtRestEncryptionEnabled    bool
	ARN                        string
	Engine                     string
	ReplicationGroupCreateTime string
}

func enabled(b bool) string {
	if b {
		return "enabled"
	}
	return "disabled"
}

// shape tells a group. The caller holds the lock.
func (f *Fake) shape(g *group) groupShape {
	out := groupShape{
		ReplicationGroupId: g.id, Description: g.description, Status: g.status,
		AutomaticFailover: enabled(g.automaticFailover), MultiAZ: enabled(g.multiAZ), ClusterEnabled: g.cluster, ClusterMode: enabled(g.cluster),
		CacheNodeType: g.nodeType, AuthTokenEnabled: g.token != "", TransitEncryptionEnabled: g.tls, AtRestEncryptionEnabled: g.atRest,
		ARN: f.groupARN(g.region, g.id), Engine: g.engine, ReplicationGroupCreateTime: g.created.UTC().Format(stamp),
	}
	if gl := f.globals[g.global]; gl != nil {
		out.GlobalReplicationGroupInfo = &globalInfoShape{gl.id, gl.role(g.key())}
	}
	if g.cluster && g.up {
		out.ConfigurationEndpoint = f.tellEndpoint(g, g.endpoints[0])
	}
	for _, s := range g.shards {
		out.MemberClusters = append(out.MemberClusters, g.nodeIDs(s)...)
		out.NodeGroups = append(out.NodeGroups, f.tellShard(g, s))
	}
	return out
}

// tellShard tells a shard. Of those of a cluster ElastiCache tells slots, and no roles and no
// endpoints: its nodes do. The caller holds the lock.
func (f *Fake) tellShard(g *group, s *shard) nodeGroupShape {
	out := nodeGroupShape{NodeGroupId: s.id(), Status: g.status}
	if g.cluster {
		out.Slots = s.keyspace(len(g.shards))
	} else if g.up {
		out.PrimaryEndpoint, out.ReaderEndpoint = f.tellEndpoint(g, g.endpoints[0]), f.tellEndpoint(g, g.endpoints[1])
	}
	for i, n := range s.nodes {
		told := nodeShape{CacheClusterId: n.id, CacheNodeId: "0001", PreferredAvailabilityZone: g.zone(i)}
		switch {
		case g.cluster:
		case i == s.primary:
			told.CurrentRole = "primary"
		default:
			told.CurrentRole = "replica"
		}
		out.NodeGroupMembers = append(out.NodeGroupMembers, told)
	}
	return out
}

func (g *group) zone(i int) string { return g.region + string(rune('a'+i%3)) }

// nodeIDs are those of the nodes that a shard is to have.
func (g *group) nodeIDs(s *shard) (out []string) {
	for i := range g.perShard {
		out = append(out, g.nodeID(s, i))
	}
	return out
}

func (f *Fake) tellEndpoint(g *group, e *endpoint) *endpointShape {
	if f.config.PlainAddresses {
		return &endpointShape{e.addr().String(), g.port}
	}
	return &endpointShape{e.name, g.port}
}

type clusterShape struct {
	CacheClusterId            string
	CacheNodeType             string
	Engine                    string
	EngineVersion             string
	CacheClusterStatus        string
	NumCacheNodes             int
	PreferredAvailabilityZone string
	CacheClusterCreateTime    string
	NotificationConfiguration *topicShape `xml:",omitempty"`
	ReplicationGroupId        string
	TransitEncryptionEnabled  bool
	AtRestEncryptionEnabled   bool
	AuthTokenEnabled          bool
	ARN                       string
}

type topicShape struct{ TopicArn, TopicStatus string }

func (f *Fake) describeClusters(c *door.Call) (any, error) {
	var out struct {
		Marker        string         `xml:",omitempty"`
		CacheClusters []clusterShape `xml:"CacheClusters>CacheCluster"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	only := c.Params.Str("CacheClusterId")
	var all []clusterShape
	for _, g := range f.groups {
		for _, s := range g.shards {
			for i, id := range g.nodeIDs(s) {
				if g.region == c.Region && (only == "" || only == id) {
					all = append(all, f.tellNode(g, id, i))
				}
			}
		}
	}
	if only != "" && len(all) == 0 {
		return nil, door.Faultf(404, "CacheClusterNotFound", "CacheCluster %s not found.", only)
	}
	slices.SortFunc(all, func(a, b clusterShape) int { return strings.Compare(a.CacheClusterId, b.CacheClusterId) })
	var err error
	out.CacheClusters, out.Marker, err = paged(c.Params, all, func(s clusterShape) string { return s.CacheClusterId })
	return out, err
}

// tellNode tells the i-th node of a shard. The caller holds the lock.
func (f *Fake) tellNode(g *group, id string, i int) clusterShape {
	out := clusterShape{
		CacheClusterId: id, CacheNodeType: g.nodeType, Engine: g.engine, EngineVersion: g.version,
		CacheClusterStatus: g.status, NumCacheNodes: 1, PreferredAvailabilityZone: g.zone(i),
		CacheClusterCreateTime: g.created.UTC().Format(stamp), ReplicationGroupId: g.id, TransitEncryptionEnabled: g.tls,
		AtRestEncryptionEnabled: g.atRest, AuthTokenEnabled: g.token != "",
		ARN: fmt.Sprintf("arn:aws:elasticache:%s:%s:cluster:%s", g.region, f.config.Account, id),
	}
	if g.topic != "" {
		out.NotificationConfiguration = &topicShape{g.topic, g.topicStatus}
	}
	return out
}

// An event is what DescribeEvents tells.
type event struct {
	region, source, kind, message string
	at                            time.Time
}

type eventShape struct{ SourceIdentifier, SourceType, Message, Date string }

func (f *Fake) describeEvents(c *door.Call) (any, error) {
	p := c.Params
	var out struct {
		Events []eventShape `xml:"Events>Event"`
	}
	begin := f.agenda.Now().Add(-time.Hour)
	if d, ok := p.Int("Duration"); ok {
		begin = f.agenda.Now().Add(-time.Duration(d) * time.Minute)
	}
	if t, ok := p.Time("StartTime"); ok {
		begin = t
	}
	end := f.agenda.Now()
	if t, ok := p.Time("EndTime"); ok {
		end = t
	}
	id, kind := p.Str("SourceIdentifier"), p.Str("SourceType")
	if id != "" && kind == "" {
		return nil, invalidCombination("SourceType is required with SourceIdentifier.")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Backward(f.events) {
		if e.region == c.Region && !e.at.Before(begin) && !e.at.After(end) && (id == "" || id == e.source) && (kind == "" || kind == e.kind) && len(out.Events) < 100 {
			out.Events = append(out.Events, eventShape{e.source, e.kind, e.message, e.at.UTC().Format(stamp)})
		}
	}
	return out, nil
}
