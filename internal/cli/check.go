package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/check"
	"github.com/roam-sessions/roam/internal/topology"
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
the health of nodes that can be asked from here; at where its addresses lead to, and
whether that is in the networks of their Regions.

Where it has a control plane, all members are asked what they know: whether a majority
takes part and how many more may be lost, who may be lost together, what they have
agreed on and whether FILE is that, who leads, whom they hear, their clocks and versions,
the lease, open receipts, alarms. What says outside of Roam where the writer is, at other
servers, at Route 53 or as routing controls of AWS, is asked whether it agrees with the
lease. They want the certificate of --region, or what
` + tokenVariable + ` or ` + certVariable + ` says: without them that is unknown.

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
	o := check.Options{Here: f.region, Getenv: os.Getenv, Now: time.Now()}
	if err := showTo(d, name, &o); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	shown := newProgress(ctx, c.ErrOrStderr())
	o.Progress = shown.set
	rows := check.Run(ctx, d, o)
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

// showTo says what is shown to members, and whom to believe, as the environment names them.
// What is named there and is no good is a fault of whoever asks.
func showTo(d topology.Deployment, name string, o *check.Options) error {
	show, err := (&asking{config: name}).showing(d)
	if err != nil || d.Control == nil {
		return err
	}
	o.Token = show.token
	if d.Links.TLS == nil || show.cert == "" && os.Getenv(caVariable) == "" {
		return nil
	}
	if o.TLS, err = show.tls(o.Now); err != nil {
		return usagef("%w", err)
	}
	return nil
}
