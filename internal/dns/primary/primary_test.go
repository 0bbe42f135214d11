package primary

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/internal/dns"
)

// A watch is a CloudWatch that notes what it takes.
type watch struct {
	mu    sync.Mutex                             // guards what follows
	fate  func(ctx context.Context, n int) error // of the n-th request; nil: all are taken
	taken []*sdk.PutMetricDataInput
	n     int
}

func (w *watch) PutMetricData(ctx context.Context, in *sdk.PutMetricDataInput, _ ...func(*sdk.Options)) (*sdk.PutMetricDataOutput, error) {
	w.mu.Lock()
	w.n++
	n, fate := w.n, w.fate
	w.mu.Unlock()
	if fate != nil {
		if err := fate(ctx, n); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = append(w.taken, in)
	return &sdk.PutMetricDataOutput{}, nil
}

func (w *watch) values() (out []float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range w.taken {
		out = append(out, *in.MetricData[0].Value)
	}
	return out
}

// telling runs a Teller and returns what changes the role.
func telling(t *testing.T, w *watch, c Config) (teller *Teller, set func(r Role, known bool), reports func() []Report) {
	t.Helper()
	var mu sync.Mutex
	var role Role
	var known bool
	var told []Report
	c.Tell = func(r Report) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r)
	}
	teller, err := New(w, "", "us-west-1", "shop", c)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		teller.Keep(ctx, func() (Role, bool) {
			mu.Lock()
			defer mu.Unlock()
			return role, known
		}, changed)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait() // it waits for news
	set = func(r Role, k bool) {
		mu.Lock()
		role, known = r, k
		mu.Unlock()
		changed <- struct{}{}
	}
	return teller, set, func() []Report {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told)
	}
}

// It is told in each minute, at once when it changes, and not at all while it is not known.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{}
		teller, set, _ := telling(t, w, Config{})
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if got := w.values(); len(got) != 0 {
			t.Fatalf("told %v before anything was known", got)
		}
		set(Role{Epoch: 7}, true)
		synctest.Wait()
		set(Role{Epoch: 7}, true) // nothing new
		synctest.Wait()
		if got := w.values(); !slices.Equal(got, []float64{0}) {
			t.Errorf("at once %v, want 0", got)
		}
		set(Role{Epoch: 8, Primary: true}, true)
		synctest.Wait()
		if got := w.values(); !slices.Equal(got, []float64{0, 1}) {
			t.Errorf("at the change %v, want 0 and 1", got)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := w.values(); !slices.Equal(got, []float64{0, 1, 1, 1, 1, 1, 1, 1}) {
			t.Errorf("after three minutes %v", got)
		}
		set(Role{}, false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := w.values(); len(got) != 8 || teller.Stats().Published != 8 {
			t.Errorf("what is not known was told: %v, %+v", got, teller.Stats())
		}
	})
}

// The metric has the dimensions of roam-lambda's, and standard resolution: health checks
// take no other.
func TestPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{}
		_, set, _ := telling(t, w, Config{})
		set(Role{Epoch: 7, Primary: true}, true)
		synctest.Wait()
		in := w.taken[0]
		if *in.Namespace != "SessionStore" || len(in.MetricData) != 2 {
			t.Fatalf("it put %+v", in)
		}
		var dimensions []string
		for _, d := range in.MetricData {
			var text []string
			for _, dim := range d.Dimensions {
				text = append(text, *dim.Name+"="+*dim.Value)
			}
			dimensions = append(dimensions, strings.Join(text, ","))
			if *d.MetricName != "IsGlobalPrimary" || *d.Value != 1 || d.StorageResolution != nil || !d.Timestamp.Equal(time.Now()) {
				t.Errorf("a datum is %+v", d)
			}
		}
		if !slices.Equal(dimensions, []string{"Region=us-west-1", "Region=us-west-1,Global=shop"}) {
			t.Errorf("dimensions %q", dimensions)
		}
	})
}

func TestTries(t *testing.T) {
	api := func(code string) error { return &smithy.GenericAPIError{Code: code} }
	for _, c := range []struct {
		name  string
		fate  func(ctx context.Context, n int) error
		err   error
		again []bool
		taken int
	}{
		{"throttles", func(_ context.Context, n int) error {
			if n < 3 {
				return api("Throttling")
			}
			return nil
		}, nil, []bool{true, true, false}, 1},
		{"an outage", func(context.Context, int) error { return api("ServiceUnavailable") }, errAny, []bool{true, true, true, false}, 0},
		{"silence", func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded, []bool{true, true, true, false}, 0},
		{"no right", func(context.Context, int) error { return api("AccessDenied") }, dns.ErrRefused, []bool{false}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &watch{fate: c.fate}
				teller, set, reports := telling(t, w, Config{Every: time.Hour})
				set(Role{Epoch: 7, Primary: true}, true)
				time.Sleep(time.Minute)
				synctest.Wait()
				var again []bool
				var last error
				for _, r := range reports() {
					again, last = append(again, r.Again), r.Err
				}
				if !slices.Equal(again, c.again) || len(w.taken) != c.taken || last != nil != (c.err != nil) ||
					c.err != nil && !errors.Is(c.err, errAny) && !errors.Is(last, c.err) {
					t.Errorf("told %v, at last %v, %d taken; want %v, %v, %d", again, last, len(w.taken), c.again, c.err, c.taken)
				}
				if s := teller.Stats(); (s.Failed == 1) != (c.err != nil) {
					t.Errorf("Stats = %+v", s)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// What changes while CloudWatch is away is what is told when it is back.
func TestNewestIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{fate: func(_ context.Context, n int) error {
			if n == 1 {
				return errors.New("connection reset")
			}
			return nil
		}}
		_, set, _ := telling(t, w, Config{Every: time.Hour})
		set(Role{Epoch: 7, Primary: true}, true)
		synctest.Wait()
		set(Role{Epoch: 8}, true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.values(); !slices.Equal(got, []float64{0}) {
			t.Errorf("told %v, want 0 alone", got)
		}
	})
}

func TestNewFaults(t *testing.T) {
	for what, c := range map[string]struct {
		region, global string
		config         Config
	}{
		"no Region":     {"", "shop", Config{}},
		"no deployment": {"us-west-1", "", Config{}},
		"a long name":   {"us-west-1", strings.Repeat("x", 256), Config{}},
		"many tries":    {"us-west-1", "shop", Config{Tries: 11}},
		"no time":       {"us-west-1", "shop", Config{Timeout: -1}},
	} {
		if _, err := New(nil, "", c.region, c.global, c.config); err == nil {
			t.Errorf("%s: New took it", what)
		}
	}
}
