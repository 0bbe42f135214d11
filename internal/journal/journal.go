package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Config is how a Journal behaves. The zero value of each field is its default.
type Config struct {
	// Most is how many endings it holds; one beyond is refused with
	// engine.ErrFull. Default, and at most, 100,000: some 40 MB.
	Most int
	// Incarnation makes the actor of the epochs that it mints. Zero: from
	// crypto/rand, as it must be for whoever has restarted.
	Incarnation uint32
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Log is told of a torn file. Default: discarded.
	Log *slog.Logger
}

const most = 100_000

// A Journal is a Core for many goroutines, with a clock and maybe a file. What
// Join or End has acknowledged is on the disk then, if there is one. Close it.
type Journal struct {
	clock func() time.Time

	// disk is held by whoever writes the file, and taken before mu. It is a
	// channel so that waiting for it ends with a context.
	disk    chan struct{}
	file    *file   // guarded by disk; nil: in memory
	settled []Entry // guarded by disk; to be written with the next ending
	closed  bool    // guarded by disk

	mu   sync.RWMutex // guards core; nothing is written under it
	core *Core
	some atomic.Int64 // core.Len(), so that reads of an empty journal cost nothing
}

// New returns an empty Journal of the Region here that lives and dies with its
// process. It fails if here or c make no sense.
func New(here crdt.Region, c Config) (*Journal, error) {
	if !here.Valid() {
		return nil, fmt.Errorf("journal: Region number %d: want 1 to %d", here, crdt.MaxRegion)
	}
	if c.Most == 0 {
		c.Most = most
	}
	if c.Most < 0 || c.Most > most {
		return nil, fmt.Errorf("journal: Most %d: want 1 to %d", c.Most, most)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Incarnation == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		c.Incarnation = binary.BigEndian.Uint32(b[:])
	}
	return &Journal{
		clock: c.Clock, disk: make(chan struct{}, 1),
		core: NewCore(crdt.NewActor(here, c.Incarnation), c.Most),
	}, nil
}

// Open returns the Journal of the Region here that is kept in the file at path,
// which one process may have open. A file that is not there is made. What a
// write that was cut short left at its end is cut off. It fails with
// engine.ErrCorrupt, and leaves the file as it is, if anything else in it can't
// be read: move it away to go on without the endings in it.
func Open(here crdt.Region, path string, c Config) (*Journal, error) {
	j, err := New(here, c)
	if err != nil {
		return nil, err
	}
	f, contents, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	now := j.now()
	for _, e := range contents.Entries {
		if e.Settled {
			j.core.Settle(e.Ending)
		} else {
			j.core.Restore(now, e.Ending)
		}
	}
	if contents.Torn > 0 && c.Log != nil {
		c.Log.Warn("journal's last write was cut short and is dropped", "path", path, "bytes", contents.Torn)
	}
	j.some.Store(int64(j.core.Len()))
	j.file = f
	return j, nil
}

// Read returns what is known of the end of k, as a record to join; bottom if
// that is nothing. It never blocks and never fails: what is passed besides the
// key is what an engine is passed, so that a link can carry both.
func (j *Journal) Read(_ context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	rec, ok := j.Known(k)
	if !ok {
		rec = crdt.Record{Key: k}
	}
	return rec, nil
}

