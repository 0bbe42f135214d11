package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/trail"
)

// An Engine keeps records in a PostgreSQL database. Any number of engines, in any
// number of processes, may be open for one schema; they are one engine to whoever
// looks. Time is the server's.
//
// A call whose context has ended fails with engine.ErrUnreachable and the context's
// error, and has done nothing. A write that fails before its COMMIT was sent says that
// nothing was written; one that fails after that says that it does not know.
type Engine struct {
	*store
	text pgTexts

	percent  atomic.Int64 // how full it is, of Config.MaxBytes: DESIGN R13
	released trail.Marks  // what peers hold of the log
	written  trail.Marks  // what there was of it

	followers followers
	listening atomic.Bool
	news      chan struct{} // holds one: other processes are to be told that the log grew
	starting  sync.Mutex    // guards listens; nothing begins once closed is
	listens   bool
}

var (
	_ engine.Log      = (*Engine)(nil)
	_ engine.Sink     = (*Engine)(nil)
	_ engine.Scanner  = (*Engine)(nil)
	_ engine.Refiller = (*Engine)(nil)
)

// retryFor is how long a call is tried again that failed in passing: a promotion by
// somebody who watches takes less, and a router has other Regions.
const retryFor = 250 * time.Millisecond

// Open connects to a database and returns the engine of the Region here. It fails with
// all that is wrong with c, with ErrUnfit, or if the server can't be reached within
// ctx. Close it.
func Open(ctx context.Context, here crdt.Region, c Config) (*Engine, error) {
	s, err := openStore(ctx, here, c, pg)
	if err != nil {
		return nil, fmt.Errorf("postgres engine: %w", err)
	}
	s.retryFor = retryFor
	e := &Engine{store: s, text: newPgTexts(s.config.Schema), news: make(chan struct{}, 1)}
	if err := e.fit(ctx); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("postgres engine: %w", err)
	}
	e.lookAtBytes(ctx)
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { e.sweepOnAndOn(ctx) })
	s.work.Go(func() { e.tell(ctx) })
	return e, nil
}

// Read returns the record of k, bottom if there is none. A standby shows what it has.
func (e *Engine) Read(ctx context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	r, lacks, err := e.read(ctx, k)
	if err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	if lacks {
		return r, engine.ErrRefilling
	}
	return r, nil
}

// read returns the record of k and whether it may lack what it once had, as of one
// moment: a record that is not found before a refill ends and asked for after it would
// be taken for one that never was.
func (e *Engine) read(ctx context.Context, k crdt.Key) (r crdt.Record, lacks bool, err error) {
	if err := e.ready(ctx, k); err != nil {
		return r, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	rows := 0
	err = e.query(ctx, e.text.read, []any{int16(k.Partition()), recordID(k)}, func(row pgx.Rows) error { //nolint:gosec // below 64
		var now time.Time
		var refill int16
		var state []byte
		if err := row.Scan(&now, &refill, &state); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		rows++
		r, lacks = crdt.Record{Key: k}, e.lacks(refill)
		if state == nil {
			return nil
		}
		stored, err := decodeState(k, state)
		if err == nil {
			r = shown(stored, e.now(now))
		}
		return err
	})
	if err == nil && rows != 1 {
		err = fmt.Errorf("%w: there are %d rows of partition %d", engine.ErrCorrupt, rows, k.Partition())
	}
	return r, lacks, err
}

// Apply does what crdt.Apply does and writes the log, in one transaction.
func (e *Engine) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	dot, err := e.apply(ctx, k, op)
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	return dot, nil
}

func (e *Engine) apply(ctx context.Context, k crdt.Key, op crdt.Op) (dot crdt.Dot, err error) {
	if err := e.ready(ctx, k); err != nil {
		return dot, err
	}
	if err := op.Check(k); err != nil {
		return dot, err
	}
	err = e.do(ctx, task{partition: k.Partition(), keys: []crdt.Key{k}, decide: func(j *job) error {
		f, err := e.applyIn(j, k, op)
		dot = f.Dot
		return err
	}})
	if err != nil {
		return crdt.Dot{}, err
	}
	if !dot.IsZero() {
		e.wake()
	}
	return dot, nil
}

func (e *Engine) applyIn(j *job, k crdt.Key, op crdt.Op) (crdt.Fragment, error) {
	actor := e.takeOver(j)
	f, err := j.apply(k, op, actor, func(base, out crdt.Record) error {
		return admit(e.percent.Load(), base, out, op)
	})
	if err != nil || f.Dot.IsZero() {
		j.entries, j.tookOn = nil, false // another write takes over
		return crdt.Fragment{}, err
	}
	j.log(crdt.AppendFragment(nil, f))
	return f, nil
}

// takeOver has this server write the log, as an actor of its own if another one wrote
// it last, and returns the actor.
func (e *Engine) takeOver(j *job) crdt.Actor {
	changed, entry := j.journal.takeOver(j.server, e.config.draw())
	j.tookOn = j.tookOn || changed
	if entry {
		j.log(nil)
	}
	return j.journal.actor()
}

