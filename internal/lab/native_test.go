//go:build integration

package lab

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/ledger"
)

// has reports whether a Region's server has a user's record; an error is no answer.
func (s *servers) has(ctx context.Context, region, user string) (bool, error) {
	r, err := s.deployment.region(region).process().engines.main.Read(ctx, crdt.UserKey(user), crdt.Token{})
	return err == nil && !r.IsBottom(), err
}

// wantHas waits until the servers of Regions have a user's record.
func (s *servers) wantHas(t *testing.T, user string, regions ...string) {
	t.Helper()
	for _, region := range regions {
		eventually(t, "the server of "+region+" lacks "+user, func() bool {
			has, _ := s.has(t.Context(), region, user)
			return has
		})
	}
}

// reviveWatched revives a Region. Meanwhile the edge shows alice to her visitor, nobody
// learns from the Region's server, which is being filled, that she is nowhere, and the
// servers of those who stay keep her.
func (s *servers) reviveWatched(t *testing.T, l *Lab, region string, alice *visitor, stay ...string) {
	t.Helper()
	r := s.deployment.region(region)
	near, _ := s.seen(s.deployment.byDistance(r)[0], r)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			reading, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
			r, err := near.Read(reading, crdt.UserKey("alice"), crdt.Token{})
			cancel()
			if err == nil && r.IsBottom() {
				t.Errorf("%s is being revived: it says that there is no alice", region)
				return
			}
		}
	})
	watching.Go(func() {
		for ctx.Err() == nil {
			for _, at := range stay {
				if has, err := s.has(ctx, at, "alice"); !has && ctx.Err() == nil {
					t.Errorf("%s is being revived: %s has alice: %v, %v, want her", region, at, has, err)
					return
				}
			}
		}
	})
	watching.Go(func() {
		defer cancel()
		if err := l.Do(context.WithoutCancel(ctx), life(region, true)); err != nil {
			t.Errorf("revive %s: %v", region, err)
		}
	})
	defer watching.Wait()
	for ctx.Err() == nil {
		if got := alice.look(t, region); got.User != "alice" {
			t.Fatalf("%s is being revived: %s shows %q, want alice", region, got.Region, got.who())
		}
	}
}

// wantFollow wants all servers to replicate that of one Region, of those that are alive.
func (s *servers) wantFollow(t *testing.T, head string) {
	t.Helper()
	for _, r := range s.deployment.regions {
		if !s.deployment.alive(r.name) {
			continue
		}
		eventually(t, "the server of "+r.name+" does not follow that of "+head, func() bool {
			info, _ := s.of(r.name).main.Do(t.Context(), "INFO", "replication")
			if r.name == head {
				return infoText(info, "role") == "master"
			}
			_, port, _ := strings.Cut(s.natively.at(r)[head], ":")
			return linked(info) && infoText(info, "master_port") == port
		})
	}
}

func life(region string, alive bool) console.Action {
	return console.Action{Kind: console.ActRegion, Region: region, Alive: &alive}
}

func cutting(from, to, plane string, on bool) console.Action {
	return console.Action{Kind: console.ActLink, From: from, To: to, Plane: plane, Cut: &on}
}

// In active-passive the servers of secondaries are replicas of the primary's: nothing is
// pushed, what is written there is read here, and nothing is written here.
func TestServersReplicate(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	v := newVisitor(l)
	v.login(t, west1, "alice")
	s.wantFollow(t, west1)
	s.wantHas(t, "alice", west1, west2, europe)
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{1}))
	op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
	for _, r := range s.deployment.regions {
		p := r.process()
		if p.replica != nil {
			t.Errorf("%s pushes, want that its server replicates by itself", r.name)
		}
		if r.name == west1 {
			continue
		}
		if _, err := p.engines.main.Apply(t.Context(), k, op); !errors.Is(err, engine.ErrNotPrimary) {
			t.Errorf("Apply in %s = %v, want ErrNotPrimary", r.name, err)
		}
	}
	eventually(t, "the console shows other than alice and her session in each Region, and streams", func() bool {
		state := l.State()
		for _, r := range state.Regions {
			if r.Records != 2 {
				return false
			}
		}
		for _, k := range state.Links {
			if !k.Connected || k.LagMs == nil || (k.HeardMs == nil) == (k.From == west1) {
				return false
			}
		}
		return len(state.Links) == 6
	})
}

