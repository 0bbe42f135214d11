package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/journal"
)

// Why an answer was refused. A refusal that speaks of the record is one of
// package crdt's instead.
var (
	// ErrUnavailable: no engine that could answer did so in time.
	ErrUnavailable = errors.New("no Region could answer")
	// ErrStale: on a strict route, only an answer that may be old was to be had.
	ErrStale = errors.New("only an old answer is to be had")
	// ErrDoubtful: the session was created and is not here, and not enough
	// Regions answered to say that it is gone. It must not be treated as gone.
	ErrDoubtful = errors.New("cannot tell whether the session is gone")
	// ErrUnknownOutcome: an addition may or may not have been counted, and
	// repeating it elsewhere might count it twice.
	ErrUnknownOutcome = errors.New("write may or may not have happened")

	// ErrOpen and ErrNoRetry stand for a try that was never sent: whoever does
	// the steps of a plan says so with them.
	ErrOpen    = fmt.Errorf("%w: circuit breaker is open", engine.ErrUnreachable)
	ErrNoRetry = fmt.Errorf("%w: budget of retries or hedges is spent", engine.ErrUnreachable)
)

// A Region is one Region as it is reached from here.
type Region struct {
	ID     crdt.Region
	Name   string
	Engine engine.Engine
	// Side is the Region's own writable store for when writes can't reach where
	// they belong; nil for none. Of other Regions it is only read.
	Side engine.Engine
	// Journal keeps endings that the Region's engine may not have. Of this Region
	// it is a *journal.Journal; nil for one in memory. Of another Region it is
	// what a link reaches; nil for none.
	Journal Journal
}

// A Journal is the endings that a Region knows of, as its own and other Regions
// see them.
type Journal interface {
	// Read returns what is known of the end of k, as a record to join; bottom if
	// that is nothing. The token means nothing to it.
	Read(ctx context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error)
	// Join takes an ending in. When it returns, reads in that Region show it,
	// whatever becomes of the process. It is refused only at the journal's bound.
	Join(ctx context.Context, ending crdt.Record) error
}

// Links is what replication knows of the other Regions. Where an engine
// replicates by itself and nobody measures, there is none.
type Links interface {
	// Heard returns how old the last news of a Region is, and whether any came.
	Heard(crdt.Region) (age time.Duration, ok bool)
	// Lag returns how late writes of a Region usually get here; zero if unknown.
	Lag(crdt.Region) time.Duration
	// Everywhere reports whether every Region is known to have a write.
	Everywhere(crdt.Dot) bool
}

// Config is how a Router behaves. The zero value of each field is its default.
type Config struct {
	// Primary is the Region that takes all writes; zero: every Region does.
	Primary crdt.Region
	// ReadAfterWrite is what a read does about a write it should see.
	ReadAfterWrite Mode
	// LocalTimeout bounds one call inside this Region. Default 50 ms.
	LocalTimeout time.Duration
	// RemoteTimeout bounds one call to another Region. Default 300 ms, from
	// 200 to 500 ms.
	RemoteTimeout time.Duration
	// ReadBudget bounds a whole read. Default 1 s.
	ReadBudget time.Duration
	// WriteBudget bounds a whole write but for the side store. Default 2 s.
	WriteBudget time.Duration
	// Backoff holds the longest sleep before each retry of a write; the sleep
	// is random below it. Default 100, 200, 400 ms.
	Backoff []time.Duration
	// MaxWait bounds how long a read waits for a write on its way here.
	// Default 75 ms.
	MaxWait time.Duration
	// StrictBound is how old news of a Region that takes writes may be before
	// strict routes refuse and safe ones say Stale. Default 10 s.
	StrictBound time.Duration
	// Links is what replication knows; nil: nothing.
	Links Links
	// Observe, if set, is told of every read and write. It must not block.
	Observe func(Observation)
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Random returns numbers in [0, 1) for jitter. Default math/rand/v2.
	Random func() float64
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
}

// An Answer is what a read or write came to. It means something on error too.
type Answer struct {
	Record crdt.Record // of a read; bottom if there is none, and on error but for a user's
	Token  crdt.Token  // what the client has seen from now on
	Region crdt.Region // that answered last
	Rung   Rung
	Dot    crdt.Dot // of a write; zero if there was nothing to do
	Tries  int      // of a write
	Left   bool     // another Region was asked
	Hedges int      // of a read: Regions asked beside one that kept silent
	// Doubtful: that nothing was found proves nothing.
	Doubtful bool
	// Partial: no engine told all it has of the record, which may lack anything.
	Partial bool
	// Lost are writes that the client has seen and no Region has any more.
	Lost []crdt.Dot
}

