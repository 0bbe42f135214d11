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
	CurrentRole               string
}

type nodeGroupShape struct {
	NodeGroupId      string
	Status           string
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
		AutomaticFailover: enabled(g.automaticFailover), MultiAZ: enabled(g.multiAZ), ClusterMode: "disabled",
		CacheNodeType: g.nodeType, AuthTokenEnabled: g.token != "", TransitEncryptionEnabled: g.tls, AtRestEncryptionEnabled: g.atRest,
		ARN: f.groupARN(g.region, g.id), Engine: g.engine, ReplicationGroupCreateTime: g.created.UTC().Format(stamp),
	}
	if gl := f.globals[g.global]; gl != nil {
		out.GlobalReplicationGroupInfo = &globalInfoShape{gl.id, gl.role(g.key())}
	}
	shard := nodeGroupShape{NodeGroupId: "0001", Status: g.status}
	if len(g.fronts) == 2 {
		shard.PrimaryEndpoint, shard.ReaderEndpoint = f.endpoint(g, 0), f.endpoint(g, 1)
	}
	for i := range g.size {
		out.MemberClusters = append(out.MemberClusters, g.nodeID(i))
	}
	for i := range g.nodes {
		role := "replica"
		if i == g.primary {
			role = "primary"
		}
		shard.NodeGroupMembers = append(shard.NodeGroupMembers, nodeShape{
			CacheClusterId: g.nodeID(i), CacheNodeId: "0001", PreferredAvailabilityZone: g.zone(i), CurrentRole: role,
		})
	}
	out.NodeGroups = []nodeGroupShape{shard}
	return out
}

func (g *group) zone(i int) string { return g.region + string(rune('a'+i%3)) }

// endpoint is the primary's, 0, or the reader's, 1.
func (f *Fake) endpoint(g *group, i int) *endpointShape {
	if f.config.PlainAddresses {
		host, _, _ := strings.Cut(g.fronts[i].Addr(), ":") // IPv4
		return &endpointShape{host, g.port}
	}
	return &endpointShape{f.hostNames(g)[i], g.port}
}

// hostNames are those of the primary's endpoint and of the reader's.
func (f *Fake) hostNames(g *group) [2]string {
	const suffix = ".cache.amazonaws.com"
	if g.tls {
		tail := fmt.Sprintf(".%s.fakeaw.%s%s", g.id, short(g.region), suffix)
		return [2]string{"master" + tail, "replica" + tail}
	}
	tail := fmt.Sprintf(".fakeaw.ng.0001.%s%s", short(g.region), suffix)
	return [2]string{g.id + tail, g.id + "-ro" + tail}
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
		for i := range g.size {
			if g.region != c.Region || only != "" && only != g.nodeID(i) {
				continue
			}
			s := clusterShape{
				CacheClusterId: g.nodeID(i), CacheNodeType: g.nodeType, Engine: g.engine, EngineVersion: g.version,
				CacheClusterStatus: g.status, NumCacheNodes: 1, PreferredAvailabilityZone: g.zone(i),
				CacheClusterCreateTime: g.created.UTC().Format(stamp), ReplicationGroupId: g.id, TransitEncryptionEnabled: g.tls,
				AtRestEncryptionEnabled: g.atRest, AuthTokenEnabled: g.token != "",
				ARN: fmt.Sprintf("arn:aws:elasticache:%s:%s:cluster:%s", g.region, f.config.Account, g.nodeID(i)),
			}
			if g.topic != "" {
				s.NotificationConfiguration = &topicShape{g.topic, g.topicStatus}
			}
			all = append(all, s)
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
