package leasesim

import (
	"flag"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 200, "how many runs; `make lease` does 10,000")
	seed  = flag.Uint64("seed", 0, "one run, in words")
)

// No two servers take writes at a time, whatever fails, and somebody does in the end.
func TestOneWriterAtATime(t *testing.T) {
	if *seed != 0 {
		r := Run(*seed, Options{Words: true})
		t.Logf("%s\n%s", strings.Join(r.Lines, "\n"), strings.Join(r.Violations, "\n"))
		return
	}
	var next, epochs atomic.Uint64
	var writes atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1); s <= *seeds && !t.Failed(); s = next.Add(1) {
				r := Run(s, Options{})
				writes.Add(int64(r.Writes))
				epochs.Add(r.Epochs)
				if len(r.Violations) > 0 {
					t.Errorf("seed %d: %s\n(-seed %d tells the story)", s, strings.Join(r.Violations, "\n"), s)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d runs, %d writes, %d epochs", *seeds, writes.Load(), epochs.Load())
	if !t.Failed() && (writes.Load() == 0 || epochs.Load() < *seeds) {
		t.Error("too little happened")
	}
}
