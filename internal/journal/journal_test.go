package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func clock() time.Time { return start.Std() }

func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(west, path, Config{Clock: clock})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func (j *Journal) knows(e crdt.Record) bool {
	rec, _ := j.Read(context.Background(), e.Key, crdt.Token{})
	return Knows(rec, e)
}

func join(t *testing.T, j *Journal, e crdt.Record) {
	t.Helper()
	if err := j.Join(t.Context(), e); err != nil {
		t.Fatalf("Join = %v", err)
	}
}

// Kill leaves the file as a process that is killed does.
func kill(j *Journal) { _ = j.file.close(); j.closed = true }

// What was acknowledged is known after a crash, and what is settled need not be.
func TestJournalSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endings")
	j := open(t, path)
	join(t, j, dead(1))
	dot, err := j.End(t.Context(), crdt.UserKey("ann"), nil)
	if err != nil {
		t.Fatalf("End = %v", err)
	}
	again, err := j.End(t.Context(), crdt.UserKey("ann"), nil)
	if err != nil || again.Actor != dot.Actor || again.Stamp <= dot.Stamp {
		t.Errorf("second revocation = %v, %v; want above %v", again, err, dot)
	}
	for _, r := range everyone() {
		j.Confirm(dead(1), r)
	}
	if err := j.Sweep(t.Context(), everyone()); err != nil || j.Len() != 1 {
		t.Fatalf("Sweep = %v, %d left, want 1", err, j.Len())
	}
	join(t, j, dead(2))
	kill(j)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file = %v, %v; want mode 0600", info.Mode(), err)
	}
	j = open(t, path)
	if !j.knows(dead(2)) || !j.knows(crdt.EpochRecord(crdt.UserKey("ann"), again)) || j.Len() != 2 {
		t.Errorf("after a restart %d are known, want 2: %+v", j.Len(), j.All())
	}
	third, err := j.End(t.Context(), crdt.UserKey("ann"), nil)
	if err != nil || third.Actor == dot.Actor {
		t.Errorf("revocation after a restart = %v, %v; want one of another actor than %v", third, err, dot)
	}
}

// One process has it open.
func TestJournalIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endings")
	j := open(t, path)
	if _, err := Open(west, path, Config{Clock: clock}); err == nil {
		t.Error("a second Open succeeded, want an error")
	}
	_ = j.Close()
	_ = open(t, path)
}

// A torn tail is cut off and said, and what is written next is read again.
func TestJournalCutsATornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endings")
	raw, _ := sample()
	if err := os.WriteFile(path, raw[:len(raw)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	j, err := Open(west, path, Config{Clock: clock, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if !j.knows(dead(1)) || j.Len() != 1 || !bytes.Contains(log.Bytes(), []byte("cut short")) {
		t.Errorf("%d known, log %q; want 1 and a warning", j.Len(), log.String())
	}
	join(t, j, dead(2))
	kill(j)
	if j = open(t, path); !j.knows(dead(1)) || !j.knows(dead(2)) {
		t.Errorf("known = %+v, want both", j.All())
	}
}

// A file with bad bytes in its middle is refused and left as it is.
func TestJournalRefusesCorruption(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endings")
	raw, _ := sample()
	raw[headerBytes+frameHead+7] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again: it let go of the lock
		if _, err := Open(west, path, Config{Clock: clock}); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("Open = %v, want ErrCorrupt", err)
		}
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, raw) {
		t.Errorf("the file was changed: %v", err)
	}
}

// A failing disk takes some of what is written, and says no.
type failingDisk struct {
	handle
	sync, write bool
}

func (d *failingDisk) Sync() error {
	if d.sync {
		return errors.New("scene: input/output error")
	}
	return d.handle.Sync()
}

func (d *failingDisk) WriteAt(b []byte, at int64) (int, error) {
	if d.write {
		n, _ := d.handle.WriteAt(b[:len(b)/2], at)
		return n, errors.New("scene: no space left")
	}
	return d.handle.WriteAt(b, at)
}

// An ending that the disk did not take is not acknowledged, and hides none that
// is taken later.
func TestJournalOnAFailingDisk(t *testing.T) {
	for name, disk := range map[string]*failingDisk{"sync": {sync: true}, "write": {write: true}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "endings")
			j := open(t, path)
			join(t, j, dead(1))
			disk.handle = j.file.handle
			j.file.handle = disk
			if err := j.Join(t.Context(), dead(2)); !errors.Is(err, engine.ErrUnavailable) || j.knows(dead(2)) {
				t.Errorf("Join = %v, known %v; want ErrUnavailable, unknown", err, j.knows(dead(2)))
			}
			join(t, j, dead(3)) // written anew, with a fresh handle
			kill(j)
			if j = open(t, path); !j.knows(dead(1)) || !j.knows(dead(3)) {
				t.Errorf("known = %+v, want the first and the third", j.All())
			}
		})
	}
}