// A cut of the primary's replication to a Region holds what is written, and that of the
// way back does not; neither does a cut of calls. How old what is there is shows it.
func TestServersReplicateOverLinks(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	writer := newVisitor(l)
	heard := func() time.Duration {
		age, _ := s.deployment.region(europe).process().heard(1)
		return age
	}
	const old = 1500 * time.Millisecond // two numbers at least
	for _, c := range []struct {
		user, from, to, plane string
		held, aged            bool
	}{
		{"ann", west1, europe, console.PlaneReplication, true, true},
		{"bob", europe, west1, console.PlaneReplication, false, true},
		{"cid", europe, west1, console.PlaneCalls, false, false},
	} {
		must(t, l, cutting(c.from, c.to, c.plane, true))
		begun := time.Now()
		writer.login(t, west1, c.user)
		s.wantHas(t, c.user, west1, west2)
		if !c.held {
			s.wantHas(t, c.user, europe)
		}
		time.Sleep(old - time.Since(begun)) // numbers are on their way
		if has, err := s.has(t.Context(), europe, c.user); err != nil || has == c.held {
			t.Errorf("%s cut from %s to %s: %s has %s: %v, %v, want %v", c.plane, c.from, c.to, europe, c.user, has, err, !c.held)
		}
		if age := heard(); (age >= old-300*time.Millisecond) != c.aged {
			t.Errorf("%s cut from %s to %s: %s heard the primary %v ago, want that it heard of it meanwhile: %v", c.plane, c.from, c.to, europe, age, !c.aged)
		}
		if c.held {
			eventually(t, "the console shows no stream that is held", func() bool {
				k := linkOf(t, l.State(), west1, europe)
				return !k.Connected && k.UnackedBytes > 1000 // heartbeats and she take as much
			})
		}
		must(t, l, cutting(c.from, c.to, c.plane, false))
		s.wantHas(t, c.user, europe)
		eventually(t, "healed, the console shows no stream that is up", func() bool {
			k := linkOf(t, l.State(), west1, europe)
			return k.Connected && k.UnackedBytes < 1000
		})
		eventually(t, "healed, the primary is not heard", func() bool { return heard() < time.Second })
	}
}

// wantAgreed waits until members have agreed on something.
func (s *servers) wantAgreed(t *testing.T, what string, is func(ledger.State) bool) (state ledger.State) {
	t.Helper()
	eventually(t, what, func() bool {
		var ok bool
		state, ok = s.deployment.agreed()
		return ok && is(state)
	})
	return state
}

// wantAway waits until another Region's member leads than that of the primary's, as it does
// some seconds after the start.
func (s *servers) wantAway(t *testing.T) {
	t.Helper()
	eventually(t, "the primary's member leads", func() bool {
		state, _ := s.deployment.agreed()
		m, err := s.deployment.leading()
		return err == nil && m.Leader() != state.Lease.Holder && m.Status().Leader == m.Status().Self
	})
}

// wantNamed waits until the name servers of Regions say where the writer is.
func wantNamed(t *testing.T, l *Lab, writer string, regions ...string) {
	t.Helper()
	eventually(t, "names lead elsewhere than to "+writer, func() bool {
		for _, n := range l.State().Control.Names {
			if slices.Contains(regions, n.Region) && (n.Writer != writer || n.TTLMs != 10_000) {
				return false
			}
		}
		return true
	})
}

// wantNormal waits until a new visitor's writes go where they belong.
func wantNormal(t *testing.T, l *Lab, region, user string) *visitor {
	t.Helper()
	v := newVisitor(l)
	eventually(t, "writes in "+region+" go nowhere else than there", func() bool {
		v.login(t, region, user)
		got := v.look(t, region)
		return got.User == user && got.Rung == "normal"
	})
	return v
}

// Of two Regions that one is promoted which has more of what the primary had, be it far.
func TestBestCopyIsPromoted(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	must(t, l, cutting(west1, west2, console.PlaneReplication, true))
	v := newVisitor(l)
	v.login(t, west1, "alice")
	s.wantHas(t, "alice", europe)
	time.Sleep(2 * time.Second) // by then one is seen to be behind
	must(t, l, life(west1, false))
	must(t, l, cutting(west1, west2, console.PlaneReplication, false))
	if has, err := s.has(t.Context(), west2, "alice"); has || err != nil {
		t.Fatalf("cut off before she came, %s has alice: %v, %v, want that it does not", west2, has, err)
	}
	s.wantAgreed(t, europe+" is not promoted", func(a ledger.State) bool { return a.Lease.Holder == europe })
	s.wantFollow(t, europe)
	s.wantHas(t, "alice", west2, europe)
}