// drawActor draws an actor of a Region, anew each time: two servers may take over
// (DESIGN R2).
func drawActor(here crdt.Region) crdt.Actor {
	var dice [4]byte
	_, _ = rand.Read(dice[:]) // never fails: crypto/rand ends the process instead
	return crdt.NewActor(here, binary.BigEndian.Uint32(dice[:]))
}

// log has an entry written.
func (j *job) log(entry []byte) { j.entries = append(j.entries, entry) }

// Join merges a state from elsewhere.
func (e *Engine) Join(ctx context.Context, r crdt.Record) error {
	err := e.ready(ctx, r.Key)
	if err == nil && !r.IsBottom() {
		err = e.do(ctx, task{partition: r.Key.Partition(), keys: []crdt.Key{r.Key}, decide: func(j *job) error {
			j.join(r)
			return nil
		}})
	}
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	return nil
}

// A task is a transaction on records of one partition.
type task struct {
	partition uint16
	keys      []crdt.Key
	from      crdt.Region // whose cursor is wanted; 0: none
	decide    func(*job) error
}

// do runs a task, as often as it takes.
func (e *Engine) do(ctx context.Context, t task) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	leave, err := e.queue(ctx, int(t.partition))
	if err != nil {
		return err
	}
	defer leave()
	return e.retrying(ctx, func() error {
		var j job
		return e.try(ctx, transaction{open: e.opening(&j, t), decide: func() ([]step, error) {
			if err := t.decide(&j); err != nil {
				return nil, err
			}
			return e.closing(&j, t), nil
		}})
	})
}

// opening returns the steps that lock the partition and read what a task wants. Each
// statement sees what was written by whoever had the lock before.
func (e *Engine) opening(j *job, t task) []step {
	p := int16(t.partition) //nolint:gosec // below 64
	var head int64
	var eras []byte
	lock := e.takeNow(j, &j.server, &head, &j.journal.logged, &eras, &j.journal.server, &j.bytes)
	out := []step{{text: e.text.begin}, {text: e.text.lock, args: []any{p}, take: func(r pgx.BatchResults) (err error) {
		if err := lock(r); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("%w: there is no row of partition %d", engine.ErrCorrupt, p)
			}
			return err
		}
		j.journal.head = uint64(head) //nolint:gosec // counted from 0
		j.journal.eras, err = decodeEras(eras)
		return err
	}}}
	if len(t.keys) > 0 {
		out = append(out, step{text: e.text.stored, args: []any{recordIDs(t.keys)}, take: j.takeStored})
	}
	if t.from != 0 {
		out = append(out, step{text: e.text.cursor, args: []any{p, int16(t.from)}, take: j.takeCursor})
	}
	return out
}

func recordIDs(keys []crdt.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = recordID(k)
	}
	return out
}

// takeStored takes the records that a task wants.
func (j *job) takeStored(r pgx.BatchResults) error {
	rows, err := r.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var state []byte
		var due int64
		if err := rows.Scan(&id, &state, &due); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		k, err := parseRecordID(id)
		if err == nil {
			err = j.note(k, state, due)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

func (j *job) takeCursor(r pgx.BatchResults) error {
	var actor int32
	var n, fork int64
	err := r.QueryRow().Scan(&actor, &n, &fork)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	j.found = err == nil
	j.cursor = cursor{engine.Position{Actor: crdt.Actor(actor), N: uint64(n)}, uint64(fork)} //nolint:gosec // as they were stored
	return err
}

// closing returns the steps that write what a task has decided; none if that is
// nothing.
func (e *Engine) closing(j *job, t task) []step {
	p := int16(t.partition) //nolint:gosec // below 64
	out := j.writes(e.text.insert, e.text.update)
	for _, entry := range j.entries {
		j.journal.head++
		j.journal.logged += int64(len(entry)) + entryOverhead
		if entry == nil {
			entry = []byte{} // a number that holds nothing
		}
		out = append(out, step{text: e.text.entry, args: []any{p, int64(j.journal.head), j.journal.logged, entry}}) //nolint:gosec // counted from 0
	}
	if j.moved {
		text := e.text.move
		if !j.found {
			text = e.text.first
		}
		c := j.cursor
		out = append(out, step{text: text, args: []any{p, int16(t.from), int32(c.Actor), int64(c.N), int64(c.fork)}}) //nolint:gosec // counted from 0
	}
	if len(j.entries) == 0 && !j.tookOn && j.grown == 0 {
		return out
	}
	if j.tookOn && j.journal.eras[0].fork > 0 { // nobody could say whose those before it were
		out = append(out, step{text: e.text.trimEra, args: []any{p, int64(j.journal.eras[0].fork)}}) //nolint:gosec // counted from 0
	}
	return append(out, step{text: e.text.state, args: []any{
		p, int64(j.journal.head), j.journal.logged, appendEras([]byte{}, j.journal.eras), j.journal.server, max(0, j.bytes+j.grown), //nolint:gosec // counted from 0
	}})
}
