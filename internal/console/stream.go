package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/sse"
)

const (
	// maxStreams bounds the pages that watch at once; the next is told so. One
	// browser opens at most six connections to a host, so this is more than two
	// browsers full.
	maxStreams = 16

	// statePeriod is between two states: quick enough to see a lag grow, slow
	// enough to read a figure.
	statePeriod = 500 * time.Millisecond

	// heartbeatPeriod keeps what stands between from closing a quiet stream. The
	// HTML standard (server-sent events, authoring notes) advises 15 seconds.
	heartbeatPeriod = 15 * time.Second

	// streamWriteTimeout is how long a client may leave its buffers full. One
	// that reads slower is dropped; it reconnects and resumes.
	streamWriteTimeout = 5 * time.Second

	// streamRetry is how long a browser waits before it reconnects.
	streamRetry = time.Second

	// eventBacklog is how many past events a new watcher is shown.
	eventBacklog = 100
)

// events streams the state and the events to one watcher. Nothing is queued
// for it here: the next events are asked for when the last ones are written.
func (c *console) events(w http.ResponseWriter, r *http.Request) {
	select {
	case c.seats <- struct{}{}:
		defer func() { <-c.seats }()
	default:
		c.refuse(w, http.StatusServiceUnavailable, "too many pages watch already", "close one of them")
		return
	}
	after, err := resumeAfter(r.Header.Get("Last-Event-ID"), c.src.State().LastEvent)
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error(), "leave Last-Event-ID out, or send the id of the last event seen")
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamWriteTimeout)); err != nil {
		// Without deadlines a client that stops reading would hold its seat for ever.
		c.log.Error("console stream has no write deadline", "err", err)
		c.refuse(w, http.StatusInternalServerError, "this server cannot stream", "see the log")
		return
	}

	s := sse.Begin(w, streamWriteTimeout)
	ctx, cancel := context.WithCancel(r.Context())
	batches, ended := make(chan []Event), make(chan error, 1)
	var pulling sync.WaitGroup
	pulling.Go(func() { ended <- pull(ctx, c.src, after, batches) })
	err = c.serve(ctx, s, batches, ended)
	cancel()
	pulling.Wait()
	if r.Context().Err() == nil {
		c.log.Info("console stream dropped", "err", err)
	}
}

// resumeAfter returns the event after which a stream begins. An id from beyond
// the newest event is of an earlier run, whose events are gone.
func resumeAfter(id string, newest uint64) (uint64, error) {
	if id == "" {
		return newest - min(newest, eventBacklog), nil
	}
	after, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("event id %q is no number of an event", id)
	}
	if after > newest {
		return 0, nil
	}
	return after, nil
}

// pull hands over events as they come, until ctx is done or src has no more.
func pull(ctx context.Context, src Source, after uint64, batches chan<- []Event) error {
	for {
		batch, err := src.Events(ctx, after)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return fmt.Errorf("no events after %d and no error", after) // else this would spin
		}
		select {
		case batches <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
		after = batch[len(batch)-1].Seq
	}
}

// serve writes until the client is gone, too slow, or the events end.
func (c *console) serve(ctx context.Context, s *sse.Stream, batches <-chan []Event, ended <-chan error) error {
	states, heartbeats := time.NewTicker(statePeriod), time.NewTicker(heartbeatPeriod)
	defer states.Stop()
	defer heartbeats.Stop()

	s.Retry(streamRetry)
	s.Event("state", "", c.src.State())
	for {
		if err := s.Flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case batch := <-batches:
			for _, e := range batch {
				s.Event("event", strconv.FormatUint(e.Seq, 10), e)
			}
		case <-states.C:
			s.Event("state", "", c.src.State())
		case <-heartbeats.C:
			s.Comment("heartbeat")
		}
	}
}
