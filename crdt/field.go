package crdt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Limits of a record. Apply refuses with ErrLimit what would pass them; Join
// never refuses, so a record joined from several Regions may be larger.
const (
	// MaxFields bounds the fields of a record, tombstones included.
	MaxFields = 1024
	// MaxFieldName bounds a field's name in bytes; its length is one byte.
	MaxFieldName = 255
	// MaxValueBytes bounds a field's value: a session is not a blob store, and
	// a script that merges one must stay short.
	MaxValueBytes = 64 << 10
	// MaxRecordBytes bounds the names and values of a record together.
	MaxRecordBytes = 256 << 10
	// MaxUserBytes bounds the name of a user; its length is one byte.
	MaxUserBytes = 255
)

// The first byte of a field's name says what it holds, so that a script can tell.
const (
	putPrefix     = "."
	counterPrefix = "#"
	setPrefix     = "&"
	epochPrefix   = "!"
	indexPrefix   = "@"
	// nameEnd ends the application's part of a name; that part can't contain it.
	nameEnd = "\x00"
)

// A Change is what an operation does to one field. Put, Delete, Add, Mark,
// Unmark and Index make one.
type Change struct {
	field string // full name; of a counter, its prefix
	value []byte
	gone  bool
	add   bool
	delta int64
}

// Put sets the value called name.
func Put(name string, value []byte) Change {
	return Change{field: putPrefix + name, value: value}
}

// Delete removes the value called name.
func Delete(name string) Change { return Change{field: putPrefix + name, gone: true} }

// Add adds delta to the counter called name. Additions made in different
// Regions are all kept.
func Add(name string, delta int64) Change {
	return Change{field: counterPrefix + name + nameEnd, add: true, delta: delta}
}

// Mark puts element into the set called name.
func Mark(name, element string) Change {
	return Change{field: elementName(name, element)}
}

// Unmark takes element out of the set called name. A later Mark brings it back.
func Unmark(name, element string) Change {
	return Change{field: elementName(name, element), gone: true}
}

// elementName returns the field of an element, or none for a name that would
// run into the element's: the set "a" would have elements of the set "a\x00b".
func elementName(name, element string) string {
	if strings.Contains(name, nameEnd) {
		return ""
	}
	return setPrefix + name + nameEnd + element
}

// Index notes in a user's record that the session id is hers.
func Index(id SessionID, note []byte) Change {
	return Change{field: indexPrefix + string(id[:]), value: note}
}

// Unindex takes the session id out of its user's record.
func Unindex(id SessionID) Change {
	return Change{field: indexPrefix + string(id[:]), gone: true}
}

// IsAdd reports whether c is an addition, which counts once per try at
// different actors and so must not be retried at another.
func (c Change) IsAdd() bool { return c.add }

// check refuses what has no place in a record of kind k.
func (c Change) check(k Kind) error {
	length := len(c.field)
	if c.add {
		length += actorBytes // Apply adds the actor's
	}
	if length > MaxFieldName {
		return fmt.Errorf("%w: field name of %d bytes, at most %d", ErrLimit, length, MaxFieldName)
	}
	if len(c.value) > MaxValueBytes {
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrLimit, len(c.value), MaxValueBytes)
	}
	if c.field == "" || (c.field[:1] == indexPrefix) != (k == KindUser) {
		return fmt.Errorf("%w: change of field kind %.1q", ErrOp, c.field)
	}
	name, rest, ends := strings.Cut(c.field[1:], nameEnd)
	if name == "" && k == KindSession || ends && c.field[:1] == putPrefix || c.add && rest != "" {
		return fmt.Errorf("%w: field name is empty or holds a zero byte", ErrOp)
	}
	return nil
}

// Value returns the value called name and whether there is one.
func (r Record) Value(name string) ([]byte, bool) {
	f, ok := r.Field(putPrefix + name)
	return f.Value, ok
}

