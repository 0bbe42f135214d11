package router

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const south = crdt.Region(4)

func four(r *Rules) { r.Near = []crdt.Region{west, east, north, south} }

// eastLag makes east the likely Region, whose answer is overdue after 40 ms.
func eastLag() Hints { return Hints{Lag: [16]time.Duration{east: 20 * time.Millisecond}} }

// overdue is a token whose write has surely arrived by now, where it will.
func overdue() crdt.Token { return crdt.Token{}.With(dot(east, start-1000)) }

func shown() Result { return has(session(dot(east, start-1000))) }

// hedgeScenes are about a Region that keeps silent while others would answer.
func hedgeScenes() map[string]readScene {
	ms := time.Millisecond
	return map[string]readScene{
		"one that is overdue has another asked beside it": {
			query: Query{Seen: overdue()}, hints: eastLag(), slow: map[crdt.Region]time.Duration{east: 150 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: shown(), north: shown()},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: north, hedges: 1, took: 1*ms + 40*ms + 1*ms},
		},
		"and not before": {
			query: Query{Seen: overdue()}, hints: eastLag(), slow: map[crdt.Region]time.Duration{east: 39 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: shown(), north: shown()},
			want:  readWant{script: "read 1; read 2; ", region: east, took: 1*ms + 39*ms},
		},
		"where nothing was measured, after a quarter of the timeout": {
			slow:  map[crdt.Region]time.Duration{east: 200 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(session()), north: has(session())},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: north, hedges: 1, took: 1*ms + 75*ms + 1*ms},
		},
		"where the lag is long, after half of it": {
			hints: Hints{Lag: [16]time.Duration{east: time.Second}}, slow: map[crdt.Region]time.Duration{east: 200 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(session()), north: has(session())},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: north, hedges: 1, took: 1*ms + 150*ms + 1*ms},
		},
		"without a token the likely Region is waited for, and then the next": {
			query: Query{Seen: overdue()}, hints: eastLag(), spent: true,
			world: map[crdt.Region]Result{west: has(session()), east: {Err: errBlackHole}, north: shown()},
			want:  readWant{script: "read 1; read 2; read 3; ", region: north, took: 1*ms + 300*ms + 1*ms},
		},
		"the likely Region may still answer first": {
			query: Query{Seen: overdue()}, hints: eastLag(), slow: map[crdt.Region]time.Duration{east: 60 * ms, north: 200 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: shown(), north: {Err: errBlackHole}},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: east, hedges: 1, took: 1*ms + 60*ms},
		},
		"two halves make a whole": {
			query: Query{Seen: overdue().With(dot(north, start-1000))}, hints: eastLag(),
			slow:  map[crdt.Region]time.Duration{east: 60 * ms, north: 5 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: shown(), north: has(session(dot(north, start-1000)))},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: east, hedges: 1, took: 1*ms + 60*ms},
		},
	}
}