// A Router reads and writes for one Region. It may be used by many goroutines.
type Router struct {
	current  atomic.Pointer[Rules] // replaced when another Region is to take the writes
	regions  [crdt.MaxRegion + 1]Region
	guards   [crdt.MaxRegion + 1]*guard // of engines
	sides    [crdt.MaxRegion + 1]*guard // of side stores
	retries  tryBudget
	hedges   tryBudget
	counters counters
	config   Config
	stop     context.CancelFunc
	done     sync.WaitGroup

	journal  *journal.Journal           // of this Region
	journals [crdt.MaxRegion + 1]*guard // of those of others
}

// New returns the router of Region here, which is the first of regions; the
// others follow by nearness. Ctx bounds what it does in the background, as
// Close does. It fails, naming every fault, if the configuration makes no sense.
func New(ctx context.Context, regions []Region, c Config) (*Router, error) {
	rules, err := c.rules(regions)
	if err != nil {
		return nil, err
	}
	r := &Router{config: c.withOutside()}
	r.current.Store(&rules)
	if r.journal, err = ownJournal(regions[0], r.config); err != nil {
		return nil, err
	}
	for _, g := range regions {
		r.regions[g.ID] = g
		r.guards[g.ID], r.sides[g.ID], r.journals[g.ID] = &guard{}, &guard{}, &guard{}
	}
	ctx, r.stop = context.WithCancel(ctx)
	for _, id := range rules.Near {
		r.done.Go(func() { r.spread(ctx, id) })
	}
	if rules.Side {
		r.done.Go(func() { r.drain(ctx) })
	}
	return r, nil
}

// ownJournal returns the journal of the Region that this is.
func ownJournal(here Region, c Config) (*journal.Journal, error) {
	switch own := here.Journal.(type) {
	case nil:
		return journal.New(here.ID, journal.Config{Clock: c.Clock, Log: c.Log})
	case *journal.Journal:
		return own, nil
	}
	return nil, fmt.Errorf("journal of Region %q, which is this one, is a %T: want one that was opened here", here.Name, here.Journal)
}

// Close ends what runs in the background and returns when it has. The engines
// and the journal stay open. Revocations that some Region's engine has not
// confirmed are counted in the log; they stay in the journal's file, if it has
// one, and are else left to replication and to the journals of other Regions.
func (r *Router) Close() error {
	r.stop()
	r.done.Wait()
	if n := r.Pending(); n > 0 {
		r.config.Log.Warn("revocations not confirmed by every Region", "count", n)
	}
	return nil
}

// Here returns the Region that the router reads and writes for.
func (r *Router) Here() Region { return r.regions[r.rules().Here] }

// Regions returns the numbers of all Regions, here first.
func (r *Router) Regions() []crdt.Region { return slices.Clone(r.rules().Near) }

// Name returns the name of a configured Region.
func (r *Router) Name(id crdt.Region) string { return r.regions[id&crdt.MaxRegion].Name }

// OpenBreakers returns the names of the Regions that are not asked at present.
func (r *Router) OpenBreakers() []string {
	out := []string{} // never nil: JSON has a list
	for _, id := range r.rules().Near {
		if r.guards[id].isOpen() {
			out = append(out, r.regions[id].Name)
		}
	}
	return out
}

// Primaries are where writes belong.
type Primaries struct {
	// Primary is the Region that takes all writes.
	Primary crdt.Region
	// Next is the Region that a planned switchover leads to, and may take them already;
	// zero: none is planned.
	Next crdt.Region
}

// SetPrimary says where writes belong from now on. What has begun keeps to what it began
// with, but for writes that sleep before another try. It fails, and changes nothing, if a
// Region is not configured, or if one Region is to take all writes where each did, or the
// other way round.
//
// Path fail over 4/4: from steer.Local.Tick, by the feed.
func (r *Router) SetPrimary(p Primaries) error {
	rules, err := r.rules().With(p)
	if err != nil {
		return err
	}
	r.current.Store(&rules) // of two at a time, the last one counts: nothing else differs
	return nil
}

// Primaries returns where writes belong at present; zero: every Region takes them.
func (r *Router) Primaries() Primaries {
	rules := r.rules()
	return Primaries{rules.Primary, rules.Next}
}

// rules returns what plans that begin now decide by.
func (r *Router) rules() *Rules { return r.current.Load() }

func (r *Router) now() crdt.Time { return crdt.TimeOf(r.config.Clock()) }

// withOutside returns c with the world's own clock, dice and log where it names
// none.
func (c Config) withOutside() Config {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// rules checks everything and returns what plans decide by.
func (c Config) rules(regions []Region) (Rules, error) {
	var (
		near   []crdt.Region
		faults []error
	)
	for _, g := range regions {
		near = append(near, g.ID)
		if g.Engine == nil {
			faults = append(faults, fmt.Errorf("Region %q has no engine", g.Name))
		}
	}
	side := len(regions) > 0 && regions[0].Side != nil
	rules, err := NewRules(near, side, c)
	return rules, errors.Join(append(faults, err)...)
}
