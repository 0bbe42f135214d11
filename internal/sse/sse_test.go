package sse

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestStream(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := Begin(w, time.Minute)
		s.Retry(1500 * time.Millisecond)
		s.Comment("hello")
		s.Event("state", "", map[string]int{"a": 1})
		s.Event("event", "7", "two\nlines")
		if err := s.Flush(); err != nil {
			t.Errorf("Flush = %v", err)
		}
		s.Event("event", "8", func() {}) // has no JSON
		s.Comment("after an error")
		if err := s.Flush(); err == nil || !strings.Contains(err.Error(), "event event: json") {
			t.Errorf("Flush = %v, want what could not be written", err)
		}
	}))
	defer server.Close()
	r, err := http.Get(server.URL) //nolint:noctx // the server ends it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // it was read
	got, err := io.ReadAll(r.Body)
	const want = "retry: 1500\n\n: hello\n\nevent: state\ndata: {\"a\":1}\n\nid: 7\nevent: event\ndata: \"two\\nlines\"\n\n"
	if err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
	if r.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.Header)
	}
}

// A reader that reads nothing is let go of.
func TestSlowReader(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := Begin(w, 50*time.Millisecond)
		for text := strings.Repeat("x", 1<<20); ; s.Event("event", "", text) {
			if err := s.Flush(); err != nil {
				close(ended)
				return
			}
		}
	}))
	defer server.Close()
	r, err := http.Get(server.URL) //nolint:noctx // the server ends it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // nothing is read
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("a reader that reads nothing keeps its seat")
	}
}
