package house

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// arrows is arrows.txt: what each room imports.
type arrows struct {
	rooms map[string]arrow
	tests []string // modules that only tests may import
}

// arrow is what one room imports: our rooms, and modules of others.
type arrow struct{ deps, mods []string }

// testsLine heads the line of arrows.txt with what tests alone may import.
const testsLine = "tests"

// readArrows parses arrows.txt: `room: dep dep | module module`.
func readArrows(text string) arrows {
	a := arrows{rooms: map[string]arrow{}}
	for _, line := range lines(text) {
		room, rest, _ := strings.Cut(line, ":")
		deps, mods, _ := strings.Cut(rest, "|")
		if room == testsLine {
			a.tests = strings.Fields(mods)
			continue
		}
		a.rooms[room] = arrow{strings.Fields(deps), strings.Fields(mods)}
	}
	return a
}

// modules are all the modules that the file names, sorted.
func (a arrows) modules() []string {
	all := slices.Clone(a.tests)
	for _, ar := range a.rooms {
		all = append(all, ar.mods...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// line prints the arrow as arrows.txt wants it.
func (ar arrow) line(room string) string {
	s := strings.TrimSpace(room + ": " + strings.Join(ar.deps, " "))
	if len(ar.mods) > 0 {
		s += " | " + strings.Join(ar.mods, " ")
	}
	return s
}

// checkArrows is rule 2: what is declared is what is imported, both ways.
func checkArrows(r *repo) []finding {
	var out []finding
	declared := readArrows(r.text(home + "/arrows.txt"))
	actual := r.arrows()
	for _, room := range slices.Sorted(maps.Keys(actual)) {
		want := actual[room]
		have, ok := declared.rooms[room]
		if !ok {
			out = append(out, finding{room, room, fmt.Sprintf("the room is not drawn: add this line to %s/arrows.txt\n\t%s", home, want.line(room))})
			continue
		}
		more := append(minus(want.deps, have.deps), minus(want.mods, have.mods)...)
		less := append(minus(have.deps, want.deps), minus(have.mods, want.mods)...)
		if len(more)+len(less) > 0 {
			out = append(out, finding{room, room, fmt.Sprintf(
				"arrows.txt lacks %q and draws %q in vain; if the imports are right, its line is\n\t%s", more, less, want.line(room))})
		}
	}
	for room := range declared.rooms {
		if _, ok := actual[room]; !ok {
			out = append(out, finding{room, home + "/arrows.txt", "there is no such room: remove its line"})
		}
	}
	return sorted(append(out, r.testImports(declared)...))
}

// testImports finds modules that tests import and nobody declared. The tests
// line is a ceiling: what it admits need not be used yet.
func (r *repo) testImports(declared arrows) []finding {
	var out []finding
	seen := map[string]bool{}
	for _, f := range r.files {
		if !f.test {
			continue
		}
		for _, spec := range f.ast.Imports {
			mod := r.moduleOf(importOf(spec))
			ok := mod == "" || slices.Contains(declared.tests, mod) || slices.Contains(declared.rooms[f.room].mods, mod)
			if ok || seen[mod] {
				continue
			}
			seen[mod] = true
			out = append(out, finding{testsLine + " " + mod, r.at(spec), fmt.Sprintf(
				"only a test imports it: add it to this line of %s/arrows.txt, with a decision\n\t%s",
				home, arrow{nil, append(slices.Clone(declared.tests), mod)}.line(testsLine))})
		}
	}
	return out
}

// arrows are what each room imports outside its tests.
func (r *repo) arrows() map[string]arrow {
	all := map[string]arrow{}
	for room, files := range r.rooms {
		var ar arrow
		code := false
		for _, f := range files {
			if f.test {
				continue
			}
			code = true
			for _, spec := range f.ast.Imports {
				p := importOf(spec)
				if dep := r.roomFor(p); dep != "" {
					ar.deps = append(ar.deps, dep)
				} else if mod := r.moduleOf(p); mod != "" {
					ar.mods = append(ar.mods, mod)
				}
			}
		}
		if code {
			slices.Sort(ar.deps)
			slices.Sort(ar.mods)
			all[room] = arrow{slices.Compact(ar.deps), slices.Compact(ar.mods)}
		}
	}
	return all
}

// roomFor is the room behind an import path, or "" for a package of others.
func (r *repo) roomFor(importPath string) string {
	if importPath == r.module {
		return rootRoom
	}
	if rest, ok := strings.CutPrefix(importPath, r.module+"/"); ok {
		return rest
	}
	return ""
}

// moduleOf is the module that go.mod requires for an import path, the path itself
// where go.mod knows none, or "" for our own and the standard library.
func (r *repo) moduleOf(importPath string) string {
	first, _, _ := strings.Cut(importPath, "/")
	if r.roomFor(importPath) != "" || !strings.Contains(first, ".") {
		return ""
	}
	best := ""
	for _, mod := range r.require {
		if len(mod) > len(best) && (importPath == mod || strings.HasPrefix(importPath, mod+"/")) {
			best = mod
		}
	}
	if best == "" {
		return importPath
	}
	return best
}

// minus is what a has and b has not.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
