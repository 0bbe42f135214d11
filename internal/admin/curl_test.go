package admin

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/ledger"
)

// TestPagesByCurl runs what the pages say, with the shell and curl that readers have.
func TestPagesByCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no curl, and in CI there must be")
		}
		t.Skip("there is no curl")
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```")
	for _, page := range []string{"../../docs/api.md", "../../docs/events.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		m := founded(t)
		m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "off"}})
		s := serve(t, m, nil)
		dir := t.TempDir() // with a folder of certificates, as readers have
		secured := secure(t, filepath.Join(dir, "pki"), m)
		issue(t, filepath.Join(dir, "pki"), "alice", "viewer")
		n := 0
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			n++
			// Each command is to succeed, and to say what a script can read.
			script := "set -eu\n" + strings.ReplaceAll(block[1], "curl -s", "curl --fail-with-body -s")
			url := s.url
			if strings.Contains(script, "--cert") {
				url = secured.URL
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "ROAM="+url, "VIEWER="+viewerToken, "OPERATOR="+operatorToken, "DIR="+t.TempDir(), "NO_PROXY=*")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s%s", page, err, script, out)
			}
			if len(out) == 0 {
				t.Errorf("%s: nothing is answered to\n%s", page, script)
			}
		}
		if n == 0 {
			t.Errorf("%s has no commands", page)
		}
		if page == "../../docs/api.md" {
			if state, _ := m.State(); state.Lease.Wish != "us-west-2" || state.Mode != "advise" {
				t.Errorf("%s: the commands have led to %+v", page, state.Lease)
			}
		}
	}
}

// Every kind of problem has its line, with its status.
func TestKindsStandInThePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d+) \\|").FindAllStringSubmatch(string(text), -1)
	if len(lines) != 22 {
		t.Errorf("%d kinds in the page, want 22", len(lines))
	}
	for _, l := range lines {
		var status int
		if err := json.Unmarshal([]byte(l[2]), &status); err != nil || sortOf(Kind(l[1])).status != status {
			t.Errorf("%s has status %s in the page, want %d", l[1], l[2], sortOf(Kind(l[1])).status)
		}
	}
}
