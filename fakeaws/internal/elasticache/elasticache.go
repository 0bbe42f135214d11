package elasticache

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// mostNodes bounds the server processes of all Regions; one more is refused.
	mostNodes = 40
	// mostGlobals bounds the Global Datastores.
	mostGlobals = 20
	// mostEvents bounds what DescribeEvents knows; the oldest is forgotten.
	mostEvents = 1000
	// orderTimeout bounds one command to a server.
	orderTimeout = 5 * time.Second
)

// What happens to a Failover while the primary's Region is dark. AWS's own sources
// disagree: docs/fakeaws.md tells which says what.
const (
	// Refuse: InvalidGlobalReplicationGroupState. The default.
	Refuse = "refuse"
	// Work: the secondary is promoted all the same.
	Work = "work"
	// Stall: the Global Datastore is modifying until the Region is back.
	Stall = "stall"
)

// Times say how long transitions take. At 0 they happen at once, yet after the answer.
type Times struct {
	Create, Join, Failover, Disassociate, Modify, Delete time.Duration
}

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what transitions happen by.
	Clock clock.Clock
	// Account is whose groups they are.
	Account string
	// Regions are those that have groups.
	Regions []string
	// Program is the server that is run.
	Program valkeyserver.Program
	// Times of transitions.
	Times Times
	// Loopback is the network of the endpoints' addresses, 127.x.0.0/16: each Region has
	// one of its /24.
	Loopback netip.Prefix
	// PlainAddresses has the API tell addresses instead of names.
	PlainAddresses bool
	// TLS is how endpoints speak it, of groups that have it.
	TLS *tls.Config
	// DeadPrimary is Refuse, Work or Stall. Default: Refuse.
	DeadPrimary string
	// PromotedEvent is the key of the message of a group that was promoted; "" sends none.
	PromotedEvent string
	// Publish sends a message to a topic. It fails if the topic does not let ElastiCache.
	Publish func(topic, subject, text string) error
	// Log has what goes wrong with servers.
	Log *slog.Logger
}

// A Fake is ElastiCache in all Regions. Goroutines may share it.
type Fake struct {
	config Config
	agenda *clock.Agenda
	// turn is taken while orders are given to servers: a later plan must not be overtaken
	// by an earlier one. It is taken before mu.
	turn chan struct{}

	mu      sync.Mutex // guards what follows
	groups  map[groupKey]*group
	globals map[string]*global
	dark    map[string]bool          // Regions that nobody reaches
	links   map[[2]string]relay.Path // from a primary's Region to a secondary's
	hosts   map[string]netip.Addr    // by name, lower case, without a dot at the end
	lastIP  map[string]int           // of each Region's network
	nodes   int
	events  []event

	parameters map[groupKey]*parameterGroup
	subnets    map[groupKey]*subnetGroup
}

// A groupKey is a group's Region and ID.
type groupKey struct{ region, id string }

// New returns a fake without groups. Close ends what it has begun.
func New(ctx context.Context, c Config) *Fake {
	if c.DeadPrimary == "" {
		c.DeadPrimary = Refuse
	}
	return &Fake{
		config: c, agenda: clock.NewAgenda(ctx, c.Clock), turn: make(chan struct{}, 1),
		groups: map[groupKey]*group{}, globals: map[string]*global{}, dark: map[string]bool{},
		links: map[[2]string]relay.Path{}, hosts: map[string]netip.Addr{}, lastIP: map[string]int{},
		parameters: map[groupKey]*parameterGroup{}, subnets: map[groupKey]*subnetGroup{},
	}
}

// Close ends all servers and relays and returns when they have ended.
func (f *Fake) Close() {
	f.agenda.Close()
	f.mu.Lock()
	groups := f.groups
	f.groups = map[groupKey]*group{}
	f.mu.Unlock()
	for _, g := range groups {
		f.tearDown(g)
	}
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	q := door.Query{Namespace: "http://elasticache.amazonaws.com/doc/2015-02-02/", Version: "2015-02-02"}
	return &door.Service{
		Name: "elasticache", Regions: f.config.Regions,
		Speaks: func(*http.Request) door.Protocol { return q },
		Act:    f.act,
		Asks:   f.asks,
	}
}

