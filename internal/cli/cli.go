package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and failed, or something was not as it should be
	exitUsage  = 2 // it was asked wrongly; nothing was done
)

// A usageError is a fault of the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run does what args ask for, results to out and talk to talk, and returns the
// exit code: 0, 1 if it failed, 2 if it was asked wrongly. It ends soon after ctx.
func Run(ctx context.Context, args []string, out, talk io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(talk)
	return exitCode(root.ExecuteContext(ctx), talk)
}

// exitCode says what went wrong, if anything did, and returns the code for it.
func exitCode(err error, talk io.Writer) int {
	var usage usageError
	var bad badConfig
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDiffers), errors.Is(err, errUnwell):
		return exitFailed // the tour, or the table, has said what
	case errors.Is(err, errFaults):
		return exitUsage // they have been printed
	case errors.As(err, &bad):
		_, _ = fmt.Fprintln(talk, bad) // without a name in front: editors find the lines
		return exitUsage
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(talk, "roam: %v\n", err)
		return exitUsage
	}
	_, _ = fmt.Fprintf(talk, "roam: %v\n", err)
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "roam",
		Short: "Keep users logged in wherever they turn up",
		Long: `Roam is a multi-Region session store: users stay logged in wherever they turn
up, and stay logged out once they log out.

Start with "roam demo": three Regions on this machine, with a shop and a console.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w\nRun %q for its flags", err, c.CommandPath()+" --help")
	})
	root.SuggestionsMinimumDistance = 2 // letters that may be wrong
	root.AddCommand(demoCommand(), shopCommand(), nodeCommand(), witnessCommand(), statusCommand(), switchoverCommand(), failoverCommand(),
		receiptsCommand(), eventsCommand(), regionCommand(), modeCommand(), controlsCommand(), tokenCommand(),
		checkCommand(), configCommand(), pkiCommand(), awsCommand(), fakeawsCommand(), versionCommand())
	strictHelp(root)
	return root
}

// strictHelp makes cobra's own commands refuse words that mean nothing to them,
// as ours do; they would print something else and report success.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return usageError{err}
				}
				return noArgs(about, rest)
			}
		case "completion":
			c.Args = noArgs
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			for _, shell := range c.Commands() {
				shell.Args = noArgs
			}
		}
	}
}

// noArgs refuses words that are no command.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf(" Did you mean %q?", s[0])
	}
	return usagef("no command or argument %q.%s\nRun %q for what there is", args[0], hint, c.CommandPath()+" --help")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "roam", version)
			return err
		},
	}
}
