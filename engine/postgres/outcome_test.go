//go:build integration

package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

const (
	adders    = 8
	additions = 60
)

// tally is what became of additions of one.
type tally struct{ done, undone, unknown, retried atomic.Int64 }

// add has several writers add one to counters of k, each to its own, since a counter
// remembers few IDs: each addition under an ID of its own and, if again, once more where
// they are not told what became of it.
func (n *tally) add(t *testing.T, e engine.Engine, k crdt.Key, ids *atomic.Uint64, again bool) {
	var wg sync.WaitGroup
	for i := range adders {
		wg.Go(func() {
			for range additions {
				op := crdt.Op{ID: ids.Add(1), Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Add(fmt.Sprint("n", i), 1)}}
				n.one(t, e, k, op, again)
			}
		})
	}
	wg.Wait()
}

// count returns what all counters add up to.
func count(r crdt.Record) (n int64) {
	for i := range adders {
		n += r.Count(fmt.Sprint("n", i))
	}
	return n
}

func (n *tally) one(t *testing.T, e engine.Engine, k crdt.Key, op crdt.Op, again bool) {
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := e.Apply(ctx, k, op)
		cancel()
		switch {
		case err == nil:
			n.done.Add(1)
			return
		case engine.IsRefusal(err) || errors.Is(err, engine.ErrClosed):
			t.Errorf("Apply = %v, want it taken, or a failure", err)
			return
		case engine.OutcomeKnown(err):
			n.undone.Add(1)
			return
		case !again:
			n.unknown.Add(1)
			return
		}
		n.retried.Add(1)
	}
}

// Of what failed, that which is said not to have been written was not: connections
// break at COMMIT, half of the time before the server has it.
func TestOutcomeIsKnownOnlyWhereItIs(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%v", again), func(t *testing.T) {
			proxy := postgrestest.NewDSQL(t, postgrestest.Use(t, shared))
			proxy.Plain.Store(true)
			e := open(t, 1, Config{DSN: proxy.DSN()})
			lost(t, e, proxy, again)
		})
	}
}

func TestOutcomeIsKnownOnlyWhereItIsOnDSQL(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%v", again), func(t *testing.T) {
			e, proxy := openDSQL(t, 1, 100, Config{})
			lost(t, e, proxy, again)
		})
	}
}

func lost(t *testing.T, e engine.Engine, proxy *postgrestest.DSQL, again bool) {
	t.Helper()
	k := newKey()
	if _, err := e.Apply(t.Context(), k, birth()); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	proxy.Lost.Store(150)
	var n tally
	var ids atomic.Uint64
	n.add(t, e, k, &ids, again)
	proxy.Lost.Store(0)
	r, err := e.Read(t.Context(), k, crdt.Token{})
	if err != nil {
		t.Fatalf("Read = %v, want no error", err)
	}
	got, least, most := count(r), n.done.Load(), n.done.Load()+n.unknown.Load()
	t.Logf("%d done, %d not, %d unknown, %d tried again; %d connections broken; count %d",
		n.done.Load(), n.undone.Load(), n.unknown.Load(), n.retried.Load(), proxy.Broken.Load(), got)
	if got < least || got > most {
		t.Errorf("count is %d, want %d to %d", got, least, most)
	}
	if again && (got != n.done.Load() || n.retried.Load() < 5) {
		t.Errorf("count is %d after %d tries again, want %d", got, n.retried.Load(), n.done.Load())
	}
	if !again && (got == most || got == least || n.unknown.Load() < 10) {
		t.Errorf("count is %d of %d to %d: want some of what is unknown to be there, and some not", got, least, most)
	}
}

