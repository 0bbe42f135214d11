package scope

import (
	"flag"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// leastStates is what the small scope has to be, without the race detector.
const leastStates = 1_000_000

// defaultStates takes CI half a minute on two cores.
const defaultStates = 1_200_000

var statesFlag = flag.Int("states", 0, "explore until so many distinct states were seen (default 1,200,000; a 25th under -race)")

// TestSmallScope tries what can become of four operations in two Regions. `make
// scope STATES=100000000` walks through all programs.
func TestSmallScope(t *testing.T) {
	states := *statesFlag
	if states == 0 {
		states = defaultStates / raceShare
	}
	last := 0
	total := Run(every(raceShare*10-9, Programs(maxSteps)), states, runtime.GOMAXPROCS(0), func(sofar Total) {
		if sofar.States-last > 1_000_000 || sofar.Violation != "" {
			last = sofar.States
			t.Log(sofar)
		}
	})
	t.Log(total)
	if raceShare > 1 {
		t.Logf("the race detector is on: bound %d; without it %d", states, defaultStates)
	}
	if total.Violation != "" {
		t.Fatal("\n" + total.Violation)
	}
	if total.States < min(states, leastStates) || total.Programs < total.Of && total.States < states {
		t.Errorf("saw %d states, want %d", total.States, states)
	}
}

// every returns every nth of programs.
func every(n int, programs []Program) []Program {
	var out []Program
	for i := 0; i < len(programs); i += n {
		out = append(out, programs[i])
	}
	return out
}

// All programs of fewer operations are walked through to their end: a fault that
// two operations can show must not hide behind the order of the longer ones.
func TestAllShortPrograms(t *testing.T) {
	n := 3
	if raceShare > 1 {
		n = 2
	}
	for n := range n + 1 {
		if n == 0 {
			continue
		}
		total := Run(Programs(n), 1<<40, runtime.GOMAXPROCS(0), func(Total) {})
		t.Logf("%d operations: %v", n, total)
		if total.Violation != "" {
			t.Fatal("\n" + total.Violation)
		}
		if total.Programs != total.Of {
			t.Errorf("walked through %d of %d programs", total.Programs, total.Of)
		}
	}
}

// Some rules need four operations of a certain kind to be missed. Those programs
// are walked through whatever the bound of the others is.
func TestSubtlePrograms(t *testing.T) {
	lines := []string{
		"birth s1; revoke; late login s1; login s1", // epochs of one generation are the least of both
		"birth s1; login s1; rotate s1; revoke",
		"birth s1; rotate s1; login s1; rotate s1", // a rotation must not win over a login
		"birth s1; add s1; again; add s1",
		"birth s1; destroy s1; login s1; again",
		"revoke; revoke; birth s1; late login s1",
		"birth s1; touch s1; put s1; again",
	}
	var programs []Program
	for _, p := range Programs(maxSteps) {
		if slices.Contains(lines, p.String()) {
			programs = append(programs, p)
		}
	}
	if len(programs) != len(lines) {
		t.Fatalf("there are %v, want %d programs", programs, len(lines))
	}
	if raceShare > 1 {
		programs = programs[:1]
	}
	total := Run(programs, 1<<40, runtime.GOMAXPROCS(0), func(Total) {})
	t.Log(total)
	if total.Violation != "" {
		t.Fatal("\n" + total.Violation)
	}
}

func TestTotalsAreTheSameOnAnyMachine(t *testing.T) {
	programs := every(20, Programs(3))
	want := Run(programs, 1<<40, 1, func(Total) {})
	for _, workers := range []int{2, 5} {
		if got := Run(programs, 1<<40, workers, func(Total) {}); got != want {
			t.Errorf("with %d workers %v, want %v", workers, got, want)
		}
	}
	if half := Run(programs, 1000, 3, func(Total) {}); half.States < 1000 || half.Programs == half.Of {
		t.Errorf("with a bound of 1,000 %v, want so many states of a part of all", half)
	}
}

// What is left out of the programs must be what others stand for.
func TestPrograms(t *testing.T) {
	all := Programs(3)
	has := func(line string) bool {
		return slices.ContainsFunc(all, func(p Program) bool { return p.String() == line })
	}
	for _, line := range []string{
		"birth s1; login s1; revoke", "birth s1; put s1; again", "destroy s1; birth s1; birth s2",
		"revoke; birth s1; late login s1", "adopt s1; adopt s2; destroy s1", "birth s1; rotate s1; rotate s1",
	} {
		if !has(line) {
			t.Errorf("Programs(3) lacks %q", line)
		}
	}
	for _, line := range []string{
		"birth s2; birth s1; put s1", "put s1; birth s1; put s1", "again; birth s1; put s1", "birth s1; again; again",
		"revoke; put s2; put s2",
	} {
		if has(line) {
			t.Errorf("Programs(3) has %q, which another stands for", line)
		}
	}
	for i := range all {
		for _, other := range all[i+1:] {
			if slices.Equal(all[i], other) {
				t.Fatalf("%v is there twice", all[i])
			}
		}
	}
}

// The worlds must go the hard ways.
func TestWorldsGoTheHardWays(t *testing.T) {
	e := NewExplorer()
	did := map[actKind]int{}
	late := 0
	for _, p := range every(10, Programs(3)) {
		e.Explore(p, func(uint64) {})
		for _, n := range e.queue {
			did[n.by.kind]++
			if n.by.old {
				late++
			}
		}
	}
	for kind := does; kind <= forgets; kind++ {
		if did[kind] == 0 {
			t.Errorf("nothing of kind %d was ever done", kind)
		}
	}
	if late == 0 {
		t.Errorf("nothing by a primary that is gone ever arrived")
	}
}

// broken returns what the checks say once do has broken something.
func broken(do func(s *space)) string {
	s := newSpace()
	do(s)
	return s.wrong
}

// record returns a session that was born, with what mend adds.
func record(s *space, mend func(*crdt.Record)) crdt.Record {
	dot := crdt.Dot{Actor: crdt.NewActor(1, 1), Stamp: epoch.Stamp()}
	r := crdt.Record{
		Key: s.keys[0], Born: crdt.Born{Dot: dot, Created: epoch, Idle: idle}, Touch: epoch, Abs: epoch.Add(lifetime),
		Auth: crdt.Auth{Gen: 1, Dot: dot, Cur: secret(0)}, VV: crdt.Vector{dot},
	}
	mend(&r)
	return r
}

// passOver checks a cursor that passed a birth and a write that its record never
// heard of.
func passOver(s *space) {
	origin, blank := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), memory.NewCore(crdt.NewActor(2, 1), memory.Config{})
	_, _ = origin.Apply(epoch, s.keys[0], crdt.Op{Stamp: epoch.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: secret(0)}})
	b, _ := origin.Log(s.partition(), engine.Position{}, wholeLog, 1<<30)
	after := blank.Clone()
	_, _ = after.Ingest(epoch, 1, engine.Batch{Partition: b.Partition, Actor: b.Actor, First: 2, Rebase: true})
	s.checkTaken(blank, after, b)
}

