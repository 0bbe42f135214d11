package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/roam-sessions/roam/internal/tally"
)

const (
	// MaxReport bounds a Report as it is encoded: writes to 15 Regions, of every duration
	// there is, are less.
	MaxReport = 16 << 10
	// maxCount bounds each figure, so that those of all applications can be added up.
	maxCount = 1 << 40
	// maxSpan bounds what a Report is of: seven weeks.
	maxSpan = 1 << 32 * time.Millisecond
	// appBytes are the random bytes of an App.
	appBytes = 8
)

// ErrReport says that something is no Report, or none that an application would make.
var ErrReport = errors.New("not a report of an application")

// A Report is what an application has counted since the last of its reports that it knows
// a node to have. It is plain data, and there is nothing in it of any user.
type Report struct {
	// Deployment and Region are where the application runs.
	Deployment, Region string
	// App is a name that the process took by chance: 16 hexadecimal digits.
	App string
	// Seq counts the reports of App, from 1. After is the one since which this one counts:
	// the last that is known to have come. A later one with the same After has all of this.
	Seq, After uint64
	// Span is how long ago that was, in whole milliseconds.
	Span time.Duration
	// Counts are at most 2^40 each.
	Counts tally.Counts
}

// reportLine is a Report as JSON, in the order in which it is written.
type reportLine struct {
	V          int               `json:"v"`
	Deployment string            `json:"deployment"`
	Region     string            `json:"region"`
	App        string            `json:"app"`
	Seq        uint64            `json:"seq"`
	After      uint64            `json:"after,omitempty"`
	SpanMS     uint64            `json:"span_ms"`
	Answers    map[string]uint64 `json:"answers"`
	Writes     []writesLine      `json:"writes,omitempty"`
}

// writesLine are the writes to one Region; Took ends with the last figure that is not 0.
type writesLine struct {
	To     string   `json:"to"`
	Failed uint64   `json:"failed,omitempty"`
	Took   []uint64 `json:"took"`
}

// Encode returns r as JSON. It fails with ErrReport if r is none, or takes more than
// MaxReport.
func (r Report) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	out := reportLine{
		V: version, Deployment: r.Deployment, Region: r.Region, App: r.App, Seq: r.Seq, After: r.After,
		SpanMS: uint64(r.Span / time.Millisecond), Answers: map[string]uint64{}, //nolint:gosec // Check has seen to it
	}
	for i, n := range r.Counts.Answers {
		if n > 0 {
			out.Answers[tally.RungName(i)] = n
		}
	}
	for _, to := range slices.Sorted(maps.Keys(r.Counts.Writes)) {
		w := r.Counts.Writes[to]
		n := tally.Buckets
		for n > 0 && w.Took[n-1] == 0 {
			n--
		}
		out.Writes = append(out.Writes, writesLine{to, w.Failed, w.Took[:n]})
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	if len(b) > MaxReport {
		return nil, fmt.Errorf("%w: it takes %d bytes: at most %d", ErrReport, len(b), MaxReport)
	}
	return b, nil
}

// ParseReport returns what a body says. It fails with ErrReport for anything that no
// application would send: an unknown version, name or rung, a name or a Region that comes
// twice, something behind the end, figures that make no sense, more than MaxReport.
func ParseReport(body []byte) (Report, error) {
	switch {
	case len(body) > MaxReport:
		return Report{}, fmt.Errorf("%w: %d bytes: at most %d", ErrReport, len(body), MaxReport)
	case !utf8.Valid(body):
		return Report{}, fmt.Errorf("%w: not UTF-8", ErrReport)
	}
	var (
		r               Report
		v               int
		span            uint64
		answers, writes json.RawMessage
	)
	err := parseObject(body, map[string]any{
		"v": &v, "deployment": &r.Deployment, "region": &r.Region, "app": &r.App, "seq": &r.Seq, "after": &r.After,
		"span_ms": &span, "answers": &answers, "writes": &writes,
	})
	switch {
	case err != nil:
	case v != version:
		err = fmt.Errorf("version %d: want %d", v, version)
	case span > uint64(maxSpan/time.Millisecond):
		err = fmt.Errorf("a span of %d ms: at most %v", span, maxSpan)
	default:
		r.Span = time.Duration(span) * time.Millisecond //nolint:gosec // see above
		if err = parseAnswers(answers, &r.Counts); err == nil {
			err = parseWrites(writes, &r.Counts)
		}
	}
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrReport, err)
	}
	return r, r.Check()
}

func parseAnswers(text json.RawMessage, into *tally.Counts) error {
	names := map[string]any{}
	for i := range into.Answers {
		names[tally.RungName(i)] = &into.Answers[i]
	}
	if err := parseObject(text, names); err != nil {
		return fmt.Errorf("answers: %w", err)
	}
	return nil
}

func parseWrites(text json.RawMessage, into *tally.Counts) error {
	if text == nil {
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("writes: %w", err)
	}
	into.Writes = map[string]tally.Writes{}
	for _, one := range all {
		var line writesLine
		if err := parseObject(one, map[string]any{"to": &line.To, "failed": &line.Failed, "took": &line.Took}); err != nil {
			return fmt.Errorf("writes: %w", err)
		}
		if _, twice := into.Writes[line.To]; twice || len(line.Took) > tally.Buckets {
			return fmt.Errorf("writes to %.80q come twice, or have %d kinds of durations: at most %d", line.To, len(line.Took), tally.Buckets)
		}
		w := tally.Writes{Failed: line.Failed}
		copy(w.Took[:], line.Took)
		into.Writes[line.To] = w
	}
	return nil
}

// Check returns all that is wrong with r, as an error that wraps ErrReport.
func (r Report) Check() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!isName(r.Deployment), "deployment %.80q", r.Deployment)
	fault(!isName(r.Region), "region %.80q", r.Region)
	fault(!isApp(r.App), "app %.80q: want %d hexadecimal digits", r.App, 2*appBytes)
	fault(r.Seq == 0 || r.After >= r.Seq, "report %d after %d", r.Seq, r.After)
	fault(r.Span < 0 || r.Span > maxSpan, "a span of %v: at most %v", r.Span, maxSpan)
	for i, n := range r.Counts.Answers {
		fault(n > maxCount, "%d answers %s: at most %d", n, tally.RungName(i), uint64(maxCount))
	}
	fault(len(r.Counts.Writes) > maxAway, "writes to %d Regions: at most %d", len(r.Counts.Writes), maxAway)
	for to, w := range r.Counts.Writes {
		fault(!isName(to), "writes to %.80q", to)
		var all uint64
		for _, n := range w.Took {
			fault(n > maxCount, "%d writes to %.80q: at most %d", n, to, uint64(maxCount))
			all += min(n, maxCount)
		}
		fault(w.Failed > all, "%d failed writes to %.80q, of %d", w.Failed, to, all)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrReport, errors.Join(faults...))
	}
	return nil
}

func isApp(s string) bool {
	return len(s) == 2*appBytes && len(bytes.Trim([]byte(s), "0123456789abcdef")) == 0
}
