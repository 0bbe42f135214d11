package simcli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func run(t *testing.T, args ...string) (code int, out, talk string) {
	t.Helper()
	var o, k bytes.Buffer
	code = Main(t.Context(), args, &o, &k)
	return code, o.String(), k.String()
}

// The last line is for scripts, and the same for the same seeds.
func TestLastLine(t *testing.T) {
	code, out, talk := run(t, "--seeds", "2", "--start", "5", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if !regexp.MustCompile(`^seeds=2 virtual_hours=0\.6 violations=0 trace=[0-9a-f]{16}$`).MatchString(last) || code != 0 {
		t.Errorf("exit %d, last line %q, want 0 and a summary of 2 seeds", code, last)
	}
	if !strings.Contains(talk, "seeds a second") {
		t.Errorf("told %q, want how fast it was", talk)
	}
	var sum struct {
		Seeds  int
		Trace  string
		Failed []any
	}
	if err := json.Unmarshal([]byte(strings.Join(lines[:len(lines)-1], "\n")), &sum); err != nil || sum.Seeds != 2 || !strings.HasSuffix(last, sum.Trace) {
		t.Errorf("JSON = %+v, %v, want what the last line says", sum, err)
	}
}

// One seed tells its story.
func TestOneSeed(t *testing.T) {
	code, out, _ := run(t, "--seed", "5")
	for _, want := range []string{"seed 5 breaks 0 times", "the story, ", "browser 0 in Region", "link up", "seeds=1 "} {
		if !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in %d bytes of story", code, want, len(out))
		}
	}
}

func TestAskedWrongly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--regions", "2"}, "want 3 to 5"},
		{[]string{"--seeds", "0"}, "want one at least"},
		{[]string{"--start", "0"}, "numbered from 1"},
		{[]string{"--workers", "-1"}, "want 0 or more"},
		{[]string{"--failures", "0"}, "want 1 or more"},
		{[]string{"nothing"}, "unknown command"},
		{[]string{"mutants", "nobody"}, `no mutant "nobody"`},
		{[]string{"overlay"}, "accepts 1 arg"},
	} {
		if code, _, talk := run(t, c.args...); code != 2 || !strings.Contains(talk, c.want) {
			t.Errorf("%v: exit %d, %q; want 2 and %q", c.args, code, talk, c.want)
		}
	}
	t.Setenv("ROAM_MUTANT", "no-gap,nobody")
	if code, _, talk := run(t, "--seeds", "1"); code != 2 || !strings.Contains(talk, `no mutant "nobody"`) {
		t.Errorf("with a mutant that there is not: exit %d, %q; want 2", code, talk)
	}
}

func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	code, out, talk := run(t, "overlay", dir, "--root", "../..")
	if want := filepath.Join(dir, "overlay.json"); code != 0 || strings.TrimSpace(out) != want {
		t.Errorf("exit %d, %q, %q; want 0 and %s", code, out, talk, want)
	}
}
