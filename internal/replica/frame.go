package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// protocolVersion stands in every frame: a link between two versions ends
	// with a clear error and not with a guess.
	protocolVersion = 1
	// maxFrameBytes bounds what follows a frame's length. It holds the largest
	// record there can be: 15 Regions' worth of crdt.MaxRecordBytes.
	maxFrameBytes = 4 << 20
	// maxReasonBytes bounds the text of a goodbye, which goes into logs.
	maxReasonBytes = 200
	// maxPullKeys bounds the keys of one pull; a batch has fewer entries.
	maxPullKeys = 4096
	// maxEntry is the last number of a log entry: scripts count in 53 bits.
	maxEntry = 1<<53 - 1
)

// ErrFrame is the kind of every refusal of bytes or frames from the other end.
// The link ends; nothing that is stored was touched.
var ErrFrame = errors.New("bad frame")

type kind uint8

const (
	kindHello kind = 1 + iota
	kindBatch
	kindAck
	kindHole
	kindPull
	kindStates
	kindHeartbeat
	kindGoodbye
	kindDigests
	kindDiffers
)

// A Frame is one message of a link: Hello, Entries, Ack, Hole, Pull, States,
// Heartbeat, Goodbye, Digests or Differs.
type Frame interface {
	kind() kind
	appendBody(b []byte) []byte
}

// Hello is the first frame each way.
type Hello struct {
	Region crdt.Region // who speaks
	// Window is how many bytes the receiver is ready to hold unacknowledged.
	Window uint32
	// Want has a bit for each partition whose whole state the receiver asks for.
	Want uint64
	// At is how far the receiver's engine has taken in the origin's log; from
	// the origin, nothing.
	At engine.Positions
}

// Entries carries a batch of the log.
type Entries struct {
	// After is the number of States frames sent before this one: a rebase that
	// overtook a part of the state would skip what is in it.
	After uint64
	Batch engine.Batch
}

// Ack says what the receiver's engine holds.
type Ack struct {
	Partition uint16
	At        engine.Position
	// Joined is the Serial of the last States frame whose records it holds.
	Joined uint64
}

// Hole says that a batch began beyond the entry after At.
type Hole struct {
	Partition uint16
	At        engine.Position
}

// Pull asks for the records of Keys.
type Pull struct{ Keys []crdt.Key }

// States carries records, asked for or of a resync.
type States struct {
	Serial  uint64 // counts these frames on one link, from 1
	Records []crdt.Record
}

// Heartbeat keeps a link alive and says how far its end is.
type Heartbeat struct {
	Time crdt.Time // by the clock of who speaks, taken before At was read
	Echo crdt.Time // Time of the last heartbeat heard before At was read
	// Partial: a resync is under way, so At does not speak for everything.
	Partial bool
	// At is the head of the origin's log, or how far the receiver has come.
	At engine.Positions
}

// Goodbye is the last frame of an end that gives the link up.
type Goodbye struct{ Reason string }

// Digests says what the origin has, in sums, for the peer to compare.
type Digests struct {
	Serial uint64     // counts these frames on one link, from 1
	Parts  []PartSums // each of another partition
}

// PartSums are the sums of one partition's records, by bucket.
type PartSums struct {
	Partition uint16
	// Cutoff: what clocks may drop by then is not in the sums; zero: all is.
	Cutoff crdt.Time
	Sums   []uint64 // a power of two of them, at most 1,024
}

// Differs answers Digests with the buckets that differ.
type Differs struct {
	Serial uint64
	Parts  []PartDiffers // those in which any does
}

// PartDiffers are the buckets of one partition that differ, in order.
type PartDiffers struct {
	Partition uint16
	Buckets   []BucketSum
}

// BucketSum is a bucket and its sum at the peer.
type BucketSum struct {
	Bucket uint16
	Sum    uint64
}

func (Hello) kind() kind     { return kindHello }
func (Entries) kind() kind   { return kindBatch }
func (Ack) kind() kind       { return kindAck }
func (Hole) kind() kind      { return kindHole }
func (Pull) kind() kind      { return kindPull }
func (States) kind() kind    { return kindStates }
func (Heartbeat) kind() kind { return kindHeartbeat }
func (Goodbye) kind() kind   { return kindGoodbye }
func (Digests) kind() kind   { return kindDigests }
func (Differs) kind() kind   { return kindDiffers }

const (
	lengthBytes = 4
	headBytes   = lengthBytes + 2 // length, version, kind
)

// AppendFrame appends f as docs/formats/link.md has it, its length in front.
func AppendFrame(b []byte, f Frame) []byte {
	start := len(b)
	b = f.appendBody(appendHead(b, f.kind()))
	setLength(b[start:])
	return b
}

func appendHead(b []byte, k kind) []byte {
	return append(b, 0, 0, 0, 0, protocolVersion, byte(k))
}

// setLength fills in the length in front of a whole frame.
func setLength(frame []byte) {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-lengthBytes)) //nolint:gosec // bounded by maxFrameBytes
}

