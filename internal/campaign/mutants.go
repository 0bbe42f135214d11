package campaign

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/roam-sessions/roam/internal/mutant"
)

// A Finding is what became of one mutant.
type Finding struct {
	Mutant    string `json:"mutant"`
	Rule      string `json:"rule"`
	What      string `json:"what"`
	With      string `json:"with,omitempty"`
	Found     bool   `json:"found"`
	Seed      uint64 `json:"seed,omitempty"` // that found it
	Invariant string `json:"invariant,omitempty"`
}

// Hunt runs each mutant in a process of its own, since what is awake is decided
// when a process starts: as many at a time as there are cores, one worker each.
func Hunt(ctx context.Context, mutants []mutant.Mutant, seeds uint64, talk io.Writer) ([]Finding, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	out, faults := make([]Finding, len(mutants)), make([]error, len(mutants))
	next := make(chan int)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range next {
				out[i], faults[i] = run(ctx, self, mutants[i], seeds)
				_, _ = fmt.Fprintln(talk, out[i])
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	all.Wait()
	return out, errors.Join(faults...)
}

// run hunts one mutant.
func run(ctx context.Context, self string, m mutant.Mutant, seeds uint64) (Finding, error) {
	f := Finding{Mutant: m.Name, Rule: m.Rule, What: m.What, With: strings.Join(m.With, ", ")}
	cmd := exec.CommandContext(ctx, self, "--workers", "1", "--seeds", fmt.Sprint(seeds), "--no-story", "--json") //nolint:gosec // this program
	cmd.Env = append(slices.Clone(os.Environ()), mutant.Switch+"="+m.Awake())
	b, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return f, nil
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		// A mutant may well end in a panic: then somebody noticed too.
		if exit != nil && bytes.Contains(exit.Stderr, []byte("panic:")) {
			f.Found, f.Invariant = true, "a broken assertion"
			return f, nil
		}
		return f, fmt.Errorf("run mutant %s: %w", m.Name, err)
	}
	var sum struct {
		Failed []struct {
			Seed      uint64 `json:"seed"`
			Invariant string `json:"invariant"`
		} `json:"failed"`
	}
	if err := json.NewDecoder(bufio.NewReader(bytes.NewReader(b))).Decode(&sum); err != nil || len(sum.Failed) == 0 {
		return f, fmt.Errorf("read what became of mutant %s: %w: %.200s", m.Name, err, b)
	}
	f.Found, f.Seed, f.Invariant = true, sum.Failed[0].Seed, sum.Failed[0].Invariant
	return f, nil
}

// String tells the finding in a line.
func (f Finding) String() string {
	with := ""
	if f.With != "" {
		with = " (with " + f.With + ")"
	}
	if !f.Found {
		return fmt.Sprintf("SURVIVES  %s%s: %s", f.Mutant, with, f.What)
	}
	return fmt.Sprintf("found     %s%s: seed %d breaks %s", f.Mutant, with, f.Seed, f.Invariant)
}
