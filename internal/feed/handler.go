package feed

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// beatEvery is between two beats.
	beatEvery = time.Second
	// lineTimeout bounds the sending of one line: whoever reads no faster is cut off,
	// and comes again.
	lineTimeout = 10 * time.Second
	// contentType is that of lines of JSON.
	contentType = "application/x-ndjson"
)

// A source is where a Handler has Views from.
type source interface {
	// Latest returns the newest View, the zero View if there is none yet, and what is
	// closed when there is a newer one.
	Latest() (View, <-chan struct{})
}

// A doubter is a source that knows whether it is in touch with those who agree. While it
// is not there are no beats: whoever follows it looks for a node that is.
type doubter interface {
	// Current reports whether the newest View is the newest there is, as far as can be
	// known.
	Current() bool
}

// Handler serves the Views of a source: at GET a stream of lines, the View there is at
// once, each change at once, several that come together as one, and a beat each second;
// with ?once the View alone, or status 503 if there is none yet. A source that also has
// Current() bool is silent while that is false. Who may ask is for whoever mounts it to
// say, and so is a bound of the streams; each costs a goroutine, and a line's bytes.
func Handler(s source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "ask by GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.URL.Query().Has("once") {
			serveOnce(w, s)
			return
		}
		w.Header().Set("Content-Type", contentType)
		out := stream{to: w, control: http.NewResponseController(w)}
		_ = out.serve(r.Context().Done(), s) // whoever read is gone, or too slow
	})
}

func serveOnce(w http.ResponseWriter, s source) {
	v, _ := s.Latest()
	line, err := v.Encode()
	if err != nil {
		http.Error(w, "there is no view yet: ask again in a moment, or another node", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(line) // whoever asked is gone
}

// A stream is one that is being served.
type stream struct {
	to      http.ResponseWriter
	control *http.ResponseController
	sent    View
	beats   uint64
}

// serve sends until done, or until a line can't be sent.
func (st *stream) serve(done <-chan struct{}, s source) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	if err := st.send(nil); err != nil { // that there is an answer is told at once
		return err
	}
	for {
		v, changed := s.Latest()
		if err := st.view(v); err != nil {
			return err
		}
		select {
		case <-done:
			return nil
		case <-changed:
		case <-tick.C:
			if d, ok := s.(doubter); ok && !d.Current() {
				continue
			}
			st.beats++
			if err := st.send(beatLine(st.beats)); err != nil {
				return err
			}
		}
	}
}

// view sends v if it is newer than what was sent. One that can't be encoded is the
// source's fault and ends the stream, so that somebody notices.
func (st *stream) view(v View) error {
	if v.Deployment == "" || st.sent.Deployment != "" && !v.Newer(st.sent) {
		return nil
	}
	line, err := v.Encode()
	if err != nil {
		return err
	}
	st.sent = v
	return st.send(line)
}

func (st *stream) send(line []byte) error {
	err := st.control.SetWriteDeadline(time.Now().Add(lineTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("bound the sending of a line: %w", err)
	}
	if _, err := st.to.Write(line); err != nil {
		return err
	}
	return st.control.Flush()
}
