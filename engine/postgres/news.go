package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/internal/pause"
)

// followers are those who wait for news of the log in this process.
type followers struct {
	mu  sync.Mutex // guards who; nothing is called under it
	who []chan struct{}
}

// join returns what holds one when there may be news.
func (fs *followers) join() chan struct{} {
	f := make(chan struct{}, 1)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.who = append(fs.who, f)
	return f
}

func (fs *followers) leave(f chan struct{}) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, g := range fs.who {
		if g == f {
			fs.who = append(fs.who[:i:i], fs.who[i+1:]...)
			return
		}
	}
}

func (fs *followers) wake() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.who {
		nudge(f)
	}
}

// nudge puts one into a channel that holds one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wake tells who follows that the log grew: in this process at once, in others by tell.
func (e *Engine) wake() {
	e.followers.wake()
	nudge(e.news)
}

const (
	// tellMost bounds one notification.
	tellMost = time.Second
	// tellEvery is the least time between two: one tells of all that was written before.
	tellEvery = time.Millisecond
)

// tell notifies other processes of what is written here until ctx ends. That has a
// transaction of its own: PostgreSQL commits those that notify one after the other, and
// writes would wait for each other's disk. What is not told is seen within newsWait.
func (e *Engine) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.news:
		}
		e.notify(ctx)
		if !pause.For(ctx, tellEvery) {
			return
		}
	}
}

// notify sends one notification, whose disk nobody waits for.
func (e *Engine) notify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tellMost)
	defer cancel()
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return
	}
	defer conn.Release()
	_, _ = conn.Conn().PgConn().Exec(ctx, e.text.notify).ReadAll() // else newsWait passes
}

// listenFrom begins to listen for news of other processes, unless that was begun.
func (e *Engine) listenFrom(ctx context.Context) {
	e.starting.Lock()
	defer e.starting.Unlock()
	if e.listens || e.isClosed() {
		return
	}
	e.listens = true
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.work.Go(func() {
		defer cancel()
		e.listen(ctx)
	})
	e.work.Go(func() {
		defer cancel()
		<-e.closed
	})
}

// listen wakes followers when another process tells of news, until ctx ends.
func (e *Engine) listen(ctx context.Context) {
	for wait := pollWait; ; wait = min(2*wait, newsWait) {
		if e.listenOnce(ctx) {
			wait = pollWait
		}
		e.listening.Store(false)
		if !pause.For(ctx, wait) {
			return
		}
	}
}

// listenOnce listens over one connection, which is not of the pool, until that ends. It
// reports whether it began to.
func (e *Engine) listenOnce(ctx context.Context) (began bool) {
	config := e.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return false
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackMost)
		defer cancel()
		_ = conn.Close(ctx) // nothing is lost with it
	}()
	if _, err := conn.Exec(ctx, e.text.listen); err != nil {
		return false
	}
	e.listening.Store(true)
	e.followers.wake() // of what was told before
	for {
		alive, cancel := context.WithTimeout(ctx, connLifetime)
		_, err := conn.WaitForNotification(alive)
		cancel()
		if err != nil {
			return true
		}
		e.followers.wake()
	}
}
