package memory_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// A driver makes keys and operations that are the same in every run.
type driver struct {
	rng  *rand.Rand
	last crdt.Stamp
}

func newDriver() *driver { return &driver{rng: rand.New(rand.NewPCG(1, 2))} } //nolint:gosec // a test

func (d *driver) key(now crdt.Time) crdt.Key {
	var e crdt.IDEntropy
	binary.BigEndian.PutUint64(e[:], d.rng.Uint64())
	binary.BigEndian.PutUint16(e[9:], uint16(d.rng.Uint32())) //nolint:gosec // random bits
	return crdt.SessionKey(crdt.NewSessionID(now.Add(24*time.Hour), 1, e))
}

func (d *driver) stamp(now crdt.Time) crdt.Stamp {
	d.last = max(d.last+1, now.Stamp())
	return d.last
}

func (d *driver) birth(now crdt.Time, user string, idle time.Duration) crdt.Op {
	auth := &crdt.Auth{Gen: 1, At: now}
	binary.BigEndian.PutUint64(auth.Cur[:], d.rng.Uint64())
	return crdt.Op{Stamp: d.stamp(now), Birth: &crdt.Birth{Idle: idle}, User: user, Auth: auth}
}

func (d *driver) put(now crdt.Time, name string, size int) crdt.Op {
	return crdt.Op{Stamp: d.stamp(now), Changes: []crdt.Change{crdt.Put(name, make([]byte, size))}}
}

func apply(t *testing.T, e *memory.Engine, k crdt.Key, op crdt.Op) crdt.Dot {
	t.Helper()
	dot, err := e.Apply(t.Context(), k, op)
	if err != nil {
		t.Fatalf("Apply(%v, %+v) = %v, want no error", k, op, err)
	}
	return dot
}

// fill births sessions until one is refused, and returns the last one taken.
func fill(t *testing.T, e *memory.Engine, d *driver, now crdt.Time, user string) (last crdt.Key) {
	t.Helper()
	for {
		k := d.key(now)
		_, err := e.Apply(t.Context(), k, d.birth(now, user, time.Hour))
		if errors.Is(err, engine.ErrFull) {
			return last
		}
		if err != nil {
			t.Fatalf("Apply(birth of %q) = %v, want no error or ErrFull", user, err)
		}
		last = k
	}
}

func wantPercent(t *testing.T, e *memory.Engine, what string, percent int64) {
	t.Helper()
	s := e.Stats()
	if got := s.Bytes * 100 / s.MaxBytes; got != percent {
		t.Errorf("%s ended at %d %% of %d bytes, want %d %%", what, got, s.MaxBytes, percent)
	}
}

// takeIn has sessions adopted by an engine beyond its mark for births: one that
// was born in a cookie for lack of room is a birth, another engine's is none, and
// neither is the cookie of a session that is there.
func takeIn(t *testing.T, e *memory.Engine, d *driver, now crdt.Time) {
	t.Helper()
	born := func() crdt.Record {
		k := d.key(now)
		r, _, err := crdt.Apply(crdt.Record{Key: k}, d.birth(now, "ann", 0), crdt.Origin{Actor: crdt.NewActor(2, 7), Now: now})
		if err != nil {
			t.Fatalf("Apply: %v", err)
		}
		return r
	}
	sealed := born()
	sealed.VV = nil
	if _, err := e.Apply(t.Context(), sealed.Key, crdt.Op{Adopt: &sealed}); !errors.Is(err, engine.ErrFull) {
		t.Errorf("Apply(adopt what was born in a cookie) beyond the mark for births = %v, want ErrFull", err)
	}
	other := born()
	apply(t, e, other.Key, crdt.Op{Adopt: &other})
	other.VV = nil
	apply(t, e, other.Key, crdt.Op{Adopt: &other})
}

// DESIGN R13: births go first, endings never, and nothing is evicted.
func TestFullMemoryRefusesInOrder(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{MaxBytes: 512 << 10, Clock: c.Now})
	anonymous := fill(t, e, d, now, "")
	wantPercent(t, e, "births of anonymous sessions", 80)
	repeated := d.birth(now, "ann", 0)
	k := d.key(now)
	apply(t, e, k, repeated)
	fill(t, e, d, now, "ann")
	wantPercent(t, e, "births", 90)
	apply(t, e, k, repeated) // it has its session: ErrFull would say it had not
	takeIn(t, e, d, now)
	records := e.Stats().Records

	var err error
	for i := 0; err == nil; i++ {
		_, err = e.Apply(t.Context(), k, d.put(now, strings.Repeat("x", i+1), 1024))
	}
	if !errors.Is(err, engine.ErrFull) {
		t.Errorf("Apply(put) beyond MaxBytes = %v, want ErrFull", err)
	}
	wantPercent(t, e, "writes that grow", 99)
	apply(t, e, k, d.put(now, "x", 1)) // shrinks
	for _, taken := range []struct {
		what string
		k    crdt.Key
		op   crdt.Op
	}{
		{"touch", k, crdt.Op{Touch: true}},
		{"revoke", crdt.UserKey("ann"), crdt.Op{Revoke: true}},
		{"destroy of what is not here", d.key(now), crdt.Op{Destroy: true}},
		{"destroy that comes with changes", d.key(now), endingWith(d.put(now, "a", 9), crdt.Op{Destroy: true})},
		{"revoke that comes with changes", crdt.UserKey("bob"), endingWith(
			crdt.Op{Stamp: d.stamp(now), Changes: []crdt.Change{crdt.Index(k.SessionID(), make([]byte, 9999))}}, crdt.Op{Revoke: true})},
	} {
		if _, err := e.Apply(t.Context(), taken.k, taken.op); err != nil {
			t.Errorf("Apply(%s) in full memory = %v, want no error", taken.what, err)
		}
	}
	bringAll(t, e, d, now)
	if s := e.Stats(); s.Bytes <= s.MaxBytes || s.Records != records+44 {
		t.Errorf("Stats = %d bytes, %d records, want more than %d bytes, %d records", s.Bytes, s.Records, s.MaxBytes, records+44)
	}
	apply(t, e, k, d.put(now, "xx", 1)) // still shrinks
	apply(t, e, anonymous, crdt.Op{Destroy: true})
}

