package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/events"
)

const (
	// silence is how long a stream may say nothing: three heartbeats.
	silence = 15 * time.Second
	// followPause is before another member is followed.
	followPause = time.Second
	// maxLine bounds a line of a stream, and maxData what one message has.
	maxLine = 64 << 10
	maxData = 256 << 10
)

// Heard is what a stream of events brings: one of its two is set.
type Heard struct {
	Event *events.Message
	// Missed are events that nobody keeps any more.
	Missed *events.Notice
}

// Follow tells of each event after a number, as it comes, until ctx ends or tell fails; that
// is the error. When one member is silent it goes on with another. It fails at once if it
// is not let in.
func (c *Client) Follow(ctx context.Context, after uint64, tell func(Heard) error) error {
	which := c.preferred()
	for {
		seen, err := c.followOne(ctx, which, after, tell)
		after = max(after, seen)
		p, told := errors.AsType[*Problem](err)
		told = told && p.Kind != KindUnavailable && p.Kind != KindTooMany && p.Kind != KindInternal
		if own, ok := errors.AsType[*tellError](err); ok {
			return own.err
		}
		if told || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		which = (which + 1) % len(c.config.URLs)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followPause):
		}
	}
}

// A tellError is what ended the telling.
type tellError struct{ err error }

func (e *tellError) Error() string { return e.err.Error() }

// followOne follows one member, and returns the last number that it told of.
func (c *Client) followOne(ctx context.Context, which int, after uint64, tell func(Heard) error) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	a, err := c.open(ctx, which, request{method: http.MethodGet, path: fmt.Sprintf("/v1/events/stream?after=%d", after)})
	if err != nil {
		return after, err
	}
	defer func() { _ = a.Body.Close() }() // it was read only
	if a.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(a.Body, maxFile))
		if err != nil {
			return after, err
		}
		p, err := parseProblem(a.StatusCode, body)
		if err != nil {
			return after, err
		}
		return after, p
	}
	err = parseStream(a.Body, func() { quiet.Reset(silence) }, func(name, data string) error {
		h, seq, err := heardOf(name, data)
		if err != nil {
			return err
		}
		after = max(after, seq)
		if h.Event == nil && h.Missed == nil {
			return nil
		}
		if err := tell(h); err != nil {
			return &tellError{err}
		}
		return nil
	})
	return after, err
}

// heardOf reads one message of a stream. Names that it does not know are of later versions,
// and let be; "cut" is followed by the stream's end.
func heardOf(name, data string) (h Heard, seq uint64, err error) {
	switch name {
	case "event":
		h.Event = new(events.Message)
		err = json.Unmarshal([]byte(data), h.Event)
		seq = h.Event.Seq
	case "missed":
		h.Missed = new(events.Notice)
		err = json.Unmarshal([]byte(data), h.Missed)
		seq = h.Missed.To
	}
	if err != nil {
		return Heard{}, 0, fmt.Errorf("decode what a stream says: %w", err)
	}
	return h, seq, nil
}

// parseStream reads server-sent events until their end. It calls alive for each line.
func parseStream(r io.Reader, alive func(), tell func(name, data string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	var name string
	var data []string
	size := 0
	for lines.Scan() {
		alive()
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if len(data) > 0 {
				if err := tell(name, strings.Join(data, "\n")); err != nil {
					return err
				}
			}
			name, data, size = "", nil, 0
		case field == "event":
			name = value
		case field == "data":
			if size += len(value) + 1; size > maxData {
				return errors.New("read a stream: a message is too long")
			}
			data = append(data, value)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}
	return io.ErrUnexpectedEOF
}
