package lab

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/pause"
)

// oneLogin: a login in one Region is a session in every Region, on the next click.
func (t *tour) oneLogin(ctx context.Context) {
	t.chapter = "One login"
	alice := t.browser()
	t.step("alice logs in through "+west1+" and clicks on in "+europe, "alice, normal", func() (string, error) {
		if err := alice.login(ctx, west1, "alice"); err != nil {
			return "", err
		}
		v, err := alice.look(ctx, europe)
		return v.who() + ", " + v.Rung, err
	})
	t.step("she puts a book in her cart in "+europe+" and looks at it in "+west2, "1 notebook", func() (string, error) {
		if err := alice.must(ctx, europe, "/cart/add", "item", "notebook"); err != nil {
			return "", err
		}
		v, err := alice.look(ctx, west2)
		return v.cart(), err
	})
}

// readYourWrites: written in one Region, read in another 5 ms later.
func (t *tour) readYourWrites(ctx context.Context) {
	const rounds = 100
	t.chapter = "Read your writes"
	left := 0
	t.step(fmt.Sprintf("%d times: write in one Region, read in another 5 ms later", rounds), fmt.Sprintf("%d of %d seen", rounds, rounds), func() (string, error) {
		b, seen, at := t.browser(), 0, places()
		for i := range rounds {
			if err := b.must(ctx, at[i%3].name, "/visits"); err != nil {
				return "", err
			}
			if !pause.For(ctx, 5*time.Millisecond) {
				return "", ctx.Err()
			}
			v, err := b.look(ctx, at[(i+1+i/3%2)%3].name)
			if err != nil {
				return "", err
			}
			if v.Visits == int64(i+1) {
				seen++
			}
			if v.Left {
				left++
			}
		}
		return fmt.Sprintf("%d of %d seen", seen, rounds), nil
	})
	t.note(fmt.Sprintf("%d of these %d reads had to ask another Region", left, rounds))
}

// note reports something measured that nothing is expected of.
func (t *tour) note(text string) {
	if t.err == nil {
		t.report(Step{Chapter: t.chapter, Did: text, OK: true})
	}
}

// concurrentWrites: what several Regions add at once is all kept.
func (t *tour) concurrentWrites(ctx context.Context) {
	t.chapter = "Concurrent writes"
	bob := t.browser()
	t.step("bob logs in; his three tabs add to his cart in three Regions at once", "logged in, added 3", func() (string, error) {
		if err := bob.login(ctx, west2, "bob"); err != nil {
			return "", err
		}
		items := []string{"map", "mug", "lamp"}
		errs := make([]error, len(items))
		var tabs sync.WaitGroup
		for i, p := range places() {
			tab := bob.copyCookies(t)
			tabs.Go(func() { errs[i] = tab.must(ctx, p.name, "/cart/add", "item", items[i]) })
		}
		tabs.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
			}
		}
		return fmt.Sprintf("logged in, added %d", added), nil
	})
	for _, p := range places() {
		t.soon(ctx, "his cart in "+p.name, "1 map, 1 mug, 1 lamp", func() (string, error) {
			v, err := bob.look(ctx, p.name)
			return v.cart(), err
		})
	}
}

// cutOff: a Region is cut off, goes on, and takes nothing back that was ended.
func (t *tour) cutOff(ctx context.Context) {
	t.chapter = "A Region is cut off"
	alice, bob, carol := t.browser(), t.browser(), t.browser()
	all, names := []*browser{alice, bob, carol}, []string{"alice", "bob", "carol"}
	t.step("alice, bob and carol log in", "done", func() (string, error) {
		for i, b := range all {
			if err := b.login(ctx, west1, names[i]); err != nil {
				return "", err
			}
		}
		return "done", nil
	})
	for i, b := range all {
		t.soon(ctx, names[i]+"'s session has come to "+europe, "normal", func() (string, error) {
			v, err := b.look(ctx, europe)
			return v.Rung, err
		})
	}
	oldBob, oldCarol := bob.copyCookies(t), carol.copyCookies(t)
	t.step("cut "+europe+" off; alice adds to her cart there", "alice, 1 pack, "+t.written(), func() (string, error) {
		if err := t.isolate(ctx, europe, true); err != nil {
			return "", err
		}
		if err := alice.must(ctx, europe, "/cart/add", "item", "pack"); err != nil {
			return "", err
		}
		v, err := alice.look(ctx, europe)
		return v.who() + ", " + v.cart() + ", " + v.Rung, err
	})
	t.step("bob logs out in "+west1, told{[]string{west1, west2}, []string{europe}}.String(), func() (string, error) {
		return bob.logout(ctx, west1, "/logout")
	})
	t.step("carol logs out in "+europe, told{[]string{europe}, []string{west2, west1}}.String(), func() (string, error) {
		return carol.logout(ctx, europe, "/logout")
	})
	t.step("heal", "done", func() (string, error) { return "done", t.isolate(ctx, europe, false) })
	t.soon(ctx, "logouts that some Region has not heard of", "0", func() (string, error) {
		return fmt.Sprint(t.lab.State().Totals.PendingRevocations), nil
	})
	t.deadEverywhere(ctx, "bob", oldBob)
	t.deadEverywhere(ctx, "carol", oldCarol)
	for _, p := range places() {
		t.soon(ctx, "alice in "+p.name, "alice, 1 pack, normal", func() (string, error) {
			v, err := alice.look(ctx, p.name)
			return v.who() + ", " + v.cart() + ", " + v.Rung, err
		})
	}
}

