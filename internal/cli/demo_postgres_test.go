//go:build integration

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/lab"
	"github.com/roam-sessions/roam/internal/postgresserver"
)

// The tour sees on databases what it sees elsewhere, and leaves nothing behind.
func TestTourOnDatabases(t *testing.T) {
	if _, err := postgresserver.Find(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("run ./scripts/install-test-deps.sh: %v", err)
		}
		t.Skipf("NOT TESTED on real databases; run ./scripts/install-test-deps.sh: %v", err)
	}
	if testing.Short() {
		t.Skip("NOT TESTED: the tour takes some 50 seconds, and -short was asked for")
	}
	dir, err := os.MkdirTemp("", "roam-tour-") // not t.TempDir: another user has to get in
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // as above
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	var out, talk bytes.Buffer
	code := Run(t.Context(), []string{"demo", "--tour", "--json", "--engine", lab.Postgres}, &out, &talk)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var last struct {
		Topology, Engine string
		Steps, Differs   int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("the last line %q is no JSON: %v; it said: %s", lines[len(lines)-1], err, &talk)
	}
	if code != exitOK || last.Differs != 0 || last.Engine != lab.Postgres || last.Steps != 43 {
		t.Errorf("tour = %d and %+v, want %d, 43 steps and none that differs; it said %q and printed:\n%s", code, last, exitOK, &talk, &out)
	}
	if said := talk.String(); !strings.Contains(said, "PostgreSQL ") || !strings.Contains(said, "temporary") {
		t.Errorf("the tour said %q, want which program it runs, and that all is temporary", said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the tour left %v, %v; want nothing", left, err)
	}
}
