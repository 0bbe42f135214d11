package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// moveTime bounds how long a switchover, or a failover, is waited for; beside it, what a service
// may take that manages the servers.
const moveTime = 2 * time.Minute

func switchoverCommand() *cobra.Command {
	var a asking
	var to string
	var dry, cancel bool
	c := &cobra.Command{
		Use:   "switchover",
		Short: "Have another Region take all writes, as planned, with nothing lost",
		Long: `Have another Region take all writes. Nothing that was acknowledged is lost; writes
wait for about a round trip. Each step is agreed on, so that it goes on if somebody
dies, this command included: run "roam status" then.

With --dry-run it is only looked at whether all is ready. A switchover that has not
begun to drain can be taken back with --cancel.`,
		Example: `  roam switchover --to us-west-2 --dry-run
  roam switchover --to us-west-2`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().StringVar(&to, "to", "", "the Region that is to take the writes")
	c.Flags().BoolVar(&dry, "dry-run", false, "look whether all is ready, and change nothing")
	c.Flags().BoolVar(&cancel, "cancel", false, "take back one that has not begun to drain")
	_ = c.RegisterFlagCompletionFunc("to", completeRegions) // the flag is there
	c.RunE = a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, d topology.Deployment) error {
		if cancel {
			_, err := client.CancelSwitchover(ctx, whoAsks())
			return err
		}
		if to == "" {
			return usagef("--to is missing: which Region is to take the writes?")
		}
		m, err := client.Switchover(ctx, admin.Move{To: to, DryRun: dry, By: whoAsks()})
		if err != nil {
			return err
		}
		if err := a.tellMove(out, m); err != nil || !m.Begun {
			return err
		}
		return a.follow(ctx, out, client, promotion(d), func(s admin.Status) (string, bool, error) { return handoverStep(s, m.ID) })
	})
	return c
}

// handoverStep says how far a switchover is, and whether it is over.
func handoverStep(s admin.Status, id uint64) (step string, over bool, err error) {
	h := s.Handover
	if h == nil || h.ID < id {
		return "planned", false, nil
	}
	if h.ID > id {
		return "", true, errors.New("another switchover was planned since: run \"roam status\"")
	}
	switch {
	case h.Step == "failed":
		return h.Step, true, fmt.Errorf("it has failed: %s", h.Why)
	case h.Over():
		return fmt.Sprintf("done: %s takes all writes; from drained to begun %s", h.To, brief(h.Begun.Sub(h.Armed))), true, nil
	}
	return h.Step + served(s, h.To), false, nil
}

// served returns what manages the server of a Region that is not a primary yet; empty: its
// node does, or it is one.
func served(s admin.Status, region string) string {
	for _, r := range s.Regions {
		if r.Name == region && r.Service != "" && !r.Primary {
			return ": " + r.Service
		}
	}
	return ""
}

// promotion is how long whoever manages the servers may take to promote one.
func promotion(d topology.Deployment) time.Duration {
	if d.Control == nil {
		return 0
	}
	return d.Control.Promotion()
}

func failoverCommand() *cobra.Command {
	var a asking
	var to string
	var force, dry, detach bool
	c := &cobra.Command{
		Use:   "failover",
		Short: "Have another Region take all writes though the primary is lost",
		Long: `Have another Region take all writes when nobody can hold the lease any more: about
six seconds after the primary was heard last, or as soon as it has stopped. What
that Region has not got is lost until the old primary is back; the receipt tells
what it was ("roam receipts").

Without --force the checks must be well: that the Region is not far behind, above all.

On a Global Datastore ElastiCache promotes the Region's group, which takes it about a
minute. If it can't, as the primary's Region is dead, --detach takes the group out of
the Global Datastore: the data part for good, and the datastore is formed anew later.
It may be said when the Region holds the lease already, and waits.`,
		Example: `  roam failover --to us-west-2 --dry-run
  roam failover --to us-west-2 --force
  roam failover --to us-west-2 --force --detach`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().StringVar(&to, "to", "", "the Region that is to take the writes")
	c.Flags().BoolVar(&force, "force", false, "in spite of checks that are not well, but for those without which it can't be")
	c.Flags().BoolVar(&dry, "dry-run", false, "look at the checks, and change nothing")
	c.Flags().BoolVar(&detach, "detach", false, "take the Region's group out of the Global Datastore if it is promoted in no other way")
	_ = c.RegisterFlagCompletionFunc("to", completeRegions) // the flag is there
	c.RunE = a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, d topology.Deployment) error {
		if to == "" {
			return usagef("--to is missing: which Region is to take the writes?")
		}
		m, err := client.Failover(ctx, admin.Move{To: to, DryRun: dry, Force: force, Detach: detach, By: whoAsks()})
		if err != nil {
			return err
		}
		if err := a.tellMove(out, m); err != nil || !m.Begun {
			return err
		}
		return a.follow(ctx, out, client, promotion(d), func(s admin.Status) (string, bool, error) {
			switch l := s.Lease; {
			case l != nil && l.Epoch >= m.Epoch && l.Holder == to && served(s, to) != "":
				return "the lease is its own" + served(s, to), false, nil
			case l != nil && l.Epoch >= m.Epoch && l.Holder == to:
				return fmt.Sprintf("done: %s takes all writes, in epoch %d", to, l.Epoch), true, nil
			case l != nil && l.Epoch >= m.Epoch:
				return "", true, fmt.Errorf("%s takes all writes, in epoch %d: somebody else decided so", l.Holder, l.Epoch)
			}
			return "waiting until nobody can hold the lease", false, nil
		})
	})
	return c
}

// tellMove prints the checks, and what was begun.
func (a *asking) tellMove(out io.Writer, m admin.Moving) error {
	if a.json {
		return printJSON(out, m)
	}
	var rows [][]string
	for _, c := range m.Checks {
		rows = append(rows, []string{yes(c.OK, "ok", "FAULT"), c.Name, c.Detail})
		if c.Next != "" {
			rows = append(rows, []string{"", "", arrow + c.Next})
		}
	}
	return columns(out, rows...)
}

// follow prints each step, until the last.
func (a *asking) follow(ctx context.Context, out io.Writer, client *admin.Client, promotion time.Duration, step func(admin.Status) (string, bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, moveTime+promotion)
	defer cancel()
	began, said := time.Now(), ""
	s, err := client.Status(ctx)
	for err == nil {
		text, over, failed := step(s)
		if text != "" && text != said && !a.json {
			said = text
			if _, err := fmt.Fprintf(out, "%7.3f s  %s\n", time.Since(began).Seconds(), text); err != nil {
				return err
			}
		}
		if over {
			if a.json && failed == nil {
				return printJSON(out, s)
			}
			return failed
		}
		s, err = client.Watch(ctx, s.Index, time.Second)
	}
	return fmt.Errorf("it goes on, and this command does not know how far it is: run \"roam status\": %w", err)
}
