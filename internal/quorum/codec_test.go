package quorum

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

func sampleFrames() map[string]frame {
	return map[string]frame{
		"hello": {kind: frameHello, hello: hello{from: 1, to: 2, life: 3, identity: 0x0123456789abcdef}},
		"message": {kind: frameMessage, message: &pb.Message{
			Type: pb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(3)), Index: new(uint64(4)), LogTerm: new(uint64(3)),
			Commit: new(uint64(4)), Entries: []*pb.Entry{{Index: new(uint64(5)), Term: new(uint64(3)), Data: encodeCommand(ticket{1, 3, 7, 6}, []byte("command"))}},
		}},
		"alive":   {kind: frameAlive},
		"goodbye": {kind: frameGoodbye, reason: "it has lost its disk"},
	}
}

func sampleImage() image {
	return image{identity: 0x0123456789abcdef, state: []byte("state"), ledger: ledger{
		1: {life: 3, floor: 6, seen: []uint64{6, 7, 9}}, 2: {life: 1, floor: 1}, 9: {life: 2, floor: 70000, seen: []uint64{74095}},
	}}
}

// vector returns the bytes that an older version wrote.
func vector(t *testing.T, name, says string, now []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "# %s\n%x\n", says, now), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path) //nolint:gosec // a vector
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.TrimSpace(line))
	}
	stored, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now, stored) {
		t.Errorf("%s = %x, want %x", name, now, stored)
	}
	return stored
}

// What an older version wrote is read, and written byte for byte.
func TestVectors(t *testing.T) {
	want := ticket{member: 1, life: 3, seq: 7, floor: 6}
	b := vector(t, "command", "command 7 of life 3 of member 1, floor 6", encodeCommand(want, []byte("command")))
	if got, command, err := decodeCommand(b); err != nil || got != want || string(command) != "command" {
		t.Errorf("command: %v %q, %v", got, command, err)
	}
	b = vector(t, "snapshot", "snapshot with three accounts", encodeImage(sampleImage()))
	got, err := decodeImage(b)
	if d := cmp.Diff(sampleImage(), got, cmp.AllowUnexported(image{}, account{})); d != "" || err != nil {
		t.Errorf("snapshot: %v (-want +got):\n%s", err, d)
	}
	for name, f := range sampleFrames() {
		now, err := appendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readFrame(bytes.NewReader(vector(t, name, "frame: "+name, now)), maxFrameBytes)
		if d := cmp.Diff(f, got, cmp.AllowUnexported(frame{}, hello{}), protocmp.Transform()); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}

// A length beyond the bound is refused before there is room made for it, and nothing
// is written that would be.
func TestFramesHaveABound(t *testing.T) {
	for _, head := range [][]byte{{0xFF, 0xFF, 0xFF, 0xFF, 1, 2}, {0, 0, 0, 1, 1, 2}, {0, 0x80, 0, 1, 1, 2}} {
		if _, err := readFrame(bytes.NewReader(head), maxFrameBytes); !errors.Is(err, ErrFrame) {
			t.Errorf("frame %x: %v, want ErrFrame", head, err)
		}
	}
	large := frame{kind: frameMessage, message: &pb.Message{Context: make([]byte, maxFrameBytes)}}
	if _, err := appendFrame(nil, large); !errors.Is(err, ErrFrame) {
		t.Errorf("a large message: %v, want ErrFrame", err)
	}
	// What may be in a snapshot fits.
	im := image{identity: 1, state: make([]byte, MaxSnapshotBytes), ledger: ledger{}}
	for id := range uint64(maxAccounts) {
		a := &account{floor: 1}
		for seq := uint64(1); id < 2*MaxMembers && seq <= maxSpread; seq++ {
			a.seen = append(a.seen, seq)
		}
		im.ledger[id+1] = a
	}
	snapshot := frame{kind: frameMessage, message: &pb.Message{Snapshot: &pb.Snapshot{Data: encodeImage(im)}}}
	if _, err := appendFrame(nil, snapshot); err != nil {
		t.Errorf("the largest snapshot: %v", err)
	}
	if _, err := decodeImage(snapshot.message.GetSnapshot().GetData()); err != nil {
		t.Errorf("the largest snapshot: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range sampleFrames() {
		b, err := appendFrame(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b), maxFrameBytes)
		if err != nil {
			return
		}
		again, err := appendFrame(nil, got)
		if err != nil {
			t.Fatalf("append what was read: %v", err)
		}
		same, err := readFrame(bytes.NewReader(again), maxFrameBytes)
		if d := cmp.Diff(got, same, cmp.AllowUnexported(frame{}, hello{}), protocmp.Transform()); d != "" || err != nil {
			t.Errorf("read again: %v\n%s", err, d)
		}
		if got.kind != frameMessage && !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x is read, and written as %x", b, again)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add(encodeCommand(ticket{1, 3, 7, 6}, []byte("command")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, command, err := decodeCommand(b); err == nil && !bytes.Equal(encodeCommand(id, command), b) {
			t.Errorf("%x is read, and written as %x", b, encodeCommand(id, command))
		}
	})
}

func FuzzImage(f *testing.F) {
	f.Add(encodeImage(sampleImage()))
	f.Add(encodeImage(image{identity: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if im, err := decodeImage(b); err == nil && !bytes.Equal(encodeImage(im), b) {
			t.Errorf("%x is read, and written as %x", b, encodeImage(im))
		}
	})
}

// FuzzReceive has a follower hear anything from its peer. It refuses, or takes it as
// raft does; what raft panics at, as at a commit that is not in its log, only a
// member can send that breaks raft's rules.
func FuzzReceive(f *testing.F) {
	for _, s := range sampleFrames() {
		if s.message != nil {
			b, err := proto.Marshal(s.message)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	founded, err := Found("fuzz", []uint64{1, 2, 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &pb.Message{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		c, err := New(Rules{ID: 2}, founded)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.check(1, m); err != nil && !errors.Is(err, ErrMessage) {
			t.Errorf("check: %v, want ErrMessage", err)
		}
	})
}
