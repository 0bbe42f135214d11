package valkey

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// retryLeast and retryMost bound the pause before a server that refused is asked
	// again.
	retryLeast = 2 * time.Millisecond
	retryMost  = 50 * time.Millisecond
	// retryFor is how long it is asked again, if the context does not end before: a
	// promotion by somebody who watches takes less, and a router has other Regions.
	retryFor = 250 * time.Millisecond
)

const (
	// rereads is how often the client asks again for what is only read where a connection is
	// lost or none can be made: for two seconds or three, if the context does not end before.
	rereads = 25
	// rereadLeast and rereadMost bound the pause before that.
	rereadLeast = 10 * time.Microsecond
	rereadMost  = 250 * time.Millisecond
)

// rereadAfter returns how long the client waits until it asks again for what is only read, which
// got no answer in so many tries; negative: it does not. One that is silent has had its time: it
// is asked once more, as another connection may lead elsewhere.
//
// It pins cmd: else valkey-go 1.0.79 gives its memory to another command when it is answered,
// and the connection that was lost may still be sending it. Of several that are sent together it
// names one, so those are pinned when they are made.
func rereadAfter(tries int, cmd valkey.Completed, err error) time.Duration {
	late, is := errors.AsType[net.Error](err)
	if silent := is && late.Timeout(); tries > rereads || silent && tries > 1 {
		return -1
	}
	_ = cmd.Pin()
	d := pause.Doubled(rereadLeast, rereadMost, tries)
	return d/2 + pause.Upto(d)/2
}

// call calls a function.
func (e *Engine) call(ctx context.Context, function string, keys, args []string) valkey.ValkeyResult {
	return e.do(ctx, func() valkey.Completed {
		return e.client().B().Fcall().Function(function).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
	})
}

// do asks the server what build says. A refusal that says that nothing was done and
// that may pass is mended and tried again, for a while: functions that are missing
// are loaded, and where a primary has become a replica the connections are made
// anew, wherever the name leads now.
func (e *Engine) do(ctx context.Context, build func() valkey.Completed) valkey.ValkeyResult {
	res := e.ask(ctx, build())
	if res.Error() == nil {
		return res
	}
	for r := retry(ctx); ; res = e.ask(ctx, build()) {
		if may, mended := e.mends(ctx, res.Error()); !may || !r.again(ctx, mended) {
			return res
		}
	}
}

// ask asks the server once and waits no longer than ctx. The client waits for whoever
// is connecting, however long that one does; so while it is not known that there is a
// connection, it is left waiting by itself. It ends by its own timeouts, within
// three seconds.
func (e *Engine) ask(ctx context.Context, cmd valkey.Completed) valkey.ValkeyResult {
	if e.connected.Load() {
		return e.noted(e.client().Do(ctx, cmd))
	}
	client, answer := e.client(), make(chan valkey.ValkeyResult, 1)
	if !e.aside(func() { answer <- client.Do(ctx, cmd) }) {
		return valkey.NewErrorResult(valkey.ErrClosing)
	}
	select {
	case res := <-answer:
		return e.noted(res)
	case <-ctx.Done():
		return valkey.NewErrorResult(ctx.Err())
	}
}

// dial connects to a server. Nobody else waits for that beyond his own time.
func (e *Engine) dial(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	e.connected.Store(false)
	switch {
	case len(e.config.Targets) > 0:
		return e.config.dial(ctx, addr, d, t)
	case t != nil:
		return (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, "tcp", addr)
	}
	return d.DialContext(ctx, "tcp", addr)
}

// aside does something that Close waits for, unless the engine is closed.
func (e *Engine) aside(do func()) bool {
	e.starting.Lock()
	defer e.starting.Unlock()
	if e.isClosed() {
		return false
	}
	e.work.Go(do)
	return true
}

// noted notes whether an answer came over a connection.
func (e *Engine) noted(res valkey.ValkeyResult) valkey.ValkeyResult {
	if there := res.NonValkeyError() == nil; there != e.connected.Load() {
		e.connected.Store(there)
	}
	return res
}