// failedHedgeScenes are about hedges that bring nothing.
func failedHedgeScenes() map[string]readScene {
	ms := time.Millisecond
	return map[string]readScene{
		"no third is asked beside two": {
			rules: four, slow: map[crdt.Region]time.Duration{east: 290 * ms, north: 290 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(nothing()), north: has(nothing()), south: has(session())},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: east, absent: true, hedges: 1, took: 1*ms + 290*ms},
		},
		"one that fails leaves room for the next at once": {
			rules: four, slow: map[crdt.Region]time.Duration{east: 290 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(nothing()), north: {Err: ErrOpen}, south: has(session())},
			want:  readWant{script: "read 1; read 2; hedge 3; hedge 4; ", region: south, hedges: 1, took: 1*ms + 75*ms + 1*ms},
		},
		"a failed hedge is made up for at once, for nothing": {
			rules: four, slow: map[crdt.Region]time.Duration{east: 290 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(nothing()), north: {Err: errReset}, south: has(session())},
			want:  readWant{script: "read 1; read 2; hedge 3; read 4; ", region: south, hedges: 1, took: 1*ms + 75*ms + 2*ms},
		},
		"a failed hedge does not make a doubtful miss sure": {
			world: map[crdt.Region]Result{west: has(nothing()), east: {Err: errBlackHole}, north: {Err: errReset}},
			want:  readWant{script: "read 1; read 2; hedge 3; ", rung: Refused, err: ErrDoubtful, region: west, absent: true, hedges: 1, took: 1*ms + 300*ms},
		},
		"nor does it hide one that is": {
			slow:  map[crdt.Region]time.Duration{east: 290 * ms},
			world: map[crdt.Region]Result{west: has(nothing()), east: has(nothing()), north: {Err: errReset}},
			want:  readWant{script: "read 1; read 2; hedge 3; ", region: east, absent: true, hedges: 1, took: 1*ms + 290*ms},
		},
		"primary: where the write went is asked alone": {
			rules: func(r *Rules) { r.Mode = ByPrimary }, query: Query{Seen: overdue()}, hints: eastLag(),
			slow:  map[crdt.Region]time.Duration{east: 290 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: shown()},
			want:  readWant{script: "read 2; ", region: east, took: 290 * ms},
		},
		"the read budget ends what is asked": {
			rules: func(r *Rules) { four(r); r.ReadBudget = 50 * ms }, query: Query{Seen: overdue()}, hints: eastLag(),
			slow:  map[crdt.Region]time.Duration{east: 290 * ms, north: 290 * ms},
			world: map[crdt.Region]Result{west: has(session()), east: {Err: errReset}, north: {Err: errReset}},
			want:  readWant{script: "read 1; read 2; hedge 3; ", rung: Stale, region: west, hedges: 1, took: 50 * ms},
		},
	}
}

// partScenes are about answers that lack a part.
func partScenes() map[string]readScene {
	alone := func(r *Rules) { r.Near = r.Near[:1] }
	refilling := func(rec crdt.Record) Result { return Result{Record: rec, Refilling: true} }
	partial := func(rec crdt.Record) Result { return Result{Record: rec, Partial: true} }
	return map[string]readScene{
		"a Region that is refilling never says that nothing is there": {
			rules: alone, world: map[crdt.Region]Result{west: refilling(nothing())},
			want: readWant{script: "read 1; ", rung: Refused, err: ErrDoubtful, region: west, absent: true},
		},
		"nor as the birth Region beside others": {
			world: map[crdt.Region]Result{west: refilling(nothing()), east: has(nothing()), north: has(nothing())},
			want:  readWant{script: "read 1; read 2; read 3; ", rung: Refused, err: ErrDoubtful, region: north, absent: true},
		},
		"what it has is served once another Region has told all": {
			world: map[crdt.Region]Result{west: refilling(session()), east: has(session())},
			want:  readWant{script: "read 1; read 2; ", region: east},
		},
		"or stale, if none can": {
			world: map[crdt.Region]Result{west: refilling(session()), east: {Err: errReset}, north: {Err: errReset}},
			want:  readWant{script: "read 1; read 2; read 3; ", rung: Stale, region: west, partial: true},
		},
		"what it has not is asked for at once": {
			query: Query{Seen: seenMine()}, hints: eastLag(),
			world: map[crdt.Region]Result{west: refilling(session()), east: has(session(mine()))},
			want:  readWant{script: "read 1; read 2; ", region: east},
		},
		"even by those who accept a miss": {
			rules: func(r *Rules) { r.Mode = Accept },
			world: map[crdt.Region]Result{west: refilling(nothing()), east: has(session())},
			want:  readWant{script: "read 1; read 2; ", region: east},
		},
		"the answer is from the Region that had something": {
			query: Query{Seen: overdue()}, hints: eastLag(),
			world: map[crdt.Region]Result{west: has(nothing()), east: has(session()), north: has(nothing())},
			want:  readWant{script: "read 1; read 2; read 3; ", region: east, lost: 1},
		},
		"a part of another Region's answer is no answer": {
			world: map[crdt.Region]Result{west: has(nothing()), east: partial(nothing()), north: {Err: errReset}},
			want:  readWant{script: "read 1; read 2; read 3; ", rung: Refused, err: ErrDoubtful, region: east, absent: true},
		},
		"nor does it say that a write is lost": {
			query: Query{Seen: overdue()}, hints: eastLag(),
			world: map[crdt.Region]Result{west: has(session()), east: partial(session()), north: has(session())},
			want:  readWant{script: "read 1; read 2; read 3; ", rung: Stale, region: north},
		},
		"what only a part of a Region brings may be old": {
			world: map[crdt.Region]Result{west: has(nothing()), east: partial(session())},
			want:  readWant{script: "read 1; read 2; ", rung: Stale, region: east},
		},
		"and is refused by strict routes": {
			query: Query{Class: Strict}, world: map[crdt.Region]Result{west: has(nothing()), east: partial(session())},
			want: readWant{script: "read 1; read 2; ", rung: Refused, err: ErrStale, region: east, absent: true},
		},
	}
}

