package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/console"
)

func fill(f *feed, from, to int) {
	for i := from; i <= to; i++ {
		f.add(console.Event{Kind: console.KindWrite, Text: fmt.Sprint(i)})
	}
}

// wantEvents wants the events from one number to another, each once, in order.
func wantEvents(t *testing.T, f *feed, after uint64, from, to int) {
	t.Helper()
	got, err := f.after(t.Context(), after)
	if err != nil || len(got) != to-from+1 {
		t.Fatalf("after(%d) = %d events, %v, want %d", after, len(got), err, to-from+1)
	}
	for i, e := range got {
		if e.Seq != uint64(from+i) || e.Text != fmt.Sprint(from+i) {
			t.Errorf("after(%d)[%d] is event %d %q, want %d", after, i, e.Seq, e.Text, from+i)
		}
		if at, err := time.Parse(time.RFC3339, e.At); err != nil || at.Location() != time.UTC {
			t.Errorf("event %d is of %q, want a time in UTC by RFC 3339", e.Seq, e.At)
		}
	}
}

func TestFeedNumbersFromOne(t *testing.T) {
	f := newFeed()
	if n := f.newest(); n != 0 {
		t.Errorf("newest before the first = %d, want 0", n)
	}
	fill(f, 1, 3)
	wantEvents(t, f, 0, 1, 3)
	wantEvents(t, f, 2, 3, 3)
	if n := f.newest(); n != 3 {
		t.Errorf("newest = %d, want 3", n)
	}
}

func TestFeedForgetsTheOldest(t *testing.T) {
	f := newFeed()
	fill(f, 1, keptEvents+7)
	wantEvents(t, f, 0, 8, keptEvents+7) // who comes late begins with the oldest there is
	wantEvents(t, f, 3, 8, keptEvents+7)
	wantEvents(t, f, keptEvents, keptEvents+1, keptEvents+7)
}

// What a reader got does not change under her.
func TestFeedGivesCopies(t *testing.T) {
	f := newFeed()
	fill(f, 1, 2)
	got, err := f.after(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	got[1].Text = "changed"
	wantEvents(t, f, 0, 1, 2)
}

func TestFeedWakesWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		type answer struct {
			events []console.Event
			err    error
		}
		waiting := make(chan answer, 2)
		for range 2 {
			go func() {
				events, err := f.after(t.Context(), 0)
				waiting <- answer{events, err}
			}()
		}
		synctest.Wait()
		if len(waiting) != 0 {
			t.Fatalf("after(0) of an empty feed = %+v, want that it waits", <-waiting)
		}
		fill(f, 1, 1)
		for range 2 {
			if a := <-waiting; a.err != nil || len(a.events) != 1 || a.events[0].Seq != 1 {
				t.Errorf("after(0), woken = %+v, want event 1", a)
			}
		}
	})
}

func TestFeedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		fill(f, 1, 1)
		waiting := make(chan error, 1)
		go func() { _, err := f.after(t.Context(), 1); waiting <- err }()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { _, err := f.after(ctx, 1); gone <- err }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("after, its context canceled = %v, want that", err)
		}
		f.close()
		f.close() // again is nothing
		if err := <-waiting; !errors.Is(err, errFeedClosed) {
			t.Errorf("after, the feed closed = %v, want %v", err, errFeedClosed)
		}
		fill(f, 2, 2) // too late
		wantEvents(t, f, 0, 1, 1)
		if _, err := f.after(t.Context(), 1); !errors.Is(err, errFeedClosed) {
			t.Errorf("after the last, closed = %v, want %v", err, errFeedClosed)
		}
	})
}

// TestFeedBeyondTheEnd: a page that saw an earlier run asks for what is not yet.
func TestFeedBeyondTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		fill(f, 1, 2)
		for _, after := range []uint64{3, 1 << 63, math.MaxUint64 - 1, math.MaxUint64} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if got, err := f.after(ctx, after); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after(%d) of 2 events = %v, %v, want that it waits", after, got, err)
			}
			cancel()
		}
	})
}
