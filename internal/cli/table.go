package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/check"
)

const (
	// tableWidth is what terminals show and mails don't break.
	tableWidth = 100
	// leastText is how much room words have, whatever names of Regions leave.
	leastText = 40
	arrow     = "→ "
)

// printRows prints a table; what is to be done stands below what it is for.
func printRows(c *cobra.Command, rows []check.Row) error {
	counts := map[check.State]int{}
	var state, region, part int
	for _, r := range rows {
		state, region, part = max(state, len(r.State)), max(region, len(r.Region)), max(part, len(r.Part))
		counts[r.State]++
	}
	var b strings.Builder
	for _, r := range rows {
		head := fmt.Sprintf("%-*s  %-*s  %-*s  ", state, r.State, region, r.Region, part, r.Part)
		room := max(tableWidth-len(head), leastText)
		for _, line := range wrap(r.Seen, room) {
			b.WriteString(strings.TrimRight(head+line, " ") + "\n")
			head = strings.Repeat(" ", len(head))
		}
		before := arrow
		for _, line := range wrap(r.Mend, room-utf8.RuneCountInString(arrow)) {
			b.WriteString(strings.Repeat(" ", len(head)) + before + line + "\n")
			before = strings.Repeat(" ", utf8.RuneCountInString(arrow))
		}
	}
	fmt.Fprintf(&b, "%d ok, %d unknown, %d to look at, %d faults\n",
		counts[check.Good], counts[check.Unknown], counts[check.Warning], counts[check.Fault])
	_, err := io.WriteString(c.OutOrStdout(), b.String())
	return err
}

// wrap returns text as lines of at most so many letters. A word that is longer is
// broken; of no text there is no line.
func wrap(text string, width int) (lines []string) {
	var line []rune
	flush := func() {
		if len(line) > 0 {
			lines, line = append(lines, string(line)), nil
		}
	}
	for word := range strings.FieldsSeq(text) {
		letters := []rune(word)
		if len(line) > 0 && len(line)+1+len(letters) > width {
			flush()
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(letters) > width {
			lines, letters = append(lines, string(letters[:width])), letters[width:]
		}
		line = append(line, letters...)
	}
	flush()
	return lines
}