// Known returns what is known of the end of k, and whether that is anything.
func (j *Journal) Known(k crdt.Key) (crdt.Record, bool) {
	if j.some.Load() == 0 {
		return crdt.Record{}, false
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	rec := j.core.Known(k)
	return rec, !rec.IsBottom()
}

// Join takes an ending in. It fails with crdt.ErrMalformed for a record that is
// none, engine.ErrFull at the bound, engine.ErrClosed, and engine.ErrUnavailable
// if the disk does not take it; then it may be known after a restart.
func (j *Journal) Join(ctx context.Context, ending crdt.Record) error {
	return j.write(ctx, func() error { return j.add(ending) })
}

// End makes an ending of k where no engine takes the write: a session's death,
// or a revocation of a user with an epoch of the journal's own, above known. It
// returns the dot of the latter. It fails as Join does.
func (j *Journal) End(ctx context.Context, k crdt.Key, known crdt.Vector) (crdt.Dot, error) {
	if k.Kind() == crdt.KindSession {
		return crdt.Dot{}, j.Join(ctx, crdt.Record{Key: k, Dead: true})
	}
	var dot crdt.Dot
	err := j.write(ctx, func() error {
		j.do(func() { dot = j.core.Mint(j.now(), k, known) })
		return j.add(crdt.EpochRecord(k, dot))
	})
	if err != nil {
		return crdt.Dot{}, err
	}
	return dot, nil
}

// write does something while no other does.
func (j *Journal) write(ctx context.Context, do func() error) error {
	select {
	case j.disk <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("journal: %w: %w", engine.ErrUnreachable, ctx.Err())
	}
	defer func() { <-j.disk }()
	if j.closed {
		return fmt.Errorf("journal: %w", engine.ErrClosed)
	}
	return do()
}

// add writes an ending to the file, and then knows it. It is called within write.
func (j *Journal) add(ending crdt.Record) (err error) {
	now, grows := j.now(), false
	j.do(func() { grows, err = j.core.Check(now, ending) })
	if err != nil || !grows {
		return err
	}
	if j.file != nil {
		if err := j.file.append(append(j.settled, Entry{Ending: ending}), j.All); err != nil {
			return fmt.Errorf("journal: %w: %w", engine.ErrUnavailable, err)
		}
		j.settled = nil
	}
	j.do(func() { err = j.core.Add(now, ending) })
	return err
}

// do does something with the core. It must not block.
func (j *Journal) do(what func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	what()
	j.some.Store(int64(j.core.Len()))
}

// Confirm notes that the engine of a Region has an ending.
func (j *Journal) Confirm(ending crdt.Record, r crdt.Region) {
	j.do(func() { j.core.Confirm(ending, r) })
}

// Tell notes that the journal of a Region took an ending.
func (j *Journal) Tell(ending crdt.Record, r crdt.Region) {
	j.do(func() { j.core.Tell(ending, r) })
}

// Waiting returns the endings that the engine of a Region has not confirmed,
// without the first skip of them, and n at most.
func (j *Journal) Waiting(r crdt.Region, skip, n int) (out []crdt.Record) {
	if j.some.Load() > 0 {
		j.do(func() { out = j.core.Waiting(r, skip, n) })
	}
	return out
}

// Untold returns those of them that its journal has not taken either.
func (j *Journal) Untold(r crdt.Region, skip, n int) (out []crdt.Record) {
	if j.some.Load() > 0 {
		j.do(func() { out = j.core.Untold(r, skip, n) })
	}
	return out
}

// All returns every ending.
func (j *Journal) All() (out []crdt.Record) {
	j.do(func() { out = j.core.All() })
	return out
}

// Len returns how many records have an ending that some engine has not confirmed.
func (j *Journal) Len() int { return int(j.some.Load()) }

// Sweep drops what the engines of all the Regions given have, and what is past
// its time. It fails if the file can't be made smaller; nothing is lost then.
// A file that does not hear of it tells of too much after a restart, no more.
func (j *Journal) Sweep(ctx context.Context, all []crdt.Region) error {
	if j.some.Load() == 0 {
		return nil
	}
	return j.write(ctx, func() error {
		var dropped []crdt.Record
		j.do(func() { dropped = j.core.Sweep(j.now(), all) })
		if j.file == nil || len(dropped) == 0 {
			return nil
		}
		for _, r := range dropped {
			j.settled = append(j.settled, Entry{Settled: true, Ending: r})
		}
		if !j.file.wasteful(len(j.settled), j.Len()) {
			return nil
		}
		if err := j.file.rewrite(j.All()); err != nil {
			return fmt.Errorf("journal: make the file smaller: %w", err)
		}
		j.settled = nil
		return nil
	})
}

// Close closes the file. What is known can still be read; nothing more is taken.
func (j *Journal) Close() error {
	j.disk <- struct{}{} // a write under way ends first
	defer func() { <-j.disk }()
	if j.closed || j.file == nil {
		j.closed = true
		return nil
	}
	j.closed = true
	var err error
	if len(j.settled) > 0 {
		err = j.file.append(j.settled, j.All)
	}
	return errors.Join(err, j.file.close())
}

func (j *Journal) now() crdt.Time { return crdt.TimeOf(j.clock()) }
