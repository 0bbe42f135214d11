package simcli

import (
	"fmt"
	"io"
	"strings"

	"github.com/roam-sessions/roam/internal/sim"
)

// mostLines bounds what is told of a seed that was not asked for by number.
const mostLines = 200

// report writes what a seed broke, its story, the last lines of what happened in
// it, and where the session was when it broke first.
func report(w io.Writer, r sim.Result, lines int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d breaks %d times:\n", r.Seed, len(r.Violations))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %v\n", v)
	}
	if len(r.Violations) > 0 {
		for _, where := range r.Violations[0].Where {
			fmt.Fprintf(&b, "    %s\n", where)
		}
	}
	fmt.Fprintf(&b, "the story, %d actions:\n", len(r.Story))
	for _, a := range r.Story {
		fmt.Fprintf(&b, "  %v\n", a)
	}
	b.WriteString("what happened:\n")
	for _, l := range r.Lines[max(0, len(r.Lines)-lines):] {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
