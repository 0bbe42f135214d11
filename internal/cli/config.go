package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

// configName is where commands look for a deployment if they are not told.
const configName = "roam.yaml"

// errFaults says that a file has faults, which were printed as results.
var errFaults = errors.New("the file has faults")

// A badConfig is a file that has faults.
type badConfig struct {
	name   string
	faults topology.Faults
}

// Error returns each fault on a line as compilers write theirs.
func (b badConfig) Error() string {
	lines := make([]string, 0, len(b.faults))
	for _, f := range b.faults {
		at := b.name + ":"
		if f.Line == 0 {
			at += " "
		}
		lines = append(lines, at+f.String())
	}
	return strings.Join(lines, "\n")
}

// readConfig reads a deployment, its paths as seen from here. It fails with a
// usageError, which may be of a badConfig.
func readConfig(name string) (topology.Deployment, error) {
	d, err := opener.ReadFile(name)
	faults := topology.Faults(nil)
	switch {
	case err == nil:
		return d, nil
	case errors.As(err, &faults):
		return d, usageError{badConfig{name, faults}}
	case errors.Is(err, fs.ErrNotExist):
		return d, usagef("read the deployment: %w\nRun \"roam config example\" for one to begin with", err)
	}
	return d, usagef("read the deployment: %w", err)
}

// oneFile refuses more than one file.
func oneFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%d files: check one at a time", len(args))
	}
	return nil
}

// fileOf returns the file that is named, or the one to look for.
func fileOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return configName
}

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check the file that describes a deployment, or print an example",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(configCheckCommand(), configExampleCommand())
	return c
}

func configExampleCommand() *cobra.Command {
	var control, cache bool
	var kind string
	c := &cobra.Command{
		Use:   "example",
		Short: "Print a file with comments, of three Regions on this machine",
		Long: `Print a file with comments, of three Regions on this machine; or, with --control, of
two Regions and a witness that decide together which Region takes all writes; or, with
--elasticache, of the same on a Global Datastore of ElastiCache; or, with --engine, of
Regions that keep sessions in PostgreSQL, Aurora DSQL or DynamoDB.`,
		Example: `  roam config example > roam.yaml
  roam config example --control
  roam config example --elasticache
  roam config example --engine dynamo`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			text, ok := topology.EngineExample(kind)
			switch {
			case !ok:
				return usagef("--engine %q: want one of %s", kind, strings.Join(topology.Kinds(), ", "))
			case (control || cache) && c.Flags().Changed("engine"):
				return usagef("--control and --elasticache are of servers of Valkey: take --engine away")
			case control:
				text = topology.ControlExample()
			case cache:
				text = topology.DatastoreExample()
			}
			_, err := io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().BoolVar(&control, "control", false, "one with a control plane: lease, alarms, webhooks, names")
	c.Flags().StringVar(&kind, "engine", "memory", "where its Regions keep sessions: "+strings.Join(topology.Kinds(), ", "))
	_ = c.RegisterFlagCompletionFunc("engine", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return topology.Kinds(), cobra.ShellCompDirectiveNoFileComp
	}) // the flag is there
	c.Flags().BoolVar(&cache, "elasticache", false, "one on a Global Datastore of ElastiCache")
	c.MarkFlagsMutuallyExclusive("control", "elasticache")
	return c
}

func configCheckCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Print all faults of a deployment's file",
		Long: `Print all faults of a deployment's file, ` + configName + ` by default: one a line, as
FILE:LINE:COLUMN: WHERE: WHAT; WHAT TO DO. With faults it ends with 2. Nothing
is connected to, and no file that it names is opened.`,
		Example: `  roam config check
  roam config check --json staging.yaml`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return checkConfig(c, fileOf(args), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func checkConfig(c *cobra.Command, name string, asJSON bool) error {
	d, err := readConfig(name)
	var bad badConfig
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	switch {
	case asJSON:
		result := struct {
			File     string          `json:"file"`
			Topology string          `json:"topology"`
			Regions  []string        `json:"regions"`
			Faults   topology.Faults `json:"faults"`
		}{name, d.Topology, append([]string{}, d.Names()...), append(topology.Faults{}, bad.faults...)}
		err = printJSON(c.OutOrStdout(), result)
	case len(bad.faults) > 0:
		_, err = fmt.Fprintln(c.OutOrStdout(), bad)
	default:
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: good: %s, %s\n", name, d.Topology, strings.Join(d.Names(), ", "))
	}
	if err == nil && len(bad.faults) > 0 {
		return errFaults
	}
	return err
}

// completeRegions offers the Regions of the file that --config names.
func completeRegions(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return completed(c, topology.Deployment.Names)
}
