package replica

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "explore this seed only")
	seedsFlag = flag.Uint64("seeds", 300, "explore so many seeds")
)

// TestExplore drives the cores of two or three Regions over links that lose,
// repeat, delay and reorder frames and are cut, with logs that are trimmed,
// records that are forgotten, copies that take over and Regions that lose everything. Once all is well
// again, all Regions must be equal, whatever the order of things was.
func TestExplore(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	var sum Counts
	var lost, ended, failovers int
	for seed := first; seed < first+n; seed++ {
		w := newWorld(seed)
		w.run(1500)
		w.heal(t)
		failovers += w.failovers
		for _, l := range w.links {
			sum = sum.plus(l.counts).plus(l.s.Counts())
			lost, ended = lost+l.lost, ended+l.ended
		}
		if t.Failed() {
			t.Fatalf("go test -run TestExplore -seed %d", seed)
		}
	}
	t.Logf("seeds %d to %d: %+v, %d frames lost, %d links ended, %d failovers",
		first, first+n-1, sum, lost, ended, failovers)
	// An exploration that never went the hard ways shows nothing.
	if n >= 100 && (sum.Redeliveries == 0 || sum.Holes == 0 || sum.Resyncs == 0 || sum.Pulls == 0 ||
		sum.States == 0 || sum.Diverged == 0 || sum.Repaired == 0 || failovers == 0) {
		t.Errorf("explored %+v, want some of each", sum)
	}
}

type world struct {
	rnd       *rand.Rand
	now       crdt.Time
	stores    map[crdt.Region]*store
	copies    map[crdt.Region]*store // what a failover falls back to
	links     []*testLink
	wrote     map[crdt.Key]map[crdt.Region]bool
	calm      bool
	failovers int
	t         []string // what went wrong
	limits    Limits
	rates     [faults]int // per mille
}

func newWorld(seed uint64) *world {
	w := &world{
		rnd: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000, stores: map[crdt.Region]*store{},
		copies: map[crdt.Region]*store{},
		wrote:  map[crdt.Key]map[crdt.Region]bool{}, limits: Limits{Window: 1000, Redeliver: 2 * time.Second, Sweep: 10 * time.Second},
	}
	for i, rate := range [faults]int{
		faultTrim: 30, faultForget: 30, faultBlank: 4, faultCut: 4, faultLose: 15,
		faultRepeat: 20, faultReorder: 20, faultEngine: 4, faultCopy: 20, faultFailover: 4,
	} {
		w.rates[i] = rate * w.rnd.IntN(2)
	}
	regions := crdt.Region(2 + w.rnd.IntN(2))
	for r := crdt.Region(1); r <= regions; r++ {
		w.stores[r] = w.newStore(r)
		for p := crdt.Region(1); p <= regions; p++ {
			if p != r {
				w.links = append(w.links, &testLink{w: w, origin: r, peer: p})
			}
		}
	}
	return w
}

// newStore returns an empty store whose records last longer than the test.
func (w *world) newStore(r crdt.Region) *store {
	s := newStore(crdt.NewActor(r, w.rnd.Uint32()))
	s.until = w.now.Add(24 * time.Hour)
	return s
}

// chance says whether fault happens now. Each seed has some of the faults only:
// with all of them always, few links would live long enough for the rarer ways.
func (w *world) chance(fault int) bool {
	return !w.calm && w.rnd.IntN(1000) < w.rates[fault]
}

const (
	faultTrim = iota
	faultForget
	faultBlank
	faultCut
	faultLose
	faultRepeat
	faultReorder
	faultEngine
	faultCopy
	faultFailover
	faults
)

func (w *world) run(steps int) {
	for range steps {
		w.now += crdt.Time(w.rnd.IntN(20))
		if w.rnd.IntN(100) < 40 && !w.calm {
			w.write(w.anyRegion(), testKeys()[w.rnd.IntN(len(testKeys()))])
		}
		if w.chance(faultTrim) {
			w.trim()
		}
		if w.chance(faultForget) {
			w.forget()
		}
		if w.chance(faultBlank) {
			w.blank()
		}
		if w.chance(faultCopy) {
			r := w.anyRegion()
			w.copies[r] = w.stores[r].clone()
		}
		if w.chance(faultFailover) {
			w.failover(w.anyRegion())
		}
		w.links[w.rnd.IntN(len(w.links))].step()
	}
}

func (w *world) anyRegion() crdt.Region { return crdt.Region(1 + w.rnd.IntN(len(w.stores))) }

func (w *world) write(r crdt.Region, k crdt.Key) {
	w.stores[r].put(w.now, k, fmt.Sprint(r, w.now))
	if w.wrote[k] == nil {
		w.wrote[k] = map[crdt.Region]bool{}
	}
	w.wrote[k][r] = true
}

