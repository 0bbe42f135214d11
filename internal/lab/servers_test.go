//go:build integration

package lab

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// newServerLab returns a lab on real servers, and its servers. It wants none to be there
// in the end, and TestMain nothing to be left of them.
func newServerLab(t *testing.T, topology string) (*Lab, *servers) {
	t.Helper()
	l, err := New(t.Context(), Config{Topology: topology, Engine: Valkey})
	if errors.Is(err, valkeyserver.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED on real servers; run ./scripts/install-test-deps.sh: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids := serversOf(t, l).pids()
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		for _, pid := range pids {
			if there(pid) {
				t.Errorf("closed, server %d is there", pid)
			}
		}
	})
	return l, serversOf(t, l)
}

func serversOf(t *testing.T, l *Lab) *servers {
	t.Helper()
	s, ok := l.deployment().keeper.(*servers)
	if !ok {
		t.Fatalf("the lab keeps records in %T, want servers", l.deployment().keeper)
	}
	return s
}

func (s *servers) pids() (out []int) {
	for _, m := range s.machines {
		out = append(out, m.main.Pid(), m.side.Pid())
	}
	return out
}

func there(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// eventually waits until something is as it should be.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	const patience = 45 * time.Second // other tests may have the machine
	for begun := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("after %v: %s", patience, what)
		}
	}
}

func (s *servers) of(name string) *machine { return s.machines[s.deployment.region(name)] }

func wasTold(t *testing.T, l *Lab, text string) bool {
	t.Helper()
	events, err := l.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

// killWest kills a Region that alice logged into, and returns the processes that its
// servers were.
func killWest(t *testing.T, l *Lab, s *servers, v *visitor) (before console.Region, dead []int) {
	t.Helper()
	v.login(t, west1, "alice")
	for i := range places() {
		eventually(t, "a Region shows other than alice and her session", func() bool { return l.State().Regions[i].Records == 2 })
	}
	before, m := l.State().Regions[0], s.of(west1)
	dead = []int{m.main.Pid(), m.side.Pid()}
	kill := console.Action{Kind: console.ActRegion, Region: west1, Alive: new(false)}
	must(t, l, kill)
	must(t, l, kill) // it is
	return before, dead
}

// A Region that is killed loses its servers, and no other does.
func TestServersDie(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActiveActive)
	v := newVisitor(l)
	before, dead := killWest(t, l, s, v)
	if before.Bytes == 0 || before.LogEntries == 0 {
		t.Errorf("%s shows %d bytes and %d entries of its log, want some", west1, before.Bytes, before.LogEntries)
	}
	for _, pid := range s.pids() {
		if killed := slices.Contains(dead, pid); killed == there(pid) {
			t.Errorf("%s killed: server %d is there: %v, want %v", west1, pid, !killed, killed)
		}
	}
	state := l.State()
	if got := state.Regions[0]; got.Alive || got.Records != before.Records || !state.Regions[1].Alive {
		t.Errorf("%s killed: the console shows %+v, want it dead, as it was when it died", west1, got)
	}
	if got := v.look(t, west1); got.Region != west2 || got.User != "alice" {
		t.Errorf("asked for the dead %s: %s shows %q, want %s and alice", west1, got.Region, got.who(), west2)
	}
}

// A Region that is revived has empty servers, which its peers fill; the console tells.
func TestServersRevive(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActiveActive)
	v := newVisitor(l)
	addr := s.of(west1).main.Addr()
	_, dead := killWest(t, l, s, v)
	v.ask(t, http.MethodPost, west2, "/cart/add", url.Values{"item": {"lamp"}})

	must(t, l, console.Action{Kind: console.ActRegion, Region: west1, Alive: new(true)})
	if m := s.of(west1); m.main.Addr() != addr || m.main.Pid() == dead[0] || !wasTold(t, l, "with empty servers") {
		t.Errorf("revived at %s, process %d, want %s, another and that it is told", m.main.Addr(), m.main.Pid(), addr)
	}
	eventually(t, "peers have not given back what they had", func() bool { return wasTold(t, l, "has been given back") })
	r, err := s.deployment.region(west1).process().engines.main.Read(t.Context(), crdt.UserKey("alice"), crdt.Token{})
	if err != nil || r.IsBottom() {
		t.Errorf("refilled, alice in %s = %+v, %v, want her", west1, r, err)
	}
	if got := v.look(t, west1); got.Region != west1 || got.User != "alice" || len(got.Cart) != 1 {
		t.Errorf("refilled, %s shows %q, %s, want alice and her lamp", got.Region, got.who(), got.cart())
	}
}

// What crosses Regions is as late as the link and is cut with it; what does not is not.
func TestServersAreApart(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActiveActive)
	k := crdt.UserKey("nobody")
	read := func(e engine.Engine) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := e.Read(ctx, k, crdt.Token{})
		return time.Since(begun), err
	}
	from, to := s.deployment.region(west2), s.deployment.region(europe)
	far, side := s.seen(from, to)
	for _, e := range []engine.Engine{far, side} {
		if took, err := read(e); err != nil || took < 2*distance(west2, europe) {
			t.Errorf("a read from %s in %s took %v, %v, want a round trip", west2, europe, took, err)
		}
	}
	for _, cut := range [][2]string{{west2, europe}, {europe, west2}} {
		link := console.Action{Kind: console.ActLink, From: cut[0], To: cut[1], Plane: console.PlaneCalls, Cut: new(true)}
		must(t, l, link)
		for _, e := range []engine.Engine{far, side} {
			if _, err := read(e); !errors.Is(err, engine.ErrUnavailable) && !errors.Is(err, engine.ErrUnreachable) {
				t.Errorf("calls from %s to %s cut, a read: %v, want no answer", cut[0], cut[1], err)
			}
		}
		back, _ := s.seen(to, s.deployment.region(west1))
		if _, err := read(back); err != nil {
			t.Errorf("calls from %s to %s cut, another link: %v", cut[0], cut[1], err)
		}
		if _, err := read(from.process().engines.main); err != nil {
			t.Errorf("calls from %s to %s cut, its own server: %v", cut[0], cut[1], err)
		}
		*link.Cut = false
		must(t, l, link)
		eventually(t, "the link is healed and nothing passes", func() bool { _, err := read(far); return err == nil })
	}
}

// The topology can be changed, and the servers with it.
func TestServersStartOver(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActiveActive)
	old := s.pids()
	v := newVisitor(l)
	v.login(t, west1, "alice")
	must(t, l, console.Action{Kind: console.ActTopology, Topology: console.ActivePassive})
	must(t, l, console.Action{Kind: console.ActTopology, Topology: console.ActiveActive})
	for _, pid := range old {
		if there(pid) {
			t.Errorf("started over, server %d is there", pid)
		}
	}
	if got := v.look(t, west1); got.User != "" {
		t.Errorf("started over, %s shows %s, want nobody", west1, got.User)
	}
	v.login(t, europe, "alice")
	if got := v.look(t, west2); got.User != "alice" {
		t.Errorf("after a new login %s shows %q, want alice", west2, got.who())
	}
}

// A server that nobody can start leaves nothing of the others.
func TestServersThatFailToStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	broken := "#!/bin/sh\ncase $1 in --version) echo 'Valkey server v=9.9.9';; *) echo 'no luck today'; exit 1;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "valkey-server"), []byte(broken), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if l, err := New(t.Context(), Config{Engine: Valkey}); err == nil || l != nil || !strings.Contains(err.Error(), "no luck today") {
		t.Errorf("New = %v, %v, want no lab and what the server said", l, err)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}
