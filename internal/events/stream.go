package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/sse"
)

const (
	// heartbeatEvery is how often a stream says that it is alive.
	heartbeatEvery = 5 * time.Second
	// writeTime is how long a reader may leave its buffers full. Then it is cut off,
	// without a word: there is no room for one.
	writeTime = 10 * time.Second
	// maxStreams bounds the streams of one member. The next are told to come later.
	maxStreams = 64
	// batch is how many events are written between two looks at the ring.
	batch = 32
)

// The names of what a stream sends. KindCut is the last one, and its data says why.
const (
	nameEvent  = "event"
	nameMissed = "missed"
	nameCut    = "cut"
)

// A Notice is the data of what a stream says of itself.
type Notice struct {
	// From and To are the numbers of events that can't be had any more.
	From uint64 `json:"from,omitempty"`
	To   uint64 `json:"to,omitempty"`
	Why  string `json:"why"`
	Next string `json:"next"` // what to do
}

// Stream serves events to whoever asks by GET, as server-sent events: those after the
// number in ?after=, or in the header Last-Event-ID, which goes first; then those that
// come. Without a number it begins with the next. Events that are gone are told of by one
// called "missed". A reader that is so slow that the ring goes past it is told so by one
// called "cut", the last. Who may ask is for whoever mounts it to say.
func Stream(deployment string, source Source, log *slog.Logger) http.Handler {
	seats := make(chan struct{}, maxStreams)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ring, _ := source()
		seq, err := startOf(r, ring)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case seats <- struct{}{}:
			defer func() { <-seats }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many read here: ask another member", http.StatusServiceUnavailable)
			return
		}
		s := &stream{Stream: sse.Begin(w, writeTime), deployment: deployment, source: source, seq: seq}
		if err := s.serve(r.Context()); err != nil && r.Context().Err() == nil {
			log.Info("a stream of events ends", "err", err)
		}
	})
}

// startOf returns the number of the event after which a stream begins.
func startOf(r *http.Request, ring []ledger.Event) (uint64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		if len(ring) == 0 {
			return 0, nil
		}
		return ring[len(ring)-1].Seq, nil
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errors.New("after: want the number of the last event that was seen, or nothing")
	}
	return seq, nil
}

// A stream is one reader.
type stream struct {
	*sse.Stream
	deployment string
	source     Source
	seq        uint64 // the last one that was sent, or that is not wanted
	begun      bool   // it was caught up with once, or is on the way: what it misses later is its own fault
}

// errSlow says that the ring went past the reader.
var errSlow = errors.New("the reader is too slow")

// serve writes until ctx ends or the reader is gone or too slow.
func (s *stream) serve(ctx context.Context) error {
	beats := time.NewTicker(heartbeatEvery)
	defer beats.Stop()
	s.Comment("events of " + s.deployment)
	for {
		ring, changed := s.source()
		more, err := s.send(ring)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-beats.C:
			s.Comment("heartbeat")
		}
	}
}

// send writes some of what is newer than what was sent, and says whether there is more.
func (s *stream) send(ring []ledger.Event) (more bool, err error) {
	newer, missed := after(ring, s.seq)
	switch {
	case missed > 0 && s.begun:
		s.Event(nameCut, "", Notice{
			From: s.seq + 1, To: s.seq + missed, Why: errSlow.Error() + ": events went past it",
			Next: fmt.Sprintf("ask again with after=%d", s.seq),
		})
		return false, errors.Join(errSlow, s.Flush())
	case missed > 0:
		s.Event(nameMissed, strconv.FormatUint(s.seq+missed, 10), Notice{
			From: s.seq + 1, To: s.seq + missed, Why: "these events are no longer kept", Next: "read what follows",
		})
	}
	for _, e := range newer[:min(len(newer), batch)] {
		s.Event(nameEvent, strconv.FormatUint(e.Seq, 10), MessageOf(s.deployment, e))
		s.seq = e.Seq
	}
	s.begun = true
	return len(newer) > batch, s.Flush()
}
