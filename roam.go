package roam

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/tally"
)

// What is shared with the router, whose package nobody else can import.
type (
	// A Rung says how good an answer was: Normal, Stale, LocalOnly, Sealed or
	// Refused.
	Rung = router.Rung
	// A Class says what a route may be given: Safe or Strict.
	Class = router.Class
	// A Mode is how a read makes up for replication that lags behind a write.
	Mode = router.Mode
	// Links is what replication knows of the other Regions.
	Links = router.Links
	// An Observation is one act on a record, as audits and metrics see it.
	Observation = router.Observation
	// An Act is what an Observation is of; String names it.
	Act = router.Act
	// Counts are answers by their Rung, and writes by the Region where they belonged.
	Counts = tally.Counts
)

// The rungs, the route classes, the acts and the read-after-write modes.
const (
	Normal    = router.Normal
	Stale     = router.Stale
	LocalOnly = router.LocalOnly
	Sealed    = router.Sealed
	Refused   = router.Refused

	Safe   = router.Safe
	Strict = router.Strict

	ActRead     = router.Read
	ActTouch    = router.Touch
	ActChange   = router.Change
	ActNote     = router.Note
	ActRotate   = router.Rotate
	ActCreate   = router.Create
	ActLogin    = router.Login
	ActDestroy  = router.Destroy
	ActRevoke   = router.Revoke
	ActTakeBack = router.TakeBack

	ByToken   = router.ByToken
	ByPrimary = router.ByPrimary
	ByRetry   = router.ByRetry
	Accept    = router.Accept
)

// Why there was no answer. Anything else wraps a refusal of package crdt.
var (
	ErrUnavailable    = router.ErrUnavailable
	ErrStale          = router.ErrStale
	ErrDoubtful       = router.ErrDoubtful
	ErrUnknownOutcome = router.ErrUnknownOutcome
)

// A Region is one Region as it is reached from here.
type Region struct {
	// ID is the Region's number, 1 to 15. It is configured once and never given
	// to another Region.
	ID crdt.Region
	// Name is what people call it, such as eu-west-1.
	Name string
	// Engine keeps its sessions.
	Engine engine.Engine
	// Side is the Region's own writable store for when writes can't reach where
	// they belong; nil for none. It must keep a log (engine.Log). Name a peer's
	// too, if it has one: it is read where a write is missed, and what only it
	// has would otherwise be taken for lost.
	Side engine.Engine
	// Journal keeps logouts that the Region's engine may not have, so that they
	// hold while no engine takes writes. Of this Region it is what OpenJournal
	// returned; nil for one that lives and dies with the process. Of a peer it
	// is what reaches the peer's; nil for none.
	Journal Journal
}

// Config says which Regions there are and how a Store behaves. Zero fields take
// their defaults.
type Config struct {
	// Here is this Region. Required.
	Here Region
	// Peers are the others, the nearest first.
	Peers []Region
	// Primary is the number of the Region that takes all writes
	// (active-passive); zero: every Region takes writes (active-active).
	// Store.SetPrimary changes which one it is.
	Primary crdt.Region
	// ReadAfterWrite is what a read does about a write that has not arrived.
	// Default ByToken.
	ReadAfterWrite Mode
	// LocalTimeout bounds a call inside this Region. Default 50 ms.
	LocalTimeout time.Duration
	// RemoteTimeout bounds a call to another Region. Default 300 ms; 200 to 500.
	RemoteTimeout time.Duration
	// ReadBudget bounds a whole read. Default 1 s; the caller's context wins.
	ReadBudget time.Duration
	// WriteBudget bounds a whole write. Default 2 s; the caller's context wins.
	WriteBudget time.Duration
	// Backoff holds the longest sleep before each retry of a write; the sleep is
	// random below it. Default 100, 200 and 400 ms.
	Backoff []time.Duration
	// MaxWait bounds how long a read waits for a write on its way here. Default
	// 75 ms.
	MaxWait time.Duration
	// StrictBound is how old the news of a Region may be before strict routes
	// refuse and safe ones are answered as Stale. Default 10 s.
	StrictBound time.Duration
	// Links is what replication knows; nil where nothing measures it.
	Links Links
	// Observe, if set, is told of every read and write, and once more of one that
	// the Regions refused and a sealed cookie made up for. It must not block.
	Observe func(Observation)
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Log hears what nobody asked for. Default: nothing is logged.
	Log *slog.Logger
}

