package drill

import (
	"fmt"
	"strings"
)

// A Kept is what a drill leaves: bench/results/failover.json.
type Kept struct {
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	RTT     float64  `json:"rtt_ms"`
	Seed    uint64   `json:"seed"`
	Figures []Figure `json:"figures"`
	// Broken are the bounds that were, and why; Error is why it did not come to its end.
	Broken []string `json:"broken,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// Page returns docs/failover.md, made of what a drill has left.
func Page(k Kept) string {
	var b strings.Builder
	b.WriteString("# Failover: what is measured, and what it was\n\n<!-- Made by `make failover-docs`; don't edit. -->\n\n")
	fmt.Fprintf(&b, "`make failover` has a deployment on real servers change its primary, and checks that nobody's write is lost. This is the\n"+
		"run of %s: %s; %.0f ms from any Region to any other and back.\n\n", k.Date, k.Machine, k.RTT)
	if k.Error != "" {
		fmt.Fprintf(&b, "It did not come to its end: %s\n\n", strings.ReplaceAll(k.Error, "\n", "; "))
	}
	if n := len(k.Broken); n > 0 {
		fmt.Fprintf(&b, "Bounds were broken:\n\n* %s\n\n", strings.Join(k.Broken, "\n* "))
	}
	b.WriteString(Table(k.Figures))
	b.WriteString(prose)
	return b.String()
}

// prose says what the figures are of.
const prose = `
## What there is

Three Regions on one machine: each has a ` + "`valkey-server`" + ` (with its file of all writes, synced every second), a node, and an
application with four clients. Whatever goes from one Region to another goes through proxies that are half a round trip slow
each way: requests of applications, the servers' own replication, the quorum and what members ask each other. A client is the
library as an application has it: package ` + "`deployment`" + ` over the Region's roam.yaml, a ` + "`Manager`" + `, a browser with
cookies; it visits a page that adds to a counter and writes a number, logs out after 60 visits and in again as another user.
Beside each server stands a prober that writes to it straight, under the epoch that members have agreed on and those beside it.

All that was acknowledged is noted: which write, by its dot, when it was sent and when it was answered. Nothing else is believed.

## A planned switchover

Clients write every few milliseconds while the lease is handed to the next Region. Then every write that was acknowledged
must be known to the new primary: that its record's vector has the dot, or that the session was ended. The *gap* is from the
last acknowledgement of the old epoch to the first of the new one, at those beside the servers and at all clients together. That of
each client is from when it first wanted to write after its last write of the old epoch. A client in a third Region needs two
round trips then, one to hear that it came too late and one to write, and one of them is what every write takes it; so its gap
is given with that and without.

## A primary that is lost

In turn: its server is killed; it stops in the middle of whatever it does and later goes on; the Region is cut off, both ways,
or only what it says, or only what it hears; the Region loses its power, node and server. *Each client writes again* is the
time from there to the first write that is acknowledged to a client which is not cut off.

Before anything is healed it is computed what the new primary lacks of all that was acknowledged. Where a Region is cut off its
own clients go on writing to their server until its lease ends, so that is hundreds of writes. Then all is healed, and when the
receipt is closed its whole list, had from the members' API, must be the same: the same sessions at the same times, as often,
and nothing must be missing any more. Receipts may name more only where nobody knows what became of a write: an answer was lost,
or it was tried twice.
In the end all that was ever acknowledged is looked for once more, and that counters show as much as was added to them.

*Two writers in one instant* is a write that was acknowledged under an epoch and sent after a write of a later epoch had been
acknowledged. Writes of clients count for the epoch of the probers' writes of the same reign.

## Run it again

` + "```" + `
make failover                              # 10 planned and 20 unplanned changes, about twelve minutes
make failover PLANNED=3 UNPLANNED=6        # each kind once
make failover PLANNED=0 UNPLANNED=3 ARGS='-kind SIGSTOP'
make failover ARGS='-rtt 140ms'            # as across an ocean
make failover-docs                         # this page, of the last run
` + "```" + `

It fails if a bound is broken and says which, with the story. ` + "`-json`" + ` prints what is kept in
` + "`bench/results/failover.json`" + `, ` + "`-keep`" + ` leaves the logs of nodes and applications, which stay also if it fails. All
parts share the cores of one machine, and its disk, under ` + "`TMPDIR`" + `: one that is busy with something else makes gaps longer.
`

// Table returns figures for a terminal, or in Markdown.
func Table(figures []Figure) string {
	rows := [][]string{{"what", "value", "bound", "ok", "of"}}
	for _, f := range figures {
		bound, ok := "", ""
		if f.Bound {
			bound, ok = "≤ "+f.value(f.Target), "yes"
			if !f.OK {
				ok = "no"
			}
		}
		rows = append(rows, []string{f.Name, f.value(f.Value), bound, ok, f.Note})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))) + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0])
	for _, width := range widths {
		b.WriteString("|" + strings.Repeat("-", width+2))
	}
	b.WriteString("|\n")
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}
