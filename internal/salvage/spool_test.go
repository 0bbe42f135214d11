package salvage_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/salvage"
)

var update = flag.Bool("update", false, "write testdata/segment.hex anew")

func writer() crdt.Actor { return crdt.NewActor(1, 7) }

// fragment returns the n-th write of a session of a partition.
func fragment(partition uint16, n uint64, size int) crdt.Fragment {
	k := crdt.SessionKey(crdt.NewSessionID(1<<40, 1, crdt.IDEntropy{byte(partition >> 8), byte(partition), byte(n)}))
	d := crdt.Dot{Actor: writer(), Stamp: crdt.Stamp(n + 1)}
	return crdt.Fragment{Dot: d, Effect: crdt.Record{
		Key: k, VV: crdt.Vector{d}, Fields: []crdt.Field{{Name: ".a", Dot: d, Value: bytes.Repeat([]byte{1}, size)}},
	}}
}

// batch returns entries of a partition's log.
func batch(partition uint16, first uint64, n, bytes int) engine.Batch {
	b := engine.Batch{Partition: partition, Actor: writer(), First: first}
	for i := range n {
		b.Frags = append(b.Frags, fragment(partition, first+uint64(i), bytes)) //nolint:gosec // small
	}
	return b
}

func openSpool(t *testing.T, c salvage.SpoolConfig) *salvage.Spool {
	t.Helper()
	s, err := salvage.OpenSpool(c)
	if err != nil {
		t.Fatalf("OpenSpool = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // what it has is looked at before
	return s
}

func write(t *testing.T, s *salvage.Spool, batches ...engine.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := s.Write(b); err != nil {
			t.Fatalf("Write = %v", err)
		}
	}
}

// numbers returns which entries of partition 0 a spool has beyond a position, as text.
func numbers(t *testing.T, s *salvage.Spool, from engine.Position) string {
	t.Helper()
	var out []string
	err := s.Read(t.Context(), engine.Positions{from}, func(b engine.Batch) error {
		if b.Partition == 0 {
			out = append(out, fmt.Sprintf("%d-%d", b.First, b.Last().N))
		}
		return nil
	})
	if err != nil {
		t.Errorf("Read = %v", err)
	}
	return strings.Join(out, " ")
}

// What was written is there after a restart, in its order, and the spool knows how far it is.
func TestSpoolKeepsWhatWasWritten(t *testing.T) {
	c := salvage.SpoolConfig{Dir: filepath.Join(t.TempDir(), "spool")}
	s := openSpool(t, c)
	empty := engine.Batch{Partition: 3, Actor: writer(), Fork: 4, First: 5, Frags: []crdt.Fragment{{}}}
	want := []engine.Batch{batch(0, 1, 3, 10), empty, batch(0, 4, 2, 10)}
	write(t, s, want...)
	for range 2 { // of the same process, and of the next one
		var got []engine.Batch
		if err := s.Read(t.Context(), engine.Positions{}, func(b engine.Batch) error { got = append(got, b); return nil }); err != nil {
			t.Fatalf("Read = %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Read = %v, want %v", got, want)
		}
		if at := s.At(); at[0].N != 5 || at[3] != (engine.Position{Actor: writer(), N: 5}) || at[1].N != 0 {
			t.Errorf("At = %v", at)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openSpool(t, c)
	}
	for from, want := range map[engine.Position]string{
		{}:                                 "1-3 4-5",
		{Actor: writer(), N: 2}:            "3-3 4-5",
		{Actor: writer(), N: 3}:            "4-5",
		{Actor: writer(), N: 9}:            "",
		{Actor: crdt.NewActor(1, 8), N: 4}: "1-3 4-5",
	} {
		if got := numbers(t, s, from); got != want {
			t.Errorf("beyond %v it has %q, want %q", from, got, want)
		}
	}
	if err := s.Clear(); err != nil {
		t.Errorf("Clear = %v", err)
	}
	write(t, s, batch(0, 6, 1, 10))
	if got := numbers(t, s, engine.Position{}); got != "6-6" {
		t.Errorf("after Clear it has %q, want only what came then", got)
	}
}

// Whatever the end of a file looks like after a crash, what is before it is read.
func TestTornEnds(t *testing.T) {
	head := salvage.AppendFrames(salvage.AppendHeader(nil, 1, engine.Positions{}), batch(0, 1, 2, 100))
	whole := salvage.AppendFrames(head, batch(0, 3, 2, 100))
	for cut := 1; cut < len(whole)-len(head); cut++ {
		for what, b := range map[string][]byte{
			"cut":    whole[:len(whole)-cut],
			"zeros":  append(bytes.Clone(whole[:len(whole)-cut]), make([]byte, cut)...),
			"a flip": flipped(whole, len(whole)-cut),
		} {
			seg, err := salvage.Decode(b)
			if err != nil || len(seg.Batches) != 1 || seg.Batches[0].Last().N != 2 || seg.Torn != len(b)-len(head) {
				t.Fatalf("%s of %d bytes: Decode = %d batches, %d torn, %v, want the first", what, cut, len(seg.Batches), seg.Torn, err)
			}
		}
	}
}

// A file is passed over whose beginning is not whole.
func TestTornHeaders(t *testing.T) {
	head := salvage.AppendHeader(nil, 1, engine.Positions{})
	for at := range head {
		for what, b := range map[string][]byte{"a cut": head[:at], "a flip": flipped(head, at)} {
			if _, err := salvage.Decode(b); !errors.Is(err, engine.ErrCorrupt) {
				t.Fatalf("%s at %d: Decode = %v, want ErrCorrupt", what, at, err)
			}
		}
	}
}

// After a crash the next process writes on, and what was torn is missed.
func TestSpoolBearsTornEnds(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, salvage.SpoolConfig{Dir: dir})
	write(t, s, batch(0, 1, 2, 100), batch(0, 3, 2, 100))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "0000000000000001.spool")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()-7); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, salvage.SpoolConfig{Dir: dir})
	if at := s.At(); at[0].N != 2 {
		t.Errorf("At = %v, want what was read", at[0])
	}
	write(t, s, batch(0, 5, 1, 10))
	if got := numbers(t, s, engine.Position{}); got != "1-2 5-5" {
		t.Errorf("it has %q, want a hole where the end was torn", got)
	}
	if err := os.WriteFile(name, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, s, engine.Position{}); got != "5-5" {
		t.Errorf("it has %q, want what can be read", got)
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// A spool stays within its bytes and its time: the oldest goes, and is missed.
func TestSpoolIsBounded(t *testing.T) {
	now := time.Unix(1764000000, 0)
	dir := t.TempDir()
	c := salvage.SpoolConfig{Dir: dir, Bytes: 32 << 20, Keep: time.Minute, Clock: func() time.Time { return now }}
	s := openSpool(t, c)
	for n := range 60 { // 1 MiB each
		write(t, s, batch(0, uint64(16*n+1), 16, 64<<10)) //nolint:gosec // small
	}
	if got := size(t, dir); got > c.Bytes || got < c.Bytes/4 {
		t.Errorf("60 MiB take %d bytes, want %d at the most, and not much less", got, c.Bytes)
	}
	if got := numbers(t, s, engine.Position{}); !strings.HasSuffix(got, "-960") || strings.HasPrefix(got, "1-") {
		t.Errorf("it has %q, want the newest", got)
	}
	for n := range 8 {
		now = now.Add(10 * time.Second)
		write(t, s, batch(0, uint64(961+n), 1, 10)) //nolint:gosec // small
	}
	if got := numbers(t, s, engine.Position{}); got != "961-961 962-962 963-963 964-964 965-965 966-966 967-967 968-968" {
		t.Errorf("it has %q, want what is at most a minute old, and the file that it is in", got)
	}
}

func size(t *testing.T, dir string) (sum int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
		sum += info.Size()
	}
	return sum
}

