package valkey

import (
	"errors"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// FuzzDecode: bytes that a server holds are read or refused, whatever they are.
func FuzzDecode(f *testing.F) {
	k := crdt.SessionKey(crdt.NewSessionID(1<<40, 1, crdt.IDEntropy{1}))
	f.Add("\x01\x01", ".a", "0123456789012")
	f.Add("\x01\x00"+string(make([]byte, 33+12+1+2)), ".a", "\x00\x00\x00\x00\x00\x00\x01\x10\x00\x01\x00v")
	f.Fuzz(func(t *testing.T, head, name, value string) {
		r, err := decodeRecord(k, map[string]string{headField: head, name: value})
		if err != nil && !errors.Is(err, engine.ErrCorrupt) || err == nil && r.Key != k {
			t.Errorf("decodeRecord = %v, %v, want the record of its key, or ErrCorrupt", r.Key, err)
		}
		if _, err := decodeMeta(head); err != nil && !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("decodeMeta = %v, want ErrCorrupt", err)
		}
		if _, err := parseRecordKey(head); err != nil && !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("parseRecordKey = %v, want ErrCorrupt", err)
		}
	})
}