// A COMMIT that is answered with ROLLBACK has written nothing.
func TestCommitThatUndoes(t *testing.T) {
	e, proxy := openDSQL(t, 1, 0, Config{})
	proxy.Quiet.Store(true)
	proxy.Conflicts.Store(1000)
	k := newKey()
	if dot, err := e.Apply(t.Context(), k, birth()); !errors.Is(err, errUndone) || !dot.IsZero() || !engine.OutcomeKnown(err) {
		t.Errorf("Apply = %v, %v, want that it was undone", dot, err)
	}
	if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || !r.IsBottom() {
		t.Errorf("Read = %+v, %v, want nothing", r, err)
	}
}

// Two processes write one record; each commit may conflict, and no addition is lost.
func TestConflictsLoseNothing(t *testing.T) {
	schema := newSchema()
	a, proxy := openDSQL(t, 1, 200, Config{Schema: schema})
	t.Cleanup(func() { postgrestest.Use(t, shared).Do(t, `DROP SCHEMA IF EXISTS `+schema+` CASCADE`) })
	b, _ := openDSQL(t, 2, 200, Config{Schema: schema})
	k := newKey()
	if _, err := a.Apply(t.Context(), k, birth()); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	var n tally
	var ids atomic.Uint64
	var wg sync.WaitGroup
	for _, e := range []*DSQL{a, b} {
		wg.Go(func() { n.add(t, e, k, &ids, false) })
	}
	wg.Wait()
	ra, errA := a.Read(t.Context(), k, crdt.Token{})
	rb, errB := b.Read(t.Context(), k, crdt.Token{})
	t.Logf("%d done, %d not, of which %d commits were undone", n.done.Load(), n.undone.Load(), proxy.Undone.Load())
	if errA != nil || errB != nil || count(ra) != n.done.Load() || count(rb) != n.done.Load() {
		t.Errorf("counts = %d, %v and %d, %v; want %d in both Regions", count(ra), errA, count(rb), errB, n.done.Load())
	}
	if n.unknown.Load() > 0 || n.done.Load() < 2*adders*additions*9/10 {
		t.Errorf("%d of %d were done, %d unknown; want nearly all, and none", n.done.Load(), 2*adders*additions, n.unknown.Load())
	}
	if len(ra.VV) != 2 {
		t.Errorf("vector = %v, want an actor for each Region", ra.VV)
	}
}

// Two processes write one record of one schema, and join what another Region wrote of
// it. Nothing is lost, and the log is dense.
func TestTwoProcessesAreOneEngine(t *testing.T) {
	a := open(t, 1, Config{})
	b := open(t, 1, Config{DSN: a.config.DSN, Schema: a.config.Schema})
	k := newKey()
	if _, err := a.Apply(t.Context(), k, birth()); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	p := newPeer(t)
	defer p.follow(b)()
	elsewhere := memory.NewCore(crdt.NewActor(3, 1), memory.Config{})
	elsewhere.Join(now(), must1(a.Read(t.Context(), k, crdt.Token{})))
	var n tally
	var ids atomic.Uint64
	var wg sync.WaitGroup
	for _, e := range []*Engine{a, b} {
		wg.Go(func() { n.add(t, e, k, &ids, false) })
	}
	for i := range additions {
		if _, err := elsewhere.Apply(now(), k, put(fmt.Sprint("f", i), "1")); err != nil {
			t.Fatal(err)
		}
		must(t, []*Engine{a, b}[i%2].Join(t.Context(), elsewhere.Read(now(), k)))
		if r := must1(a.Read(t.Context(), k, crdt.Token{})); !r.VV.Covers(elsewhere.Read(now(), k).VV) {
			t.Fatalf("Read after Join = vector %v, want %v in it", r.VV, elsewhere.Read(now(), k).VV)
		}
	}
	wg.Wait()
	r := must1(b.Read(t.Context(), k, crdt.Token{}))
	if got, want := count(r), n.done.Load(); got != want || want != 2*adders*additions || !r.VV.Covers(elsewhere.Read(now(), k).VV) {
		t.Errorf("count is %d of %d, %+v; want all, and all that was joined", got, want, n.undone.Load())
	}
	p.upTo(a)
}

