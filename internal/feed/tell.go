package feed

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/tally"
)

const (
	// reportTimeout bounds the telling of one report: it is a few hundred bytes.
	reportTimeout = 2 * time.Second
	// reportRest is how long a node is left alone that takes no reports, as those of an
	// older version do.
	reportRest = 10 * time.Minute
	// maxReply bounds what is read of an answer.
	maxReply = 4 << 10
)

// reported is what an application has told of what it counted. It is used by one goroutine.
type reported struct {
	feed   *Client
	report Report       // the last one
	counts tally.Counts // all that nodes are known to have
	since  time.Time    // from when on what they lack was counted

	resting string    // a node that takes no reports
	until   time.Time // when it is asked again
	failing bool      // the log was told that the last one was not taken
}

// Report tells the node that is followed what was counted in a Region, once each
// Config.ReportEvery, as far as there is something, until ctx ends. Counts returns all that
// there has been; it never becomes less. What a node did not take is told with the next
// report: there is one try each time, at the node that is followed then, and none where
// nobody is. What was counted since the last report when ctx ends is not told.
func (f *Client) Report(ctx context.Context, region string, counts func() tally.Counts) {
	var name [appBytes]byte
	_, _ = rand.Read(name[:]) // it never fails
	r := reported{feed: f, report: Report{Region: region, App: hex.EncodeToString(name[:])}, since: time.Now()}
	for {
		// Processes that start together don't report together.
		pause.For(ctx, time.Duration((0.8+0.4*f.config.Random())*float64(f.config.ReportEvery)))
		if ctx.Err() != nil {
			return
		}
		r.once(ctx, counts())
	}
}

// once tells of what was counted, if there is something and somebody who listens.
func (r *reported) once(ctx context.Context, counts tally.Counts) {
	now := time.Now()
	r.report.Counts = counts.Since(r.counts)
	if r.report.Counts.IsZero() {
		r.since = now // what comes was counted from now on
		return
	}
	at, deployment := r.feed.follows()
	if at == "" || deployment == "" || at == r.resting && now.Before(r.until) {
		return
	}
	r.report.Deployment = deployment
	r.report.Seq++
	r.report.Span = min(now.Sub(r.since), maxSpan).Truncate(time.Millisecond)
	status, err := r.post(ctx, at)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		r.counts, r.since, r.report.After, r.failing = counts, now, r.report.Seq, false
	case rests(status):
		r.resting, r.until = at, now.Add(reportRest)
		r.feed.config.Log.Info("a node takes no reports of how answers fare: it is asked again later", "err", err)
	case !r.failing:
		r.failing = true
		r.feed.config.Log.Info("how answers fare was not reported: it is told with the next report", "err", err)
	}
}

// rests reports whether a status says that asking again would not help.
func rests(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// post tells one node, and returns its status; 0: it gave none.
func (r *reported) post(ctx context.Context, at string) (status int, err error) {
	body, err := r.report.Encode()
	if err != nil {
		return 0, err
	}
	to, err := url.Parse(at)
	if err != nil {
		return 0, err
	}
	to = to.JoinPath("report")
	to.RawQuery = ""
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	ask.Header.Set("Content-Type", "application/json")
	answer, err := r.feed.config.HTTP.Do(ask)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()                        // it was read
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxReply)) // so that the connection serves again
	if answer.StatusCode/100 != 2 {
		return answer.StatusCode, fmt.Errorf("report to %s: status %s", to.Host, answer.Status)
	}
	return answer.StatusCode, nil
}
