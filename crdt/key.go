package crdt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// Partitions is the number of partitions in every engine. A partition is the
// unit of the log, its cursors, the lease and resharding.
const Partitions = 64

// A Kind says what a record is about. Its number is in the bytes; 3 is kept for
// the named keys of the agent.
type Kind uint8

const (
	// KindSession is a session; its key is its SessionID.
	KindSession Kind = 1
	// KindUser is what is known of a user; its key is a hash of the user's name.
	KindUser Kind = 2
)

// nameBytes is the length of a key's name, of either kind.
const nameBytes = 16

// A Key names a record. Keys are comparable. They print as a fingerprint,
// because identifiers have no place in logs.
type Key struct {
	kind Kind
	name [nameBytes]byte
}

// SessionKey returns the key of the session id.
func SessionKey(id SessionID) Key { return Key{KindSession, id} }

// UserKey returns the key of what is known of a user: 128 bits of SHA-256 of
// the user's name.
func UserKey(user string) Key {
	sum := sha256.Sum256([]byte("roam user\x00" + user))
	return Key{KindUser, [nameBytes]byte(sum[:nameBytes])}
}

// ParseKey returns the key of a kind and a name as Kind and Name return them.
// It fails with ErrMalformed.
func ParseKey(kind Kind, name []byte) (Key, error) {
	if len(name) != nameBytes {
		return Key{}, fmt.Errorf("%w: key name of %d bytes, want %d", ErrMalformed, len(name), nameBytes)
	}
	switch kind {
	case KindSession:
		id, err := ParseSessionID(name)
		return SessionKey(id), err
	case KindUser:
		return Key{KindUser, [nameBytes]byte(name)}, nil
	}
	return Key{}, fmt.Errorf("%w: key kind %d", ErrMalformed, kind)
}

// Kind returns what k is about.
func (k Key) Kind() Kind { return k.kind }

// Name returns the 16 bytes of k's name.
func (k Key) Name() []byte { return k.name[:] }

// IsZero reports whether k names nothing.
func (k Key) IsZero() bool { return k == Key{} }

// SessionID returns the ID of a session's key; zero for other kinds.
func (k Key) SessionID() SessionID {
	if k.kind != KindSession {
		return SessionID{}
	}
	return k.name
}

// Partition returns the partition of k, below Partitions.
func (k Key) Partition() uint16 {
	if k.kind == KindSession {
		return SessionID(k.name).Partition()
	}
	return binary.BigEndian.Uint16(k.name[:2]) % Partitions
}

// Deadline returns the moment after which nobody serves k, and whether k has
// one: sessions do, users don't.
func (k Key) Deadline() (Time, bool) {
	if k.kind == KindSession {
		return SessionID(k.name).Deadline(), true
	}
	return 0, false
}

// String returns a fingerprint of k, the same in every process, from which k
// cannot be had.
func (k Key) String() string {
	sum := sha256.Sum256(append([]byte{byte(k.kind)}, k.name[:]...))
	return hex.EncodeToString(sum[:5])
}

// Format prints the fingerprint whatever the verb: %d and %#v would go past
// String and print the bytes.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue makes logs show the fingerprint.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// A SessionID is the stable selector of a session: deadline in seconds since
// 2024 (32 bits), partition (16), birth Region (8) and 72 random bits. It
// proves nothing by itself; the secret does.
//
// The deadline is inside, so that any node can refuse an ID that is over age
// with no state at all: a tombstone that has been dropped can't come undone.
type SessionID [nameBytes]byte

// IDEntropy is what NewSessionID needs of randomness.
type IDEntropy [11]byte

// NewSessionID returns a fresh ID. The deadline is rounded down to the second.
// The entropy comes from crypto/rand.
func NewSessionID(deadline Time, birth Region, e IDEntropy) SessionID {
	var id SessionID
	binary.BigEndian.PutUint32(id[0:], uint32(deadline/1000)) //nolint:gosec // 136 years of seconds
	binary.BigEndian.PutUint16(id[4:], binary.BigEndian.Uint16(e[:2])%Partitions)
	id[6] = byte(birth)
	copy(id[7:], e[2:])
	return id
}

// ParseSessionID returns the ID in b. It fails with ErrMalformed if no engine
// can have made it.
func ParseSessionID(b []byte) (SessionID, error) {
	if len(b) != nameBytes {
		return SessionID{}, fmt.Errorf("%w: session ID of %d bytes, want %d", ErrMalformed, len(b), nameBytes)
	}
	id := SessionID(b)
	if id.Partition() >= Partitions {
		return SessionID{}, fmt.Errorf("%w: session ID in partition %d", ErrMalformed, id.Partition())
	}
	if !id.Birth().Valid() {
		return SessionID{}, fmt.Errorf("%w: session ID born in Region %d", ErrMalformed, id.Birth())
	}
	return id, nil
}

// Deadline returns the absolute deadline of the session.
func (id SessionID) Deadline() Time { return Time(binary.BigEndian.Uint32(id[:4])) * 1000 }

// Partition returns the partition of the session and its log.
func (id SessionID) Partition() uint16 { return binary.BigEndian.Uint16(id[4:]) }

// Birth returns the Region that made the ID.
func (id SessionID) Birth() Region { return Region(id[6]) }

// IsZero reports whether id names no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// String returns the fingerprint of the session's key.
func (id SessionID) String() string { return SessionKey(id).String() }

// Format prints the fingerprint whatever the verb.
func (id SessionID) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, id.String()) }

// LogValue makes logs show the fingerprint.
func (id SessionID) LogValue() slog.Value { return slog.StringValue(id.String()) }
