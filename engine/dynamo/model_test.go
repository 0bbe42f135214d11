package dynamo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var (
	schedules = flag.Int("schedules", defaultSchedules, "how many random schedules of a Global Table are tried")
	modelSeed = flag.Uint64("seed", 0, "of what is random; 0: by the clock")
)

// TestGlobalTable has logouts race touches, writes and revocations in two or three
// Regions, over replication that is late, out of order and by whole items. Nothing that was
// acknowledged may be lost, a logout least of all, and no session that is in use.
func TestGlobalTable(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	t.Logf("-seed %d -schedules %d", seed, *schedules)
	var halves [2]outcome
	var work sync.WaitGroup
	for half := range halves {
		work.Go(func() {
			for n := half; n < *schedules && !t.Failed(); n += len(halves) {
				s := newStory(rand.New(rand.NewPCG(seed, uint64(n))), false) //nolint:gosec // a test
				if err := s.run(); err != nil {
					t.Errorf("-seed %d, schedule %d: %v\n%s", seed, n, err, s.tale())
				}
				halves[half].add(s.outcome)
			}
		})
	}
	work.Wait()
	done := halves[0]
	done.add(halves[1])
	t.Logf("%+v", done)
	for what, n := range map[string]int{
		"logouts": done.logouts, "races": done.races, "touches": done.touches, "writes": done.writes,
		"revocations": done.revocations, "deletions": done.deletions, "alive": done.alive,
	} {
		if n < *schedules/100 {
			t.Errorf("%d %s in %d schedules: they are not random enough", n, what, *schedules)
		}
	}
}

// One item for all Regions, written as if the table were strongly consistent, loses what
// TestGlobalTable looks for: the model is one of whole items.
func TestOneItemLosesLogouts(t *testing.T) {
	lost, other := 0, 0
	synctest.Test(t, func(*testing.T) { // who is refused waits
		for n := range uint64(2000) {
			s := newStory(rand.New(rand.NewPCG(7, n)), true) //nolint:gosec // a test
			switch err := s.run(); {
			case errors.Is(err, errRevived):
				lost++
			case err != nil:
				other++
			}
		}
	})
	t.Logf("of 2000 schedules with one item, %d lose a logout, %d something else", lost, other)
	if lost < 20 {
		t.Errorf("%d of 2000 schedules lose a logout where all Regions write one item, want more", lost)
	}
}

// An outcome counts what happened.
type outcome struct{ logouts, races, touches, writes, revocations, deletions, alive int }

func (o *outcome) add(p outcome) {
	o.logouts += p.logouts
	o.races += p.races
	o.touches += p.touches
	o.writes += p.writes
	o.revocations += p.revocations
	o.deletions += p.deletions
	o.alive += p.alive
}

const (
	storySteps = 14
	storyIdle  = 30 * time.Minute
)

// A story is one session of one user in a Global Table.
type story struct {
	g        *globalTable
	rng      *rand.Rand
	engines  []*Engine
	session  crdt.Key
	user     crdt.Key
	told     []func() string
	ops      uint64
	dead     []bool // by Region: a logout was acknowledged there
	dots     []crdt.Dot
	added    int64
	epochs   crdt.Vector
	used     crdt.Time // the last use that was written
	proof    crdt.Hash
	outcome  outcome
	lastRead []crdt.Vector
}

var errRevived = errors.New("a session that was logged out is there again")

func newStory(rng *rand.Rand, strong bool) *story {
	s := &story{rng: rng, g: newGlobalTable(rng, 2+rng.IntN(2)), proof: crdt.Hash{1}, user: crdt.UserKey("ann")}
	for i := range s.g.copies {
		s.engines = append(s.engines, s.g.engine(i, strong))
	}
	s.dead, s.lastRead = make([]bool, len(s.engines)), make([]crdt.Vector, len(s.engines))
	var e crdt.IDEntropy
	e[3] = byte(rng.Uint32())
	life := []time.Duration{time.Hour, 2 * time.Hour, 8 * time.Hour}[rng.IntN(3)]
	s.session = crdt.SessionKey(crdt.NewSessionID(s.g.now.Add(life), 1, e))
	return s
}

// tell notes a line of the tale, which nobody reads unless it goes wrong.
func (s *story) tell(format string, args ...any) {
	s.told = append(s.told, func() string { return fmt.Sprintf(format, args...) })
}

func (s *story) tale() (out string) {
	for _, line := range s.told {
		out += "  " + line() + "\n"
	}
	return out
}

// ctx bounds nothing: nothing in the model waits.
func (s *story) ctx() context.Context { return context.Background() }

// run goes through the steps, then brings all that is on its way, and looks.
func (s *story) run() error {
	birth := crdt.Op{Birth: &crdt.Birth{Idle: storyIdle}, User: "ann", Auth: &crdt.Auth{Gen: 1, Cur: s.proof, At: s.g.now}}
	if err := s.apply(0, s.session, birth); err != nil {
		return err
	}
	s.used = s.g.now
	if s.rng.IntN(4) > 0 {
		s.g.deliverAll()
	}
	for range storySteps {
		if err := s.step(); err != nil {
			return err
		}
	}
	s.g.deliverAll()
	return s.end()
}

