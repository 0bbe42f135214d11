//go:build integration

package valkey

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A versions is a server that has the functions of two versions.
type versions struct {
	*testing.T
	e   *Engine
	key crdt.Key
	now crdt.Time
}

func openVersions(t *testing.T) *versions {
	t.Helper()
	e, err := Open(t.Context(), 1, Config{Addrs: []string{valkeytest.Start(t).Addr}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	before := strings.ReplaceAll(library(), "roam_v1", "roam_v0")
	if err := e.client().Do(t.Context(), e.client().B().FunctionLoad().FunctionCode(before).Build()).Error(); err != nil {
		t.Fatalf("FUNCTION LOAD: %v", err)
	}
	now := crdt.TimeOf(time.Now())
	return &versions{t, e, crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{0, 7})), now}
}

func (v *versions) apply(version string, op crdt.Op) {
	p := v.key.Partition()
	err := v.e.client().Do(v.Context(), v.e.client().B().Fcall().Function(version+"_apply").Numkeys(3).
		Key(recordKey(v.key), partitionKey(metaKeys, p), partitionKey(logKeys, p)).
		Arg(v.e.caller(), valkey.BinaryString(crdt.AppendOp(nil, op))).Build()).Error()
	if err != nil {
		v.Errorf("%s: %v", version, err)
	}
}

// log returns the record that a log of so many entries comes to.
func (v *versions) log(entries uint64) crdt.Record {
	v.Helper()
	r, n, enough := crdt.Record{Key: v.key}, uint64(0), errors.New("enough")
	err := v.e.Follow(v.Context(), engine.Positions{}, func(b engine.Batch) error {
		if b.First != n+1 || b.Fork != 0 {
			v.Errorf("entries from %d of fork %d, want %d of 0", b.First, b.Fork, n+1)
		}
		for _, f := range b.Frags {
			var got crdt.Outcome
			if r, got = crdt.Merge(r, f); got != crdt.Applied {
				v.Errorf("an entry from %d on is %v, want it to be what comes next", b.First, got)
			}
		}
		if n = b.Last().N; n == entries {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		v.Errorf("Follow = %v", err)
	}
	return r
}

// During an upgrade processes of two versions write to one server, each by a library of
// its own. They are one actor, whose log is dense, and each session has one chain.
func TestVersionsShareAServer(t *testing.T) {
	v := openVersions(t)
	v.apply("roam_v0", crdt.Op{Stamp: v.now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}})
	const writes = 200
	var wg sync.WaitGroup
	for _, version := range []string{"roam_v0", "roam_v1"} {
		wg.Go(func() {
			for i := range writes {
				op := crdt.Op{ID: uint64(i + 1), Stamp: v.now.Stamp() + crdt.Stamp(i+1)} //nolint:gosec // small
				if i%2 == 0 {
					op.Changes = append(op.Changes, crdt.Add(version, 1)) // taken apart; most writes are not
				}
				op.Changes = append(op.Changes, crdt.Put("last", []byte(version)))
				v.apply(version, op)
			}
		})
	}
	wg.Wait()
	want := v.log(2*writes + 1)
	got, err := v.e.Read(t.Context(), v.key, crdt.Token{})
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, want)) {
		t.Errorf("record = %+v, %v, want what the log comes to: %+v", got, err, want)
	}
	if got.Count("roam_v0") != writes/2 || got.Count("roam_v1") != writes/2 || len(got.VV) != 1 {
		t.Errorf("record = %+v, want all additions of both, by one actor", got)
	}
}
