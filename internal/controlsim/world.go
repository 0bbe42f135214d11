package controlsim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
)

const (
	// tick is how often what decides is told the time.
	tick = 100 * time.Millisecond
	// mostMembers bounds members.
	mostMembers = 5
	// mostDrift is by how much a clock runs wrong. Two of them differ by less than the
	// guard in a TTL.
	mostDrift = 0.08
)

// noon is when a run begins.
var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// An Options says how to run a seed.
type Options struct {
	Words bool // keep what happened, in words
}

// A Violation is something promised that was not kept.
type Violation struct {
	Invariant string
	At        time.Duration
	Text      string
}

// String says it on one line.
func (v Violation) String() string { return fmt.Sprintf("%s at %v: %s", v.Invariant, v.At, v.Text) }

// A Result is what became of a run.
type Result struct {
	Seed       uint64
	Violations []Violation // the first ones
	Lines      []string    // with Options.Words
	Virtual    time.Duration
	Events     uint64
	Trace      uint64 // a hash of all that happened
	Stats      Stats
	// FailedOver is how long it took until a write was taken again, for each primary that
	// died while another Region's member led and all else was well.
	FailedOver []time.Duration
	// Gaps is for how long no write was taken in each planned switchover that was done, by
	// the servers' doing: from the end of an epoch to the next one's lease.
	Gaps []time.Duration
}

// Stats are counts of what happened in a run, or in many.
type Stats struct {
	Taken, Acknowledged         int // writes
	Epochs                      int
	Planned, Done, Failed       int // switchovers
	Failovers, Receipts, Closed int
	Losses                      int // epochs that ended since the server might have lost something
	Adopted                     int // leases of those whose servers somebody had made primaries
	Recovered, Unknown          int // writes that were brought home, and receipts that are not sure
	Lost                        int // acknowledged writes that nobody has, as receipts say
	Bystanders                  int // of those: that a third server had, which was ahead of the new primary
	FullCopies, PartialCopies   int
	Failsafe                    int // leases that were given by the word of all others
	Restored                    int // states that came as a snapshot
}

// Plus returns the sum.
func (s Stats) Plus(o Stats) Stats {
	s.Taken += o.Taken
	s.Acknowledged += o.Acknowledged
	s.Epochs += o.Epochs
	s.Planned += o.Planned
	s.Done += o.Done
	s.Failed += o.Failed
	s.Failovers += o.Failovers
	s.Receipts += o.Receipts
	s.Losses += o.Losses
	s.Adopted += o.Adopted
	s.Closed += o.Closed
	s.Recovered += o.Recovered
	s.Unknown += o.Unknown
	s.Lost += o.Lost
	s.Bystanders += o.Bystanders
	s.FullCopies += o.FullCopies
	s.PartialCopies += o.PartialCopies
	s.Failsafe += o.Failsafe
	s.Restored += o.Restored
	return s
}

// A world is one run. All of it is one goroutine's.
type world struct {
	rng    *rand.Rand
	now    time.Duration
	queue  queue
	serial uint64
	words  bool
	out    Result

	lease   lease.Config
	judge   judge.Config
	members []*member
	servers []*server // of each Region; the last member may be a witness, with none
	cut     [mostMembers][mostMembers]bool
	log     quorum
	oracle  oracle
	story   story
	service *service // nil: nodes promote servers, and have them follow
}

// names are those of members, a letter each.
const names = "abcde"

func nameOf(i int) string { return names[i : i+1] }

// region returns a Region's number; -1: there is none of that name.
func (w *world) region(name string) int {
	for i := range w.servers {
		if nameOf(i) == name {
			return i
		}
	}
	return -1
}

// holder returns the server of the Region that holds the lease, as agreed.
func (w *world) holder() *server {
	if i := w.region(w.log.state.Lease.Holder); i >= 0 {
		return w.servers[i]
	}
	return w.servers[0]
}

// mostViolations bounds what is kept of a run that goes wrong.
const mostViolations = 5

func (w *world) violation(invariant, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(w.out.Violations) < mostViolations {
		w.out.Violations = append(w.out.Violations, Violation{invariant, w.now, text})
	}
	w.say("VIOLATION of %s: %s", invariant, text)
}

func (w *world) say(format string, args ...any) {
	if w.words {
		w.out.Lines = append(w.out.Lines, fmt.Sprintf("%10v ", w.now.Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

// trace mixes something that happened into the run's hash.
func (w *world) trace(v uint64) { w.out.Trace = (w.out.Trace ^ v ^ uint64(w.now)) * 1099511628211 } //nolint:gosec // a hash

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// one reports true once in n times.
func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }

// rate returns how fast a clock runs.
func (w *world) rate() float64 { return 1 + (2*w.rng.Float64()-1)*mostDrift }

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	w.queue.push(event{w.now + d, w.serial, do})
}

func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.queue.pop()
		w.now = e.at
		w.out.Events++
		e.do()
	}
	w.now = until
}

// send has something happen at another place a moment later, unless what is between the
// two is cut then. Some of it is lost, late, or comes twice.
func (w *world) send(from, to int, do func()) {
	if from == to {
		w.after(w.between(0, time.Millisecond), do)
		return
	}
	if w.one(200) {
		return
	}
	for range 1 + w.rng.IntN(25)/24 {
		delay := w.between(time.Millisecond, 60*time.Millisecond)
		if w.one(80) {
			delay = w.between(0, 2500*time.Millisecond)
		}
		w.after(delay, func() {
			if !w.cut[from][to] {
				do()
			}
		})
	}
}

// reaches reports whether words of two places reach each other now.
func (w *world) reaches(a, b int) bool { return !w.cut[a][b] && !w.cut[b][a] }
