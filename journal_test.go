package roam_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// While no engine takes writes, logouts hold: they are refused at once, and by a
// Store that was opened anew on the journal's file. A login made since is not
// revoked by what it has seen.
func TestLogoutWhileNothingTakesWrites(t *testing.T) {
	synctest.Test(t, logoutWhileNothingTakesWrites)
}

func logoutWhileNothingTakesWrites(t *testing.T) {
	// A bubble begins in the year 2000, before the first stamp there is.
	time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	path := filepath.Join(t.TempDir(), "endings")
	mem, err := memory.New(1, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	a, closeAll := openJournaled(t, mem, path)
	alice, phone, bob := browser{}, browser{}, browser{}
	for b, user := range map[*browser]string{&alice: "alice", &phone: "alice", &bob: "bob"} {
		a.visit(*b, "/", a.login(t, user))
	}
	mem.SetPrimary(false)
	a.visit(bob, "/", logout(t))
	a.visit(alice, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
		told, err := a.store.RevokeUser(r.Context(), "alice")
		if err != nil || !told.Everywhere() || told.Untold != nil {
			t.Errorf("RevokeUser = %+v, %v; want everywhere", told, err)
		}
	})
	refused := func(a *app, when string) {
		t.Helper()
		for name, b := range map[string]browser{"alice": alice, "her phone": phone, "bob": bob} {
			if s, _ := a.look(b, "/"); s.User() != "" {
				t.Errorf("%s: %s is logged in as %q, want logged out", when, name, s.User())
			}
		}
	}
	refused(a, "at once")
	if n := a.store.PendingRevocations(); n != 2 {
		t.Errorf("PendingRevocations = %d, want 2", n)
	}
	closeAll()
	a, _ = openJournaled(t, mem, path)
	refused(a, "after a restart")
	mem.SetPrimary(true)
	time.Sleep(time.Second)
	if n := a.store.PendingRevocations(); n != 0 {
		t.Errorf("PendingRevocations = %d once the engine takes writes, want 0", n)
	}
	refused(a, "once the engine has it")
	a.visit(alice, "/", a.login(t, "alice"))
	if s, _ := a.look(alice, "/"); s.User() != "alice" {
		t.Errorf("after a new login: %q, want alice", s.User())
	}
}

// openJournaled opens an app on an engine and a journal's file.
func openJournaled(t *testing.T, e engine.Engine, path string) (*app, func()) {
	t.Helper()
	j, err := roam.OpenJournal(1, path, nil)
	if err != nil {
		t.Fatalf("OpenJournal: %v", err)
	}
	a := &app{engine: &probe{Engine: e}}
	a.store, err = roam.Open(t.Context(), roam.Config{
		Here:        roam.Region{ID: 1, Name: "here", Engine: a.engine, Journal: j},
		WriteBudget: 400 * time.Millisecond,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	closeAll := func() { _, _ = a.store.Close(), j.Close() }
	t.Cleanup(closeAll)
	a.sessions = a.manager(t, testKey("first"), a.options())
	return a, closeAll
}

// A file is opened, or refused and left as it is.
func FuzzOpenJournal(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("roamjnl\x01"))
	f.Add([]byte("roamjnl\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "endings")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := roam.OpenJournal(1, path, nil)
		if err == nil {
			_ = j.Close()
			return
		}
		left, _ := os.ReadFile(path)
		if !errors.Is(err, engine.ErrCorrupt) || !bytes.Equal(left, b) {
			t.Errorf("OpenJournal = %v, file unchanged %v; want ErrCorrupt, true", err, bytes.Equal(left, b))
		}
	})
}
