package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	// firstWait is before the second try; each wait is twice the one before, to maxWait.
	firstWait = time.Second
	maxWait   = 5 * time.Minute
	// giveUp is how long after it happened an event is tried.
	giveUp = 24 * time.Hour
	// lookBack is how old an event may be that a new hook is told of: enough for a member
	// to start in, and for its leader to be lost meanwhile.
	lookBack = 10 * time.Minute
	// maxRefusals is how often a hook may say of one event that it can't be taken as it is.
	// Then it is given up, so that it does not hold up the others for a day.
	maxRefusals = 5
	// maxBody bounds what is sent: texts have at most 500 bytes, so that all is below 8 KiB.
	maxBody = 64 << 10
	// maxAnswer is how much of an answer is read, so that its connection can be used again.
	maxAnswer = 4 << 10
)

// A hook is one webhook, and how it fares. What is not guarded belongs to its goroutine.
type hook struct {
	Hook
	d     *Deliverer
	first time.Duration // firstWait

	trying   uint64 // the event that was tried last; zero: none
	tries    int    // of it
	refusals int    // of it
	due      time.Time

	mu    sync.Mutex // guards what follows
	stats HookStats
}

// HookStats are what became of a hook's events since the start, for metrics.
type HookStats struct {
	Name      string
	Told      uint64 // the number of the last event that it was told of, or that it did not want
	Delivered uint64 // events
	Tries     uint64 // requests, with those that succeeded
	Dropped   uint64 // events given up: too old, refused, or no longer in the ring
	Status    int    // of the last answer; zero: there was none
	Err       string // of the last try; empty: it succeeded
	At        time.Time
}

// Stats returns those of all hooks, in the order of the Config.
func (d *Deliverer) Stats() []HookStats {
	out := make([]HookStats, 0, len(d.hooks))
	for _, h := range d.hooks {
		h.mu.Lock()
		s := h.stats
		h.mu.Unlock()
		s.Name = h.Name
		s.Told, _ = d.cursors.at(h.Name)
		out = append(out, s)
	}
	return out
}