// ReadFrame reads one frame from r and returns it with its size in bytes. It
// refuses a length beyond the bound before it makes room for it. It fails with
// ErrFrame for bytes that AppendFrame would not write, else with r's error.
func ReadFrame(r io.Reader) (Frame, int, error) {
	var head [lengthBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < headBytes-lengthBytes || n > maxFrameBytes {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrFrame, n, maxFrameBytes)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, 0, fmt.Errorf("read frame of %d bytes: %w", n, err)
	}
	f, err := DecodeFrame(b)
	return f, lengthBytes + int(n), err
}

func (f Hello) appendBody(b []byte) []byte {
	b = append(b, byte(f.Region))
	b = binary.BigEndian.AppendUint32(b, f.Window)
	b = binary.BigEndian.AppendUint64(b, f.Want)
	return appendPositions(b, &f.At)
}

func (f Entries) appendBody(b []byte) []byte {
	b = appendEntriesHead(b, f.Batch)
	binary.BigEndian.PutUint64(b[len(b)-entriesHeadBytes:], f.After)
	binary.BigEndian.PutUint32(b[len(b)-4:], uint32(len(f.Batch.Frags))) //nolint:gosec // a frame bounds it
	for _, frag := range f.Batch.Frags {
		b = appendEntry(b, frag)
	}
	return b
}

// appendEntry appends an entry with its length in front; one that holds nothing,
// as engine.Batch has it, takes no more.
func appendEntry(b []byte, frag crdt.Fragment) []byte {
	if frag.Effect.Key.IsZero() {
		return append(b, 0, 0, 0, 0)
	}
	return appendSized(b, func(b []byte) []byte { return crdt.AppendFragment(b, frag) })
}

// entriesHeadBytes: after 8, partition 2, actor 3, fork 8, first 8, flags 1, count 4.
const entriesHeadBytes = 8 + 2 + 3 + 8 + 8 + 1 + 4

// appendEntriesHead leaves After and the count, which come last to be known, zero.
func appendEntriesHead(b []byte, batch engine.Batch) []byte {
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint16(b, batch.Partition)
	b = appendActor(b, batch.Actor)
	b = binary.BigEndian.AppendUint64(b, batch.Fork)
	b = binary.BigEndian.AppendUint64(b, batch.First)
	b = append(b, flagByte(batch.Rebase))
	return binary.BigEndian.AppendUint32(b, 0)
}

func (f Ack) appendBody(b []byte) []byte {
	b = appendPosition(binary.BigEndian.AppendUint16(b, f.Partition), f.At)
	return binary.BigEndian.AppendUint64(b, f.Joined)
}

func (f Hole) appendBody(b []byte) []byte {
	return appendPosition(binary.BigEndian.AppendUint16(b, f.Partition), f.At)
}

func (f Pull) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.Keys))) //nolint:gosec // at most maxPullKeys
	for _, k := range f.Keys {
		b = append(append(b, byte(k.Kind())), k.Name()...)
	}
	return b
}

// statesHeadBytes: serial 8, count 4.
const statesHeadBytes = 8 + 4

func (f States) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, f.Serial)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Records))) //nolint:gosec // a frame bounds it
	for _, r := range f.Records {
		b = appendSized(b, func(b []byte) []byte { return crdt.AppendRecord(b, r) })
	}
	return b
}

func (f Heartbeat) appendBody(b []byte) []byte {
	b = appendTime(appendTime(b, f.Time), f.Echo)
	return appendPositions(append(b, flagByte(f.Partial)), &f.At)
}

func (f Goodbye) appendBody(b []byte) []byte {
	return append(b, f.Reason[:min(len(f.Reason), maxReasonBytes)]...)
}

func (f Digests) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, f.Serial)
	b = append(b, byte(len(f.Parts)))
	for _, p := range f.Parts {
		b = appendTime(binary.BigEndian.AppendUint16(b, p.Partition), p.Cutoff)
		b = append(b, byte(bits.Len(uint(len(p.Sums)))-1))
		for _, sum := range p.Sums {
			b = binary.BigEndian.AppendUint64(b, sum)
		}
	}
	return b
}

func (f Differs) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, f.Serial)
	b = append(b, byte(len(f.Parts)))
	for _, p := range f.Parts {
		b = binary.BigEndian.AppendUint16(b, p.Partition)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Buckets))) //nolint:gosec // at most 1,024
		for _, d := range p.Buckets {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16(b, d.Bucket), d.Sum)
		}
	}
	return b
}

// appendSized appends what write appends with its length in front.
func appendSized(b []byte, write func([]byte) []byte) []byte {
	start := len(b)
	b = write(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4)) //nolint:gosec // a frame bounds it
	return b
}

// positionBytes is an actor and an entry's number.
const positionBytes = 3 + 8

func appendPositions(b []byte, at *engine.Positions) []byte {
	b = slices.Grow(b, len(at)*positionBytes)
	for _, p := range at {
		b = appendPosition(b, p)
	}
	return b
}

func appendPosition(b []byte, p engine.Position) []byte {
	return binary.BigEndian.AppendUint64(appendActor(b, p.Actor), p.N)
}

func appendActor(b []byte, a crdt.Actor) []byte {
	return append(b, byte(a>>16), byte(a>>8), byte(a))
}

func appendTime(b []byte, t crdt.Time) []byte {
	return append(b, byte(t>>40), byte(t>>32), byte(t>>24), byte(t>>16), byte(t>>8), byte(t))
}

func flagByte(on bool) byte {
	if on {
		return 1
	}
	return 0
}
