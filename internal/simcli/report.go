package simcli

import (
	"fmt"
	"io"
	"strings"

	"github.com/roam-sessions/roam/internal/sim"
)

// mostLines bounds how much of what happened a report tells: the end of it.
const mostLines = 200

// report writes what a failing seed broke: the story, shrunk before, what
// happened in it, and where the session was then.
func report(w io.Writer, r sim.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d breaks:\n", r.Seed)
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
	for _, l := range r.Lines[max(0, len(r.Lines)-mostLines):] {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
