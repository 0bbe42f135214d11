package crdt

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"
)

// formatVersion is the first byte of a record and of a fragment. Bytes with a
// version that a reader does not know are refused, not guessed at.
const formatVersion = 1

const (
	flagDead = 1 << iota
	flagBorn
	flagAuth
	flagsKnown = 1<<iota - 1
)

const (
	dotBytes  = 10 // actor 3, stamp 7
	timeBytes = 6
)

// AppendRecord appends r as docs/formats/record.md has it. Equal records have
// equal bytes.
func AppendRecord(b []byte, r Record) []byte {
	var flags byte
	if r.Dead {
		flags |= flagDead
	}
	if !r.Born.Dot.IsZero() {
		flags |= flagBorn
	}
	if !r.Auth.Dot.IsZero() {
		flags |= flagAuth
	}
	b = append(b, formatVersion, byte(r.Key.kind), flags)
	b = append(b, r.Key.name[:]...)
	if r.Dead {
		return b
	}
	b = appendTime(appendTime(b, r.Abs), r.Touch)
	if flags&flagBorn != 0 {
		b = appendTime(appendTime(AppendDot(b, r.Born.Dot), r.Born.Created), Time(r.Born.Idle.Milliseconds()))
	}
	b = append(append(b, byte(len(r.User))), r.User...)
	if flags&flagAuth != 0 {
		b = appendAuth(b, r.Auth)
	}
	b = appendVector(b, r.VV)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Fields))) //nolint:gosec // memory bounds it
	for _, f := range r.Fields {
		b = appendField(b, f)
	}
	return b
}

// AppendFragment appends f as docs/formats/record.md has it.
func AppendFragment(b []byte, f Fragment) []byte {
	b = append(b, formatVersion)
	b = AppendDot(b, f.Dot)
	b = appendStamp(b, f.Prev)
	return AppendRecord(b, f.Effect)
}

// AppendDot appends d in 10 bytes: the actor in 3, the stamp in 7.
func AppendDot(b []byte, d Dot) []byte {
	return appendStamp(append(b, byte(d.Actor>>16), byte(d.Actor>>8), byte(d.Actor)), d.Stamp)
}

// DecodeRecord reads what AppendRecord wrote. The record keeps parts of b. It
// fails with ErrMalformed for anything that AppendRecord would not write.
func DecodeRecord(b []byte) (Record, error) {
	d := decoder{b: b}
	r := d.record()
	return r, d.end("record")
}

// DecodeFragment reads what AppendFragment wrote. The fragment keeps parts of
// b. It fails with ErrMalformed for anything that AppendFragment would not
// write.
func DecodeFragment(b []byte) (Fragment, error) {
	d := decoder{b: b}
	d.version()
	f := Fragment{Dot: d.dot()}
	f.Prev = d.stamp()
	f.Effect = d.record()
	if f.Prev >= f.Dot.Stamp {
		d.fail("fragment is not after the one before it")
	}
	return f, d.end("fragment")
}

// DecodeDot reads the 10 bytes that AppendDot wrote. It fails with ErrMalformed
// for the zero Dot and for an actor of no Region.
func DecodeDot(b []byte) (Dot, error) {
	d := decoder{b: b}
	dot := d.dot()
	return dot, d.end("dot")
}

// Digest returns 64 bits of what is in r. It covers the content and not only
// the version vector: copies that were mended from different places can have
// one vector and still differ.
func (r Record) Digest() uint64 {
	h := fnv.New64a()
	_, _ = h.Write(AppendRecord(nil, r)) // a hash.Hash never fails
	return h.Sum64()
}

func appendStamp(b []byte, s Stamp) []byte {
	return append(b, byte(s>>48), byte(s>>40), byte(s>>32), byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

func appendTime(b []byte, t Time) []byte {
	return append(b, byte(t>>40), byte(t>>32), byte(t>>24), byte(t>>16), byte(t>>8), byte(t))
}

func appendVector(b []byte, v Vector) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(v))) //nolint:gosec // one dot a primary's incarnation
	for _, d := range v {
		b = AppendDot(b, d)
	}
	return b
}

func appendAuth(b []byte, a Auth) []byte {
	b = AppendDot(binary.BigEndian.AppendUint32(b, a.Gen), a.Dot)
	b = append(append(b, a.Cur[:]...), a.Prev[:]...)
	return appendVector(appendTime(appendTime(b, a.Grace), a.At), a.Epochs)
}

func appendField(b []byte, f Field) []byte {
	var gone byte
	if f.Gone {
		gone = 1
	}
	b = append(append(b, byte(len(f.Name))), f.Name...)
	b = AppendDot(append(b, gone), f.Dot)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Value))) //nolint:gosec // memory bounds it
	return append(b, f.Value...)
}

// A decoder reads from the front of b. After the first fault it reads zeros, so
// that callers check once, at the end.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
		d.b = nil
	}
}

