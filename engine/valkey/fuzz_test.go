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
	f.Add("\x01\x00"+string(make([]byte, headSums+6+1+2)), ".a", "\x00\x00\x00\x00\x00\x00\x01\x10\x00\x01\x00v")
	f.Fuzz(func(t *testing.T, head, name, value string) {
		r, err := decodeRecord(k, 2, func(i int) (string, []byte) {
			return []string{headField, name}[i], []byte([]string{head, value}[i])
		})
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

// FuzzDecodeEntry: what a log holds is read or refused, and what is read is written
// the same for whoever merges it.
func FuzzDecodeEntry(f *testing.F) {
	k := crdt.SessionKey(crdt.NewSessionID(1<<40, 1, crdt.IDEntropy{1}))
	actor := crdt.NewActor(2, 7)
	op := crdt.AppendOp(nil, crdt.Op{Stamp: 5, Changes: []crdt.Change{crdt.Put("b", []byte("1")), crdt.Delete("a")}})
	head := appendNumber(appendNumber(crdt.AppendDot([]byte{plain}, crdt.Dot{Actor: actor, Stamp: 9}), 3, 7), 1, 6)
	f.Add(append(append(head, k.Name()...), op...))
	f.Add(crdt.AppendFragment(nil, crdt.Fragment{Dot: crdt.Dot{Actor: actor, Stamp: 9}, Effect: crdt.Record{Key: k, Dead: true}}))
	f.Add([]byte{plain})
	f.Fuzz(func(t *testing.T, entry []byte) {
		if len(entry) == 0 {
			return // a number that holds nothing
		}
		frag, err := decodeEntry(string(entry))
		if err != nil {
			if !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("decodeEntry = %v, want ErrCorrupt", err)
			}
			return
		}
		if entry[0] == plain && !isPlain(frag) {
			t.Errorf("decodeEntry of a plain entry = %+v, want it plain", frag)
		}
		if to := appendEntry(nil, frag); (to[0] == plain) != isPlain(frag) || len(to) < plainHead {
			t.Errorf("appendEntry = %d bytes that begin with %d", len(to), to[0])
		}
	})
}
