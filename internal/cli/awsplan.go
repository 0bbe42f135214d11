package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/awsdeploy"
	"github.com/roam-sessions/roam/internal/awsplan"
)

func awsPlanCommand() *cobra.Command {
	var a awsAsking
	c := &cobra.Command{
		Use:   "plan",
		Short: "Print what would be made on AWS, in which order, and what it costs money for",
		Long: `Print what would be made on AWS, step by step, what somebody should know before, and
what AWS asks money for. Nobody is asked anything: it works without a network and without
credentials. What a Region does not offer is refused, and so is whatever else is wrong with
the file, all of it at once; with faults it ends with 2.

With --json parameters, and the way back, are printed too.`,
		Example: `  roam aws plan
  roam aws plan -f staging.yaml --json`,
		Args: noArgs,
	}
	a.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, plan, err := a.read()
		if err != nil {
			return err
		}
		if err := awsdeploy.Check(plan, template); err != nil {
			return err
		}
		artifacts := awsplan.Artifacts(f.Settings)
		if a.json {
			return printJSON(c.OutOrStdout(), struct {
				awsplan.Plan
				Artifacts map[string][]string `json:"artifacts"`
				Undo      []awsplan.Step      `json:"undo"`
				Remains   []awsplan.Remain    `json:"remains"`
			}{plan, artifacts, plan.Undo(), plan.Remains()})
		}
		var buckets []string
		for _, region := range slices.Sorted(maps.Keys(artifacts)) {
			buckets = append(buckets, fmt.Sprintf("%s (%s): %s", f.Settings.Artifacts[region], region, strings.Join(artifacts[region], ", ")))
		}
		return printPlan(c.OutOrStdout(), plan, buckets)
	}
	return c
}

func printPlan(out io.Writer, p awsplan.Plan, buckets []string) error {
	rows := [][]string{{"STEP", "REGION", "WHAT", "WHY"}}
	for i, s := range p.Steps {
		rows = append(rows, []string{fmt.Sprint(i + 1), s.Region, stepName(s), s.Why})
	}
	if err := columns(out, rows...); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{"Your buckets must have", buckets}, {"AWS asks money for", p.Billable}, {"To know before", p.Advice}} {
		if err := printList(out, part.title, part.lines); err != nil {
			return err
		}
	}
	return nil
}

// printList prints sentences below a title, if there are any.
func printList(out io.Writer, title string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s:\n", title)
	for _, line := range lines {
		mark := "- "
		for _, part := range wrap(line, tableWidth-len(mark)) {
			b.WriteString(mark + part + "\n")
			mark = "  "
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// stepName says what a step is about.
func stepName(s awsplan.Step) string {
	switch s.Do {
	case awsplan.DoStack, "":
		return "stack " + s.Stack
	case awsplan.DoDelete:
		return "delete stack " + s.Stack
	}
	name := strings.ReplaceAll(s.Do, "-", " ")
	if s.Stack != "" {
		name += " of " + s.Stack
	}
	return cmp.Or(name, s.Stack)
}

func awsPolicyCommand() *cobra.Command {
	var a awsAsking
	c := &cobra.Command{
		Use:   "policy",
		Short: "Print the policy of IAM that whoever deploys needs",
		Long: `Print the policy of IAM that whoever runs "roam aws deploy", "status" and "destroy"
needs. If the file names a role, CloudFormation makes things by that, and the policy lets
her pass it; without one it has all of each service that the deployment uses.`,
		Example: `  roam aws policy > policy.json`,
		Args:    noArgs,
	}
	a.flags(c)
	_ = c.Flags().MarkHidden("json") // it is JSON anyway
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, plan, err := a.read()
		if err != nil {
			return err
		}
		raw, err := awsdeploy.Policy(plan, template, awsdeploy.Account{ID: f.Account, Role: f.Role, Partition: partition(plan)})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), string(raw))
		return err
	}
	return c
}

// partition returns the part of AWS that a plan's Regions are in.
func partition(p awsplan.Plan) string {
	if len(p.Steps) > 0 {
		switch region := p.Steps[0].Region; {
		case strings.HasPrefix(region, "cn-"):
			return "aws-cn"
		case strings.HasPrefix(region, "us-gov-"):
			return "aws-us-gov"
		}
	}
	return "aws"
}