// asks returns the resources that policies name: a Failover's are two.
func (f *Fake) asks(c *door.Call) []iam.Request {
	var out []iam.Request
	if id := c.Params.Str("GlobalReplicationGroupId"); id != "" {
		out = append(out, iam.Request{Resource: f.globalARN(id)})
	}
	region := c.Region
	for _, name := range []string{"PrimaryRegion", "ReplicationGroupRegion"} {
		if c.Params.Has(name) {
			region = c.Params.Str(name)
		}
	}
	for _, name := range []string{"ReplicationGroupId", "PrimaryReplicationGroupId"} {
		if id := c.Params.Str(name); id != "" {
			out = append(out, iam.Request{Resource: f.groupARN(region, id)})
		}
	}
	return out
}

func (f *Fake) groupARN(region, id string) string {
	return fmt.Sprintf("arn:aws:elasticache:%s:%s:replicationgroup:%s", region, f.config.Account, id)
}

func (f *Fake) globalARN(id string) string {
	return fmt.Sprintf("arn:aws:elasticache::%s:globalreplicationgroup:%s", f.config.Account, id)
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	act := map[string]func(c *door.Call) (any, error){
		"CreateReplicationGroup": f.createGroup, "DescribeReplicationGroups": f.describeGroups,
		"ModifyReplicationGroup": f.modifyGroup, "DeleteReplicationGroup": f.deleteGroup,
		"TestFailover": f.testFailover, "DescribeCacheClusters": f.describeClusters, "DescribeEvents": f.describeEvents,
		"CreateGlobalReplicationGroup": f.createGlobal, "DescribeGlobalReplicationGroups": f.describeGlobals,
		"ModifyGlobalReplicationGroup": f.modifyGlobal, "DeleteGlobalReplicationGroup": f.deleteGlobal,
		"FailoverGlobalReplicationGroup": f.failover, "DisassociateGlobalReplicationGroup": f.disassociate,
		"CreateCacheParameterGroup": f.createParameters, "ModifyCacheParameterGroup": f.modifyParameters, "DescribeCacheParameters": f.describeParameters,
		"CreateCacheSubnetGroup": f.createSubnets,
	}[c.Action]
	if act == nil {
		return nil, door.ErrUnknownAction
	}
	return act(c)
}

// Lookup returns the address of an endpoint's name, which may end with a dot.
func (f *Fake) Lookup(name string) (netip.Addr, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.hosts[strings.ToLower(strings.TrimSuffix(name, "."))]
	return a, ok
}

// SetLink says how the path of replication is from a primary's Region to a secondary's.
func (f *Fake) SetLink(from, to string, p relay.Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links[[2]string{from, to}] = p
	f.setPaths()
}

// SetDark takes a Region off the network, or puts it back: its endpoints fall silent, and
// nothing is replicated from or to it. Its servers run on, and are given no orders; once it
// is back they do as the others have agreed.
func (f *Fake) SetDark(region string, dark bool) {
	f.mu.Lock()
	f.dark[region] = dark
	f.setPaths()
	f.mu.Unlock()
	if !dark {
		f.agenda.Go(func(ctx context.Context) {
			f.align(ctx)
			f.goOn(ctx)
		})
	}
}

// setPaths has all relays know of their paths. The caller holds the lock.
func (f *Fake) setPaths() {
	for _, g := range f.groups {
		front := relay.Path{Silent: f.dark[g.region]}
		for _, e := range g.endpoints {
			e.relay.SetPath(front)
		}
		// Who follows nobody gets nothing more, though its servers may be told so a moment later.
		back := relay.Path{Closed: true}
		if from, ok := f.source(g); ok {
			back = f.links[[2]string{from.region, g.region}]
			back.Silent = back.Silent || f.dark[g.region] || f.dark[from.region]
		}
		for _, s := range g.shards {
			if s.link != nil {
				s.link.SetPath(back)
			}
		}
	}
}

// source is the group that a secondary follows.
func (f *Fake) source(g *group) (*group, bool) {
	gl := f.globals[g.global]
	if gl == nil || gl.primary == g.key() {
		return nil, false
	}
	from, ok := f.groups[gl.primary]
	return from, ok
}

// short is how names of endpoints call a Region: usw1 for us-west-1, apne1 for
// ap-northeast-1.
func short(region string) string {
	parts := strings.Split(region, "-")
	if len(parts) != 3 || parts[1] == "" {
		return strings.ReplaceAll(region, "-", "")
	}
	middle := parts[1][:1]
	for _, ns := range []string{"north", "south"} {
		if rest, ok := strings.CutPrefix(parts[1], ns); ok && rest != "" {
			middle = ns[:1] + rest[:1]
		}
	}
	return parts[0] + middle + parts[2]
}
