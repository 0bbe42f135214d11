package valkey

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// defaultBeat is how often the primary is given a number: what is known of it is
	// at best that old.
	defaultBeat = 500 * time.Millisecond
	// echoPoll is how often the replica is looked at until it has the number.
	echoPoll = 5 * time.Millisecond
	// maxBeats bounds the numbers that are waited for: two minutes of them by
	// default. What is older than that is as good as never heard.
	maxBeats = 256
	// beatTTL is how long a number stays: one of a process that has ended goes.
	beatTTL = 10 * time.Minute
)

// An EchoConfig is what an Echo may be told. Its zero value is good.
type EchoConfig struct {
	// Interval is between two numbers. Default 500 ms.
	Interval time.Duration
}

// An Echo tells how old what a server has is that replicates another one by itself,
// as a Region's does in an active-passive deployment (DESIGN R10). It gives the
// primary a number and looks when the replica has it: all that the primary had
// taken before is there too. No clock but this process's is asked, and a cut of
// either way, or a primary that is not the replica's, makes news old.
//
// It is what a router asks as Links. It may be used by many goroutines.
type Echo struct {
	primary, replica *Engine
	interval         time.Duration
	partitions       []uint16 // one of each server
	id               string   // of this process
	stop             context.CancelFunc
	work             sync.WaitGroup

	mu    sync.Mutex // guards what follows
	heard time.Time  // when the newest number was given that came back; zero: none has
	lag   time.Duration
	// How long the two take to answer, of late; zero: not measured.
	primaryTakes, replicaTakes time.Duration
}

// NewEcho begins to measure. Close it before the engines.
func NewEcho(ctx context.Context, primary, replica *Engine, c EchoConfig) *Echo {
	if c.Interval <= 0 {
		c.Interval = defaultBeat
	}
	partitions := one(everything)
	for _, of := range []*Engine{primary, replica} {
		if of.Cluster() {
			partitions = everyPartition()
		}
	}
	return newEcho(ctx, primary, replica, c.Interval, partitions)
}

// newEcho is NewEcho that looks at some partitions.
func newEcho(ctx context.Context, primary, replica *Engine, interval time.Duration, partitions []uint16) *Echo {
	e := &Echo{primary: primary, replica: replica, interval: interval, partitions: partitions, id: rand.Text()}
	ctx, e.stop = context.WithCancel(ctx)
	e.work.Go(func() { e.run(ctx) })
	return e
}

func everyPartition() []uint16 {
	out := make([]uint16, crdt.Partitions)
	for p := range out {
		out[p] = uint16(p) //nolint:gosec // below Partitions
	}
	return out
}

// Heard returns how old the last news of the Regions that write is: all of it comes
// by the primary. Not ok: none has come.
func (e *Echo) Heard(crdt.Region) (age time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.heard), !e.heard.IsZero()
}

// heardAt returns when the newest number was given that came back; zero: none has. All
// that the primary had taken by then is at the replica.
func (e *Echo) heardAt() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard
}

// Lag returns how late a write gets to the replica; zero: not measured yet.
func (e *Echo) Lag(crdt.Region) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lag
}

// Everywhere reports whether every Region is known to have a write. What others have
// nobody here knows.
func (e *Echo) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring and returns when its goroutine is gone. It never fails.
func (e *Echo) Close() error {
	e.stop()
	e.work.Wait()
	return nil
}

// A beat is a number that was given to the primary.
type beat struct {
	n     uint64
	given time.Time
	took  time.Duration // until the primary had it; 0: it did not say so
}

func (e *Echo) run(ctx context.Context) {
	var beats []beat
	for n := uint64(1); ctx.Err() == nil; n++ {
		b := beat{n: n, given: time.Now()}
		if err := e.give(ctx, n); err == nil {
			b.took = time.Since(b.given)
			e.measured(&e.primaryTakes, b.took)
		}
		if len(beats) == maxBeats {
			beats = beats[1:]
		}
		beats = append(beats, b)
		for {
			asked := time.Now()
			if seen, err := e.seen(ctx); err == nil {
				e.measured(&e.replicaTakes, time.Since(asked))
				beats = e.note(beats, seen)
			}
			if len(beats) == 0 || time.Since(b.given) >= e.interval || !pause.For(ctx, echoPoll) {
				break
			}
		}
		pause.For(ctx, e.interval-time.Since(b.given))
	}
}

// note notes that the number n is at the replica, and returns what is waited for.
func (e *Echo) note(beats []beat, n uint64) []beat {
	for i, b := range slices.Backward(beats) {
		if b.n > n {
			continue
		}
		e.mu.Lock()
		e.heard = b.given
		if b.n == n && b.took > 0 { // the primary had it half a round trip ago
			e.lag = max(time.Since(b.given)-b.took/2, time.Millisecond)
		}
		e.mu.Unlock()
		return beats[i+1:]
	}
	return beats
}

// measured notes how long an answer took: of what was known an eighth goes.
func (e *Echo) measured(takes *time.Duration, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if *takes == 0 {
		*takes = took
	}
	*takes += (took - *takes) / 8
}

// takes returns how long the primary and the replica take to answer, of late; zero:
// not measured.
func (e *Echo) takes() (primary, replica time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.primaryTakes, e.replicaTakes
}

// give gives the primary a number.
func (e *Echo) give(ctx context.Context, n uint64) error {
	ctx, cancel := context.WithTimeout(ctx, e.interval)
	defer cancel()
	client := e.primary.client()
	var cmds valkey.Commands
	for _, p := range e.partitions {
		cmds = append(cmds, client.B().Fcall().Function("roam_v1_echo").Numkeys(1).Key(e.key(p)).
			Arg(strconv.FormatUint(n, 10), strconv.Itoa(int(beatTTL.Seconds()))).Build())
	}
	for _, res := range client.DoMulti(ctx, cmds...) {
		if _, mended := e.primary.mends(ctx, res.Error()); mended {
			return fmt.Errorf("%w: connections were made anew", engine.ErrUnreachable) // the next number gets there
		}
		if err := res.Error(); err != nil {
			return e.primary.failed(ctx, err)
		}
	}
	return nil
}

// seen returns the number that every server of the replica has.
func (e *Echo) seen(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, e.interval)
	defer cancel()
	client := e.replica.client()
	var cmds valkey.Commands
	for _, p := range e.partitions {
		cmds = append(cmds, client.B().Get().Key(e.key(p)).Build().Pin())
	}
	least := ^uint64(0)
	for _, res := range client.DoMulti(ctx, cmds...) {
		text, err := res.ToString()
		if err != nil {
			_, _ = e.replica.mends(ctx, err) // for the next look
			return 0, e.replica.failed(ctx, err)
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("number of an echo: %w", err)
		}
		least = min(least, n)
	}
	return least, nil
}

// key returns where this process's number of a partition is.
func (e *Echo) key(p uint16) string { return partitionKey(beatKeys, p) + e.id }
