//go:build integration

package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
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
	config := Config{clock: d.clock, draw: func() crdt.Actor { return d.actor }, SweepInterval: time.Hour, LogBytes: 1 << 40, KeepLog: time.Hour}
	e := open(t, 1, config)
	d.engine, d.read, d.sweep = e, rawRecords(t, e.config.Schema), e.sweep
	d.promote = func() {
		d.compareLogs(e)
		d.actor = d.newActor(1)
		d.core.Promote(d.actor)
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
	d.actor = e.actor
	d.core = memory.NewCore(e.actor, d.config())
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
	t       *testing.T
	rng     *rand.Rand
	engine  engine.Engine
	core    *memory.Core
	actor   crdt.Actor
	now     atomic.Int64
	keys    []crdt.Key
	peers   []*diffPeer
	counts  map[string]int
	read    func(crdt.Key) (crdt.Record, error)
	sweep   func(context.Context) error
	promote func() // nil: not a power of the engine

	followed engine.Positions // up to where the logs were compared
	entries  int              // how many were
}

// A diffPeer is another Region, whose log is to be taken in.
type diffPeer struct {
	region crdt.Region
	core   *memory.Core
}

func newDiffer(t *testing.T) *differ {
	t.Helper()
	seed := *diffSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	t.Logf("-seed %d -ops %d", seed, *differences)
	d := &differ{t: t, rng: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}} //nolint:gosec // a test
	d.now.Store(90_000_000_000)
	d.actor = d.newActor(1)
	d.core = memory.NewCore(d.actor, d.config())
	for r := crdt.Region(2); r <= 3; r++ {
		d.peers = append(d.peers, &diffPeer{r, memory.NewCore(d.newActor(r), d.config())})
	}
	d.renewKeys()
	return d
}

func (d *differ) clock(time.Time) crdt.Time { return d.at() }

func (d *differ) at() crdt.Time { return crdt.Time(d.now.Load()) }

func (d *differ) config() memory.Config { return memory.Config{MaxBytes: 1 << 40, LogBytes: 1 << 40} }

func (d *differ) newActor(r crdt.Region) crdt.Actor { return crdt.NewActor(r, d.rng.Uint32()) }

