package replica

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// A wire is a connection with a goroutine for each direction, and a loop that
// owns the state machine of this end. Only the loop touches the machine; others
// hand it functions to run.
type wire struct {
	conn    net.Conn
	silence time.Duration
	in      chan arrival
	out     chan []byte // taken only when the last write is through
	failed  chan error  // of the writer
	events  chan func() error
	gated   chan func() error // of the log, that wait for room in the window
	slow    chan func() error // of scans, that wait for it too
	wg      sync.WaitGroup    // reader, writer and all who hand in functions
}

type arrival struct {
	frame Frame
	size  int
	err   error
}

func newWire(conn net.Conn, silence time.Duration) *wire {
	return &wire{
		conn: conn, silence: silence,
		in: make(chan arrival), out: make(chan []byte), failed: make(chan error, 1),
		events: make(chan func() error), gated: make(chan func() error), slow: make(chan func() error),
	}
}

// send writes one frame before the writer has started.
func (w *wire) send(f Frame) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.silence)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if _, err := w.conn.Write(AppendFrame(nil, f)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// hello reads the other end's first frame, or gives up when ctx ends.
func (w *wire) hello(ctx context.Context, from *bufio.Reader) (Hello, error) {
	defer context.AfterFunc(ctx, func() { _ = w.conn.Close() })() // wakes the read
	if err := w.conn.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
		return Hello{}, fmt.Errorf("read hello: %w", err)
	}
	f, _, err := ReadFrame(from)
	if err != nil {
		return Hello{}, err
	}
	switch f := f.(type) {
	case Hello:
		return f, nil
	case Goodbye:
		return Hello{}, fmt.Errorf("%w: %q", ErrGoodbye, f.Reason)
	}
	return Hello{}, fmt.Errorf("%w: %T before hello", ErrFrame, f)
}

// start begins to read and to write. Both end when ctx does.
func (w *wire) start(ctx context.Context, from *bufio.Reader) {
	w.wg.Go(func() { w.read(ctx, from) })
	w.wg.Go(func() { w.write(ctx) })
}

// stop ends the connection and returns when all its goroutines are gone; their
// context must have ended.
func (w *wire) stop() {
	_ = w.conn.Close() // nothing is left to be written
	w.wg.Wait()
}

func (w *wire) read(ctx context.Context, from *bufio.Reader) {
	for {
		err := w.conn.SetReadDeadline(time.Now().Add(w.silence))
		var a arrival
		if err == nil {
			a.frame, a.size, err = ReadFrame(from)
		}
		a.err = err
		select {
		case <-ctx.Done():
			return
		case w.in <- a:
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-w.out:
			err := w.conn.SetWriteDeadline(time.Now().Add(w.silence))
			if err == nil {
				_, err = w.conn.Write(b)
			}
			if err != nil {
				w.failed <- fmt.Errorf("write frames: %w", err)
				return
			}
		}
	}
}

// do has the loop run f and returns when it has; without, if ctx ends first.
func (w *wire) do(ctx context.Context, to chan func() error, f func() error) error {
	done := make(chan struct{})
	run := func() error {
		defer close(done)
		return f()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case to <- run:
		<-done
		return nil
	}
}

// bye tells the other end why the link ends, if that goes quickly.
func (w *wire) bye(err error) {
	const patience = 100 * time.Millisecond // more would hold up the next link
	if w.conn.SetWriteDeadline(time.Now().Add(patience)) == nil {
		_, _ = w.conn.Write(AppendFrame(nil, Goodbye{Reason: err.Error()})) // the link ends anyway
	}
}