// bringAll gives e records of another Region, by Join and by Ingest, beyond MaxBytes.
func bringAll(t *testing.T, e *memory.Engine, d *driver, now crdt.Time) {
	t.Helper()
	for i := range 40 {
		r, f := remote(t, d, now)
		if i%2 == 0 {
			if err := e.Join(t.Context(), r); err != nil {
				t.Errorf("Join in full memory = %v, want no error", err)
			}
			continue
		}
		b := engine.Batch{
			Partition: r.Key.Partition(), Actor: f.Dot.Actor, First: uint64(i), Frags: []crdt.Fragment{f}, Rebase: true,
		}
		if _, err := e.Ingest(t.Context(), f.Dot.Actor.Region(), b); err != nil {
			t.Errorf("Ingest in full memory = %v, want no error", err)
		}
	}
}

// endingWith returns op with the endings of e.
func endingWith(op, e crdt.Op) crdt.Op {
	op.Destroy, op.Revoke = e.Destroy, e.Revoke
	return op
}

// remote returns a session of another Region and the fragment that makes it.
func remote(t *testing.T, d *driver, now crdt.Time) (crdt.Record, crdt.Fragment) {
	t.Helper()
	k := d.key(now)
	op := d.birth(now, "bob", 0)
	op.Changes = []crdt.Change{crdt.Put("a", make([]byte, 2048))}
	r, f, err := crdt.Apply(crdt.Record{Key: k}, op, crdt.Origin{Actor: crdt.NewActor(2, 1), Now: now})
	if err != nil {
		t.Fatalf("crdt.Apply(%+v) = %v, want no error", op, err)
	}
	return r, f
}

// What MaxBytes counts is what the process pays.
func TestBytesAreTheHeap(t *testing.T) {
	const sessions = 20000
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now})
	before := heap()
	for range sessions {
		k := d.key(now)
		apply(t, e, k, d.birth(now, "ann", time.Hour))
		apply(t, e, k, d.put(now, "cart", 120))
	}
	paid, s := heap()-before, e.Stats()
	counted := s.Bytes + s.LogBytes
	t.Logf("%d sessions: %d bytes of heap, %d counted (%d in the log)", sessions, paid, counted, s.LogBytes)
	if ratio := float64(counted) / float64(paid); ratio < 0.75 || ratio > 1.33 {
		t.Errorf("counted %d bytes, heap has %d more: ratio %.2f, want 0.75 to 1.33", counted, paid, ratio)
	}
	if s.Records != sessions || s.LogEntries != 2*sessions {
		t.Errorf("Stats = %d records, %d log entries, want %d, %d", s.Records, s.LogEntries, sessions, 2*sessions)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one only marked
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // below 2⁶³
}

func TestConfigNamesAllFaults(t *testing.T) {
	_, err := memory.New(0, memory.Config{MaxBytes: 1, LogBytes: 1, KeepReleased: -1, SweepInterval: -1})
	for _, want := range []string{"region 0", "MaxBytes", "LogBytes", "KeepReleased", "SweepInterval"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(faulty) = %v, want %s named", err, want)
		}
	}
}

// An ending that a peer tells of is taken in at the limit, as one made here is.
func TestEndingsAreAdoptedWhenFull(t *testing.T) {
	e, err := memory.New(1, memory.Config{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	d, now := newDriver(), crdt.TimeOf(time.Now())
	fill(t, e, d, now, "alice")
	for s := e.Stats(); s.Bytes < s.MaxBytes; s = e.Stats() { // what peers send is taken beyond the limit
		op := d.birth(now, "", time.Hour)
		r := crdt.Record{Key: d.key(now), Auth: *op.Auth, Touch: now, VV: crdt.Vector{{Actor: crdt.NewActor(2, 1), Stamp: now.Stamp()}}}
		if err := e.Join(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	user := crdt.UserKey("bob")
	epoch := crdt.EpochRecord(user, crdt.Dot{Actor: crdt.NewActor(2, 1), Stamp: now.Stamp()})
	for what, r := range map[string]crdt.Record{"logout": {Key: d.key(now), Dead: true}, "revocation": epoch} {
		if _, err := e.Apply(t.Context(), r.Key, crdt.Op{Adopt: &r}); err != nil {
			t.Errorf("Apply(adopt a %s) when full = %v, want no error", what, err)
		}
	}
}
