package sim

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// An instant is true time, which nobody in the world can read: microseconds
// since the run began.
type instant int64

func (t instant) add(d time.Duration) instant { return t + instant(d.Microseconds()) }

// sub returns the time from u to t.
func (t instant) sub(u instant) time.Duration { return time.Duration(t-u) * time.Microsecond }

// origin is what a right clock shows when a run begins: late in 2026, so that
// stamps have the size that they have in production.
const origin = crdt.Time(90_000_000_000)

// crdt returns what a right clock shows at t.
func (t instant) crdt() crdt.Time { return origin + crdt.Time(t/1000) }

// A queue runs functions in the order of their times; of one time, in the order
// in which they were asked for.
type queue struct {
	now    instant
	next   uint64
	events []event // a heap; not container/heap's, which would box each event
	run    uint64  // events so far
	most   uint64  // of run; beyond, nothing happens any more
}

type event struct {
	at  instant
	seq uint64
	do  func()
}

func (e event) before(f event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// after has do run d from now.
func (q *queue) after(d time.Duration, do func()) { q.at(q.now.add(d), do) }

// at has do run at t, or at once if that is past.
func (q *queue) at(t instant, do func()) {
	q.next++
	q.events = append(q.events, event{max(t, q.now), q.next, do})
	for i := len(q.events) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.events[i].before(q.events[parent]) {
			break
		}
		q.events[i], q.events[parent] = q.events[parent], q.events[i]
		i = parent
	}
}

// until runs all events up to t, but for those beyond most.
func (q *queue) until(t instant) {
	for len(q.events) > 0 && q.events[0].at <= t && !q.full() {
		e := q.pop()
		q.now = e.at
		q.run++
		e.do()
	}
	q.now = t
}

// full reports whether as much has happened as may.
func (q *queue) full() bool { return q.run >= q.most }

// pop takes the first event off.
func (q *queue) pop() event {
	first, last := q.events[0], len(q.events)-1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.events[child].before(q.events[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		q.events[i], q.events[least] = q.events[least], q.events[i]
		i = least
	}
}
