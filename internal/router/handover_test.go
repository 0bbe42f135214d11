package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func handover(r *Rules) { r.Primary, r.Next = east, north }

func handoverSided(r *Rules) { r.Primary, r.Next, r.Side = east, north, true }

func no() Result { return Result{Err: engine.ErrNotPrimary} }

// several returns a result n times, and then others.
func several(n int, r Result, then ...Result) []Result {
	var out []Result
	for range n {
		out = append(out, r)
	}
	return append(out, then...)
}

// turnsScript is what is asked while both sides of a switchover refuse, until a turn.
func turnsScript(turns int) string {
	script := "apply 2; apply 3; "
	for i := range turns {
		script += fmt.Sprintf("sleep %v; apply 3; ", min(firstTurn<<i, mostTurn)*3/4)
		if (i+1)%turnBack == 0 {
			script += "apply 2; "
		}
	}
	return script
}

// handoverScenes are about writes while a switchover is under way.
func handoverScenes() map[string]writeScene {
	const soon = 30 * time.Millisecond
	return map[string]writeScene{
		"the primary takes them as long as it does": {
			rules: handover, op: put(), results: []Result{ok()}, want: writeWant{script: "apply 2; ", region: east},
		},
		"the one that refuses sends them to the other at once": {
			rules: handover, op: put(), results: []Result{no(), ok()},
			want: writeWant{script: "apply 2; apply 3; ", region: north, most: soon},
		},
		"where both refuse, the next one is asked again first": {
			rules: handover, op: put(), results: several(2, no(), ok()),
			want: writeWant{script: "apply 2; apply 3; sleep 3.75ms; apply 3; ", region: north, most: soon},
		},
		"and then the primary, if the switchover was given up": {
			rules: handover, op: put(), results: several(6, no(), ok()),
			want: writeWant{script: turnsScript(turnBack), region: east, most: 2 * soon},
		},
		"beyond a switchover's time it is an outage": {
			rules: handoverSided, op: put(), results: several(2+maxTurns+maxTurns/turnBack+6, no(), ok()),
			want: writeWant{
				script: turnsScript(maxTurns) + "sleep 50ms; apply 2 (retry); apply 3; sleep 100ms; apply 2 (retry); apply 3; sleep 200ms; apply 2 (retry); apply 3; apply side; ",
				rung:   LocalOnly, region: west,
			},
		},
		"a silent primary costs a retry": {
			rules: handover, op: put(), results: []Result{{Err: errBlackHole}, ok()},
			want: writeWant{script: "apply 2; apply 3 (retry); ", region: north},
		},
		"an open breaker costs none": {
			rules: handover, op: put(), results: []Result{{Err: ErrOpen}, no(), ok()},
			want: writeWant{script: "apply 2; apply 3; sleep 3.75ms; apply 3; ", region: north, most: soon},
		},
		"an addition that was refused moves on": {
			rules: handover, op: add(), results: several(2, no(), ok()),
			want: writeWant{script: "apply 2; apply 3; sleep 3.75ms; apply 3; ", region: north},
		},
		"one that may have been counted stays, refused or not": {
			rules: handoverSided, op: add(), results: []Result{{Err: errBlackHole}, no(), no(), ok()},
			want: writeWant{script: "apply 2; sleep 50ms; apply 2 (retry); sleep 100ms; apply 2 (retry); sleep 200ms; apply 2 (retry); ", region: east},
		},
		"the next one may not have heard of the session": {
			rules: handover, op: put(), base: true, results: []Result{no(), {Err: crdt.ErrAbsent}, ok()},
			want: writeWant{script: "apply 2; apply 3; apply 3 adopting; ", region: north},
		},
		"in active-active whoever refuses costs a retry": {
			op: put(), results: []Result{no(), ok()}, want: writeWant{script: "apply 1; apply 2 (retry); ", region: east},
		},
	}
}

func TestWritePlanInASwitchover(t *testing.T) {
	for name, c := range handoverScenes() {
		t.Run(name, c.play)
	}
}

// However both sides answer, a write ends within its budget, and asks one at a time.
func TestSwitchoverIsBounded(t *testing.T) {
	errs := []error{engine.ErrNotPrimary, errBlackHole, ErrOpen, ErrNoRetry, engine.ErrFull}
	for _, hasAdd := range []bool{false, true} {
		for code := range 5 * 5 * 5 * 5 * 5 {
			op := put()
			if hasAdd {
				op = add()
			}
			plan := NewWritePlan(testRules(handover), Write{Key: scene(), Op: op})
			tries, digits := 0, code
			w := &world{apply: func(Step, crdt.Time) Result {
				err := errs[digits%5]
				digits /= 5 // and refusals for ever
				tries++
				return Result{Err: err}
			}}
			got := w.play(t, func(now crdt.Time, last Result) Step { return plan.Next(now, last, 1) })
			if spent := w.now.Sub(start); spent > 2200*time.Millisecond || tries > 2+maxTurns+maxTurns/turnBack+8 {
				t.Fatalf("code %d: %d tries in %v: %s", code, tries, spent, w.script.String())
			}
			if got.Answer.Rung != Refused || !errors.Is(got.Err, ErrUnavailable) && !errors.Is(got.Err, ErrUnknownOutcome) {
				t.Fatalf("code %d: %v, %v", code, got.Answer.Rung, got.Err)
			}
		}
	}
}

// A write that sleeps goes where writes belong when it wakes up; an addition that may have
// been made does not.
func TestWritePlanFollows(t *testing.T) {
	for _, c := range []struct {
		op     crdt.Op
		script string
		region crdt.Region
	}{
		{put(), "apply 2; sleep 50ms; apply 3 (retry); ", north},
		{add(), "apply 2; sleep 50ms; apply 2 (retry); ", east},
	} {
		plan := NewWritePlan(testRules(passive), Write{Key: scene(), Op: c.op})
		tries := 0
		w := &world{apply: func(Step, crdt.Time) Result {
			if tries++; tries == 1 {
				return Result{Err: errBlackHole}
			}
			return ok()
		}}
		got := w.play(t, func(now crdt.Time, last Result) Step {
			if strings.HasSuffix(w.script.String(), "sleep 50ms; ") {
				plan.Follow(testRules(func(r *Rules) { r.Primary = north }))
			}
			return plan.Next(now, last, 0.5)
		})
		if script := w.script.String(); script != c.script || got.Err != nil || got.Answer.Region != c.region {
			t.Errorf("steps = %q, %v at %d; want %q at %d", script, got.Err, got.Answer.Region, c.script, c.region)
		}
	}
}

func TestRulesWith(t *testing.T) {
	rules := testRules(passive)
	for _, c := range []struct {
		to   Primaries
		ok   bool
		want []crdt.Region
	}{
		{Primaries{north, 0}, true, []crdt.Region{north}},
		{Primaries{west, north}, true, []crdt.Region{west, north}},
		{Primaries{north, north}, true, []crdt.Region{north}},
		{Primaries{0, 0}, false, nil},
		{Primaries{0, north}, false, nil},
		{Primaries{9, 0}, false, nil},
		{Primaries{east, 9}, false, nil},
	} {
		got, err := rules.With(c.to)
		if (err == nil) != c.ok || c.ok && !slices.Equal(got.Writers(), c.want) {
			t.Errorf("With(%v) = %v, %v; want %v", c.to, got.Writers(), err, c.want)
		}
	}
	if _, err := testRules(nil).With(Primaries{Primary: east}); err == nil {
		t.Error("With a primary where every Region writes = nil, want an error")
	}
	if rules.Primary != east || rules.Next != 0 {
		t.Error("With changes the rules that it is asked of")
	}
}
