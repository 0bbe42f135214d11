package replica

import (
	"encoding/binary"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// DecodeFrame reads what AppendFrame wrote after the length. The frame keeps
// parts of b. It fails with ErrFrame for anything that AppendFrame would not
// write.
func DecodeFrame(b []byte) (Frame, error) {
	d := decoder{b: b}
	if v := d.uint(1); d.err == nil && v != protocolVersion {
		d.fail("protocol version %d, know %d", v, protocolVersion)
	}
	f := d.frame(kind(d.uint(1))) //nolint:gosec // 8 bits
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the frame", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}

// A decoder reads from the front of b. After the first fault it reads zeros, so
// that callers check once, at the end.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrFrame}, args...)...)
		d.b = nil
	}
}

func (d *decoder) frame(k kind) Frame {
	switch k {
	case kindHello:
		return d.hello()
	case kindBatch:
		return d.entries()
	case kindAck:
		return Ack{Partition: d.partition(), At: d.position(), Joined: d.uint(8)}
	case kindHole:
		return Hole{Partition: d.partition(), At: d.position()}
	case kindPull:
		return d.pull()
	case kindStates:
		return d.states()
	case kindHeartbeat:
		return Heartbeat{Time: d.time(), Echo: d.time(), Partial: d.flag(), At: d.positions()}
	case kindGoodbye:
		if len(d.b) > maxReasonBytes {
			d.fail("reason of %d bytes, at most %d", len(d.b), maxReasonBytes)
		}
		return Goodbye{Reason: string(d.bytes(len(d.b)))}
	case kindDigests:
		return d.digests()
	case kindDiffers:
		return d.differs()
	}
	d.fail("kind %d", k)
	return nil
}

func (d *decoder) hello() Frame {
	f := Hello{Region: crdt.Region(d.uint(1)), Window: uint32(d.uint(4)), Want: d.uint(8)} //nolint:gosec // 8 and 32 bits
	if d.err == nil && !f.Region.Valid() {
		d.fail("hello of Region %d", f.Region)
	}
	f.At = d.positions()
	return f
}

func (d *decoder) entries() Frame {
	f := Entries{After: d.uint(8)}
	b := &f.Batch
	b.Partition, b.Actor = d.partition(), crdt.Actor(d.uint(3)) //nolint:gosec // 24 bits
	b.Fork, b.First, b.Rebase = d.uint(8), d.uint(8), d.flag()
	n := d.count()
	switch {
	case d.err != nil:
		return f
	case !b.Actor.Region().Valid():
		d.fail("batch of no Region")
	case b.First == 0 || b.Fork >= b.First || b.First > maxEntry-uint64(n):
		d.fail("batch begins at %d, forked at %d", b.First, b.Fork)
	case n == 0 && !b.Rebase:
		d.fail("batch without entries")
	}
	for range n {
		b.Frags = append(b.Frags, d.entry(b.Actor, b.Partition))
		if d.err != nil {
			return f
		}
	}
	return f
}

func (d *decoder) entry(actor crdt.Actor, part uint16) crdt.Fragment {
	b := d.sized()
	if d.err != nil || len(b) == 0 {
		return crdt.Fragment{}
	}
	frag, err := crdt.DecodeFragment(b)
	switch {
	case err != nil:
		d.fail("%w", err)
	case frag.Dot.Actor != actor || frag.Effect.Key.Partition() != part:
		d.fail("entry of another log: %v", frag.Dot)
	}
	return frag
}

func (d *decoder) pull() Frame {
	n := int(d.uint(2)) //nolint:gosec // 16 bits
	if n == 0 || n > maxPullKeys {
		d.fail("pull of %d keys, at most %d", n, maxPullKeys)
		return nil
	}
	keys := make([]crdt.Key, 0, n)
	for range n {
		k := crdt.Kind(d.uint(1)) //nolint:gosec // 8 bits
		key, err := crdt.ParseKey(k, d.bytes(len(crdt.SessionID{})))
		if d.err == nil && err != nil {
			d.fail("%w", err)
		}
		keys = append(keys, key)
	}
	return Pull{Keys: keys}
}