func (h *hook) count(do func(*HookStats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do(&h.stats)
}

// move takes the cursor on. That the disk fails is logged: a restart tells events again.
func (h *hook) move(seq uint64) {
	if err := h.d.cursors.move(h.Name, seq); err != nil {
		h.d.config.Log.Warn("keep how far a webhook was told", "hook", h.Name, "err", err)
	}
}

// run delivers until ctx ends.
func (h *hook) run(ctx context.Context) {
	for ctx.Err() == nil {
		active, turned := h.d.activity()
		ring, changed := h.d.config.Source()
		now := time.Now()
		seq := h.begin(ring, now)
		var due <-chan time.Time
		if active {
			if e, ok := h.next(ring, seq, now); ok {
				if wait := h.wait(e, now); wait > 0 {
					due = time.After(wait)
				} else {
					h.try(ctx, e)
					continue
				}
			}
		} else {
			h.trying = 0 // who becomes active tries at once
		}
		select {
		case <-ctx.Done():
		case <-turned:
		case <-changed:
		case <-due:
		}
	}
}

// begin returns the cursor, and gives a hook one that is new here. All members do so, and
// not only the one that is active.
func (h *hook) begin(ring []ledger.Event, now time.Time) uint64 {
	seq, ok := h.d.cursors.at(h.Name)
	if ok || len(ring) == 0 {
		return seq
	}
	oldest := now.Add(-lookBack)
	if h.d.broken {
		oldest = now.Add(-giveUp)
	}
	i := slices.IndexFunc(ring, func(e ledger.Event) bool { return !e.At.Before(oldest) })
	if i < 0 {
		seq = ring[len(ring)-1].Seq
	} else {
		seq = ring[i].Seq - 1
	}
	h.move(seq)
	return seq
}

// next returns the event that the hook is to be told of, if there is one, and goes past
// what it does not want or what is too old.
func (h *hook) next(ring []ledger.Event, seq uint64, now time.Time) (ledger.Event, bool) {
	newer, missed := after(ring, seq)
	if missed > 0 {
		h.drop(missed, seq+1, "they are no longer in the ring")
	}
	for i, e := range newer {
		if len(h.Kinds) > 0 && !slices.Contains(h.Kinds, e.Kind) {
			continue
		}
		if now.Sub(e.At) > giveUp {
			h.drop(1, e.Seq, "it happened more than a day ago")
			continue
		}
		if i > 0 || missed > 0 {
			h.move(e.Seq - 1)
		}
		return e, true
	}
	if len(newer) > 0 {
		h.move(newer[len(newer)-1].Seq)
	}
	return ledger.Event{}, false
}

func (h *hook) drop(events, first uint64, why string) {
	h.count(func(s *HookStats) { s.Dropped += events })
	h.d.config.Log.Error("a webhook is not told of events", "hook", h.Name, "events", events, "first", first, "why", why)
}

// wait returns how long to wait before an event is tried.
func (h *hook) wait(e ledger.Event, now time.Time) time.Duration {
	if h.trying != e.Seq {
		h.trying, h.tries, h.refusals, h.due = e.Seq, 0, 0, now
	}
	return h.due.Sub(now)
}

// try tells the hook of an event, and says when to try again if it does not take it.
func (h *hook) try(ctx context.Context, e ledger.Event) {
	status, after, err := h.post(ctx, MessageOf(h.d.config.Deployment, e))
	now := time.Now()
	h.count(func(s *HookStats) {
		s.Tries++
		s.Status, s.Err, s.At = status, "", now
		if err != nil {
			s.Err = err.Error()
		} else {
			s.Delivered++
		}
	})
	if err == nil {
		h.move(e.Seq)
		return
	}
	if ctx.Err() != nil {
		return
	}
	h.tries++
	if refuses(status) {
		h.refusals++
	}
	if h.refusals >= maxRefusals {
		h.drop(1, e.Seq, err.Error())
		h.move(e.Seq)
		return
	}
	wait := max(backoff(h.first, h.tries, h.Name, e.Seq), min(after, maxWait))
	h.due = now.Add(wait)
	h.d.config.Log.Warn("a webhook did not take an event", "hook", h.Name, "seq", e.Seq, "tries", h.tries, "again_in", wait, "err", err)
}

// refuses reports whether an answer says that the request can't be taken as it is.
func refuses(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// backoff is between half of what is due and all of it. Where, is by a hash and not by
// dice: it spreads hooks, and guards nothing.
func backoff(first time.Duration, tries int, name string, seq uint64) time.Duration {
	wait := maxWait
	if tries <= 10 { // 2^9 s is more than maxWait
		wait = min(first<<(tries-1), maxWait)
	}
	spread := fnv.New64a()
	_, _ = fmt.Fprintf(spread, "%s %d %d", name, seq, tries) // a hash takes all
	half := wait / 2
	return half + time.Duration(spread.Sum64()%uint64(half+1)) //nolint:gosec // below wait
}

// post sends a message, and returns the status of the answer and how long it asks to be
// left alone. Errors name no URL.
func (h *hook) post(ctx context.Context, m Message) (status int, after time.Duration, err error) {
	body, err := m.encode()
	if h.SNS {
		body, err = m.encodeSNS(h.TopicARN)
	}
	if err != nil || len(body) > maxBody {
		return 0, 0, fmt.Errorf("event %d has %d bytes: %w", m.Seq, len(body), errors.Join(errConfig, err))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: the URL", errConfig)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "roam-webhook/1")
	r.Header.Set("Roam-Event-Id", m.ID)
	r.Header.Set(SignatureHeader, Sign(h.Secret, body, time.Now()))
	if h.SNS {
		r.Header.Set("Content-Type", "text/plain; charset=UTF-8") // as SNS has it
		r.Header.Set("X-Amz-Sns-Message-Type", "Notification")
		r.Header.Set("X-Amz-Sns-Message-Id", m.uuid())
		r.Header.Set("X-Amz-Sns-Topic-Arn", h.TopicARN)
	}
	a, err := h.d.client.Do(r)
	if err != nil {
		if of, ok := errors.AsType[*url.Error](err); ok {
			err = of.Err // without the URL
		}
		return 0, 0, fmt.Errorf("post: %w", err)
	}
	defer func() { _ = a.Body.Close() }()                         // it was read only
	_, _ = io.Copy(io.Discard, io.LimitReader(a.Body, maxAnswer)) // the status says all
	switch {
	case a.StatusCode >= 200 && a.StatusCode < 300:
		return a.StatusCode, 0, nil
	case a.StatusCode >= 300 && a.StatusCode < 400:
		return a.StatusCode, 0, fmt.Errorf("it answers with status %d, and nobody is followed elsewhere: name its last URL", a.StatusCode)
	}
	return a.StatusCode, retryAfter(a.Header.Get("Retry-After")), fmt.Errorf("it answers with status %d", a.StatusCode)
}

// retryAfter returns how many seconds a header asks for. Dates are not read.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseUint(header, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second //nolint:gosec // below 65536
}
