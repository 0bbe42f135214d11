package quorum

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func open(t testing.TB, path string, create bool, founded Stored) (*store, Stored) {
	t.Helper()
	s, stored, err := openStore(path, create, founded)
	if err != nil {
		t.Fatal(err)
	}
	return s, stored
}

// clean makes two ways of having nothing the same.
func clean(s Stored) Stored {
	if s.State == nil {
		s.State = &pb.HardState{}
	}
	if len(s.Entries) == 0 {
		s.Entries = nil
	}
	return s
}

func diff(want, got Stored) string { return cmp.Diff(clean(want), clean(got), protocmp.Transform()) }

// same is diff, in a hundredth of the time.
func same(a, b Stored) bool {
	return a.Life == b.Life && proto.Equal(a.State, b.State) && proto.Equal(a.Snapshot, b.Snapshot) &&
		slices.EqualFunc(a.Entries, b.Entries, func(x, y *pb.Entry) bool { return proto.Equal(x, y) })
}

// A twin is a file, and what should be in it.
type twin struct {
	t       *testing.T
	dice    *rand.Rand
	path    string
	file    *store
	model   simMember
	resets  int // snapshots from elsewhere
	folds   int
	tails   int // entries overwritten
	reopens int
}

func (w *twin) save(what Save) {
	if n := len(w.model.disk.Entries); n > 0 && len(what.Entries) > 0 && what.Entries[0].GetIndex() <= w.model.disk.Entries[n-1].GetIndex() {
		w.tails++
	}
	if what.Reset {
		w.resets++
	}
	if what.First > 0 {
		w.folds++
	}
	w.model.save(what)
	if err := w.file.save(what); err != nil {
		w.t.Fatal(err)
	}
	if w.dice.IntN(20) == 0 {
		w.reopen()
	}
}

func (w *twin) reopen() {
	w.reopens++
	if err := w.file.close(); err != nil {
		w.t.Fatal(err)
	}
	if w.model.volatile != nil {
		w.model.disk.State, w.model.volatile = w.model.volatile, nil
	}
	w.model.disk.Life++
	var stored Stored
	w.file, stored = open(w.t, w.path, false, Stored{})
	if d := diff(w.model.disk, stored); d != "" {
		w.t.Fatalf("saved and read (-want +got):\n%s", d)
	}
}

