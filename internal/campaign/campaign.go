package campaign

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/sim"
)

// A Campaign is many seeds in a row.
type Campaign struct {
	Start   uint64 // first seed; 0: 1
	Seeds   uint64
	Regions int // of each run; 0: drawn by each seed
	Workers int // 0: as many as the processor has cores
	// MostFailures stops a campaign that has found so many failing seeds; 0: the
	// first one stops it.
	MostFailures int
	// Stop, if set, ends the campaign early when it is closed.
	Stop <-chan struct{}
	// Progress, if set, is told how far it is, a few times a minute.
	Progress func(Summary)
}

// A Summary is what a campaign came to so far.
type Summary struct {
	Seeds      uint64
	Violations int // of invariants, in all seeds
	Virtual    time.Duration
	Took       time.Duration
	Events     uint64
	Stats      sim.Stats
	// Trace is a hash over the traces of all seeds in their order: two campaigns
	// over the same seeds and code have the same, on every machine.
	Trace  uint64
	Failed []sim.Result // at most MostFailures, by seed
}

// String is the line that scripts read.
func (s Summary) String() string {
	return fmt.Sprintf("seeds=%d virtual_hours=%.1f violations=%d trace=%016x", s.Seeds, s.Virtual.Hours(), s.Violations, s.Trace)
}

// Rate returns the seeds run in a second.
func (s Summary) Rate() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Seeds) / s.Took.Seconds()
}

// block is how many seeds are run between two looks at what was found. It does
// not depend on the number of workers, and so neither does the summary.
const block = 64

// Run runs the campaign: all of its seeds, or until it has found enough.
func (c Campaign) Run() Summary {
	start := max(c.Start, 1)
	workers := c.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	begun, told := time.Now(), time.Now()
	sum := Summary{Trace: sim.TraceStart}
	for from := start; from < start+c.Seeds; from += block {
		n := min(block, start+c.Seeds-from)
		for _, r := range runBlock(from, n, workers, c.Regions) {
			sum.add(r, max(c.MostFailures, 1))
		}
		sum.Took = time.Since(begun)
		if c.Progress != nil && time.Since(told) > 5*time.Second {
			told = time.Now()
			c.Progress(sum)
		}
		if len(sum.Failed) >= max(c.MostFailures, 1) || c.stopped() {
			break
		}
	}
	return sum
}

func (c Campaign) stopped() bool {
	select {
	case <-c.Stop: // nil: never
		return true
	default:
		return false
	}
}

// runBlock runs n seeds on some workers and returns their results in order.
func runBlock(from, n uint64, workers int, regions int) []sim.Result {
	out := make([]sim.Result, n)
	next := make(chan uint64)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range next {
				out[i] = sim.Run(from+i, sim.Options{Regions: regions})
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return out
}

// SummaryOf returns the summary of one run.
func SummaryOf(r sim.Result) Summary {
	sum := Summary{Trace: sim.TraceStart}
	sum.add(r, 1)
	return sum
}

func (s *Summary) add(r sim.Result, most int) {
	s.Seeds++
	s.Violations += len(r.Violations)
	s.Virtual += r.Virtual
	s.Events += r.Events
	s.Trace = sim.MixTrace(s.Trace, r.Trace)
	s.Stats = s.Stats.Plus(r.Stats)
	if len(r.Violations) > 0 && len(s.Failed) < most {
		s.Failed = append(s.Failed, r)
	}
}

// Shrink returns the shortest story that it can find which breaks the same
// invariant as r did, as a run with words. It drops actions, many at a time at
// first, and tries at most a number of runs.
func Shrink(r sim.Result, tries int, o sim.Options) sim.Result {
	return shrink(r, tries, o, sim.Run)
}

func shrink(r sim.Result, tries int, o sim.Options, run func(uint64, sim.Options) sim.Result) sim.Result {
	best, broken := r, r.Violations[0].Invariant
	without := map[int]bool{}
	for chunk := len(r.Story) / 2; chunk > 0 && tries > 0; chunk /= 2 {
		for at := 0; at < len(best.Story) && tries > 0; tries-- {
			o.Without = maps.Clone(without)
			for _, a := range best.Story[at:min(at+chunk, len(best.Story))] {
				o.Without[a.Serial] = true
			}
			next := run(r.Seed, o)
			if !breaks(next, broken) {
				at += chunk
				continue
			}
			best, without = next, o.Without // what follows has moved up
		}
	}
	o.Without, o.Words = without, true
	return run(r.Seed, o)
}

func breaks(r sim.Result, invariant string) bool {
	return slices.ContainsFunc(r.Violations, func(v sim.Violation) bool { return v.Invariant == invariant })
}
