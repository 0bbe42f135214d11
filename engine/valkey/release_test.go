//go:build integration

package valkey

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// The log keeps within its bound whether or not peers acknowledge it, and what they
// have acknowledged is let go of after a while; the numbers go on.
func TestLogIsTrimmed(t *testing.T) {
	s := valkeytest.Start(t)
	e, err := Open(t.Context(), 1, Config{
		Addrs: []string{s.Addr}, LogBytes: 1 << 20, KeepReleased: time.Millisecond, SweepInterval: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() { _ = e.Close() }() // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7}))
	op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	const writes = 100
	for i := range writes {
		if _, err := e.Apply(t.Context(), k, op); err != nil {
			t.Fatalf("Apply: %v", err)
		}
		op = crdt.Op{Stamp: now.Stamp() + crdt.Stamp(i+1), Changes: []crdt.Change{crdt.Put("a", make([]byte, 1024))}} //nolint:gosec // small
	}
	log := partitionKey(logKeys, k.Partition())
	entries := func() int {
		n, err := strconv.Atoi(s.Do("XLEN", log))
		if err != nil {
			t.Fatalf("XLEN: %v", err)
		}
		return n
	}
	if n := entries(); n == 0 || n > (1<<20)/crdt.Partitions/1024 {
		t.Errorf("the log has %d entries of 1 KiB, want some, within %d bytes", n, (1<<20)/crdt.Partitions)
	}
	head, err := e.Head(t.Context())
	if err != nil || head[k.Partition()].N != writes {
		t.Fatalf("Head = %v, %v, want %d entries", head[k.Partition()], err, writes)
	}
	if err := e.Release(t.Context(), head); err != nil {
		t.Fatalf("Release: %v", err)
	}
	for begun := time.Now(); entries() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d entries are there 10 s after their release", entries())
		}
	}
	if after, err := e.Head(t.Context()); err != nil || after != head {
		t.Errorf("Head of a log that was trimmed = %v, %v, want it where it was", after[k.Partition()], err)
	}
}

// A log that somebody has deleted goes on beyond all numbers that it had: who follows
// it sees a hole, and does not take new entries for ones that it knows.
func TestDeletedLogGoesOnBeyond(t *testing.T) {
	s := valkeytest.Start(t)
	e, err := Open(t.Context(), 1, Config{Addrs: []string{s.Addr}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() { _ = e.Close() }() // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7}))
	op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	apply := func() crdt.Dot {
		t.Helper()
		dot, err := e.Apply(t.Context(), k, op)
		if err != nil {
			t.Fatalf("Apply: %v", err)
		}
		op = crdt.Op{Stamp: dot.Stamp + 1, Changes: []crdt.Change{crdt.Put("a", nil)}}
		return dot
	}
	for range 3 {
		apply()
	}
	before, err := e.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	s.Do("DEL", partitionKey(logKeys, k.Partition()))
	want := []crdt.Dot{apply(), apply()}
	enough := errors.New("enough")
	var got engine.Batch
	err = e.Follow(t.Context(), before, func(b engine.Batch) error { got = b; return enough })
	if n := before[k.Partition()].N; !errors.Is(err, enough) || got.First <= n+1 || len(got.Frags) != 2 {
		t.Fatalf("log from %d on = %+v, %v, want two entries far beyond", n, got, err)
	}
	for i, f := range got.Frags {
		if f.Dot != want[i] {
			t.Errorf("entry %d = %v, want %v", i, f.Dot, want[i])
		}
	}
	if head, err := e.Head(t.Context()); err != nil || head[k.Partition()] != got.Last() {
		t.Errorf("Head = %v, %v, want %v", head[k.Partition()], err, got.Last())
	}
}

// What a peer that is away has not acknowledged is let go of as well, a while later.
func TestLogIsKeptForAWhile(t *testing.T) {
	s := valkeytest.Start(t)
	e, err := Open(t.Context(), 1, Config{
		Addrs: []string{s.Addr}, KeepReleased: time.Millisecond, KeepLog: 100 * time.Millisecond, SweepInterval: time.Millisecond,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() { _ = e.Close() }() // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7}))
	op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	begun := time.Now()
	if _, err := e.Apply(t.Context(), k, op); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	log := partitionKey(logKeys, k.Partition())
	for s.Do("XLEN", log) != "0" {
		if time.Sleep(10 * time.Millisecond); time.Since(begun) > 10*time.Second {
			t.Fatal("the log is there 10 s after it was written")
		}
	}
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("the log was trimmed %v after it was written, want 100ms or more", took)
	}
}
