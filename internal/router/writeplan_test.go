package router

import (
	"errors"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A writeScene is one write in one state of the world.
type writeScene struct {
	rules   func(*Rules)
	op      crdt.Op
	base    bool
	results []Result // of the tries in their order; the last repeats
	want    writeWant
}

type writeWant struct {
	script string
	rung   Rung
	err    error
	region crdt.Region
	most   time.Duration
}

func put() crdt.Op { return crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}} }

func add() crdt.Op { return crdt.Op{Changes: []crdt.Change{crdt.Add("n", 1)}} }

func ok() Result { return Result{Dot: dot(west, start)} }

func passive(r *Rules) { r.Primary = east }

func sided(r *Rules) { r.Primary, r.Side = east, true }

// reachScenes are about Regions that do not take a write.
func reachScenes() map[string]writeScene {
	return map[string]writeScene{
		"active-active writes here": {
			op: put(), results: []Result{ok()}, want: writeWant{script: "apply 1; ", region: west},
		},
		"active-passive writes at the primary": {
			rules: passive, op: put(), results: []Result{ok()}, want: writeWant{script: "apply 2; ", region: east},
		},
		"a dead engine here: the nearest Region": {
			op: put(), results: []Result{{Err: errBlackHole}, ok()},
			want: writeWant{script: "apply 1; apply 2 (retry); ", region: east},
		},
		"an open breaker here costs no retry": {
			op: put(), results: []Result{{Err: ErrOpen}, ok()},
			want: writeWant{script: "apply 1; apply 2; ", region: east},
		},
		"a black-holed primary: three retries, jittered": {
			rules: passive, op: put(), results: []Result{{Err: errBlackHole}},
			want: writeWant{
				script: "apply 2; sleep 50ms; apply 2 (retry); sleep 100ms; apply 2 (retry); sleep 200ms; apply 2 (retry); ",
				rung:   Refused, err: ErrUnavailable, most: 1600 * time.Millisecond,
			},
		},
		"and then the side store": {
			rules: sided, op: put(), results: []Result{{Err: errBlackHole}, {Err: errBlackHole}, {Err: errBlackHole}, {Err: errBlackHole}, ok()},
			want: writeWant{
				script: "apply 2; sleep 50ms; apply 2 (retry); sleep 100ms; apply 2 (retry); sleep 200ms; apply 2 (retry); apply side; ",
				rung:   LocalOnly, region: west,
			},
		},
		"an open breaker goes there at once": {
			rules: sided, op: put(), results: []Result{{Err: ErrOpen}, ok()},
			want: writeWant{script: "apply 2; apply side; ", rung: LocalOnly, region: west, most: 10 * time.Millisecond},
		},
		"so does a spent retry budget": {
			rules: sided, op: put(), results: []Result{{Err: errBlackHole}, {Err: ErrNoRetry}, ok()},
			want: writeWant{script: "apply 2; sleep 50ms; apply 2 (retry); apply side; ", rung: LocalOnly, region: west},
		},
		"a primary that is none right now is asked again": {
			rules: passive, op: put(), results: []Result{{Err: engine.ErrNotPrimary}, ok()},
			want: writeWant{script: "apply 2; sleep 50ms; apply 2 (retry); ", region: east},
		},
		"no store at all": {
			rules: sided, op: put(), results: []Result{{Err: ErrOpen}, {Err: errBlackHole}},
			want: writeWant{script: "apply 2; apply side; ", rung: Refused, err: ErrUnavailable},
		},
	}
}

// meaningScenes are about what a write or its refusal means.
func meaningScenes() map[string]writeScene {
	return map[string]writeScene{
		"an addition stays where it may have been counted": {
			rules: sided, op: add(), results: []Result{{Err: errBlackHole}},
			want: writeWant{
				script: "apply 2; sleep 50ms; apply 2 (retry); sleep 100ms; apply 2 (retry); sleep 200ms; apply 2 (retry); ",
				rung:   Refused, err: ErrUnknownOutcome,
			},
		},
		"and is tried again only there": {
			op: add(), results: []Result{{Err: errBlackHole}, {Err: errBlackHole}, ok()},
			want: writeWant{script: "apply 1; sleep 50ms; apply 1 (retry); sleep 100ms; apply 1 (retry); ", region: west},
		},
		"an addition that was surely not counted moves on": {
			op: add(), results: []Result{{Err: engine.ErrFull}, ok()},
			want: writeWant{script: "apply 1; apply 2 (retry); ", region: east},
		},
		"a Region that has not heard of the session is given it": {
			op: put(), base: true, results: []Result{{Err: crdt.ErrAbsent}, ok()},
			want: writeWant{script: "apply 1; apply 1 adopting; ", region: west},
		},
		"once": {
			op: put(), base: true, results: []Result{{Err: crdt.ErrAbsent}},
			want: writeWant{script: "apply 1; apply 1 adopting; ", err: crdt.ErrAbsent, region: west},
		},
		"a refusal is final": {
			op: put(), base: true, results: []Result{{Err: crdt.ErrDead}},
			want: writeWant{script: "apply 1; ", err: crdt.ErrDead, region: west},
		},
		"the side store's refusal is the answer": {
			rules: sided, op: put(), results: []Result{{Err: ErrOpen}, {Err: crdt.ErrExpired}},
			want: writeWant{script: "apply 2; apply side; ", err: crdt.ErrExpired, region: west},
		},
	}
}