// trim drops the front of a log whether or not peers have it.
func (w *world) trim() {
	s := w.stores[w.anyRegion()]
	p := w.rnd.IntN(4)
	s.trim(p, s.logs[p].trimmed+uint64(w.rnd.IntN(len(s.logs[p].frags)+1)))
}

// forget loses a record that the Region never wrote, so that the next entry
// about it finds a gap.
func (w *world) forget() {
	r, k := w.anyRegion(), testKeys()[w.rnd.IntN(len(testKeys()))]
	if !w.wrote[k][r] {
		delete(w.stores[r].records, k)
	}
}

// blank loses all that a Region has, if its peers have all of its log.
func (w *world) blank() {
	r := w.anyRegion()
	head := w.stores[r].head()
	for _, s := range w.stores {
		at := s.cursor[r]
		if s != w.stores[r] && !coversAll(&at, &head) {
			return
		}
	}
	w.stores[r] = w.newStore(r)
	delete(w.copies, r)
	for _, l := range w.links {
		if l.origin == r || l.peer == r {
			l.end(nil)
		}
		if l.peer == r {
			l.want = 1<<crdt.Partitions - 1
		}
	}
}

// failover has a copy take over, which lacks the last of what the Region wrote and
// took in. Who takes in there begins anew; who sends from there goes on.
func (w *world) failover(r crdt.Region) {
	old := w.copies[r]
	if old == nil {
		return
	}
	delete(w.copies, r)
	old.promote(crdt.NewActor(r, w.rnd.Uint32()))
	w.stores[r] = old
	w.failovers++
	for _, l := range w.links {
		if l.peer == r {
			l.end(nil)
		}
	}
}

// heal lets links be good, then has every link compare once. That alone must
// find what was forgotten without a trace: no record is written again.
func (w *world) heal(t *testing.T) {
	t.Helper()
	w.calm = true
	w.limits.Window = 1 << 20
	for _, l := range w.links {
		if w.rnd.IntN(2) == 0 { // the others must mend themselves
			l.end(nil)
		}
	}
	w.settle()
	if w.rates[faultForget] == 0 && w.failovers == 0 {
		w.compare(t) // nothing was lost, so nothing need be compared
	}
	for _, l := range w.links {
		l.s.Compare()
	}
	w.sweep(t)
	w.compare(t)
	before := w.now
	w.settle()
	for _, bad := range w.t {
		t.Error(bad)
	}
	for _, l := range w.links {
		if l.up && l.r.HeardAt() < before {
			at, head := l.r.At(), w.stores[l.origin].head()
			t.Errorf("link %d to %d: HeardAt() = %d, want at least %d; at %v, head %v", l.origin, l.peer,
				l.r.HeardAt(), before, at[:4], head[:4])
		}
		head, acked := w.stores[l.origin].head(), l.s.Acked()
		if !coversAll(&acked, &head) {
			t.Errorf("link %d to %d: Acked() = %v, want %v", l.origin, l.peer, acked[:4], head[:4])
		}
	}
	w.still(t)
}

// sweep runs until every link has compared all, and mended what it found.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	const chunk, most = 500, 60
	for range most {
		w.run(chunk)
		swept := true
		for _, l := range w.links {
			swept = swept && l.up && l.s.Sweep().demand == 0 && !l.s.resyncing()
		}
		if swept {
			return
		}
	}
	t.Errorf("links still compare after %d steps", chunk*most)
}

// still wants another comparison to find nothing and to send no states.
func (w *world) still(t *testing.T) {
	t.Helper()
	var before []Counts
	for _, l := range w.links {
		before = append(before, l.s.Counts())
		l.s.Compare()
	}
	w.sweep(t)
	for i, l := range w.links {
		was, got := before[i], l.s.Counts()
		if got.Compared-was.Compared < crdt.Partitions || got.Diverged != was.Diverged || got.Repaired != was.Repaired {
			t.Errorf("link %d to %d compared equal Regions: %+v, after %+v", l.origin, l.peer, got, was)
		}
	}
	w.compare(t)
}

// settle runs until all logs are taken in and heard of, or for long enough.
func (w *world) settle() {
	const chunk, most = 2000, 30
	start := w.now
	for range most {
		w.run(chunk)
		settled := true
		for _, l := range w.links {
			head := w.stores[l.origin].head()
			at := w.stores[l.peer].cursor[l.origin]
			settled = settled && l.up && coversAll(&at, &head) && l.r.HeardAt() > start
		}
		if settled {
			return
		}
	}
}

// compare wants every Region to hold the same.
func (w *world) compare(t *testing.T) {
	t.Helper()
	for _, k := range testKeys() {
		for r, s := range w.stores {
			if got, want := s.get(k).Digest(), w.stores[1].get(k).Digest(); got != want {
				t.Errorf("Region %d: Digest(%v) = %x, want %x: it has heard %v, Region 1 %v",
					r, k, got, want, s.get(k).VV, w.stores[1].get(k).VV)
			}
		}
	}
}
