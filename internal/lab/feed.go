package lab

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/console"
)

// keptEvents is how many events are remembered for whoever comes later.
const keptEvents = 500

var errFeedClosed = errors.New("no more events will come")

// A feed is the events of a lab, numbered from 1. The oldest are forgotten.
type feed struct {
	mu     sync.Mutex // guards what follows
	list   []console.Event
	last   uint64
	news   chan struct{} // closed when an event comes
	closed bool
}

func newFeed() *feed { return &feed{news: make(chan struct{})} }

func (f *feed) add(e console.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.last++
	e.Seq, e.At = f.last, time.Now().UTC().Format(time.RFC3339Nano)
	f.list = append(f.list, e)
	if len(f.list) > keptEvents {
		f.list = slices.Delete(f.list, 0, len(f.list)-keptEvents)
	}
	close(f.news)
	f.news = make(chan struct{})
}

// after returns the events after seq, waiting for one if there is none.
func (f *feed) after(ctx context.Context, seq uint64) ([]console.Event, error) {
	for {
		f.mu.Lock()
		i, found := slices.BinarySearchFunc(f.list, seq, func(e console.Event, n uint64) int { return cmp.Compare(e.Seq, n) })
		if found {
			i++
		}
		out, news, closed := slices.Clone(f.list[i:]), f.news, f.closed
		f.mu.Unlock()
		switch {
		case len(out) > 0:
			return out, nil
		case closed:
			return nil, errFeedClosed
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *feed) newest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.news)
	}
}
