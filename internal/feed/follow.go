package feed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/roam-sessions/roam/internal/pause"
)

// random is the jitter's: it spreads clients and guards nothing.
func random() float64 { return rand.Float64() } //nolint:gosec // see above

// errSilent: a node has said nothing for too long.
var errSilent = errors.New("silence")

// follow follows one node until it fails, then the next one, until ctx ends. Those of a
// ring are asked in turn, so that one that accepts and fails at once is not asked for
// ever beside one that is well.
func (f *Client) follow(ctx context.Context) {
	if len(f.config.URLs) == 0 {
		<-ctx.Done()
		return
	}
	wait, failed, said := f.config.MinBackoff, 0, ""
	for at := 0; ctx.Err() == nil; at = (at + 1) % len(f.config.URLs) {
		begun := time.Now()
		err := f.one(ctx, f.config.URLs[at])
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > 2*f.config.Silence { // it was well for a time
			wait, failed, said = f.config.MinBackoff, 0, ""
		}
		failed++
		all := failed%len(f.config.URLs) == 0
		if all && err.Error() != said {
			said = err.Error()
			f.config.Log.Warn("no node tells what changes; the last view stands", "nodes", len(f.config.URLs), "err", err)
		}
		pause.For(ctx, wait/2+time.Duration(f.config.Random()*float64(wait/2)))
		if all {
			wait = min(2*wait, f.config.MaxBackoff)
		}
	}
}

// one follows a node until it fails. It always does.
func (f *Client) one(ctx context.Context, at string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(f.config.Silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	err := f.stream(ctx, at, quiet)
	f.setFollows("")
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	host := at
	if u, parsed := url.Parse(at); parsed == nil {
		host = u.Host
	}
	return fmt.Errorf("follow %s: %w", host, err)
}

func (f *Client) stream(ctx context.Context, at string, quiet *time.Timer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	answer, err := f.config.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read only
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", answer.Status)
	}
	lines := bufio.NewScanner(&alive{answer.Body, quiet, f.config.Silence})
	lines.Buffer(nil, MaxBytes+2)
	for lines.Scan() {
		l, err := ParseLine(lines.Bytes())
		if err == nil {
			err = f.take(l)
		}
		if err != nil {
			return err
		}
		f.setFollows(at)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF // a stream has no end
}

// alive is a body whose bytes say that the other side is there.
type alive struct {
	io.Reader
	quiet   *time.Timer
	silence time.Duration
}

// Read reads, and puts off the end.
func (a *alive) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		a.quiet.Reset(a.silence)
	}
	return n, err
}
