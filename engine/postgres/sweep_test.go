//go:build integration

package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// rows returns how many rows a table has, of those that are meant.
func rows(t *testing.T, s *store, table, where string) (n int) {
	t.Helper()
	text := fmt.Sprintf(`SELECT count(*) FROM "%s".%s WHERE %s`, s.config.Schema, table, where)
	if err := s.pool.QueryRow(t.Context(), text).Scan(&n); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is past its time is dropped, in several batches; a tombstone stays to the
// deadline, and a session that was touched stays.
func TestSweepDropsWhatIsPastItsTime(t *testing.T) {
	var c clock
	e := open(t, 1, Config{clock: c.of, SweepInterval: time.Hour})
	sweepStory(t, &c, e, e.store, e.sweep)
	if got, want := e.countBytes(t), postgresBytes(t, e); got != want {
		t.Errorf("partition.bytes add up to %d, and records to %d", got, want)
	}
}

func TestDSQLSweepDropsWhatIsPastItsTime(t *testing.T) {
	var c clock
	e, proxy := openDSQL(t, 1, 0, Config{clock: c.of, SweepInterval: time.Hour})
	proxy.Rows.Store(100) // so that batches are found too large
	sweepStory(t, &c, e, e.store, e.sweep)
	if proxy.TooLarge.Load() == 0 {
		t.Error("no batch was found too large")
	}
}

func sweepStory(t *testing.T, c *clock, e engine.Engine, s *store, sweep func(context.Context) error) {
	t.Helper()
	const idle = 10 * time.Minute
	op := birth()
	op.Birth.Idle = idle
	touched, dead := newKey(), newKey()
	for _, k := range []crdt.Key{touched, dead} {
		_, err := e.Apply(t.Context(), k, op)
		must(t, err)
	}
	_, err := e.Apply(t.Context(), dead, crdt.Op{Destroy: true})
	must(t, err)
	state := crdt.Record{Born: crdt.Born{Dot: crdt.Dot{Actor: crdt.NewActor(2, 1), Stamp: now().Stamp()}, Created: now(), Idle: idle}, Touch: now()}
	for range sweepRows + 50 { // more than a batch
		state.Key = newKey()
		must(t, e.Join(t.Context(), state))
	}
	all := rows(t, s, "record", "true")
	must(t, sweep(t.Context()))
	if n := rows(t, s, "record", "true"); n != all || n != sweepRows+52 {
		t.Errorf("%d records after a sweep of nothing, want %d", n, all)
	}
	c.Advance(9 * time.Minute)
	_, err = e.Apply(t.Context(), touched, crdt.Op{Touch: true})
	must(t, err)
	c.Advance(9 * time.Minute)
	must(t, sweep(t.Context()))
	if n := rows(t, s, "record", "true"); n != 2 {
		t.Errorf("%d records after the idle time, want the tombstone and the one that was touched", n)
	}
	if n := rows(t, s, "record", "due < keep_until"); n != 0 {
		t.Errorf("%d records are looked at before their time once they were, want none", n)
	}
	c.Advance(time.Hour + 15*time.Minute)
	must(t, sweep(t.Context()))
	if n := rows(t, s, "record", "true"); n != 0 {
		t.Errorf("%d records after all deadlines, want none", n)
	}
}

// Only one process sweeps at a time.
func TestOneSweeps(t *testing.T) {
	var c clock
	e := open(t, 1, Config{clock: c.of, SweepInterval: time.Hour})
	op := birth()
	op.Birth.Idle = time.Minute
	_, err := e.Apply(t.Context(), newKey(), op)
	must(t, err)
	c.Advance(30 * time.Minute)
	conn, err := e.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	lock := e.config.lockNumber("sweep")
	_, err = conn.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, lock)
	must(t, err)
	if err := e.sweep(t.Context()); !errors.Is(err, errSwept) || rows(t, e.store, "record", "true") != 1 {
		t.Errorf("sweep while another one does = %v and %d records, want that another does, and 1", err, rows(t, e.store, "record", "true"))
	}
	_, err = conn.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, lock)
	must(t, err)
	if err := e.sweep(t.Context()); err != nil || rows(t, e.store, "record", "true") != 0 {
		t.Errorf("sweep = %v and %d records, want none", err, rows(t, e.store, "record", "true"))
	}
}

// The goroutine sweeps by itself.
func TestItSweepsByItself(t *testing.T) {
	var c clock
	e := open(t, 1, Config{clock: c.of, SweepInterval: 20 * time.Millisecond})
	d, _ := openDSQL(t, 1, 0, Config{clock: c.of, SweepInterval: 20 * time.Millisecond})
	op := birth()
	op.Birth.Idle = time.Minute
	for _, e := range []engine.Engine{e, d} {
		_, err := e.Apply(t.Context(), newKey(), op)
		must(t, err)
	}
	c.Advance(30 * time.Minute)
	for _, s := range []*store{e.store, d.store} {
		for begun := time.Now(); rows(t, s, "record", "true") > 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatal("nobody sweeps")
			}
		}
	}
}

