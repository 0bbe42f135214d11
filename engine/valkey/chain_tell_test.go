//go:build integration

package valkey_test

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
)

// Whoever sees at a replica that an epoch is over has all that was written in it.
func TestMarkComesBehindAllWrites(t *testing.T) {
	one, two := pair(t)
	a, b := steer(t, one), steer(t, two)
	a.grant(1, time.Minute)
	const writers = 8
	var keys [writers]crdt.Key
	var last [writers]atomic.Int64
	ended := make(chan error, writers)
	for i := range writers {
		keys[i] = bear(t, a.e)
		begun := now().Stamp() + 1
		go func() {
			for n := int64(1); ; n++ {
				if err := putAt(t.Context(), a.e, keys[i], begun+crdt.Stamp(n), strconv.FormatInt(n, 10)); err != nil {
					ended <- err
					return
				}
				last[i].Store(n)
			}
		}()
	}
	until(t, "they are writing", func() bool { return last[0].Load() > 100 && last[writers-1].Load() > 100 })
	if err := a.e.EndLease(t.Context(), 1); err != nil {
		t.Fatalf("EndLease = %v", err)
	}
	if err := a.c.Mark(t.Context(), 1); err != nil {
		t.Fatalf("Mark = %v", err)
	}
	until(t, "the mark is there", func() bool { e, err := b.c.Marked(t.Context()); return err == nil && e == 1 })
	b.promote()
	for range writers {
		if err := <-ended; !errors.Is(err, engine.ErrNotPrimary) {
			t.Errorf("a writer ended with %v, want ErrNotPrimary", err)
		}
	}
	for i, k := range keys {
		if got, want := value(read(t, b.e, k)), strconv.FormatInt(last[i].Load(), 10); got != want {
			t.Errorf("writer %d: the new primary has write %s, %s was acknowledged", i, got, want)
		}
	}
}

// A primary counts its beats on, and its replica has them with the primary's time.
func TestBeats(t *testing.T) {
	one, two := pair(t)
	a, b := steer(t, one), steer(t, two)
	ctx := t.Context()
	if got, err := a.c.Beaten(ctx); err != nil || got != (roamvalkey.Beat{}) {
		t.Errorf("Beaten where there is none = %+v, %v", got, err)
	}
	began := now()
	for _, epoch := range []uint64{7, 7, 8} {
		if err := a.c.Beat(ctx, epoch); err != nil {
			t.Fatalf("Beat(%d) = %v", epoch, err)
		}
	}
	until(t, "the beats come to the replica", func() bool {
		got, err := b.c.Beaten(ctx)
		return err == nil && got.Epoch == 8 && got.N == 3 && got.At >= began && got.At <= now()
	})
	if err := a.c.Beat(ctx, 7); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Beat of an epoch before = %v, want ErrNotPrimary", err)
	}
	if err := a.c.Mark(ctx, 9); err != nil {
		t.Errorf("Mark = %v", err)
	}
	if err := a.c.Beat(ctx, 9); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Beat of an epoch that is over = %v, want ErrNotPrimary", err)
	}
	if got, err := a.c.Beaten(ctx); err != nil || got.N != 3 {
		t.Errorf("Beaten after refused ones = %+v, %v, want the third", got, err)
	}
	if err := a.c.Beat(ctx, 1<<48); !errors.Is(err, crdt.ErrMalformed) {
		t.Errorf("Beat of no epoch = %v, want ErrMalformed", err)
	}
	if err := b.c.Beat(ctx, 10); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Beat at a replica = %v, want ErrNotPrimary", err)
	}
}

// What is marked never goes back.
func TestMarks(t *testing.T) {
	one, two := pair(t)
	a, b := steer(t, one), steer(t, two)
	ctx := t.Context()
	if got, err := a.c.Marked(ctx); err != nil || got != 0 {
		t.Errorf("Marked where nothing is = %d, %v", got, err)
	}
	for _, epoch := range []uint64{8, 1<<48 - 1, 3} {
		if err := a.c.Mark(ctx, epoch); err != nil {
			t.Errorf("Mark(%d) = %v", epoch, err)
		}
	}
	until(t, "the latest mark comes to the replica", func() bool { e, err := b.c.Marked(ctx); return err == nil && e == 1<<48-1 })
	if got, err := a.c.Marked(ctx); err != nil || got != 1<<48-1 {
		t.Errorf("Marked = %d, %v, want the latest", got, err)
	}
	if err := b.c.Mark(ctx, 9); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Mark at a replica = %v, want ErrNotPrimary", err)
	}
	if err := a.c.Mark(ctx, 0); !errors.Is(err, crdt.ErrMalformed) {
		t.Errorf("Mark of no epoch = %v, want ErrMalformed", err)
	}
	one.Do("SET", "roam:over", "soon")
	if _, err := a.c.Marked(ctx); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Marked of what is none = %v, want ErrCorrupt", err)
	}
}