// A switchover that somebody wants costs no session and no write; the names follow. It is
// refused where it makes no sense.
func TestSwitchover(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	v := newVisitor(l)
	v.login(t, west1, "alice")
	s.wantHas(t, "alice", west2, europe)
	asked := func(kind, region string) error { return l.Do(t.Context(), console.Action{Kind: kind, Region: region}) }
	var refusal *console.Refusal
	if err := asked(console.ActSwitchover, west1); !errors.As(err, &refusal) {
		t.Errorf("a switchover to the primary: %v, want a refusal", err)
	}
	if err := asked(console.ActSwitchover, europe); err != nil {
		t.Fatalf("a switchover to %s: %v", europe, err)
	}
	if err := asked(console.ActSwitchover, west2); !errors.As(err, &refusal) {
		t.Errorf("a switchover while another is under way: %v, want a refusal", err)
	}
	s.chooseThemes(t, v)
	a := s.wantAgreed(t, "it is not done", func(a ledger.State) bool { return a.Handover.Step == ledger.Done })
	if a.Lease.Holder != europe || a.Lease.Epoch != 2 || a.Lease.Unplanned || len(a.Receipts) > 0 {
		t.Errorf("the lease is %+v, with the receipts %+v, want epoch 2 of %s, planned, and no receipt", a.Lease, a.Receipts, europe)
	}
	s.wantFollow(t, europe)
	wantNamed(t, l, europe, west1, west2, europe)
	state := l.State()
	if h := state.Control.Handover; state.Primary != europe || h == nil || h.To != europe || h.Step != string(ledger.Done) {
		t.Errorf("the console shows the primary %s and the switchover %+v, want both of %s, done", state.Primary, h, europe)
	}
	if err := asked(console.ActReadmit, west1); err != nil {
		t.Errorf("readmit: %v", err)
	}
	eventually(t, "it is not told", func() bool { return wasTold(t, l, "it may be promoted again, by the console") })
	s.wantHeard(t, europe)
	events, err := l.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, e := range events {
		told[e.Text]++
	}
	const promoted = "promoted " + europe + ", epoch 2: it takes all writes: a planned switchover"
	if told[promoted] != 1 {
		t.Errorf("%q was told %d times, want once: %v", promoted, told[promoted], told)
	}
}

// wantHeard wants each Region to hear of the primary, and to go on hearing of it.
func (s *servers) wantHeard(t *testing.T, primary string) {
	t.Helper()
	const bound = time.Second
	time.Sleep(2 * bound) // what was heard of the one before is old by then
	for _, r := range s.deployment.regions {
		eventually(t, r.name+" does not hear of "+primary, func() bool {
			age, ok := r.process().heard(s.deployment.region(primary).id)
			return ok && age < bound && (r.name != primary || age == 0)
		})
	}
}

// chooseThemes has alice choose one theme after the other until a switchover is over, and count
// them: an addition is made once and is not tried elsewhere. Another Region is to show both.
func (s *servers) chooseThemes(t *testing.T, v *visitor) {
	t.Helper()
	for n, done := 0, false; !done; n++ {
		a, _ := s.deployment.agreed()
		done = a.Handover.Step == ledger.Done || a.Handover.Step == ledger.Failed
		theme := []string{"dark", "light"}[n%2]
		v.ask(t, http.MethodPost, west2, "/theme", url.Values{"theme": {theme}})
		v.ask(t, http.MethodPost, west2, "/visits", nil)
		if got := v.look(t, europe); got.User != "alice" || got.Theme != theme || got.Visits != int64(n+1) {
			t.Fatalf("during a switchover %s shows %q, %q and %d visits, want alice, %s and %d", europe, got.who(), got.Theme, got.Visits, theme, n+1)
		}
	}
}

// Any Region may die and come back with what it had, also all of them. While most are dead
// nobody takes writes but side stores.
func TestServersRejoin(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	v := newVisitor(l)
	v.login(t, west1, "alice")
	s.wantHas(t, "alice", west2, europe)

	for _, k := range must(t, l, life(europe, false)).Links {
		if up := k.From != europe && k.To != europe; k.Connected != up {
			t.Errorf("%s killed: from %s to %s: connected = %v, want %v", europe, k.From, k.To, k.Connected, up)
		}
	}
	s.reviveWatched(t, l, europe, v, west1, west2)
	if has, err := s.has(t.Context(), europe, "alice"); !has {
		t.Errorf("revived, %s has alice: %v, %v, want her", europe, has, err)
	}
	s.wantFollow(t, west1)

	must(t, l, life(europe, false))
	must(t, l, life(west2, false))
	eventually(t, "a primary goes on that can't know of another", func() bool {
		late := newVisitor(l)
		late.login(t, west1, "bob")
		return late.look(t, west1).Rung == "local-only"
	})
	var refusal *console.Refusal
	eventually(t, "somebody can decide something alone", func() bool {
		err := l.Do(t.Context(), console.Action{Kind: console.ActSwitchover, Region: west2})
		return errors.As(err, &refusal) && strings.Contains(refusal.Problem, "no majority")
	})
	must(t, l, life(west1, false))
	if c := l.State().Control; c.Leader != "" {
		t.Errorf("all are dead, and the console shows %s lead", c.Leader)
	}
	must(t, l, life(west2, true)) // not the primary
	must(t, l, console.Action{Kind: console.ActHeal})
	s.wantFollow(t, west1)
	s.wantHas(t, "alice", west1, west2, europe)
	s.wantHas(t, "bob", west1, west2, europe)
	wantNormal(t, l, west2, "cid")
}
