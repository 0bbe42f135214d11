package emf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/router"
)

// mostValues is how many values of one metric a line may have: CloudWatch reads no more.
const mostValues = 100

// A Config is what a Reporter is told. Region is needed.
type Config struct {
	// Region is the application's, as the metrics' dimension of that name.
	Region string
	// Path is the dimension beside it, by which ways of writing are told apart. Default: session.
	Path string
	// Namespace is the metrics'. Default: SessionStore.
	Namespace string
	// Every is how often a line is written, if writes are reported or not. Default: a minute. At
	// least a second; below a minute CloudWatch adds up what is of one minute.
	Every time.Duration
}

// ErrConfig: a Config makes no sense.
var ErrConfig = errors.New("emf: bad config")

// A Reporter adds up what a Store does and tells of it. It may be used by many goroutines.
type Reporter struct {
	config Config
	out    io.Writer

	mu     sync.Mutex // guards what follows
	counts counts
}

// counts are those of one line.
type counts struct {
	attempts, errors, timeouts, degraded int
	latencies                            []float64 // in ms, at most mostValues of attempts
}

// New returns a Reporter that writes to out, such as standard output where its lines go to CloudWatch
// Logs. It fails with ErrConfig.
func New(out io.Writer, c Config) (*Reporter, error) {
	if c.Path == "" {
		c.Path = "session"
	}
	if c.Namespace == "" {
		c.Namespace = "SessionStore"
	}
	if c.Every == 0 {
		c.Every = time.Minute
	}
	const longest = 250
	switch {
	case c.Region == "" || len(c.Region) > longest || len(c.Path) > longest || len(c.Namespace) > longest:
		return nil, fmt.Errorf("%w: Region %.40q, Path and Namespace want 1 to %d bytes", ErrConfig, c.Region, longest)
	case c.Every < time.Second:
		return nil, fmt.Errorf("%w: Every %v, want a second or more", ErrConfig, c.Every)
	}
	return &Reporter{config: c, out: out}, nil
}

// Observe adds one act of a Store, for roam.Config.Observe. Reads are no writes and not counted.
func (r *Reporter) Observe(o roam.Observation) {
	if o.Act == router.Read || o.Act == router.TakeBack {
		return
	}
	took := float64(o.Took) / float64(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.counts
	c.attempts++
	switch {
	case errors.Is(o.Err, context.DeadlineExceeded):
		c.errors, c.timeouts = c.errors+1, c.timeouts+1
	case o.Err != nil:
		c.errors++
	case o.Answer.Rung != router.Normal:
		c.degraded++
	}
	if len(c.latencies) < mostValues {
		c.latencies = append(c.latencies, took)
	} else if i := rand.N(c.attempts); i < mostValues { //nolint:gosec // a sample of what was measured
		c.latencies[i] = took
	}
}

// Run writes a line each period, and a last one when ctx ends. It fails if a line can't be written.
func (r *Reporter) Run(ctx context.Context) error {
	ticks := time.NewTicker(r.config.Every)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			if err := r.write(time.Now()); err != nil {
				return err
			}
		case <-ctx.Done():
			return r.write(time.Now())
		}
	}
}

// write writes what was added up since the last line.
func (r *Reporter) write(now time.Time) error {
	r.mu.Lock()
	c := r.counts
	r.counts = counts{}
	r.mu.Unlock()
	type metric struct{ Name, Unit string }
	metrics := []metric{{"WriteAttempts", "Count"}, {"WriteErrors", "Count"}, {"WriteTimeouts", "Count"}, {"Degraded", "Count"}}
	line := map[string]any{
		"Region": r.config.Region, "Path": r.config.Path,
		"WriteAttempts": c.attempts, "WriteErrors": c.errors, "WriteTimeouts": c.timeouts, "Degraded": c.degraded,
	}
	if len(c.latencies) > 0 { // no value is none, and not 0
		metrics = append(metrics, metric{"WriteLatency", "Milliseconds"})
		line["WriteLatency"] = c.latencies
	}
	line["_aws"] = map[string]any{
		"Timestamp":         now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{"Namespace": r.config.Namespace, "Dimensions": [][]string{{"Region", "Path"}, {"Region"}}, "Metrics": metrics}},
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("emf: %w", err)
	}
	if _, err := r.out.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("emf: %w", err)
	}
	return nil
}
