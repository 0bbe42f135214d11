package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/awsdeploy"
	"github.com/roam-sessions/roam/internal/awsplan"
)

func awsDestroyCommand() *cobra.Command {
	var a awsAsking
	var yes, yesPurge string
	var purge, dry bool
	conf := awsdeploy.Config{}
	c := &cobra.Command{
		Use:   "destroy",
		Short: "Take a deployment on AWS away, and list what remains and costs money",
		Long: `Take a deployment on AWS away: secondaries out of the Global Datastore, then that, then
the groups, then the stacks, the last first. What the file's retain: keeps is kept. At the end all
that remains and costs money is listed; with --purge that is deleted too, for good, but not your
buckets and not what a stack still has.

The deployment's name has to be typed, and again for --purge; --yes and --yes-purge say it
beforehand. Whatever ends it, the same command goes on where it was.`,
		Example: `  roam aws destroy --dry-run
  roam aws destroy
  roam aws destroy --purge --yes sessions --yes-purge sessions`,
		Args: noArgs,
	}
	a.flags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and what remains now, and do nothing")
	c.Flags().StringVar(&yes, "yes", "", "the deployment's name, instead of typing it")
	c.Flags().BoolVar(&purge, "purge", false, "delete what remains, too")
	c.Flags().StringVar(&yesPurge, "yes-purge", "", "the deployment's name, instead of typing it for --purge")
	c.Flags().DurationVar(&conf.Within, "within", awsdeploy.DefaultWithin, "how long each step is waited for")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if yesPurge != "" && !purge {
			return usagef("--yes-purge is for --purge")
		}
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
			return a.dryDestroy(c, d, plan)
		}
		if err := confirmed(c, plan.Name, "yes", yes, fmt.Sprintf("This takes %s away: %d steps, and no way back.", plan.Name, len(plan.Undo()))); err != nil {
			return err
		}
		remains, err := d.Destroy(c.Context())
		t.end()
		if err != nil {
			return err
		}
		if err := a.printRemainders(c.OutOrStdout(), remains); err != nil || !purge {
			return err
		}
		return a.purge(c.Context(), c, d, plan, remains, yesPurge)
	}
	return c
}

// dryDestroy says what would be done, and what remains now.
func (a *awsAsking) dryDestroy(c *cobra.Command, d *awsdeploy.Deployer, plan awsplan.Plan) error {
	remains, err := d.Remainders(c.Context())
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if a.json {
		return printJSON(out, map[string]any{"steps": plan.Undo(), "remains": append([]awsdeploy.Remainder{}, remains...)})
	}
	rows := [][]string{{"STEP", "REGION", "WHAT", "WHY"}}
	for i, s := range plan.Undo() {
		rows = append(rows, []string{fmt.Sprint(i + 1), s.Region, stepName(s), s.Why})
	}
	if err := columns(out, rows...); err != nil {
		return err
	}
	return a.printRemainders(out, remains)
}

// printRemainders lists what remains.
func (a *awsAsking) printRemainders(out io.Writer, remains []awsdeploy.Remainder) error {
	if a.json {
		return jsonLine(out, map[string]any{"kind": "remains", "remains": append([]awsdeploy.Remainder{}, remains...)})
	}
	if len(remains) == 0 {
		_, err := fmt.Fprintln(out, "\nnothing remains that costs anything, but your buckets")
		return err
	}
	rows := [][]string{{"REMAINS", "REGION", "ID", "WHY"}}
	for _, r := range remains {
		why := r.Why
		if r.Held != "" {
			why = "stack " + r.Held + " has it: " + why
		}
		if r.Unsure {
			why += " (maybe: it could not be looked at)"
		}
		rows = append(rows, []string{r.Type, r.Region, r.ID, why})
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return columns(out, rows...)
}

// purge deletes what remains, after another word.
func (a *awsAsking) purge(ctx context.Context, c *cobra.Command, d *awsdeploy.Deployer, plan awsplan.Plan, remains []awsdeploy.Remainder, said string) error {
	n := 0
	for _, r := range remains {
		if !r.Keep {
			n++
		}
	}
	if n == 0 {
		_, err := fmt.Fprintln(c.ErrOrStderr(), "there is nothing to purge")
		return err
	}
	if err := confirmed(c, plan.Name, "yes-purge", said, fmt.Sprintf("This deletes %d of them, sessions and snapshots among them, for good.", n)); err != nil {
		return err
	}
	if err := d.Purge(ctx, remains); err != nil {
		return err
	}
	after, err := d.Remainders(ctx)
	if err != nil {
		return err
	}
	return a.printRemainders(c.OutOrStdout(), after)
}