// fill writes n entries of some hundred bytes into the log of one partition.
func fill(t *testing.T, e *Engine, n int) crdt.Key {
	t.Helper()
	k := newKey()
	_, err := e.Apply(t.Context(), k, birth())
	must(t, err)
	for i := range n - 1 {
		_, err := e.Apply(t.Context(), k, put("a", fmt.Sprintf("%0*d", 100, i)))
		must(t, err)
	}
	return k
}

// What was released goes, KeepReleased later, and what was not after KeepLog.
func TestLogIsTrimmed(t *testing.T) {
	e := open(t, 1, Config{SweepInterval: time.Hour, KeepReleased: time.Minute, KeepLog: time.Hour})
	k := fill(t, e, 20)
	head, err := e.Head(t.Context())
	must(t, err)
	upto := head
	upto[k.Partition()].N = 15
	must(t, e.Release(t.Context(), upto))
	begun := time.Now()
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{0, 20}, {50 * time.Second, 20}, {70 * time.Second, 5}, {50 * time.Minute, 5}, {70 * time.Minute, 0}} {
		e.trim(t.Context(), begun.Add(c.after))
		if n := rows(t, e.store, "log", "true"); n != c.left {
			t.Errorf("%d entries after %v, want %d", n, c.after, c.left)
		}
	}
	if after, err := e.Head(t.Context()); err != nil || after != head {
		t.Errorf("Head of a log that was trimmed = %v, %v, want as before", after[k.Partition()], err)
	}
	next, err := e.Apply(t.Context(), k, put("b", "1"))
	must(t, err)
	seen := errors.New("seen")
	err = e.Follow(t.Context(), engine.Positions{}, func(b engine.Batch) error {
		if b.First != 21 || len(b.Frags) != 1 || b.Frags[0].Dot != next {
			t.Errorf("what is left of the log is %+v, want entry 21, %v", b, next)
		}
		return seen
	})
	if !errors.Is(err, seen) {
		t.Errorf("Follow = %v, want an entry", err)
	}
}

// A log that is beyond its bound loses its oldest entries, and keeps its newest one.
func TestLogIsBounded(t *testing.T) {
	e := open(t, 1, Config{SweepInterval: time.Hour, LogBytes: 1 << 20}) // 16 KiB each
	k := fill(t, e, 200)
	e.trim(t.Context(), time.Now())
	left := rows(t, e.store, "log", "true")
	var size int64
	must(t, e.pool.QueryRow(t.Context(), fmt.Sprintf(`SELECT sum(octet_length(entry) + %d)::bigint FROM "%s".log`,
		entryOverhead, e.config.Schema)).Scan(&size))
	if share := int64(1<<20) / crdt.Partitions; size > share || size < share*3/4 || left == 200 {
		t.Errorf("%d entries of %d bytes are left, want nearly %d bytes", left, size, share)
	}
	_, err := e.Apply(t.Context(), k, put("large", string(make([]byte, 60<<10))))
	must(t, err)
	e.trim(t.Context(), time.Now())
	if n := rows(t, e.store, "log", "true"); n != 1 {
		t.Errorf("%d entries after one that is larger than the bound, want it alone", n)
	}
}

// Who reads an actor that is not remembered begins anew; entries that nobody could name
// the actor of are gone.
func TestForgottenActorsEntriesAreGone(t *testing.T) {
	e := open(t, 1, Config{SweepInterval: time.Hour})
	k := fill(t, e, 3)
	s := postgrestest.Use(t, shared)
	for range maxEras + 2 {
		s.Do(t, `UPDATE `+e.config.Schema+`.partition SET server = 1 WHERE head > 0`)
		if _, err := e.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	head, err := e.Head(t.Context())
	must(t, err)
	if n, want := rows(t, e.store, "log", "true"), maxEras; n != want {
		t.Errorf("%d entries are left of a log that was taken over often, want %d", n, want)
	}
	fresh := newPeer(t)
	stop := fresh.followLeniently(e)
	defer stop()
	for begun := time.Now(); fresh.last(k.Partition()) != head[k.Partition()]; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("followed up to %v, want %v", fresh.last(k.Partition()), head[k.Partition()])
		}
	}
}

// Births are refused where the database is full, as it is counted each second.
func TestFullDatabase(t *testing.T) {
	e := open(t, 1, Config{MaxBytes: minMaxBytes, SweepInterval: time.Hour})
	k := newKey()
	_, err := e.Apply(t.Context(), k, birth())
	must(t, err)
	value := string(make([]byte, 60<<10))
	for i := range 8 {
		k := newKey()
		_, err := e.Apply(t.Context(), k, birth())
		must(t, err)
		_, err = e.Apply(t.Context(), k, put(fmt.Sprint("v", i), value))
		must(t, err)
	}
	e.lookAtBytes(t.Context())
	if _, err := e.Apply(t.Context(), newKey(), birth()); !errors.Is(err, engine.ErrFull) || !engine.OutcomeKnown(err) {
		t.Errorf("birth at %d %% = %v, want ErrFull", e.percent.Load(), err)
	}
	if _, err := e.Apply(t.Context(), k, crdt.Op{Destroy: true}); err != nil {
		t.Errorf("destroy at %d %% = %v, want no error", e.percent.Load(), err)
	}
	if err := e.Join(t.Context(), crdt.Record{Key: newKey(), Dead: true}); err != nil {
		t.Errorf("Join at %d %% = %v, want no error", e.percent.Load(), err)
	}
}
