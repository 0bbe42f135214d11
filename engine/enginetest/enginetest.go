package enginetest

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// An Open returns an empty engine that writes for the Region here. It closes
// the engine when t ends; a case may have closed it before.
type Open func(t *testing.T, here crdt.Region) engine.Engine

// Options is what an engine under test may need. The zero Options will do for
// one that runs by the clock of this machine.
type Options struct {
	// Seed of all that is random. Default 0: by the clock. It is printed.
	Seed uint64
	// Now is the engines' clock, give or take a few seconds. Default time.Now.
	Now func() time.Time
	// Advance moves the engines' clock, and Now, forward. Where it is nil,
	// nothing is checked that needs time to pass.
	Advance func(time.Duration)
}

// Run checks each promise in a subtest of t. It opens engines as it needs them,
// at most two at a time.
func Run(t *testing.T, open Open, o Options) {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	t.Logf("seed %d", o.Seed)
	probe := open(t, here)
	_, logs := engine.As[engine.Log](probe)
	_, sinks := engine.As[engine.Sink](probe)
	_, scans := engine.As[engine.Scanner](probe)
	_, refills := engine.As[engine.Refiller](probe)
	for _, g := range []struct {
		name  string
		run   bool
		cases []testCase
	}{
		{"read", true, readCases()},
		{"apply", true, applyCases()},
		{"join", true, joinCases()},
		{"concurrent", true, concurrentCases()},
		{"time", o.Advance != nil, timeCases()},
		{"log", logs, logCases()},
		{"follow", logs, followCases()},
		{"sink", sinks, sinkCases()},
		{"scan", scans, scanCases()},
		{"refill", refills, refillCases()},
		{"converge", logs && sinks, convergeCases()},
	} {
		if !g.run {
			t.Logf("%s: not a power of %T", g.name, probe)
			continue
		}
		for _, c := range g.cases {
			t.Run(g.name+"/"+c.name, func(t *testing.T) { c.check(newWorld(t, open, o)) })
		}
	}
}

// here is the Region of the engine under test, there and far are others.
const (
	here  crdt.Region = 1
	there crdt.Region = 2
	far   crdt.Region = 3
)

// lifetime of the sessions that cases make.
const lifetime = time.Hour

// patience is how long a case waits for what should happen at once.
const patience = 20 * time.Second

type testCase struct {
	name  string
	check func(w *world)
}

// A world is what a case works with.
type world struct {
	*testing.T
	rng    *rand.Rand
	o      Options
	opener Open
	last   crdt.Stamp
}

func newWorld(t *testing.T, open Open, o Options) *world {
	t.Helper()
	return &world{T: t, rng: rand.New(rand.NewPCG(o.Seed, 0)), o: o, opener: open} //nolint:gosec // a test
}

// ctx bounds one call.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	w.Cleanup(cancel)
	return ctx
}

func (w *world) open(r crdt.Region) engine.Engine {
	w.Helper()
	return w.opener(w.T, r)
}

func (w *world) now() crdt.Time { return crdt.TimeOf(w.o.Now()) }

// stamp returns a stamp above all before, as a router fixes one for each write.
func (w *world) stamp() crdt.Stamp {
	w.last = max(w.last+1, w.now().Stamp())
	return w.last
}

// key returns the key of a new session that has lifetime to go.
func (w *world) key() crdt.Key { return w.keyUntil(w.now().Add(lifetime)) }

func (w *world) keyUntil(deadline crdt.Time) crdt.Key {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], w.rng.Uint64())
	binary.BigEndian.PutUint64(b[8:], w.rng.Uint64())
	return crdt.SessionKey(crdt.NewSessionID(deadline, here, crdt.IDEntropy(b[:11])))
}

// keyIn returns a key of the same partition as k.
func (w *world) keyIn(k crdt.Key) crdt.Key {
	for {
		if l := w.key(); l.Partition() == k.Partition() {
			return l
		}
	}
}

func (w *world) hash() (h crdt.Hash) {
	binary.BigEndian.PutUint64(h[:], w.rng.Uint64())
	return h
}

// birth returns the birth of a session of user; idle 0 for no idle time.
func (w *world) birth(user string, idle time.Duration) crdt.Op {
	return crdt.Op{
		Stamp: w.stamp(), Birth: &crdt.Birth{Idle: idle}, User: user,
		Auth: &crdt.Auth{Gen: 1, Cur: w.hash(), At: w.now()},
	}
}

func (w *world) change(c ...crdt.Change) crdt.Op {
	return crdt.Op{ID: w.rng.Uint64() | 1, Stamp: w.stamp(), Changes: c}
}

func (w *world) put(name, value string) crdt.Op { return w.change(crdt.Put(name, []byte(value))) }

// apply applies what must be taken and written.
func (w *world) apply(e engine.Engine, k crdt.Key, op crdt.Op) crdt.Dot {
	w.Helper()
	dot, err := e.Apply(w.ctx(), k, op)
	if err != nil || dot.IsZero() {
		w.Fatalf("Apply(%v, %+v) = %v, %v, want a dot", k, op, dot, err)
	}
	return dot
}

// refuse applies what must be refused with kind and change nothing.
func (w *world) refuse(e engine.Engine, k crdt.Key, op crdt.Op, kind error) {
	w.Helper()
	before := w.read(e, k)
	dot, err := e.Apply(w.ctx(), k, op)
	w.wantErr(err, kind, "Apply(%v, %+v)", k, op)
	if !dot.IsZero() || !engine.OutcomeKnown(err) {
		w.Errorf("refused Apply = %v, OutcomeKnown %v, want no dot and true", dot, engine.OutcomeKnown(err))
	}
	w.wantSame(w.read(e, k), before, "record after a refusal")
}

// nothing applies what must be taken and have nothing to do.
func (w *world) nothing(e engine.Engine, k crdt.Key, op crdt.Op) {
	w.Helper()
	before := w.read(e, k)
	if dot, err := e.Apply(w.ctx(), k, op); err != nil || !dot.IsZero() {
		w.Errorf("Apply(%v, %+v) = %v, %v, want no dot, no error", k, op, dot, err)
	}
	w.wantSame(w.read(e, k), before, "record after nothing was to do")
}

func (w *world) read(e engine.Engine, k crdt.Key) crdt.Record {
	w.Helper()
	r, err := e.Read(w.ctx(), k, crdt.Token{})
	if err != nil || r.Key != k {
		w.Fatalf("Read(%v) = record of %v, %v, want the record", k, r.Key, err)
	}
	return r
}

func (w *world) join(e engine.Engine, r crdt.Record) {
	w.Helper()
	if err := e.Join(w.ctx(), r); err != nil {
		w.Fatalf("Join(%v) = %v, want no error", r.Key, err)
	}
}

func (w *world) wantBottom(e engine.Engine, k crdt.Key) {
	w.Helper()
	if r := w.read(e, k); !r.IsBottom() {
		w.Errorf("Read(%v) = %+v, want bottom", k, r)
	}
}

func (w *world) wantValue(e engine.Engine, k crdt.Key, name, want string) {
	w.Helper()
	if got, _ := w.read(e, k).Value(name); string(got) != want {
		w.Errorf("value %q of %v = %q, want %q", name, k, got, want)
	}
}

func (w *world) wantSame(got, want crdt.Record, what string) {
	w.Helper()
	if got.Digest() != want.Digest() {
		w.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

func (w *world) wantErr(err, kind error, call string, args ...any) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Errorf(call+" = %v, want %v", append(args, err, kind)...)
	}
}
