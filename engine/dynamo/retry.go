package dynamo

import (
	"context"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// retryFor is how long a call goes on beginning tries, if its context does not end
	// before: a throttled partition takes about as long to be split, and a router has
	// other Regions.
	retryFor = time.Second
	// maxTries bounds them too. Of so many writers of one item each gets its turn.
	maxTries = 32
	// retryLeast and retryMost bound the pause before a try, from which full jitter takes
	// any part: a write takes some 5 ms, and who collided should not collide again.
	retryLeast = 5 * time.Millisecond
	retryMost  = 100 * time.Millisecond
)

// tries counts how often something was tried.
type tries struct {
	n     int
	pause time.Duration
	until time.Time
}

func newTries() *tries { return &tries{n: 1, pause: retryLeast, until: time.Now().Add(retryFor)} }

// again waits, and reports whether there is to be another try. Without one, it does not
// wait.
func (t *tries) again(ctx context.Context) bool {
	d := pause.Upto(t.pause)
	if t.n++; ctx.Err() != nil || t.n > maxTries || time.Now().Add(d).After(t.until) {
		return false
	}
	t.pause = min(2*t.pause, retryMost)
	return pause.For(ctx, d)
}

// lines has the writers of one record in this process write one after the other: they
// would only refuse each other's writes. Other processes are met at the table.
type lines struct {
	mu  sync.Mutex // guards what follows; no call is made under it
	all map[crdt.Key]*line
}

// A line is who writes a record, and who waits to. There are no more than calls.
type line struct {
	turn chan struct{} // holds one: who writes
	n    int           // writing or waiting
}

// enter waits for k's turn and returns how to end it. It fails if ctx ends first; nothing
// was written then.
func (l *lines) enter(ctx context.Context, k crdt.Key) (leave func(), err error) {
	l.mu.Lock()
	if l.all == nil {
		l.all = map[crdt.Key]*line{}
	}
	mine := l.all[k]
	if mine == nil {
		mine = &line{turn: make(chan struct{}, 1)}
		l.all[k] = mine
	}
	mine.n++
	l.mu.Unlock()
	select {
	case mine.turn <- struct{}{}:
		return func() { <-mine.turn; l.left(k, mine) }, nil
	case <-ctx.Done():
		l.left(k, mine)
		return nil, &failure{kind: engine.ErrUnreachable, cause: engine.Ended(ctx)}
	}
}

func (l *lines) left(k crdt.Key, mine *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mine.n--; mine.n == 0 {
		delete(l.all, k)
	}
}
