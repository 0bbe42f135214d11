package postgres

import (
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A job is one atomic step on records: what was read for it, and what it is to write.
type job struct {
	now     crdt.Time
	records map[crdt.Key]stored // that are there, past their time or not
	journal journal             // PostgreSQL only, as all that follows
	server  int64               // when this server started, in µs
	bytes   int64               // of the partition's records
	cursor  cursor
	found   bool // the cursor is stored

	changed []crdt.Key // in the order of their first change
	entries [][]byte   // of the log
	tookOn  bool       // the journal has another writer
	moved   bool       // the cursor has
	grown   int64      // bytes of records
}

// A stored is a record as it is stored.
type stored struct {
	record crdt.Record
	due    crdt.Time // when the sweep looks at it; never after its time
	was    int64     // bytes of its state as it was read; 0: it was not there
}

// A cursor is how far the log of a Region has been taken in.
type cursor struct {
	engine.Position
	// fork is where its actor's entries begin. One whose fork is before it is a
	// predecessor: a late batch of such a one must not take the cursor back. Zero
	// where it was not heard.
	fork uint64
}

// note notes a record that was read.
func (j *job) note(k crdt.Key, state []byte, due int64) error {
	r, err := decodeState(k, state)
	if err != nil {
		return err
	}
	if j.records == nil {
		j.records = map[crdt.Key]stored{}
	}
	j.records[k] = stored{r, fromUnixMilli(due), int64(len(state))}
	return nil
}

// at returns the record of k; bottom if there is none or it is past its time.
func (j *job) at(k crdt.Key) crdt.Record {
	r, ok := j.kept(k)
	if !ok {
		return r
	}
	return shown(r, j.now)
}

// kept returns the record of k, past its time or not, and whether there is one.
func (j *job) kept(k crdt.Key) (crdt.Record, bool) {
	if s, ok := j.records[k]; ok {
		return s.record, true
	}
	return crdt.Record{Key: k}, false
}

// put has r written. A touch moves a record's end and not when the sweep looks at it,
// which is in an index: the sweep mends that, so that touches cost nothing there.
func (j *job) put(r crdt.Record) {
	if j.records == nil {
		j.records = map[crdt.Key]stored{}
	}
	s, ok := j.records[r.Key]
	until := keepUntil(r)
	if !ok || until < s.due {
		s.due = until
	}
	s.record = r
	j.records[r.Key] = s
	if !slices.Contains(j.changed, r.Key) {
		j.changed = append(j.changed, r.Key)
	}
}

// writes returns the steps that write the records that were changed.
func (j *job) writes(insert, update string) []step {
	out := make([]step, 0, len(j.changed)+4)
	for _, k := range j.changed {
		s := j.records[k]
		state := crdt.AppendRecord(nil, s.record)
		text := update
		if s.was == 0 {
			text = insert
			j.grown += recordOverhead
		}
		j.grown += int64(len(state)) - s.was
		out = append(out, step{text: text, args: []any{
			recordID(k), state, unixMilli(keepUntil(s.record)), unixMilli(s.due),
		}})
	}
	return out
}

// apply does crdt.Apply as actor and returns the fragment; admit may refuse.
func (j *job) apply(k crdt.Key, op crdt.Op, actor crdt.Actor, admit func(base, out crdt.Record) error) (crdt.Fragment, error) {
	base := j.at(k)
	out, f, err := crdt.Apply(base, op, crdt.Origin{Actor: actor, Now: j.now})
	if err != nil || f.Dot.IsZero() {
		return crdt.Fragment{}, err
	}
	out = out.Prune(j.now)
	if err := admit(base, out); err != nil {
		return crdt.Fragment{}, err
	}
	j.put(out)
	return f, nil
}

// join merges a state from elsewhere; one that is past its time is dropped.
func (j *job) join(r crdt.Record) {
	base, ok := j.kept(r.Key)
	if r.IsBottom() || keepUntil(r) <= j.now && !ok {
		return
	}
	if ok { // past its time or not: clocks decide nothing in a merge
		r = crdt.Join(base, r)
	}
	j.put(r.Prune(j.now))
}

// takeNow returns a step's taker of the row that has the server's clock in front.
func (s *store) takeNow(j *job, more ...any) func(pgx.BatchResults) error {
	return func(r pgx.BatchResults) error {
		var now time.Time
		err := r.QueryRow().Scan(append([]any{&now}, more...)...)
		j.now = s.now(now)
		return err
	}
}

// Marks of DESIGN R13: what is refused at so much of Config.MaxBytes.
const (
	anonymousBirthsUntil = 80
	birthsUntil          = 90
	growthUntil          = 100
)

// admit refuses what room is kept free of, of which percent is taken.
func admit(percent int64, base, out crdt.Record, op crdt.Op) error {
	switch {
	case percent < anonymousBirthsUntil || always(base, out, op):
	case isBirth(base, op) && (percent >= birthsUntil || out.User == ""):
		return fmt.Errorf("%w: no such births at %d %% of its bytes", engine.ErrFull, percent)
	case percent >= growthUntil && len(crdt.AppendRecord(nil, out)) > len(crdt.AppendRecord(nil, base)):
		return fmt.Errorf("%w: %d %% of its bytes", engine.ErrFull, percent)
	}
	return nil
}

// always reports whether op is taken however full it is: an ending, also one that is
// told by a peer, and a touch.
func always(base, out crdt.Record, op crdt.Op) bool {
	touchOnly := op.Birth == nil && op.Auth == nil && op.Adopt == nil && len(op.Changes) == 0
	return touchOnly || op.Destroy || op.Revoke || out.Dead || !base.Epochs().Covers(out.Epochs())
}

// isBirth reports whether op makes a session, or takes in one that was born in a cookie,
// often because there was no room for it here. A repeated birth is none: it has its
// session, and ErrFull would say that nothing was written. What another engine has is
// none: that brings its vector.
func isBirth(base crdt.Record, op crdt.Op) bool {
	sealed := op.Adopt != nil && len(op.Adopt.VV) == 0 && !op.Adopt.Born.Dot.IsZero()
	return base.Born.Dot.IsZero() && (op.Birth != nil || sealed)
}
