package crdt

import "encoding/binary"

const (
	opTouch = 1 << iota
	opDestroy
	opRevoke
	opBirth
	opAuth
	opAdopt
)

// How a change is made, in bytes.
const (
	changePut = iota
	changeGone
	changeAdd
)

// AppendOp appends op as docs/formats/op.md has it, for engines that apply it in
// a script of their server's. It must be one that Check lets pass. What an ending
// leaves undone is left out.
func AppendOp(b []byte, op Op) []byte {
	if op.Destroy {
		op = Op{ID: op.ID, Destroy: true, Adopt: op.Adopt}
	}
	b = append(b, formatVersion, op.flags())
	b = appendStamp(binary.BigEndian.AppendUint64(b, op.ID), op.Stamp)
	if op.Birth != nil {
		b = appendTime(b, Time(op.Birth.Idle.Milliseconds()))
	}
	if op.Auth != nil {
		b = append(append(b, byte(len(op.User))), op.User...)
		b = binary.BigEndian.AppendUint32(b, op.Auth.Gen)
		b = append(append(b, op.Auth.Cur[:]...), op.Auth.Prev[:]...)
		b = appendVector(appendTime(appendTime(b, op.Auth.Grace), op.Auth.At), op.Auth.Epochs)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(op.Changes))) //nolint:gosec // memory bounds it
	for _, c := range op.Changes {
		b = appendChange(b, c)
	}
	if op.Adopt != nil {
		b = AppendRecord(b, *op.Adopt)
	}
	return b
}

func (op Op) flags() (f byte) {
	for _, has := range []struct {
		flag byte
		is   bool
	}{
		{opTouch, op.Touch},
		{opDestroy, op.Destroy},
		{opRevoke, op.Revoke},
		{opBirth, op.Birth != nil},
		{opAuth, op.Auth != nil},
		{opAdopt, op.Adopt != nil},
	} {
		if has.is {
			f |= has.flag
		}
	}
	return f
}

func appendChange(b []byte, c Change) []byte {
	kind := byte(changePut)
	switch {
	case c.add:
		kind = changeAdd
	case c.gone:
		kind = changeGone
	}
	b = append(append(b, kind, byte(len(c.field))), c.field...)
	switch kind {
	case changeAdd:
		b = binary.BigEndian.AppendUint64(b, uint64(c.delta)) //nolint:gosec // two's complement
	case changePut:
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.value))) //nolint:gosec // Check bounds it
		b = append(b, c.value...)
	}
	return b
}