// Each check must be able to fail, whatever production does.
func TestChecksFail(t *testing.T) {
	core := func(s *space, rs ...crdt.Record) *memory.Core {
		c := memory.NewCore(crdt.NewActor(1, 1), memory.Config{})
		for _, r := range rs {
			c.Join(epoch, r)
		}
		return c
	}
	plain := func(*crdt.Record) {}
	second := crdt.Dot{Actor: crdt.NewActor(2, 1), Stamp: epoch.Stamp() + 1}
	compare := func(want func(*wanted), have func(*crdt.Record)) func(*space) {
		return func(s *space) {
			r := record(s, have)
			w := wanted{born: r.Born.Dot, touch: epoch, auth: r.Auth}
			want(&w)
			s.compare(0, &r, &w)
		}
	}
	nothing := func(*wanted) {}
	for _, test := range []struct {
		want string
		do   func(*space)
	}{
		{"", compare(nothing, plain)},
		{"was passed over", passOver},
		{"is not dead", func(s *space) {
			s.checkEnding(core(s, record(s, plain)), crdt.Fragment{Effect: crdt.Record{Key: s.keys[0], Dead: true}})
		}},
		{"is not known", func(s *space) {
			s.checkEnding(core(s), crdt.Fragment{Effect: crdt.EpochRecord(s.keys[annAt], second)})
		}},
		{"was dead", func(s *space) {
			s.after(s.intern(core(s, crdt.Record{Key: s.keys[0], Dead: true})), core(s, record(s, plain)))
		}},
		{"had heard", func(s *space) { s.after(s.intern(core(s, record(s, plain))), core(s)) }},
		{"had the revocations", func(s *space) {
			s.after(s.intern(core(s, crdt.EpochRecord(s.keys[annAt], second))), core(s))
		}},
		{"is dead and nobody", compare(nothing, func(r *crdt.Record) { *r = crdt.Record{Key: r.Key, Dead: true} })},
		{"was ended", compare(func(w *wanted) { w.dead = true }, plain)},
		{"has the birth", compare(func(w *wanted) { w.born.Stamp-- }, plain)},
		{"was last used", compare(func(w *wanted) { w.touch++ }, plain)},
		{"is of user", compare(func(w *wanted) { w.user = "ann" }, plain)},
		{"is proved by", compare(func(w *wanted) { w.auth.Cur = secret(1) }, plain)},
		{"has the value", compare(func(w *wanted) { w.put = second }, plain)},
		{"has adopted", compare(func(w *wanted) { w.side = second }, plain)},
		{"counts 0", compare(func(w *wanted) { w.adds = 1 }, plain)},
		{"lacks the revocation", compare(func(w *wanted) { w.revoked = append(w.revoked, second) }, plain)},
	} {
		got := broken(test.do)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Checks of a whole world: a session that a revocation missed, and a write that no
// Region has.
func TestWorldChecksFail(t *testing.T) {
	e := NewExplorer()
	p := Program{{Kind: Birth}, {Kind: LateLogin}, {Kind: Revoke}, {Kind: Put}}
	if w := e.Explore(p, func(uint64) {}); w.Violation != "" {
		t.Fatalf("%v fails: %s", p, w.Violation)
	}
	s := e.space
	missed, lost := 0, 0
	for i := range e.queue {
		w := e.queue[i].world
		if w.phase != followed || w.results[2] == noResult {
			continue
		}
		// Had the login known of more than it did, Judge would find it live.
		for _, id := range w.cores {
			st := s.states[id]
			if r := &st.recs[0]; r.User != "" && len(st.recs[annAt].Epochs()) > 0 {
				r.Auth.Epochs = st.recs[annAt].Epochs()
				s.checkRevoked(&w, &st)
				missed += strings.Count(s.wrong, "I4")
				s.wrong = ""
			}
		}
		// Had both Regions lost all, somebody would have to miss it.
		w.cores = e.queue[0].world.cores
		lost += strings.Count(s.checkWorld(&w), "I5")
	}
	if missed == 0 || lost == 0 {
		t.Errorf("found %d sessions that missed a revocation and %d lost writes, want some of each", missed, lost)
	}
}

func TestShrink(t *testing.T) {
	p := Program{{Kind: Birth}, {Kind: Put}, {Kind: Again}}
	if got := Shrink(p); got != "" {
		t.Errorf("Shrink(%v) = %q, want nothing", p, got)
	}
	if got := p.sub(0b101); !slices.Equal(got, Program{{Kind: Birth}, {Kind: Again}}) {
		t.Errorf("sub = %v, want the first and the last", got)
	}
}
