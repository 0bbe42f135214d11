package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// batchEntries bounds what is read of a partition's log at a time, and what is merged
	// in one transaction.
	batchEntries = 128
	// batchBytes bounds what is read at a time, but for the first entry.
	batchBytes = 256 << 10
	// newsWait is how long a follower waits for news before it looks all the same.
	newsWait = time.Second
	// pollWait is how long it waits where nobody brings news: at a standby, or while the
	// connection that news come over is being made.
	pollWait = 50 * time.Millisecond
)

// Follow emits the log after from, some entries of each partition in turn, and waits
// for more. It returns the error of emit as it is, the error and cause of ctx, or an
// error of package engine.
func (e *Engine) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	e.listenFrom(ctx)
	news := e.followers.join()
	defer e.followers.leave(news)
	f := follower{e: e, from: from}
	for {
		more, failed, err := f.round(ctx, emit)
		if err == nil && !more {
			err = f.wait(ctx, news)
		}
		if err == nil {
			continue
		}
		if failed {
			return err // emit's, as it is
		}
		return fmt.Errorf("follow the log: %w", err)
	}
}

// A follower is one Follow under way.
type follower struct {
	e    *Engine
	from engine.Positions
}

// stop returns why the following has to end.
func (f *follower) stop(ctx context.Context) error {
	if f.e.isClosed() {
		return engine.ErrClosed
	}
	if ctx.Err() != nil {
		return engine.Ended(ctx)
	}
	return nil
}

// round emits a piece of each partition's log that has more, and reports whether there
// may be more still, and whether the error is emit's.
func (f *follower) round(ctx context.Context, emit func(engine.Batch) error) (more, failed bool, err error) {
	if err := f.stop(ctx); err != nil {
		return false, false, err
	}
	states, err := f.e.states(ctx)
	if err != nil {
		return false, false, f.instead(ctx, err)
	}
	for p := range uint16(crdt.Partitions) {
		st := &states[p]
		if st.head == 0 || st.after(f.from[p]) == st.head {
			continue
		}
		batches, err := f.read(ctx, p, &st.journal)
		if err != nil {
			return false, false, f.instead(ctx, fmt.Errorf("partition %d: %w", p, err))
		}
		for _, b := range batches {
			if err := f.stop(ctx); err != nil {
				return false, false, err
			}
			if err := emit(b); err != nil {
				return false, true, err
			}
			f.from[p] = b.Last()
			more = more || b.Last().N < st.head
		}
	}
	return more, false, nil
}

// instead returns why the following ends where that is known, and err if not.
func (f *follower) instead(ctx context.Context, err error) error {
	if why := f.stop(ctx); why != nil {
		return why
	}
	return err
}

// read returns what comes next of a partition's log, whose state is j.
func (f *follower) read(ctx context.Context, p uint16, j *journal) (out []engine.Batch, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	args := []any{int16(p), int64(j.after(f.from[p])), int64(j.head), batchEntries, batchBytes} //nolint:gosec // counted from 0
	var last uint64                                                                             // of the era of the batch at hand
	err = f.e.query(ctx, f.e.text.entries, args, func(row pgx.Rows) error {
		var number int64
		var entry []byte
		if err := row.Scan(&number, &entry); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		frag, err := decodeEntry(entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w", number, err)
		}
		n := uint64(number) //nolint:gosec // counted from 1
		if len(out) == 0 || n > last || n != out[len(out)-1].Last().N+1 {
			var by era
			by, last = j.eraOf(n)
			out = append(out, engine.Batch{Partition: p, Actor: by.actor, Fork: by.fork, First: n})
		}
		b := &out[len(out)-1]
		b.Frags = append(b.Frags, frag)
		return nil
	})
	return out, err
}

// wait returns when there may be news.
func (f *follower) wait(ctx context.Context, news <-chan struct{}) error {
	most := newsWait
	if !f.e.listening.Load() {
		most = pollWait
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-news:
	case <-timer.C:
	case <-ctx.Done():
	case <-f.e.closed:
	}
	return f.stop(ctx)
}

// A logState is the state of a partition's log as a reader sees it.
type logState struct {
	journal
	writable bool  // the server takes writes
	started  int64 // when it began, in µs
}

// states returns the state of each partition's log.
func (e *Engine) states(ctx context.Context) (out [crdt.Partitions]logState, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	err = e.query(ctx, e.text.states, nil, func(row pgx.Rows) error {
		var p int16
		var head int64
		var eras []byte
		var s logState
		err := row.Scan(&p, &head, &eras, &s.server, &s.writable, &s.started, &s.logged)
		if err != nil || p < 0 || p >= crdt.Partitions || head < 0 {
			return fmt.Errorf("%w: log of partition %d up to %d: %w", engine.ErrCorrupt, p, head, err)
		}
		s.head = uint64(head)
		if s.eras, err = decodeEras(eras); err == nil && head > 0 && len(s.eras) == 0 {
			err = fmt.Errorf("%w: nobody wrote the %d entries of partition %d", engine.ErrCorrupt, head, p)
		}
		out[p] = s
		return err
	})
	return out, err
}

// Head returns the positions of the newest entries, once the server has taken over the
// log that another one wrote, or itself before it was started anew: what that had not
// yet written to its disk is lost.
func (e *Engine) Head(ctx context.Context) (engine.Positions, error) {
	out, err := e.head(ctx)
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read the log's head: %w", err)
	}
	return out, nil
}

func (e *Engine) head(ctx context.Context) (out engine.Positions, err error) {
	if err := e.open(ctx); err != nil {
		return out, err
	}
	states, err := e.states(ctx)
	if err != nil {
		return out, err
	}
	for p := range uint16(crdt.Partitions) {
		s := &states[p]
		if s.head > 0 && s.writable && s.server != s.started {
			err := e.do(ctx, task{partition: p, decide: func(j *job) error {
				e.takeOver(j)
				s.journal = j.journal
				s.head += uint64(len(j.entries))
				return nil
			}})
			if err != nil {
				return engine.Positions{}, err
			}
			e.wake()
		}
		out[p] = s.position()
	}
	return out, nil
}

// Release says that every peer holds the log up to upto. It is trimmed
// Config.KeepReleased later.
func (e *Engine) Release(ctx context.Context, upto engine.Positions) error {
	err := e.open(ctx)
	if err == nil {
		var states [crdt.Partitions]logState
		states, err = e.states(ctx)
		now := time.Now()
		for p := range uint16(crdt.Partitions) {
			if n := states[p].after(upto[p]); err == nil && n > 0 {
				e.released.Note(p, n, now, e.config.KeepReleased)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("release the log: %w", err)
	}
	return nil
}