// deadEverywhere replays the cookies of a session that was ended: reads and
// delayed writes find nobody and revive nothing.
func (t *tour) deadEverywhere(ctx context.Context, user string, old *browser) {
	t.soon(ctx, user+"'s old cookies, replayed", allNobody(), func() (string, error) { return t.sessionsIn(ctx, old) })
	t.step("a delayed click of "+user+"'s adds to the cart in every Region", "answered", func() (string, error) {
		for _, p := range places() {
			if err := old.copyCookies(t).must(ctx, p.name, "/cart/add", "item", "jacket"); err != nil {
				return "", err
			}
		}
		return "answered", nil
	})
	t.step(user+"'s old cookies after that", allNobody(), func() (string, error) { return t.sessionsIn(ctx, old) })
}

func allNobody() string {
	var out []string
	for _, p := range places() {
		out = append(out, p.name+": nobody")
	}
	return strings.Join(out, ", ")
}

// asymmetric: writes to the first Region fail while its replication lives.
func (t *tour) asymmetric(ctx context.Context) {
	t.chapter = "Only writes fail"
	dora := t.browser()
	t.step("dora logs in; cut only calls from "+west2+" to "+west1, "done", func() (string, error) {
		if err := dora.login(ctx, west1, "dora"); err != nil {
			return "", err
		}
		return "done", t.cut(ctx, west2, west1, console.PlaneCalls, true)
	})
	t.soon(ctx, "what she does in "+west1+" arrives in "+west2, "1 map", func() (string, error) {
		v, err := dora.look(ctx, west1)
		if err == nil && len(v.Cart) == 0 {
			err = dora.must(ctx, west1, "/cart/add", "item", "map")
		}
		if err == nil {
			v, err = dora.look(ctx, west2)
		}
		return v.cart(), err
	})
	t.step("she adds to her cart in "+west2, "dora, 1 map, 1 mug, "+t.written(), func() (string, error) {
		if err := dora.must(ctx, west2, "/cart/add", "item", "mug"); err != nil {
			return "", err
		}
		v, err := dora.look(ctx, west2)
		return v.who() + ", " + v.cart() + ", " + v.Rung, err
	})
	t.step("heal", "done", func() (string, error) {
		return "done", t.cut(ctx, west2, west1, console.PlaneCalls, false)
	})
	for _, p := range places() {
		t.soon(ctx, "her cart in "+p.name, "1 map, 1 mug, normal", func() (string, error) {
			v, err := dora.look(ctx, p.name)
			return v.cart() + ", " + v.Rung, err
		})
	}
}

// regionLoss: a Region dies, the primary where there is one, and comes back.
func (t *tour) regionLoss(ctx context.Context) {
	t.chapter = "A Region dies"
	erin := t.browser()
	alive := func(on bool) error {
		return t.do(ctx, console.Action{Kind: console.ActRegion, Region: west1, Alive: &on})
	}
	t.step("erin logs in through "+west1+", which dies a second later", "erin, 1 compass", func() (string, error) {
		if err := erin.login(ctx, west1, "erin"); err != nil {
			return "", err
		}
		if err := erin.must(ctx, west1, "/cart/add", "item", "compass"); err != nil {
			return "", err
		}
		if !pause.For(ctx, time.Second) {
			return "", ctx.Err()
		}
		// It is back in two seconds or three: whether another Region is the primary by then would
		// be a matter of moments, and there is one failover in ten minutes.
		if err := t.lab.deployment().steer(ctx, "advise"); err != nil {
			return "", err
		}
		if err := alive(false); err != nil {
			return "", err
		}
		v, err := erin.look(ctx, west1) // the edge sends her on
		return v.who() + ", " + v.cart(), err
	})
	t.step("she adds to her cart", "1 lamp, 1 compass, served by "+west2, func() (string, error) {
		if err := erin.must(ctx, west1, "/cart/add", "item", "lamp"); err != nil {
			return "", err
		}
		v, err := erin.look(ctx, west1)
		return v.cart() + ", served by " + v.Region, err
	})
	t.step("frank, who is new, logs in", "frank, "+t.written(), func() (string, error) {
		frank := t.browser()
		if err := frank.login(ctx, west2, "frank"); err != nil {
			return "", err
		}
		v, err := frank.look(ctx, west2)
		return v.who() + ", " + v.Rung, err
	})
	t.step(west1+" comes back", "done", func() (string, error) { return "done", alive(true) })
	for _, p := range places() {
		t.soon(ctx, "erin in "+p.name, "erin, 1 lamp, 1 compass, normal", func() (string, error) {
			v, err := erin.look(ctx, p.name)
			return v.who() + ", " + v.cart() + ", " + v.Rung, err
		})
	}
}

// everywhere: one user, three browsers, one "log out everywhere".
func (t *tour) everywhere(ctx context.Context) {
	t.chapter = "Log out everywhere"
	var browsers []*browser
	t.step("grace logs in with a browser in each Region", "done", func() (string, error) {
		for _, p := range places() {
			b := t.browser()
			if err := b.login(ctx, p.name, "grace"); err != nil {
				return "", err
			}
			browsers = append(browsers, b)
		}
		return "done", nil
	})
	t.step("she logs out everywhere in "+europe, told{[]string{europe, west2, west1}, nil}.String(), func() (string, error) {
		return browsers[2].logout(ctx, europe, "/logout/everywhere")
	})
	t.step("her browsers, at once", allNobody(), func() (string, error) {
		var out []string
		for i, p := range places() {
			v, err := browsers[i].look(ctx, p.name)
			if err != nil {
				return "", err
			}
			out = append(out, p.name+": "+v.who())
		}
		return strings.Join(out, ", "), nil
	})
	t.step("she logs in again in another Region, at once", "grace", func() (string, error) {
		if err := browsers[2].login(ctx, west1, "grace"); err != nil {
			return "", err
		}
		v, err := browsers[2].look(ctx, west2)
		return v.who(), err
	})
}
