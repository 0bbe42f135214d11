package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
)

// A listing is how the whole list of a receipt is printed: line by line, so that a million
// writes take no room.
type listing struct {
	asking
	all, csv bool
	epoch    uint64
}

// check reads what was asked for.
func (l *listing) check(args []string) (err error) {
	switch {
	case len(args) > 1:
		return usagef("%d epochs: ask for one at a time", len(args))
	case l.all && len(args) == 0:
		return usagef("--all without an EPOCH: name the one that ended")
	case l.csv && !l.all:
		return usagef("--csv without --all: only the whole list is printed so")
	case l.csv && l.json:
		return usagef("--csv and --json: choose one")
	case l.all:
		l.epoch, err = parseEpoch(args[0])
	}
	return err
}

// print prints all writes of a receipt to out, and to aside what is not among them.
func (l *listing) print(ctx context.Context, out, aside io.Writer, client *admin.Client) error {
	lines := bufio.NewWriter(out)
	var shown *progress
	var head admin.ListHead
	done, row := 0, l.row(lines)
	err := client.ReceiptItems(ctx, l.epoch, admin.Listing{
		Head: func(h admin.ListHead) error {
			head = h
			if !isTerminal(out) { // else the lines show it
				shown = progressOf(ctx, aside, "%d of %d writes")
			}
			return l.head(lines, h)
		},
		Item: func(i admin.Item) error {
			done++
			if shown != nil {
				shown.set(done, int(head.Named)) //nolint:gosec // of a list
			}
			return row(i)
		},
	})
	if shown != nil {
		shown.end()
	}
	if err = errors.Join(err, lines.Flush()); err != nil {
		return err
	}
	if head.More > 0 {
		_, err = fmt.Fprintf(aside, "%s more were counted and are not named: a list has so many at most\n", grouped(head.More))
	}
	return err
}

// head prints what comes before the writes.
func (l *listing) head(out io.Writer, h admin.ListHead) error {
	switch {
	case l.json:
		return nil
	case l.csv:
		return csvLine(out, "session", "kind", "at", "fate")
	}
	r := h.Receipt
	r.Counts = h.Counts // what is printed is what they count
	if err := columns(out, receiptHead(), receiptRow(r)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n"+rowLayout, "SESSION", "WHAT", "WHEN", "FATE")
	return err
}

const (
	whenLayout = "2006-01-02 15:04:05.000"
	rowLayout  = "%-10s  %-7s  %-23s  %s\n"
)

// row returns what prints a write.
func (l *listing) row(out io.Writer) func(admin.Item) error {
	switch {
	case l.json:
		return func(i admin.Item) error { return jsonLine(out, i) }
	case l.csv:
		return func(i admin.Item) error {
			return csvLine(out, i.Session, i.Kind, i.At.UTC().Format(time.RFC3339Nano), i.Fate)
		}
	}
	return func(i admin.Item) error {
		_, err := fmt.Fprintf(out, rowLayout, i.Session, i.Kind, i.At.UTC().Format(whenLayout), i.Fate)
		return err
	}
}

func csvLine(out io.Writer, cells ...string) error {
	w := csv.NewWriter(out)
	err := w.Write(cells)
	w.Flush()
	return errors.Join(err, w.Error())
}

// total returns how many writes some counts are of.
func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// grouped returns a number as people read it.
func grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
