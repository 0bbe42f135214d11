package replica

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/fault"
)

const oneWay = 40 * time.Millisecond // us-east-1 to us-west-2

// earth is three Regions with memory engines, 40 ms apart.
type earth struct {
	net  *fault.Net
	engs map[crdt.Region]*memory.Engine
	reps map[crdt.Region]*Replica
}

func newEarth(t *testing.T) *earth {
	t.Helper()
	e := &earth{fault.NewNet(1), map[crdt.Region]*memory.Engine{}, map[crdt.Region]*Replica{}}
	for r := crdt.Region(1); r <= 3; r++ {
		var peers []crdt.Region
		for p := crdt.Region(1); p <= 3; p++ {
			if p != r {
				peers = append(peers, p)
				e.net.SetLink(host(r), host(p), fault.Replication, fault.Link{Delay: oneWay})
			}
		}
		eng, err := memory.New(r, memory.Config{})
		if err != nil {
			t.Fatalf("memory.New(%d) = %v, want nil", r, err)
		}
		l, err := e.net.Listen(host(r), "7000")
		if err != nil {
			t.Fatalf("Listen(%d) = %v, want nil", r, err)
		}
		rep, err := New(t.Context(), r, eng, peers, func(ctx context.Context, p crdt.Region) (net.Conn, error) {
			return e.net.Dial(ctx, host(r), host(p), "7000")
		}, Config{})
		if err != nil {
			t.Fatalf("New(%d) = %v, want nil", r, err)
		}
		served := make(chan error, 1)
		go func() { served <- rep.Serve(t.Context(), l) }()
		t.Cleanup(func() {
			if err := rep.Close(); err != nil {
				t.Errorf("Close() = %v, want nil", err)
			}
			if err := <-served; err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
			if err := eng.Close(); err != nil {
				t.Errorf("Close() of the engine = %v, want nil", err)
			}
		})
		e.engs[r], e.reps[r] = eng, rep
	}
	return e
}

func host(r crdt.Region) string { return fmt.Sprint("region-", r) }

// cut cuts both directions of a link, or mends them.
func (e *earth) cut(a, b crdt.Region, cut bool) {
	e.net.SetLink(host(a), host(b), fault.Replication, fault.Link{Delay: oneWay, Cut: cut})
	e.net.SetLink(host(b), host(a), fault.Replication, fault.Link{Delay: oneWay, Cut: cut})
}

func (e *earth) write(t *testing.T, r crdt.Region, k crdt.Key, op crdt.Op) crdt.Dot {
	t.Helper()
	dot, err := e.engs[r].Apply(t.Context(), k, op)
	if err != nil {
		t.Fatalf("Apply in Region %d = %v, want nil", r, err)
	}
	return dot
}

func (e *earth) read(t *testing.T, r crdt.Region, k crdt.Key) crdt.Record {
	t.Helper()
	rec, err := e.engs[r].Read(t.Context(), k, crdt.Token{})
	if err != nil {
		t.Fatalf("Read in Region %d = %v, want nil", r, err)
	}
	return rec
}

// TestEarth: writes are everywhere one one-way delay later; a Region that was
// cut off, without a word, has all of them soon after the heal; a logout made
// meanwhile wins.
func TestEarth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * 365 * 24 * time.Hour) // stamps count from 2024
		e := newEarth(t)
		time.Sleep(5 * time.Second)
		now := crdt.TimeOf(time.Now())
		alice := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 1, 1}))
		bob := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 2, 2}))
		birth := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Cur: crdt.Hash{1}}}
		e.write(t, 1, alice, birth)
		dot := e.write(t, 1, bob, birth)
		time.Sleep(oneWay + time.Millisecond)
		for r := crdt.Region(2); r <= 3; r++ {
			if got := e.read(t, r, bob); !got.VV.Has(dot) {
				t.Errorf("Region %d after %v has %v, want %v", r, oneWay+time.Millisecond, got.VV, dot)
			}
		}
		e.cut(1, 3, true)
		e.cut(2, 3, true)
		time.Sleep(time.Second)
		e.write(t, 1, alice, crdt.Op{Destroy: true})
		e.write(t, 3, alice, crdt.Op{Stamp: now.Add(2 * time.Second).Stamp(), Changes: []crdt.Change{crdt.Put("cart", []byte("book"))}})
		last := e.write(t, 3, bob, crdt.Op{Stamp: now.Add(2 * time.Second).Stamp(), Changes: []crdt.Change{crdt.Put("cart", []byte("pen"))}})
		time.Sleep(20 * time.Second)
		if age, ok := e.reps[3].Heard(1); !ok || age < 20*time.Second {
			t.Errorf("Heard(1) in Region 3 = %v, %t, want at least the 20s of the cut", age, ok)
		}
		if age, ok := e.reps[2].Heard(1); !ok || age > 2*DefaultHeartbeat {
			t.Errorf("Heard(1) in Region 2 = %v, %t, want no more than %v", age, ok, 2*DefaultHeartbeat)
		}
		e.cut(1, 3, false)
		e.cut(2, 3, false)
		healed := time.Now()
		for !e.read(t, 1, bob).VV.Has(last) || !e.read(t, 3, alice).Dead {
			if time.Sleep(10 * time.Millisecond); time.Since(healed) > time.Minute {
				t.Fatalf("a minute after the heal, Region 1 has %v of bob, want %v", e.read(t, 1, bob).VV, last)
			}
		}
		t.Logf("fresh %v after the heal", time.Since(healed))
		time.Sleep(5 * time.Second)
		for r := crdt.Region(1); r <= 3; r++ {
			for _, k := range []crdt.Key{alice, bob} {
				if got, want := e.read(t, r, k).Digest(), e.read(t, 1, k).Digest(); got != want {
					t.Errorf("Region %d: Digest(%v) = %x, want %x as in Region 1", r, k, got, want)
				}
			}
			if got := e.read(t, r, alice); !got.Dead {
				t.Errorf("Region %d: alice = %+v, want logged out", r, got)
			}
		}
		synctest.Wait()
	})
}
