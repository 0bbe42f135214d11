package face

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// mostConns bounds the clients of a face; one more is closed at once.
const mostConns = 10000

// A Face listens and speaks as a node of a cluster for one server. Goroutines may share it.
type Face struct {
	server, password string
	places           map[string]place // of all commands that the server has
	listener         net.Listener
	running          sync.WaitGroup
	view             atomic.Pointer[view]

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[net.Conn]bool
}

// Listen begins to listen on loopback, for the server at an address whose default user has a
// password, or none. Ctx bounds the beginning alone. It fails if the server can't be asked
// which commands it has. Close ends it.
func Listen(ctx context.Context, server, password string) (*Face, error) {
	s, err := dialSide(ctx, server, password)
	if err != nil {
		return nil, fmt.Errorf("face of the server at %s: %w", server, err)
	}
	places, err := s.places()
	if err = errors.Join(err, s.conn.Close()); err != nil {
		return nil, fmt.Errorf("face of the server at %s: %w", server, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("face of the server at %s: %w", server, err)
	}
	f := &Face{server: server, password: password, places: places, listener: l, conns: map[net.Conn]bool{}}
	f.Show(Cluster{}, "")
	f.running.Go(func() { f.accept(context.WithoutCancel(ctx)) })
	return f, nil
}

// Addr returns host:port of where it listens.
func (f *Face) Addr() string { return f.listener.Addr().String() }

// Show says what the cluster is like from now on, and which node of it this is, by its ID.
// Before it is shown one, no key is anywhere.
func (f *Face) Show(c Cluster, me string) { f.view.Store(newView(c, me)) }

// Close ends the face and its connections and returns when they have ended.
func (f *Face) Close() error {
	err := f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for c := range f.conns {
		_ = c.Close() // whoever reads it notices
	}
	f.mu.Unlock()
	f.running.Wait()
	return err
}

func (f *Face) accept(ctx context.Context) {
	for {
		c, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client has gone again
		}
		f.running.Go(func() {
			defer f.drop(c)
			if f.hold(c) {
				f.serve(ctx, c)
			}
		})
	}
}

// hold counts a connection among those that Close closes. It returns false if the face is
// closed, or there are too many.
func (f *Face) hold(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.conns) >= mostConns {
		return false
	}
	f.conns[c] = true
	return true
}

func (f *Face) drop(c net.Conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	_ = c.Close() // a second time does nothing
}
