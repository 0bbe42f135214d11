package simcli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/campaign"
	"github.com/roam-sessions/roam/internal/mutant"
)

// mutantSeeds is within how many seeds each mutant has to be found.
const mutantSeeds = 1000

// seedPatience is a hundred times what the slowest seed takes on a busy machine.
const seedPatience = time.Minute

// seekCommand is what the hunt runs in processes of its own.
func seekCommand() *cobra.Command {
	var start, seeds uint64
	var of string
	c := &cobra.Command{
		Use:    "seek",
		Short:  "Run seeds one after another until one breaks an invariant, a line each",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return campaign.Seek(c.Context(), of, start, seeds, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&of, "of", "", "which simulation: \"control\", or that of sessions")
	c.Flags().Uint64Var(&start, "start", 1, "the first seed")
	c.Flags().Uint64Var(&seeds, "seeds", 1, "how many seeds to run")
	return c
}

func overlayCommand() *cobra.Command {
	var root string
	c := &cobra.Command{
		Use:   "overlay DIR",
		Short: "Write an overlay with all mutants for go build into DIR, and print its file",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := mutant.Write(root, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), file)
			return err
		},
	}
	c.Flags().StringVar(&root, "root", ".", "top of the module")
	return c
}

func mutantsCommand() *cobra.Command {
	var asJSON, fresh bool
	var seeds uint64
	c := &cobra.Command{
		Use:   "mutants [NAME…]",
		Short: "Run each mutant until a seed finds it; for a binary built with the overlay",
		RunE: func(c *cobra.Command, names []string) error {
			all := mutant.All()
			if len(names) > 0 {
				all = nil
			}
			for _, n := range names {
				m, ok := mutant.Named(n)
				if !ok {
					return fmt.Errorf("no mutant %q; internal/mutant lists them", n)
				}
				all = append(all, m)
			}
			found, err := campaign.Hunt{
				Seeds: seeds, Known: !fresh, Patience: seedPatience, Talk: c.ErrOrStderr(),
			}.Run(c.Context(), all)
			if err != nil {
				return err
			}
			return tell(c.OutOrStdout(), found, asJSON)
		},
	}
	c.Flags().BoolVar(&fresh, "fresh", false, "forget the seeds that are known to find them, and look for the first")
	c.Flags().BoolVar(&asJSON, "json", false, "print findings as JSON")
	c.Flags().Uint64Var(&seeds, "seeds", mutantSeeds, "within how many seeds each has to be found")
	return c
}

// tell prints the table, and fails if a mutant lives.
func tell(w io.Writer, found []campaign.Finding, asJSON bool) error {
	alive := 0
	var b strings.Builder
	b.WriteString("| mutant | rule | what it does instead | with | first seed | breaks |\n|---|---|---|---|---|---|\n")
	for _, f := range found {
		if !f.Found {
			alive++
			f.Invariant = "**nothing**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %d | %s |\n", f.Mutant, f.Rule, f.What, f.With, f.Seed, f.Invariant)
	}
	if asJSON {
		text, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return err
		}
		b.Reset()
		b.Write(append(text, '\n'))
	}
	fmt.Fprintf(&b, "mutants=%d found=%d\n", len(found), len(found)-alive)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if alive > 0 {
		return errFound
	}
	return nil
}
