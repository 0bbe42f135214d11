package dynamo

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/drawtest"
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
	*drawtest.Land
	t      *testing.T
	e      *Engine
	tick   func(crdt.Time)
	counts map[string]int
}

func newDiffer(t *testing.T, seed uint64, e *Engine, tick func(crdt.Time)) *differ {
	t.Helper()
	const incarnation = 0x12345
	e.dice = func() uint32 { return incarnation }
	d := &differ{Land: drawtest.New(seed), t: t, e: e, tick: tick, counts: map[string]int{}}
	d.Core = drawtest.NewCore(crdt.NewActor(1, incarnation))
	return d
}

func (d *differ) run(n int) {
	d.t.Helper()
	for range n {
		d.move()
		if d.Rng.IntN(5) == 0 {
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
	switch d.Rng.IntN(20) {
	case 0:
		d.Now = d.Now.Add(time.Duration(d.Rng.IntN(180)) * time.Minute)
	default:
		d.Now += crdt.Time(d.Rng.IntN(3))
	}
	d.tick(d.Now)
	for i, k := range d.Keys {
		if end, ok := k.Deadline(); !ok || d.Now < end && (d.Core.Read(-1, k).IsBottom() || !d.Core.Read(d.Now, k).IsBottom()) {
			continue
		}
		d.counts["over"]++
		d.compare(k, "the end of its time", false)
		d.Keys[i] = d.NewKey()
	}
}

func (d *differ) apply() {
	d.t.Helper()
	k := d.Key()
	op := d.Op(k, d.Core)
	if op.Adopt != nil {
		d.counts["adopted"]++
	}
	dot, err := d.e.Apply(context.Background(), k, op)
	wantDot, wantErr := d.Core.Apply(d.Now, k, op)
	what := fmt.Sprintf("Apply(%v, %+v) at %d", k, op, d.Now)
	if dot != wantDot || drawtest.KindOf(err) != drawtest.KindOf(wantErr) { //nolint:errorlint // both are sentinels
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
	d.Peer() // writes
	k := d.Key()
	r := d.Record(k)
	d.Core.Join(d.Now, r)
	if err := d.e.Join(context.Background(), r); err != nil {
		d.t.Errorf("Join(%+v) = %v", r, err)
	}
	d.counts["joined"]++
	d.compare(k, fmt.Sprintf("Join(%+v) at %d", r, d.Now), false)
}

// compare wants a record to be the same in both. What means nothing any more goes when a record is
// written: the core writes it for each join, the engine only for one that brings something.
func (d *differ) compare(k crdt.Key, what string, written bool) {
	d.t.Helper()
	got, err := d.e.Read(context.Background(), k, crdt.Token{})
	want := d.Core.Read(d.Now, k)
	if !written {
		got, want = got.Prune(d.Now), want.Prune(d.Now)
	}
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, want)) {
		d.t.Errorf("%s\nrecord = %+v, %v\nwant     %+v", what, got, err, want)
	}
}
