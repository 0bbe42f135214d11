package house

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite api.txt from the source")

// finding is one thing that breaks a rule.
type finding struct {
	key string // what debts.txt calls it: a name that stays when lines move
	at  string // where it is, for the one who mends it
	do  string // what is wrong and what to do
}

// rule is one rule of this repository.
type rule struct {
	name  string // its number in CONTRIBUTING.md and debts.txt, or a word
	title string // its one sentence
	check func(*repo) []finding
}

// rules lists them all, in the order of CONTRIBUTING.md.
func rules() []rule {
	return []rule{
		{"1", "a room has one comment, in doc.go, that tells its one job", checkDoc},
		{"2", "arrows.txt draws every import", checkArrows},
		{"2-bans", "some arrows must never be drawn", checkBans},
		{"4", "files, functions and branches have a bound", checkSize},
		{"11", "an exported interface has at most 4 methods", checkInterfaces},
		{"15", "no init, and no package variable that changes", checkGlobals},
		{"18", "panic is for a broken invariant", checkPanics},
		{"20", "context comes from the caller and is not stored", checkContexts},
		{"21", "pure rooms have no clock, dice, sockets or goroutines", checkPure},
		{"25", "everything exported has a comment", checkComments},
		{"32", "tests don't sleep", checkSleeps},
		{"35", "what parses bytes from outside is fuzzed", checkFuzz},
		{"37", "api.txt holds what the public packages promise", checkAPI},
		{"38", "a decision stands behind each dependency", checkDecisions},
		{"paths", "no file names a path of somebody's machine", checkPaths},
		{"links", "links between our pages lead somewhere", checkLinks},
		{"targets", "every make target that a page names exists", checkTargets},
	}
}

func TestRules(t *testing.T) {
	r, err := here()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := writeAPI(r); err != nil {
			t.Fatal(err)
		}
	}
	excused := debts(r.text(home + "/debts.txt"))
	used, ran := map[debt]bool{}, map[string]bool{}
	for _, ru := range rules() {
		t.Run(ru.name, func(t *testing.T) {
			ran[ru.name] = true
			var broken strings.Builder
			for _, f := range ru.check(r) {
				d := debt{ru.name, f.key}
				if _, ok := excused[d]; ok {
					used[d] = true
					continue
				}
				fmt.Fprintf(&broken, "\n%s: %s\n    (name: %s)", f.at, f.do, f.key)
			}
			if broken.Len() > 0 {
				t.Errorf("rule %s: %s%s\nMend it, or owe it with a line in %s/debts.txt: %s<TAB>name<TAB>reason",
					ru.name, ru.title, broken.String(), home, ru.name)
			}
		})
	}
	for d := range excused { // -run may have left rules out: their debts are not judged
		skipped := slices.ContainsFunc(rules(), func(ru rule) bool { return ru.name == d.rule && !ran[ru.name] })
		used[d] = used[d] || skipped
	}
	for _, f := range checkDebts(excused, used) {
		t.Errorf("rule 40 (debts only shrink)\n%s: %s", f.at, f.do)
	}
}

// debt names one excused finding.
type debt struct{ rule, key string }

// debts reads debts.txt: rule, key and reason, with tabs between.
func debts(text string) map[debt]string {
	m := map[debt]string{}
	for _, line := range lines(text) {
		parts := strings.SplitN(line, "\t", 3)
		for len(parts) < 3 {
			parts = append(parts, "")
		}
		m[debt{parts[0], parts[1]}] = strings.TrimSpace(parts[2])
	}
	return m
}

// checkDebts reports lines that excuse nothing or give no reason.
func checkDebts(excused map[debt]string, used map[debt]bool) []finding {
	var out []finding
	for d, reason := range excused {
		f := finding{key: d.rule + " " + d.key, at: home + "/debts.txt"}
		switch {
		case reason == "":
			f.do = fmt.Sprintf("%q of rule %q has no reason: write rule<TAB>name<TAB>reason", d.key, d.rule)
		case !used[d]:
			f.do = fmt.Sprintf("%q no longer breaks rule %q: remove the line", d.key, d.rule)
		default:
			continue
		}
		out = append(out, f)
	}
	return sorted(out)
}

// TestRulesFail holds each rule to a tree it must accept and one it must report:
// a rule that cannot fail holds nothing.
func TestRulesFail(t *testing.T) {
	for _, ru := range rules() {
		t.Run(ru.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "rule-"+ru.name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			files := untar(string(raw))
			if got := keys(ru.check(plant(t, files, "good/"))); len(got) > 0 {
				t.Errorf("good tree: reported %q, want nothing", got)
			}
			got, want := keys(ru.check(plant(t, files, "bad/"))), lines(files["want"])
			if len(want) == 0 || !slices.Equal(got, want) {
				t.Errorf("bad tree: reported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestDebtsFail(t *testing.T) {
	excused := debts("# a comment\n4\ta.go\tlong table\n4\tb.go\tpaid since\n15\tx.y\n")
	used := map[debt]bool{{"4", "a.go"}: true, {"15", "x.y"}: true}
	got, want := keys(checkDebts(excused, used)), []string{"15 x.y", "4 b.go"}
	if !slices.Equal(got, want) {
		t.Errorf("checkDebts = %q, want %q", got, want)
	}
}

// plant writes the files below prefix into a directory and loads it.
func plant(t *testing.T, files map[string]string, prefix string) *repo {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/fix\n\ngo 1.26\n")
	for name, text := range files {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			write(rest, text)
		}
	}
	r, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// untar splits a text into its files, each headed by a line `-- name --`. In
// them, ~ at the start of a line is dropped, so that a file can hold such a line.
func untar(text string) map[string]string {
	files, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		head := strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(head, "-- "); ok && strings.HasSuffix(rest, " --") {
			name = strings.TrimSuffix(rest, " --")
			files[name] = ""
			continue
		}
		files[name] += strings.TrimPrefix(line, "~")
	}
	delete(files, "") // what stands above the first file is a comment
	return files
}

// lines are the lines of a text that are not empty and not a comment.
func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// keys are the findings' keys, sorted.
func keys(fs []finding) []string {
	var out []string
	for _, f := range sorted(fs) {
		out = append(out, f.key)
	}
	return out
}

// sorted puts findings in the order of their keys.
func sorted(fs []finding) []finding {
	slices.SortFunc(fs, func(a, b finding) int { return strings.Compare(a.key, b.key) })
	return fs
}
