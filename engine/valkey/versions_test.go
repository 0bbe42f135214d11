//go:build integration

package valkey

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// During an upgrade processes of two versions write to one server, each by a library of
// its own. They are one actor, whose log is dense, and each session has one chain.
func TestVersionsShareAServer(t *testing.T) {
	s := valkeytest.Start(t)
	e, err := Open(t.Context(), 1, Config{Addrs: []string{s.Addr}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() { _ = e.Close() }() // never fails
	client := e.client()
	before := strings.ReplaceAll(library(), "roam_v1", "roam_v0")
	if err := client.Do(t.Context(), client.B().FunctionLoad().FunctionCode(before).Build()).Error(); err != nil {
		t.Fatalf("FUNCTION LOAD: %v", err)
	}
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7}))
	apply := func(version string, op crdt.Op) error {
		p := k.Partition()
		return client.Do(t.Context(), client.B().Fcall().Function(version+"_apply").Numkeys(3).
			Key(recordKey(k), partitionKey(metaKeys, p), partitionKey(logKeys, p)).
			Arg(e.caller(), valkey.BinaryString(crdt.AppendOp(nil, op))).Build()).Error()
	}
	birth := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	if err := apply("roam_v0", birth); err != nil {
		t.Fatalf("apply: %v", err)
	}
	const writes = 200
	var wg sync.WaitGroup
	for _, version := range []string{"roam_v0", "roam_v1"} {
		wg.Go(func() {
			for i := range writes {
				op := crdt.Op{ID: uint64(i + 1), Stamp: now.Stamp() + crdt.Stamp(i+1), Changes: []crdt.Change{crdt.Add(version, 1), crdt.Put("last", []byte(version))}} //nolint:gosec // small
				if i%2 == 0 {
					op.Changes = op.Changes[1:] // the way of most writes
				}
				if err := apply(version, op); err != nil {
					t.Errorf("%s: %v", version, err)
					return
				}
			}
		})
	}
	wg.Wait()
	r := crdt.Record{Key: k}
	n := uint64(0)
	enough := crdt.ErrAbsent // any error
	_ = e.Follow(t.Context(), engine.Positions{}, func(b engine.Batch) error {
		for _, f := range b.Frags {
			var got crdt.Outcome
			if r, got = crdt.Merge(r, f); got != crdt.Applied {
				t.Errorf("entry %d is %v, want it to be what comes next", b.First, got)
			}
		}
		if b.First != n+1 || b.Fork != 0 {
			t.Errorf("entries from %d of fork %d, want %d of 0", b.First, b.Fork, n+1)
		}
		if n = b.Last().N; n == 2*writes+1 {
			return enough
		}
		return nil
	})
	got, err := e.Read(t.Context(), k, crdt.Token{})
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, r)) {
		t.Errorf("record = %+v, %v, want what the log comes to: %+v", got, err, r)
	}
	if got.Count("roam_v0") != writes/2 || got.Count("roam_v1") != writes/2 || len(got.VV) != 1 {
		t.Errorf("record = %+v, want all additions of both, by one actor", got)
	}
}
