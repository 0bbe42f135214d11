package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/topology"
)

// receiptItems is how many writes of a receipt are printed.
const receiptItems = 1000

func receiptsCommand() *cobra.Command {
	var l listing
	a := &l.asking
	c := &cobra.Command{
		Use:   "receipts [EPOCH]",
		Short: "Print what failovers have cost",
		Long: `Print what unplanned failovers have cost: writes that the old primary had taken
and its successor lacked. Until the old one is back that is not known; then
they are brought home and counted. With an EPOCH, the one that ended, its writes are
named, each by a hash of its session: the first of them, and with --all all of them,
which the member of the Region that was lost has. With --json each is one line then.`,
		Example: `  roam receipts
  roam receipts 7 --json
  roam receipts 7 --all --csv > lost.csv`,
		Args: func(_ *cobra.Command, args []string) error { return l.check(args) },
	}
	a.flags(c)
	c.Flags().BoolVar(&l.all, "all", false, "with an EPOCH: name all its writes")
	c.Flags().BoolVar(&l.csv, "csv", false, "with --all: print comma-separated values")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, _ topology.Deployment) error {
			if l.all {
				return l.print(ctx, out, c.ErrOrStderr(), client)
			}
			if len(args) == 1 {
				return a.oneReceipt(ctx, out, client, args[0])
			}
			all, err := client.Receipts(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(out, all)
			}
			if len(all.Receipts) == 0 {
				_, err := fmt.Fprintln(out, "no failover has cost anything: none was unplanned")
				return err
			}
			rows := [][]string{receiptHead()}
			for _, r := range all.Receipts {
				rows = append(rows, receiptRow(r))
			}
			return columns(out, rows...)
		})(c, args)
	}
	return c
}

func receiptHead() []string {
	return []string{"EPOCH", "FROM", "TO", "WHEN", "BEHIND", "RECOVERED", "SUPERSEDED", "LOST", "UNKNOWN", ""}
}

func receiptRow(r admin.Receipt) []string {
	state := "complete"
	if r.Closed.IsZero() {
		state = "open: " + r.From + " is not back yet"
	} else if r.Note != "" {
		state += ": " + r.Note
	}
	row := []string{
		fmt.Sprint(r.Epoch), r.From, r.To, r.At.UTC().Format(time.DateTime), brief(time.Duration(r.LagMS * float64(time.Millisecond))),
	}
	for _, fate := range []string{"recovered", "superseded", "lost", "unknown"} {
		row = append(row, fmt.Sprint(r.Counts[fate]))
	}
	return append(row, state)
}

func (a *asking) oneReceipt(ctx context.Context, out io.Writer, client *admin.Client, which string) error {
	epoch, err := parseEpoch(which)
	if err != nil {
		return err
	}
	d, err := client.Receipt(ctx, epoch, 0, receiptItems)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(out, d)
	}
	if err := columns(out, receiptHead(), receiptRow(d.Receipt)); err != nil {
		return err
	}
	rows := [][]string{{"", "", "", ""}, {"SESSION", "WHAT", "WHEN", "FATE"}}
	for _, i := range d.Items {
		rows = append(rows, []string{i.Session, i.Kind, i.At.UTC().Format("2006-01-02 15:04:05.000"), i.Fate})
	}
	if err := columns(out, rows...); err != nil {
		return err
	}
	if all := total(d.Receipt.Counts); all > uint64(len(d.Items)) {
		_, err = fmt.Fprintf(out, "\n%s of %s are named here; --all for all\n", grouped(uint64(len(d.Items))), grouped(all))
	}
	return err
}

func parseEpoch(text string) (uint64, error) {
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, usagef("EPOCH %q: want a number, as \"roam receipts\" prints it", text)
	}
	return epoch, nil
}

func eventsCommand() *cobra.Command {
	var a asking
	var follow bool
	var after uint64
	c := &cobra.Command{
		Use:   "events",
		Short: "Print what has happened",
		Long: `Print the last events: promotions, switchovers, failovers, alarms, receipts, changes
by operators. With --follow those that come are printed as they do, until it is
interrupted; with --json each is one line then.`,
		Example: `  roam events
  roam events --follow --json`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().BoolVar(&follow, "follow", false, "go on with those that come")
	c.Flags().Uint64Var(&after, "after", 0, "only those after this number")
	c.RunE = a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, _ topology.Deployment) error {
		all, err := client.Events(ctx, after, receiptItems)
		if err != nil {
			return err
		}
		if a.json && !follow {
			return printJSON(out, all)
		}
		for _, e := range all.Events {
			if err := a.tellEvent(out, e); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		err = client.Follow(ctx, all.Newest, func(h admin.Heard) error {
			if h.Event == nil {
				_, err := fmt.Fprintln(out, "some events are gone: they came faster than they were read")
				return err
			}
			return a.tellEvent(out, *h.Event)
		})
		return interrupted(ctx, err)
	})
	return c
}

// tellEvent prints one event.
func (a *asking) tellEvent(out io.Writer, e events.Message) error {
	if a.json {
		return jsonLine(out, e)
	}
	about := e.Region
	if e.Other != "" {
		about += " " + e.Other
	}
	if e.Epoch > 0 {
		about += fmt.Sprintf(" epoch %d", e.Epoch)
	}
	_, err := fmt.Fprintf(out, "%4d  %s  %-10s  %s: %s\n", e.Seq, e.At.UTC().Format(time.DateTime), e.Kind, about, e.Text)
	return err
}
