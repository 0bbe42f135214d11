package salvage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// The bytes are those of docs/formats/spool.md.
const (
	magic         = "roamspl"
	formatVersion = 1
	positionBytes = 3 + 7
	headerBytes   = len(magic) + 1 + 6 + positionBytes*crdt.Partitions + 4
	frameHead     = 12 // length, its check, and the check of what follows
	batchHead     = 2 + 3 + 7 + 7 + 4
	entryHead     = 4
	// maxFrame bounds a frame: some entries of a log, or one. The largest record that
	// there can be has less than 4 MiB.
	maxFrame = 8 << 20
	// maxNumber is the last number of a log's entry: scripts count in 53 bits.
	maxNumber = 1<<53 - 1
)

// A Segment is what a file of a spool says.
type Segment struct {
	Created crdt.Time
	// From is how far the spool had come before it.
	From    engine.Positions
	Batches []engine.Batch
	// Torn is how many bytes at the end say nothing: what a write that was cut short has
	// left, or what a disk has lost. What they said is missed by its numbers.
	Torn int
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// AppendHeader appends what a segment begins with.
func AppendHeader(b []byte, created crdt.Time, from engine.Positions) []byte {
	at := len(b)
	b = append(append(b, magic...), formatVersion)
	b = appendNumber(b, uint64(max(0, created)), 6)
	for _, p := range from {
		b = appendNumber(appendNumber(b, uint64(p.Actor), 3), p.N, 7)
	}
	return binary.BigEndian.AppendUint32(b, castagnoli(b[at:]))
}

// AppendFrames appends a batch, in frames that are each read whole or not at all.
func AppendFrames(b []byte, batch engine.Batch) []byte {
	for first := batch.First; len(batch.Frags) > 0; {
		payload := appendNumber(nil, uint64(batch.Partition), 2)
		payload = appendNumber(appendNumber(payload, uint64(batch.Actor), 3), batch.Fork, 7)
		payload = appendNumber(payload, first, 7)
		count := len(payload)
		payload = append(payload, 0, 0, 0, 0)
		n := 0
		for _, f := range batch.Frags {
			entry := appendEntry(nil, f)
			if n > 0 && len(payload)+len(entry) > maxFrame/2 {
				break
			}
			payload, n = append(payload, entry...), n+1
		}
		binary.BigEndian.PutUint32(payload[count:], uint32(n)) //nolint:gosec // of a frame
		at := len(b)
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // below maxFrame
		b = binary.BigEndian.AppendUint32(b, castagnoli(b[at:]))
		b = binary.BigEndian.AppendUint32(b, castagnoli(payload))
		b = append(b, payload...)
		first, batch.Frags = first+uint64(n), batch.Frags[n:] //nolint:gosec // positive
	}
	return b
}

func appendEntry(b []byte, f crdt.Fragment) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	if !f.Effect.Key.IsZero() {
		b = crdt.AppendFragment(b, f)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-entryHead)) //nolint:gosec // of a record
	return b
}

// Decode reads a segment, as far as it can be read: what is left is Torn. It fails with
// engine.ErrCorrupt for what does not begin as a segment does.
func Decode(b []byte) (Segment, error) {
	s, err := decodeHeader(b)
	if err != nil {
		return Segment{}, err
	}
	for b = b[headerBytes:]; len(b) > 0; {
		payload := framePayload(b)
		batch, err := decodeBatch(payload)
		if payload == nil || err != nil {
			s.Torn = len(b)
			break
		}
		s.Batches = append(s.Batches, batch)
		b = b[frameHead+len(payload):]
	}
	return s, nil
}

// decodeHeader reads what a segment begins with.
func decodeHeader(b []byte) (Segment, error) {
	switch {
	case len(b) < headerBytes || string(b[:len(magic)]) != magic:
		return Segment{}, fmt.Errorf("%w: this is no segment of a spool", engine.ErrCorrupt)
	case b[len(magic)] != formatVersion:
		return Segment{}, fmt.Errorf("%w: format version %d, know %d", engine.ErrCorrupt, b[len(magic)], formatVersion)
	case binary.BigEndian.Uint32(b[headerBytes-4:]) != castagnoli(b[:headerBytes-4]):
		return Segment{}, fmt.Errorf("%w: a segment's header and its check differ", engine.ErrCorrupt)
	}
	b = b[len(magic)+1:]
	s := Segment{Created: crdt.Time(number(b[:6]))} //nolint:gosec // 48 bits
	for i := range s.From {
		at := b[6+positionBytes*i:]
		s.From[i] = engine.Position{Actor: crdt.Actor(number(at[:3])), N: number(at[3:10])} //nolint:gosec // 24 bits
	}
	return s, nil
}

// framePayload returns what the frame holds that b begins with; nil if it is not whole.
func framePayload(b []byte) []byte {
	if len(b) < frameHead || binary.BigEndian.Uint32(b[4:]) != castagnoli(b[:4]) {
		return nil
	}
	length := binary.BigEndian.Uint32(b)
	if length == 0 || length > maxFrame || uint64(len(b)-frameHead) < uint64(length) {
		return nil
	}
	payload := b[frameHead : frameHead+int(length)]
	if binary.BigEndian.Uint32(b[8:]) != castagnoli(payload) {
		return nil
	}
	return payload
}

// decodeBatch reads the payload of a frame.
func decodeBatch(b []byte) (engine.Batch, error) {
	if len(b) < batchHead {
		return engine.Batch{}, fmt.Errorf("%w: batch of %d bytes", crdt.ErrMalformed, len(b))
	}
	out := engine.Batch{
		Partition: uint16(number(b[:2])), Actor: crdt.Actor(number(b[2:5])), //nolint:gosec // as many bits
		Fork: number(b[5:12]), First: number(b[12:19]),
	}
	n := number(b[19:batchHead])
	if b = b[batchHead:]; n == 0 || n > uint64(len(b)/entryHead) || out.First > maxNumber-n {
		return engine.Batch{}, fmt.Errorf("%w: %d entries from %d on in %d bytes", crdt.ErrMalformed, n, out.First, len(b))
	}
	for range n {
		if len(b) < entryHead || number(b[:entryHead]) > uint64(len(b)-entryHead) {
			return engine.Batch{}, fmt.Errorf("%w: entry ends early", crdt.ErrMalformed)
		}
		size := int(number(b[:entryHead])) //nolint:gosec // at most len(b)
		var f crdt.Fragment
		if size > 0 {
			var err error
			if f, err = crdt.DecodeFragment(bytes.Clone(b[entryHead : entryHead+size])); err != nil {
				return engine.Batch{}, err
			}
		}
		out.Frags = append(out.Frags, f)
		b = b[entryHead+size:]
	}
	if len(b) > 0 {
		return engine.Batch{}, fmt.Errorf("%w: %d bytes after the entries", crdt.ErrMalformed, len(b))
	}
	return out, out.Check(out.Actor.Region())
}

// number reads a big-endian number.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
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
