//go:build integration

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/postgrestest"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A load is clients that each write a session of their own until it is stopped, and
// note what was taken.
type load struct {
	t      *testing.T
	e      engine.Engine
	stop   chan struct{}
	wg     sync.WaitGroup
	writes atomic.Int64

	mu     sync.Mutex // guards what follows
	taken  map[crdt.Key]crdt.Dot
	wrong  []error
	faults map[string]int
}

const loadClients = 8

func startLoad(t *testing.T, e engine.Engine) *load {
	t.Helper()
	l := &load{t: t, e: e, stop: make(chan struct{}), taken: map[crdt.Key]crdt.Dot{}, faults: map[string]int{}}
	for range loadClients {
		l.wg.Go(l.client)
	}
	return l
}

func (l *load) client() {
	k := newKey()
	op := birth()
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
		dot, err := l.e.Apply(ctx, k, op)
		cancel()
		if err != nil {
			l.fail(err)
			continue // the same again
		}
		l.writes.Add(1)
		if !dot.IsZero() {
			l.mu.Lock()
			l.taken[k] = dot
			l.mu.Unlock()
		}
		op = put("n", fmt.Sprint(n))
	}
}

// fail notes a fault; one that is no kind of package engine is wrong.
func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range []error{engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrNotPrimary} {
		if errors.Is(err, kind) {
			l.faults[kind.Error()]++
			return
		}
	}
	l.wrong = append(l.wrong, err)
}

// until waits until so many more writes were taken.
func (l *load) until(more int64) {
	l.t.Helper()
	want := l.writes.Load() + more
	for begun := time.Now(); l.writes.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			l.t.Fatalf("%d writes are taken, want %d; faults %v", l.writes.Load(), want, l.faults)
		}
	}
}

// untilFault waits until another write has failed.
func (l *load) untilFault() {
	l.t.Helper()
	failed := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, times := range l.faults {
			n += times
		}
		return n
	}
	for begun, had := time.Now(), failed(); failed() == had; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			l.t.Fatal("no write fails: the load does not run while the server is away")
		}
	}
}

// end stops the load, and wants what was taken to be there.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, err := range l.wrong {
		l.t.Errorf("Apply = %v, want a kind of package engine", err)
	}
	for k, dot := range l.taken {
		r, err := l.e.Read(l.t.Context(), k, crdt.Token{})
		if err != nil || !r.VV.Has(dot) {
			l.t.Errorf("Read(%v) = vector %v, %v, want %v, which was taken", k, r.VV, err, dot)
		}
	}
	l.t.Logf("%d writes of %d sessions, faults %v", l.writes.Load(), len(l.taken), l.faults)
}

