package cfn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// mostFaults bounds what is told of one template.
const mostFaults = 200

// A Fault is one thing that is wrong with a template.
type Fault struct {
	// Line is where, from 1; 0: the whole template.
	Line int
	// Rule is the short name of what it breaks: unknown-property.
	Rule string
	// Path leads to it: Resources.Cache.Properties.Port.
	Path string
	// What is wrong, and what to do where that is not plain.
	What string
}

// String returns the fault as one line.
func (f Fault) String() string {
	return fmt.Sprintf("%d: %s: %s [%s]", f.Line, f.Path, f.What, f.Rule)
}

// Faults are all that is wrong, from top to bottom.
type Faults []Fault

// Error returns the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.String())
	}
	return strings.Join(lines, "\n")
}

// A report gathers faults.
type report struct{ faults Faults }

func (r *report) add(line int, rule, path, format string, args ...any) {
	f := Fault{Line: line, Rule: rule, Path: path, What: fmt.Sprintf(format, args...)}
	if len(r.faults) < mostFaults && !slices.Contains(r.faults, f) {
		r.faults = append(r.faults, f)
	}
}

func (r *report) sorted() Faults {
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path)) })
	return r.faults
}
