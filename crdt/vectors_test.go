package crdt_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

var update = flag.Bool("update", false, "write testdata/*.hex anew; a changed line breaks what is stored")

// A vector is bytes that some version of this package wrote and that all later
// ones must read and write.
type vector struct {
	name string
	note string
	// encode returns the bytes; recode reads bytes and writes them again.
	encode func() []byte
	recode func([]byte) ([]byte, error)
}

func recordVector(name, note string, r crdt.Record) vector {
	return vector{name, note, func() []byte { return encode(r) }, recodeRecord}
}

func fragmentVector(name, note string, f crdt.Fragment) vector {
	return vector{name, note, func() []byte { return crdt.AppendFragment(nil, f) }, recodeFragment}
}

func recodeRecord(b []byte) ([]byte, error) {
	r, err := crdt.DecodeRecord(b)
	return encode(r), err
}

func recodeFragment(b []byte) ([]byte, error) {
	f, err := crdt.DecodeFragment(b)
	return crdt.AppendFragment(nil, f), err
}

func recodeDot(b []byte) ([]byte, error) {
	d, err := crdt.DecodeDot(b)
	return crdt.AppendDot(nil, d), err
}

func recodeSessionID(b []byte) ([]byte, error) {
	id, err := crdt.ParseSessionID(b)
	return id[:], err
}

func vectors() []vector {
	a, b := actor(1, 0xabcde), actor(2, 0x00001)
	id := crdt.NewSessionID(crdt.Time(90_043_200_000), 1, crdt.IDEntropy{0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	key, s := crdt.SessionKey(id), crdt.Time(90_000_000_000).Stamp()
	session := crdt.Record{
		Key: key, Born: crdt.Born{Dot: dot(a, s), Created: 90_000_000_000, Idle: 30 * time.Minute},
		Abs: 90_043_200_000, Touch: 90_000_000_250, User: "ann",
		Auth: crdt.Auth{
			Gen: 1, Dot: dot(b, s+2), Cur: crdt.Hash(bytes.Repeat([]byte{0xc1}, 16)), Prev: crdt.Hash(bytes.Repeat([]byte{0xc0}, 16)),
			Grace: 90_000_010_000, At: 90_000_000_200, Epochs: crdt.Vector{dot(a, s-4096)},
		},
		VV: crdt.Vector{dot(a, s+1), dot(b, s+3)},
		Fields: []crdt.Field{
			{Name: "#visits\x00\x1a\xbc\xde", Dot: dot(a, s+1), Value: append([]byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9}, make([]byte, 24)...)},
			{Name: "&cart\x00book", Dot: dot(b, s+3)},
			{Name: ".gone", Dot: dot(a, s+1), Gone: true},
			{Name: ".theme", Dot: dot(a, s+1), Value: []byte("dark")},
		},
	}
	one := crdt.Record{Key: key, VV: crdt.Vector{dot(a, s+5)}, Fields: []crdt.Field{{Name: ".theme", Dot: dot(a, s+4), Value: []byte("light")}}}
	dead := crdt.Record{Key: key, Dead: true}
	user := crdt.Record{
		Key: crdt.UserKey("ann"), VV: crdt.Vector{dot(a, s+1)},
		Fields: []crdt.Field{{Name: "!\x1a\xbc\xde", Dot: dot(a, s+1)}, {Name: "@" + string(id[:]), Dot: dot(a, s), Value: []byte("phone")}},
	}
	return []vector{
		recordVector("bottom", "a session of which nothing is known", crdt.Record{Key: key}),
		recordVector("dead", "a session that was destroyed: version, kind, flags and name", dead),
		recordVector("session", "ann's session: a counter, an element of a set, a tombstone and a value", session),
		recordVector("user", "ann's own record: one revocation, one session noted", user),
		fragmentVector("fragment-put", "one value is written; the write before it was at +3", crdt.Fragment{Dot: dot(a, s+5), Prev: s + 3, Effect: one}),
		fragmentVector("fragment-dead", "a session is destroyed where it was never heard of", crdt.Fragment{Dot: dot(b, s), Effect: dead}),
		{"dot", "the write 90000000000.1 of actor 1/abcde", func() []byte { return crdt.AppendDot(nil, dot(a, s+1)) }, recodeDot},
		{"session-id", "deadline 90043200 s, partition 5, born in Region 1", func() []byte { return id[:] }, recodeSessionID},
	}
}

func vectorFile(name string) string { return filepath.Join("testdata", name+".hex") }

// readVector returns the bytes in a file of hex, where # begins a comment.
func readVector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(vectorFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", vectorFile(name), err)
	}
	return b
}

func writeVector(t *testing.T, v vector) {
	t.Helper()
	text := "# " + v.note + "\n"
	for b := v.encode(); len(b) > 0; b = b[min(16, len(b)):] {
		text += hex.EncodeToString(b[:min(16, len(b))]) + "\n"
	}
	if err := os.WriteFile(vectorFile(v.name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors() {
		if *update {
			writeVector(t, v)
		}
		want := readVector(t, v.name)
		if got := v.encode(); !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%x, want\n%x", v.name, got, want)
		}
		if got, err := v.recode(want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is read as\n%x, %v, want\n%x", v.name, got, err, want)
		}
	}
	files, err := filepath.Glob(vectorFile("*"))
	if err != nil || len(files) != len(vectors()) {
		t.Errorf("testdata has %q, %v, want a file for each of %d vectors", files, err, len(vectors()))
	}
}
