package house

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The main paths of data can be followed by grep: each has all of its steps.
func TestPathsAreWhole(t *testing.T) {
	r, err := here()
	if err != nil {
		t.Fatal(err)
	}
	steps := markedSteps(t, r)
	for _, path := range []string{"read", "write", "replicate"} {
		got := steps[path]
		for i, s := range got {
			if s.n != i+1 || s.of != len(got) {
				t.Errorf("path %q has step %d/%d where %d/%d is due: each step is marked once, as // Path %s 1/%d", path, s.n, s.of, i+1, len(got), path, len(got))
			}
		}
		if len(got) == 0 {
			t.Errorf("no step of path %q is marked", path)
		}
	}
}

type pathStep struct{ n, of int }

// markedSteps returns the marked steps of each path, in order.
func markedSteps(t *testing.T, r *repo) map[string][]pathStep {
	t.Helper()
	marker := regexp.MustCompile(`(read|write|replicate) (\d+)/(\d+)`)
	out := map[string][]pathStep{}
	for _, name := range r.tracked {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for line := range strings.Lines(r.text(name)) {
			if !strings.Contains(line, "// Path ") {
				continue
			}
			for _, m := range marker.FindAllStringSubmatch(line, -1) {
				n, _ := strconv.Atoi(m[2]) // digits
				of, _ := strconv.Atoi(m[3])
				out[m[1]] = append(out[m[1]], pathStep{n, of})
			}
		}
	}
	for _, steps := range out {
		slices.SortFunc(steps, func(a, b pathStep) int { return a.n - b.n })
	}
	return out
}
