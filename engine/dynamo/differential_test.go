package dynamo

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

var differences = flag.Int("ops", defaultOps, "how many random operations are compared with engine/memory")

// TestEqualsMemory applies random operations and joins here and with engine/memory's core,
// and wants every answer, dot and record to be the same, byte for byte.
func TestEqualsMemory(t *testing.T) {
	for name, strong := range map[string]bool{"each Region an item": false, "one item": true} {
		t.Run(name, func(t *testing.T) {
			seed := *modelSeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
			}
			t.Logf("-seed %d -ops %d", seed, *differences)
			g := newGlobalTable(rand.New(rand.NewPCG(seed, 2)), 1) //nolint:gosec // a test
			d := newDiffer(t, seed, g.engine(0, strong), func(at crdt.Time) { g.now = at })
			d.run(*differences)
		})
	}
}

// A differ does the same to an engine and to a core.
type differ struct {
	t      *testing.T
	rng    *rand.Rand
	e      *Engine
	core   *memory.Core
	peer   *memory.Core // of another Region, whose records are joined
	now    crdt.Time
	tick   func(crdt.Time)
	keys   []crdt.Key
	counts map[string]int
}

func newDiffer(t *testing.T, seed uint64, e *Engine, tick func(crdt.Time)) *differ {
	t.Helper()
	const incarnation = 0x12345
	e.dice = func() uint32 { return incarnation }
	c := memory.Config{MaxBytes: 1 << 40, LogBytes: 1 << 40}
	d := &differ{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), e: e, now: testNow, tick: tick, counts: map[string]int{}, //nolint:gosec // a test
		core: memory.NewCore(crdt.NewActor(1, incarnation), c), peer: memory.NewCore(crdt.NewActor(2, 7), c),
	}
	d.keys = []crdt.Key{crdt.UserKey("ann"), crdt.UserKey("bob")}
	for len(d.keys) < 10 {
		d.keys = append(d.keys, d.newKey())
	}
	return d
}

func (d *differ) newKey() crdt.Key {
	var e crdt.IDEntropy
	binary.BigEndian.PutUint64(e[:], d.rng.Uint64())
	life := time.Duration(1+d.rng.IntN(50)) * time.Hour
	if d.rng.IntN(20) == 0 {
		life = crdt.MaxLifetime + time.Duration(d.rng.IntN(2)-1)*time.Hour
	}
	return crdt.SessionKey(crdt.NewSessionID(d.now.Add(life), 1, e))
}

func (d *differ) run(n int) {
	d.t.Helper()
	for range n {
		d.move()
		if d.rng.IntN(5) == 0 {
			d.join()
		} else {
			d.apply()
		}
		if d.t.Failed() {
			return
		}
	}
	d.t.Logf("%v", d.counts)
	for _, kind := range []string{"taken", "nothing", "refused", "joined", "adopted", "over"} {
		if d.counts[kind] < n/1000 {
			d.t.Errorf("%s in %d of %d operations: they are not random enough", kind, d.counts[kind], n)
		}
	}
}

// move moves the clock. A session that is past its time then is not in use any more: the
// core forgets it and the engine keeps it for longer, and both show nothing.
func (d *differ) move() {
	switch d.rng.IntN(20) {
	case 0:
		d.now = d.now.Add(time.Duration(d.rng.IntN(40)) * time.Minute)
	default:
		d.now += crdt.Time(d.rng.IntN(3))
	}
	d.tick(d.now)
	for i, k := range d.keys {
		if end, ok := k.Deadline(); !ok || d.now < end && (d.core.Read(-1, k).IsBottom() || !d.core.Read(d.now, k).IsBottom()) {
			continue
		}
		d.counts["over"]++
		d.compare(k, "the end of its time", false)
		d.keys[i] = d.newKey()
	}
}

func (d *differ) anyKey() crdt.Key { return d.keys[d.rng.IntN(len(d.keys))] }

func (d *differ) apply() {
	d.t.Helper()
	k := d.anyKey()
	op := d.anyOp(k)
	if d.rng.IntN(12) == 0 {
		r := d.elsewhere(k)
		op.Adopt = &r
		d.counts["adopted"]++
	}
	dot, err := d.e.Apply(context.Background(), k, op)
	wantDot, wantErr := d.core.Apply(d.now, k, op)
	what := fmt.Sprintf("Apply(%v, %+v) at %d", k, op, d.now)
	if dot != wantDot || kindOf(err) != kindOf(wantErr) { //nolint:errorlint // both are sentinels
		d.t.Errorf("%s = %v, %v, want %v, %v", what, dot, err, wantDot, wantErr)
	}
	switch {
	case err != nil:
		d.counts["refused"]++
	case dot.IsZero():
		d.counts["nothing"]++
	default:
		d.counts["taken"]++
	}
	d.compare(k, what, err == nil && !dot.IsZero())
}

