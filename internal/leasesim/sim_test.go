package leasesim

import (
	"flag"
	"strings"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 2000, "how many runs")
	seed  = flag.Uint64("seed", 0, "one run, in words")
)

// No two servers take writes at a time, whatever fails, and somebody does in the end.
func TestOneWriterAtATime(t *testing.T) {
	if *seed != 0 {
		r := Run(*seed, Options{Words: true})
		t.Log(strings.Join(r.Lines, "\n"))
	}
	var writes, epochs int
	for s := uint64(1); s <= *seeds; s++ {
		r := Run(s, Options{})
		writes, epochs = writes+r.Writes, epochs+int(r.Epochs) //nolint:gosec // some dozens
		if len(r.Violations) > 0 {
			t.Fatalf("seed %d: %s\n(-seed %d tells the story)", s, strings.Join(r.Violations, "\n"), s)
		}
	}
	t.Logf("%d runs, %d writes, %d epochs", *seeds, writes, epochs)
	if writes == 0 || epochs < int(*seeds) {
		t.Error("too little happened")
	}
}
