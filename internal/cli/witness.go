package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/topology"
)

func witnessCommand() *cobra.Command {
	var config, name, format string
	c := &cobra.Command{
		Use:   "witness",
		Short: "Run a member that votes and keeps no sessions",
		Long: `Run a witness of a deployment until it is interrupted: a member of the control
plane that votes, keeps no sessions, and leads nobody. Put it in a third place, so
that a majority is left when a Region is lost.`,
		Example: `  roam witness --name witness-1`,
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runWitness(c, config, name, format) },
	}
	c.Flags().StringVar(&config, "config", configName, "the file that describes the deployment")
	c.Flags().StringVar(&name, "name", "", "which of its witnesses this is")
	c.Flags().StringVar(&format, "log-format", "text", "how to write the log to stderr: text or json")
	_ = c.RegisterFlagCompletionFunc("name", completeWitnesses) // the flag is there
	_ = c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func runWitness(c *cobra.Command, config, name, format string) error {
	log, err := logger(c.ErrOrStderr(), format)
	if err != nil {
		return err
	}
	d, err := readConfig(config)
	if err != nil {
		return err
	}
	folder := filepath.Dir(config)
	d = node.Agreed(d, name, folder, log)
	return runs(c.Context(), log, d, name, func(ctx context.Context, d topology.Deployment) (process, error) {
		w, err := node.StartWitness(ctx, d, name, node.Config{Log: log, Folder: folder})
		if errors.Is(err, node.ErrWitness) {
			return nil, usagef("--name %q is not in %s: want one of %q", name, config, witnessesOf(d))
		}
		if err != nil {
			return nil, err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "api      %s\n", w.API())
		return w, err
	})
}

func completeWitnesses(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return completed(c, witnessesOf)
}

// witnessesOf returns the names of a deployment's witnesses.
func witnessesOf(d topology.Deployment) (names []string) {
	for _, m := range d.Voters() {
		if m.Witness {
			names = append(names, m.Name)
		}
	}
	return names
}
