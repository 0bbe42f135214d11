package sse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// A Stream is one reader's. After an error it writes nothing more. It is for one goroutine.
type Stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	most time.Duration
	err  error
}

// Begin sets the headers of a stream. Each write may take most: a reader that stops reading
// would keep its seat for ever otherwise.
func Begin(w http.ResponseWriter, most time.Duration) *Stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return &Stream{w: w, rc: http.NewResponseController(w), most: most}
}

// Event writes an event with v in JSON; without an id the last one that the reader was told
// stays.
func (s *Stream) Event(name, id string, v any) {
	b, err := json.Marshal(v) // has no line ends
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("event %s: %w", name, err)
	}
	if id != "" {
		s.put("id: %s\n", id)
	}
	s.put("event: %s\ndata: %s\n\n", name, b)
}

// Comment writes a line that is no event: it keeps the connection alive.
func (s *Stream) Comment(text string) { s.put(": %s\n\n", text) }

// Retry tells the reader how long to wait before it comes again.
func (s *Stream) Retry(after time.Duration) { s.put("retry: %d\n\n", after.Milliseconds()) }

func (s *Stream) put(format string, args ...any) {
	if s.err != nil {
		return
	}
	if s.err = s.rc.SetWriteDeadline(time.Now().Add(s.most)); s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

// Flush sends what was written, and returns the first error since Begin.
func (s *Stream) Flush() error {
	if s.err == nil {
		s.err = s.rc.Flush()
	}
	return s.err
}
