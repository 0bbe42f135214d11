//go:build integration

package valkeytest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// A Server is a server process on loopback that ends with its test. Its methods end
// the test where they fail.
type Server struct {
	// Addr is host:port.
	Addr string

	t      testing.TB
	server *valkeyserver.Server
}

// Start starts a server that keeps nothing on disk, with args as on its command line:
// Valkey, or Redis where there is none. Without any, the test fails where CI=true, and is
// skipped elsewhere.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return begin(t, valkeyserver.Find, valkeyserver.Config{Args: args})
}

// StartRedis starts a Redis server as Start does.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return begin(t, valkeyserver.FindRedis, valkeyserver.Config{Args: args})
}

func begin(t testing.TB, find func(context.Context) (valkeyserver.Program, error), c valkeyserver.Config) *Server {
	t.Helper()
	p, err := find(t.Context())
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("run ./scripts/install-test-deps.sh: %v", err)
	case err != nil:
		t.Skipf("NOT TESTED on a real server; run ./scripts/install-test-deps.sh: %v", err)
	}
	c.Args = append([]string{"--maxmemory", "0"}, c.Args...) // a test that fills it says so
	s, err := valkeyserver.Start(t.Context(), p, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &Server{Addr: s.Addr(), t: t, server: s}
}

// Kill ends the process at once, as a crash does. Killing again does nothing.
func (s *Server) Kill() { s.server.Kill() }

// Restart starts the server again after Kill, at the same address and empty.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.server.Restart(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Port returns the port of Addr.
func (s *Server) Port() string { return s.server.Port() }

// Do sends a command on a connection of its own and returns the reply: of a string its
// text, of a number its digits. An error ends the test.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	reply, err := s.server.Do(s.t.Context(), args...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// InStep waits until a replica has what its primary is told. One that says that its link is up
// may hear nothing for another second: its primary tells it nothing before it has heard of it
// once more, and did not listen yet when it first said that it has all.
func InStep(t testing.TB, primary, replica *Server) {
	t.Helper()
	const key, patience = "valkeytest:step", 30 * time.Second
	begun := time.Now()
	wait := func(is func() bool) {
		for ; !is(); time.Sleep(5 * time.Millisecond) {
			if time.Since(begun) > patience {
				t.Fatalf("after %v the replica is not in step: %s", patience, replica.Do("INFO", "replication"))
			}
		}
	}
	wait(func() bool { return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up") })
	primary.Do("SET", key, "1") // after all that it was given when it came
	wait(func() bool { return replica.Do("EXISTS", key) == "1" })
	primary.Do("DEL", key)
}