// What the disk does not take is missing, and what comes after it is there.
func TestSpoolGoesOnAfterAFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openSpool(t, salvage.SpoolConfig{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(batch(0, 1, 1, 10)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write without a folder = %v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, s, batch(0, 2, 1, 10))
	if got := numbers(t, s, engine.Position{}); got != "2-2" {
		t.Errorf("it has %q, want the second", got)
	}
	if err := s.Write(engine.Batch{Actor: writer()}); !errors.Is(err, crdt.ErrMalformed) {
		t.Errorf("Write of what no log emits = %v, want ErrMalformed", err)
	}
	_ = s.Close() // nothing is asked of it
	if err := s.Write(batch(0, 3, 1, 10)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Write after Close = %v, want ErrClosed", err)
	}
}

// A spool that is told nonsense says all of it.
func TestSpoolConfig(t *testing.T) {
	_, err := salvage.OpenSpool(salvage.SpoolConfig{Bytes: 1, Keep: 1, Sync: 1})
	for _, want := range []string{"Dir", "Bytes", "Keep", "Sync"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenSpool = %v, want it to speak of %s", err, want)
		}
	}
}

// The goroutine that syncs ends with the spool.
func TestSpoolEnds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := salvage.OpenSpool(salvage.SpoolConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, batch(0, 1, 1, 10))
		time.Sleep(time.Second)
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// Bytes that were written once are read for ever.
func TestSegmentVector(t *testing.T) {
	const path = "testdata/segment.hex"
	b := salvage.AppendHeader(nil, 123456, engine.Positions{2: {Actor: writer(), N: 9}})
	want := []engine.Batch{batch(2, 10, 2, 3), {Partition: 2, Actor: crdt.NewActor(1, 8), Fork: 11, First: 12, Frags: []crdt.Fragment{{}}}}
	for _, w := range want {
		b = salvage.AppendFrames(b, w)
	}
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := salvage.Decode(old)
	if err != nil || got.Created != 123456 || got.From[2].N != 9 || got.Torn != 0 || !reflect.DeepEqual(got.Batches, want) {
		t.Errorf("Decode = %+v, %v", got, err)
	}
	if !bytes.Equal(old, b) {
		t.Error("the same is written otherwise now")
	}
}

