package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

func head(epoch uint64) Head { return Head{Epoch: epoch, From: "us-west-1", To: "us-west-2"} }

func noon() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 7e6, time.UTC) }

func item(n int, fate ledger.Fate) ledger.Item {
	return ledger.Item{Session: fmt.Sprintf("%010x", n), Kind: "write", At: noon().Add(time.Duration(n) * time.Millisecond), Fate: fate}
}

// mixed returns n items, of all fates.
func mixed(n int) (out []ledger.Item) {
	for i := range n {
		out = append(out, item(i, fates()[i%len(fates())]))
	}
	return out
}

func counts(items []ledger.Item) map[ledger.Fate]uint64 {
	out := map[ledger.Fate]uint64{}
	for _, i := range items {
		out[i.Fate]++
	}
	return out
}

// keep makes the list of an epoch.
func keep(t *testing.T, f *Folder, h Head, items []ledger.Item) {
	t.Helper()
	d := f.Begin(h, false)
	for _, i := range items {
		d.Add(i)
	}
	if err := d.Commit(); err != nil {
		t.Fatalf("Commit = %v", err)
	}
}

// all reads a list to its end.
func all(from interface{ Next() (ledger.Item, error) }) (out []ledger.Item, err error) {
	for {
		i, err := from.Next()
		if err != nil {
			return out, err
		}
		out = append(out, i)
	}
}

// has returns what a folder has of an epoch.
func has(t *testing.T, f *Folder, epoch uint64) ([]ledger.Item, End) {
	t.Helper()
	l, err := f.Open(epoch)
	if err != nil {
		t.Fatalf("Open(%d) = %v", epoch, err)
	}
	defer func() { _ = l.Close() }() // it was read only
	if l.Head() != head(epoch) {
		t.Errorf("the head is %+v", l.Head())
	}
	items, err := all(l)
	if err != io.EOF { //nolint:errorlint // as it is
		t.Errorf("Next = %v, want io.EOF", err)
	}
	return items, l.End()
}

func TestListIsReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 2500} {
		f := NewFolder(Config{Dir: filepath.Join(t.TempDir(), "made")})
		want := mixed(n)
		keep(t, f, head(7), want)
		got, end := has(t, f, 7)
		if !slices.Equal(got, want) || end.Named != uint64(n) || end.More != 0 || !maps.Equal(end.Counts, counts(want)) {
			t.Errorf("%d items come back as %d, with %+v", n, len(got), end)
		}
		if info, err := os.Stat(f.path(7)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v, want that its owner alone may read it", info.Mode(), err)
		}
	}
}

func TestNoList(t *testing.T) {
	var none *Folder
	for _, f := range []*Folder{NewFolder(Config{Dir: filepath.Join(t.TempDir(), "none")}), NewFolder(Config{Dir: t.TempDir()}), none} {
		if _, err := f.Open(7); !errors.Is(err, ErrNone) {
			t.Errorf("Open of what is not there = %v, want ErrNone", err)
		}
	}
	d := none.Begin(head(7), true)
	d.Add(item(1, ledger.Lost))
	if err := d.Commit(); err != nil || d.End().Counts[ledger.Lost] != 1 || len(d.First()) != 1 {
		t.Errorf("without a folder: %v, %+v, want it counted", err, d.End())
	}
}