// TestFileIsWhatWasSaved has a file told what a simulated member writes, and opens it
// anew now and then.
func TestFileIsWhatWasSaved(t *testing.T) {
	founded, err := Found("sim", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	var resets, folds, tails, reopens int
	for seed := range uint64(1 + 8/raceShare) {
		sim, twins := newWorld(seed, plan{voters: []uint64{1, 2, 3}, steps: 4000}), map[uint64]*twin{}
		for id, m := range sim.members {
			w := &twin{t: t, dice: rand.New(rand.NewPCG(seed, id)), path: filepath.Join(t.TempDir(), "file"), model: simMember{disk: m.disk}}
			w.file, w.model.disk = open(t, w.path, true, founded)
			twins[id] = w
		}
		sim.saved = func(id uint64, what Save) { twins[id].save(what) }
		sim.live()
		if sim.failed != "" {
			t.Fatal(sim.failed)
		}
		for _, w := range twins {
			w.reopen()
			if err := w.file.close(); err != nil {
				t.Fatal(err)
			}
			resets, folds, tails, reopens = resets+w.resets, folds+w.folds, tails+w.tails, reopens+w.reopens
		}
	}
	t.Logf("%d resets, %d folds, %d tails overwritten, opened %d times", resets, folds, tails, reopens)
	if raceShare == 1 && (resets == 0 || folds == 0 || tails == 0 || reopens < 20) {
		t.Errorf("%d resets, %d folds, %d tails overwritten, opened %d times: this shows nothing", resets, folds, tails, reopens)
	}
}

// filled makes a file with some of everything in it, of several pages.
func filled(t testing.TB, entries int) (path string, want Stored) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	founded, err := Found("name", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, path, true, founded)
	for i := range entries {
		e := &pb.Entry{Index: new(uint64(i) + 2), Term: new(uint64(3)), Data: encodeCommand(ticket{1, 1, uint64(i) + 1, 1}, make([]byte, 100))}
		if err := s.save(Save{State: &pb.HardState{Term: new(uint64(3)), Vote: new(uint64(2)), Commit: new(uint64(i) + 2)}, Entries: []*pb.Entry{e}, Sync: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	want, err = readStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Entries) != entries {
		t.Fatalf("%d entries, want %d", len(want.Entries), entries)
	}
	return path, want
}

// TestNoBitFlipsUnseen breaks a file in one bit, everywhere in turn. Either it is
// refused or the bit means nothing; and it is never changed by being looked at.
func TestNoBitFlipsUnseen(t *testing.T) {
	path, want := filled(t, 80)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const step = 29
	refused, broken := 0, filepath.Join(t.TempDir(), "broken")
	for at := 0; at < len(whole); at += step {
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(broken, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readStore(broken)
		switch {
		case errors.Is(err, ErrCorrupt):
			refused++
		case err != nil:
			t.Fatalf("bit %d of byte %d flipped: %v, want ErrCorrupt", at%8, at, err)
		default:
			if !same(want, got) {
				t.Fatalf("bit %d of byte %d flipped, and what is read is another (-want +got):\n%s", at%8, at, diff(want, got))
			}
		}
	}
	if refused < 100 {
		t.Errorf("%d of %d flips were refused: this shows nothing", refused, len(whole)/step)
	}
}

func TestBrokenFileIsRefusedAndLeftAlone(t *testing.T) {
	path, _ := filled(t, 80)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	founded, err := Found("name", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "text": []byte("this is no file of a member"), "half": whole[:len(whole)/2], "one page": whole[:4096],
		"zeros": make([]byte, len(whole)), "a first page is lost": append(make([]byte, 4096), whole[4096:]...),
	} {
		t.Run(name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "broken")
			if err := os.WriteFile(broken, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, create := range []bool{false, true} {
				s, _, err := openStore(broken, create, founded)
				if err == nil {
					_ = s.close()
				}
				want := ErrCorrupt
				if create {
					want = fs.ErrExist
				}
				if !errors.Is(err, want) {
					t.Errorf("open with create %t: %v, want %v", create, err, want)
				}
			}
			if now, err := os.ReadFile(broken); err != nil || string(now) != string(b) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

// TestTailThatIsLostIsMissed: the last entry is gone, without a trace among the others.
func TestTailThatIsLostIsMissed(t *testing.T) {
	path, want := filled(t, 10)
	s, _ := open(t, path, false, Stored{})
	_, last := span(want.Entries)
	e := &pb.Entry{Index: new(last + 1), Term: new(uint64(3))}
	if err := s.save(Save{Entries: []*pb.Entry{e}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketEntries)).Delete(index(last + 1)) }); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readStore(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %v, want ErrCorrupt", err)
	}
}

// TestBothFirstPagesCount: the newer says what was last promised, and nobody can say
// which one that is that is broken.
func TestBothFirstPagesCount(t *testing.T) {
	path, _ := filled(t, 10)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := inspect(whole); err != nil {
		t.Fatal(err)
	}
	for page := range 2 {
		b := slices.Clone(whole)
		b[page*os.Getpagesize()+pageHead+20] ^= 1
		if err := inspect(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("first page %d is broken: %v, want ErrCorrupt", page, err)
		}
	}
}

func TestFileThatIsMissingIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, _, err := openStore(path, false, Stored{}); !errors.Is(err, ErrMissing) {
		t.Errorf("open: %v, want ErrMissing", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	// What a crash left while one was made means nothing.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, path, true, Stored{})
	if _, _, err := openStore(path, false, Stored{}); err == nil {
		t.Error("a second member has opened the file")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzInspect writes anything anywhere into a file. What inspect lets pass bbolt reads
// without a panic, and whatever is wrong is ErrCorrupt.
func FuzzInspect(f *testing.F) {
	path, _ := filled(f, 80)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	page := len(whole) / 8
	for at := 0; at < len(whole); at += page {
		f.Add(uint32(at), []byte{1}, false)         //nolint:gosec // in the file
		f.Add(uint32(at+16), []byte{9, 9, 9}, true) //nolint:gosec // in the file
	}
	f.Add(uint32(16+16), []byte{3}, true) // another root
	f.Fuzz(func(t *testing.T, at uint32, what []byte, sealed bool) {
		b := slices.Clone(whole)
		copy(b[int(at)%len(b):], what)
		if sealed { // as if it had been written so: else the first pages' check finds all
			for i := range 2 {
				page := os.Getpagesize() * i
				h := fnv.New64a()
				_, _ = h.Write(b[page+pageHead : page+pageHead+metaBytes-8]) // hashes never fail
				binary.NativeEndian.PutUint64(b[page+pageHead+metaBytes-8:], h.Sum64())
			}
		}
		if err := inspect(b); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("inspect: %v, want ErrCorrupt", err)
			}
			return
		}
		broken := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(broken, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readStore(broken); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("read: %v, want ErrCorrupt", err)
		}
	})
}
