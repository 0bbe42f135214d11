package valkey

import (
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// The keys of a partition hold its number as a hash tag, so that all of them are in
// one slot, and begin with what they are: a client that tracks a prefix is then
// told of records and of nothing else.
const (
	sessionKeys = 's'
	userKeys    = 'u'
	metaKeys    = 'm' // who writes here, and how far the log is
	logKeys     = 'l'
	cursorKeys  = 'c' // how far another Region's log was taken in
	beatKeys    = 'b' // a number on its way to a replica
	refillKeys  = 'f' // whether it is being given back what it lost, or was
)

const hexDigits = "0123456789abcdef"

// partitionKey returns the key of a kind that a partition has one of.
func partitionKey(kind byte, partition uint16) string {
	return string([]byte{kind, '{', hexDigits[partition>>4&15], hexDigits[partition&15], '}'})
}

// signsOf returns the keys of what a cluster's shard is told whose lowest partition this is.
// They move to another shard with the partition: this one lacks them then, until they are
// written again, and that one may have some that are old. docs/formats/valkey.md says why
// that is well. Those of partition 0 are always read and written, whichever shard has it.
func signsOf(partition uint16) signs {
	tag := partitionKey(metaKeys, partition)[1:]
	return signs{over: overKey + tag, beat: beatKey + tag}
}

// recordPrefix is how many bytes of a record's key come before its name.
const recordPrefix = 5

// recordKey returns the key of a record.
func recordKey(k crdt.Key) string {
	kind := byte(sessionKeys)
	if k.Kind() == crdt.KindUser {
		kind = userKeys
	}
	p := k.Partition()
	b := make([]byte, 0, recordPrefix+len(k.Name()))
	return string(append(append(b, kind, '{', hexDigits[p>>4&15], hexDigits[p&15], '}'), k.Name()...))
}

// cursorKey returns the key of how far the log of a Region was taken in.
func cursorKey(partition uint16, from crdt.Region) string {
	return partitionKey(cursorKeys, partition) + string(rune('a'-1+byte(from)))
}

// parseRecordKey returns the key that recordKey returned s for.
func parseRecordKey(s string) (crdt.Key, error) {
	kind := crdt.KindSession
	if s != "" && s[0] == userKeys {
		kind = crdt.KindUser
	}
	if len(s) < recordPrefix {
		return crdt.Key{}, fmt.Errorf("%w: key of %d bytes", engine.ErrCorrupt, len(s))
	}
	k, err := crdt.ParseKey(kind, []byte(s[recordPrefix:]))
	if err != nil {
		return crdt.Key{}, fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	return k, nil
}

// A meta is the state of a partition's log.
type meta struct {
	head engine.Position
	eras []era // who wrote the log, the newest last
}

// An era is one actor and the last number before its first.
type era struct {
	actor crdt.Actor
	fork  uint64
}

const (
	metaFixed = 7 + 40 // number of the newest entry, replication ID
	eraBytes  = 3 + 7
)

// decodeMeta reads what roam_v1_state returns; empty where nothing was logged.
func decodeMeta(s string) (meta, error) {
	if s == "" {
		return meta{}, nil
	}
	if len(s) <= metaFixed || (len(s)-metaFixed)%eraBytes != 0 {
		return meta{}, fmt.Errorf("%w: %d bytes of a log's state", engine.ErrCorrupt, len(s))
	}
	m := meta{head: engine.Position{N: number(s[:7])}}
	for s = s[metaFixed:]; s != ""; s = s[eraBytes:] {
		m.eras = append(m.eras, era{crdt.Actor(number(s[:3])), number(s[3:10])}) //nolint:gosec // 24 bits
	}
	m.head.Actor = m.eras[len(m.eras)-1].actor
	return m, nil
}

// eraOf returns the era of entry n and the number of the era's last entry.
func (m meta) eraOf(n uint64) (era, uint64) {
	last := m.head.N
	for i := len(m.eras) - 1; i > 0; i-- {
		if n > m.eras[i].fork {
			return m.eras[i], last
		}
		last = m.eras[i].fork
	}
	return m.eras[0], last
}

// number reads a big-endian number.
func number[T string | []byte](s T) (n uint64) {
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
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

func appendPosition(b []byte, p engine.Position) []byte {
	return appendNumber(appendNumber(b, uint64(p.Actor), 3), p.N, 7)
}

func decodePosition(s string) engine.Position {
	if len(s) < eraBytes {
		return engine.Position{}
	}
	return engine.Position{Actor: crdt.Actor(number(s[:3])), N: number(s[3:10])} //nolint:gosec // 24 bits
}