func (d *differ) join() {
	d.t.Helper()
	k := d.anyKey()
	r := d.elsewhere(k)
	d.core.Join(d.now, r)
	if err := d.e.Join(context.Background(), r); err != nil {
		d.t.Errorf("Join(%+v) = %v", r, err)
	}
	d.counts["joined"]++
	d.compare(k, fmt.Sprintf("Join(%+v) at %d", r, d.now), false)
}

// compare wants a record to be the same in both. What means nothing any more goes when a record is
// written: the core writes it for each join, the engine only for one that brings something.
func (d *differ) compare(k crdt.Key, what string, written bool) {
	d.t.Helper()
	got, err := d.e.Read(context.Background(), k, crdt.Token{})
	want := d.core.Read(d.now, k)
	if !written {
		got, want = got.Prune(d.now), want.Prune(d.now)
	}
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, want)) {
		d.t.Errorf("%s\nrecord = %+v, %v\nwant     %+v", what, got, err, want)
	}
}

// elsewhere returns k's record as another Region has it, after another operation or two.
func (d *differ) elsewhere(k crdt.Key) crdt.Record {
	if d.rng.IntN(2) == 0 {
		d.peer.Join(d.now, d.core.Read(d.now, k))
	}
	for range 1 + d.rng.IntN(2) {
		_, _ = d.peer.Apply(d.now, k, d.anyOp(k)) // refused or not
	}
	r := d.peer.Read(d.now, k)
	if d.rng.IntN(6) == 0 && !r.Dead {
		r.VV = nil // as from a cookie
	}
	if r.IsBottom() {
		return crdt.Record{Key: k, VV: crdt.Vector{{Actor: crdt.NewActor(3, 1), Stamp: 1}}}
	}
	return r
}

// anyOp returns an operation that an engine would be given.
func (d *differ) anyOp(k crdt.Key) crdt.Op {
	op := crdt.Op{ID: uint64(1 + d.rng.IntN(40)), Stamp: max(d.now.Stamp(), d.core.Read(d.now, k).Latest()+1)} //nolint:gosec // small
	if d.rng.IntN(6) == 0 {
		op.Stamp = d.now.Add(time.Duration(d.rng.IntN(140)-70) * time.Second).Stamp()
	}
	if k.Kind() == crdt.KindUser {
		switch id := d.keys[2+d.rng.IntN(8)].SessionID(); d.rng.IntN(4) {
		case 0:
			op.Revoke = true
		case 1:
			op.Changes = []crdt.Change{crdt.Unindex(id)}
		default:
			op.Changes = []crdt.Change{crdt.Index(id, []byte("note"))}
		}
		return op
	}
	switch n := d.rng.IntN(40); {
	case n == 0:
		return crdt.Op{Destroy: true}
	case n < 12:
		op.Birth = &crdt.Birth{Idle: time.Duration(d.rng.IntN(4)) * 10 * time.Minute}
		op.Auth = d.anyAuth(k)
	case n < 16:
		op.Auth = d.anyAuth(k)
	}
	if op.Auth != nil && d.rng.IntN(2) == 0 {
		op.User = []string{"ann", "ann", "ann", "bob"}[d.rng.IntN(4)]
	}
	op.Touch = d.rng.IntN(3) == 0
	for i := range d.rng.IntN(4) {
		op.Changes = append(op.Changes, d.anyChange(string(rune('a'+i))))
	}
	if d.rng.IntN(600) == 0 { // towards the limits
		for i := range 5 {
			op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("large", i), make([]byte, 40<<10+d.rng.IntN(25<<10))))
		}
	}
	return op
}

func (d *differ) anyAuth(k crdt.Key) *crdt.Auth {
	a := &crdt.Auth{Gen: uint32(1 + d.rng.IntN(2)), Cur: crdt.Hash{1, k.Name()[8]}, At: d.now, Grace: d.now.Add(10 * time.Second)} //nolint:gosec // small
	if d.rng.IntN(4) == 0 {
		a.Cur[2], a.Prev = byte(d.rng.IntN(3)), crdt.Hash{byte(d.rng.IntN(3))}
	}
	return a
}

func (d *differ) anyChange(name string) crdt.Change {
	switch d.rng.IntN(6) {
	case 0:
		return crdt.Add(name, int64(d.rng.IntN(9))-4)
	case 1:
		return crdt.Mark("s", name)
	case 2:
		return crdt.Unmark("s", name)
	case 3:
		return crdt.Delete(name)
	case 4:
		return crdt.Put(name, make([]byte, d.rng.IntN(1000)))
	}
	return crdt.Put(name, []byte{byte(d.rng.Uint32())})
}

// kindOf returns which error of packages crdt and engine err is.
func kindOf(err error) error {
	for _, kind := range []error{
		crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExpired, crdt.ErrExists, crdt.ErrOtherUser, crdt.ErrAhead, crdt.ErrLimit, crdt.ErrOp, engine.ErrFull,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return err
}