// The server crashes under load, and is stopped and started under load. What was taken
// is there; each time another actor goes on, in the same log.
func TestServerIsKilledUnderLoad(t *testing.T) {
	s := postgrestest.Start(t)
	e := open(t, 1, Config{DSN: s.DSN(), Schema: "roam"})
	l := startLoad(t, e)
	peer := newPeer(t)
	followed := peer.follow(e)
	for _, end := range []func(){s.Kill, s.Shut, s.Kill} {
		l.until(200)
		end()
		l.untilFault()
		time.Sleep(100 * time.Millisecond) // under load
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.until(200)
	l.end()
	peer.upTo(e)
	followed()
	peer.same(e, l.taken)
	actors := map[crdt.Actor]bool{}
	for _, by := range peer.actors {
		actors[by] = true
	}
	if len(actors) < 4 {
		t.Errorf("%d actors wrote the log of a server that was started 4 times, want one each", len(actors))
	}
}

// The primary is lost and its standby promoted; who connects has both in its DSN.
func TestStandbyIsPromoted(t *testing.T) {
	one := postgrestest.Start(t, "wal_level=replica", "synchronous_commit=remote_apply")
	e := open(t, 1, Config{DSN: one.DSN(), Schema: "roam"})
	two := postgrestest.StartStandby(t, one)
	one.Do(t, `ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`)
	both := fmt.Sprintf("postgres://roam@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write", one.Addr(), two.Addr())
	named, err := Open(t.Context(), 1, Config{DSN: both})
	if err != nil {
		t.Fatalf("Open(both) = %v, want no error", err)
	}
	t.Cleanup(func() { _ = named.Close() }) // never fails

	k := newKey()
	first, err := e.Apply(t.Context(), k, birth())
	if err != nil {
		t.Fatalf("Apply = %v, want no error", err)
	}
	standbyReadsAndNoMore(t, two, k, first)

	l := startLoad(t, named)
	l.until(100)
	one.Kill()
	l.untilFault()
	two.Do(t, `SELECT pg_promote()`, `ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
	l.until(100)
	l.end()
	second, err := named.Apply(t.Context(), k, put("a", "1"))
	if err != nil || second.Actor == first.Actor {
		t.Errorf("Apply after the promotion = %v, %v, want another actor than %v", second, err, first)
	}
	if l.faults[engine.ErrUnreachable.Error()]+l.faults[engine.ErrUnavailable.Error()] == 0 {
		t.Errorf("faults %v, want some while there was no primary", l.faults)
	}
}

// The standby had not got the last writes. Who follows the log learns where it went on,
// and misses nothing of what came after.
func TestStandbyLacksTheTail(t *testing.T) {
	one := postgrestest.Start(t, "wal_level=replica")
	e := open(t, 1, Config{DSN: one.DSN(), Schema: "roam"})
	k := newKey()
	write := func(e *Engine, op crdt.Op) crdt.Dot {
		t.Helper()
		dot, err := e.Apply(t.Context(), k, op)
		if err != nil {
			t.Fatalf("Apply = %v, want no error", err)
		}
		return dot
	}
	write(e, birth())
	two := postgrestest.StartStandby(t, one)
	two.Shut()
	lost := write(e, put("a", "lost"))
	write(e, put("b", "lost"))
	peer := newPeer(t)
	followed := peer.follow(e)
	peer.upTo(e)
	followed()
	one.Kill()
	if err := two.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.Do(t, `SELECT pg_promote()`)
	next, err := Open(t.Context(), 1, Config{DSN: two.DSN()})
	if err != nil {
		t.Fatalf("Open(successor) = %v, want no error", err)
	}
	t.Cleanup(func() { _ = next.Close() }) // never fails
	dot := write(next, put("c", "kept"))
	if dot.Actor == lost.Actor {
		t.Errorf("Apply at the successor = %v, want another actor than that of %v", dot, lost)
	}
	followed = peer.follow(next)
	peer.upTo(next)
	followed()
	r := peer.core.Read(now(), k)
	for name, want := range map[string]string{"a": "lost", "b": "lost", "c": "kept"} {
		if got, _ := r.Value(name); string(got) != want {
			t.Errorf("the peer has %s = %q, want %q", name, got, want)
		}
	}
}

// standbyReadsAndNoMore opens an engine on a standby alone.
func standbyReadsAndNoMore(t *testing.T, two *postgrestest.Server, k crdt.Key, dot crdt.Dot) {
	t.Helper()
	e, err := Open(t.Context(), 1, Config{DSN: two.DSN()})
	if err != nil {
		t.Fatalf("Open(standby) = %v, want no error", err)
	}
	defer func() { _ = e.Close() }() // never fails
	if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || !r.VV.Has(dot) {
		t.Errorf("Read from a standby = %+v, %v, want %v", r, err, dot)
	}
	_, err = e.Apply(t.Context(), k, put("a", "1"))
	if !errors.Is(err, engine.ErrNotPrimary) || !engine.OutcomeKnown(err) {
		t.Errorf("Apply to a standby = %v, want ErrNotPrimary", err)
	}
	if err := e.Join(t.Context(), crdt.Record{Key: newKey(), Dead: true}); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Join at a standby = %v, want ErrNotPrimary", err)
	}
	if head, err := e.Head(t.Context()); err != nil || head[k.Partition()].Actor != dot.Actor {
		t.Errorf("Head of a standby = %v, %v, want what it has, by %v", head[k.Partition()], err, dot.Actor)
	}
	seen := errors.New("seen")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := e.Follow(ctx, engine.Positions{}, func(engine.Batch) error { return seen }); !errors.Is(err, seen) {
		t.Errorf("Follow at a standby = %v, want it to emit", err)
	}
	if out, err := Examine(t.Context(), Config{DSN: two.DSN()}); err != nil || !out.Standby || out.Schema != 1 || out.Version == "" {
		t.Errorf("Examine(standby) = %+v, %v, want a standby with schema 1", out, err)
	}
}

// The primary becomes read-only and its name leads elsewhere: connections to it would
// refuse writes for ever.
func TestNameIsFollowed(t *testing.T) {
	one, two := postgrestest.Start(t), postgrestest.Start(t)
	door := valkeytest.NewDoor(t, one.Addr())
	e := open(t, 1, Config{DSN: "postgres://roam@" + door.Addr + "/postgres?sslmode=disable", Schema: "roam"})
	open(t, 1, Config{DSN: two.DSN(), Schema: "roam"})
	k := newKey()
	if _, err := e.Apply(t.Context(), k, birth()); err != nil {
		t.Fatalf("Apply = %v, want no error", err)
	}
	one.Do(t, `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`)
	refused := func() bool {
		_, err := e.Apply(t.Context(), newKey(), birth())
		return errors.Is(err, engine.ErrNotPrimary)
	}
	for begun := time.Now(); !refused(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("Apply to a server that is read-only is not refused with ErrNotPrimary")
		}
	}
	door.Lead(two.Addr())
	time.Sleep(renewEvery) // or they were made anew just now
	if _, err := e.Apply(t.Context(), k, birth()); err != nil {
		t.Errorf("Apply once the name leads to another server = %v, want no error", err)
	}
}

// Nothing passes any more, either way. Calls end in time, and say what they know.
func TestNetworkLosesAll(t *testing.T) {
	door := valkeytest.NewDoor(t, postgrestest.Use(t, shared).Addr())
	e := open(t, 1, Config{DSN: "postgres://roam@" + door.Addr + "/postgres?sslmode=disable"})
	k := newKey()
	if _, err := e.Apply(t.Context(), k, birth()); err != nil {
		t.Fatalf("Apply = %v, want no error", err)
	}
	door.Hold(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := e.Apply(ctx, k, put("a", "1"))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Apply = %v, want that nothing was written in time", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := e.Read(ctx, k, crdt.Token{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read = %v, want that there was no answer in time", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("two calls of 200 ms took %v", took)
	}
	door.Hold(false)
	if _, err := e.Apply(t.Context(), k, put("a", "2")); err != nil {
		t.Errorf("Apply once all passes again = %v, want no error", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody is there
	_, err = Open(t.Context(), 1, Config{DSN: "postgres://u:geheim@" + l.Addr().String() + "/x?sslmode=disable"})
	if !errors.Is(err, engine.ErrUnreachable) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("Open = %v, want ErrUnreachable without the password", err)
	}
}

// A role has no connection left.
func TestTooManyConnections(t *testing.T) {
	s := postgrestest.Use(t, shared)
	e := open(t, 1, Config{})
	role := newSchema()
	s.Do(t, `CREATE ROLE `+role+` LOGIN SUPERUSER CONNECTION LIMIT 0`)
	t.Cleanup(func() { s.Do(t, `DROP ROLE `+role) })
	s.Do(t, `ALTER ROLE `+role+` NOSUPERUSER`) // a superuser has no limit
	_, err := Open(t.Context(), 1, Config{DSN: strings.Replace(s.DSN(), "roam@", role+"@", 1), Schema: e.config.Schema})
	if !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), "53300") {
		t.Errorf("Open = %v, want ErrUnreachable, for 53300", err)
	}
}