// base is the record that a write's caller has read.
func base(have bool) crdt.Record {
	if !have {
		return nothing()
	}
	return session()
}

func TestWritePlan(t *testing.T) {
	for _, scenes := range []map[string]writeScene{reachScenes(), meaningScenes()} {
		for name, c := range scenes {
			t.Run(name, c.play)
		}
	}
}

func (c writeScene) play(t *testing.T) {
	plan := NewWritePlan(testRules(c.rules), Write{Key: scene(), Base: base(c.base), Op: c.op})
	try := 0
	w := &world{apply: func(s Step, _ crdt.Time) Result {
		res := c.results[min(try, len(c.results)-1)]
		try++
		if s.Do == ApplyAt && s.Timeout > testRules(nil).Timeout(s.Region) {
			t.Errorf("%s may take %v", stepName(s), s.Timeout)
		}
		return res
	}}
	got := w.play(t, func(now crdt.Time, last Result) Step { return plan.Next(now, last, 0.5) })
	if script := w.script.String(); script != c.want.script {
		t.Errorf("steps = %q, want %q", script, c.want.script)
	}
	a := got.Answer
	if a.Rung != c.want.rung || !errors.Is(got.Err, c.want.err) || (got.Err == nil) != (c.want.err == nil) {
		t.Errorf("answer = %v, %v; want %v, %v", a.Rung, got.Err, c.want.rung, c.want.err)
	}
	if a.Region != c.want.region {
		t.Errorf("region = %d, want %d", a.Region, c.want.region)
	}
	if got.Err == nil && a.Dot.IsZero() {
		t.Error("an answer without the write's dot")
	}
	if c.want.most == 0 {
		c.want.most = 2100 * time.Millisecond // the budget and a local call
	}
	if spent := w.now.Sub(start); spent > c.want.most {
		t.Errorf("took %v, want at most %v", spent, c.want.most)
	}
}

// However its tries fail, a write ends, within its budget and four tries.
func TestWritePlanIsBounded(t *testing.T) {
	errs := []error{errBlackHole, ErrOpen, ErrNoRetry, engine.ErrNotPrimary, engine.ErrFull, crdt.ErrAbsent, nil}
	for _, hasAdd := range []bool{false, true} {
		for _, primary := range []crdt.Region{0, east} {
			for code := range 7 * 7 * 7 * 7 {
				op := crdt.Op{Changes: []crdt.Change{crdt.Put("a", nil)}}
				if hasAdd {
					op.Changes[0] = crdt.Add("n", 1)
				}
				plan := NewWritePlan(testRules(func(r *Rules) { r.Primary, r.Side = primary, code%2 == 0 }), Write{Key: scene(), Base: base(true), Op: op})
				tries, digits := 0, code
				w := &world{apply: func(Step, crdt.Time) Result {
					err := errs[digits%7]
					digits /= 7
					tries++
					return Result{Dot: dot(west, start), Err: err}
				}}
				got := w.play(t, func(now crdt.Time, last Result) Step { return plan.Next(now, last, 1) })
				if spent := w.now.Sub(start); spent > 2200*time.Millisecond || tries > 6 {
					t.Fatalf("code %d: %d tries in %v: %s", code, tries, spent, w.script.String())
				}
				if got.Err == nil && got.Answer.Rung == Refused || got.Err != nil && !engine.IsRefusal(got.Err) && got.Answer.Rung != Refused {
					t.Fatalf("code %d: rung %v with error %v", code, got.Answer.Rung, got.Err)
				}
			}
		}
	}
}