func (s *story) step() error {
	at := s.rng.IntN(len(s.engines))
	s.g.now += crdt.Time(s.rng.IntN(2000))
	switch n := s.rng.IntN(32); {
	case n < 6:
		s.g.deliver(1 + s.rng.IntN(4))
	case n < 14:
		return s.touch(at)
	case n < 19:
		op := crdt.Op{Changes: []crdt.Change{crdt.Put(string(rune('a'+s.rng.IntN(3))), []byte{byte(s.ops)})}}
		s.outcome.writes++
		return s.apply(at, s.session, op)
	case n < 22:
		s.outcome.writes++
		return s.apply(at, s.session, crdt.Op{Changes: []crdt.Change{crdt.Add("n", 1)}})
	case n < 24:
		return s.logout(at)
	case n < 26:
		s.outcome.revocations++
		return s.apply(at, s.user, crdt.Op{Revoke: true})
	case n == 26:
		return s.apply(at, s.user, crdt.Op{Changes: []crdt.Change{crdt.Index(s.session.SessionID(), nil)}})
	case n < 30: // time passes, and she comes back before she has idled out
		s.g.now = s.g.now.Add(25 * time.Minute)
		return s.touch(at)
	default:
		before := len(s.g.roads)
		s.g.expire(at)
		s.outcome.deletions += len(s.g.roads) - before
	}
	return s.look(at)
}

func (s *story) touch(at int) error {
	s.outcome.touches++
	return s.apply(at, s.session, crdt.Op{Touch: true})
}

func (s *story) logout(at int) error {
	s.outcome.logouts++
	if len(s.g.roads) > 0 {
		s.outcome.races++
	}
	if err := s.apply(at, s.session, crdt.Op{Destroy: true}); err != nil {
		return err
	}
	s.dead[at] = true
	return s.look(at)
}

// apply applies an operation as a router does, and notes what was acknowledged.
func (s *story) apply(at int, k crdt.Key, op crdt.Op) error {
	ctx := s.ctx()
	read, err := s.engines[at].Read(ctx, k, crdt.Token{})
	if err != nil {
		return err
	}
	s.ops++
	op.ID, op.Stamp = s.ops, crdt.Mint(s.g.now, read, crdt.Token{})
	if s.rng.IntN(3) == 0 {
		s.g.deliver(1)
	}
	dot, err := s.engines[at].Apply(ctx, k, op)
	s.tell("at %d in %d: %+v = %v, %v", s.g.now, at, op, dot, err)
	switch {
	case engine.IsRefusal(err):
		return nil
	case err != nil:
		return err
	case dot.IsZero():
		return nil
	}
	switch {
	case k == s.user && op.Revoke:
		s.epochs = s.epochs.With(dot)
	case k == s.session && !op.Destroy:
		s.dots = append(s.dots, dot)
	}
	if op.Touch || op.Birth != nil {
		s.used = max(s.used, s.g.now)
	}
	if op.HasAdd() {
		s.added++
	}
	return s.look(at)
}

// look checks what a Region shows at any moment: what it acknowledged is there, and what
// it has shown.
func (s *story) look(at int) error {
	r, err := s.engines[at].Read(s.ctx(), s.session, crdt.Token{})
	switch {
	case err != nil:
		return err
	case s.g.now >= s.session.SessionID().Deadline(): // whatever is shown, nobody serves it
		return nil
	case s.dead[at] && !r.Dead:
		return fmt.Errorf("%w: in Region %d, which logged it out: %+v", errRevived, at, r)
	case r.IsBottom(): // it has idled out, as far as this Region has heard
		return nil
	case !r.Dead && !r.VV.Covers(s.lastRead[at]):
		return fmt.Errorf("region %d shows %v, and has shown %v", at, r.VV, s.lastRead[at])
	}
	s.dead[at] = s.dead[at] || r.Dead
	s.lastRead[at] = r.VV
	return nil
}

// end checks what all Regions show when all was delivered.
func (s *story) end() error {
	dead := false
	for _, d := range s.dead {
		dead = dead || d
	}
	var first uint64
	for at, e := range s.engines {
		r, err := e.Read(s.ctx(), s.session, crdt.Token{})
		if err != nil {
			return err
		}
		if at == 0 {
			first = r.Digest()
		}
		switch {
		case dead && !r.Dead && s.g.now < s.session.SessionID().Deadline():
			return fmt.Errorf("%w: in Region %d at the end: %+v", errRevived, at, r)
		case r.Digest() != first:
			return fmt.Errorf("region %d shows %+v at the end, another than Region 0", at, r)
		case dead:
		default:
			if err := s.endAlive(at, r); err != nil {
				return err
			}
		}
		u, err := e.Read(s.ctx(), s.user, crdt.Token{})
		if err != nil {
			return err
		}
		if !u.Epochs().Covers(s.epochs) {
			return fmt.Errorf("region %d shows epochs %v, want %v", at, u.Epochs(), s.epochs)
		}
	}
	return nil
}

// endAlive checks a session that nobody logged out.
func (s *story) endAlive(at int, r crdt.Record) error {
	idle := s.g.now.Sub(s.used) >= storyIdle*9/10
	if idle || s.g.now >= s.session.SessionID().Deadline() {
		return nil
	}
	for _, d := range s.dots {
		if !r.VV.Has(d) {
			return fmt.Errorf("region %d shows %+v at the end, without %v", at, r, d)
		}
	}
	if got := r.Count("n"); got != s.added {
		return fmt.Errorf("region %d counts %d at the end, want %d", at, got, s.added)
	}
	if got := r.Judge(s.g.now, s.proof, nil); got != crdt.Live {
		return fmt.Errorf("region %d finds a session in use %v at the end: %+v", at, got, r)
	}
	s.outcome.alive++
	return nil
}
