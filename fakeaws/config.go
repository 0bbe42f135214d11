package fakeaws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/arc"
	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/elasticache"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// mostRegions bounds the Regions: each has its own part of a network for endpoints.
const mostRegions = 30

// Times say how long ElastiCache's transitions take. At 0 they happen at once, yet after
// the answer.
type Times = elasticache.Times

// What happens to a failover of a Global Datastore while the primary's Region is dark.
const (
	DeadPrimaryRefuses = elasticache.Refuse // InvalidGlobalReplicationGroupState
	DeadPrimaryWorks   = elasticache.Work   // the secondary is promoted all the same
	DeadPrimaryStalls  = elasticache.Stall  // it is modifying until the Region is back
)

// A Panel is a control panel of ARC with its routing controls and safety rules.
type Panel = arc.Panel

// A SafetyRule is one of a Panel.
type SafetyRule = arc.Rule

// A Principal is somebody who signs requests: a user, or a role of a function.
type Principal struct {
	// Key and Secret are what it signs with.
	Key, Secret string
	// ARN is what it is called.
	ARN string
	// Policy is what it may do, as JSON. Default: everything.
	Policy string
}

func (p Principal) caller() (door.Caller, error) {
	if p.Key == "" || p.Secret == "" || p.ARN == "" {
		return door.Caller{}, errors.New("a principal has a key, a secret and an ARN")
	}
	out := door.Caller{ARN: p.ARN, Secret: p.Secret}
	if p.Policy != "" {
		policy, err := iam.Decode([]byte(p.Policy))
		if err != nil {
			return out, fmt.Errorf("policy of %s: %w", p.ARN, err)
		}
		out.Policy = &policy
	}
	return out, nil
}

// A Config is what a Cloud may be told. Its zero value is good.
type Config struct {
	// Regions are those that have ElastiCache, SNS, Lambda and CloudWatch. Default:
	// us-west-1, us-west-2 and us-east-1. At most 30.
	Regions []string
	// Account is the number of the account. Default: 123456789012.
	Account string
	// Port is that of the admin endpoint, and those above it the others'. Default: ports
	// that are free.
	Port int
	// DNSPort is that of the name server. Default: one that is free.
	DNSPort int
	// Clock is what everything waits by. Default: the machine's.
	Clock Clock
	// Principals are further ones than the one that Credentials tells, at most 100.
	Principals []Principal
	// Times are those of ElastiCache. Default: half a second each.
	Times *Times
	// DeadPrimary is one of DeadPrimaryRefuses, which is the default, DeadPrimaryWorks and
	// DeadPrimaryStalls.
	DeadPrimary string
	// PromotedEvent is what the event of a promoted group is called. Default:
	// ReplicationGroupPromotedAsPrimary; "" has none published.
	PromotedEvent *string
	// PlainAddresses has ElastiCache tell addresses of endpoints instead of names, for who
	// does not ask the name server.
	PlainAddresses bool
	// Propagation is how long a change of Route 53 is PENDING. Default: 2 s.
	Propagation time.Duration
	// ZoneBusy is how long a zone takes no other change after one. Default: Propagation.
	ZoneBusy time.Duration
	// OldBatchErrors has Route 53 refuse batches in the form of its API's reference, which
	// has a root of its own and Messages. Default: an ErrorResponse, as clients log it of late.
	OldBatchErrors bool
	// Throttles has Route 53 take as many calls as it does in AWS, and no more.
	Throttles bool
	// RetryScale is by how much the times between tries of SNS and Lambda are multiplied.
	// Default: 1.
	RetryScale float64
	// Minute is how long a minute of CloudWatch is. Default: a minute.
	Minute time.Duration
	// RotateEndpoints is how long each endpoint of ARC in turn is down. Default: 0, none is.
	RotateEndpoints time.Duration
	// Panels are those of ARC's cluster.
	Panels []Panel
	// Seed is what the dice of deliveries begin with. Default: 0.
	Seed uint64
	// Log has what functions print, and what goes wrong with servers. Default: nobody.
	Log *slog.Logger

	program valkeyserver.Program
}

// ErrConfig: a Config says something that can't be.
var ErrConfig = errors.New("no such configuration")

// regionName is the form of a Region's name.
var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// fill fills in the defaults and finds all that is wrong.
func (c *Config) fill(ctx context.Context) error {
	c.defaults()
	var wrong []error
	for _, r := range c.Regions {
		if !regionName.MatchString(r) {
			wrong = append(wrong, fmt.Errorf("%.40q is no Region", r))
		}
	}
	if len(c.Regions) > mostRegions || len(c.Principals) > mostAtOnce {
		wrong = append(wrong, fmt.Errorf("there are at most %d Regions and %d principals", mostRegions, mostAtOnce))
	}
	if !slices.Contains([]string{"", DeadPrimaryRefuses, DeadPrimaryWorks, DeadPrimaryStalls}, c.DeadPrimary) {
		wrong = append(wrong, fmt.Errorf("DeadPrimary is %.20q", c.DeadPrimary))
	}
	for name, d := range map[string]time.Duration{
		"Propagation": c.Propagation, "ZoneBusy": c.ZoneBusy, "Minute": c.Minute, "RotateEndpoints": c.RotateEndpoints,
	} {
		if d < 0 {
			wrong = append(wrong, fmt.Errorf("%s is %v", name, d))
		}
	}
	if !(c.RetryScale > 0) {
		wrong = append(wrong, fmt.Errorf("RetryScale is %v", c.RetryScale))
	}
	var err error
	if c.program, err = valkeyserver.Find(ctx); err != nil {
		// All else is of use without one.
		c.Log.Warn("ElastiCache has no servers to run: its groups will be create-failed", "err", err)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errors.Join(wrong...))
	}
	return nil
}

func (c *Config) defaults() {
	if len(c.Regions) == 0 {
		c.Regions = []string{"us-west-1", "us-west-2", "us-east-1"}
	}
	if c.Account == "" {
		c.Account = "123456789012"
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Times == nil {
		const d = 500 * time.Millisecond
		c.Times = &Times{Create: d, Join: d, Failover: d, Disassociate: d, Modify: d, Delete: d}
	}
	if c.PromotedEvent == nil {
		event := "ReplicationGroupPromotedAsPrimary"
		c.PromotedEvent = &event
	}
	if c.Propagation == 0 {
		c.Propagation = 2 * time.Second
	}
	if c.ZoneBusy == 0 {
		c.ZoneBusy = c.Propagation
	}
	if c.RetryScale == 0 {
		c.RetryScale = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) dnsAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.DNSPort)) }
