package salvage_test

import (
	"context"
	"testing"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// A late log says nothing the first times that it is followed, or ends in the middle.
type late struct {
	*memory.Engine
	silent int // times
	most   int // batches that the first time after those has, if it is not 0
}

func (l *late) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	if l.silent > 0 {
		l.silent--
		<-ctx.Done()
		return engine.Ended(ctx)
	}
	left := l.most
	l.most = 0
	return l.Engine.Follow(ctx, from, func(b engine.Batch) error {
		if err := emit(b); err != nil {
			return err
		}
		if left--; left == 0 {
			<-ctx.Done()
			return engine.Ended(ctx)
		}
		return nil
	})
}

// What is only late is no hole: a server that was cut off, or has much to do, says nothing for
// some seconds and has all of it.
func TestLateLog(t *testing.T) {
	for name, l := range map[string]*late{
		"silent once": {silent: 1}, "silent twice": {silent: 2}, "silent in the middle": {most: 1}, "silent, and again": {silent: 1, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, memory.Config{})
			for i := range 6 {
				w.apply(w.old, w.key(i), birth())
			}
			w.replicate()
			for i := range 6 {
				w.lose(w.key(i), put("1"), "write")
			}
			c := w.config()
			l.Engine = w.old
			c.Old = l
			out := w.run(c)
			w.wantListed(out)
			if len(out.Holes) > 0 || !out.Complete() {
				t.Errorf("holes %v, want none", out.Holes)
			}
		})
	}
}