// A file that can't be written anew is not written to: its name may be gone.
func TestJournalAfterAFailedRewrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "d")
	path := filepath.Join(folder, "endings")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	j := open(t, path)
	join(t, j, dead(1))
	if err := os.Mkdir(path+".new", 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	if err := j.file.rewrite(j.All()); err == nil {
		t.Fatal("rewrite = nil, want an error")
	}
	if err := j.Join(t.Context(), dead(2)); err == nil {
		t.Error("Join = nil while the file can't be written anew, want an error")
	}
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	join(t, j, dead(3))
	kill(j)
	if j = open(t, path); !j.knows(dead(1)) || !j.knows(dead(3)) {
		t.Errorf("known = %+v, want the first and the third", j.All())
	}
}

// The file does not grow for ever.
func TestJournalFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endings")
	j := open(t, path)
	join(t, j, dead(0))
	most := int64(0)
	for i := 1; i < 5000; i++ {
		if _, spared := j.file.handle.(unsynced); !spared { // written anew
			j.file.handle = unsynced{j.file.handle}
		}
		join(t, j, dead(i))
		for _, r := range everyone() {
			j.Confirm(dead(i), r)
		}
		if err := j.Sweep(t.Context(), everyone()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Size())
	}
	if bound := int64(wasteAfter+10) * 60; most > bound {
		t.Errorf("the file came to %d bytes, want at most %d", most, bound)
	}
	_ = j.Close()
	if j = open(t, path); j.Len() != 1 || !j.knows(dead(0)) {
		t.Errorf("known = %d endings, want the one that is not settled", j.Len())
	}
}

// Unsynced spares a test the disk's time.
type unsynced struct{ handle }

func (unsynced) Sync() error { return nil }

// Calls after Close and calls whose time is over are refused; so is a wait for
// a disk that hangs.
func TestJournalRefuses(t *testing.T) {
	j, err := New(west, Config{Clock: clock, Most: 1})
	if err != nil {
		t.Fatal(err)
	}
	join(t, j, dead(1))
	if err := j.Join(t.Context(), dead(2)); !errors.Is(err, engine.ErrFull) {
		t.Errorf("Join at the bound = %v, want ErrFull", err)
	}
	j.disk <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Join(ctx, dead(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Join while the disk hangs = %v, want the context's error", err)
	}
	<-j.disk
	_ = j.Close()
	if err := j.Join(t.Context(), dead(2)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Join after Close = %v, want ErrClosed", err)
	}
	if !j.knows(dead(1)) {
		t.Error("what was known before Close is not shown, and a read would miss it")
	}
	for _, c := range []Config{{Most: -1}, {Most: most + 1}} {
		if _, err := New(west, c); err == nil {
			t.Errorf("New(%+v) = nil, want an error", c)
		}
	}
	if _, err := New(0, Config{}); err == nil {
		t.Error("New(Region 0) = nil, want an error")
	}
}

// Revocations of one user at once are all known, each with a dot of its own.
func TestJournalConcurrently(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "endings"))
	j.file.handle = unsynced{j.file.handle}
	dots := make([]crdt.Dot, 16)
	var all sync.WaitGroup
	for i := range dots {
		all.Go(func() {
			dots[i], _ = j.End(context.Background(), crdt.UserKey("ann"), nil)
			_ = j.Join(context.Background(), dead(i))
			_ = j.knows(dead(i))
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for i, d := range dots {
		if !j.knows(crdt.EpochRecord(crdt.UserKey("ann"), d)) || !j.knows(dead(i)) || seen[fmt.Sprint(d)] {
			t.Errorf("dot %v is unknown, or was minted twice", d)
		}
		seen[fmt.Sprint(d)] = true
	}
}

// A file is opened, and says the same when it is opened again; or it is refused
// and left as it is.
func FuzzOpen(f *testing.F) {
	raw, _ := sample()
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Add(raw[:3])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "endings")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(west, path, Config{Clock: clock})
		if err != nil {
			left, _ := os.ReadFile(path)
			if !errors.Is(err, engine.ErrCorrupt) || !bytes.Equal(left, b) {
				t.Fatalf("Open = %v, file unchanged %v; want ErrCorrupt, true", err, bytes.Equal(left, b))
			}
			return
		}
		before := j.All()
		kill(j)
		after := open(t, path).All()
		if len(after) != len(before) {
			t.Fatalf("%d endings, then %d", len(before), len(after))
		}
	})
}
