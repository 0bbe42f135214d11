package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/awsdeploy"
	"github.com/roam-sessions/roam/internal/check"
)

func awsDeployCommand() *cobra.Command {
	var a awsAsking
	var dry bool
	var conf awsdeploy.Config
	c := &cobra.Command{
		Use:   "deploy",
		Short: "Make a deployment on AWS, or make it what the file says",
		Long: `Make a deployment on AWS, or make it what the file says: stacks in their order, and
what CloudFormation can't do. What is as it is to be is left alone. Whatever ends it, Ctrl-C
or an outage, the same command goes on where it was; meanwhile CloudFormation goes on with the
stack that it is at.

Who is the primary is observed and never restored: a stack with a Global Datastore is not
updated without --allow-cache-update. An update that would replace or remove what has data is
refused. A stack whose creation failed is explained, and made anew with --replace-failed.`,
		Example: `  roam aws deploy --dry-run
  roam aws deploy
  roam aws deploy -f staging.yaml --json`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().BoolVar(&conf.AllowCacheUpdate, "allow-cache-update", false, "update stacks with a Global Datastore, too")
	c.Flags().BoolVar(&conf.ReplaceFailed, "replace-failed", false, "delete stacks whose creation failed, and make them anew")
	c.Flags().DurationVar(&conf.Within, "within", awsdeploy.DefaultWithin, "how long each step is waited for")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := within(conf.Within); err != nil {
			return err
		}
		t := newAWSTeller(c, a.json)
		defer t.end()
		conf.Tell = t.tell
		d, plan, err := a.deployer(c.Context(), c.ErrOrStderr(), conf)
		if err != nil {
			return err
		}
		if dry {
			changes, err := d.Preview(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(c.OutOrStdout(), changes)
			}
			return printChanges(c.OutOrStdout(), changes)
		}
		err = d.Deploy(c.Context())
		t.end()
		if err != nil || a.json {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is as %s says: %d steps\n", plan.Name, a.file, len(plan.Steps))
		return err
	}
	return c
}

// within refuses a time that no step could be done in.
func within(d time.Duration) error {
	if d < time.Minute {
		return usagef("--within %v: want a minute or more", d)
	}
	return nil
}

func printChanges(out io.Writer, changes []awsdeploy.Change) error {
	rows := [][]string{{"STEP", "REGION", "WHAT", "DO", ""}}
	for i, c := range changes {
		why := c.Why
		for _, x := range c.Differs {
			if why != "" {
				why += "; "
			}
			why += x.String()
		}
		rows = append(rows, []string{fmt.Sprint(i + 1), c.Step.Region, stepName(c.Step), c.Do, why})
	}
	return columns(out, rows...)
}

func awsStatusCommand() *cobra.Command {
	var a awsAsking
	c := &cobra.Command{
		Use:   "status",
		Short: "Look whether a deployment on AWS is as the file says",
		Long: `Look whether a deployment on AWS is as the file says: its stacks and what differs, the
Global Datastore with who is the primary, and whether its caches can tell of a failover. It
ends with 1 if somebody has to do something.`,
		Example: `  roam aws status
  roam aws status --json`,
		Args: noArgs,
	}
	a.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, _, err := a.deployer(c.Context(), c.ErrOrStderr(), awsdeploy.Config{})
		if err != nil {
			return err
		}
		rows, err := d.Status(c.Context())
		if err != nil {
			return err
		}
		if a.json {
			err = printJSON(c.OutOrStdout(), rows)
		} else {
			err = printRows(c, checkRows(rows))
		}
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.Health == awsdeploy.Fault {
				return errUnwell
			}
		}
		return nil
	}
	return c
}

// checkRows are rows as printRows takes them.
func checkRows(rows []awsdeploy.Row) []check.Row {
	out := make([]check.Row, 0, len(rows))
	for _, r := range rows {
		out = append(out, check.Row{State: check.State(r.Health), Region: r.Region, Part: r.Part, Seen: r.Seen, Mend: r.Mend})
	}
	return out
}
