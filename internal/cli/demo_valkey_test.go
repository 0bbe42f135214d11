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
	"testing"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/lab"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// needServers wants a server program, and a directory for what servers leave behind.
func needServers(t *testing.T) (temporary string) {
	t.Helper()
	if _, err := valkeyserver.Find(t.Context()); errors.Is(err, valkeyserver.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED on real servers; run ./scripts/install-test-deps.sh: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
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
	for _, topology := range []string{console.ActiveActive, console.ActivePassive} {
		t.Run(topology, func(t *testing.T) {
			if testing.Short() {
				t.Skip("NOT TESTED: a tour takes some 20 seconds, and -short was asked for")
			}
			var out, talk bytes.Buffer
			args := []string{"demo", "--tour", "--json", "--engine", lab.Valkey, "--topology", topology}
			code := Run(t.Context(), args, &out, &talk)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var last struct {
				Topology, Engine string
				Steps, Differs   int
			}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatalf("the last line %q is no JSON: %v; it said: %s", lines[len(lines)-1], err, &talk)
			}
			if code != exitOK || last.Differs != 0 || last.Topology != topology || last.Engine != lab.Valkey || last.Steps < 20 {
				t.Errorf("tour = %d and %+v, want %d, %s on %s, over 20 steps and none that differs; it said %q and printed:\n%s",
					code, last, exitOK, topology, lab.Valkey, &talk, &out)
			}
			if said := talk.String(); !strings.Contains(said, "-server)") || !strings.Contains(said, "temporary") {
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
