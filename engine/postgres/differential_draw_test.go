//go:build integration

package postgres

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// renewKeys draws keys of few partitions, so that batches hold several records.
func (d *differ) renewKeys() {
	d.keys = []crdt.Key{crdt.UserKey("ann"), crdt.UserKey("bob")}
	for len(d.keys) < 10 {
		var e crdt.IDEntropy
		for i := range e {
			e[i] = byte(d.rng.Uint32())
		}
		binary.BigEndian.PutUint16(e[:], uint16(d.rng.IntN(3))) //nolint:gosec // below 3
		life := time.Duration(1+d.rng.IntN(200)) * time.Hour
		if d.rng.IntN(20) == 0 {
			life = crdt.MaxLifetime + time.Duration(d.rng.IntN(2)-1)*time.Hour
		}
		d.keys = append(d.keys, crdt.SessionKey(crdt.NewSessionID(d.at().Add(life), 1, e)))
	}
}

func (d *differ) anyKey() crdt.Key { return d.keys[d.rng.IntN(len(d.keys))] }

// anyOp returns an operation on k that an engine would send, about what core has.
func (d *differ) anyOp(k crdt.Key, core *memory.Core) crdt.Op {
	for {
		op := crdt.Op{ID: uint64(1 + d.rng.IntN(40)), Stamp: d.anyStamp(core.Read(-1, k))} //nolint:gosec // small
		if k.Kind() == crdt.KindUser {
			d.userOp(&op)
		} else {
			d.sessionOp(&op, k)
		}
		if d.rng.IntN(12) == 0 {
			r := d.anyRecord(k)
			op.Adopt = &r
		}
		if op.Check(k) == nil {
			return op
		}
	}
}

func (d *differ) anyStamp(r crdt.Record) crdt.Stamp {
	switch d.rng.IntN(12) {
	case 0:
		return d.at().Add(time.Duration(d.rng.IntN(70)) * time.Second).Stamp()
	case 1:
		return d.at().Stamp() - crdt.Stamp(d.rng.IntN(1<<24)) //nolint:gosec // below
	case 2:
		return crdt.Stamp(1 + d.rng.IntN(3)) //nolint:gosec // small
	case 3:
		return d.at().Stamp() + crdt.Stamp(d.rng.IntN(3)) //nolint:gosec // small
	}
	return max(d.at().Stamp(), r.Latest()+1)
}

func (d *differ) userOp(op *crdt.Op) {
	switch d.rng.IntN(4) {
	case 0:
		op.Revoke = true
	case 1:
		op.Changes = []crdt.Change{crdt.Unindex(d.keys[2+d.rng.IntN(8)].SessionID())}
	default:
		op.Changes = []crdt.Change{crdt.Index(d.keys[2+d.rng.IntN(8)].SessionID(), d.anyValue())}
	}
	if d.rng.IntN(20) == 0 {
		op.Revoke = true
	}
}

func (d *differ) sessionOp(op *crdt.Op, k crdt.Key) {
	switch n := d.rng.IntN(40); {
	case n == 0:
		op.Destroy = true
		return
	case n < 12:
		op.Birth = &crdt.Birth{Idle: time.Duration(d.rng.IntN(4)) * 10 * time.Minute}
		if n == 1 {
			op.Birth.Idle = time.Duration(d.rng.IntN(10_000)) * time.Millisecond
		}
		op.Auth = d.anyAuth(k)
	case n < 16:
		op.Auth = d.anyAuth(k)
	}
	if op.Auth != nil && d.rng.IntN(2) == 0 {
		op.User = []string{"ann", "ann", "ann", "ann", "ann", "bob"}[d.rng.IntN(6)]
	}
	op.Touch = d.rng.IntN(3) == 0
	for range d.rng.IntN(4) {
		op.Changes = append(op.Changes, d.anyChange())
	}
	if d.rng.IntN(300) == 0 {
		for i := range 300 { // towards the limits
			op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("f", i+d.rng.IntN(1000)*1000), make([]byte, d.rng.IntN(900))))
		}
	}
}

// anyAuth returns a register: mostly with the secret that k's births have.
func (d *differ) anyAuth(k crdt.Key) *crdt.Auth {
	a := &crdt.Auth{Gen: uint32(1 + d.rng.IntN(2)), Cur: crdt.Hash{1, k.Name()[8]}, At: d.at(), Grace: d.at().Add(10 * time.Second)} //nolint:gosec // small
	if d.rng.IntN(4) == 0 {
		a.Cur[2], a.Prev = byte(d.rng.IntN(3)), crdt.Hash{byte(d.rng.IntN(3))}
	}
	for range d.rng.IntN(3) {
		a.Epochs = a.Epochs.With(crdt.Dot{
			Actor: crdt.NewActor(crdt.Region(1+d.rng.IntN(3)), uint32(d.rng.IntN(2))), Stamp: crdt.Stamp(1 + d.rng.IntN(3)), //nolint:gosec // small
		})
	}
	return a
}

func (d *differ) anyChange() crdt.Change {
	name := string(rune('a' + d.rng.IntN(4)))
	switch d.rng.IntN(7) {
	case 0:
		return crdt.Add(name, int64(d.rng.IntN(9))-4)
	case 1:
		return crdt.Add(name, int64(d.rng.Uint64())) //nolint:gosec // any
	case 2:
		return crdt.Mark("s", string(d.anyValue()))
	case 3:
		return crdt.Unmark("s", name)
	case 4:
		return crdt.Delete(name)
	}
	return crdt.Put(name+strings.Repeat("x", d.rng.IntN(2)*d.rng.IntN(240)), d.anyValue())
}

func (d *differ) anyValue() []byte {
	b := make([]byte, d.rng.IntN(4)*d.rng.IntN(8))
	for i := range b {
		b[i] = []byte{0, 1, 127, 128, 255, 'a'}[d.rng.IntN(6)]
	}
	return b
}

// anyRecord returns a record of k as it may come from elsewhere: another Region's,
// older or not, one sealed in a cookie, an ending.
func (d *differ) anyRecord(k crdt.Key) crdt.Record {
	r := crdt.Record{Key: k}
	for _, p := range d.peers {
		if d.rng.IntN(2) == 0 {
			r = crdt.Join(r, p.core.Read(-1, k))
		}
	}
	if d.rng.IntN(3) == 0 {
		r = crdt.Join(r, d.core.Read(-1, k))
	}
	switch n := d.rng.IntN(12); {
	case n < 3 && !r.Dead:
		r.VV = nil
	case n == 3 && k.Kind() == crdt.KindSession:
		r = crdt.Record{Key: k, Dead: true}
	case n == 3:
		r = crdt.EpochRecord(k, crdt.Dot{Actor: d.newActor(2), Stamp: d.anyStamp(r)})
	}
	for range d.rng.IntN(3) { // a write of a Region that nobody else has heard of
		by := crdt.Origin{Actor: crdt.NewActor(4, uint32(d.rng.IntN(3))), Now: d.at()} //nolint:gosec // small
		if out, _, err := crdt.Apply(r, d.plainOp(k), by); err == nil {
			r = out
		}
	}
	if r.IsBottom() {
		return crdt.Record{Key: k, VV: crdt.Vector{{Actor: d.newActor(3), Stamp: 1}}}
	}
	return r
}

// plainOp returns an operation that adopts nothing.
func (d *differ) plainOp(k crdt.Key) crdt.Op {
	op := crdt.Op{ID: 7, Stamp: d.at().Stamp()}
	if k.Kind() == crdt.KindUser {
		d.userOp(&op)
	} else {
		d.sessionOp(&op, k)
	}
	return op
}
