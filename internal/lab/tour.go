package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/pause"
)

// A Step is one thing that the tour did, what should come of it and what came.
type Step struct {
	Chapter  string `json:"chapter"`
	Did      string `json:"did"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	OK       bool   `json:"ok"`
	TookMs   int64  `json:"tookMs"`
}

// A tour walks three users through the demo's Regions and compares what they see
// with what they should.
type tour struct {
	lab    *Lab
	url    string
	report func(Step)

	chapter string
	differs int
	err     error // a browser that could not even ask; nothing more is tried
}

// Tour walks through everything that the demo is for, against the edge served at
// url, and reports each step as it ends. It returns how many differed from what
// was expected. The Regions must be fresh and whole; they are whole again after.
func (l *Lab) Tour(ctx context.Context, url string, report func(Step)) (differs int, err error) {
	t := &tour{lab: l, url: url, report: report}
	for _, chapter := range []func(context.Context){
		t.oneLogin, t.readYourWrites, t.concurrentWrites, t.cutOff, t.asymmetric, t.regionLoss, t.everywhere, t.succession,
	} {
		if t.err == nil {
			chapter(ctx)
		}
	}
	return t.differs, t.err
}

// step does something and compares what is seen of it.
func (t *tour) step(did, expected string, do func() (seen string, err error)) {
	if t.err != nil {
		return
	}
	begun := time.Now()
	seen, err := do()
	if err != nil {
		t.err = fmt.Errorf("%s: %w", did, err)
		return
	}
	s := Step{
		Chapter: t.chapter, Did: did, Expected: expected, Seen: seen,
		OK: seen == expected, TookMs: time.Since(begun).Milliseconds(),
	}
	if !s.OK {
		t.differs++
	}
	t.report(s)
}

// soon does the same until what is seen is what is expected, for 15 seconds.
func (t *tour) soon(ctx context.Context, did, expected string, do func() (string, error)) {
	const patience = 15 * time.Second // a lost primary is replaced in about half of it
	t.step(did, expected, func() (string, error) {
		for begun := time.Now(); ; {
			seen, err := do()
			if seen == expected || err != nil || time.Since(begun) > patience {
				return seen, err
			}
			if !pause.For(ctx, 50*time.Millisecond) {
				return seen, ctx.Err()
			}
		}
	})
}

// written is the rung of a write made where the primary can't be reached.
func (t *tour) written() string {
	if t.lab.State().Topology == console.ActivePassive {
		return "local-only"
	}
	return "normal"
}

// do changes the network; the tour made the action up, so that it is valid.
func (t *tour) do(ctx context.Context, a console.Action) error { return t.lab.Do(ctx, a) }

// cut cuts, or heals, one direction of a link.
func (t *tour) cut(ctx context.Context, from, to, plane string, on bool) error {
	return t.do(ctx, console.Action{Kind: console.ActLink, From: from, To: to, Plane: plane, Cut: &on})
}

// isolate cuts, or heals, every link of a Region in both directions.
func (t *tour) isolate(ctx context.Context, name string, on bool) error {
	for _, p := range places() {
		if p.name == name {
			continue
		}
		for _, pair := range [][2]string{{name, p.name}, {p.name, name}} {
			if err := t.cut(ctx, pair[0], pair[1], console.PlaneAll, on); err != nil {
				return err
			}
		}
	}
	return nil
}

// sessionsIn returns what a browser is in each Region that is alive.
func (t *tour) sessionsIn(ctx context.Context, b *browser) (string, error) {
	var out []string
	for _, p := range places() {
		if !t.lab.deployment().alive(p.name) {
			continue
		}
		v, err := b.look(ctx, p.name)
		if err != nil {
			return "", err
		}
		out = append(out, p.name+": "+v.who())
	}
	return strings.Join(out, ", "), nil
}