// Large entries are cut into frames that are read one by one.
func TestLargeBatchesAreCut(t *testing.T) {
	want := batch(0, 1, 40, 300<<10)
	seg, err := salvage.Decode(salvage.AppendFrames(salvage.AppendHeader(nil, 1, engine.Positions{}), want))
	next := uint64(1)
	for _, b := range seg.Batches {
		if b.First != next {
			t.Errorf("a frame begins at %d, want %d", b.First, next)
		}
		next = b.Last().N + 1
	}
	if err != nil || len(seg.Batches) < 2 || next != 41 || seg.Torn != 0 {
		t.Errorf("Decode = %d batches up to %d, %d torn, %v", len(seg.Batches), next, seg.Torn, err)
	}
}

// FuzzDecode: whatever a disk has, what is read of it is what a log can have emitted, and
// is read again when it is written.
func FuzzDecode(f *testing.F) {
	head := salvage.AppendHeader(nil, 1, engine.Positions{})
	f.Add(salvage.AppendFrames(head, batch(0, 1, 2, 3)))
	f.Add(salvage.AppendFrames(head, engine.Batch{Partition: 1, Actor: writer(), Fork: 1, First: 2, Frags: []crdt.Fragment{{}}}))
	f.Add(head)
	f.Add(head[:len(head)-1])
	f.Add(append(bytes.Clone(head), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		seg, err := salvage.Decode(b)
		if err != nil {
			if !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("Decode = %v, want ErrCorrupt", err)
			}
			return
		}
		again := salvage.AppendHeader(nil, seg.Created, seg.From)
		for _, b := range seg.Batches {
			if err := b.Check(b.Actor.Region()); err != nil || len(b.Frags) == 0 {
				t.Fatalf("Decode has a batch of %d entries that no log emits: %v", len(b.Frags), err)
			}
			again = salvage.AppendFrames(again, b)
		}
		if seg.Torn == 0 && !bytes.Equal(again, b) {
			t.Errorf("%d bytes are written as %d", len(b), len(again))
		}
	})
}