// run does n random things to both and compares.
func (d *differ) run(n int, kinds ...string) {
	d.t.Helper()
	for i := 0; i < n && !d.t.Failed(); i++ {
		d.tick()
		switch m := d.rng.IntN(1000); {
		case m < 620:
			d.apply()
		case m < 740:
			d.join()
		case m < 985:
			d.ingest()
		case m < 993:
			d.sweepBoth()
		case d.promote != nil && d.rng.IntN(4) == 0:
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

// tick moves the clock: mostly a little, at times so that things end.
func (d *differ) tick() {
	at := d.at()
	switch n := d.rng.IntN(1000); {
	case n < 600:
		at += crdt.Time(d.rng.IntN(3))
	case n < 990:
		at = at.Add(time.Duration(d.rng.IntN(60_000)) * time.Millisecond)
	case n < 996:
		at = at.Add(time.Duration(d.rng.IntN(48)) * time.Hour)
	case d.rng.IntN(10) == 0 && at < 1<<40: // stamps end in 2093
		at = at.Add(crdt.MaxLifetime + time.Minute)
		d.renewKeys()
	default:
		d.renewKeys()
	}
	d.now.Store(int64(at))
}

func (d *differ) apply() {
	k := d.anyKey()
	op := d.anyOp(k, d.core)
	got, err := d.engine.Apply(d.t.Context(), k, op)
	want, wantErr := d.core.Apply(d.at(), k, op)
	if kind := kindOf(wantErr); got != want || !errors.Is(err, kind) || kind == nil && err != nil {
		d.t.Fatalf("Apply(%x, %+v) at %d = %v, %v, want %v, %v", k.Name(), op, d.at(), got, err, want, wantErr)
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
	k := d.anyKey()
	r := d.anyRecord(k)
	d.core.Join(d.at(), r)
	if err := d.engine.Join(d.t.Context(), r); err != nil {
		d.t.Fatalf("Join(%x, %+v) = %v, want no error", k.Name(), r, err)
	}
	d.counts["joined"]++
	d.compare(k, r)
}

// ingest has a peer write, and gives a piece of its log to both, as it is or not quite.
func (d *differ) ingest() {
	p := d.peers[d.rng.IntN(len(d.peers))]
	for range d.rng.IntN(6) {
		k := d.anyKey()
		_, _ = p.core.Apply(d.at(), k, d.anyOp(k, p.core)) // refused or not
	}
	sink, ok := engine.As[engine.Sink](d.engine)
	if !ok {
		return
	}
	if d.rng.IntN(60) == 0 {
		p.core.Promote(d.newActor(p.region))
	}
	k := d.anyKey()
	b := d.piece(p, k)
	want, wantErr := d.core.Ingest(d.at(), p.region, b)
	got, err := sink.Ingest(d.t.Context(), p.region, b)
	if err != nil || wantErr != nil || got.Position != want.Position || got.Hole != want.Hole || !slices.Equal(got.Gaps, want.Gaps) {
		d.t.Fatalf("Ingest(%+v) at %d = %+v, %v, want %+v, %v", b, d.at(), got, err, want, wantErr)
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

// piece returns a part of a peer's log that may be what comes next, or not.
func (d *differ) piece(p *diffPeer, k crdt.Key) engine.Batch {
	part := k.Partition()
	at := d.core.Position(p.region, part)
	switch d.rng.IntN(20) {
	case 0, 1, 2, 3:
		at.N -= min(at.N, uint64(d.rng.IntN(5))) //nolint:gosec // below 5
	case 4, 5:
		at.N += uint64(d.rng.IntN(3)) //nolint:gosec // below 3
	case 6:
		at = engine.Position{}
	}
	b, _ := p.core.Log(part, at, 1+d.rng.IntN(6), 1<<30)
	b.Rebase = d.rng.IntN(12) == 0
	if n := len(b.Frags); n > 1 && d.rng.IntN(5) == 0 {
		b.First, b.Frags = b.First+1, b.Frags[1:]
	}
	if len(b.Frags) > 0 && d.rng.IntN(10) == 0 {
		b.Frags[d.rng.IntN(len(b.Frags))] = crdt.Fragment{}
	}
	return b
}

func (d *differ) sweepBoth() {
	d.counts["swept"]++
	if err := d.sweep(d.t.Context()); err != nil {
		d.t.Fatalf("sweep = %v, want no error", err)
	}
	for p := range uint16(crdt.Partitions) {
		for d.core.Sweep(d.at(), p, 1<<20) {
			continue
		}
	}
	for _, k := range d.keys {
		d.compare(k, "sweep")
	}
}

// compare compares what both have stored of k, and what they show.
func (d *differ) compare(k crdt.Key, after any) {
	d.t.Helper()
	got, err := d.read(k)
	want := d.core.Read(-1, k)
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, want)) {
		d.t.Fatalf("stored of %x at %d after %+v: %+v, %v, want %+v", k.Name(), d.at(), after, got, err, want)
	}
	if d.rng.IntN(8) > 0 {
		return
	}
	got, err = d.engine.Read(d.t.Context(), k, crdt.Token{})
	if want := d.core.Read(d.at(), k); err != nil || got.Digest() != want.Digest() {
		d.t.Fatalf("Read(%x) at %d after %+v: %+v, %v, want %+v", k.Name(), d.at(), after, got, err, want)
	}
}

// compareLogs compares the logs, from where they were compared up to before.
func (d *differ) compareLogs(e *Engine) {
	at := &d.followed
	errDone := errors.New("done")
	reached := func() bool {
		for p := range uint16(crdt.Partitions) {
			if d.core.Head(p) != at[p] {
				return false
			}
		}
		return true
	}
	if reached() {
		return
	}
	err := e.Follow(d.t.Context(), *at, func(got engine.Batch) error {
		want, _ := d.core.Log(got.Partition, at[got.Partition], len(got.Frags), 1<<30)
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

// kindOf returns which error of packages crdt and engine err is.
func kindOf(err error) error {
	for _, kind := range []error{
		crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExpired, crdt.ErrExists, crdt.ErrOtherUser, crdt.ErrAhead, crdt.ErrLimit, engine.ErrFull,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return err
}
