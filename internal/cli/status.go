package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// watchEvery is how often a status is printed anew at least, that of a moment ago.
const watchEvery = 2 * time.Second

func statusCommand() *cobra.Command {
	var a asking
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Print who holds the lease, and how Regions and members are",
		Long: `Print what the members of a deployment have agreed on, and how its Regions and
members are. With --watch it is printed anew when something has changed; with --json
as well, each time as one document.`,
		Example: `  roam status
  roam status --watch`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().BoolVar(&watch, "watch", false, "go on, until it is interrupted")
	c.RunE = a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, _ topology.Deployment) error {
		s, err := client.Status(ctx)
		for err == nil {
			if err = printStatus(out, s, a.json, watch); err != nil || !watch {
				return err
			}
			s, err = client.Watch(ctx, s.Index, watchEvery)
		}
		return interrupted(ctx, err)
	})
	return c
}

// printStatus prints a status; watched at a terminal, in the place of the one before.
func printStatus(out io.Writer, s admin.Status, asJSON, watched bool) error {
	if asJSON {
		return printJSON(out, s)
	}
	var b strings.Builder
	if watched && isTerminal(out) {
		b.WriteString("\x1b[H\x1b[2J") // home, and clear
	}
	leads := "nobody leads"
	if s.Leader != "" {
		leads = s.Leader + " leads"
	}
	fmt.Fprintf(&b, "%s, as %s knows it; %s", s.Deployment, s.Self, leads)
	if s.Mode != "" {
		fmt.Fprintf(&b, "; the judge is on %s", s.Mode)
	}
	b.WriteString("\n")
	tellLease(&b, s)
	b.WriteString("\n")
	if err := columns(&b, regionRows(s)...); err != nil {
		return err
	}
	b.WriteString("\n")
	if err := columns(&b, memberRows(s)...); err != nil {
		return err
	}
	if len(s.Names) > 0 {
		b.WriteString("\n")
		if err := columns(&b, nameRows(s)...); err != nil {
			return err
		}
	}
	tellTrouble(&b, s)
	_, err := io.WriteString(out, b.String())
	return err
}

func tellLease(b *strings.Builder, s admin.Status) {
	l := s.Lease
	if l == nil {
		b.WriteString("all Regions take writes\n")
		return
	}
	fmt.Fprintf(b, "%s takes all writes, in epoch %d since %s", l.Holder, l.Epoch, ago(l.Since, s.At))
	switch {
	case l.Deposed:
		fmt.Fprintf(b, "; it is to stop, and %s is to follow: %s", l.Wish, l.Why)
	case l.Released:
		b.WriteString("; it has stopped")
	}
	b.WriteString("\n")
	if h := s.Handover; h != nil && !h.Over() {
		fmt.Fprintf(b, "a switchover to %s is %s, for %s\n", h.To, h.Step, brief(s.At.Sub(h.Planned)))
	}
}

func regionRows(s admin.Status) [][]string {
	rows := [][]string{{"REGION", "ROLE", "NODE", "ENGINE", "FOLLOWS", "LAG", "DEGRADED", "USERS", ""}}
	for _, r := range s.Regions {
		lag := "-"
		if r.LagMS != nil {
			lag = brief(time.Duration(*r.LagMS * float64(time.Millisecond)))
		}
		degraded := "-"
		if r.DegradedShare != nil {
			degraded = fmt.Sprintf("%.1f%%", 100**r.DegradedShare)
		}
		follows := r.Follows
		switch {
		case r.Primary && s.Lease != nil:
			follows = "nobody"
		case follows == "":
			follows = "-"
		case !r.Linked:
			follows += " (no link)"
		}
		var notes []string
		if r.Owes > 0 {
			notes = append(notes, fmt.Sprintf("its writes of epoch %d are being brought home", r.Owes))
		}
		if !r.Candidate && s.Lease != nil && r.Name != s.Lease.Holder {
			notes = append(notes, "not to be promoted by itself")
		}
		rows = append(rows, []string{
			r.Name, r.Role, yes(r.Heard, "heard", "silent"), yes(r.Engine, "up", "down"), follows, lag, degraded,
			yes(r.Away, "away", "here"), strings.Join(notes, "; "),
		})
	}
	return rows
}

func memberRows(s admin.Status) [][]string {
	rows := [][]string{{"MEMBER", "ID", "HEARD", "HEARS", "CLOCK", "VERSION", ""}}
	for _, m := range s.Members {
		notes := slices.DeleteFunc([]string{yes(m.Leads, "leads", ""), yes(m.Witness, "witness", ""), yes(m.Self, "asked", "")},
			func(text string) bool { return text == "" })
		rows = append(rows, []string{
			m.Name, fmt.Sprint(m.ID), ago(m.Heard, s.At), strings.Join(m.Hears, " "), fmt.Sprintf("%+.0f ms", m.SkewMS), m.Version,
			strings.Join(notes, ", "),
		})
	}
	return rows
}

// nameRows are of what says outside of Roam where the writer is: of whoever keeps it, and of
// all who are refused.
func nameRows(s admin.Status) [][]string {
	rows := [][]string{{"NAME", "BY", "STATE", "EPOCH", "SINCE", "LEADS TO"}}
	for _, n := range s.Names {
		if n.State == "idle" {
			continue
		}
		rows = append(rows, []string{n.Name, n.Region, n.State, fmt.Sprint(n.Epoch), ago(n.Since, s.At), cmp.Or(strings.TrimSuffix(n.Target, "."), "-")})
	}
	if len(rows) == 1 {
		rows = append(rows, []string{"-", "-", "idle", "-", "-", "nobody keeps any now"})
	}
	return rows
}

// tellTrouble tells what somebody should look at.
func tellTrouble(b *strings.Builder, s admin.Status) {
	if v := s.Verdict; v != nil {
		for _, f := range v.Findings {
			fmt.Fprintf(b, "\n%s %s: %s", yes(f.Act, "finding", "advice"), f.Kind, f.Reason)
		}
		for _, f := range v.Held {
			fmt.Fprintf(b, "\nheld back by %s: %s: %s", f.Rule, f.Kind, f.Reason)
		}
	}
	for _, a := range s.Alarms {
		if a.State != "OK" {
			fmt.Fprintf(b, "\nalarm %s is %s: %s", a.Name, a.State, a.Reason)
		}
	}
	for _, n := range s.Names {
		if n.State == "refused" || n.State == "pending" && n.Why != "" {
			fmt.Fprintf(b, "\n%s is %s in %s: %s\n  %s%s", n.Name, n.State, n.Region, n.Why, arrow, n.Next)
		}
	}
	for _, r := range s.Regions {
		if r.Service != "" {
			fmt.Fprintf(b, "\n%s: %s", r.Name, r.Service)
		}
	}
	for _, r := range s.Receipts {
		fmt.Fprintf(b, "\nreceipt of epoch %d is open: what %s took and %s had not got is brought home when it is back", r.Epoch, r.From, r.To)
	}
	if !strings.HasSuffix(b.String(), "\n") {
		b.WriteString("\n")
	}
}

func yes(is bool, then, otherwise string) string {
	if is {
		return then
	}
	return otherwise
}
