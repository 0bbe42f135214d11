package drawtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// Op draws an operation on k that an engine would be given, about what core has.
func (l *Land) Op(k crdt.Key, core *memory.Core) crdt.Op {
	for {
		op := crdt.Op{ID: uint64(1 + l.Rng.IntN(40)), Stamp: l.stamp(core.Read(-1, k))} //nolint:gosec // small
		if k.Kind() == crdt.KindUser {
			l.userOp(&op)
		} else {
			l.sessionOp(&op, k)
		}
		if l.Rng.IntN(12) == 0 {
			r := l.Record(k)
			op.Adopt = &r
		}
		if op.Check(k) == nil {
			return op
		}
	}
}

func (l *Land) stamp(r crdt.Record) crdt.Stamp {
	switch l.Rng.IntN(12) {
	case 0:
		return l.Now.Add(time.Duration(l.Rng.IntN(70)) * time.Second).Stamp()
	case 1:
		return l.Now.Stamp() - crdt.Stamp(l.Rng.IntN(1<<24)) //nolint:gosec // below
	case 2:
		return crdt.Stamp(1 + l.Rng.IntN(3)) //nolint:gosec // small
	case 3:
		return l.Now.Stamp() + crdt.Stamp(l.Rng.IntN(3)) //nolint:gosec // small
	}
	return max(l.Now.Stamp(), r.Latest()+1)
}

func (l *Land) userOp(op *crdt.Op) {
	switch l.Rng.IntN(4) {
	case 0:
		op.Revoke = true
	case 1:
		op.Changes = []crdt.Change{crdt.Unindex(l.Keys[2+l.Rng.IntN(8)].SessionID())}
	default:
		op.Changes = []crdt.Change{crdt.Index(l.Keys[2+l.Rng.IntN(8)].SessionID(), l.value())}
	}
	if l.Rng.IntN(20) == 0 {
		op.Revoke = true
	}
}

func (l *Land) sessionOp(op *crdt.Op, k crdt.Key) {
	switch n := l.Rng.IntN(40); {
	case n == 0:
		op.Destroy = true
		return
	case n < 12:
		op.Birth = &crdt.Birth{Idle: time.Duration(l.Rng.IntN(4)) * 10 * time.Minute}
		if n == 1 {
			op.Birth.Idle = time.Duration(l.Rng.IntN(10_000)) * time.Millisecond
		}
		op.Auth = l.auth(k)
	case n < 16:
		op.Auth = l.auth(k)
	}
	if op.Auth != nil && l.Rng.IntN(2) == 0 {
		op.User = []string{"ann", "ann", "ann", "ann", "ann", "bob"}[l.Rng.IntN(6)]
	}
	op.Touch = l.Rng.IntN(3) == 0
	for range l.Rng.IntN(4) {
		op.Changes = append(op.Changes, l.change())
	}
	if l.Rng.IntN(300) == 0 {
		for i := range 300 { // towards the limits
			op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("f", i+l.Rng.IntN(1000)*1000), make([]byte, l.Rng.IntN(900))))
		}
	}
}

// auth draws a register: mostly with the secret that k's births have.
func (l *Land) auth(k crdt.Key) *crdt.Auth {
	a := &crdt.Auth{Gen: uint32(1 + l.Rng.IntN(2)), Cur: crdt.Hash{1, k.Name()[8]}, At: l.Now, Grace: l.Now.Add(10 * time.Second)} //nolint:gosec // small
	if l.Rng.IntN(4) == 0 {
		a.Cur[2], a.Prev = byte(l.Rng.IntN(3)), crdt.Hash{byte(l.Rng.IntN(3))}
	}
	for range l.Rng.IntN(3) {
		a.Epochs = a.Epochs.With(crdt.Dot{
			Actor: crdt.NewActor(crdt.Region(1+l.Rng.IntN(3)), uint32(l.Rng.IntN(2))), Stamp: crdt.Stamp(1 + l.Rng.IntN(3)), //nolint:gosec // small
		})
	}
	return a
}

func (l *Land) change() crdt.Change {
	name := string(rune('a' + l.Rng.IntN(4)))
	switch l.Rng.IntN(7) {
	case 0:
		return crdt.Add(name, int64(l.Rng.IntN(9))-4)
	case 1:
		return crdt.Add(name, int64(l.Rng.Uint64())) //nolint:gosec // any
	case 2:
		return crdt.Mark("s", string(l.value()))
	case 3:
		return crdt.Unmark("s", name)
	case 4:
		return crdt.Delete(name)
	}
	return crdt.Put(name+strings.Repeat("x", l.Rng.IntN(2)*l.Rng.IntN(240)), l.value())
}

func (l *Land) value() []byte {
	b := make([]byte, l.Rng.IntN(4)*l.Rng.IntN(8))
	for i := range b {
		b[i] = []byte{0, 1, 127, 128, 255, 'a'}[l.Rng.IntN(6)]
	}
	return b
}

// Record draws a record of k as it may come from elsewhere: another Region's,
// older or not, one sealed in a cookie, an ending.
func (l *Land) Record(k crdt.Key) crdt.Record {
	r := crdt.Record{Key: k}
	for _, p := range l.Peers {
		if l.Rng.IntN(2) == 0 {
			r = crdt.Join(r, p.Core.Read(-1, k))
		}
	}
	if l.Rng.IntN(3) == 0 {
		r = crdt.Join(r, l.Core.Read(-1, k))
	}
	switch n := l.Rng.IntN(12); {
	case n < 3 && !r.Dead:
		r.VV = nil
	case n == 3 && k.Kind() == crdt.KindSession:
		r = crdt.Record{Key: k, Dead: true}
	case n == 3:
		r = crdt.EpochRecord(k, crdt.Dot{Actor: l.NewActor(2), Stamp: l.stamp(r)})
	}
	for range l.Rng.IntN(3) { // a write of a Region that nobody else has heard of
		by := crdt.Origin{Actor: crdt.NewActor(4, uint32(l.Rng.IntN(3))), Now: l.Now} //nolint:gosec // small
		if out, _, err := crdt.Apply(r, l.plainOp(k), by); err == nil {
			r = out
		}
	}
	if r.IsBottom() {
		return crdt.Record{Key: k, VV: crdt.Vector{{Actor: l.NewActor(3), Stamp: 1}}}
	}
	return r
}

// plainOp draws an operation that adopts nothing.
func (l *Land) plainOp(k crdt.Key) crdt.Op {
	op := crdt.Op{ID: 7, Stamp: l.Now.Stamp()}
	if k.Kind() == crdt.KindUser {
		l.userOp(&op)
	} else {
		l.sessionOp(&op, k)
	}
	return op
}
