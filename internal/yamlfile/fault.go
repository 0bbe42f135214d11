package yamlfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxFaults bounds what one file is told. Beyond it nothing is added: who mends a
// hundred and looks again loses little.
const MaxFaults = 100

// A Fault is one thing that is wrong with a file. It holds no value of a key that
// may be a secret.
type Fault struct {
	Line   int    `json:"line"` // from 1; 0: the whole file
	Column int    `json:"column"`
	Path   string `json:"path"` // such as regions[1].id; empty: the whole file
	What   string `json:"what"` // is wrong
	Mend   string `json:"mend"` // what to do
}

// String returns the fault as one line, as compilers write theirs.
func (f Fault) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", f.Line, f.Column)
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.What)
	if f.Mend != "" {
		b.WriteString("; " + f.Mend)
	}
	return b.String()
}

// Faults is an error: all that is wrong, from top to bottom.
type Faults []Fault

// Error returns the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.String())
	}
	return strings.Join(lines, "\n")
}

// Sorted returns the faults in the order of the file.
func (f Faults) Sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f
}

// Nearest returns the word that was meant, if one is close enough.
func Nearest(word string, words []string) string {
	best, least := "", 3 // letters that may be wrong, and one
	if len(word) > 40 {
		return "" // nobody meant that
	}
	for _, w := range words {
		if d := distance(word, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// distance returns how many letters must be put in, taken out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
