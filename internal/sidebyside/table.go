package sidebyside

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Table returns figures as a Markdown table, in columns, 120 characters wide at most
// if no name is longer than 40.
func Table(figures []Figure) string {
	rows := [][]string{{"what", "value", "baseline", "ratio", "middle half", "target", "ok"}, nil}
	for _, f := range figures {
		rows = append(rows, []string{
			f.Name, number(f.Value) + " " + f.Unit, number(f.Baseline) + " " + f.Unit, fmt.Sprintf("%.2f", f.Ratio),
			fmt.Sprintf("%.2f–%.2f", f.Low, f.High), f.target(), yes(f.OK),
		})
	}
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, r := range rows {
		if i == 1 {
			for _, w := range widths {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
			continue
		}
		for j, cell := range r {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)+1))
		}
		b.WriteString("|\n")
	}
	return b.String()
}

func (f Figure) target() string {
	if f.Most {
		return fmt.Sprintf("≤ %.2f", f.Target)
	}
	return fmt.Sprintf("≥ %.2f", f.Target)
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// number prints three digits or more of x.
func number(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return group(x)
}

// group prints x without decimals, with a comma before each three digits.
func group(x float64) string {
	s := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
