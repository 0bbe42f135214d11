package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without ports: the clock of a synctest bubble moves only
// when all wait for each other, and nobody can tell that of a real connection.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// served starts a server of src; it and its connections end with the test.
func served(t *testing.T, src Source) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: Handler(src, quiet()), ReadHeaderTimeout: time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(p) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		synctest.Wait()
	})
	return p
}

// watcher is one client of the event stream.
type watcher struct {
	t    *testing.T
	conn net.Conn
	body *bufio.Reader
	code int
}

// watchAt opens the stream; lastID is what a browser sends when it comes back.
func watchAt(t *testing.T, p *pipes, lastID string) *watcher {
	t.Helper()
	near, far := net.Pipe()
	p.conns <- far
	t.Cleanup(func() { _ = near.Close() }) // a pipe's Close has no error

	// Without a deadline a test that waits for what never comes would not end.
	if err := near.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	head := "GET /api/events HTTP/1.1\r\nHost: localhost:7070\r\n"
	if lastID != "" {
		head += "Last-Event-ID: " + lastID + "\r\n"
	}
	if _, err := io.WriteString(near, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(near), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{t: t, conn: near, body: bufio.NewReader(r.Body), code: r.StatusCode}
}

// next returns the next block of the stream, without the empty line after it.
func (w *watcher) next() (string, error) {
	var block strings.Builder
	for {
		line, err := w.body.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\n" {
			return block.String(), nil
		}
		block.WriteString(line)
	}
}

// until returns the next block that has the mark.
func (w *watcher) until(mark string) string {
	w.t.Helper()
	for {
		block, err := w.next()
		if err != nil {
			w.t.Fatalf("stream ended before %q: %v", mark, err)
		}
		if strings.Contains(block, mark) {
			return block
		}
	}
}

// event returns the next event, whose id must be its Seq.
func (w *watcher) event() Event {
	w.t.Helper()
	block := w.until("event: event\n")
	var e Event
	_, data, _ := strings.Cut(block, "data: ")
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		w.t.Fatalf("event %q: %v", block, err)
	}
	if id := fmt.Sprintf("id: %d\n", e.Seq); !strings.HasPrefix(block, id) {
		w.t.Errorf("event %q, want it to begin with %q", block, id)
	}
	return e
}

func TestStreamBeginsWithTheStateAndKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchAt(t, served(t, newFake()), "")
		if got, err := w.next(); err != nil || got != "retry: 1000\n" {
			t.Fatalf("first block = %q, %v; want retry", got, err)
		}
		start := time.Now()
		for i := range 5 {
			block, err := w.next()
			if err != nil || !strings.HasPrefix(block, "event: state\ndata: {") {
				t.Fatalf("block %d = %q, %v; want a state", i, block, err)
			}
		}
		if got, want := time.Since(start), 4*statePeriod; got != want {
			t.Errorf("five states took %v, want %v", got, want)
		}
	})
}

func TestStreamSendsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchAt(t, served(t, newFake()), "")
		start := time.Now()
		for range 2 {
			w.until(": heartbeat\n")
		}
		if got, want := time.Since(start), 2*heartbeatPeriod; got != want {
			t.Errorf("two heartbeats took %v, want %v", got, want)
		}
	})
}

func TestStreamBringsEventsAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := watchAt(t, served(t, f), "")
		w.until("event: state\n")
		f.tell(KindLogin, "user 3f9a logged in", "user 77b0 logged in")
		start := time.Now()
		for seq := uint64(1); seq <= 2; seq++ {
			if e := w.event(); e.Seq != seq || e.Kind != KindLogin {
				t.Errorf("event = %+v, want login %d", e, seq)
			}
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("events took %v, want no wait", got)
		}
	})
}

func TestStreamResumes(t *testing.T) {
	for _, c := range []struct {
		name, lastID string
		first        uint64
	}{
		{"a new watcher sees the latest", "", 250 - eventBacklog + 1},
		{"one that comes back goes on", "240", 241},
		{"from the start", "0", 1},
		{"an id of an earlier run begins anew", "9000", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.tell(KindWrite, make([]string, 250)...)
				w := watchAt(t, served(t, f), c.lastID)
				for seq := c.first; seq <= 250; seq++ {
					if e := w.event(); e.Seq != seq {
						t.Fatalf("Last-Event-ID %q: event %d, want %d", c.lastID, e.Seq, seq)
					}
				}
			})
		})
	}
}

func TestStreamRefusesIdsThatAreNone(t *testing.T) {
	for _, id := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		r, body := call(t, newFake(), "GET", "/api/events", "", "Last-Event-ID", id)
		wantProblem(t, "Last-Event-ID "+id, r, body, http.StatusBadRequest, id)
	}
}

// TestStreamNeedsDeadlines uses a ResponseWriter that has none.
func TestStreamNeedsDeadlines(t *testing.T) {
	r, body := call(t, newFake(), "GET", "/api/events", "")
	wantProblem(t, "a stream without deadlines", r, body, http.StatusInternalServerError, "cannot stream")
}

func TestSlowWatcherIsDroppedAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := served(t, f)
		slow, quick := watchAt(t, p, ""), watchAt(t, p, "")
		f.tell(KindWrite, "one")
		if e := slow.event(); e.Seq != 1 {
			t.Fatalf("event = %+v, want 1", e)
		}
		// slow reads no more. It costs the others nothing.
		start := time.Now()
		for seq := uint64(2); seq <= 20; seq++ {
			f.tell(KindWrite, "more")
			for quick.event().Seq < seq {
			}
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("the quick watcher waited %v for the slow one, want 0", got)
		}
		go func() { _, _ = io.Copy(io.Discard, quick.conn) }() // ends with the connection
		time.Sleep(statePeriod + streamWriteTimeout + time.Second)
		// What was written before is still to be read, and then comes the end.
		if _, err := io.Copy(io.Discard, slow.conn); err != nil {
			t.Errorf("slow watcher: %v, want the end of the connection", err)
		}
		again := watchAt(t, p, "1")
		for seq := uint64(2); seq <= 20; seq++ {
			if e := again.event(); e.Seq != seq {
				t.Fatalf("resumed at event %d, want %d", e.Seq, seq)
			}
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := served(t, newFake())
		var first *watcher
		for i := range maxStreams {
			w := watchAt(t, p, "")
			if w.code != 200 {
				t.Fatalf("watcher %d = %d, want 200", i+1, w.code)
			}
			if first == nil {
				first = w
			}
		}
		if w := watchAt(t, p, ""); w.code != http.StatusServiceUnavailable {
			t.Errorf("watcher %d = %d, want %d", maxStreams+1, w.code, http.StatusServiceUnavailable)
		}
		if err := first.conn.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if w := watchAt(t, p, ""); w.code != 200 {
			t.Errorf("watcher after one left = %d, want 200", w.code)
		}
	})
}

func TestStreamEndsWithItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := watchAt(t, served(t, f), "")
		f.end()
		if _, err := io.Copy(io.Discard, w.body); err != nil {
			t.Errorf("stream after its source ended: %v, want a clean end", err)
		}
	})
}

func TestPullStopsAtASourceThatSpins(t *testing.T) {
	err := pull(t.Context(), spinning{}, 7, nil)
	if err == nil || !strings.Contains(err.Error(), "after 7") {
		t.Errorf("pull of no events = %v, want an error that says after what", err)
	}
}

// spinning breaks the promise of Source.Events.
type spinning struct{ Source }

func (spinning) Events(context.Context, uint64) ([]Event, error) { return nil, nil }
