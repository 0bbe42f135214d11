package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// The bytes are those of docs/formats/journal.md.
const (
	magic         = "roamjnl"
	formatVersion = 1
	headerBytes   = len(magic) + 1
	frameHead     = 12 // length, its check, and the check of what follows
	entryHead     = 5  // kind and length
	// maxFrame bounds one frame: as many endings as are written together.
	maxFrame = 4 << 20
)

// The kinds of entries.
const (
	kindEnding  = 1
	kindSettled = 2
)

// An Entry is one thing that a journal's file says.
type Entry struct {
	Settled bool // every engine has the ending; else it was learned
	Ending  crdt.Record
}

// Contents is what a journal's file says.
type Contents struct {
	Entries []Entry
	// Torn is how many bytes at the end were not written whole. What they would
	// have said was never acknowledged.
	Torn int
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// AppendHeader appends what every file begins with.
func AppendHeader(b []byte) []byte { return append(append(b, magic...), formatVersion) }

// AppendFrame appends a frame of entries, which is read whole or not at all.
func AppendFrame(b []byte, entries []Entry) []byte {
	var payload []byte
	for _, e := range entries {
		kind := byte(kindEnding)
		if e.Settled {
			kind = kindSettled
		}
		rec := crdt.AppendRecord(nil, e.Ending)
		payload = binary.BigEndian.AppendUint32(append(payload, kind), uint32(len(rec))) //nolint:gosec // a few dots
		payload = append(payload, rec...)
	}
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // below maxFrame
	b = binary.BigEndian.AppendUint32(b, castagnoli(b[at:]))
	b = binary.BigEndian.AppendUint32(b, castagnoli(payload))
	return append(b, payload...)
}

// Decode reads a file. Bytes at its end that one write, cut short, can have left
// are Torn. Anything else that AppendHeader and AppendFrame would not have
// written is refused with engine.ErrCorrupt: to go on would be to forget a
// revocation.
func Decode(b []byte) (Contents, error) {
	if len(b) == 0 {
		return Contents{}, nil // made, and nothing written yet
	}
	if len(b) < headerBytes || string(b[:len(magic)]) != magic {
		return Contents{}, fmt.Errorf("%w: this is no journal", engine.ErrCorrupt)
	}
	if v := b[len(magic)]; v != formatVersion {
		return Contents{}, fmt.Errorf("%w: format version %d, know %d", engine.ErrCorrupt, v, formatVersion)
	}
	var out Contents
	for at := headerBytes; at < len(b); {
		payload, torn, err := frame(b[at:])
		if err == nil && !torn {
			out.Entries, err = appendEntries(out.Entries, payload)
		}
		if err != nil {
			return Contents{}, fmt.Errorf("%w: at byte %d: %w", engine.ErrCorrupt, at, err)
		}
		if torn {
			out.Torn = len(b) - at
			break
		}
		at += frameHead + len(payload)
	}
	return out, nil
}

// frame returns the payload of the frame that b begins with, or that b is what
// is left of one that was not written whole.
func frame(b []byte) (payload []byte, torn bool, err error) {
	if len(b) < frameHead || len(bytes.TrimLeft(b, "\x00")) == 0 {
		return nil, true, nil // the file grew before its bytes were written
	}
	length := binary.BigEndian.Uint32(b)
	if binary.BigEndian.Uint32(b[4:]) != castagnoli(b[:4]) {
		return nil, false, fmt.Errorf("%w: a frame's length and its check differ", crdt.ErrMalformed)
	}
	if length == 0 || length > maxFrame {
		return nil, false, fmt.Errorf("%w: frame of %d bytes", crdt.ErrMalformed, length)
	}
	whole := frameHead + int(length)
	if len(b) < whole {
		return nil, true, nil
	}
	payload = b[frameHead:whole]
	if binary.BigEndian.Uint32(b[8:]) != castagnoli(payload) {
		if len(b) == whole {
			return nil, true, nil // the last one: some of its pages are missing
		}
		return nil, false, fmt.Errorf("%w: a frame and its check differ", crdt.ErrMalformed)
	}
	return payload, false, nil
}

func appendEntries(out []Entry, b []byte) ([]Entry, error) {
	for len(b) > 0 {
		if len(b) < entryHead {
			return nil, fmt.Errorf("%w: entry of %d bytes", crdt.ErrMalformed, len(b))
		}
		kind, length := b[0], binary.BigEndian.Uint32(b[1:])
		b = b[entryHead:]
		if kind != kindEnding && kind != kindSettled {
			return nil, fmt.Errorf("%w: entry of kind %d", crdt.ErrMalformed, kind)
		}
		if uint64(length) > uint64(len(b)) {
			return nil, fmt.Errorf("%w: entry ends early", crdt.ErrMalformed)
		}
		rec, err := crdt.DecodeRecord(bytes.Clone(b[:length])) // the record keeps parts of it
		if err == nil {
			err = check(rec)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{kind == kindSettled, rec})
		b = b[length:]
	}
	return out, nil
}
