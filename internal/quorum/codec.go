package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

const (
	// commandVersion stands in front of a command in the log, and imageVersion in front
	// of a snapshot.
	commandVersion = 1
	imageVersion   = 1

	// commandHead: version 1, member 8, life 8, seq 8, floor 8.
	commandHead = 1 + 4*8
	// imageHead: version 1, identity 8, accounts 2.
	imageHead = 1 + 8 + 2
	// accountHead: member 8, life 8, floor 8, seen 2.
	accountHead = 3*8 + 2
	// maxAccounts bounds how many members there ever were.
	maxAccounts = 1024
)

// errMalformed is the kind of refusals of bytes in the log.
var errMalformed = errors.New("malformed")

// encodeCommand returns a command as it is in the log.
func encodeCommand(t ticket, command []byte) []byte {
	b := append(make([]byte, 0, commandHead+len(command)), commandVersion)
	for _, v := range []uint64{t.member, t.life, t.seq, t.floor} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, command...)
}

// decodeCommand reads what encodeCommand wrote. The command is a part of b.
func decodeCommand(b []byte) (ticket, []byte, error) {
	if len(b) < commandHead || b[0] != commandVersion {
		return ticket{}, nil, fmt.Errorf("%w: command of %d bytes", errMalformed, len(b))
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	t := ticket{member: u(0), life: u(1), seq: u(2), floor: u(3)}
	if t.member == 0 || t.seq == 0 || t.floor == 0 || t.floor > t.seq || t.seq-t.floor >= maxSpread {
		return ticket{}, nil, fmt.Errorf("%w: command %d above %d of member %d", errMalformed, t.seq, t.floor, t.member)
	}
	if len(b)-commandHead > MaxCommandBytes {
		return ticket{}, nil, fmt.Errorf("%w: command of %d bytes", errMalformed, len(b)-commandHead)
	}
	return t, b[commandHead:], nil
}

// encodeImage returns what a snapshot carries.
func encodeImage(im image) []byte {
	b := binary.BigEndian.AppendUint64([]byte{imageVersion}, im.identity)
	b = binary.BigEndian.AppendUint16(b, uint16(len(im.ledger))) //nolint:gosec // at most maxAccounts
	for _, member := range slices.Sorted(maps.Keys(im.ledger)) {
		a := im.ledger[member]
		for _, v := range []uint64{member, a.life, a.floor} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.seen))) //nolint:gosec // at most maxSpread
		for _, seq := range a.seen {
			b = binary.BigEndian.AppendUint16(b, uint16(seq-a.floor)) //nolint:gosec // less than maxSpread
		}
	}
	return append(b, im.state...)
}

// decodeImage reads what encodeImage wrote. The state is a part of b.
func decodeImage(b []byte) (image, error) {
	if len(b) < imageHead || b[0] != imageVersion {
		return image{}, fmt.Errorf("%w: snapshot of %d bytes", errMalformed, len(b))
	}
	im := image{identity: binary.BigEndian.Uint64(b[1:]), ledger: ledger{}}
	n := binary.BigEndian.Uint16(b[9:])
	if im.identity == 0 || n > maxAccounts {
		return image{}, fmt.Errorf("%w: snapshot of log %x with %d accounts", errMalformed, im.identity, n)
	}
	b = b[imageHead:]
	var before uint64
	for range n {
		if len(b) < accountHead {
			return image{}, fmt.Errorf("%w: snapshot ends early", errMalformed)
		}
		member, a := binary.BigEndian.Uint64(b), &account{life: binary.BigEndian.Uint64(b[8:]), floor: binary.BigEndian.Uint64(b[16:])}
		seen := int(binary.BigEndian.Uint16(b[24:]))
		b = b[accountHead:]
		if member <= before || seen > maxSpread || len(b) < 2*seen || a.floor > 1<<63 {
			return image{}, fmt.Errorf("%w: account of member %d", errMalformed, member)
		}
		for i := range seen {
			above := binary.BigEndian.Uint16(b[2*i:])
			seq := a.floor + uint64(above)
			if above >= maxSpread || i > 0 && seq <= a.seen[i-1] {
				return image{}, fmt.Errorf("%w: account of member %d", errMalformed, member)
			}
			a.seen = append(a.seen, seq)
		}
		b = b[2*seen:]
		im.ledger[member], before = a, member
	}
	if len(b) > MaxSnapshotBytes {
		return image{}, fmt.Errorf("%w: state of %d bytes", errMalformed, len(b))
	}
	im.state = b
	return im, nil
}
