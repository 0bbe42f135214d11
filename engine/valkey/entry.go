package valkey

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Nearly all writes only touch a session and change fields of it. The scripts neither
// write nor read such a plain fragment as package crdt has it: the log keeps the
// operation as it came, and what is merged comes as it is stored. It begins with
// plain, where others begin with the version of a fragment.
const (
	plain     = 2
	maxPlain  = 100 // fields; the scripts write them with the head in one call
	plainHead = 1 + 10 + 7 + 6
	opHead    = 1 + 1 + 8 + 7 + 4 // version, flags, ID, stamp, number of changes
	nameBytes = 16
)

// appendEntry appends f as roam_v1_ingest takes it.
func appendEntry(b []byte, f crdt.Fragment) []byte {
	if !isPlain(f) {
		return crdt.AppendFragment(b, f)
	}
	b = appendNumber(crdt.AppendDot(append(b, plain), f.Dot), uint64(f.Prev), 7)
	b = appendNumber(b, uint64(f.Effect.Touch), 6) //nolint:gosec // a time is positive
	for _, x := range f.Effect.Fields {
		b = append(append(b, byte(len(x.Name))), x.Name...)
		b = binary.BigEndian.AppendUint32(b, uint32(storedMinLen+len(x.Value))) //nolint:gosec // memory bounds it
		b = appendNumber(appendNumber(b, uint64(x.Dot.Stamp), 7), uint64(x.Dot.Actor), 3)
		if x.Gone {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = append(b, x.Value...)
	}
	return b
}

// isPlain reports whether f only touches a session and adds fields to it.
func isPlain(f crdt.Fragment) bool {
	e := f.Effect
	return e.Key.Kind() == crdt.KindSession && !e.Dead && e.Born == crdt.Born{} && e.Auth.Dot.IsZero() &&
		e.User == "" && e.Abs == 0 && len(e.Fields) <= maxPlain && len(e.VV) == 1 && e.VV[0] == f.Dot
}

// decodeEntry reads an entry of the log.
func decodeEntry(s string) (crdt.Fragment, error) {
	b := []byte(s)
	if b[0] == plain {
		var err error
		if b, err = expand(s); err != nil {
			return crdt.Fragment{}, err
		}
	}
	f, err := crdt.DecodeFragment(b)
	if err != nil {
		return crdt.Fragment{}, fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	return f, nil
}

// A change is a part of an operation.
type change struct {
	name, value string
	gone        byte
}

// expand returns the bytes of crdt.AppendFragment of a plain entry of the log: its
// head, the session's name and the operation.
func expand(s string) ([]byte, error) {
	const fixed = plainHead + nameBytes + opHead
	short := fmt.Errorf("%w: entry of %d bytes", engine.ErrCorrupt, len(s))
	if len(s) < fixed {
		return nil, short
	}
	op := s[plainHead+nameBytes:]
	by := s[1:4] + op[10:17] // actor and stamp of the fields
	n := number(op[17:21])
	if n > maxPlain {
		return nil, short
	}
	changes, rest := make([]change, 0, n), op[opHead:]
	for range n {
		var c change
		if c, rest = nextChange(rest); c.name == "" {
			return nil, short
		}
		changes = append(changes, c)
	}
	if rest != "" {
		return nil, short
	}
	slices.SortFunc(changes, func(x, y change) int { return strings.Compare(x.name, y.name) })
	b := make([]byte, 0, len(s)+64+32*len(changes))
	b = append(append(b, 1), s[1:18]...)                                       // version, dot, the stamp before it
	b = append(append(b, 1, byte(crdt.KindSession), 0), s[plainHead:][:16]...) // of a record
	b = append(append(b, 0, 0, 0, 0, 0, 0), s[18:24]...)                       // deadline, touch
	b = append(append(b, 0, 0, 1), s[1:11]...)                                 // user, vector
	b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))                 //nolint:gosec // at most maxPlain
	for _, c := range changes {
		b = append(append(b, byte(len(c.name))), c.name...)
		b = append(append(b, c.gone), by...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.value))) //nolint:gosec // of an entry
		b = append(b, c.value...)
	}
	return b, nil
}

// nextChange reads a change of an operation and returns what comes after it; the zero
// change if it is none that a plain entry has.
func nextChange(s string) (change, string) {
	if len(s) < 2 || s[0] > 1 || len(s) < 2+int(s[1]) {
		return change{}, ""
	}
	c := change{name: s[2 : 2+int(s[1])], gone: s[0]}
	s = s[2+int(s[1]):]
	if c.gone == 1 {
		return c, s
	}
	if len(s) < 4 || uint64(len(s)-4) < number(s[:4]) {
		return change{}, ""
	}
	size := int(number(s[:4])) //nolint:gosec // at most len(s)
	c.value = s[4 : 4+size]
	return c, s[4+size:]
}
