package sidebyside

import (
	"fmt"
	"strings"
)

// Page returns docs/benchmarks.md, made from the figures of one run. It names those
// that are missing.
func Page(figures []Figure, m Machine) string {
	sorted, missing := Order(figures)
	by := map[string]Figure{}
	missed := 0
	for _, f := range sorted {
		by[f.Name] = f
		if !f.OK {
			missed++
		}
	}
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n<!-- Made by `make bench-docs`; don't edit. -->\n\n")
	fmt.Fprintf(&b, "What Roam costs on Valkey, beside what one would use instead. `make bench-valkey` measures all of it in one run;\n"+
		"`make bench-docs` makes this page of it. This is the run of %s: %d cores, %s, %s, %s.\n\n",
		m.Date, m.Cores, m.OS, m.Go, m.Server)
	b.WriteString("Ours and the baseline run in turn, round after round, on servers of the same machine. *Value* is ours, *ratio* the median\n" +
		"of the rounds' ratios of value to baseline, with the middle half of them beside it. Clients, servers and all else share\n" +
		"the cores: the ratios can be compared with those of another machine, the rates can't.\n\n")
	if missed > 0 {
		fmt.Fprintf(&b, "%d of %d figures miss their target.\n\n", missed, len(sorted))
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "Missing: %s.\n\n", strings.Join(missing, "; "))
	}
	for _, g := range Groups() {
		g.write(&b, by)
	}
	fmt.Fprintf(&b, "## Run it again\n\n```\n"+
		"make bench-valkey                      # about five minutes; %s sessions are many\n"+
		"make bench-valkey SESSIONS=1000000     # 1 GB in the server\n"+
		"make bench-valkey SESSIONS=10000000    # 10 GB, and some minutes to load them\n"+
		"make bench-docs                        # this page, of the last run\n```\n\n"+
		"`ROUNDS` says how many rounds there are and `SLICE` how long each side has in one. The figures are kept in\n"+
		"`bench/results/valkey.json`. The run fails if one is missing, and not if one misses its target: machines differ.\n",
		group(float64(m.Sessions)))
	return b.String()
}

func (g Group) write(b *strings.Builder, by map[string]Figure) {
	var figures []Figure
	var notes []string
	for _, k := range g.Kinds {
		for _, row := range k.Rows() {
			f, ok := by[row]
			if !ok {
				continue
			}
			figures = append(figures, f)
			if f.Note != "" {
				notes = append(notes, row+": "+f.Note)
			}
		}
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n%s\n", g.Title, g.About, Table(figures))
	for _, k := range g.Kinds {
		fmt.Fprintf(b, "- **%s**: %s. Baseline: %s.\n", k.Name, k.Ours, k.Base)
	}
	for _, n := range notes {
		fmt.Fprintf(b, "- %s.\n", n)
	}
	b.WriteString("\n")
}
