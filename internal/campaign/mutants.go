package campaign

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/controlsim"
	"github.com/roam-sessions/roam/internal/mutant"
	"github.com/roam-sessions/roam/internal/sim"
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
	// Moved: the seed that found it once does so no longer.
	Moved uint64 `json:"moved,omitempty"`
}

// A Hunt looks for seeds that notice mutants. What is awake is decided when a
// process starts, so each is hunted in processes of its own.
type Hunt struct {
	Seeds uint64 // within how many of them each has to be found
	// Known has the hunt begin at the seed that found the mutant last.
	Known bool
	// Patience is how long one seed may take; beyond, the mutant is found to hang.
	Patience time.Duration
	Talk     io.Writer
	// Program is what is run, with "seek" and its flags; empty: this one.
	Program string
}

// Run hunts all mutants, as many at a time as there are cores, and returns what
// became of each, in their order.
func (h Hunt) Run(ctx context.Context, mutants []mutant.Mutant) ([]Finding, error) {
	if h.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		h.Program = self
	}
	out, faults := make([]Finding, len(mutants)), make([]error, len(mutants))
	next := make(chan int)
	var told sync.Mutex // guards h.Talk
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range next {
				start := time.Now()
				out[i], faults[i] = h.hunt(ctx, mutants[i])
				told.Lock()
				_, _ = fmt.Fprintf(h.Talk, "%v (%.1f s)\n", out[i], time.Since(start).Seconds())
				told.Unlock()
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

// hunt hunts one mutant: with the seed that is known to find it, then with all.
func (h Hunt) hunt(ctx context.Context, m mutant.Mutant) (Finding, error) {
	f := Finding{Mutant: m.Name, Rule: m.Rule, What: m.What, With: strings.Join(m.With, ", ")}
	if h.Known && m.Seed != 0 {
		found, err := h.first(ctx, m, m.Seed, 1)
		if err != nil || found.broken != "" {
			return f.with(found), err
		}
		f.Moved = m.Seed
	}
	found, err := h.first(ctx, m, 1, h.Seeds)
	return f.with(found), err
}

func (f Finding) with(s sought) Finding {
	if s.broken != "" {
		f.Found, f.Seed, f.Invariant = true, s.seed, s.broken
	}
	return f
}

// first returns the first of n seeds that m fails and the code itself does not,
// nor with those awake that m goes with: of a seed that fails anyway nothing follows.
func (h Hunt) first(ctx context.Context, m mutant.Mutant, from, n uint64) (sought, error) {
	for end := from + n; from < end; {
		found, err := h.seek(ctx, m.Of, m.Awake(), from, end-from)
		if err != nil || found.broken == "" {
			return found, err
		}
		passes, err := h.passes(ctx, m, found.seed)
		if err != nil || passes {
			return found, err
		}
		from = found.seed + 1
	}
	return sought{}, nil
}

// passes reports whether a seed passes without m.
func (h Hunt) passes(ctx context.Context, m mutant.Mutant, seed uint64) (bool, error) {
	plain, err := h.seek(ctx, m.Of, "", seed, 1)
	if err == nil && plain.broken == "" && len(m.With) > 0 {
		plain, err = h.seek(ctx, m.Of, strings.Join(m.With, ","), seed, 1)
	}
	return err == nil && plain.broken == "", err
}

// A sought is the seed at which a process stopped, and what it broke there; the
// empty string is nothing.
type sought struct {
	seed   uint64
	broken string
}

const (
	// hangs is what a seed breaks that takes longer than Hunt.Patience.
	hangs = "time: it hangs"
	// panics is what it breaks that ends the process.
	panics = "an assertion: it panics"
)

// seek runs seeds in a process in which some mutants are awake, until one fails.
func (h Hunt) seek(ctx context.Context, of, awake string, from, n uint64) (sought, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Program, "seek", "--of", of, "--start", fmt.Sprint(from), "--seeds", fmt.Sprint(n)) //nolint:gosec // this program
	cmd.Env = append(slices.Clone(os.Environ()), "GOMAXPROCS=1", "GOGC=400", mutant.Switch+"="+awake)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	lines, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return sought{}, fmt.Errorf("run mutant %q: %w", awake, err)
	}
	timer := time.AfterFunc(h.Patience, cancel)
	var last sought
	for words := bufio.NewScanner(lines); words.Scan(); {
		timer.Reset(h.Patience)
		last = parseSought(words.Text())
	}
	late := !timer.Stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case late:
		last.broken = hangs
	case err == nil && last.broken == begun:
		last.broken = ""
	case err == nil:
	case errors.As(err, &exit) && strings.Contains(complaint.String(), "goroutine "):
		last.broken = panics
	default:
		return sought{}, fmt.Errorf("run mutant %q: %w: %.200s", awake, err, complaint.String())
	}
	return last, nil
}

// begun stands for a seed that was begun and of which no more is known yet.
const begun = "begun"

// Seek runs seeds of a simulation, as mutant.Mutant.Of has it, one after another, in this
// process, until one breaks an invariant. It says what it begins and what it found, a line
// each: a seed, and "begun" or an invariant.
func Seek(ctx context.Context, of string, from, n uint64, out io.Writer) error {
	for seed := from; seed < from+n && ctx.Err() == nil; seed++ {
		if _, err := fmt.Fprintln(out, seed, begun); err != nil {
			return err
		}
		if broken := brokenBy(of, seed); broken != "" {
			_, err := fmt.Fprintln(out, seed, broken)
			return err
		}
	}
	return ctx.Err()
}

// brokenBy returns the first invariant that a seed breaks; the empty string: none.
func brokenBy(of string, seed uint64) string {
	if of == mutant.Control {
		if r := controlsim.Run(seed, controlsim.Options{}); len(r.Violations) > 0 {
			return r.Violations[0].Invariant
		}
		return ""
	}
	if r := sim.Run(seed, sim.Options{}); len(r.Violations) > 0 {
		return r.Violations[0].Invariant
	}
	return ""
}

func parseSought(line string) (s sought) {
	_, _ = fmt.Sscan(line, &s.seed, &s.broken) // what Seek has written
	return s
}

// String tells the finding in a line.
func (f Finding) String() string {
	with, moved := "", ""
	if f.With != "" {
		with = " (with " + f.With + ")"
	}
	if f.Moved != 0 {
		moved = fmt.Sprintf("; seed %d finds it no longer", f.Moved)
	}
	if !f.Found {
		return fmt.Sprintf("SURVIVES  %s%s: %s%s", f.Mutant, with, f.What, moved)
	}
	return fmt.Sprintf("found     %s%s: seed %d breaks %s%s", f.Mutant, with, f.Seed, f.Invariant, moved)
}