// Count returns the counter called name: the sum of what each actor added. An
// operation that two actors took, the second after the first one failed over and
// before its answer was heard, counts once.
func (r Record) Count(name string) int64 {
	var sum int64
	var counted []uint64
	for f := range r.Under(counterPrefix + name + nameEnd) {
		c := decodeCell(f.Value)
		sum += c.total
		for _, a := range c.last {
			switch {
			case a.id == 0:
			case slices.Contains(counted, a.id):
				sum -= a.delta
			default:
				counted = append(counted, a.id)
			}
		}
	}
	return sum
}

// taken returns the cell of a counter that has the operation id already, and
// whether there is one.
func (r Record) taken(counter string, id uint64) (Field, bool) {
	for f := range r.Under(counter) {
		if decodeCell(f.Value).has(id) {
			return f, true
		}
	}
	return Field{}, false
}

// Elements returns the elements of the set called name, sorted.
func (r Record) Elements(name string) []string {
	prefix := setPrefix + name + nameEnd
	var out []string
	for f := range r.Under(prefix) {
		out = append(out, f.Name[len(prefix):])
	}
	return out
}

// Contains reports whether element is in the set called name.
func (r Record) Contains(name, element string) bool {
	_, ok := r.Field(setPrefix + name + nameEnd + element)
	return ok
}

// Epochs returns a user's revocation vector: the last revocation by each actor.
// It is named by actor and not by Region, because a successor whose clock is
// slow would mint below the epoch that its predecessor lost, and revoke nothing.
func (r Record) Epochs() Vector {
	var out Vector
	for f := range r.Under(epochPrefix) {
		out = append(out, f.Dot) // names sort by actor, as vectors do
	}
	return out
}

// Sessions returns the sessions noted in a user's record.
func (r Record) Sessions() []SessionID {
	var out []SessionID
	for f := range r.Under(indexPrefix) {
		if id, err := ParseSessionID([]byte(f.Name[len(indexPrefix):])); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// actorBytes is how much of a name actorName takes.
const actorBytes = 3

func actorName(prefix string, a Actor) string {
	return prefix + string([]byte{byte(a >> 16), byte(a >> 8), byte(a)})
}

// keptAdditions is how many operations a counter's cell remembers. A repeated
// addition that comes after this many others of its actor counts twice.
const keptAdditions = 4

// A cell is what one actor added to a counter: its running total and the
// additions it made last, the newest first.
type cell struct {
	total int64
	last  [keptAdditions]addition
}

// An addition is what one operation added. The amount is kept with the ID, so
// that of two actors that took one operation the second can be left out.
type addition struct {
	id    uint64 // of the operation; 0: none
	delta int64
}

const (
	additionBytes = 16
	cellBytes     = 8 + additionBytes*keptAdditions
)

func (c cell) has(id uint64) bool {
	return slices.ContainsFunc(c.last[:], func(a addition) bool { return a.id == id })
}

func (c cell) plus(id uint64, delta int64) cell {
	c.total += delta
	copy(c.last[1:], c.last[:])
	c.last[0] = addition{id, delta}
	return c
}

func (c cell) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cellBytes), uint64(c.total))
	for _, a := range c.last {
		b = binary.BigEndian.AppendUint64(b, a.id)
		b = binary.BigEndian.AppendUint64(b, uint64(a.delta))
	}
	return b
}

// decodeCell reads what encode wrote. Bytes of another length are a field that
// no Apply made and count as nothing.
func decodeCell(b []byte) cell {
	var c cell
	if len(b) != cellBytes {
		return c
	}
	c.total = int64(binary.BigEndian.Uint64(b))
	for i := range c.last {
		at := b[8+additionBytes*i:]
		c.last[i] = addition{binary.BigEndian.Uint64(at), int64(binary.BigEndian.Uint64(at[8:]))}
	}
	return c
}

func sortFields(fs []Field) {
	slices.SortFunc(fs, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
}

// EpochRecord returns what has to be known of the revocation d of a user's
// sessions, as a record to adopt where it was not heard of.
func EpochRecord(k Key, d Dot) Record {
	return Record{Key: k, Fields: []Field{{Name: actorName(epochPrefix, d.Actor), Dot: d}}}
}
