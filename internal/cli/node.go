package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/node"
)

func nodeCommand() *cobra.Command {
	var config, region, format string
	c := &cobra.Command{
		Use:   "node",
		Short: "Run one Region's part of a deployment",
		Long: `Run one Region's part of a deployment until it is interrupted: push what is
written in its engine to the nodes of other Regions, take in what they push, and
serve /livez, /readyz and /metrics. An engine that is out of reach is tried again.`,
		Example: `  roam config example > roam.yaml
  roam node --region us-west-1`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runNode(c, config, region, format) },
	}
	c.Flags().StringVar(&config, "config", configName, "the file that describes the deployment")
	c.Flags().StringVar(&region, "region", "", "which of its Regions this is")
	c.Flags().StringVar(&format, "log-format", "text", "how to write the log to stderr: text or json")
	_ = c.RegisterFlagCompletionFunc("region", completeRegions) // the flag is there
	_ = c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func logger(to io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(to, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, nil)), nil
	}
	return nil, usagef("--log-format %q: want text or json", format)
}

func runNode(c *cobra.Command, config, region, format string) error {
	log, err := logger(c.ErrOrStderr(), format)
	if err != nil {
		return err
	}
	d, err := readConfig(config)
	if err != nil {
		return err
	}
	if region == "" {
		return usagef("--region is missing: want one of %s", strings.Join(d.Names(), ", "))
	}
	n, err := node.Start(c.Context(), d, region, node.Config{Log: log})
	if errors.Is(err, node.ErrRegion) {
		return usagef("--region %q is not in %s: want one of %s", region, config, strings.Join(d.Names(), ", "))
	}
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }() // never fails
	r, _ := d.Region(region)
	if d.Pushes() {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "links    %s\n", r.Node.Links); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(c.OutOrStdout(), "health   http://%s/readyz\nmetrics  http://%s/metrics\n", n.HTTP(), n.HTTP()); err != nil {
		return err
	}
	<-c.Context().Done()
	log.Info("ending: saying goodbye to peers", "region", region)
	return nil
}