// mends reports whether asking again may help after err, and does what helps. Mended:
// it did something, so there is nothing to wait for.
func (e *Engine) mends(ctx context.Context, err error) (may, mended bool) {
	reply, ok := errors.AsType[*valkey.ValkeyError](err)
	if !ok {
		return false, false
	}
	text := reply.Error()
	if strings.Contains(text, "Function not found") {
		err := e.load(ctx)
		return err == nil || errors.Is(err, engine.ErrNotPrimary), err == nil
	}
	switch kind, _, _ := strings.Cut(text, " "); kind {
	case "READONLY":
		if e.epoch.Load() != 0 {
			e.renewAside() // where there are leases, the caller knows of another writer
			return false, false
		}
		return true, e.link.renew(e.option())
	case "MOVED":
		mended := e.config.alone && e.showReplica(ctx)
		return mended, mended
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN":
		return true, false
	}
	return false, false
}

// showReplica tells a cluster's replica to show what it has, which it does not on a
// connection that has just been made, and reports whether it did. One that still
// refuses then has not got the slot.
func (e *Engine) showReplica(ctx context.Context) bool {
	now := time.Now().UnixNano()
	if told := e.readOnly.Load(); now-told < int64(renewEvery) || !e.readOnly.CompareAndSwap(told, now) {
		return false
	}
	return e.client().Do(ctx, e.client().B().Readonly().Build()).Error() == nil
}

// connect returns a client that has reached the server. The client's own dialling knows
// no context; what comes of it later is closed.
func connect(ctx context.Context, option valkey.ClientOption) (valkey.Client, error) {
	type made struct {
		client valkey.Client
		err    error
	}
	answer := make(chan made)
	go func() {
		client, err := valkey.NewClient(option)
		select {
		case answer <- made{client, err}:
		case <-ctx.Done():
			if err == nil {
				client.Close()
			}
		}
	}()
	select {
	case m := <-answer:
		if m.err != nil {
			return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, m.err)
		}
		return m.client, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
}

// client returns the client there is.
func (e *Engine) client() valkey.Client { return *e.link.now.Load() }

// A retrying bounds how often something is tried again.
type retrying struct {
	until time.Time
	pause time.Duration
}

func retry(ctx context.Context) *retrying {
	r := &retrying{until: time.Now().Add(retryFor), pause: retryLeast}
	if end, ok := ctx.Deadline(); ok && end.Before(r.until) {
		r.until = end
	}
	return r
}

// again waits, unless something was mended, and reports whether there is time for
// another try.
func (r *retrying) again(ctx context.Context, mended bool) bool {
	if mended {
		return ctx.Err() == nil && time.Now().Before(r.until)
	}
	if time.Now().Add(r.pause).After(r.until) {
		return false
	}
	d := r.pause
	r.pause = min(2*d, retryMost)
	return pause.For(ctx, d)
}

// renewEvery is how often connections may be made anew: whoever moves the name is to
// have time to.
const renewEvery = 100 * time.Millisecond

// A link is the client there is, which can be replaced: valkey-go keeps a connection
// as long as it answers, be it READONLY, whatever the name leads to now.
type link struct {
	now     atomic.Pointer[valkey.Client]
	mu      sync.Mutex // guards what follows; one at a time makes a client
	renewed time.Time
	closed  bool
	left    []leaving
}

// A leaving is a client that was replaced, and goes on with what is under way.
type leaving struct {
	client valkey.Client
	timer  *time.Timer // closes it
}

// renew replaces the client by one whose connections are made now, unless that was
// done just now, and reports whether it did. What is under way on the old one is let
// be until it is over.
func (l *link) renew(option valkey.ClientOption) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || time.Since(l.renewed) < renewEvery {
		return false
	}
	l.renewed = time.Now()
	next, err := valkey.NewClient(option)
	if err != nil {
		return false // the one there is says READONLY, which is better than nothing
	}
	old := *l.now.Swap(&next)
	if len(l.left) == mostLeaving {
		l.left[0].timer.Stop()
		l.left[0].client.Close()
		l.left = l.left[1:]
	}
	l.left = append(l.left, leaving{old, time.AfterFunc(leaveFor, old.Close)})
	return true
}

// leaveFor is how long a client that was replaced goes on with what is under way.
const leaveFor = time.Second

// mostLeaving bounds the clients that were replaced and are remembered.
const mostLeaving = int(leaveFor/renewEvery) + 1

// close closes the client, and those that were replaced.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	(*l.now.Load()).Close()
	for _, c := range l.left {
		c.timer.Stop()
		c.client.Close() // again, where the timer was first: that does nothing
	}
}
