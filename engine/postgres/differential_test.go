//go:build integration

package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/drawtest"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

var (
	differences = flag.Int("ops", 20_000, "how many random operations each dialect is compared on with engine/memory")
	diffSeed    = flag.Uint64("seed", 0, "of what is random; 0: by the clock")
)

// TestSameAsMemory does the same random things to a database and to engine/memory's
// core, and wants every answer, record and log entry to be the same, and the bytes that
// are counted to be those that are there. The clock is the test's.
func TestSameAsMemory(t *testing.T) {
	t.Parallel() // it mostly waits
	d := newDiffer(t)
	config := Config{clock: d.clock, draw: func() crdt.Actor { return d.Actor }, SweepInterval: time.Hour, LogBytes: 1 << 40, KeepLog: time.Hour}
	e := open(t, 1, config)
	d.engine, d.read, d.sweep = e, rawRecords(t, e.config.Schema), e.sweep
	d.promote = func() {
		d.compareLogs(e)
		d.Actor = d.NewActor(1)
		d.Core.Promote(d.Actor)
		s := e.config.Schema
		if _, err := e.pool.Exec(t.Context(), `UPDATE "`+s+`".partition SET server = 1 WHERE head > 0`); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.run(*differences, "taken", "nothing", "refused", "joined", "ingested", "hole", "gap", "promoted", "swept")
	d.compareLogs(e)
	if d.entries < d.counts["taken"] {
		t.Errorf("%d entries were compared, want one for each of %d writes", d.entries, d.counts["taken"])
	}
	want := postgresBytes(t, e)
	if got := e.countBytes(t); got != want {
		t.Errorf("partition.bytes add up to %d, and records to %d", got, want)
	}
}

// The dialect of DSQL, behind a proxy that has each fiftieth commit conflict.
func TestDSQLSameAsMemory(t *testing.T) {
	t.Parallel() // it mostly waits
	d := newDiffer(t)
	e, proxy := openDSQL(t, 1, 20, Config{clock: d.clock, SweepInterval: time.Hour})
	d.engine, d.read, d.sweep = e, rawRecords(t, e.config.Schema), e.sweep
	d.Actor = e.actor
	d.Core = drawtest.NewCore(e.actor)
	d.run(*differences, "taken", "nothing", "refused", "joined", "swept")
	if proxy.Undone.Load() < int64(*differences)/200 {
		t.Errorf("%d commits were undone in %d operations, want some", proxy.Undone.Load(), *differences)
	}
}

// rawRecords returns what reads what is stored, past its time or not.
func rawRecords(t *testing.T, schema string) func(crdt.Key) (crdt.Record, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgrestest.Use(t, shared).DSN())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // the test is over
	return func(k crdt.Key) (crdt.Record, error) {
		var state []byte
		err := conn.QueryRow(t.Context(), `SELECT coalesce((SELECT state FROM "`+schema+`".record WHERE id = $1), '')`, recordID(k)).Scan(&state)
		if err != nil || len(state) == 0 {
			return crdt.Record{Key: k}, err
		}
		return decodeState(k, state)
	}
}

