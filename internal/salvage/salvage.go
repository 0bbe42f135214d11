package salvage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Reader has what a Spool has.
type Reader interface {
	// Read emits what comes after from, in order within each partition.
	Read(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error
}

// A Tailer can say how far its log is without touching it. Head may have a server take
// over a log, and so write to it.
type Tailer interface {
	// Tail returns the positions of the newest entries.
	Tail(ctx context.Context) (engine.Positions, error)
}

// Config is what Run is told. Target is required, and one of Old and Spool.
type Config struct {
	// Old is the engine on the former primary's server, as that has come back; nil: it has
	// not. It is read and never written to.
	Old engine.Engine
	// Intact reports whether Old's server has neither started anew nor followed another one
	// since it was the primary, so that its log ends where it ended. Otherwise what came last
	// may be missing in it. It is asked when all of Old was read: it may be given another's
	// data meanwhile. nil: nobody knows, which is no.
	Intact func(ctx context.Context) bool
	// Spool is what the former primary's node kept of the log; nil: nothing.
	Spool Reader
	// Target is an engine that writes at the present primary.
	Target engine.Engine
	// Fork is how far the target has the former primary's log: what comes after it is what
	// was missing, be it brought home by an earlier run. Where it names no actor that is not
	// known, all of the log is compared, and only what is missing still is listed.
	Fork engine.Positions
	// Parted says that Fork is where the two logs parted, by number: the target's was the
	// beginning of the former primary's then, whoever wrote it. So all that comes after was
	// missing, also what an earlier run brought home, and nothing before was. A target that
	// can tell (Knower) is asked all the same.
	Parted bool
	// Home says that the target is the former primary itself, which has started anew with less
	// than it had, or was given another's data. Old is not needed then, and what is missing
	// still is listed.
	Home bool
	// Held reports whether another Region's engine has a record as well. Run returns nil
	// only when all have been seen to be held. nil: there is no other Region.
	Held func(ctx context.Context, rec crdt.Record) (bool, error)
	// Progress, if set, is called now and then by Run's goroutine.
	Progress func(Progress)
	// Rate bounds the records that are looked at a second, so that the target has time for
	// its users. Default 2,000.
	Rate int
	// Items bounds the writes that the outcome names. Default and most 100,000.
	Items int
	// Listed, if set, is told of each write that is counted, named by the outcome or not, by
	// Run's goroutine. What it was told is all only if Run returns nil.
	Listed func(Item)
	// Quiet is for how long a log may say nothing, three times, until it is thought to have
	// no more. Default 3 s.
	Quiet time.Duration
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Log is told how it goes. Default: discarded.
	Log *slog.Logger
}

// Progress is how far a Run has come.
type Progress struct {
	Entries uint64 // of the log that came after the fork
	Records uint64 // that were looked at
	Adopted uint64 // that were changed at home
}

const maxItems = 100_000

func (c Config) withDefaults() Config {
	if c.Rate == 0 {
		c.Rate = 2000
	}
	if c.Items == 0 {
		c.Items = maxItems
	}
	if c.Quiet == 0 {
		c.Quiet = 3 * time.Second
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	var faults []error
	if c.Target == nil {
		faults = append(faults, errors.New("no Target"))
	}
	if c.Old == nil && c.Spool == nil {
		faults = append(faults, errors.New("neither Old nor Spool: there is nothing to look at"))
	}
	if c.Rate < 1 || c.Items < 1 || c.Items > maxItems || c.Quiet < 0 {
		faults = append(faults, fmt.Errorf("bad Rate %d, Items %d or Quiet %v: want 1 or more, 1 to %d, 0 or more", c.Rate, c.Items, c.Quiet, maxItems))
	}
	return errors.Join(faults...)
}

// Run brings home what the former primary took and the target has not got. It returns nil
// when all that can be had is at the target and held by another Region: only then may the
// source be given other data or be deleted. After an error the outcome is of what was done
// so far; run again then. Doing it twice, or after a crash in between, changes nothing.
//
// Endings are brought before the rest of what is looked at together, and win.
func Run(ctx context.Context, c Config) (Outcome, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return Outcome{}, fmt.Errorf("salvage: %w", err)
	}
	r := &run{Config: c}
	err := r.all(ctx)
	r.out.Open = c.Old == nil || c.Intact == nil || !c.Intact(ctx)
	if err != nil {
		return r.out, fmt.Errorf("salvage: %w", err)
	}
	c.Log.Info("salvage is done", "summary", r.out.Summary(), "adopted", r.out.Adopted)
	return r.out, nil
}

// An entry is one of a log, beyond the fork.
type entry struct {
	frag crdt.Fragment
	// after: the target had not got it when it took over, whether or not it has by now.
	after bool
}

const (
	// maxGathered and maxGatheredBytes bound what is looked at together.
	maxGathered      = 50_000
	maxGatheredBytes = 64 << 20
)

// A run is one Run under way. Its fields are its goroutine's.
type run struct {
	Config
	out      Outcome
	progress Progress
	pace     pace
	stuck    error // of the first record that can't be brought home now

	gathered []entry
	bytes    int
	known    map[crdt.Actor]engine.Positions // how far the target has what they wrote
	seen     [crdt.Partitions]map[crdt.Actor]spans
	ends     [crdt.Partitions]uint64 // the last number that is known of
}

func (r *run) all(ctx context.Context) error {
	if r.Spool != nil {
		err := r.Spool.Read(ctx, r.Fork, func(b engine.Batch) error { return r.gather(ctx, b) })
		if err != nil {
			return err
		}
	}
	if r.Old != nil {
		if err := r.follow(ctx); err != nil {
			return fmt.Errorf("the former primary: %w", err)
		}
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if gone := r.holes(); gone != 0 && r.Old != nil {
		if err := r.scan(ctx, gone); err != nil {
			return err
		}
	}
	return r.stuck
}

// gather takes in a batch of either source, and settles what has come together if that is
// enough.
func (r *run) gather(ctx context.Context, b engine.Batch) error {
	p := b.Partition
	fork, err := r.fork(ctx, p, b.Actor)
	if err != nil {
		return err
	}
	if r.seen[p] == nil {
		r.seen[p] = map[crdt.Actor]spans{}
	}
	seen, whole := r.seen[p][b.Actor], b
	b = beyond(b, fork)
	for i, f := range b.Frags {
		n := b.First + uint64(i) //nolint:gosec // positive
		if f.Effect.Key.IsZero() || seen.has(n) {
			continue
		}
		r.progress.Entries++
		r.gathered = append(r.gathered, entry{f, b.Actor == fork.Actor && !r.Home})
		r.bytes += size(f)
	}
	last := whole.Last().N
	r.seen[p][b.Actor] = seen.with(whole.First, last) // also what the target has is no hole
	r.ends[p] = max(r.ends[p], last)
	if len(r.gathered) >= maxGathered || r.bytes >= maxGatheredBytes {
		return r.settle(ctx)
	}
	return nil
}

// size returns about how many bytes a fragment takes.
func size(f crdt.Fragment) int {
	const fixed = 512
	n := fixed
	for _, x := range f.Effect.Fields {
		n += fixed/4 + len(x.Name) + len(x.Value)
	}
	return n
}

// errAll ends a Follow that has come to the log's end; errQuiet one that says nothing.
var (
	errAll   = errors.New("the log has no more")
	errQuiet = errors.New("the log says nothing more")
)

// follows is how often a log is followed that has fallen silent before it has come to where its
// tail was.
const follows = 3

// follow gathers what the former primary's log has. Silence alone makes no hole: a server that
// was cut off, or has much to do, is silent too. It is asked where its log ends before it is
// followed once more, so that nobody is taken for silent who can't be reached.
func (r *run) follow(ctx context.Context) error {
	log, ok := engine.As[engine.Log](r.Old)
	if !ok {
		return errors.New("its engine keeps no log")
	}
	at := r.Fork
	for try := 1; ; try++ {
		tail, err := tailOf(ctx, r.Old, log)
		if err != nil {
			return err
		}
		err = r.until(ctx, log, &at, tail)
		if quiet := errors.Is(err, errQuiet) && ctx.Err() == nil; !quiet {
			return err
		}
		if try == follows {
			return nil // what it should have had and has not is a hole
		}
	}
}

// until gathers a log from at, which it moves on, to its tail.
func (r *run) until(ctx context.Context, log engine.Log, at *engine.Positions, tail engine.Positions) error {
	var left engine.Partitions
	for p, end := range tail {
		r.ends[p] = max(r.ends[p], end.N)
		if end.N > 0 && end != at[p] {
			left |= engine.PartitionsOf(uint16(p)) //nolint:gosec // below Partitions
		}
	}
	if left == 0 {
		return nil
	}
	quiet, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.Quiet, func() { cancel(errQuiet) })
	defer timer.Stop()
	err := log.Follow(quiet, *at, func(b engine.Batch) error {
		timer.Stop()
		defer timer.Reset(r.Quiet)
		if err := r.gather(ctx, b); err != nil {
			return err
		}
		if at[b.Partition] = b.Last(); b.Last().N >= tail[b.Partition].N {
			left &^= engine.PartitionsOf(b.Partition)
		}
		if left == 0 {
			return errAll
		}
		return nil
	})
	if errors.Is(err, errAll) {
		return nil
	}
	return err
}

func tailOf(ctx context.Context, e engine.Engine, log engine.Log) (engine.Positions, error) {
	if t, ok := engine.As[Tailer](e); ok {
		return t.Tail(ctx)
	}
	return log.Head(ctx)
}

// covers returns the numbers of a partition that were seen, up to where the target has what
// all who wrote them did, and the last one of those who wrote more: others may have used
// their numbers again.
func (r *run) covers(p int) (all spans, had, last uint64) {
	had = r.Fork[p].N
	first := true
	for actor, seen := range r.seen[p] {
		for _, s := range seen {
			all = all.with(s.first, s.last)
		}
		if at := r.known[actor][p]; at.Actor == actor {
			n := at.N
			if n == 0 { // it had none of this run's, which began where the one before ended
				n = seen[0].first - 1
			}
			if last = max(last, seen[len(seen)-1].last); first || n < had {
				had = n
			}
			first = false
		}
	}
	return all, had, last
}

// holes notes which numbers nobody had, and returns their partitions.
func (r *run) holes() engine.Partitions {
	var gone engine.Partitions
	for p, end := range r.ends {
		all, had, before := r.covers(p)
		fork := r.Fork[p].N
		if fork == 0 { // it is not known
			fork, before = had, 0
		}
		for _, s := range append(all.lacks(had+1, min(before, fork)), all.lacks(fork+1, end)...) {
			gone |= engine.PartitionsOf(uint16(p)) //nolint:gosec // below Partitions
			if len(r.out.Holes) < maxHoles {
				r.out.Holes = append(r.out.Holes, Hole{uint16(p), s.first, s.last}) //nolint:gosec // below Partitions
			} else {
				r.out.HolesLeft++
			}
		}
	}
	return gone
}
