package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/topology"
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
	folder := filepath.Dir(config)
	d = node.Agreed(d, region, folder, log)
	return runs(c.Context(), log, d, region, func(ctx context.Context, d topology.Deployment) (process, error) {
		n, err := node.Start(ctx, d, region, node.Config{Log: log, Folder: folder})
		if errors.Is(err, node.ErrRegion) {
			return nil, usagef("--region %q is not in %s: want one of %s", region, config, strings.Join(d.Names(), ", "))
		}
		if err != nil {
			return nil, err
		}
		r, _ := d.Region(region)
		return n, tellNode(c.OutOrStdout(), d, r, n)
	})
}

// tellNode says where a node is reached.
func tellNode(to io.Writer, d topology.Deployment, r topology.Region, n *node.Node) error {
	var b strings.Builder
	if d.Pushes() {
		fmt.Fprintf(&b, "links    %s\n", r.Node.Links)
	}
	fmt.Fprintf(&b, "health   http://%s/readyz\nmetrics  http://%s/metrics\n", n.HTTP(), n.HTTP())
	if d.Control != nil {
		fmt.Fprintf(&b, "api      %s\n", r.Node.API)
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// A process runs by a deployment until it is closed, and tells of another one that it
// should run by.
type process interface {
	Replaced() <-chan topology.Deployment
	Close() error
}

// runs runs the process of a member until ctx ends, or it is taken out of the deployment, by
// what members agreed on last.
func runs(ctx context.Context, log *slog.Logger, d topology.Deployment, self string, start func(context.Context, topology.Deployment) (process, error)) error {
	for {
		p, err := start(ctx, d)
		if err != nil {
			if p != nil {
				_ = p.Close() // err says more
			}
			return err
		}
		select {
		case <-ctx.Done():
			log.Info("ending: saying goodbye to peers")
			return p.Close()
		case d = <-p.Replaced():
			log.Info("members agreed on another file: starting again by it", "regions", d.Names())
			if err := p.Close(); err != nil {
				return err
			}
			if !slices.ContainsFunc(d.Voters(), func(m topology.Member) bool { return m.Name == self }) {
				log.Info("this member was taken out of the deployment: ending", "member", self)
				return nil
			}
		}
	}
}