// A Store reads and writes sessions for one Region. It may be used by many
// goroutines.
type Store struct {
	router *router.Router
	clock  func() time.Time
	random io.Reader
	mode   Mode
	hear   func(Observation) // nil: nobody does
}

// Open returns a Store over engines that are open. It never replicates between
// them: that is the engines' own work, or a node's. It fails, naming every
// fault, if the configuration makes no sense. Ctx bounds the Store's work in the
// background, as Close does.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	regions := make([]router.Region, 0, 1+len(c.Peers))
	for _, g := range append([]Region{c.Here}, c.Peers...) {
		regions = append(regions, router.Region(g))
	}
	rt, err := router.New(ctx, regions, router.Config{
		Primary: c.Primary, ReadAfterWrite: c.ReadAfterWrite,
		LocalTimeout: c.LocalTimeout, RemoteTimeout: c.RemoteTimeout,
		ReadBudget: c.ReadBudget, WriteBudget: c.WriteBudget, Backoff: c.Backoff,
		MaxWait: c.MaxWait, StrictBound: c.StrictBound,
		Links: c.Links, Observe: c.Observe, Clock: c.Clock, Log: c.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{router: rt, clock: c.Clock, random: rand.Reader, mode: c.ReadAfterWrite, hear: c.Observe}, nil
}

// Close ends the Store's work in the background and returns when it has. The
// engines stay open: whoever opened them closes them.
func (s *Store) Close() error { return s.router.Close() }

// SetPrimary says which Region takes all writes from now on, and which one a planned
// switchover leads to, so that a write which the one refuses goes to the other at once;
// next is zero if none is planned. What is kept here for the primary goes to whoever it is
// by then. It may be called at any time, and fails, changing nothing, if a Region is not
// configured, or if Config.Primary says otherwise than primary whether one Region takes
// all writes at all. Package deployment calls it for those who follow a control plane.
func (s *Store) SetPrimary(primary, next crdt.Region) error {
	if err := s.router.SetPrimary(router.Primaries{Primary: primary, Next: next}); err != nil {
		return fmt.Errorf("set the primary: %w", err)
	}
	return nil
}

// Primary returns the Region that takes all writes at present; zero: every Region does.
func (s *Store) Primary() crdt.Region { return s.router.Primaries().Primary }

// PendingRevocations returns how many revocations some Region's engine has not
// confirmed.
func (s *Store) PendingRevocations() int { return s.router.Pending() }

// OpenBreakers returns the names of the Regions that are not asked at present,
// because they did not answer.
func (s *Store) OpenBreakers() []string { return s.router.OpenBreakers() }

// Counts returns what was answered, and written, since the Store was opened. What is sealed
// in a cookie because the Regions refused it counts as both. Package deployment tells nodes
// of it, for alarms.
func (s *Store) Counts() Counts { return s.router.Counts() }

func (s *Store) now() crdt.Time { return crdt.TimeOf(s.clock()) }

// A Revocation says which Regions have a logout, by name.
type Revocation struct {
	// Have it: no read there shows what was ended.
	Have []string
	// Waiting have not confirmed it. They are told until they do; meanwhile what
	// was ended may still be served there.
	Waiting []string
	// Untold, if not nil, is why those that wait are not told again: the journal
	// is full or its disk failed. Replication alone brings it to them then.
	Untold error
}

// Everywhere reports whether every Region has the logout.
func (r Revocation) Everywhere() bool { return len(r.Waiting) == 0 }

// nowhere is the Revocation that no Region has.
func (s *Store) nowhere() Revocation {
	var out Revocation
	for _, id := range s.router.Regions() {
		out.Waiting = append(out.Waiting, s.router.Name(id))
	}
	return out
}

func (s *Store) revoke(ctx context.Context, w router.Write) (router.Answer, Revocation, error) {
	a, rev, err := s.router.Revoke(ctx, w)
	out := Revocation{Untold: rev.Untold}
	for _, id := range rev.Have {
		out.Have = append(out.Have, s.router.Name(id))
	}
	for _, id := range rev.Waiting {
		out.Waiting = append(out.Waiting, s.router.Name(id))
	}
	return a, out, err
}
