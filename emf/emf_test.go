package emf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/router"
)

// A read line is what CloudWatch finds in one.
type readLine struct {
	Region, Path                                        string
	WriteAttempts, WriteErrors, WriteTimeouts, Degraded *int
	WriteLatency                                        []float64
	AWS                                                 struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
}

func linesOf(t *testing.T, text string) (out []readLine) {
	t.Helper()
	for line := range strings.Lines(text) {
		var l readLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, l)
	}
	return out
}

// Each minute has a line, of what was done in it, and the last one comes at the end.
func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r, err := New(&out, Config{Region: "us-west-2"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for _, o := range []roam.Observation{
			{Act: router.Read, Err: engine.ErrUnavailable, Took: time.Hour},
			{Act: router.TakeBack, Took: time.Hour},
			{Act: router.Change, Took: 2 * time.Millisecond},
			{Act: router.Login, Took: 3 * time.Millisecond, Answer: router.Answer{Rung: router.Normal + 1}},
			{Act: router.Destroy, Err: engine.ErrUnavailable, Took: 4 * time.Millisecond},
			{Act: router.Touch, Err: fmt.Errorf("%w: %w", engine.ErrUnavailable, context.DeadlineExceeded), Took: 500 * time.Millisecond},
		} {
			r.Observe(o)
		}
		time.Sleep(90 * time.Second)
		r.Observe(roam.Observation{Act: router.Change, Took: time.Millisecond})
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		lines := linesOf(t, out.String())
		if len(lines) != 2 {
			t.Fatalf("%d lines, want two:\n%s", len(lines), out.String())
		}
		l := lines[0]
		got := fmt.Sprint(l.Region, l.Path, *l.WriteAttempts, *l.WriteErrors, *l.WriteTimeouts, *l.Degraded, l.WriteLatency, l.AWS.CloudWatchMetrics[0].Namespace, len(l.AWS.CloudWatchMetrics[0].Metrics))
		if want := fmt.Sprint("us-west-2", "session", 4, 2, 1, 1, []float64{2, 3, 4, 500}, "SessionStore", 5); got != want {
			t.Errorf("the first line has %s, want %s", got, want)
		}
		if l := lines[1]; *l.WriteAttempts != 1 || *l.WriteErrors != 0 || l.AWS.Timestamp <= lines[0].AWS.Timestamp {
			t.Errorf("the last line has %+v", l)
		}
	})
}

// Where nobody writes there is a line that says so, without a latency.
func TestNobodyWrites(t *testing.T) {
	var out bytes.Buffer
	r, err := New(&out, Config{Region: "us-west-2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.write(time.Unix(1780000000, 0)); err != nil {
		t.Fatal(err)
	}
	if l := linesOf(t, out.String())[0]; *l.WriteAttempts != 0 || l.WriteLatency != nil || len(l.AWS.CloudWatchMetrics[0].Metrics) != 4 || l.AWS.Timestamp != 1780000000000 {
		t.Errorf("the line is %s", out.String())
	}
}

// Of very many writes a sample of a hundred is told: CloudWatch reads no more.
func TestSample(t *testing.T) {
	var out bytes.Buffer
	r, err := New(&out, Config{Region: "us-west-2"})
	if err != nil {
		t.Fatal(err)
	}
	const writes = 10_000
	for i := range writes {
		r.Observe(roam.Observation{Act: router.Change, Took: time.Duration(i) * time.Millisecond})
	}
	if err := r.write(time.Now()); err != nil {
		t.Fatal(err)
	}
	l := linesOf(t, out.String())[0]
	late := 0
	for _, ms := range l.WriteLatency {
		if ms >= writes/2 {
			late++
		}
	}
	if *l.WriteAttempts != writes || len(l.WriteLatency) != mostValues || late < 20 || late > 80 { // far beyond chance
		t.Errorf("%d attempts, a sample of %d, %d of the later half", *l.WriteAttempts, len(l.WriteLatency), late)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestFaults(t *testing.T) {
	for _, c := range []Config{{}, {Region: "r", Every: time.Millisecond}, {Region: "r", Every: -1}, {Region: strings.Repeat("r", 300)}} {
		if _, err := New(&bytes.Buffer{}, c); !errors.Is(err, ErrConfig) {
			t.Errorf("New(%+v) = %v, want ErrConfig", c, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := New(full{}, Config{Region: "r"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("Run = %v, want that nothing can be written", err)
		}
	})
}