// sideScenes are about what only a side store tells.
func sideScenes() map[string]readScene {
	return map[string]readScene{
		"the side store serves while no engine answers": {
			world: map[crdt.Region]Result{
				west: {Record: session(), Side: true, Err: errBlackHole}, east: {Err: errReset}, north: {Err: errReset},
			},
			want: readWant{script: "read 1; read 2; read 3; ", rung: LocalOnly, region: west, partial: true},
		},
		"what it alone has may be old, so another Region is asked": {
			world: map[crdt.Region]Result{west: {Record: session(), Side: true, Err: errBlackHole}, east: has(session())},
			want:  readWant{script: "read 1; read 2; ", rung: LocalOnly, region: east},
		},
	}
}

// What a Region that is refilling knows of a user is never enough.
func TestReadPlanOfUserWhileRefilling(t *testing.T) {
	user := crdt.UserKey("alice")
	bottom := Result{Record: crdt.Record{Key: user}}
	refilling := Result{Record: crdt.Record{Key: user}, Refilling: true}
	epoch := Result{Record: crdt.EpochRecord(user, mine())}
	for name, c := range map[string]struct {
		class  Class
		known  crdt.Record
		world  map[crdt.Region]Result
		script string
		rung   Rung
		epochs int
	}{
		"another Region tells":      {Safe, crdt.Record{}, map[crdt.Region]Result{west: refilling, east: epoch}, "read 1; read 2; ", Normal, 1},
		"which may know of nothing": {Safe, crdt.Record{}, map[crdt.Region]Result{west: refilling, east: bottom}, "read 1; read 2; ", Normal, 0},
		"none other tells":          {Safe, crdt.Record{}, map[crdt.Region]Result{west: refilling, east: {Err: errReset}, north: {Err: errReset}}, "read 1; read 2; read 3; ", Stale, 0},
		"strict":                    {Strict, crdt.Record{}, map[crdt.Region]Result{west: refilling, east: {Err: errReset}, north: refilling}, "read 1; read 2; read 3; ", Refused, 0},
		"what is found is joined":   {Safe, crdt.EpochRecord(user, dot(north, start)), map[crdt.Region]Result{west: refilling, east: epoch}, "read 1; read 2; ", Normal, 2},
		"a silent side store here":  {Safe, crdt.Record{}, map[crdt.Region]Result{west: {Record: epoch.Record, Partial: true}}, "read 1; ", Stale, 1},
		"a journal is no engine":    {Safe, epoch.Record, map[crdt.Region]Result{west: {Err: errReset}, east: {Err: errReset}, north: {Err: errReset}}, "read 1; read 2; read 3; ", Refused, 1},
		"nor is another's":          {Safe, crdt.Record{}, map[crdt.Region]Result{west: {Err: errReset}, east: {Record: epoch.Record, Err: errReset}, north: {Err: errReset}}, "read 1; read 2; read 3; ", Refused, 1},
		"and full answers suffice":  {Strict, crdt.Record{}, map[crdt.Region]Result{west: epoch}, "read 1; ", Normal, 1},
	} {
		t.Run(name, func(t *testing.T) {
			plan := NewReadPlan(testRules(nil), Query{Key: user, Class: c.class}, Hints{Known: c.known})
			w := &world{read: func(r crdt.Region, _ crdt.Time) Result { return c.world[r] }}
			got := w.playRead(t, &plan)
			if a := got.Answer; a.Rung != c.rung || len(a.Record.Epochs()) != c.epochs || (got.Err != nil) != (c.rung == Refused) {
				t.Errorf("answer = %v, %v, epochs %v; want %v and %d", a.Rung, got.Err, a.Record.Epochs(), c.rung, c.epochs)
			}
			if script := w.script.String(); script != c.script {
				t.Errorf("steps = %q, want %q", script, c.script)
			}
		})
	}
}

