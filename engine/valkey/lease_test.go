//go:build integration

package valkey

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// leased is an engine, and a session that it writes to.
type leased struct {
	*Engine
	t   *testing.T
	key crdt.Key
	op  crdt.Op
}

func openLeased(t *testing.T, addr string) *leased {
	t.Helper()
	e, err := Open(t.Context(), 1, Config{Addrs: []string{addr}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	now := crdt.TimeOf(time.Now())
	return &leased{
		Engine: e, t: t, key: crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7})),
		op: crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}},
	}
}

// write writes to the session, first all of it and then a field, by each way that the
// script has.
func (l *leased) write() error {
	dot, err := l.Apply(l.t.Context(), l.key, l.op)
	if err == nil {
		l.op = crdt.Op{Stamp: dot.Stamp + 1, Changes: []crdt.Change{crdt.Put("a", nil)}}
	}
	return err
}

func (l *leased) clocks() Clocks {
	l.t.Helper()
	clocks, err := l.Clocks(l.t.Context())
	if err != nil {
		l.t.Fatalf("Clocks: %v", err)
	}
	return clocks
}

func (l *leased) grant(epoch uint64, lasts time.Duration) {
	l.t.Helper()
	if err := l.Grant(l.t.Context(), epoch, l.clocks(), lasts); err != nil {
		l.t.Fatalf("Grant(%d): %v", epoch, err)
	}
}

func (l *leased) wantWritten(when string) {
	l.t.Helper()
	if err := l.write(); err != nil {
		l.t.Errorf("write %s = %v, want it taken", when, err)
	}
}

func (l *leased) wantFenced(when string) {
	l.t.Helper()
	if err := l.write(); !errors.Is(err, engine.ErrNotPrimary) || !strings.Contains(err.Error(), "lease") {
		l.t.Errorf("write %s = %v, want ErrNotPrimary for want of a lease", when, err)
	}
}

func TestWritesWantTheLeaseOfTheirEpoch(t *testing.T) {
	s := valkeytest.Start(t)
	l := openLeased(t, s.Addr)
	l.wantWritten("where leases are not known")
	l.Under(2)
	l.wantFenced("before any was granted")
	l.grant(2, maxLease)
	l.wantWritten("under the lease")
	l.Under(1)
	l.wantFenced("of an epoch that is over")
	l.Under(0)
	l.wantFenced("by who knows of no leases")
	if err := l.Grant(t.Context(), 1, l.clocks(), maxLease); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Grant of an epoch that is over = %v, want ErrNotPrimary", err)
	}
	l.Under(3)
	l.wantFenced("of an epoch to come")
	l.grant(3, maxLease)
	l.wantWritten("under the next lease")
	if err := l.Grant(t.Context(), 3, l.clocks(), 2*maxLease); !errors.Is(err, crdt.ErrMalformed) {
		t.Errorf("Grant for %v = %v, want it refused", 2*maxLease, err)
	}
}

func TestLeaseEnds(t *testing.T) {
	s := valkeytest.Start(t)
	l := openLeased(t, s.Addr)
	l.Under(2)
	l.grant(2, 50*time.Millisecond)
	time.Sleep(60 * time.Millisecond) // the server's clock is what ends it
	l.wantFenced("after it ended")
	l.grant(2, maxLease)
	l.wantWritten("after it was granted again")
	s.Do("FUNCTION", "FLUSH")
	l.wantFenced("after the functions went")
	l.grant(2, maxLease)
	l.wantWritten("after that")
}

// An epoch that was ended is over, whatever was on its way to the server; one of a server
// that has started anew meanwhile does not begin.
func TestLeaseThatWasOnItsWay(t *testing.T) {
	s := valkeytest.Start(t)
	l := openLeased(t, s.Addr)
	l.Under(2)
	clocks := l.clocks()
	l.grant(2, maxLease)
	if err := l.EndLease(t.Context(), 2); err != nil {
		t.Fatalf("EndLease: %v", err)
	}
	l.wantFenced("after the end")
	if err := l.Grant(t.Context(), 2, clocks, maxLease); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Grant after the end = %v, want ErrNotPrimary", err)
	}
	l.wantFenced("after a grant that came late")
	l.Under(3)
	clocks = l.clocks()
	s.Restart()
	if err := l.Grant(t.Context(), 3, clocks, maxLease); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Grant to a server that has started anew = %v, want ErrUnreachable", err)
	}
	if err := l.Reconnect(t.Context()); err != nil { // each connection of before fails once
		t.Fatalf("Reconnect = %v", err)
	}
	l.wantFenced("at a server that has started anew")
	l.grant(3, maxLease)
	l.wantWritten("under the lease after that")
}

// A replica that is promoted does not have its primary's lease, and who was a primary
// before and is one again has not got its own.
func TestLeaseIsNotInherited(t *testing.T) {
	a, b := valkeytest.Start(t), valkeytest.Start(t)
	one := openLeased(t, a.Addr)
	one.Under(2)
	one.grant(2, maxLease)
	one.wantWritten("at the primary")
	b.Do("REPLICAOF", "127.0.0.1", a.Port())
	valkeytest.InStep(t, a, b)
	b.Do("REPLICAOF", "NO", "ONE")
	two := openLeased(t, b.Addr)
	two.Under(2)
	two.wantFenced("at a replica that was promoted")

	two.Under(3)
	two.grant(3, maxLease)
	two.wantWritten("at the new primary")
	a.Do("REPLICAOF", "127.0.0.1", b.Port())
	valkeytest.InStep(t, b, a)
	a.Do("REPLICAOF", "NO", "ONE")
	one.wantFenced("at the old primary, which is one again")
}

// A clock that steps back ends a lease.
func TestLeaseEndsWhenTheClockStepsBack(t *testing.T) {
	d := newDiffer(t, 1)
	k := d.Keys[2]
	p := k.Partition()
	at := func(now crdt.Time) error {
		d.client.Do(t.Context(), d.client.B().Set().Key(clockKey).Value(strconv.FormatInt(int64(now), 10)).Build())
		op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
		return classify(t.Context(), d.client.Do(t.Context(), d.client.B().Fcall().Function("roam_v1_apply").Numkeys(3).
			Key(recordKey(k), partitionKey(metaKeys, p), partitionKey(logKeys, p)).
			Arg(callerOf(d.Actor, 0, 1<<40, 7), string(crdt.AppendOp(nil, op))).Build()).Error())
	}
	d.client.Do(t.Context(), d.client.B().Set().Key(clockKey).Value(strconv.FormatInt(int64(d.Now), 10)).Build())
	clock, err := d.client.Do(t.Context(), d.client.B().Fcall().Function("roam_v1_clock").Numkeys(0).Build()).ToString()
	if err != nil {
		t.Fatalf("clock: %v", err)
	}
	grant := string(appendNumber(appendNumber(nil, 7, 6), uint64(d.Now+1000), 6)) + clock[6:] //nolint:gosec // positive
	if err := d.client.Do(t.Context(), d.client.B().Fcall().Function("roam_v1_grant").Numkeys(0).Arg(grant).Build()).Error(); err != nil {
		t.Fatalf("grant: %v", err)
	}
	if err := at(d.Now + 500); err != nil {
		t.Errorf("write within the lease = %v, want it taken", err)
	}
	for _, now := range []crdt.Time{d.Now + 499, d.Now + 501} {
		if err := at(now); !errors.Is(err, engine.ErrNotPrimary) {
			t.Errorf("write %d ms into a lease whose clock has stepped back = %v, want ErrNotPrimary", now-d.Now, err)
		}
	}
}
