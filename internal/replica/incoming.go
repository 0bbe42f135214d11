package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// errEnded is the reason of a link that Close or a newer link of its origin ends.
var errEnded = errors.New("closed, or replaced by a newer link")

// Serve takes in the logs of peers that connect to l, until Close or the end of
// ctx; then it returns nil, with l closed and its links gone. It returns l's
// error if that fails before.
func (r *Replica) Serve(ctx context.Context, l net.Listener) error {
	ctx, leave := r.enter(ctx)
	defer leave()
	if ctx.Err() != nil {
		_ = l.Close()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept peers: %w", err)
		}
		r.wg.Go(func() { r.serveConn(ctx, conn) })
	}
}

func (r *Replica) serveConn(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	w := newWire(conn, r.cfg.Silence)
	defer w.stop()
	defer cancel()
	from := bufio.NewReaderSize(conn, frameTarget)
	hello, err := w.hello(ctx, from)
	if err == nil {
		err = proved(conn, hello.Region)
	}
	if err == nil && r.in[hello.Region] == nil {
		err = fmt.Errorf("%w: Region %d is no peer of Region %d", ErrFrame, hello.Region, r.here)
	}
	if err != nil {
		w.bye(err)
		r.cfg.Log.Warn("peer refused", "err", err)
		return
	}
	err = r.takeIn(ctx, cancel, w, from, hello.Region)
	if ctx.Err() == nil {
		w.bye(err)
		r.cfg.Log.Warn("link from origin is down", "origin", hello.Region, "err", err)
	}
}

// takeIn is one link from origin, after an older one has gone.
func (r *Replica) takeIn(ctx context.Context, cancel context.CancelFunc, w *wire, from *bufio.Reader, origin crdt.Region) error {
	done := make(chan struct{})
	defer close(done)
	in := r.in[origin] // the map does not change after New
	var want uint64
	var old chan struct{}
	r.update(func() {
		if in.cancel != nil {
			in.cancel()
		}
		old = in.done
		in.cancel, in.done = cancel, done
	})
	if old != nil {
		<-old // it ends by its context
	}
	r.update(func() {
		if in.anew {
			in.want, in.anew = everything, false
		}
		want = in.want
	})
	at, err := r.sink.Positions(ctx, origin)
	if err != nil {
		return fmt.Errorf("read positions of Region %d: %w", origin, err)
	}
	i := &incoming{r: r, w: w, in: in, rc: NewReceiver(r.here, origin, at, want, r.cfg.Limits)}
	w.start(ctx, from)
	err = i.loop(ctx)
	i.report(err)
	return err
}

// An incoming is one connection from an origin, and the Receiver that drives it.
type incoming struct {
	r  *Replica
	w  *wire
	in *inbound
	rc *Receiver
}

// loop owns the Receiver.
func (i *incoming) loop(ctx context.Context) error {
	tick := time.NewTicker(i.r.cfg.Limits.Redeliver / ticksPerTimeout)
	defer tick.Stop()
	i.r.update(func() { i.in.status.Connected = true })
	var pending []byte
	for {
		for work, due := i.rc.Work(); due; work, due = i.rc.Work() {
			i.w.wg.Go(func() { i.work(ctx, work) })
		}
		if pending == nil {
			pending = i.rc.Take()
		}
		out := i.w.out
		if pending == nil {
			out = nil
		}
		var err error
		select {
		case <-ctx.Done():
			i.w.bye(errEnded)
			return ctx.Err()
		case out <- pending:
			pending = nil
		case err = <-i.w.failed:
		case a := <-i.w.in:
			if err = a.err; err == nil {
				err = i.rc.Receive(i.r.now(), a.frame, a.size)
			}
			i.report(nil)
		case run := <-i.w.events:
			err = run()
			i.report(nil)
		case <-tick.C:
			err = i.rc.Tick(i.r.now())
		}
		if err != nil {
			return err
		}
	}
}

// work has the engine take in a batch or records, or compares.
//
// Path replicate 3/4: from Receiver.Receive; next Receiver.Done.
func (i *incoming) work(ctx context.Context, work Work) {
	if work.Digests != nil {
		i.compare(ctx, work.Digests)
		return
	}
	var res engine.Ingested
	var err error
	if work.Batch != nil {
		res, err = i.r.sink.Ingest(ctx, i.rc.origin, *work.Batch)
	}
	for _, rec := range users(work.Records) {
		if err = i.r.eng.Join(ctx, rec); err != nil {
			break
		}
	}
	_ = i.w.do(ctx, i.w.events, func() error { // ctx ended: the link has
		return i.rc.Done(i.r.now(), work, res, err)
	})
}

// compare scans what the origin has sent digests of.
func (i *incoming) compare(ctx context.Context, d *Digests) {
	folds := d.Folds()
	_, err := i.r.fold(ctx, folds, 0)          // the origin bounds them
	_ = i.w.do(ctx, i.w.events, func() error { // ctx ended: the link has
		return i.rc.Compared(folds, err)
	})
}

// users returns records with those of users first (R12): a session must not be
// seen before the revocations that end it.
func users(records []crdt.Record) []crdt.Record {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b crdt.Record) int { return int(b.Key.Kind()) - int(a.Key.Kind()) })
	return sorted
}

// report tells the Replica what has been heard.
func (i *incoming) report(err error) {
	succeeded, full := false, false
	i.r.update(func() {
		st := &i.in.status
		succeeded = i.rc.Counts().Successions > st.link.Successions
		st.At, st.HeardAt, st.OriginTime = i.rc.At(), max(st.HeardAt, i.rc.HeardAt()), max(st.OriginTime, i.rc.HeardOrigin())
		st.link = i.rc.Counts()
		i.in.want = i.rc.Want()
		full = i.r.full()
		if err != nil {
			st.past, st.link = st.past.plus(st.link), Heard{}
			st.Connected, st.LastError = false, err.Error()
		}
	})
	if succeeded {
		i.r.compareWith(i.rc.origin) // what its failover lost may be here
	}
	if full {
		select {
		case i.r.given <- struct{}{}:
		default: // it will be looked at
		}
	}
}
