package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// sample is a file as two writes make it.
func sample() (raw []byte, entries []Entry) {
	two := crdt.Join(epoch("ann", 1, start), epoch("ann", 2, start+1))
	first := []Entry{{Ending: dead(1)}}
	second := []Entry{{Settled: true, Ending: dead(1)}, {Ending: two}}
	return AppendFrame(AppendFrame(AppendHeader(nil), first), second), append(first, second...)
}

func sameEntries(a, b []Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Settled != b[i].Settled || a[i].Ending.Digest() != b[i].Ending.Digest() {
			return false
		}
	}
	return true
}

// What an older version wrote is read, and written byte for byte.
func TestVector(t *testing.T) {
	text, err := os.ReadFile("testdata/journal.hex")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	stored, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	raw, entries := sample()
	if !bytes.Equal(raw, stored) {
		t.Errorf("bytes = %x, want %x", raw, stored)
	}
	got, err := Decode(stored)
	if err != nil || got.Torn != 0 || !sameEntries(got.Entries, entries) {
		t.Errorf("Decode = %+v, %v, want %+v", got, err, entries)
	}
}

// A file that a crash cut short anywhere in its last write gives all that was
// acknowledged before.
func TestTornTail(t *testing.T) {
	raw, entries := sample()
	before := len(AppendFrame(AppendHeader(nil), entries[:1]))
	for cut := before; cut < len(raw); cut++ {
		for name, tail := range map[string][]byte{
			"cut":    nil,
			"zeroed": make([]byte, len(raw)-cut), // the file grew, its last pages were not written
		} {
			if name == "zeroed" && cut > before && cut < before+frameHead {
				continue // 12 bytes are written in one piece or not at all, but for two pages
			}
			b := append(bytes.Clone(raw[:cut]), tail...)
			if bytes.Equal(b, raw) {
				continue // it ends in zeros
			}
			got, err := Decode(b)
			if err != nil || !sameEntries(got.Entries, entries[:1]) || got.Torn != cut-before+len(tail) {
				t.Errorf("%s at byte %d: %+v, %v; want the first entry and %d torn", name, cut, got, err, cut-before+len(tail))
			}
		}
	}
}

// Bytes that changed in the middle are refused, whichever they are: a length
// that says too much must not pass for a torn tail, or endings were forgotten.
func TestCorruptMiddleIsRefused(t *testing.T) {
	raw, entries := sample()
	before := len(AppendFrame(AppendHeader(nil), entries[:1]))
	for i := range before {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			if got, err := Decode(bad); !errors.Is(err, engine.ErrCorrupt) || len(got.Entries) != 0 {
				t.Fatalf("bit %d of byte %d: %+v, %v; want ErrCorrupt", bit, i, got, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, _ := sample()
	f.Add(raw)
	f.Add(raw[:len(raw)-3])
	f.Add([]byte{})
	f.Add(AppendHeader(nil))
	f.Add(AppendFrame(AppendHeader(nil), []Entry{{Ending: crdt.Record{Key: session(1), Touch: 1}}})) // no ending
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			if !errors.Is(err, engine.ErrCorrupt) || len(got.Entries) > 0 {
				t.Fatalf("Decode = %+v, %v; want ErrCorrupt and nothing else", got, err)
			}
			return
		}
		if got.Torn < 0 || got.Torn > len(b) {
			t.Fatalf("torn = %d of %d bytes", got.Torn, len(b))
		}
		for _, e := range got.Entries {
			if err := check(e.Ending); err != nil {
				t.Fatalf("entry %+v is no ending: %v", e, err)
			}
		}
		again, err := Decode(AppendFrame(b[:len(b)-got.Torn:len(b)-got.Torn], []Entry{{Ending: dead(1)}}))
		if len(b)-got.Torn > 0 && (err != nil || len(again.Entries) != len(got.Entries)+1 || again.Torn != 0) {
			t.Fatalf("with one more frame: %+v, %v; want %d entries", again, err, len(got.Entries)+1)
		}
	})
}
