//go:build integration

package replica

import (
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// valkeyLand is three Regions, each with a real Valkey server.
type valkeyLand struct {
	t       *testing.T
	net     *lan
	servers []*valkeytest.Server
	engines []*valkey.Engine
	keys    []crdt.Key
}

func newValkeyLand(t *testing.T) *valkeyLand {
	t.Helper()
	l := &valkeyLand{t: t, net: newLAN()}
	for range 3 {
		s := valkeytest.Start(t)
		here := crdt.Region(len(l.engines) + 1) //nolint:gosec // at most 3
		e, err := valkey.Open(t.Context(), here, valkey.Config{Addrs: []string{s.Addr}, Replicated: true})
		if err != nil {
			t.Fatalf("Open(%d) = %v, want an engine", here, err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		l.servers, l.engines = append(l.servers, s), append(l.engines, e)
	}
	for i, e := range l.engines {
		l.net.start(t, crdt.Region(i+1), e, 3, Config{}) //nolint:gosec // at most 3
	}
	return l
}

// apply applies what must be taken.
func (l *valkeyLand) apply(at int, k crdt.Key, op crdt.Op) {
	l.t.Helper()
	op.Stamp = wall().Stamp() + 1
	if _, err := l.engines[at].Apply(l.t.Context(), k, op); err != nil {
		l.t.Fatalf("Apply in Region %d: %v", at+1, err)
	}
}

// births makes n sessions of a user in each Region.
func (l *valkeyLand) births(n int) {
	l.t.Helper()
	for range n {
		for at := range l.engines {
			var e crdt.IDEntropy
			_, _ = rand.Read(e[:])                                                               // never fails
			k := crdt.SessionKey(crdt.NewSessionID(wall().Add(time.Hour), crdt.Region(at+1), e)) //nolint:gosec // at most 3
			l.apply(at, k, crdt.Op{Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"})
			l.keys = append(l.keys, k)
		}
	}
}

// agree waits until all Regions have the same of every session, and something.
func (l *valkeyLand) agree(when string) {
	l.t.Helper()
	begun := time.Now()
	for _, k := range l.keys {
		for {
			var digests []uint64
			for _, e := range l.engines {
				r, err := e.Read(l.t.Context(), k, crdt.Token{})
				if err == nil && !r.IsBottom() {
					digests = append(digests, r.Digest())
				}
			}
			if slices.Sort(digests); len(digests) == len(l.engines) && digests[0] == digests[len(digests)-1] {
				break
			}
			if time.Since(begun) > time.Minute {
				l.t.Fatalf("%s: session %v is not the same everywhere after a minute", when, k)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for at, e := range l.engines {
		for lost, err := e.Lost(l.t.Context()); lost || err != nil; lost, err = e.Lost(l.t.Context()) {
			if time.Since(begun) > time.Minute {
				l.t.Fatalf("%s: Region %d is still refilling after a minute: %v", when, at+1, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		k := crdt.UserKey("nobody")
		if r, err := e.Read(l.t.Context(), k, crdt.Token{}); err != nil || !r.IsBottom() {
			l.t.Errorf("%s: Region %d has %+v, %v of nobody, want nothing for sure", when, at+1, r, err)
		}
	}
	l.t.Logf("%s: agreed after %v", when, time.Since(begun).Round(time.Millisecond))
}

// Three Regions on real servers come to agree, after a cut of all links, after a
// server lost all, and after another one was killed and came back empty. A logout
// stays one.
func TestThreeRegionsOnValkey(t *testing.T) {
	l := newValkeyLand(t)
	l.births(30)
	l.agree("writes in three Regions")

	l.net.setCut(true)
	for i, k := range l.keys {
		l.apply(i%3, k, crdt.Op{ID: uint64(i + 1), Changes: []crdt.Change{crdt.Add("n", 1), crdt.Put("a", []byte{byte(i)})}}) //nolint:gosec // small
		l.apply((i+1)%3, k, crdt.Op{ID: uint64(i + 1000), Changes: []crdt.Change{crdt.Add("n", 1), crdt.Mark("s", "x")}})     //nolint:gosec // small
	}
	l.apply(0, l.keys[0], crdt.Op{Destroy: true})
	l.net.setCut(false)
	l.agree("after a cut")
	for _, k := range l.keys[1:] {
		if r, err := l.engines[2].Read(t.Context(), k, crdt.Token{}); r.Count("n") != 2 || !r.Contains("s", "x") {
			t.Errorf("session %v = %+v, %v; want both additions and the element", k, r, err)
		}
	}

	l.servers[1].Do("FLUSHALL", "SYNC")
	if r, err := l.engines[1].Read(t.Context(), l.keys[1], crdt.Token{}); !errors.Is(err, engine.ErrRefilling) {
		t.Errorf("read at a server that lost all = %+v, %v; want ErrRefilling", r, err)
	}
	l.births(3)
	l.agree("after a server lost all")

	l.servers[2].Kill()
	l.servers[2].Restart()
	time.Sleep(time.Second) // its engine connects again
	l.births(3)
	l.agree("after a server came back empty")
	for i, e := range l.engines {
		if r, err := e.Read(t.Context(), l.keys[0], crdt.Token{}); !r.Dead {
			t.Errorf("Region %d: the session that was logged out is %+v, %v", i+1, r, err)
		}
	}
}

// A server that lost all is given it back by a few walks through the keys of each of
// the others, and not by some for each partition (DESIGN R19).
func TestRefillTakesFewWalks(t *testing.T) {
	l := newValkeyLand(t)
	l.births(200)
	l.agree("writes in three Regions")
	asked := func() int {
		_, rest, _ := strings.Cut(l.servers[0].Do("INFO", "commandstats"), "cmdstat_scan:calls=")
		text, _, _ := strings.Cut(rest, ",")
		n, _ := strconv.Atoi(text) // 0 where there was none
		return n
	}
	before := asked()
	l.servers[1].Do("FLUSHALL", "SYNC")
	l.agree("after a server lost all")
	// A walk through its keys, some 800, takes two questions. One walk finds what
	// differs and two more send it; what comes after a refill is compared too.
	n := asked() - before
	if t.Logf("another server was asked %d times for its keys", n); n == 0 || n > 30 {
		t.Errorf("another server was asked %d times for its keys, want 30 at most", n)
	}
}
