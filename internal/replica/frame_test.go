package replica

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var updateFlag = flag.Bool("update", false, "write the vectors anew")

// vectors are frames of every kind, under the names of their files in testdata.
func vectors() map[string]Frame {
	var at engine.Positions
	at[0] = engine.Position{Actor: crdt.NewActor(2, 0xabcde), N: 17}
	at[63] = engine.Position{Actor: crdt.NewActor(15, 1), N: maxEntry}
	s := newStore(crdt.NewActor(1, 0x12345))
	s.put(1000, testKeys()[0], "one")
	s.put(1002, testKeys()[0], "two")
	part := int(testKeys()[0].Partition())
	b, _ := s.after(part, engine.Position{}, 10)
	return map[string]Frame{
		"hello":     Hello{Region: 2, Window: 4 << 20, Want: 1<<63 | 1, At: at},
		"entries":   Entries{After: 3, Batch: b},
		"rebase":    Entries{After: 9, Batch: engine.Batch{Partition: 5, Actor: s.actor, Fork: 7, First: 8, Rebase: true}},
		"ack":       Ack{Partition: 63, At: at[63], Joined: 4},
		"hole":      Hole{Partition: 0, At: at[0]},
		"pull":      Pull{Keys: []crdt.Key{testKeys()[0], crdt.SessionKey(crdt.NewSessionID(5000, 3, crdt.IDEntropy{9}))}},
		"states":    States{Serial: 1, Records: []crdt.Record{s.get(testKeys()[0]), {Key: testKeys()[1]}}},
		"heartbeat": Heartbeat{Time: 123456789, Echo: 123456000, Partial: true, At: at},
		"goodbye":   Goodbye{Reason: "closed"},
		"digests": Digests{Serial: 3, Parts: []PartSums{
			{Partition: 0, Cutoff: 123576789, Sums: []uint64{1 << 63, 0, 5, 0x0123456789abcdef}}, {Partition: 63, Sums: []uint64{0}},
		}},
		"differs": Differs{Serial: 3, Parts: []PartDiffers{{Partition: 0, Buckets: []BucketSum{{0, 7}, {3, 0xfedcba9876543210}}}}},
		"same":    Differs{Serial: 4},
	}
}

// TestVectors holds the bytes of a link to those that older code wrote.
func TestVectors(t *testing.T) {
	for name, f := range vectors() {
		path := filepath.Join("testdata", name+".hex")
		if *updateFlag {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(AppendFrame(nil, f))+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got := AppendFrame(nil, f); !bytes.Equal(got, want) {
			t.Errorf("AppendFrame(%s) = %x, want %x", name, got, want)
		}
		got, n, err := ReadFrame(bytes.NewReader(want))
		if err != nil || n != len(want) || !reflect.DeepEqual(got, f) {
			t.Errorf("ReadFrame(%s) = %+v, %d, %v, want %+v, %d", name, got, n, err, f, len(want))
		}
	}
}

func TestReadFrameRefuses(t *testing.T) {
	change := func(name string, at int, b byte) []byte {
		out := AppendFrame(nil, vectors()[name])
		out[at] = b
		return out
	}
	long := binary.BigEndian.AppendUint32(nil, maxFrameBytes+1)
	for name, b := range map[string][]byte{
		"too long":               long,
		"no kind":                {0, 0, 0, 1, 1},
		"other version":          change("ack", 4, 2),
		"unknown kind":           change("ack", 5, 99),
		"partition 64":           change("ack", 7, 64),
		"hello of Region 0":      change("hello", 6, 0),
		"batch of no Region":     change("rebase", 16, 0),
		"batch that is empty":    change("rebase", headBytes+entriesHeadBytes-5, 0),
		"flag of 2":              change("rebase", headBytes+entriesHeadBytes-5, 2),
		"entry of another part":  change("entries", 15, 60),
		"more entries than sent": change("entries", headBytes+entriesHeadBytes-1, 3),
		"fewer entries":          change("entries", headBytes+entriesHeadBytes-1, 1),
		"states without serial":  change("states", headBytes+7, 0),
		"pull of a wrong kind":   change("pull", headBytes+2, 9),
		"digests of nothing":     change("digests", headBytes+8, 0),
		"digests without serial": change("digests", headBytes+7, 0),
		"too many buckets":       change("digests", headBytes+9+8, 11),
		"fewer sums than said":   change("digests", headBytes+9+8, 3),
		"a partition twice":      change("digests", headBytes+9+9+32+1, 0),
		"no bucket differs":      change("differs", headBytes+12, 0),
		"buckets out of order":   change("differs", headBytes+13+10+1, 0),
		"differs without serial": change("differs", headBytes+7, 0),
	} {
		f, _, err := ReadFrame(bytes.NewReader(b))
		if !errors.Is(err, ErrFrame) {
			t.Errorf("%s: ReadFrame = %v, %v, want %v", name, f, err, ErrFrame)
		}
	}
}

// FuzzDecodeFrame: whatever comes, the decoder does not panic, and what it takes
// is what the encoder writes.
func FuzzDecodeFrame(f *testing.F) {
	for _, frame := range vectors() {
		f.Add(AppendFrame(nil, frame)[lengthBytes:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := DecodeFrame(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Errorf("DecodeFrame(%x) = %v, want %v", b, err, ErrFrame)
			}
			return
		}
		if got := AppendFrame(nil, frame)[lengthBytes:]; !bytes.Equal(got, b) {
			t.Errorf("AppendFrame(DecodeFrame(%x)) = %x", b, got)
		}
	})
}

func BenchmarkAppendFrame(b *testing.B) {
	f := vectors()["entries"]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendFrame(buf[:0], f)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecodeFrame(b *testing.B) {
	buf := AppendFrame(nil, vectors()["entries"])[lengthBytes:]
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFrame(buf); err != nil {
			b.Fatal(err)
		}
	}
}
