package arc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

// The guard is asked before each endpoint: one that was silent for seconds may have outlived
// the lease.
func TestGuardIsAskedBeforeEachEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		updates := 0
		w.Fate = func(c awstest.Call) awstest.Fate {
			if c.Action == "UpdateRoutingControlStates" {
				updates++
			}
			return awstest.Fate{Hang: c.Action == "UpdateRoutingControlStates"}
		}
		asked, no := 0, errors.New("no")
		_, err := cluster(t, w, 0, Config{}).Turn(t.Context(), west, []string{east, north}, func(context.Context) error {
			if asked++; asked == 3 {
				return no
			}
			return nil
		})
		if !errors.Is(err, no) || updates != 2 {
			t.Errorf("Turn = %v after %d updates, want what the guard said after two", err, updates)
		}
	})
}

// keeping runs a Keeper and returns what has this Region be the writer in an epoch; 0: not.
func keeping(t *testing.T, w *awstest.World, c KeeperConfig) (k *Keeper, set func(epoch uint64), reports func() []dns.Report) {
	t.Helper()
	var mu sync.Mutex
	var epoch uint64
	var told []dns.Report
	c.Tell = func(r dns.Report) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r)
	}
	k, err := NewKeeper(cluster(t, w, 0, Config{}), west, []string{east, north}, c)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Keep(ctx, func() (dns.Publication, bool) {
			mu.Lock()
			defer mu.Unlock()
			return dns.Publication{Epoch: epoch, Target: "us-west-2"}, epoch > 0
		}, changed)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait() // it waits for news
	set = func(e uint64) {
		mu.Lock()
		epoch = e
		mu.Unlock()
		changed <- struct{}{}
	}
	return k, set, func() []dns.Report {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told)
	}
}

// The writer's control is turned on at once, whatever somebody does to it is mended, and who
// is not the writer asks for nothing.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		k, set, reports := keeping(t, w, KeeperConfig{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls := w.Calls(); len(calls) != 0 {
			t.Fatalf("who is not the writer asked %v", calls)
		}
		set(7)
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.Routing.On[west] || w.Routing.On[east] || len(w.Routing.Updates) != 1 {
			t.Errorf("a second after it became the writer %v", w.Routing.On)
		}
		w.Lock(func() { w.Routing.On[west], w.Routing.On[east] = false, true }) // what was late, or somebody
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if !w.Routing.On[west] || w.Routing.On[east] {
			t.Errorf("after 16 s it is not mended: %v", w.Routing.On)
		}
		policy, err := Policy([]string{east, west, north})
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range w.Calls() {
			if !awstest.Permits([]byte(policy), call) {
				t.Errorf("%+v is outside of the policy", call)
			}
		}
		set(0)
		time.Sleep(time.Second)
		synctest.Wait()
		w.Forget()
		w.Lock(func() { w.Routing.On[west], w.Routing.On[east] = false, true })
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls := w.Calls(); len(calls) != 0 {
			t.Errorf("who is the writer no more asked %d times", len(calls))
		}
		if s := k.Stats(); s.Published != 2 || s.Failed != 0 || len(reports()) != int(s.Tries) {
			t.Errorf("Stats = %+v, told %d times", s, len(reports()))
		}
	})
}

func TestKeepTells(t *testing.T) {
	for _, c := range []struct {
		name  string
		fate  func(n int) awstest.Fate // of the n-th update
		err   error
		again []bool // of the first reports
	}{
		{"a conflict", func(int) awstest.Fate { return awstest.Fate{Code: "ConflictException"} }, ErrConflict, []bool{false}},
		{"no right", func(int) awstest.Fate { return awstest.Fate{Code: "AccessDeniedException"} }, dns.ErrRefused, []bool{false}},
		{"all endpoints are away", func(int) awstest.Fate { return awstest.Fate{Lost: true} }, errAny, []bool{true, true, false}},
		{"all are away for a moment", func(n int) awstest.Fate { return awstest.Fate{Lost: n <= 10} }, nil, []bool{true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := world(east)
				n := 0
				w.Fate = func(call awstest.Call) awstest.Fate {
					if call.Action != "UpdateRoutingControlStates" {
						return awstest.Fate{}
					}
					n++
					return c.fate(n)
				}
				k, set, reports := keeping(t, w, KeeperConfig{Every: time.Hour})
				set(7)
				time.Sleep(time.Minute)
				synctest.Wait()
				var again []bool
				var last error
				for _, r := range reports() {
					again, last = append(again, r.Again), r.Err
				}
				if !slices.Equal(again, c.again) || !like(last, c.err) {
					t.Errorf("told %v and at last %v, want %v and %v", again, last, c.again, c.err)
				}
				if s := k.Stats(); (s.Failed == 1) != (c.err != nil) {
					t.Errorf("Stats = %+v", s)
				}
			})
		})
	}
}

// Who lost the lease after the controls were read turns nothing.
func TestKeepIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		k, set, reports := keeping(t, w, KeeperConfig{Guard: func(_ context.Context, p dns.Publication) error {
			if p.Epoch != 7 {
				t.Errorf("the guard is asked of %+v", p)
			}
			return errors.New("another Region has it")
		}})
		set(7)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(w.Routing.Updates) != 0 || k.Stats().Failed != 0 || len(reports()) != 0 {
			t.Errorf("%d updates, %+v, told %v", len(w.Routing.Updates), k.Stats(), reports())
		}
	})
}

func TestNewKeeperFaults(t *testing.T) {
	for what, c := range map[string]struct {
		on     string
		off    []string
		config KeeperConfig
	}{
		"no control":     {"", []string{east}, KeeperConfig{}},
		"no others":      {west, nil, KeeperConfig{}},
		"on and off":     {west, []string{east, west}, KeeperConfig{}},
		"one has none":   {west, []string{""}, KeeperConfig{}},
		"no tries":       {west, []string{east}, KeeperConfig{Tries: -1}},
		"no time":        {west, []string{east}, KeeperConfig{Every: -1}},
		"a long backoff": {west, []string{east}, KeeperConfig{Backoff: time.Hour}},
	} {
		if _, err := NewKeeper(nil, c.on, c.off, c.config); err == nil {
			t.Errorf("%s: NewKeeper took it", what)
		}
	}
}

func TestPolicyObeysSafetyRules(t *testing.T) {
	policy, err := Policy([]string{west})
	if err != nil {
		t.Fatal(err)
	}
	update := func(names ...string) awstest.Call {
		return awstest.Call{Service: "route53-recovery-cluster", Action: "UpdateRoutingControlStates", Names: names}
	}
	if !awstest.Permits([]byte(policy), update(west)) || awstest.Permits([]byte(policy), update(west, east)) {
		t.Errorf("the policy does not permit its own controls alone:\n%s", policy)
	}
}