// A server that fails within a statement has written nothing; one that fails at COMMIT
// may have. A trigger makes it fail, with a code as PostgreSQL would send it.
func TestServerFailsWithinAWrite(t *testing.T) {
	s := postgrestest.Use(t, shared)
	for _, c := range []struct {
		code, at string
		want     error
		known    bool
	}{
		{"53100", "", engine.ErrFull, true},
		{"57014", "", engine.ErrUnreachable, true},
		{"40001", "", errConflict, true},
		{"40P01", "", errConflict, true},
		{"57P01", "", engine.ErrUnreachable, true},
		{"XX001", "", engine.ErrCorrupt, true},
		{"25006", "", engine.ErrNotPrimary, true},
		{"53100", "commit", engine.ErrUnavailable, false},
		{"57P01", "commit", engine.ErrUnavailable, false},
		{"40001", "commit", errConflict, true},
	} {
		t.Run(c.code+c.at, func(t *testing.T) {
			e := open(t, 1, Config{})
			schema := e.config.Schema
			kind := "TRIGGER x AFTER INSERT ON " + schema + ".record"
			if c.at == "commit" {
				kind = "CONSTRAINT TRIGGER x AFTER INSERT ON " + schema + ".record DEFERRABLE INITIALLY DEFERRED"
			}
			s.Do(t, `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '`+c.code+`'; END $$`,
				`CREATE `+kind+` FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
			k := newKey()
			_, err := e.Apply(t.Context(), k, birth())
			if !errors.Is(err, c.want) || engine.OutcomeKnown(err) != c.known {
				t.Errorf("Apply = %v, known %v, want %v, %v", err, engine.OutcomeKnown(err), c.want, c.known)
			}
			if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || !r.IsBottom() {
				t.Errorf("Read = %+v, %v, want nothing written", r, err)
			}
			s.Do(t, `DROP TRIGGER x ON `+schema+`.record`)
			if _, err := e.Apply(t.Context(), k, birth()); err != nil {
				t.Errorf("Apply once it works again = %v, want no error", err)
			}
		})
	}
}

// A statement that the server can't end for a lock ends by the server's own clock, and
// by the caller's if that is shorter.
func TestHeldPartition(t *testing.T) {
	e := open(t, 1, Config{})
	k := newKey()
	conn, err := e.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	hold := fmt.Sprintf(`BEGIN; SET LOCAL idle_in_transaction_session_timeout TO 0; SELECT * FROM %s.partition WHERE partition = %d FOR UPDATE`,
		e.config.Schema, k.Partition())
	if _, err := conn.Exec(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Apply(ctx, k, birth()); !errors.Is(err, engine.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply within 100 ms = %v, want that nothing was written in time", err)
	}
	begun := time.Now()
	if _, err := e.Apply(t.Context(), k, birth()); !errors.Is(err, engine.ErrUnreachable) || time.Since(begun) > callMost {
		t.Errorf("Apply = %v after %v, want that nothing was written, by the server's clock", err, time.Since(begun))
	}
	if _, err := e.Read(t.Context(), k, crdt.Token{}); err != nil {
		t.Errorf("Read meanwhile = %v, want no error", err)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), k, birth()); err != nil {
		t.Errorf("Apply = %v, want no error", err)
	}
}

// A process that vanished within a transaction, without a word, holds up the others for
// no longer than the server waits for it.
func TestVanishedProcessLetsGo(t *testing.T) {
	e := open(t, 1, Config{})
	k := newKey()
	conn, err := e.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	hold := fmt.Sprintf(`BEGIN; SELECT * FROM %s.partition WHERE partition = %d FOR UPDATE`, e.config.Schema, k.Partition())
	if _, err := conn.Exec(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for {
		_, err := e.Apply(t.Context(), k, birth())
		if err == nil {
			break
		}
		if !engine.OutcomeKnown(err) || time.Since(begun) > 20*time.Second {
			t.Fatalf("Apply = %v after %v, want it taken once the server has let go", err, time.Since(begun))
		}
	}
}
