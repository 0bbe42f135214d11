package lab

import (
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/console"
)

const (
	// keptWrites is how many write times the percentiles are of.
	keptWrites = 256
	// rateSeconds is over how long the write rate is taken.
	rateSeconds = 5
)

// stats counts what one Region did. The zero value is ready.
type stats struct {
	mu       sync.Mutex // guards what follows
	requests uint64
	local    uint64
	remote   uint64
	writes   uint64
	rungs    console.Rungs
	times    []time.Duration // of the last writes, in a ring
	seconds  [rateSeconds + 1]bucket
	rung     roam.Rung // of the last answer
}

// A bucket counts the writes of one second.
type bucket struct {
	second int64
	n      int
}

func (s *stats) request() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
}

// read counts a session's read, and returns the rung of the answer before it.
func (s *stats) read(left bool, rung roam.Rung) (before roam.Rung) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left {
		s.remote++
	} else {
		s.local++
	}
	return s.answered(rung)
}

// write counts a write, and returns the rung of the answer before it.
func (s *stats) write(now time.Time, took time.Duration, rung roam.Rung) (before roam.Rung) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times) < keptWrites {
		s.times = append(s.times, took)
	} else {
		s.times[s.writes%keptWrites] = took
	}
	s.writes++
	b := &s.seconds[now.Unix()%int64(len(s.seconds))]
	if b.second != now.Unix() {
		*b = bucket{second: now.Unix()}
	}
	b.n++
	return s.answered(rung)
}

func (s *stats) answered(rung roam.Rung) (before roam.Rung) {
	switch rung {
	case roam.Normal:
		s.rungs.Normal++
	case roam.Stale:
		s.rungs.Stale++
	case roam.LocalOnly:
		s.rungs.LocalOnly++
	case roam.Sealed:
		s.rungs.Sealed++
	case roam.Refused:
		s.rungs.Refused++
	}
	before, s.rung = s.rung, rung
	return before
}

// fill writes what was counted into a Region's state.
func (s *stats) fill(r *console.Region, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Requests, r.ReadsLocal, r.ReadsRemote, r.Writes, r.Rungs = s.requests, s.local, s.remote, s.writes, s.rungs
	for _, b := range s.seconds {
		if age := now.Unix() - b.second; age > 0 && age <= rateSeconds {
			r.WritesPerSecond += float64(b.n) / rateSeconds
		}
	}
	if len(s.times) > 0 {
		sorted := slices.Sorted(slices.Values(s.times))
		r.WriteP50Ms = millis(sorted[len(sorted)/2])
		r.WriteP99Ms = millis(sorted[len(sorted)*99/100])
	}
}

func millis(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}
