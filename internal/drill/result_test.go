package drill

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A goroutine of valkey-go that looks for a lost server sleeps for up to a second
// after its client was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

// good is a result within all bounds.
func good() Result {
	const ms = time.Millisecond
	return Result{
		RTT: 60 * ms, Acknowledged: 10,
		Planned: []Planned{
			{From: "a", To: "b", Servers: 40 * ms, Anywhere: 50 * ms, Clients: []Gap{{"ann", "a", 130 * ms, 70 * ms}}, Acknowledged: 5},
			{From: "b", To: "c", Servers: 110 * ms, Anywhere: 10 * ms, Clients: []Gap{{"ann", "a", 60 * ms, 0}}, Acknowledged: 5},
		},
		Unplanned: []Unplanned{{Kind: "cut", From: "c", To: "a", Waits: []Wait{{"ann", 6 * time.Second}, {"bob", 8 * time.Second}}, Missing: 3, Listed: 4, Unacknowledged: 1}},
	}
}

// Each bound is broken by what breaks it, and the story is told.
func TestBounds(t *testing.T) {
	r := good()
	if broken := r.Broken(); broken != nil {
		t.Fatalf("Broken = %q, want none", broken)
	}
	for what, c := range map[string]struct {
		change func(r *Result)
		want   string
	}{
		"servers":          {func(r *Result) { r.Planned[1].Servers++; r.Planned[1].Servers += time.Millisecond }, "gap between servers, p99: 111.0 ms, want 110.0 ms"},
		"anywhere":         {func(r *Result) { r.Planned[0].Anywhere = time.Second }, "all clients together, p99: 1000.0 ms"},
		"a client":         {func(r *Result) { r.Planned[0].Clients[0].Beyond = 120 * time.Millisecond }, "beyond what a write takes it, p99: 120.0 ms"},
		"no client":        {func(r *Result) { r.Planned[0].Clients, r.Planned[1].Clients = nil, nil }, "beyond what a write takes it, p99"},
		"lost as planned":  {func(r *Result) { r.Planned[0].Lost = []string{"a write of ann"} }, "switchover 1, a to b, epoch 0: lost: a write of ann"},
		"logged out":       {func(r *Result) { r.Planned[1].LoggedOut = []string{"ann"} }, "switchover 2, b to c, epoch 0: logged out: ann"},
		"not measured":     {func(r *Result) { r.Planned[1].Faults = []string{"no gap"} }, "switchover 2, b to c, epoch 0: no gap"},
		"too late":         {func(r *Result) { r.Unplanned[0].Waits[1].Wait += time.Millisecond }, "each client writes again, p99: 8001.0 ms, want 8000.0 ms"},
		"never":            {func(r *Result) { r.Unplanned[0].Waits = nil }, "each client writes again, p99"},
		"another receipt":  {func(r *Result) { r.Unplanned[0].Differs = []string{"x"} }, "failover 1, cut, c to a, epoch 0: the receipt differs: x"},
		"missing for good": {func(r *Result) { r.Unplanned[0].Lost = []string{"y"} }, "failover 1, cut, c to a, epoch 0: lost: y"},
		"in the end":       {func(r *Result) { r.Lost = []string{"z"} }, "lost: z"},
		"two writers":      {func(r *Result) { r.Rivals = []string{"1", "2", "3", "4", "5"} }, "two writers: 1; 2; 3; and 2 more"},
	} {
		r := good()
		c.change(&r)
		if broken := strings.Join(r.Broken(), "\n"); !strings.Contains(broken, c.want) {
			t.Errorf("%s: Broken = %q, want %q in it", what, broken, c.want)
		}
	}
}

// A quantile is one of the values, and p99 of less than a hundred is the greatest.
func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i))
	}
	for q, want := range map[float64]time.Duration{0.5: 100, 0.99: 198, 1: 200, 0: 1} {
		if got := quantile(all, q); got != want {
			t.Errorf("quantile of 1 to 200 at %v = %d, want %d", q, got, want)
		}
	}
	if got := quantile(all[:30], 0.99); got != 200 {
		t.Errorf("p99 of 30 values = %d, want the greatest", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d", got)
	}
}

// What is kept is read back into the page; what can't be is told.
func TestPage(t *testing.T) {
	r := good()
	r.Lost = []string{"a write of bob"}
	file := filepath.Join(t.TempDir(), "failover.json")
	raw, err := json.Marshal(Kept{Date: "2026-01-02", Machine: "2 cores", RTT: 60, Figures: r.Figures(), Broken: r.Broken()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	if code := Main(t.Context(), []string{"-page", "-file", file}, &out, &talk); code != 0 {
		t.Fatalf("Main(-page) = %d: %s", code, talk.String())
	}
	for _, want := range []string{
		"run of 2026-01-02: 2 cores; 60 ms", "* lost: a write of bob",
		"| planned: write gap between servers, p99 ", "| 110.0 ms  | ≤ 110.0 ms  | yes |", "of 10",
		"| 3         |             |     | of 0; receipts name 4, of which 1 were never acknowledged |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, out.String())
		}
	}
	for _, args := range [][]string{{"-page", "-file", file + "x"}, {"-page", "-file", os.DevNull}} {
		talk.Reset()
		if code := Main(t.Context(), args, &out, &talk); code != 1 || talk.Len() == 0 {
			t.Errorf("Main(%q) = %d: %s; want 1, and why", args, code, talk.String())
		}
	}
}

// Nonsense is refused before anything is started.
func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"-planned", "-1"}, {"-rtt", "1h"}, {"-rtt", "1ms"}, {"-clients", "0"}, {"-what"}} {
		var out, talk bytes.Buffer
		if code := Main(t.Context(), args, &out, &talk); code != 2 || talk.Len() == 0 || out.Len() > 0 {
			t.Errorf("Main(%q) = %d, says %q and %q; want 2, and why", args, code, out.String(), talk.String())
		}
	}
}
