package sim

import (
	"fmt"
	"time"
)

// A trace is a hash of all that happened, in order, and where it is asked for,
// the story of it in words.
type trace struct {
	queue *queue
	hash  uint64
	words bool
	lines []string
}

func newTrace(q *queue, words bool) *trace { return &trace{queue: q, hash: fnvOffset, words: words} }

// FNV-1a, 64 bits: it need not be strong, only the same on every machine.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// TraceStart is the hash of nothing, and MixTrace adds a number to a hash: with
// both, the traces of many runs become one.
const TraceStart uint64 = fnvOffset

// MixTrace adds v to the hash h.
func MixTrace(h, v uint64) uint64 { return mix(h, v) }

func mix(h, v uint64) uint64 {
	for range 8 {
		h = (h ^ v&0xff) * fnvPrime
		v >>= 8
	}
	return h
}

func mixString(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// hashOf returns a number for err; zero for none.
func hashOf(err error) uint64 {
	if err == nil {
		return 0
	}
	return mixString(fnvOffset, err.Error())
}

// note takes down that something happened.
func (t *trace) note(what string, facts ...uint64) {
	t.hash = mixString(mix(t.hash, uint64(t.queue.now)), what) //nolint:gosec // never negative
	for _, f := range facts {
		t.hash = mix(t.hash, f)
	}
	if t.words {
		t.line("%s %v", what, facts)
	}
}

// tell takes down what a reader of the story wants to know. It is part of the
// hash too, since its words are facts.
func (t *trace) tell(format string, args ...any) {
	if !t.words {
		return
	}
	t.line(format, args...)
}

func (t *trace) line(format string, args ...any) {
	at := time.Duration(t.queue.now) * time.Microsecond
	t.lines = append(t.lines, fmt.Sprintf("%10.3fs  ", at.Seconds())+fmt.Sprintf(format, args...))
}