// Items beyond the bound are counted, by fate, and so are those that can't be written.
func TestBoundOfItems(t *testing.T) {
	f := NewFolder(Config{Dir: t.TempDir(), Items: 3})
	items := mixed(8)
	keep(t, f, head(7), items)
	got, end := has(t, f, 7)
	if !slices.Equal(got, items[:3]) || end.Named != 3 || end.More != 5 || !maps.Equal(end.Counts, counts(items)) {
		t.Errorf("%v, %+v, want 3 of 8", got, end)
	}
	odd := []ledger.Item{
		{Session: "AB", Kind: "write", At: noon(), Fate: ledger.Lost},
		{Session: "ab", Kind: `w"`, At: noon(), Fate: ledger.Lost},
		{Session: "ab", Kind: "write", At: noon(), Fate: "odd"},
		{Session: "ab", Kind: "write", At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Fate: ledger.Lost},
	}
	keep(t, f, head(7), odd)
	got, end = has(t, f, 7)
	if len(got) != 1 || got[0].Fate != ledger.Unknown || end.More != 3 || end.Counts[ledger.Lost] != 3 || end.Counts[ledger.Unknown] != 1 {
		t.Errorf("%v, %+v, want one named and the others counted", got, end)
	}
}

// Of too many lists those of the lowest epochs go, and of too large ones too; never the one
// that was just written. What a crash has left goes as well, and what is not ours stays.
func TestBoundsOfAFolder(t *testing.T) {
	dir := t.TempDir()
	names := func() (out []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	for _, name := range []string{"4.jsonl.new123", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := NewFolder(Config{Dir: dir, Lists: 3})
	for _, epoch := range []uint64{9, 10, 11, 100, 2} {
		keep(t, f, head(epoch), mixed(3))
	}
	if got, want := names(), []string{"100.jsonl", "11.jsonl", "2.jsonl", "notes"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %v, want %v", got, want)
	}
	info, err := os.Stat(f.path(2))
	if err != nil {
		t.Fatal(err)
	}
	f = NewFolder(Config{Dir: dir, Bytes: 2*info.Size() + 9})
	keep(t, f, head(100), mixed(3))
	if got, want := names(), []string{"100.jsonl", "11.jsonl", "notes"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %v, want %v", got, want)
	}
	f = NewFolder(Config{Dir: dir, Bytes: 1})
	keep(t, f, head(11), mixed(3))
	if got, want := names(), []string{"11.jsonl", "notes"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %v, want %v", got, want)
	}
}

// Wherever a crash leaves a list that is being made, the one before is whole, or there is
// none; the next one that is made is whole.
func TestCrash(t *testing.T) {
	for _, before := range []bool{false, true} {
		for n := range 4 {
			f := NewFolder(Config{Dir: t.TempDir()})
			if before {
				keep(t, f, head(7), mixed(2))
			}
			d := f.Begin(head(7), false)
			for _, i := range mixed(n * 1500) { // more than the writer keeps
				d.Add(i)
			}
			switch l, err := f.Open(7); { // d is never ended
			case !before && !errors.Is(err, ErrNone):
				t.Errorf("Open = %v, want ErrNone", err)
			case before && (err != nil || l.End().Named != 2):
				t.Errorf("Open = %+v, %v, want the list before", l, err)
			}
			keep(t, f, head(7), mixed(5))
			if got, _ := has(t, f, 7); len(got) != 5 {
				t.Errorf("the next list has %d items", len(got))
			}
			if left, err := os.ReadDir(f.config.Dir); err != nil || len(left) != 1 {
				t.Errorf("the folder has %v, %v, want the list alone", left, err)
			}
		}
	}
}

// A list that is cut anywhere, or of which a bit is another one, is none.
func TestDamage(t *testing.T) {
	f := NewFolder(Config{Dir: t.TempDir()})
	keep(t, f, head(7), mixed(5))
	whole, err := os.ReadFile(f.path(7))
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(f.path(7), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Open(7); !errors.Is(err, ErrMalformed) {
			t.Fatalf("Open of a list %s = %v, want ErrMalformed", what, err)
		}
	}
	for n := range whole {
		want(fmt.Sprintf("of %d of %d bytes", n, len(whole)), whole[:n])
		b := bytes.Clone(whole)
		b[n] ^= 1
		want(fmt.Sprintf("with another byte %d", n), b)
	}
	want("with more behind it", append(bytes.Clone(whole), '\n'))
	lines := bytes.SplitAfter(whole, []byte("\n"))
	want("with a line less", slices.Concat(slices.Concat(lines[:2]...), slices.Concat(lines[3:]...)))
	if err := os.WriteFile(f.path(8), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(8); !errors.Is(err, ErrMalformed) {
		t.Errorf("Open of the list of another epoch = %v, want ErrMalformed", err)
	}
}

// Figures that don't agree are refused, though the check is right.
func TestFigures(t *testing.T) {
	b, err := headOf(head(7))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range mixed(2) { // one recovered, one superseded
		b, _ = appendItem(b, i)
	}
	read := func(e End) error {
		whole, err := appendEnd(bytes.Clone(b), e, sum(0, b[:len(b)-1]))
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(bytes.NewReader(whole))
		if err == nil {
			_, err = all(r)
		}
		return err
	}
	type by = map[ledger.Fate]uint64
	if err := read(End{2, 3, by{ledger.Recovered: 4, ledger.Superseded: 1}}); err != io.EOF { //nolint:errorlint // as it is
		t.Errorf("figures that agree: %v", err)
	}
	for _, e := range []End{
		{},
		{2, 0, nil},
		{2, 0, by{ledger.Recovered: 2}},
		{2, 1, by{ledger.Recovered: 1, ledger.Superseded: 1}},
		{3, 0, by{ledger.Recovered: 2, ledger.Superseded: 1}},
		{2, 0, by{ledger.Recovered: 1, ledger.Superseded: 1, ledger.Lost: 0}},
		{2, 1, by{ledger.Recovered: 1, ledger.Superseded: 1, "odd": 1}},
		{2, maxCount, by{ledger.Recovered: maxCount + 1, ledger.Superseded: 1}},
	} {
		if err := read(e); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v of two items: %v, want ErrMalformed", e, err)
		}
	}
	// Times are read with a comma too, and never written so.
	b = bytes.ReplaceAll(b, []byte(".007Z"), []byte(",007Z"))
	if err := read(End{2, 0, by{ledger.Recovered: 1, ledger.Superseded: 1}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a time with a comma: %v, want ErrMalformed", err)
	}
}

// A look that finds only what is missing still is made up for by the list of the look
// before; what comes again is listed once, as it was found last.
func TestCarry(t *testing.T) {
	f := NewFolder(Config{Dir: t.TempDir()})
	recovered, lost, gone := item(1, ledger.Recovered), item(2, ledger.Lost), item(3, ledger.Superseded)
	keep(t, f, head(7), []ledger.Item{recovered, lost, gone, gone})
	d := f.Begin(head(7), true)
	found, twin := lost, recovered
	found.Fate, twin.Fate = ledger.Recovered, ledger.Lost // twin is another write of the same moment
	for _, i := range []ledger.Item{found, gone, twin, item(4, ledger.Unknown)} {
		d.Add(i)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	want := []ledger.Item{found, gone, twin, item(4, ledger.Unknown), recovered, gone}
	got, end := has(t, f, 7)
	if !slices.Equal(got, want) || !slices.Equal(d.First(), want) || !maps.Equal(d.End().Counts, counts(want)) || end.Named != 6 {
		t.Errorf("%v, %+v, want %v", got, d.End(), want)
	}

	f.config.Items = 2
	d = f.Begin(head(7), true)
	d.Add(item(5, ledger.Lost))
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	_, end = has(t, f, 7)
	want = append(want, item(5, ledger.Lost))
	if end.Named != 2 || end.More != 5 || !maps.Equal(end.Counts, counts(want)) {
		t.Errorf("carried over with room for two: %+v, want the same counts", end)
	}
	if d = f.Begin(head(7), true); d.Commit() != nil || !maps.Equal(d.End().Counts, counts(want)) {
		t.Errorf("what was only counted is carried over as %+v", d.End())
	}
	d = f.Begin(Head{7, "us-west-1", "us-east-1"}, true)
	if err := d.Commit(); err != nil || len(d.End().Counts) != 0 {
		t.Errorf("another failover's list is carried over: %+v, %v", d.End(), err)
	}
}

// A disk that takes nothing costs the list, and neither the counts nor the list before.
func TestDiskFails(t *testing.T) {
	f := NewFolder(Config{Dir: t.TempDir()})
	keep(t, f, head(7), mixed(2))
	d := f.Begin(head(7), true)
	_ = d.file.Discard() // so that writes fail
	items := mixed(3000)
	for _, i := range items {
		d.Add(i)
	}
	if err := d.Commit(); err == nil {
		t.Error("Commit of what was not written = nil")
	}
	if d.End().Counts[ledger.Recovered] != counts(items)[ledger.Recovered]+1 || len(d.First()) != ledger.MaxItems {
		t.Errorf("it counts %+v and has %d", d.End(), len(d.First()))
	}
	if got, _ := has(t, f, 7); len(got) != 2 {
		t.Errorf("the list before has %d items, want 2", len(got))
	}
	none := NewFolder(Config{Dir: f.path(7)}) // a file
	d = none.Begin(head(7), false)
	d.Add(items[0])
	if err := d.Commit(); err == nil || d.End().Counts[ledger.Recovered] != 1 {
		t.Errorf("Commit without a folder = %v, %+v", err, d.End())
	}
	d = f.Begin(head(7), true)
	d.Discard()
	if err := d.Commit(); err == nil {
		t.Error("Commit of what was discarded = nil")
	}
	if d = f.Begin(Head{Epoch: 7}, false); d.Commit() == nil {
		t.Error("Commit of a list of nobody = nil")
	}
}

// What is accepted is, byte for byte, what is written of it.
func FuzzReader(f *testing.F) {
	text := func(lines ...string) string { return strings.Join(lines, "\n") + "\n" }
	const first = `{"v":1,"epoch":7,"from":"a","to":"b"}`
	f.Add(text(first, `{"named":0,"more":0,"counts":{},"crc32c":"00000000"}`))
	f.Add(text(first, `{"session":"0","kind":"write","at":"2026-11-26T12:00:00.007Z","fate":"lost"}`, `{"named":1,"more":0,"counts":{"lost":1},"crc32c":""}`))
	f.Add("")
	if b, err := os.ReadFile(vector); err == nil {
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewReader(strings.NewReader(text))
		if err != nil {
			return
		}
		items, err := all(r)
		if err != io.EOF { //nolint:errorlint // as it is
			return
		}
		b, err := headOf(r.Head())
		if err != nil {
			t.Fatalf("the head %+v is not written: %v", r.Head(), err)
		}
		for _, i := range items {
			b, _ = appendItem(b, i)
		}
		if b, err = appendEnd(b, r.End(), sum(0, b[:len(b)-1])); err != nil || string(b) != text {
			t.Errorf("%q is read, and written as %q, %v", text, b, err)
		}
	})
}

const vector = "testdata/list.jsonl"

// Whoever reads lists later reads this one.
func TestVector(t *testing.T) {
	b, err := os.ReadFile(vector)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFolder(Config{Dir: t.TempDir(), Items: 4})
	keep(t, f, head(7), mixed(6))
	written, err := os.ReadFile(f.path(7))
	if err != nil || !bytes.Equal(b, written) {
		t.Errorf("%s is written as %s, %v", b, written, err)
	}
	later := bytes.Replace(b, []byte(`"v":1`), []byte(`"v":2`), 1)
	if _, err := NewReader(bytes.NewReader(later)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("NewReader of a later version = %v", err)
	}
	long := append(bytes.Repeat([]byte("x"), 40<<10), '\n')
	if _, err := NewReader(bytes.NewReader(long)); !errors.Is(err, ErrMalformed) {
		t.Errorf("NewReader of a long line = %v, want ErrMalformed", err)
	}
}
