package feed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A board is a source, as a node has one.
type board struct {
	mu      sync.Mutex // guards what follows
	view    View
	changed chan struct{}
	doubts  bool
}

func newBoard(v View) *board { return &board{view: v, changed: make(chan struct{})} }

func (b *board) Latest() (View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

func (b *board) Current() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.doubts
}

func (b *board) doubt(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubts = on
}

func (b *board) put(v View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view = v
	close(b.changed)
	b.changed = make(chan struct{})
}

// at returns the View of an epoch and an index.
func at(epoch, index uint64) View {
	return View{Deployment: "shop", Epoch: epoch, Index: index, Primary: "west"}
}

// hosts are hosts without a network, in virtual time: http://127.0.0.n leads to the n-th.
type hosts struct {
	mu    sync.Mutex // guards what follows
	by    map[string]http.Handler
	asked map[string][]time.Time
	conns []net.Conn
	work  sync.WaitGroup
}

// newHosts returns hosts that nobody answers on. They end with stop.
func newHosts() *hosts {
	return &hosts{by: map[string]http.Handler{}, asked: map[string][]time.Time{}}
}

var errNobody = errors.New("connection refused")

// dial connects to a host.
func (h *hosts) dial(_ context.Context, _, addr string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[addr] = append(h.asked[addr], time.Now())
	handler := h.by[addr]
	if handler == nil {
		return nil, errNobody
	}
	in, out := net.Pipe()
	h.conns = append(h.conns, in)
	l := &one{conn: in, done: make(chan struct{})}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			l.end()
		}
	}}
	h.work.Go(func() { _ = server.Serve(l) }) // until its connection ends
	return out, nil
}

// up has a host answer with a handler; nil: it is gone, and all connections with it.
func (h *hosts) up(addr string, handler http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[addr+":80"] = handler
	if handler == nil {
		for _, c := range h.conns {
			_ = c.Close() // of a pipe, never fails
		}
		h.conns = nil
	}
}

func (h *hosts) dials(addr string) []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[addr+":80"]
}

func (h *hosts) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}}
}

// one is a listener of one connection.
type one struct {
	mu   sync.Mutex // guards conn
	conn net.Conn
	once sync.Once
	done chan struct{}
}

func (l *one) end() { l.once.Do(func() { close(l.done) }) }

func (l *one) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *one) Close() error   { l.end(); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// told is a log, and what it was told at warning or above.
type told struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (l *told) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}

// follow follows until the end of the test.
func follow(t *testing.T, c Config) *Client {
	t.Helper()
	f, err := Follow(t.Context(), c)
	if err != nil {
		t.Fatalf("Follow = %v, want nil", err)
	}
	t.Cleanup(func() { _ = f.Close() }) // never fails
	return f
}

// has wants the newest View to be one.
func (f *Client) has(t *testing.T, want View) {
	t.Helper()
	if got, ok := f.Latest(); !ok || !equal(got, want) {
		t.Errorf("Latest = %+v, %v, want %+v", got, ok, want)
	}
}

// among returns what has f run among hosts, in a bubble.
func among(f func(t *testing.T, h *hosts)) func(t *testing.T) {
	return func(t *testing.T) {
		h := newHosts()
		t.Cleanup(func() { // after the clients
			h.up(nearH, nil)
			h.up(farH, nil)
			h.work.Wait()
		})
		f(t, h)
	}
}
