package mutant

import (
	"encoding/json"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Switch is the environment variable that wakes mutants, by name; several have
// commas between them.
const Switch = "ROAM_MUTANT"

// A Mutant is one rule taken out.
type Mutant struct {
	Name string
	// Rule is what docs/invariants.md calls it.
	Rule string
	// What is what the code does instead, in a few words.
	What string
	// With are other mutants that must be awake too: what they take out is a
	// second defence that would hide this one. They alone must not be found where
	// this one is.
	With  []string
	Edits []Edit
	// Of is the simulation that is to find it: Control, or empty, that of sessions.
	Of string
	// Seed is the first seed of the simulator that was seen to find it; the hunt
	// begins there. All sets it. Zero: none is known.
	Seed uint64
}

// An Edit replaces Old, which stands once in File, by New. In New, $on is whether
// the mutant is awake.
type Edit struct {
	File     string // from the top of the module
	Old, New string
}

// Awake returns the value of Switch for m and those with it.
func (m Mutant) Awake() string { return strings.Join(append([]string{m.Name}, m.With...), ",") }

// variable returns the name of the variable that says whether m is awake.
func (m Mutant) variable() string {
	words := strings.Split("mutant-"+m.Name, "-")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// Write writes an overlay with all mutants into dir, for the module at root, and
// returns the path of the file that go build -overlay takes. It fails, naming each
// of them, if mutants no longer fit the source.
func Write(root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	sources, variables, err := edited(root, All())
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	put := func(file string, text string) error {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "__"))
		replace[filepath.Join(root, filepath.FromSlash(file))] = path
		return os.WriteFile(path, []byte(text), 0o600)
	}
	for file, text := range sources {
		if err := put(file, text); err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
	}
	for room, names := range variables {
		text, err := switches(root, room, names)
		if err == nil {
			err = put(room+"/mutants_overlay.go", text)
		}
		if err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
	}
	b, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	out := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(out, b, 0o600); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return out, nil
}

// edited returns the sources with all mutants in them, by file, and the names of
// the mutants in each room.
func edited(root string, mutants []Mutant) (sources map[string]string, rooms map[string][]Mutant, err error) {
	sources, rooms = map[string]string{}, map[string][]Mutant{}
	var bad []string
	for _, m := range mutants {
		for _, e := range m.Edits {
			text, ok := sources[e.File]
			if !ok {
				b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File))) //nolint:gosec // of the list
				if err != nil {
					return nil, nil, fmt.Errorf("read what mutant %s changes: %w", m.Name, err)
				}
				text = string(b)
			}
			if n := strings.Count(text, e.Old); n != 1 {
				bad = append(bad, fmt.Sprintf("%s: %q stands %d times in %s, want once", m.Name, e.Old, n, e.File))
				continue
			}
			sources[e.File] = strings.Replace(text, e.Old, strings.ReplaceAll(e.New, "$on", m.variable()), 1)
			room := e.File[:strings.LastIndex(e.File, "/")]
			if !slices.ContainsFunc(rooms[room], func(o Mutant) bool { return o.Name == m.Name }) {
				rooms[room] = append(rooms[room], m)
			}
		}
	}
	if len(bad) > 0 {
		return nil, nil, fmt.Errorf("mutants that no longer fit the source:\n%s", strings.Join(bad, "\n"))
	}
	return sources, rooms, nil
}

// switches returns a source file for a room that says which mutants are awake.
func switches(root, room string, mutants []Mutant) (string, error) {
	pkg, err := build.ImportDir(filepath.Join(root, filepath.FromSlash(room)), 0)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\nimport (\n\t\"os\"\n\t\"slices\"\n\t\"strings\"\n)\n\n", pkg.Name)
	fmt.Fprintf(&b, "var mutantsAwake = strings.Split(os.Getenv(%q), \",\")\n\nvar (\n", Switch)
	for _, m := range mutants {
		fmt.Fprintf(&b, "\t%s = slices.Contains(mutantsAwake, %q)\n", m.variable(), m.Name)
	}
	b.WriteString(")\n")
	return b.String(), nil
}
