package events

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A reader is a connection that keeps what is written. While it is stuck, nothing can be.
type reader struct {
	mu     sync.Mutex
	text   strings.Builder
	header http.Header
	status int
	stuck  chan struct{} // nil: it reads
	until  time.Time
}

func (r *reader) Header() http.Header { return r.header }

func (r *reader) WriteHeader(status int) { r.status = status }

func (r *reader) Write(b []byte) (int, error) {
	if r.stuck != nil {
		select {
		case <-r.stuck:
		case <-time.After(time.Until(r.until)):
			return 0, context.DeadlineExceeded
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *reader) FlushError() error { return nil }

func (r *reader) SetWriteDeadline(at time.Time) error { r.until = at; return nil }

// read returns what has come since it was last called.
func (r *reader) read() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.text.Reset()
	return r.text.String()
}

// open begins a stream, and returns what is closed when it has ended.
func open(ctx context.Context, h http.Handler, path string, r *reader) <-chan struct{} {
	q := httptest.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if id, ok := strings.CutPrefix(path, "/id="); ok {
		q.Header.Set("Last-Event-ID", id)
	}
	done := make(chan struct{})
	go func() { h.ServeHTTP(r, q); close(done) }()
	return done
}

func ids(text string) (out []string) {
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "id: "); ok {
			out = append(out, id)
		}
	}
	return out
}

func TestStreamBeginsWhereItIsAsked(t *testing.T) {
	for path, want := range map[string]string{
		"/?after=2": "3 4 5", "/?after=5": "5", "/": "5", "/?after=0": "1 2 3 4 5", "/id=3": "4 5", "/?after=99": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRing()
			r.tell("mode", "mode", "mode", "mode")
			ctx, cancel := context.WithCancel(t.Context())
			to := &reader{header: http.Header{}}
			done := open(ctx, Stream("shop", r.source, slog.New(slog.DiscardHandler)), path, to)
			synctest.Wait()
			r.tell("alarm")
			synctest.Wait()
			text := to.read()
			want := strings.Fields(want)
			if path == "/?after=5" {
				want = nil // they have it
			}
			if got := ids(text); strings.Join(got, " ") != strings.Join(want, " ") || strings.Contains(text, "event: missed") {
				t.Errorf("%s: events %v, want %v: %s", path, got, want, text)
			}
			time.Sleep(14 * time.Second)
			synctest.Wait()
			if beats := strings.Count(to.read(), ": heartbeat\n\n"); beats != 2 {
				t.Errorf("%s: %d heartbeats in 14 s, want 2", path, beats)
			}
			cancel()
			<-done
		})
	}
}

func TestStreamTellsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing()
		r.most = 2
		r.tell("mode", "mode", "mode", "mode", "mode")
		ctx, cancel := context.WithCancel(t.Context())
		to := &reader{header: http.Header{}}
		done := open(ctx, Stream("shop", r.source, slog.New(slog.DiscardHandler)), "/?after=1", to)
		synctest.Wait()
		cancel()
		<-done
		text := to.read()
		const missed = "id: 3\nevent: missed\n" + `data: {"from":2,"to":3,"why":"these events are no longer kept","next":"read what follows"}` + "\n\nid: 4\nevent: event\n"
		if !strings.Contains(text, missed) || strings.Join(ids(text), " ") != "3 4 5" {
			t.Errorf("the stream was %s", text)
		}
	})
}

// A reader that the ring has gone past is told so, and cut off.
func TestSlowReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing()
		r.most = 3
		r.tell("mode")
		to := &reader{header: http.Header{}}
		h := Stream("shop", r.source, slog.New(slog.DiscardHandler))
		done := open(t.Context(), h, "/?after=0", to)
		synctest.Wait()
		to.stuck = make(chan struct{})
		r.tell("mode")
		synctest.Wait()
		r.tell("mode", "mode", "mode", "mode")
		close(to.stuck)
		<-done
		text := to.read()
		if got := strings.Join(ids(text), " "); got != "1 2" || !strings.HasSuffix(text,
			"event: cut\n"+`data: {"from":3,"to":3,"why":"the reader is too slow: events went past it","next":"ask again with after=2"}`+"\n\n") {
			t.Errorf("the stream was %s", text)
		}
	})
}

// A reader that does not read at all is cut off in its time, and its seat is free again.
func TestStuckReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing()
		to := &reader{header: http.Header{}, stuck: make(chan struct{})}
		begun := time.Now()
		<-open(t.Context(), Stream("shop", r.source, slog.New(slog.DiscardHandler)), "/", to)
		if took := time.Since(begun); took != writeTime {
			t.Errorf("it was cut off after %v, want %v", took, writeTime)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Stream("shop", newRing().source, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var open1 []<-chan struct{}
		for range maxStreams {
			open1 = append(open1, open(ctx, h, "/", &reader{header: http.Header{}}))
		}
		synctest.Wait()
		late := &reader{header: http.Header{}}
		<-open(ctx, h, "/", late)
		if late.status != http.StatusServiceUnavailable || late.header.Get("Retry-After") == "" {
			t.Errorf("one more has status %d, want 503 and when to come again", late.status)
		}
		cancel()
		for _, done := range open1 {
			<-done
		}
		wrong := &reader{header: http.Header{}}
		<-open(t.Context(), h, "/?after=-1", wrong)
		if wrong.status != http.StatusBadRequest {
			t.Errorf("after=-1 has status %d, want 400", wrong.status)
		}
	})
}
