package simcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/campaign"
	"github.com/roam-sessions/roam/internal/mutant"
	"github.com/roam-sessions/roam/internal/sim"
)

// errFound ends a command that has said what it found.
var errFound = errors.New("found")

// Main does what args ask for, results to out and talk to talk, and returns the
// exit code: 0, 1 if an invariant was broken, 2 if it was asked wrongly.
func Main(ctx context.Context, args []string, out, talk io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(talk)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return 1
	}
	_, _ = fmt.Fprintf(talk, "roam-sim: %v\n", err)
	return 2
}

// asked is what the command line asks for.
type asked struct {
	start, seeds, seed uint64
	regions, workers   int
	failures           int
	json, noStory      bool
}

func command() *cobra.Command {
	var a asked
	c := &cobra.Command{
		Use:   "roam-sim",
		Short: "Simulate deployments of Roam and check that sessions survive",
		Long: `Each seed is a deployment of its own in virtual time, with browsers, faults and
clocks that are wrong; the same seed is the same run on every machine. The last
line is seeds=N virtual_hours=H violations=V trace=HASH. The exit code is 1 if an
invariant of docs/invariants.md was broken; the seed's shortest story is told then.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(a.check(), checkAwake(os.Getenv(mutant.Switch))); err != nil {
				return err
			}
			if a.seed != 0 {
				return a.one(c)
			}
			return a.many(c)
		},
	}
	f := c.Flags()
	f.Uint64Var(&a.seeds, "seeds", 1000, "how many seeds to run")
	f.Uint64Var(&a.start, "start", 1, "the first seed")
	f.Uint64Var(&a.seed, "seed", 0, "run this seed alone and tell its story")
	f.IntVar(&a.regions, "regions", 0, "Regions of each run, 3 to 5; 0: drawn by each seed")
	f.IntVar(&a.workers, "workers", 0, "seeds run at a time; 0: one a core")
	f.IntVar(&a.failures, "failures", 1, "go on until so many seeds have failed")
	f.BoolVar(&a.noStory, "no-story", false, "do not look for the shortest story of a seed that fails")
	f.BoolVar(&a.json, "json", false, "print the summary as JSON before the last line")
	c.AddCommand(mutantsCommand(), overlayCommand(), seekCommand())
	return c
}

func (a asked) check() error {
	switch {
	case a.regions != 0 && (a.regions < 3 || a.regions > 5):
		return fmt.Errorf("--regions %d: want 3 to 5, or 0 to have each seed draw them", a.regions)
	case a.seeds == 0:
		return errors.New("--seeds 0: want one at least")
	case a.start == 0:
		return errors.New("--start 0: seeds are numbered from 1")
	case a.workers < 0:
		return fmt.Errorf("--workers %d: want 0 or more", a.workers)
	case a.failures < 1:
		return fmt.Errorf("--failures %d: want 1 or more", a.failures)
	}
	return nil
}

// checkAwake refuses names of mutants that there are not.
func checkAwake(names string) error {
	var faults []error
	for name := range strings.SplitSeq(names, ",") {
		if _, ok := mutant.Named(name); !ok && name != "" {
			faults = append(faults, fmt.Errorf("%s names no mutant %q; internal/mutant lists them", mutant.Switch, name))
		}
	}
	return errors.Join(faults...)
}

// one runs one seed and tells its story.
func (a asked) one(c *cobra.Command) error {
	r := sim.Run(a.seed, sim.Options{Regions: a.regions, Words: true})
	if err := report(c.OutOrStdout(), r, len(r.Lines)); err != nil {
		return err
	}
	return a.end(c, campaign.SummaryOf(r))
}

// many runs a campaign.
func (a asked) many(c *cobra.Command) error {
	talk := c.ErrOrStderr()
	sum := campaign.Campaign{
		Start: a.start, Seeds: a.seeds, Regions: a.regions, Workers: a.workers,
		MostFailures: a.failures, Stop: c.Context().Done(),
		Progress: func(s campaign.Summary) {
			left := time.Duration(float64(a.seeds-s.Seeds) / s.Rate() * float64(time.Second))
			_, _ = fmt.Fprintf(talk, "%d of %d seeds, %.0f a second, %.0f virtual hours, about %v left%s\n",
				s.Seeds, a.seeds, s.Rate(), s.Virtual.Hours(), left.Round(time.Second), failing(s))
		},
	}.Run()
	for _, r := range sum.Failed {
		if a.noStory {
			_, _ = fmt.Fprintf(c.OutOrStdout(), "seed %d: %v\n", r.Seed, r.Violations[0])
			continue
		}
		_, _ = fmt.Fprintf(talk, "seed %d breaks %s; looking for its shortest story\n", r.Seed, r.Violations[0].Invariant)
		if err := report(c.OutOrStdout(), campaign.Shrink(r, shrinkTries, sim.Options{Regions: a.regions}), mostLines); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(talk, "%.1f seeds a second, %d events, %+v\n", sum.Rate(), sum.Events, sum.Stats)
	return a.end(c, sum)
}

// failing says which seeds have failed so far, if any.
func failing(s campaign.Summary) string {
	if len(s.Failed) == 0 {
		return ""
	}
	seeds := make([]string, len(s.Failed))
	for i, r := range s.Failed {
		seeds[i] = strconv.FormatUint(r.Seed, 10)
	}
	return "; failed: " + strings.Join(seeds, ", ")
}

// shrinkTries bounds how many runs the search for the shortest story takes: some
// 20 seconds.
const shrinkTries = 400

// end prints the summary; its line is the last.
func (a asked) end(c *cobra.Command, sum campaign.Summary) error {
	out := c.OutOrStdout()
	if a.json {
		failed := []map[string]any{}
		for _, r := range sum.Failed {
			failed = append(failed, map[string]any{"seed": r.Seed, "invariant": r.Violations[0].Invariant})
		}
		b, err := json.MarshalIndent(map[string]any{
			"seeds": sum.Seeds, "virtual_hours": sum.Virtual.Hours(), "violations": sum.Violations,
			"trace": fmt.Sprintf("%016x", sum.Trace), "events": sum.Events, "seconds": sum.Took.Seconds(),
			"stats": sum.Stats, "failed": failed,
		}, "", "  ")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", b); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, sum); err != nil {
		return err
	}
	if sum.Violations > 0 {
		return errFound
	}
	return c.Context().Err()
}
