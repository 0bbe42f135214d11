//go:build integration

package sidebyside_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/sidebyside"
)

// The benchmarks' defaults look whether they work; scripts/bench-valkey.sh says how much
// is to be measured. How many rounds there are is for -benchtime to say, such as 9x.
var (
	measured = flag.String("measured", "", "file to which what was measured is added, a line each")
	slice    = flag.Duration("slice", 20*time.Millisecond, "how long each side has in a round")
	sessions = flag.Int("sessions", 20_000, "how many sessions are many")
)

// A side does one thing, for the i-th of what there is: one of the two that are compared.
type side func(ctx context.Context, i int) error

// perSecond has n clients do s for a slice, and returns how often they did a second.
func perSecond(b *testing.B, n int, s side) float64 {
	b.Helper()
	runtime.GC() // what one side left behind is not the other's
	var done atomic.Int64
	var stop atomic.Bool
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	ctx := b.Context()
	begun := time.Now()
	timer := time.AfterFunc(*slice, func() { stop.Store(true) })
	defer timer.Stop()
	for client := range n {
		wg.Go(func() {
			count := 0
			for i := client * 7919; !stop.Load(); i++ { // a prime: clients are far from each other
				if err := s(ctx, i); err != nil {
					failed.Store(&err)
					stop.Store(true)
					return
				}
				count++
			}
			done.Add(int64(count))
		})
	}
	wg.Wait()
	took := time.Since(begun)
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return float64(done.Load()) / took.Seconds()
}

// compare runs both sides in turn, with n clients, a round each time b loops, and
// reports what it found as a row, with a note if there is something to say.
func compare(b *testing.B, row string, n int, ours, base side, note ...string) {
	b.Helper()
	perSecond(b, n, base) // warm
	perSecond(b, n, ours)
	m := sidebyside.Measured{Row: row, Note: strings.Join(note, "; ")}
	for round := 0; b.Loop(); round++ {
		var o, p float64
		if round%2 == 0 { // neither is always the one that comes first
			p, o = perSecond(b, n, base), perSecond(b, n, ours)
		} else {
			o, p = perSecond(b, n, ours), perSecond(b, n, base)
		}
		if unitOf(b, row) == "µs" {
			o, p = 1e6/o, 1e6/p
		}
		m.Ours, m.Base = append(m.Ours, o), append(m.Base, p)
	}
	report(b, m)
}

// eachClients compares with each number of clients.
func eachClients(b *testing.B, kind string, ours, base side, clients ...int) {
	b.Helper()
	for _, n := range clients {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			compare(b, kind+", "+sidebyside.Clients(n), n, ours, base)
		})
	}
}

func unitOf(b *testing.B, row string) string {
	b.Helper()
	f, err := sidebyside.Judge(sidebyside.Measured{Row: row, Ours: []float64{1}, Base: []float64{1}})
	if err != nil {
		b.Fatal(err)
	}
	return f.Unit
}

// report reports what was measured, and adds it to the file that was asked for.
func report(b *testing.B, m sidebyside.Measured) {
	b.Helper()
	f, err := sidebyside.Judge(m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // of a round: it means nothing
	b.ReportMetric(f.Value, "ours-"+f.Unit)
	b.ReportMetric(f.Baseline, "base-"+f.Unit)
	b.ReportMetric(f.Ratio, "ratio")
	if *measured == "" {
		return
	}
	line, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	file, err := os.OpenFile(*measured, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	_, err = file.Write(append(line, '\n'))
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	say("%s: %.2f %s, baseline %.2f, ratio %.2f (%.2f–%.2f)", f.Name, f.Value, f.Unit, f.Baseline, f.Ratio, f.Low, f.High)
}

// say tells whoever waits.
func say(format string, args ...any) {
	if *measured != "" {
		fmt.Fprintf(os.Stderr, "bench-valkey: "+format+"\n", args...)
	}
}