func (d *decoder) end(what string) error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the %s", len(d.b), what)
	}
	return d.err
}

// bytes returns the next n bytes, or nil if there are fewer.
func (d *decoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail("ends %d bytes early", n-len(d.b))
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

// uint reads a big-endian number of n bytes.
func (d *decoder) uint(n int) uint64 {
	var v uint64
	for _, c := range d.bytes(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (d *decoder) version() {
	if v := d.uint(1); d.err == nil && v != formatVersion {
		d.fail("format version %d, know %d", v, formatVersion)
	}
}

func (d *decoder) stamp() Stamp {
	s := Stamp(d.uint(7))
	if s > MaxStamp {
		d.fail("stamp beyond 53 bits")
		return 0
	}
	return s
}

func (d *decoder) dot() Dot {
	dot := Dot{Actor: Actor(d.uint(3))} //nolint:gosec // 24 bits
	dot.Stamp = d.stamp()
	if dot.Stamp == 0 || !dot.Actor.Region().Valid() {
		d.fail("dot %v names no write", dot)
	}
	return dot
}

func (d *decoder) time() Time { return Time(d.uint(timeBytes)) } //nolint:gosec // 48 bits

func (d *decoder) hash() (h Hash) {
	copy(h[:], d.bytes(len(h)))
	return h
}

func (d *decoder) vector() Vector {
	n := int(d.uint(2)) //nolint:gosec // 16 bits
	if n == 0 || n*dotBytes > len(d.b) {
		d.bytes(n * dotBytes) // fails if they are not there
		return nil
	}
	v := make(Vector, n)
	for i := range v {
		v[i] = d.dot()
		if i > 0 && v[i].Actor <= v[i-1].Actor {
			d.fail("vector is not sorted")
		}
	}
	return v
}

func (d *decoder) record() Record {
	d.version()
	kind := Kind(d.uint(1)) //nolint:gosec // 8 bits
	flags := d.uint(1)
	if flags > flagsKnown {
		d.fail("flags %#x", flags)
	}
	name := d.bytes(nameBytes)
	if d.err != nil {
		return Record{}
	}
	key, err := ParseKey(kind, name)
	if err != nil {
		d.err, d.b = err, nil
		return Record{}
	}
	r := Record{Key: key, Dead: flags&flagDead != 0}
	if r.Dead {
		if flags != flagDead || kind != KindSession {
			d.fail("dead record with flags %#x of kind %d", flags, kind)
		}
		return r
	}
	d.body(&r, flags)
	return r
}

func (d *decoder) body(r *Record, flags uint64) {
	r.Abs, r.Touch = d.time(), d.time()
	if flags&flagBorn != 0 {
		r.Born = Born{Dot: d.dot(), Created: d.time()}
		idle := d.time()
		if idle > Time(MaxLifetime.Milliseconds()) {
			d.fail("idle time beyond MaxLifetime")
			idle = 0
		}
		r.Born.Idle = time.Duration(idle) * time.Millisecond
	}
	r.User = string(d.bytes(int(d.uint(1)))) //nolint:gosec // 8 bits
	if flags&flagAuth != 0 {
		r.Auth = d.auth()
	}
	if r.Key.kind == KindUser && r.hasSession() {
		d.fail("session in a user's record") // two of them could join to a dead user
	}
	r.VV = d.vector()
	d.fields(r)
}

func (d *decoder) fields(r *Record) {
	const leastFieldBytes = 1 + 1 + 1 + dotBytes + 4 // a name is not empty
	n := d.uint(4)
	if n > uint64(len(d.b)/leastFieldBytes) {
		d.fail("%d fields in %d bytes", n, len(d.b))
		return
	}
	if n > 0 {
		r.Fields = make([]Field, n)
	}
	for i := range r.Fields {
		r.Fields[i] = d.field()
		if i > 0 && r.Fields[i].Name <= r.Fields[i-1].Name {
			d.fail("fields are not sorted")
		}
	}
}

func (d *decoder) auth() Auth {
	a := Auth{Gen: uint32(d.uint(4)), Dot: d.dot()} //nolint:gosec // 32 bits
	a.Cur, a.Prev = d.hash(), d.hash()
	a.Grace, a.At = d.time(), d.time()
	a.Epochs = d.vector()
	return a
}

func (d *decoder) field() Field {
	f := Field{Name: string(d.bytes(int(d.uint(1))))} //nolint:gosec // 8 bits
	gone := d.uint(1)
	if f.Name == "" || gone > 1 {
		d.fail("field without a name or with flags %#x", gone)
	}
	f.Gone = gone == 1
	f.Dot = d.dot()
	if n := d.uint(4); n > 0 {
		f.Value = d.bytes(int(min(n, uint64(len(d.b))+1))) //nolint:gosec // at most one byte too many
	}
	return f
}
