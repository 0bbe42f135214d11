package opener

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// defaultAsk is how often peers are asked: what is known of them is at best that old.
	defaultAsk = 500 * time.Millisecond
	// askTimeout bounds one answer: three times around the Earth.
	askTimeout = time.Second
	// firstPoll is how soon it is looked again whether what a peer had is here; it doubles.
	firstPoll = 5 * time.Millisecond
)

// A Heads tells how old what the engine here has of other Regions is, where nodes push
// their logs to each other (DESIGN R10). It asks a Region's engine how far its log is,
// and the engine here until it has taken in as much: then it has all that the other had
// when it was asked. No clock but this process's has a part in it, and no node: one that
// has ended makes news old, as a cut does. Nothing is written. It may be used by many
// goroutines.
type Heads struct {
	stop  context.CancelFunc
	work  sync.WaitGroup
	peers map[crdt.Region]*newsOf // never changes
}

// newsOf is what is known of one Region.
type newsOf struct {
	mu    sync.Mutex // guards what follows
	heard time.Time  // when it was asked for the newest head that is here; zero: none is
	lag   time.Duration
}

// Watch begins to measure, every interval; zero: half a second. It reports false if the
// engine here takes in no logs, or that of a peer, if it is open, has none: then nothing
// can be measured. Close the Heads before the engines.
func Watch(ctx context.Context, here engine.Engine, peers map[crdt.Region]engine.Engine, interval time.Duration) (*Heads, bool) {
	sink, ok := engine.As[engine.Sink](here)
	for _, e := range peers {
		if _, lazy := e.(*Lazy); !lazy {
			_, hasLog := engine.As[engine.Log](e)
			ok = ok && hasLog
		}
	}
	if !ok {
		return nil, false
	}
	if interval <= 0 {
		interval = defaultAsk
	}
	h := &Heads{peers: map[crdt.Region]*newsOf{}}
	ctx, h.stop = context.WithCancel(ctx)
	for id, e := range peers {
		n := &newsOf{}
		h.peers[id] = n
		h.work.Go(func() {
			if l, ok := e.(*Lazy); ok {
				select {
				case <-ctx.Done():
					return
				case <-l.Opened():
				}
			}
			if log, ok := engine.As[engine.Log](e); ok {
				n.watch(ctx, log, sink, id, interval)
			}
		})
	}
	return h, true
}

// watch asks until ctx ends.
func (n *newsOf) watch(ctx context.Context, log engine.Log, sink engine.Sink, id crdt.Region, interval time.Duration) {
	var waiting asks
	for ctx.Err() == nil {
		begun := time.Now()
		if head, err := within(ctx, log.Head); err == nil {
			waiting = waiting.add(ask{begun, time.Since(begun), head})
		}
		for poll := firstPoll; len(waiting) > 0; poll *= 2 {
			at, err := within(ctx, func(ctx context.Context) (engine.Positions, error) { return sink.Positions(ctx, id) })
			if err == nil {
				waiting = n.note(waiting, &at)
			}
			if left := interval - time.Since(begun); len(waiting) == 0 || left <= 0 || !pause.For(ctx, min(poll, left)) {
				break
			}
		}
		pause.For(ctx, interval-time.Since(begun))
	}
}

func within(ctx context.Context, do func(context.Context) (engine.Positions, error)) (engine.Positions, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return do(ctx)
}

// note notes what the engine here has, and returns what is waited for.
func (n *newsOf) note(waiting asks, at *engine.Positions) asks {
	last, left := waiting.covered(at)
	if last.at.IsZero() {
		return left
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = last.at
	if len(left) == 0 { // it came just now, and the other had it half a round trip after it was asked
		n.lag = max(time.Since(last.at)-last.took/2, time.Millisecond)
	}
	return left
}

// Heard returns how old the last news of a Region is. Not ok: none has come.
func (h *Heads) Heard(r crdt.Region) (age time.Duration, ok bool) {
	n := h.peers[r]
	if n == nil {
		return 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.heard), !n.heard.IsZero()
}

// Lag returns how late a write of a Region gets here; zero: not measured yet.
func (h *Heads) Lag(r crdt.Region) time.Duration {
	n := h.peers[r]
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lag
}

// Everywhere reports whether every Region is known to have a write. What others have
// nobody here knows.
func (h *Heads) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring. It never fails.
func (h *Heads) Close() error {
	h.stop()
	h.work.Wait()
	return nil
}

// An ask is when a Region was asked, how long its answer took, and what it was.
type ask struct {
	at   time.Time
	took time.Duration
	head engine.Positions
}

// asks are those whose heads are not here yet: at most the oldest, which is bound to
// come, and the newest. Keeping the newest alone would wait for ever under steady writes.
type asks []ask

func (a asks) add(n ask) asks {
	if len(a) > 0 && !coversAll(&n.head, &a[0].head) {
		a = nil // a failover took that head back: it may never come
	}
	return append(slices.Clone(a[:min(len(a), 1)]), n)
}

// covered returns the last that is here, the zero ask if none is, and what is left.
func (a asks) covered(at *engine.Positions) (last ask, left asks) {
	for len(a) > 0 && coversAll(at, &a[0].head) {
		last, a = a[0], a[1:]
	}
	return last, a
}

// coversAll reports whether a log has been taken in up to a head. Numbers of two actors
// are not compared: which of them came first is known to the log only.
func coversAll(at, head *engine.Positions) bool {
	for p := range at {
		if head[p] != (engine.Position{}) && (at[p].Actor != head[p].Actor || at[p].N < head[p].N) {
			return false
		}
	}
	return true
}
