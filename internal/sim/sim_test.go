package sim

import (
	"flag"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed only, and tell its story")
	seedsFlag = flag.Uint64("seeds", 20, "run so many seeds")
)

func TestSeeds(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	for seed := first; seed < first+n; seed++ {
		r := Run(seed, Options{Words: *seedFlag != 0})
		for _, l := range r.Lines {
			t.Log(l)
		}
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
			if *seedFlag != 0 {
				for _, w := range v.Where {
					t.Log("    ", w)
				}
			}
		}
		t.Logf("seed %d: %d events, trace %x, %+v", seed, r.Events, r.Trace, r.Stats)
	}
}
