package leasesim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
)

const (
	eventful = 120 * time.Second // faults until then
	calm     = 60 * time.Second  // and none from then on
	tick     = 100 * time.Millisecond
	// electing is how long a leader that nobody hears stays one, at least, and again
	// at most.
	electing = 1500 * time.Millisecond
	// lateEntry is for how long the last words of a leader that was replaced may turn
	// up in the log.
	lateEntry = 20 * time.Second
	// mostDrift is by how much a clock runs wrong. Two of them differ by less than the
	// guard in a TTL.
	mostDrift = 0.08
)

// An Options says how to run a seed.
type Options struct {
	Words bool // keep what happened, in words
}

// A Result is what became of a run.
type Result struct {
	Seed       uint64
	Violations []string
	Lines      []string // with Options.Words
	Writes     int      // taken
	Epochs     uint64   // granted
	Virtual    time.Duration
}

// A world is one run. All of it is one goroutine's.
type world struct {
	rng     *rand.Rand
	now     time.Duration
	queue   queue
	serial  uint64
	config  lease.Config
	members []*member
	servers []*server // of each Region; the last member may be a witness, with none
	cut     map[[2]int]bool
	log     ledger
	stalled time.Duration // until then the quorum agrees to nothing
	words   bool
	out     Result

	newest   uint64        // epoch of a write that was taken
	newestAt time.Duration // and when the first of it was
	lastHeld time.Duration // when a write was taken last
}

// Run runs a seed.
func Run(seed uint64, o Options) Result {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 3)), cut: map[[2]int]bool{}, words: o.Words, //nolint:gosec // a simulation
		config: lease.Config{}.WithDefaults(), out: Result{Seed: seed, Virtual: eventful + calm},
	}
	w.config.Strict = w.rng.IntN(4) == 0
	n := 3 + 2*w.rng.IntN(2)
	witness := w.rng.IntN(2)
	for i := range n {
		w.members = append(w.members, &member{world: w, id: i, name: fmt.Sprint("m", i)})
		if i < n-witness {
			w.servers = append(w.servers, newServer(w, i))
		}
	}
	for _, m := range w.members {
		m.start()
	}
	for _, s := range w.servers {
		s.write()
	}
	w.fault()
	w.run(eventful)
	w.heal()
	w.run(eventful + calm)
	if w.now-w.lastHeld > 15*time.Second {
		w.violation("nobody has taken a write for %v, with all well for %v", w.now-w.lastHeld, calm)
	}
	w.out.Epochs = w.log.epoch
	return w.out
}

func (w *world) violation(format string, args ...any) {
	w.out.Violations = append(w.out.Violations, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	w.say("VIOLATION "+format, args...)
}

func (w *world) say(format string, args ...any) {
	if w.words {
		w.out.Lines = append(w.out.Lines, fmt.Sprintf("%10v ", w.now.Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// rate returns how fast a clock runs.
func (w *world) rate() float64 { return 1 + (2*w.rng.Float64()-1)*mostDrift }

// An event is something at a time.
type event struct {
	at     time.Duration
	serial uint64
	do     func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) } //nolint:forcetypeassert // of this file
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, do})
}

func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event) //nolint:forcetypeassert // of this file
		w.now = e.at
		e.do()
	}
	w.now = until
}

// send has something happen at another place a moment later, unless what is between the
// two is cut then. Some of it comes twice.
func (w *world) send(from, to int, do func()) {
	if w.rng.IntN(50) == 0 {
		return
	}
	for range 1 + w.rng.IntN(20)/19 {
		delay := w.between(time.Millisecond, 80*time.Millisecond)
		if w.rng.IntN(30) == 0 {
			delay = w.between(0, 3*time.Second)
		}
		w.after(delay, func() {
			if !w.cut[[2]int{from, to}] {
				do()
			}
		})
	}
}

// reaches reports whether words of two places reach each other now.
func (w *world) reaches(a, b int) bool {
	return !w.cut[[2]int{a, b}] && !w.cut[[2]int{b, a}]
}

// fault makes something go wrong, or well again, now and then.
func (w *world) fault() {
	w.after(w.between(0, 3*time.Second), func() {
		if w.now >= eventful {
			return
		}
		w.fail()
		w.fault()
	})
}

func (w *world) fail() {
	m := w.members[w.rng.IntN(len(w.members))]
	if w.now < w.stalled && w.rng.IntN(2) == 0 { // what the quorum knows is all that there is
		m.crash()
		w.after(w.between(10*time.Millisecond, 3*time.Second), m.start)
		return
	}
	s := w.servers[w.rng.IntN(len(w.servers))]
	switch w.rng.IntN(12) {
	case 10: // disks that hang, or elections without an end
		w.stalled = w.now + w.between(0, 20*time.Second)
		w.say("the quorum agrees to nothing until %v", w.stalled)
	case 11:
		w.members[w.log.holder].abdicate()
	case 0, 1: // alone
		for _, other := range w.members {
			w.set(m.id, other.id, true)
			w.set(other.id, m.id, true)
		}
	case 2: // not heard by some, or not hearing
		other := w.rng.IntN(len(w.members))
		w.set(m.id, other, true)
	case 3:
		m.crash()
		w.after(w.between(10*time.Millisecond, 10*time.Second), m.start)
	case 4: // the holder loses the leader and all others, or the leader alone
		if l := w.log.leader; l != nil {
			w.set(w.log.holder, l.id, true)
			w.set(l.id, w.log.holder, true)
		}
	case 5:
		s.restart()
	case 6:
		s.pause(w.between(0, 12*time.Second))
	case 7: // a step that is noticed by whoever writes, or one that is borne
		d := w.between(-300*time.Millisecond, 300*time.Millisecond)
		if w.now >= s.paused && w.rng.IntN(2) == 0 {
			d = w.between(-5*time.Second, 5*time.Second)
		}
		s.step(d)
	default:
		w.heal()
	}
}

func (w *world) set(from, to int, cut bool) {
	if from != to && w.cut[[2]int{from, to}] != cut {
		w.cut[[2]int{from, to}] = cut
		w.say("cut %d -> %d: %v", from, to, cut)
	}
}

func (w *world) heal() {
	for _, m := range w.members {
		for _, other := range w.members {
			w.set(m.id, other.id, false)
		}
	}
}
