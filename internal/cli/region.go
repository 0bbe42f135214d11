package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// jsonLine prints a value on one line.
func jsonLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

func regionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "region",
		Short: "Add, remove or readmit a Region of a running deployment",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(regionChange("add"), regionChange("remove"), readmitCommand())
	return c
}

// regionChange is "roam region add" or "roam region remove".
func regionChange(what string) *cobra.Command {
	var a asking
	var dry bool
	c := &cobra.Command{
		Use:   what + " REGION",
		Short: map[string]string{"add": "Add a Region to a running deployment", "remove": "Take a Region out of a running deployment"}[what],
		Long: map[string]string{
			"add": `Add a Region to a running deployment, with nobody logged out. Write it into the file,
and a witness with it or without one so that the number of members stays odd; make
their certificates ("roam pki init"), and run this. All members agree on the file and
start again by it. Then start the new node with the same file: its server, which must be
empty, is given all that the others have.`,
			"remove": `Take a Region out of a running deployment. Send its users elsewhere first, and if it
takes the writes, switch over. Take it out of the file, and run this. All members agree on
the file and start again by it; the Region's own node stops.`,
		}[what],
		Example: "  roam region " + what + " eu-west-1 --dry-run\n  roam region " + what + " eu-west-1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%d Regions are named: want one", len(args))
			}
			return nil
		},
		ValidArgsFunction: completeRegionArg,
	}
	a.flags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "look whether it could be, and change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, d topology.Deployment) error {
			return a.changeRegions(ctx, out, client, d, what == "add", args[0], dry)
		})(c, args)
	}
	return c
}

func (a *asking) changeRegions(ctx context.Context, out io.Writer, client *admin.Client, d topology.Deployment, add bool, region string, dry bool) error {
	if slices.Contains(d.Names(), region) != add {
		return usagef("%q is %s %s: write the file as it is to be, and run this then", region, yes(add, "not in", "still in"), a.config)
	}
	file, version, err := client.Topology(ctx)
	if err != nil {
		return err
	}
	was, err := topology.Parse(file)
	if err != nil {
		return fmt.Errorf("members run by a file that this version can't read: %w", err)
	}
	if slices.Contains(was.Names(), region) == add {
		return usagef("%q is %s the deployment, whose version is %d", region, yes(add, "in", "not in"), version)
	}
	for _, name := range d.Names() {
		if name != region && !slices.Contains(was.Names(), name) {
			return usagef("%s has %q as well: add one Region at a time", a.config, name)
		}
	}
	for _, name := range was.Names() {
		if name != region && !slices.Contains(d.Names(), name) {
			return usagef("%s lacks %q as well: remove one Region at a time", a.config, name)
		}
	}
	t, err := client.SetTopology(ctx, []byte(d.Text), version, dry, whoAsks())
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(out, t)
	}
	_, err = fmt.Fprintf(out, "version %d%s: %s\n", t.Version, yes(dry, ", if it were done", ""), strings.Join(t.Regions, " "))
	return err
}

func readmitCommand() *cobra.Command {
	var a asking
	c := &cobra.Command{
		Use:   "readmit REGION",
		Short: "Let a Region be promoted again that has lost the lease",
		Long: `Let a Region be promoted again. One that lost the lease in a failover is not, until
its own writes were brought home and somebody wants it.`,
		Example: "  roam region readmit us-west-1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%d Regions are named: want one", len(args))
			}
			return nil
		},
		ValidArgsFunction: completeRegionArg,
	}
	a.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.asks(func(ctx context.Context, _ io.Writer, client *admin.Client, _ topology.Deployment) error {
			_, err := client.Readmit(ctx, args[0], whoAsks())
			return err
		})(c, args)
	}
	return c
}

func modeCommand() *cobra.Command {
	var a asking
	modes := []string{"automatic", "advise", "off"}
	c := &cobra.Command{
		Use:   "mode " + strings.Join(modes, "|"),
		Short: "Say what the judge may do by itself",
		Long: `Say what the judge may do by itself: all that it finds, nothing but show what it
would do, or nothing. It is agreed on and stays so until it is said otherwise.`,
		Example: "  roam mode advise",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(modes, args[0]) {
				return usagef("want one of %s", strings.Join(modes, ", "))
			}
			return nil
		},
		ValidArgs: modes,
	}
	a.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.asks(func(ctx context.Context, _ io.Writer, client *admin.Client, _ topology.Deployment) error {
			_, err := client.SetMode(ctx, admin.Mode{Mode: args[0], By: whoAsks()})
			return err
		})(c, args)
	}
	return c
}

func controlsCommand() *cobra.Command {
	var a asking
	var override []string
	c := &cobra.Command{
		Use:   "controls [NAME=on|off ...]",
		Short: "Print or change the routing controls",
		Long: `Print the routing controls and their safety rules, or change some controls: all of
them, or none if a safety rule forbids it. --override names rules that are not to
be asked; nothing overrides that a writer's control follows the lease.`,
		Example: `  roam controls
  roam controls users-us-west-1=off users-us-west-2=on`,
	}
	a.flags(c)
	c.Flags().StringSliceVar(&override, "override", nil, "safety rules that are not to be asked")
	c.RunE = func(c *cobra.Command, args []string) error {
		var changes []admin.Change
		for _, arg := range args {
			name, state, _ := strings.Cut(arg, "=")
			if name == "" || state != "on" && state != "off" {
				return usagef("%q: want NAME=on or NAME=off", arg)
			}
			changes = append(changes, admin.Change{Control: name, On: state == "on"})
		}
		return a.asks(func(ctx context.Context, out io.Writer, client *admin.Client, _ topology.Deployment) error {
			all, err := client.Controls(ctx)
			if len(changes) > 0 && err == nil {
				all, err = client.SetControls(ctx, admin.Changes{Changes: changes, Override: override, By: whoAsks()})
			}
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(out, all)
			}
			rows := [][]string{{"CONTROL", "REGION", "OF", "STATE"}}
			for _, c := range all.Controls {
				rows = append(rows, []string{c.Name, c.Region, yes(c.Writer, "writes", "users"), yes(c.On, "on", "off")})
			}
			return columns(out, rows...)
		})(c, args)
	}
	return c
}

func tokenCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "token",
		Short: "Make a token for the admin API",
		Long: `Make a token for the admin API: it is written to a file that is made for it, and its
SHA-256 is printed, which goes where control.tokens of the file says. Whoever has
the token may do what its role there lets; members know the hash alone.`,
		Example: `  roam token --to oncall.token > oncall.sha256
  ` + tokenVariable + `="$(cat oncall.token)" roam status`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("--to is missing: in which file is the token to be?")
			}
			token, hash := admin.NewToken()
			f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // who asks names it
			if err != nil {
				return usagef("make the file of the token: %w", err)
			}
			if _, err := io.WriteString(f, token+"\n"); err != nil {
				_ = f.Close() // err says more
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), hex.EncodeToString(hash[:]))
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "the file that the token is written to, which must not be there")
	return c
}
