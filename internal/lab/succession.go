package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/ledger"
)

// succession: the primary changes, as somebody wants it and by its death, and a shopper's
// session goes on. Where there is no control plane there is nothing to see.
func (t *tour) succession(ctx context.Context) {
	if !t.lab.deployment().native() {
		return
	}
	t.chapter = "The primary changes"
	heidi := t.browser()
	t.step("heidi logs in", "done", func() (string, error) {
		if err := t.lab.deployment().steer(ctx, "automatic"); err != nil {
			return "", err
		}
		return "done", heidi.login(ctx, west1, "heidi")
	})
	t.step("she chooses one theme after the other while "+west2+" takes over", "done, each one was kept", func() (string, error) {
		return t.switchOver(ctx, heidi, west2)
	})
	t.named(ctx, west2, west1, west2, europe)
	t.step("she adds to her cart in "+west2+", which dies before another has it", "1 lamp", func() (string, error) {
		return t.dieAlone(ctx, heidi)
	})
	t.soon(ctx, "ivan, who is new, logs in and is written where he belongs", "ivan, normal", func() (string, error) {
		ivan := t.browser()
		if err := ivan.login(ctx, europe, "ivan"); err != nil {
			return "", err
		}
		v, err := ivan.look(ctx, europe)
		return v.who() + ", " + v.Rung, err
	})
	if t.err != nil {
		return
	}
	head := t.lab.State().Primary
	t.named(ctx, head, west1, europe)
	t.step("heidi is logged in, in "+europe, "heidi", func() (string, error) {
		v, err := heidi.look(ctx, europe)
		return v.who(), err
	})
	t.step(west2+" comes back", "done", func() (string, error) {
		return "done", t.do(ctx, console.Action{Kind: console.ActRegion, Region: west2, Alive: new(true)})
	})
	t.soon(ctx, "the receipt of what "+west2+" took alone", "for "+head+": all recovered, complete", t.receipt)
	for _, p := range places() {
		t.soon(ctx, "heidi in "+p.name, "heidi, 1 lamp, normal", func() (string, error) {
			v, err := heidi.look(ctx, p.name)
			return v.who() + ", " + v.cart() + ", " + v.Rung, err
		})
	}
}

// switchOver has another Region take the writes, and a shopper write and read until it has.
func (t *tour) switchOver(ctx context.Context, b *browser, to string) (string, error) {
	const patience = 15 * time.Second
	begun := time.Now()
	if err := t.do(ctx, console.Action{Kind: console.ActSwitchover, Region: to}); err != nil {
		return "", err
	}
	for n := 0; ; n++ {
		theme := []string{"dark", "light"}[n%2]
		if err := b.must(ctx, europe, "/theme", "theme", theme); err != nil {
			return "", err
		}
		v, err := b.look(ctx, west1)
		if err != nil {
			return "", err
		}
		if v.Theme != theme {
			return fmt.Sprintf("choice %d was %s and is %q", n+1, theme, v.Theme), nil
		}
		switch h := t.lab.State().Control.Handover; {
		case h != nil && h.To == to && h.Step == string(ledger.Done):
			return h.Step + ", each one was kept", nil
		case h != nil && h.Step == string(ledger.Failed), time.Since(begun) > patience:
			return "no switchover in " + brief(time.Since(begun)).String(), nil
		}
	}
}

// dieAlone has a shopper write to the primary, which nobody else is told of before it dies.
func (t *tour) dieAlone(ctx context.Context, b *browser) (string, error) {
	for _, to := range []string{west1, europe} {
		if err := t.cut(ctx, west2, to, console.PlaneReplication, true); err != nil {
			return "", err
		}
	}
	if err := b.must(ctx, west2, "/cart/add", "item", "lamp"); err != nil {
		return "", err
	}
	v, err := b.look(ctx, west2)
	if err != nil {
		return "", err
	}
	if err := t.do(ctx, console.Action{Kind: console.ActRegion, Region: west2, Alive: new(false)}); err != nil {
		return "", err
	}
	for _, to := range []string{west1, europe} {
		if err := t.cut(ctx, west2, to, console.PlaneReplication, false); err != nil {
			return "", err
		}
	}
	return v.cart(), nil
}

// named compares where the writer's name leads, as Regions answer.
func (t *tour) named(ctx context.Context, writer string, regions ...string) {
	var want []string
	for _, r := range regions {
		want = append(want, r+" says "+writer)
	}
	t.soon(ctx, writerName+", asked by DNS", strings.Join(want, ", "), func() (string, error) {
		var out []string
		for _, n := range t.lab.State().Control.Names {
			if n.Problem == "" {
				out = append(out, n.Region+" says "+n.Writer)
			}
		}
		return strings.Join(out, ", "), nil
	})
}

// receipt returns what the newest receipt says.
func (t *tour) receipt() (string, error) {
	all := t.lab.State().Control.Receipts
	if len(all) == 0 {
		return "none", nil
	}
	r, state := all[0], "complete"
	if r.Open {
		state = "open"
	}
	took := fmt.Sprintf("%d recovered, %d lost, %d unknown", r.Counts["recovered"], r.Counts["lost"], r.Counts["unknown"])
	if r.Counts["recovered"] > 0 && r.Counts["lost"]+r.Counts["unknown"] == 0 { // her lamp, and maybe what was before
		took = "all recovered"
	}
	return fmt.Sprintf("for %s: %s, %s", r.To, took, state), nil
}
