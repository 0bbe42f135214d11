package postgres

import (
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// The ID of a record: its partition in two hexadecimal digits, what it is about, and
// its name in hexadecimal. So a partition's records are next to each other.
const (
	sessionLetter = 's'
	userLetter    = 'u'
	idPrefix      = 3
	idBytes       = idPrefix + 2*16
)

// recordID returns the ID of a record.
func recordID(k crdt.Key) string {
	letter := byte(sessionLetter)
	if k.Kind() == crdt.KindUser {
		letter = userLetter
	}
	b := make([]byte, 0, idBytes)
	b = hex.AppendEncode(b, []byte{byte(k.Partition())})
	return string(hex.AppendEncode(append(b, letter), k.Name()))
}

// parseRecordID returns the key that recordID returned id for.
func parseRecordID(id string) (crdt.Key, error) {
	corrupt := fmt.Errorf("%w: ID of %d bytes", engine.ErrCorrupt, len(id))
	if len(id) != idBytes {
		return crdt.Key{}, corrupt
	}
	kind := crdt.KindSession
	switch id[idPrefix-1] {
	case sessionLetter:
	case userLetter:
		kind = crdt.KindUser
	default:
		return crdt.Key{}, corrupt
	}
	name, err := hex.DecodeString(id[idPrefix:])
	if err != nil {
		return crdt.Key{}, corrupt
	}
	k, err := crdt.ParseKey(kind, name)
	if err != nil {
		return crdt.Key{}, fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	if recordID(k) != id {
		return crdt.Key{}, corrupt
	}
	return k, nil
}

// partitionsEnd returns an ID before those of partition p and after those before it.
func partitionsEnd(p int) string {
	return hex.EncodeToString([]byte{byte(p)}) //nolint:gosec // at most Partitions
}

// decodeState returns the record of k that is stored.
func decodeState(k crdt.Key, state []byte) (crdt.Record, error) {
	r, err := crdt.DecodeRecord(state)
	switch {
	case err != nil:
		return crdt.Record{}, fmt.Errorf("%w: record %v: %w", engine.ErrCorrupt, k, err)
	case r.Key != k:
		return crdt.Record{}, fmt.Errorf("%w: record of %v stored as %v", engine.ErrCorrupt, r.Key, k)
	}
	return r, nil
}

// decodeEntry reads an entry of the log; empty is a number that holds nothing.
func decodeEntry(entry []byte) (crdt.Fragment, error) {
	if len(entry) == 0 {
		return crdt.Fragment{}, nil
	}
	f, err := crdt.DecodeFragment(entry)
	if err != nil {
		return crdt.Fragment{}, fmt.Errorf("%w: log entry: %w", engine.ErrCorrupt, err)
	}
	return f, nil
}

// entryOverhead is what an entry of the log counts besides its bytes.
const entryOverhead = 32

// recordOverhead is what a record counts besides its state: its ID and two times.
const recordOverhead = idBytes + 16

// unixMilli returns a time as it is stored; the end of time stays it.
func unixMilli(t crdt.Time) int64 {
	if t == math.MaxInt64 {
		return math.MaxInt64
	}
	return t.Std().UnixMilli()
}

// fromUnixMilli returns the time that unixMilli made ms of.
func fromUnixMilli(ms int64) crdt.Time {
	if ms == math.MaxInt64 {
		return math.MaxInt64
	}
	return crdt.TimeOf(time.UnixMilli(ms))
}

// A journal is the state of a partition's log.
type journal struct {
	head   uint64 // number of the newest entry
	logged int64  // bytes that were ever logged
	eras   []era  // who wrote the log, the newest last; none: nobody yet
	server int64  // when the server started that wrote it last, in µs
}

// An era is one actor and the last number before its first.
type era struct {
	actor crdt.Actor
	fork  uint64
}

const (
	eraBytes = 3 + 7
	// maxEras bounds the actors that are remembered: whoever reads from an older one
	// begins anew, which costs it time and nothing else.
	maxEras = 8
)

// decodeEras reads what appendEras wrote.
func decodeEras(b []byte) ([]era, error) {
	if len(b)%eraBytes != 0 || len(b) > maxEras*eraBytes {
		return nil, fmt.Errorf("%w: %d bytes of a log's actors", engine.ErrCorrupt, len(b))
	}
	var out []era
	for ; len(b) > 0; b = b[eraBytes:] {
		e := era{crdt.Actor(number(b[:3])), number(b[3:eraBytes])} //nolint:gosec // 24 bits
		if !e.actor.Region().Valid() || len(out) > 0 && e.fork < out[len(out)-1].fork {
			return nil, fmt.Errorf("%w: a log's actor %v from %d", engine.ErrCorrupt, e.actor, e.fork)
		}
		out = append(out, e)
	}
	return out, nil
}

// appendEras appends who wrote a log.
func appendEras(b []byte, eras []era) []byte {
	for _, e := range eras {
		b = appendNumber(appendNumber(b, uint64(e.actor), 3), e.fork, eraBytes-3)
	}
	return b
}

// takeOver makes actor the writer of the log if another server than this one wrote it
// last: what that one wrote beyond this copy is lost here, and readers learn from
// Batch.Fork where. It reports whether an entry that holds nothing has to be written,
// which says to readers that this actor took over.
func (j *journal) takeOver(server int64, actor crdt.Actor) (changed, entry bool) {
	if j.server == server && len(j.eras) > 0 {
		return false, false
	}
	j.server = server
	if j.head == 0 {
		j.eras = []era{{actor: actor}}
		return true, false
	}
	j.eras = append(j.eras, era{actor, j.head})
	j.eras = j.eras[max(0, len(j.eras)-maxEras):]
	return true, true
}

// actor returns who writes the log.
func (j *journal) actor() crdt.Actor { return j.eras[len(j.eras)-1].actor }

// position returns the position of the newest entry; zero if there was never any.
func (j *journal) position() engine.Position {
	if j.head == 0 || len(j.eras) == 0 {
		return engine.Position{}
	}
	return engine.Position{Actor: j.actor(), N: j.head}
}

// after returns the number of the entry that a reader at from has last. A reader that
// is beyond the end of its era has entries that were lost; its next is the first of the
// era that followed. One of an actor that is not remembered has nothing.
func (j *journal) after(from engine.Position) uint64 {
	for i, e := range j.eras {
		switch {
		case e.actor != from.Actor:
		case i+1 < len(j.eras):
			return min(from.N, j.eras[i+1].fork)
		case from.N <= j.head:
			return from.N
		}
	}
	return 0
}

// eraOf returns the era of entry n and the number of the era's last entry.
func (j *journal) eraOf(n uint64) (era, uint64) {
	last := j.head
	for i := len(j.eras) - 1; i > 0; i-- {
		if n > j.eras[i].fork {
			return j.eras[i], last
		}
		last = j.eras[i].fork
	}
	return j.eras[0], last
}

// number reads a big-endian number.
func number(b []byte) (n uint64) {
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

// appendNumber appends n in as many bytes.
func appendNumber(b []byte, n uint64, bytes int) []byte {
	for i := bytes - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}
