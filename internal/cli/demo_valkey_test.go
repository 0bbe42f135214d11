//go:build integration

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/lab"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// haveServers wants a server program.
func haveServers(t *testing.T) {
	t.Helper()
	if _, err := valkeyserver.Find(t.Context()); errors.Is(err, valkeyserver.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED on real servers; run ./scripts/install-test-deps.sh: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// needServers wants that, and a directory for what servers leave behind.
func needServers(t *testing.T) (temporary string) {
	t.Helper()
	haveServers(t)
	temporary = t.TempDir()
	t.Setenv("TMPDIR", temporary)
	return temporary
}

func wantNothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("the servers left %q, %v", left, err)
	}
}

// What the tour expects of engines in one process it sees on real servers.
func TestTourOnServersSeesWhatItExpects(t *testing.T) {
	dir := needServers(t)
	t.Cleanup(func() { wantNothingLeft(t, dir) })
	if testing.Short() {
		t.Skip("NOT TESTED: tours take some 50 seconds, and -short was asked for")
	}
	type tour struct {
		topology  string
		steps     int
		code      int
		out, talk bytes.Buffer
	}
	tours := []*tour{{topology: console.ActiveActive, steps: 43}, {topology: console.ActivePassive, steps: 55}}
	var walking sync.WaitGroup
	for _, w := range tours { // they mostly wait
		args := []string{"demo", "--tour", "--json", "--engine", lab.Valkey, "--topology", w.topology}
		walking.Go(func() { w.code = Run(t.Context(), args, &w.out, &w.talk) })
	}
	walking.Wait()
	for _, w := range tours {
		t.Run(w.topology, func(t *testing.T) {
			lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
			var last struct {
				Topology, Engine string
				Steps, Differs   int
			}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatalf("the last line %q is no JSON: %v; it said: %s", lines[len(lines)-1], err, &w.talk)
			}
			if w.code != exitOK || last.Differs != 0 || last.Topology != w.topology || last.Engine != lab.Valkey || last.Steps != w.steps {
				t.Errorf("tour = %d and %+v, want %d, %s on %s, %d steps and none that differs; it said %q and printed:\n%s",
					w.code, last, exitOK, w.topology, lab.Valkey, w.steps, &w.talk, &w.out)
			}
			if said := w.talk.String(); !strings.Contains(said, "-server)") || !strings.Contains(said, "temporary") {
				t.Errorf("the tour said %q, want which program it runs, and that all is temporary", said)
			}
		})
	}
}

// The demo opens no port beyond loopback for its proxies; its servers are told to
// listen there alone too.
func TestDemoOnServersListensOnLoopbackAlone(t *testing.T) {
	dir := needServers(t)
	before := listening(t)
	demo := start(t, "--engine", lab.Valkey)
	opened := 0
	for _, addr := range listening(t) {
		if slices.Contains(before, addr) {
			continue
		}
		opened++
		if host, _, err := net.SplitHostPort(addr); err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("the demo listens on %s, want loopback alone", addr)
		}
	}
	if opened <= 2 {
		t.Errorf("the demo opened %d ports, want those of proxies beside shop and console", opened)
	}
	demo.end(t)
	wantNothingLeft(t, dir)
}