// What this Region's journal knows to be dead is, whatever anybody has.
func TestReadPlanOfJournaledDeath(t *testing.T) {
	plan := NewReadPlan(testRules(nil), Query{Key: scene(), Class: Strict}, Hints{Known: crdt.Record{Key: scene(), Dead: true}})
	w := &world{}
	got := w.playRead(t, &plan)
	if !got.Answer.Record.Dead || got.Err != nil || got.Answer.Rung != Normal || w.script.String() != "" {
		t.Errorf("answer = %+v, %v after %q; want dead, with nobody asked", got.Answer, got.Err, w.script.String())
	}
}

// An answer that comes after another Region was asked in its place still counts.
func TestReadPlanTakesLateAnswers(t *testing.T) {
	plan := NewReadPlan(testRules(four), Query{Key: scene(), Seen: overdue()}, eastLag())
	next := func(at time.Duration, e Event) Step { return plan.Next(start.Add(at), e) }
	next(0, Event{})
	if s := next(time.Millisecond, Event{west, has(session())}); s.Region != east {
		t.Fatalf("step = %+v, want a read of east", s)
	}
	if s := next(time.Millisecond, Event{}); s.Do != Wait || s.For != 40*time.Millisecond {
		t.Fatalf("step = %+v, want a wait of 40 ms", s)
	}
	if s := next(41*time.Millisecond, Event{}); s.Region != north || !s.Hedge {
		t.Fatalf("step = %+v, want a hedge in north", s)
	}
	if s := next(42*time.Millisecond, Event{north, has(session())}); s.Region != south || s.Hedge {
		t.Fatalf("step = %+v, want a read of south in its place", s)
	}
	if s := next(42*time.Millisecond, Event{}); s.Do != Wait {
		t.Fatalf("step = %+v, want a wait", s)
	}
	s := next(43*time.Millisecond, Event{east, shown()})
	if s.Do != Done || s.Err != nil || s.Answer.Rung != Normal {
		t.Errorf("step = %+v, want the answer", s)
	}
}

// At most a tenth of the reads that ask another Region ask two at once, and a
// burst of ten.
func TestHedgesHaveABudget(t *testing.T) {
	var budget RetryBudget
	hedges := 0
	const reads = 1000
	for range reads {
		budget.Deposit()
		plan := NewReadPlan(testRules(nil), Query{Key: scene(), Seen: overdue()}, eastLag())
		w := &world{hedges: &budget, slow: map[crdt.Region]time.Duration{east: 290 * time.Millisecond}, read: func(r crdt.Region, _ crdt.Time) Result {
			if r == west {
				return has(session())
			}
			return shown()
		}}
		got := w.playRead(t, &plan)
		if got.Err != nil || got.Answer.Rung != Normal {
			t.Fatalf("answer = %v, %v, want a fresh one", got.Answer.Rung, got.Err)
		}
		hedges += got.Answer.Hedges
	}
	if hedges < reads/10 || hedges > reads/10+retryBurst {
		t.Errorf("%d hedges in %d reads, want %d to %d", hedges, reads, reads/10, reads/10+retryBurst)
	}
}
