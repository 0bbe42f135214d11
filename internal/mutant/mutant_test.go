package mutant

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestWrite: every edit fits, and every source is Go with all of them in it.
func TestWrite(t *testing.T) {
	file, err := Write(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &overlay); err != nil {
		t.Fatal(err)
	}
	for _, m := range All() {
		for _, e := range m.Edits {
			abs, err := filepath.Abs(filepath.Join(root, e.File))
			if err != nil || overlay.Replace[abs] == "" {
				t.Errorf("%s: %s is not in the overlay: %v", m.Name, e.File, err)
			}
		}
	}
	for _, path := range overlay.Replace {
		if _, err := parser.ParseFile(token.NewFileSet(), path, nil, 0); err != nil {
			t.Error(err)
		}
	}
}

// TestTable: names are told apart, what is said of a mutant is there, and those
// it goes with exist.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All() {
		if seen[m.Name] || m.Name == "" || m.Rule == "" || m.What == "" || len(m.Edits) == 0 {
			t.Errorf("mutant %q, rule %q, what %q, %d edits: twice, or something is missing", m.Name, m.Rule, m.What, len(m.Edits))
		}
		seen[m.Name] = true
		for _, other := range m.With {
			if _, ok := Named(other); !ok || other == m.Name {
				t.Errorf("%s goes with %q, which is no other mutant", m.Name, other)
			}
		}
		if m.Seed == 0 {
			t.Errorf("%s: no seed is known to find it; make mutants MUTANTS=%s looks for one", m.Name, m.Name)
		}
		if !slices.ContainsFunc(m.Edits, func(e Edit) bool { return strings.Contains(e.New, "$on") }) {
			t.Errorf("%s never asks whether it is awake", m.Name)
		}
	}
	for name := range seeds() {
		if !seen[name] {
			t.Errorf("there is a seed for %q, which is no mutant", name)
		}
	}
}

func TestEditsThatDoNotFit(t *testing.T) {
	bad := []Mutant{
		{Name: "gone", Edits: one("crdt/record.go", "no such words", "")},
		{Name: "twice", Edits: one("crdt/record.go", "return a\n", "")},
	}
	_, _, err := edited(root, bad)
	if err == nil || !strings.Contains(err.Error(), "gone:") || !strings.Contains(err.Error(), "twice:") {
		t.Errorf("edits that do not fit: %v; want both named", err)
	}
}