// postgresBytes returns what the records take by what is stored.
func postgresBytes(t *testing.T, e *Engine) (n int64) {
	t.Helper()
	err := e.pool.QueryRow(t.Context(), fmt.Sprintf(`SELECT coalesce(sum(octet_length(state) + %d), 0)::bigint FROM "%s".record`,
		recordOverhead, e.config.Schema)).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (e *Engine) countBytes(t *testing.T) (n int64) {
	t.Helper()
	if err := e.pool.QueryRow(t.Context(), e.text.bytes).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A differ does the same to an engine and to a core.
type differ struct {
	*drawtest.Land
	t       *testing.T
	engine  engine.Engine
	now     atomic.Int64 // Land's time, for the engine's goroutines
	counts  map[string]int
	read    func(crdt.Key) (crdt.Record, error)
	sweep   func(context.Context) error
	promote func() // nil: not a power of the engine

	followed engine.Positions // up to where the logs were compared
	entries  int              // how many were
}

func newDiffer(t *testing.T) *differ {
	t.Helper()
	seed := *diffSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	t.Logf("-seed %d -ops %d", seed, *differences)
	d := &differ{Land: drawtest.New(seed), t: t, counts: map[string]int{}}
	d.now.Store(int64(d.Now))
	return d
}

func (d *differ) clock(time.Time) crdt.Time { return crdt.Time(d.now.Load()) }

// run does n random things to both and compares.
func (d *differ) run(n int, kinds ...string) {
	d.t.Helper()
	for i := 0; i < n && !d.t.Failed(); i++ {
		d.Tick()
		d.now.Store(int64(d.Now))
		switch m := d.Rng.IntN(1000); {
		case m < 620:
			d.apply()
		case m < 740:
			d.join()
		case m < 985:
			d.ingest()
		case m < 993:
			d.sweepBoth()
		case d.promote != nil && d.Rng.IntN(4) == 0:
			d.counts["promoted"]++
			d.promote()
		}
	}
	d.t.Logf("%d operations: %v", n, d.counts)
	for _, kind := range kinds {
		if d.counts[kind] < n/4000 {
			d.t.Errorf("%s in %d of %d operations: the operations are not random enough", kind, d.counts[kind], n)
		}
	}
}

func (d *differ) apply() {
	k := d.Key()
	op := d.Op(k, d.Core)
	got, err := d.engine.Apply(d.t.Context(), k, op)
	want, wantErr := d.Core.Apply(d.Now, k, op)
	if kind := drawtest.KindOf(wantErr); got != want || !errors.Is(err, kind) || kind == nil && err != nil {
		d.t.Fatalf("Apply(%x, %+v) at %d = %v, %v, want %v, %v", k.Name(), op, d.Now, got, err, want, wantErr)
	}
	switch {
	case wantErr != nil:
		d.counts["refused"]++
	case want.IsZero():
		d.counts["nothing"]++
	default:
		d.counts["taken"]++
	}
	d.compare(k, op)
}

func (d *differ) join() {
	k := d.Key()
	r := d.Record(k)
	d.Core.Join(d.Now, r)
	if err := d.engine.Join(d.t.Context(), r); err != nil {
		d.t.Fatalf("Join(%x, %+v) = %v, want no error", k.Name(), r, err)
	}
	d.counts["joined"]++
	d.compare(k, r)
}

// ingest has a peer write, and gives a piece of its log to both, as it is or not quite.
func (d *differ) ingest() {
	p := d.Peer()
	sink, ok := engine.As[engine.Sink](d.engine)
	if !ok {
		return
	}
	b := d.Piece(p)
	want, wantErr := d.Core.Ingest(d.Now, p.Region, b)
	got, err := sink.Ingest(d.t.Context(), p.Region, b)
	if err != nil || wantErr != nil || got.Position != want.Position || got.Hole != want.Hole || !slices.Equal(got.Gaps, want.Gaps) {
		d.t.Fatalf("Ingest(%+v) at %d = %+v, %v, want %+v, %v", b, d.Now, got, err, want, wantErr)
	}
	d.counts["ingested"]++
	if got.Hole {
		d.counts["hole"]++
	}
	d.counts["gap"] += len(got.Gaps)
	for _, k := range keysOf(b.Frags) {
		d.compare(k, b)
	}
}

func (d *differ) sweepBoth() {
	d.counts["swept"]++
	if err := d.sweep(d.t.Context()); err != nil {
		d.t.Fatalf("sweep = %v, want no error", err)
	}
	for p := range uint16(crdt.Partitions) {
		for d.Core.Sweep(d.Now, p, 1<<20) {
			continue
		}
	}
	for _, k := range d.Keys {
		d.compare(k, "sweep")
	}
}

// compare compares what both have stored of k, and what they show.
func (d *differ) compare(k crdt.Key, after any) {
	d.t.Helper()
	got, err := d.read(k)
	want := d.Core.Read(-1, k)
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, want)) {
		d.t.Fatalf("stored of %x at %d after %+v: %+v, %v, want %+v", k.Name(), d.Now, after, got, err, want)
	}
	if d.Rng.IntN(8) > 0 {
		return
	}
	got, err = d.engine.Read(d.t.Context(), k, crdt.Token{})
	if want := d.Core.Read(d.Now, k); err != nil || got.Digest() != want.Digest() {
		d.t.Fatalf("Read(%x) at %d after %+v: %+v, %v, want %+v", k.Name(), d.Now, after, got, err, want)
	}
}

// compareLogs compares the logs, from where they were compared up to before.
func (d *differ) compareLogs(e *Engine) {
	at := &d.followed
	errDone := errors.New("done")
	reached := func() bool {
		for p := range uint16(crdt.Partitions) {
			if d.Core.Head(p) != at[p] {
				return false
			}
		}
		return true
	}
	if reached() {
		return
	}
	err := e.Follow(d.t.Context(), *at, func(got engine.Batch) error {
		want, _ := d.Core.Log(got.Partition, at[got.Partition], len(got.Frags), 1<<30)
		if got.First != want.First || got.Actor != want.Actor || got.Fork != want.Fork || len(got.Frags) != len(want.Frags) {
			return fmt.Errorf("batch of partition %d from %d of %v, fork %d, %d entries, want from %d of %v, fork %d, %d", got.Partition,
				got.First, got.Actor, got.Fork, len(got.Frags), want.First, want.Actor, want.Fork, len(want.Frags))
		}
		for i := range got.Frags {
			if string(crdt.AppendFragment(nil, got.Frags[i])) != string(crdt.AppendFragment(nil, want.Frags[i])) {
				return fmt.Errorf("entry %d = %+v, want %+v", got.First+uint64(i), got.Frags[i], want.Frags[i]) //nolint:gosec // small
			}
		}
		d.entries += len(got.Frags)
		if at[got.Partition] = got.Last(); reached() {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		d.t.Errorf("Follow ended after %d entries with %v, want all and the same", d.entries, err)
	}
}
