//go:build integration

package lab

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/console"
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
			_, port := s.natively.at(r, s.deployment.region(head))
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
				return !k.Connected && k.UnackedBytes > 500 // she and her session take as much
			})
		}
		must(t, l, cutting(c.from, c.to, c.plane, false))
		s.wantHas(t, c.user, europe)
		eventually(t, "healed, the console shows no stream that is up", func() bool {
			k := linkOf(t, l.State(), west1, europe)
			return k.Connected && k.UnackedBytes < 500
		})
		eventually(t, "healed, the primary is not heard", func() bool { return heard() < time.Second })
	}
}

// A primary that comes back has lost everything. Its replicas keep what they have, give
// it that, and follow it again; nobody is logged out at any moment, and what side stores
// took comes back. Twice, since who gave the lead back once may have to do so again.
func TestRevivedPrimaryWipesNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	alice := newVisitor(l)
	alice.login(t, west1, "alice")
	s.wantHas(t, "alice", west2, europe)
	for _, late := range []string{"bob", "cid"} {
		must(t, l, life(west1, false))
		other := newVisitor(l)
		other.login(t, west2, late)
		if got := other.look(t, west2); got.User != late || got.Rung != "local-only" {
			t.Errorf("%s dead: %s shows %q, %s, want %s, local-only", west1, west2, got.who(), got.Rung, late)
		}
		s.reviveWatched(t, l, west1, alice, west2, europe)
		s.wantFollow(t, west1)
		if has, err := s.has(t.Context(), west1, "alice"); !has {
			t.Errorf("revived, %s has alice: %v, %v, want her", west1, has, err)
		}
		s.wantHas(t, late, west1, west2, europe)
		eventually(t, late+"'s session has not come back", func() bool { return other.look(t, europe).Rung == "normal" })
		alice.ask(t, http.MethodPost, europe, "/cart/add", url.Values{"item": {"lamp"}})
		if got := alice.look(t, west2); got.User != "alice" || got.Rung != "normal" {
			t.Errorf("revived, after a write %s shows %q, %s, want alice, normal", west2, got.who(), got.Rung)
		}
	}
	if !wasTold(t, l, "with what the server of "+west2+" had") {
		t.Errorf("the console does not tell that %s gave %s what it had", west2, west1)
	}
}

// The one that has most of what a dead primary had gives it back, be it far: what that
// one has more than others is nowhere else.
func TestMostAdvancedGivesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	must(t, l, cutting(west1, west2, console.PlaneReplication, true))
	v := newVisitor(l)
	v.login(t, west1, "alice")
	s.wantHas(t, "alice", europe)
	must(t, l, life(west1, false))
	must(t, l, cutting(west1, west2, console.PlaneReplication, false))
	if has, err := s.has(t.Context(), west2, "alice"); has || err != nil {
		t.Fatalf("cut off before she came, %s has alice: %v, %v, want that it does not", west2, has, err)
	}
	must(t, l, life(west1, true))
	s.wantFollow(t, west1)
	s.wantHas(t, "alice", west1, west2, europe)
}

// Any Region may die and come back, also while the primary is dead; one that can't be
// given what it had stays dead until it can, and costs nobody anything.
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

	must(t, l, life(west1, false))
	must(t, l, life(europe, false))
	must(t, l, life(europe, true))
	s.wantFollow(t, west2)
	s.wantHas(t, "alice", europe)

	s.natively.patience = 500 * time.Millisecond
	for _, to := range []string{west2, europe} {
		must(t, l, cutting(to, west1, console.PlaneReplication, true))
	}
	var refusal *console.Refusal
	if err := l.Do(t.Context(), life(west1, true)); !errors.As(err, &refusal) || !strings.Contains(refusal.Next, "heal") {
		t.Errorf("revived with nobody in reach: %v, want a refusal that says what to heal", err)
	}
	if s.deployment.alive(west1) || there(s.of(west1).main.Pid()) {
		t.Errorf("%s is alive, with nothing of what it had", west1)
	}
	s.natively.patience = syncTimeout
	must(t, l, console.Action{Kind: console.ActHeal}) // revives it
	s.wantFollow(t, west1)
	s.wantHas(t, "alice", west1, west2, europe)

	for _, r := range places() {
		must(t, l, life(r.name, false))
	}
	must(t, l, life(west2, true)) // not the primary
	must(t, l, console.Action{Kind: console.ActHeal})
	s.wantFollow(t, west1)
	if !wasTold(t, l, "nobody is left") {
		t.Error("the console does not tell that all is lost")
	}
	newVisitor(l).login(t, west2, "bob")
	s.wantHas(t, "bob", west1, west2, europe)
	must(t, l, life(west1, false))
	for _, at := range []string{west2, europe} {
		_, err := s.of(at).main.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1") // nobody is there
		if has, readErr := s.has(t.Context(), at, "bob"); err != nil || !has {
			t.Errorf("the primary is gone: %s has bob: %v, %v, %v, want that it goes on with what it has", at, has, readErr, err)
		}
	}
}
