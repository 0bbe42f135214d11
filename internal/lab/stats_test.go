package lab

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/console"
)

func TestStatsCount(t *testing.T) {
	var s stats
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.request()
	s.request()
	if before := s.read(false, roam.Normal); before != roam.Normal {
		t.Errorf("the rung before the first answer = %v, want normal", before)
	}
	s.read(true, roam.Stale)
	if before := s.write(at, time.Millisecond, roam.LocalOnly); before != roam.Stale {
		t.Errorf("the rung before = %v, want stale", before)
	}
	s.write(at, time.Millisecond, roam.Refused)
	s.write(at, time.Millisecond, roam.Sealed)
	var r console.Region
	s.fill(&r, at)
	want := console.Rungs{Normal: 1, Stale: 1, LocalOnly: 1, Sealed: 1, Refused: 1}
	if r.Requests != 2 || r.ReadsLocal != 1 || r.ReadsRemote != 1 || r.Writes != 3 || r.Rungs != want {
		t.Errorf("filled = %+v, want 2 requests, 1 read here, 1 elsewhere, 3 writes and %+v", r, want)
	}
}

// The rate is of whole seconds that are over, so that it does not jump within one.
func TestStatsRate(t *testing.T) {
	var s stats
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 10 {
		for range 5 {
			s.write(at.Add(time.Duration(i)*time.Second), time.Millisecond, roam.Normal)
		}
	}
	for later, want := range map[int]float64{9: 5, 10: 5, 12: 3, 14: 1, 15: 0, 100: 0} {
		var r console.Region
		s.fill(&r, at.Add(time.Duration(later)*time.Second))
		if r.WritesPerSecond != want {
			t.Errorf("5 writes a second for 10 s, at second %d: %g a second, want %g", later, r.WritesPerSecond, want)
		}
	}
}

func TestStatsPercentiles(t *testing.T) {
	var s stats
	var none console.Region
	s.fill(&none, time.Now())
	if none.WriteP50Ms != nil || none.WriteP99Ms != nil {
		t.Errorf("without writes p50 = %v, p99 = %v, want none", none.WriteP50Ms, none.WriteP99Ms)
	}
	at := time.Now()
	for range keptWrites {
		s.write(at, time.Hour, roam.Normal) // long ago, and forgotten below
	}
	for i := range keptWrites {
		s.write(at, time.Duration(i)*time.Millisecond, roam.Normal)
	}
	var r console.Region
	s.fill(&r, at)
	if *r.WriteP50Ms != 128 || *r.WriteP99Ms != 253 {
		t.Errorf("of 0 to 255 ms p50 = %g, p99 = %g, want 128 and 253", *r.WriteP50Ms, *r.WriteP99Ms)
	}
}
