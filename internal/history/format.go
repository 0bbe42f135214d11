package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed refuses what is no history.
var ErrMalformed = errors.New("malformed history")

// header is the first line.
const header = `{"history":1}`

// maxLine bounds a line; a longer one is refused. A record has at most 256 KiB,
// and a read may show all of it, with every byte escaped.
const maxLine = 4 << 20

// Encode writes events as docs/formats/history.md has it.
func Encode(w io.Writer, events []Event) error {
	b := bufio.NewWriter(w)
	_, _ = fmt.Fprintln(b, header) // Flush reports what went wrong
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range events {
		if err := enc.Encode(&events[i]); err != nil {
			return fmt.Errorf("write event %d: %w", i, err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// Decode reads what Encode wrote. It fails with ErrMalformed and the number of the
// line, or with what r says.
func Decode(r io.Reader) ([]Event, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	if !lines.Scan() || lines.Text() != header {
		return nil, cmpErr(lines.Err(), fmt.Errorf("%w: the first line is not %s", ErrMalformed, header))
	}
	var out []Event
	for n := 2; lines.Scan(); n++ {
		e, err := ParseLine(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, e)
	}
	if err := cmpErr(lines.Err(), nil); err != nil {
		return nil, err
	}
	return out, nil
}

func cmpErr(err, otherwise error) error {
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, maxLine)
	case err != nil:
		return fmt.Errorf("read history: %w", err)
	}
	return otherwise
}

// ParseLine reads one event. It fails with ErrMalformed for a field that it does
// not know, for more than one value, and for an event that makes no sense.
func ParseLine(b []byte) (Event, error) {
	var e Event
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Event{}, fmt.Errorf("%w: something follows the event", ErrMalformed)
	}
	if len(e.Shows) == 0 {
		e.Shows = nil
	}
	if fault := e.fault(); fault != "" {
		return Event{}, fmt.Errorf("%w: %s", ErrMalformed, fault)
	}
	return e, nil
}

// maxRegion is the highest number of a Region.
const maxRegion = 15

// fault returns what makes no sense in e; empty if nothing.
func (e *Event) fault() string {
	if e.End < e.Start {
		return "it ends before it starts"
	}
	if e.Kind == Converged {
		return ""
	}
	if e.Region > maxRegion || e.Region == 0 && e.done() {
		return fmt.Sprintf("no Region has the number %d", e.Region)
	}
	if e.Have&1 == 1 {
		return "no Region has the number 0"
	}
	if e.Kind != Revoke && e.Session == "" {
		return "it is about no session"
	}
	return e.faultOfKind()
}

// faultOfKind returns what makes no sense in the fields of e's kind.
func (e *Event) faultOfKind() string {
	switch e.Kind {
	case Write:
		if e.Field == "" || e.Gone && e.Value != "" {
			return "it writes no field, or a value that is gone"
		}
	case Read:
		for _, f := range e.Shows {
			if f.Field == "" || f.Absent && f.Value != "" {
				return "it shows no field, or a value that is absent"
			}
		}
	case Login, Revoke:
		if e.User == "" || e.Began > e.Start {
			return "it is about no user, or authentication begins after it was sent"
		}
	case End, Converged:
	default:
		return fmt.Sprintf("kind %q", e.Kind)
	}
	return ""
}
