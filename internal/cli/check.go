package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/check"
)

// errUnwell says that a deployment has a fault, which was printed as a result.
var errUnwell = errors.New("the deployment has a fault")

type checkFlags struct {
	region  string
	timeout time.Duration
	json    bool
}

func checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Look at a running deployment and print what is not as it should be",
		Long: `Look at a running deployment, described by ` + configName + ` or FILE: at its servers, how
they are set up, whom they follow and how far behind, what their clocks say and when
their certificates end; at the links of its nodes and whose certificates they have; at
the health of nodes that can be asked from here.

Each row is ok, unknown (it could not be looked at from here), warn or FAULT; what is
not ok says how to mend it. Nothing is changed. With a fault it ends with 1.`,
		Example: `  roam check
  roam check --region us-west-1 --json staging.yaml`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return runCheck(c, fileOf(args), f) },
	}
	c.Flags().StringVar(&f.region, "region", "", "which of its Regions this machine is in: links are dialled with its certificate")
	c.Flags().DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for answers")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("region", completeRegions) // the flag is there
	return c
}

func runCheck(c *cobra.Command, name string, f checkFlags) error {
	d, err := readConfig(name)
	if err != nil {
		return err
	}
	if _, ok := d.Region(f.region); f.region != "" && !ok {
		return usagef("--region %q is not in %s: want one of %s", f.region, name, strings.Join(d.Names(), ", "))
	}
	if f.timeout <= 0 {
		return usagef("--timeout %v: want more than 0", f.timeout)
	}
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	shown := newProgress(ctx, c.ErrOrStderr())
	rows := check.Run(ctx, d, check.Options{Here: f.region, Getenv: os.Getenv, Now: time.Now(), Progress: shown.set})
	shown.end()
	if f.json {
		err = printJSON(c.OutOrStdout(), map[string]any{"file": name, "state": check.Worst(rows), "rows": rows})
	} else {
		err = printRows(c, rows)
	}
	if err == nil && check.Worst(rows) == check.Fault {
		return errUnwell
	}
	return err
}
