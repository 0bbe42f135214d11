package sim

import (
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A network carries messages between Regions, each way on a path of its own.
// What happens to a message is drawn when it is sent; a cut path loses what is
// on it, too.
type network struct {
	queue *queue
	dice  *rand.Rand
	paths map[[2]crdt.Region]*path
	rates rates
}

// rates are what the network does to messages in one run, in chances of 1. Runs
// differ: where all goes wrong at once, the rarer ways never come about.
type rates struct {
	lost, repeated, late, reordered float64
}

type path struct {
	delay time.Duration // one way, before jitter
	cuts  int           // cut while above 0: cuts overlap
	last  instant       // when the last frame of the stream arrives
}

// mostLate is how late a message can be: longer than any timeout, as long as a
// segment that is sent again behind a cut.
const mostLate = 8 * time.Second

func newNetwork(q *queue, dice *rand.Rand, regions int, r rates) *network {
	n := &network{queue: q, dice: dice, paths: map[[2]crdt.Region]*path{}, rates: r}
	for a := 1; a <= regions; a++ {
		for b := 1; b <= regions; b++ {
			delay := time.Duration(200+dice.IntN(800)) * time.Microsecond
			if a != b {
				delay = time.Duration(10+dice.IntN(90)) * time.Millisecond
			}
			n.paths[[2]crdt.Region{crdt.Region(a), crdt.Region(b)}] = &path{delay: delay} //nolint:gosec // a handful
		}
	}
	return n
}

func (n *network) path(from, to crdt.Region) *path { return n.paths[[2]crdt.Region{from, to}] }

// cut cuts the path from one Region to another, until heal is called as often.
func (n *network) cut(from, to crdt.Region)  { n.path(from, to).cuts++ }
func (n *network) heal(from, to crdt.Region) { n.path(from, to).cuts-- }

// open reports whether a message can get from one Region to another.
func (n *network) open(from, to crdt.Region) bool { return n.path(from, to).cuts == 0 }

func (n *network) chance(p float64) bool { return p > 0 && n.dice.Float64() < p }

// jittered returns the time a message on p takes.
func (n *network) jittered(p *path) time.Duration {
	return p.delay + time.Duration(n.dice.Int64N(1+int64(p.delay)/4))
}

// call carries one message of a call: alone, so that it may overtake others, be
// late, or arrive twice.
func (n *network) call(from, to crdt.Region, arrive func()) {
	p := n.path(from, to)
	if from == to { // inside a Region little goes wrong
		n.deliver(p, n.jittered(p), arrive)
		return
	}
	if p.cuts > 0 || n.chance(n.rates.lost) {
		return
	}
	d := n.jittered(p)
	if n.chance(n.rates.late) {
		d += time.Duration(n.dice.Int64N(int64(mostLate)))
	}
	n.deliver(p, d, arrive)
	if n.chance(n.rates.repeated) {
		n.deliver(p, d+time.Duration(n.dice.Int64N(int64(mostLate))), arrive)
	}
}

// stream carries one frame of a connection. Frames keep their order, but where
// the rates break it, as no TCP would: a link must survive that too.
func (n *network) stream(from, to crdt.Region, arrive func()) {
	p := n.path(from, to)
	if p.cuts > 0 || n.chance(n.rates.lost) {
		return
	}
	at := n.queue.now.add(n.jittered(p))
	if n.chance(n.rates.reordered) {
		n.deliver(p, at.sub(n.queue.now)+p.delay, arrive)
		return
	}
	p.last = max(p.last+1, at)
	n.deliver(p, p.last.sub(n.queue.now), arrive)
	if n.chance(n.rates.repeated) {
		n.deliver(p, p.last.sub(n.queue.now)+p.delay, arrive)
	}
}

func (n *network) deliver(p *path, d time.Duration, arrive func()) {
	n.queue.after(d, func() {
		if p.cuts == 0 {
			arrive()
		}
	})
}
