//go:build integration

package valkey

import (
	"errors"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// What can't be read is said to be so, by Go and by the scripts, and is left as it is.
func TestCorruptRecord(t *testing.T) {
	s := valkeytest.Start(t)
	e, err := Open(t.Context(), 1, Config{Addrs: []string{s.Addr}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() { _ = e.Close() }() // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{1}))
	for name, head := range map[string]string{
		"no bytes": "", "another version": "\x02\x06" + string(make([]byte, 100)), "too short": "\x01\x06abc",
		"a vector that ends early": "\x01\x00" + string(make([]byte, headSums+6+1)) + "\x00\x09",
		"bytes after the vector":   "\x01\x00" + string(make([]byte, headSums+6+1)) + "\x00\x00\x00",
	} {
		s.Do("HSET", recordKey(k), headField, head, ".a", "kept")
		if _, err := e.Read(t.Context(), k, crdt.Token{}); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("%s: Read = %v, want ErrCorrupt", name, err)
		}
		for what, op := range map[string]crdt.Op{
			"a put":   {Stamp: now.Stamp(), Changes: []crdt.Change{crdt.Put("a", nil)}},
			"a birth": {Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}},
		} {
			if _, err := e.Apply(t.Context(), k, op); !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("%s: Apply(%s) = %v, want ErrCorrupt", name, what, err)
			}
		}
		if got := s.Do("HGET", recordKey(k), ".a"); got != "kept" {
			t.Errorf("%s: field = %q, want it left as it was", name, got)
		}
	}
}
