package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	// linkVersion stands in every frame: a link between two versions ends with a clear
	// error and not with a guess.
	linkVersion = 1
	// maxFrameBytes bounds what follows a frame's length: a snapshot of MaxSnapshotBytes
	// and its ledger.
	maxFrameBytes = 8 << 20
	// maxGreetingBytes bounds a frame from somebody who has not yet said who they are.
	maxGreetingBytes = 512
	// maxReasonBytes bounds the text of a goodbye, which goes into logs.
	maxReasonBytes = 200

	lengthBytes = 4
	frameHead   = lengthBytes + 2 // length, version, kind
	// helloBytes: from 8, to 8, life 8, identity 8.
	helloBytes = 4 * 8
)

// ErrFrame is the kind of every refusal of bytes from the other end. The link ends.
var ErrFrame = errors.New("bad frame")

type frameKind uint8

const (
	frameHello frameKind = 1 + iota
	frameMessage
	frameAlive
	frameGoodbye
)

// hello is the first frame each way: who speaks to whom.
type hello struct {
	from, to uint64
	life     uint64 // of who speaks
	identity uint64 // of the log; zero: not yet known
}

// A frame is one of a link. What it has is by its kind.
type frame struct {
	kind    frameKind
	hello   hello
	message *pb.Message
	reason  string
}

// appendFrame appends a frame as docs/formats/quorum.md has it.
func appendFrame(b []byte, f frame) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0, linkVersion, byte(f.kind))
	switch f.kind {
	case frameHello:
		for _, v := range []uint64{f.hello.from, f.hello.to, f.hello.life, f.hello.identity} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	case frameMessage:
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, f.message); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
	case frameGoodbye:
		b = append(b, f.reason[:min(len(f.reason), maxReasonBytes)]...)
	case frameAlive:
	}
	n := len(b) - start - lengthBytes
	if n > maxFrameBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrFrame, n, maxFrameBytes)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(n)) //nolint:gosec // it is bounded
	return b, nil
}

// readFrame reads one frame of at most so many bytes. It refuses a length beyond the
// bound before it makes room for it. It fails with ErrFrame for bytes that
// appendFrame would not write, else with r's error.
func readFrame(r io.Reader, most uint32) (frame, error) {
	var head [lengthBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < frameHead-lengthBytes || n > most {
		return frame{}, fmt.Errorf("%w: %d bytes, at most %d", ErrFrame, n, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return frame{}, fmt.Errorf("read frame of %d bytes: %w", n, err)
	}
	return decodeFrame(b)
}

// decodeFrame reads a frame without its length.
func decodeFrame(b []byte) (frame, error) {
	if len(b) < frameHead-lengthBytes || b[0] != linkVersion {
		return frame{}, fmt.Errorf("%w: link version %x, know %d", ErrFrame, b[:min(len(b), 1)], linkVersion)
	}
	f, body := frame{kind: frameKind(b[1])}, b[2:]
	switch f.kind {
	case frameHello:
		if len(body) != helloBytes {
			return frame{}, fmt.Errorf("%w: hello of %d bytes", ErrFrame, len(body))
		}
		u := func(i int) uint64 { return binary.BigEndian.Uint64(body[8*i:]) }
		f.hello = hello{from: u(0), to: u(1), life: u(2), identity: u(3)}
	case frameMessage:
		f.message = &pb.Message{}
		if err := proto.Unmarshal(body, f.message); err != nil {
			return frame{}, fmt.Errorf("%w: %w", ErrFrame, err)
		}
	case frameAlive:
		if len(body) > 0 {
			return frame{}, fmt.Errorf("%w: %d bytes too many", ErrFrame, len(body))
		}
	case frameGoodbye:
		if len(body) > maxReasonBytes {
			return frame{}, fmt.Errorf("%w: goodbye of %d bytes", ErrFrame, len(body))
		}
		f.reason = string(body)
	default:
		return frame{}, fmt.Errorf("%w: kind %d", ErrFrame, f.kind)
	}
	return f, nil
}
