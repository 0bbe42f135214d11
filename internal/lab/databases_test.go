//go:build integration

package lab

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/postgresserver"
)

// newDatabaseLab returns a lab on real databases. It wants none to be there in the end.
func newDatabaseLab(t *testing.T) (*Lab, *databases) {
	t.Helper()
	l, err := New(t.Context(), Config{Engine: Postgres})
	if errors.Is(err, postgresserver.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED on real databases; run ./scripts/install-test-deps.sh: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, ok := l.deployment().keeper.(*databases)
	if !ok {
		t.Fatalf("the lab keeps records in %T, want databases", l.deployment().keeper)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		for r, d := range b.servers {
			if conn, err := net.Dial("tcp", d.server.Addr()); err == nil {
				_ = conn.Close()
				t.Errorf("closed, the database of %s is there", r.name)
			}
		}
	})
	return l, b
}

// A Region of a demo that is killed comes back with what its database had, and the state
// tells what is in it.
func TestRegionComesBackWithItsDatabase(t *testing.T) {
	l, b := newDatabaseLab(t)
	if said := l.Servers(); !strings.Contains(said, "PostgreSQL ") {
		t.Errorf("Servers = %q, want which program that is", said)
	}
	first := l.deployment().regions[0]
	alive := func(is bool) {
		t.Helper()
		if err := l.Do(t.Context(), console.Action{Kind: console.ActRegion, Region: first.name, Alive: &is}); err != nil {
			t.Fatalf("alive %t = %v", is, err)
		}
	}
	alive(false)
	if conn, err := net.Dial("tcp", b.servers[first].server.Addr()); err == nil {
		_ = conn.Close()
		t.Error("the database of a Region that was killed is there")
	}
	alive(true)
	if k, err := b.servers[first].count(t.Context()); err != nil {
		t.Errorf("count of a database that came back = %+v, %v", k, err)
	}
	if err := l.Do(t.Context(), console.Action{Kind: console.ActTopology, Topology: console.ActivePassive}); !errors.As(err, new(*console.Refusal)) {
		t.Errorf("starting over as active-passive = %v, want a Refusal", err)
	}
}