func (d *decoder) states() Frame {
	f := States{Serial: d.uint(8)}
	n := d.count()
	if d.err == nil && (n == 0 || f.Serial == 0) {
		d.fail("states %d without records", f.Serial)
	}
	for range n {
		r, err := crdt.DecodeRecord(d.sized())
		if d.err == nil && err != nil {
			d.fail("%w", err)
		}
		if d.err != nil {
			return f
		}
		f.Records = append(f.Records, r)
	}
	return f
}

func (d *decoder) digests() Frame {
	f := Digests{Serial: d.serial()}
	n := d.uint(1)
	if d.err == nil && n == 0 {
		d.fail("digests of nothing")
	}
	var seen uint64
	for range n {
		p := PartSums{Partition: d.another(&seen), Cutoff: d.time()}
		width := d.uint(1)
		if width > maxBucketBits {
			d.fail("sums of 2^%d buckets, at most 2^%d", width, maxBucketBits)
		}
		sums := d.bytes(8 << width)
		if d.err != nil {
			return f
		}
		for ; len(sums) > 0; sums = sums[8:] {
			p.Sums = append(p.Sums, binary.BigEndian.Uint64(sums))
		}
		f.Parts = append(f.Parts, p)
	}
	return f
}

func (d *decoder) differs() Frame {
	f := Differs{Serial: d.serial()}
	var seen uint64
	for range d.uint(1) {
		p := PartDiffers{Partition: d.another(&seen)}
		n := d.uint(2)
		if d.err == nil && (n == 0 || n > 1<<maxBucketBits) {
			d.fail("%d buckets differ", n)
		}
		next := uint64(0)
		for range n {
			b := BucketSum{Bucket: uint16(d.uint(2)), Sum: d.uint(8)} //nolint:gosec // 16 bits
			if d.err == nil && uint64(b.Bucket) < next {
				d.fail("bucket %d out of order", b.Bucket)
			}
			if d.err != nil {
				return f
			}
			next = uint64(b.Bucket) + 1
			p.Buckets = append(p.Buckets, b)
		}
		f.Parts = append(f.Parts, p)
	}
	return f
}

// serial reads a number that counts from 1.
func (d *decoder) serial() uint64 {
	n := d.uint(8)
	if d.err == nil && n == 0 {
		d.fail("serial 0")
	}
	return n
}

// another reads a partition that is not in seen yet.
func (d *decoder) another(seen *uint64) uint16 {
	p := d.partition()
	if d.err == nil && *seen&(1<<p) != 0 {
		d.fail("partition %d twice", p)
	}
	*seen |= 1 << p
	return p
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

// count reads the number of sized things that follow, of which each takes four
// bytes or more.
func (d *decoder) count() int {
	n := d.uint(4)
	if n > uint64(len(d.b))/4 {
		d.fail("%d parts in %d bytes", n, len(d.b))
		return 0
	}
	return int(n) //nolint:gosec // below the frame's length
}

func (d *decoder) sized() []byte {
	return d.bytes(int(d.uint(4))) //nolint:gosec // 32 bits
}

func (d *decoder) flag() bool {
	v := d.uint(1)
	if v > 1 {
		d.fail("flag %d", v)
	}
	return v == 1
}

func (d *decoder) partition() uint16 {
	p := d.uint(2)
	if p >= crdt.Partitions {
		d.fail("partition %d", p)
		return 0
	}
	return uint16(p) //nolint:gosec // below Partitions
}

func (d *decoder) time() crdt.Time { return crdt.Time(d.uint(6)) } //nolint:gosec // 48 bits

func (d *decoder) position() engine.Position {
	b := d.bytes(positionBytes)
	if b == nil {
		return engine.Position{}
	}
	p := engine.Position{
		Actor: crdt.Actor(b[0])<<16 | crdt.Actor(b[1])<<8 | crdt.Actor(b[2]), N: binary.BigEndian.Uint64(b[3:]),
	}
	if p != (engine.Position{}) && !p.Actor.Region().Valid() || p.N > maxEntry {
		d.fail("position %d of %v", p.N, p.Actor)
	}
	return p
}

func (d *decoder) positions() engine.Positions {
	var at engine.Positions
	for i := range at {
		at[i] = d.position()
	}
	return at
}
