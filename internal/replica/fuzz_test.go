package replica

import (
	"bytes"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// FuzzReadFrame: a peer that has gone mad can't bring down who hears it, nor the
// engine that takes in what it says, and what is taken in twice is taken in once.
func FuzzReadFrame(f *testing.F) {
	var all []byte
	for _, name := range []string{"states", "entries", "rebase", "goodbye"} {
		frame := AppendFrame(nil, vectors()[name])
		f.Add(frame)
		all = append(all, frame...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		core := memory.NewCore(crdt.NewActor(1, 1), memory.Config{MaxBytes: 1 << 20, LogBytes: 64 << 10})
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			frame, size, err := ReadFrame(r)
			if err != nil {
				return
			}
			if size != before-r.Len() {
				t.Errorf("ReadFrame says %d bytes and took %d", size, before-r.Len())
			}
			takeIn(t, core, frame)
		}
	})
}

// takeIn gives an engine what a frame brings, twice.
func takeIn(t *testing.T, core *memory.Core, frame Frame) {
	t.Helper()
	const now = 1000
	switch frame := frame.(type) {
	case Entries:
		from := frame.Batch.Actor.Region()
		first, err := core.Ingest(now, from, frame.Batch)
		if err != nil || len(first.Gaps) > 0 {
			return
		}
		again, err := core.Ingest(now, from, frame.Batch)
		if err != nil || again.Position != first.Position || again.Hole != first.Hole {
			t.Errorf("Ingest of one batch = %+v, then %+v, %v", first, again, err)
		}
	case States:
		for _, r := range frame.Records {
			core.Join(now, r)
			before := core.Read(now, r.Key).Digest()
			core.Join(now, r)
			if core.Read(now, r.Key).Digest() != before {
				t.Errorf("Join of %v changes something the second time", r.Key)
			}
		}
	}
}
