package valkey

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A stored record is a hash: in headField what is not a field, and each field under
// its name. docs/formats/valkey.md has the bytes.
const (
	headField   = "h"
	headVersion = 1

	headDead     = 1 << 0
	headBorn     = 1 << 1
	headAuth     = 1 << 2
	headOwnEnd   = 1 << 3
	headPrevious = 1 << 4
	headLoggedIn = 1 << 5
	headBased    = 1 << 6
	headRecord   = headDead | headBorn | headAuth // flags of a record, too

	headSums     = 2 + 3 + 7 + 6 // what only the scripts need
	userSums     = 6 + 6
	storedMinLen = 7 + 3 + 1
	storedShort  = 0xff // in place of a dot: the base
)

// decodeReply returns the record of k that a server has sent as a hash, each field as
// name and value. It keeps parts of what was sent.
func decodeReply(k crdt.Key, hash []valkey.ValkeyMessage) (crdt.Record, error) {
	return decodeRecord(k, len(hash)/2, func(i int) (string, []byte) {
		name, _ := hash[2*i].ToString()
		stored, _ := hash[2*i+1].AsBytes() // what is no string is as corrupt as an empty one
		return name, stored
	})
}

// decodeRecord returns the record of k that is stored as a hash of so many fields, of
// which at returns name and value; bottom if there are none.
func decodeRecord(k crdt.Key, fields int, at func(i int) (name string, stored []byte)) (crdt.Record, error) {
	if fields == 0 {
		return crdt.Record{Key: k}, nil
	}
	var head []byte
	for i := range fields { // mostly the first one
		if name, stored := at(i); name == headField {
			head = stored
			break
		}
	}
	r, base, err := decodeHead(k, head)
	if err != nil || r.Dead || fields == 1 {
		return r, err
	}
	r.Fields = make([]crdt.Field, 0, fields-1)
	for i := range fields {
		name, stored := at(i)
		if name == headField {
			continue
		}
		f, err := decodeField(name, stored, base)
		if err != nil {
			return crdt.Record{}, err
		}
		r.Fields = append(r.Fields, f)
	}
	byName := func(a, b crdt.Field) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(r.Fields, byName) {
		slices.SortFunc(r.Fields, byName)
	}
	return r, nil
}

// decodeField reads a stored field, and keeps its value. Most are of the base.
func decodeField(name string, stored []byte, base crdt.Dot) (crdt.Field, error) {
	f := crdt.Field{Name: name, Dot: base}
	switch {
	case len(stored) > 0 && stored[0] == storedShort:
		f.Value = slices.Clip(stored[1:])
	case len(stored) >= storedMinLen && stored[10] <= 1:
		f.Dot = crdt.Dot{Actor: crdt.Actor(number(stored[7:10])), Stamp: crdt.Stamp(number(stored[:7]))} //nolint:gosec // 24 bits
		f.Gone, f.Value = stored[10] == 1, slices.Clip(stored[storedMinLen:])
	default:
		return crdt.Field{}, fmt.Errorf("%w: field of %d bytes", engine.ErrCorrupt, len(stored))
	}
	if name == "" || len(name) > crdt.MaxFieldName || !isDot(f.Dot) {
		return crdt.Field{}, fmt.Errorf("%w: field of dot %v", engine.ErrCorrupt, f.Dot)
	}
	if len(f.Value) == 0 {
		f.Value = nil // it would keep what was sent
	}
	return f, nil
}

func isDot(d crdt.Dot) bool {
	return d.Stamp != 0 && d.Stamp <= crdt.MaxStamp && d.Actor.Region().Valid()
}

// decodeHead returns the record of k without its fields, and the dot of those that
// are stored without one.
func decodeHead(k crdt.Key, head []byte) (crdt.Record, crdt.Dot, error) {
	if len(head) >= 2 && head[0] == headVersion && head[1]&headDead != 0 {
		return crdt.Record{Key: k, Dead: true}, crdt.Dot{}, nil
	}
	b, base, ok := expandHead(k, head)
	if !ok {
		return crdt.Record{}, crdt.Dot{}, fmt.Errorf("%w: head of %d bytes", engine.ErrCorrupt, len(head))
	}
	r, err := crdt.DecodeRecord(b)
	switch {
	case err != nil:
		return crdt.Record{}, crdt.Dot{}, fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	case base.IsZero():
		base = r.Born.Dot
	}
	return r, base, nil
}

// expandHead returns the bytes of crdt.AppendRecord of what head has of a record
// without fields, and its base if that is not the dot of birth.
func expandHead(k crdt.Key, head []byte) (record []byte, base crdt.Dot, ok bool) {
	if len(head) < 2 || head[0] != headVersion {
		return nil, base, false
	}
	h := shortened{b: head[2:]}
	flags := head[1]
	h.take(headSums)
	if k.Kind() == crdt.KindUser {
		h.take(userSums)
	}
	b := append(make([]byte, 0, len(head)+96), 1, byte(k.Kind()), flags&headRecord)
	b = append(b, k.Name()...)
	touch := h.take(6)
	if flags&headOwnEnd != 0 {
		b = append(b, h.take(6)...)
	} else {
		end, _ := k.Deadline()              // a user has none, which is 0 here
		b = appendNumber(b, uint64(end), 6) //nolint:gosec // a time is positive
	}
	b = append(b, touch...)
	var born []byte
	if flags&headBorn != 0 {
		born = h.take(3 + 7 + 6 + 6)
		b = append(b, born...)
	}
	b = append(b, h.counted(1, 1)...) // user
	if flags&headAuth != 0 {
		b = h.auth(b, flags, born)
	}
	if flags&headBased != 0 {
		base.Stamp, base.Actor = crdt.Stamp(number(h.take(7))), crdt.Actor(number(h.take(3))) //nolint:gosec // 24 bits
		h.failed = h.failed || !isDot(base)
	}
	b = append(b, h.counted(2, 10)...)                             // vector
	return append(b, 0, 0, 0, 0), base, !h.failed && len(h.b) == 0 // no fields
}

// auth appends the bytes of an auth register.
func (h *shortened) auth(b []byte, flags byte, born []byte) []byte {
	b = append(b, h.take(4)...)
	switch {
	case flags&headLoggedIn != 0:
		b = append(b, h.take(10)...)
	case len(born) < 10:
		h.failed = true
	default:
		b = append(b, born[:10]...)
	}
	b = append(b, h.take(16)...)
	if flags&headPrevious != 0 {
		b = append(b, h.take(16+6)...)
	} else {
		b = append(b, make([]byte, 16+6)...)
	}
	b = append(b, h.take(6)...)
	return append(b, h.counted(2, 10)...) // epochs
}

// A shortened is a head that is read from the front. After it has failed it yields
// nothing.
type shortened struct {
	b      []byte
	failed bool
}

// take returns the next n bytes.
func (h *shortened) take(n int) []byte {
	if h.failed = h.failed || n > len(h.b); h.failed {
		return nil
	}
	out := h.b[:n]
	h.b = h.b[n:]
	return out
}

// counted returns a count of so many bytes and what it counts, of size bytes each.
func (h *shortened) counted(bytes, size int) []byte {
	if h.failed = h.failed || bytes > len(h.b); h.failed {
		return nil
	}
	var n [4]byte
	copy(n[4-bytes:], h.b)
	return h.take(bytes + size*int(binary.BigEndian.Uint32(n[:])))
}
