package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/steer"
)

// A Peer is one member, as all find it.
type Peer struct {
	// Name is that of its Region, or of the witness.
	Name string
	// ID is its number in the quorum.
	ID uint64
	// Links is the host:port where its quorum listens.
	Links string
	// API is the host:port where Handler is served.
	API string
	// Witness: it keeps no sessions and does not lead.
	Witness bool
}

// A Config is what a Member is.
type Config struct {
	// Deployment is its name: members of two never talk.
	Deployment string
	// Self is this member's name, one of Members.
	Self string
	// Members are all that vote.
	Members []Peer
	// Setup is what this member's roam.yaml says. Whoever leads first founds the
	// deployment with its own.
	Setup ledger.Setup
	// Dir is the folder of this member's files. It is made if it is not there.
	Dir string
	// Listener is where other members' quorums dial Links. Open takes it over.
	Listener net.Listener
	// Keeper proves who this member is; nil: nobody does, as on loopback.
	Keeper *pki.Keeper
	// Dial opens connections to other members; nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Serve is given what other members ask of this one, to be served at API from then on:
	// before Open returns, as members that are all new ask each other. Required.
	Serve func(http.Handler)
	// Server is the Region's; nil: there is none, as at a witness.
	Server *Server
	// Measure returns what was measured since it was last called; nil: nothing is.
	Measure func() Measured
	// Lease is how long things take, the same at all members; zeros mean defaults.
	Lease lease.Config
	// Judge has the names of all members, the same at all of them.
	Judge judge.Config
	// Alarms are evaluated by whoever leads.
	Alarms []alarm.Alarm
	// Told returns how far others were told of events while this member leads, and Learn
	// takes in what the leader says of that; nil: nobody is told.
	Told func() map[string]uint64
	// Learn: see Told.
	Learn func(map[string]uint64)
	// Promotion is how long whoever manages the servers may take to promote one; 0: servers
	// are promoted by their nodes.
	Promotion time.Duration
	// Version is what this member says it runs.
	Version string
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
}

// Measured is what a member has measured in a period.
type Measured struct {
	Writes []judge.Writes
	Data   []alarm.Datum
	Names  []Name // at most MaxNames
}

// MaxNames bounds what a member tells of names: what is beyond it is left out.
const MaxNames = 32

// A Name is how one thing fares that says outside of Roam where the writer is, and that a
// member keeps.
type Name struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Epoch  uint64    `json:"epoch,omitempty"`  // that it is to be of
	Target string    `json:"target,omitempty"` // where it is to lead
	Since  time.Time `json:"since"`            // when that state began
	Why    string    `json:"why,omitempty"`
	Next   string    `json:"next,omitempty"` // what somebody does about it
}

// A Server is a Region's. Where there are no leases it is only looked at: all but Look is
// nil. Calls may take as long as ctx lasts.
type Server struct {
	Leased
	Steered
	// Look asks how it is. An error: it does not answer.
	Look func(ctx context.Context) (steer.Server, error)
	// Salvage has what it and the spool took in an epoch be taken in by the server of
	// another Region, and tells what came of it, for the receipt. It returns nil when
	// the receipt was closed, and may be called again.
	Salvage func(ctx context.Context, o Order, tell func(context.Context, ledger.Salvage) error) error
}

// An Order is what is to be salvaged, and by whom it is to be taken in: the Region To,
// which holds the lease of Epoch.
type Order struct {
	Receipt ledger.Receipt
	To      string
	Epoch   uint64
	// Alone: the server of To was taken out of what manages all of them, and nobody follows it,
	// as was heard last.
	Alone bool
	// Owing are other Regions whose own writes were not looked at yet: that one of them has
	// what was brought home says little, as it is to be given other data.
	Owing []string
}

// A Leased looks at a lease in the step that writes.
type Leased interface {
	// Clocks asks for the clocks of what takes writes, and returns how to grant the
	// lease of an epoch from what they said on. It fails if that is another run of the
	// server than the one that was looked at.
	Clocks(ctx context.Context, run string) ([]time.Duration, GrantFunc, error)
	// End ends an epoch for good. It succeeds if that is so already.
	End(ctx context.Context, epoch uint64) error
	// Tail returns how far what was written goes, for the receipt of what it lacks.
	Tail(ctx context.Context) (fork string, err error)
}

// A Steered takes writes, or follows another Region's server and has what that one has.
type Steered interface {
	// Mark writes down that an epoch is over, behind all that was written in it. It fails
	// if that is another run of the server than the one that took it.
	Mark(ctx context.Context, epoch uint64, run string) error
	// Beat writes a heartbeat of an epoch.
	Beat(ctx context.Context, epoch uint64) error
	// Promote has it take writes; detach: whatever that costs, where somebody else manages
	// it. It fails with ErrUnderWay where it has been asked for and takes its time.
	Promote(ctx context.Context, detach bool) error
	// Follow has it follow the server of another Region, or fails as Promote does.
	Follow(ctx context.Context, region string) error
}

// A GrantFunc gives servers the lease of an epoch. It fails with engine.ErrNotPrimary if
// they do not take it for good.
type GrantFunc func(ctx context.Context, epoch uint64, lasts time.Duration) error

// ErrUnderWay says that a server's role is to change, and somebody else takes time for that.
var ErrUnderWay = errors.New("it has been asked for")

// errConfig says that a Config makes no sense.
var errConfig = errors.New("control: bad config")

func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Measure == nil {
		c.Measure = func() Measured { return Measured{} }
	}
	if c.Told == nil {
		c.Told = func() map[string]uint64 { return nil }
	}
	if c.Learn == nil {
		c.Learn = func(map[string]uint64) {}
	}
	c.Lease = c.Lease.WithDefaults()
	if err := c.Lease.Check(); err != nil {
		return c, fmt.Errorf("%w: %w", errConfig, err)
	}
	if _, ok := c.peer(c.Self); !ok {
		return c, fmt.Errorf("%w: %q is not among the members", errConfig, c.Self)
	}
	return c, nil
}

func (c Config) peer(name string) (Peer, bool) {
	i := slices.IndexFunc(c.Members, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, false
	}
	return c.Members[i], true
}

// others are all members but this one.
func (c Config) others() []Peer {
	return slices.DeleteFunc(slices.Clone(c.Members), func(p Peer) bool { return p.Name == c.Self })
}

func names(peers []Peer) []string {
	var out []string
	for _, p := range peers {
		out = append(out, p.Name)
	}
	return out
}

func (c Config) witnesses() (names []string, ids []uint64) {
	for _, p := range c.Members {
		if p.Witness {
			names, ids = append(names, p.Name), append(ids, p.ID)
		}
	}
	return names, ids
}

// chief returns what a leader goes by.
func (c Config) chief() steer.ChiefConfig {
	witnesses, _ := c.witnesses()
	return steer.ChiefConfig{
		Self: c.Self, Members: names(c.Members), Witnesses: witnesses, Lease: c.Lease, Judge: c.Judge, Alarms: c.Alarms,
		Promotion: c.Promotion,
	}
}
