package replica

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "explore this seed only")
	seedsFlag = flag.Uint64("seeds", 300, "explore so many seeds")
)

// TestExplore drives the cores of two or three Regions over links that lose,
// repeat, delay and reorder frames and are cut, with logs that are trimmed,
// records that are forgotten and Regions that lose everything. Once all is well
// again, all Regions must be equal, whatever the order of things was.
func TestExplore(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	var sum Counts
	var lost, ended int
	for seed := first; seed < first+n; seed++ {
		w := newWorld(seed)
		w.run(1500)
		w.heal(t)
		for _, l := range w.links {
			sum = sum.plus(l.counts)
			lost, ended = lost+l.lost, ended+l.ended
		}
		if t.Failed() {
			t.Fatalf("go test -run TestExplore -seed %d", seed)
		}
	}
	t.Logf("seeds %d to %d: %+v, %d frames lost, %d links ended", first, first+n-1, sum, lost, ended)
	// An exploration that never went the hard ways shows nothing.
	if n >= 100 && (sum.Redeliveries == 0 || sum.Holes == 0 || sum.Resyncs == 0 || sum.Pulls == 0) {
		t.Errorf("explored %+v, want some of each", sum)
	}
}

type world struct {
	rnd    *rand.Rand
	now    crdt.Time
	stores map[crdt.Region]*store
	links  []*testLink
	wrote  map[crdt.Key]map[crdt.Region]bool
	calm   bool
	t      []string // what went wrong
	limits Limits
	rates  [faults]int // per mille
}

// testLink is one origin's link to one peer.
type testLink struct {
	w            *world
	origin, peer crdt.Region
	up           bool
	s            *Sender
	r            *Receiver
	gen          int
	from         engine.Positions
	there, back  [][]byte // frames on their way
	want         uint64
	counts       Counts
	lost, ended  int
	lastBeat     crdt.Time
}

func newWorld(seed uint64) *world {
	w := &world{
		rnd: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000, stores: map[crdt.Region]*store{},
		wrote: map[crdt.Key]map[crdt.Region]bool{}, limits: Limits{Window: 1000, Redeliver: 2 * time.Second},
	}
	for i, rate := range [faults]int{
		faultTrim: 30, faultForget: 30, faultBlank: 4, faultCut: 4, faultLose: 15,
		faultRepeat: 20, faultReorder: 20, faultEngine: 4,
	} {
		w.rates[i] = rate * w.rnd.IntN(2)
	}
	regions := crdt.Region(2 + w.rnd.IntN(2))
	for r := crdt.Region(1); r <= regions; r++ {
		w.stores[r] = newStore(crdt.NewActor(r, w.rnd.Uint32()))
		for p := crdt.Region(1); p <= regions; p++ {
			if p != r {
				w.links = append(w.links, &testLink{w: w, origin: r, peer: p})
			}
		}
	}
	return w
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
	faults
)

func (w *world) run(steps int) {
	for range steps {
		w.now += crdt.Time(w.rnd.IntN(20))
		if w.rnd.IntN(100) < 40 && !w.calm {
			w.write(crdt.Region(1+w.rnd.IntN(len(w.stores))), testKeys()[w.rnd.IntN(len(testKeys()))])
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
		w.links[w.rnd.IntN(len(w.links))].step()
	}
}

func (w *world) write(r crdt.Region, k crdt.Key) {
	w.stores[r].put(w.now, k, fmt.Sprint(r, w.now))
	if w.wrote[k] == nil {
		w.wrote[k] = map[crdt.Region]bool{}
	}
	w.wrote[k][r] = true
}

// trim drops the front of a log whether or not peers have it.
func (w *world) trim() {
	s := w.stores[crdt.Region(1+w.rnd.IntN(len(w.stores)))]
	p := w.rnd.IntN(4)
	s.trim(p, s.logs[p].trimmed+uint64(w.rnd.IntN(len(s.logs[p].frags)+1)))
}

// forget loses a record that the Region never wrote, so that the next entry
// about it finds a gap.
func (w *world) forget() {
	r, k := crdt.Region(1+w.rnd.IntN(len(w.stores))), testKeys()[w.rnd.IntN(len(testKeys()))]
	if !w.wrote[k][r] {
		delete(w.stores[r].records, k)
	}
}

// blank loses all that a Region has, if its peers have all of its log.
func (w *world) blank() {
	r := crdt.Region(1 + w.rnd.IntN(len(w.stores)))
	head := w.stores[r].head()
	for _, s := range w.stores {
		at := s.cursor[r]
		if s != w.stores[r] && !coversAll(&at, &head) {
			return
		}
	}
	w.stores[r] = newStore(crdt.NewActor(r, w.rnd.Uint32()))
	for _, l := range w.links {
		if l.origin == r || l.peer == r {
			l.end(nil)
		}
		if l.peer == r {
			l.want = 1<<crdt.Partitions - 1
		}
	}
}

func (l *testLink) end(error) {
	if l.up {
		l.counts = l.counts.plus(l.s.Counts())
		l.want = l.r.Want()
		l.ended++
	}
	l.up, l.there, l.back = false, nil, nil
}

func (l *testLink) connect() {
	at := l.w.stores[l.peer].cursor[l.origin]
	l.r = NewReceiver(l.peer, l.origin, at, l.want, l.w.limits)
	f, _, err := ReadFrame(bytes.NewReader(l.r.Take()))
	hello, ok := f.(Hello)
	if err != nil || !ok {
		l.w.t = append(l.w.t, fmt.Sprintf("first frame = %v, %v, want a hello", f, err))
	}
	l.s = NewSender(l.origin, hello, l.w.limits)
	l.up, l.gen = true, 0
}

// step does one thing at random that the shell would do.
func (l *testLink) step() {
	w := l.w
	if !l.up {
		l.connect()
		return
	}
	if w.chance(faultCut) {
		l.end(nil)
		return
	}
	var err error
	switch w.rnd.IntN(7) {
	case 0:
		err = l.follow()
	case 1, 2:
		l.there = append(l.there, split(l.s.Take(w.now, frameTarget))...)
		l.back = append(l.back, split(l.r.Take())...)
	case 3:
		err = l.deliver()
	case 4:
		err = l.engineWork()
	case 5:
		err = l.scanAndRead()
	case 6:
		if err = l.s.Tick(w.now); err == nil {
			err = l.r.Tick(w.now)
		}
		if w.now-l.lastBeat >= 500 {
			l.lastBeat = w.now
			l.s.Beat(w.now, l.s.Echo(), w.stores[l.origin].head())
		}
	}
	if got := l.s.Unacked(); got > w.limits.Window {
		w.t = append(w.t, fmt.Sprintf("Unacked() = %d, want at most %d", got, w.limits.Window))
	}
	if err != nil {
		l.end(err)
	}
}

func (l *testLink) follow() error {
	if gen, from := l.s.Follow(); gen != l.gen {
		l.gen, l.from = gen, from
	}
	for p := range l.from[:4] {
		if b, ok := l.w.stores[l.origin].after(p, l.from[p], 1+l.w.rnd.IntN(4)); ok && l.s.Ready() {
			l.from[p] = b.Last()
			if err := l.s.Offer(l.w.now, l.gen, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver takes frames off both ways, and is as bad at it as chance has it.
func (l *testLink) deliver() error {
	take := func(q *[][]byte) (Frame, int) {
		i := 0
		if l.w.chance(faultReorder) {
			i = l.w.rnd.IntN(len(*q))
		}
		b := (*q)[i]
		if !l.w.chance(faultRepeat) {
			*q = append((*q)[:i:i], (*q)[i+1:]...)
		}
		if l.w.chance(faultLose) {
			l.lost++
			return nil, 0
		}
		f, n, err := ReadFrame(bytes.NewReader(b))
		if err != nil {
			l.w.t = append(l.w.t, fmt.Sprintf("ReadFrame = %v, want a frame", err))
		}
		return f, n
	}
	for range 1 + l.w.rnd.IntN(4) {
		if len(l.there) > 0 {
			if f, n := take(&l.there); f != nil {
				if err := l.r.Receive(l.w.now, f, n); err != nil {
					return err
				}
			}
		}
		if len(l.back) > 0 {
			if f, _ := take(&l.back); f != nil {
				if err := l.s.Receive(l.w.now, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *testLink) engineWork() error {
	for range 1 + l.w.rnd.IntN(4) {
		work, due := l.r.Work()
		if !due {
			return nil
		}
		if l.w.chance(faultEngine) {
			return l.r.Done(l.w.now, engine.Ingested{}, engine.ErrUnavailable)
		}
		peer := l.w.stores[l.peer]
		var res engine.Ingested
		if work.Batch != nil {
			res = peer.ingest(l.origin, *work.Batch)
		}
		for _, rec := range work.Records {
			peer.join(rec)
		}
		if err := l.r.Done(l.w.now, res, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *testLink) scanAndRead() error {
	origin := l.w.stores[l.origin]
	if part, id, due := l.s.Scan(); due {
		l.s.ScanFrom(id, origin.head())
		if l.s.Ready() {
			if _, err := l.s.State(l.w.now, id, origin.inPartition(part)); err != nil {
				return err
			}
		}
		// Scanned may only come when all records are let in; a scan that the
		// window holds up is given up here, which ends the link.
		if !l.s.Ready() {
			return ErrLost
		}
		l.s.Scanned(l.w.now, id)
	}
	if keys, due := l.s.Reads(); due {
		var recs []crdt.Record
		for _, k := range keys {
			recs = append(recs, origin.get(k))
		}
		return l.s.Answer(l.w.now, recs)
	}
	return nil
}

// heal lets links be good, then has every Region that wrote a record write it
// once more, so that whatever was forgotten is found missing.
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
	if w.rates[faultForget] == 0 {
		w.compare(t) // nothing was lost, so no second write may be needed
	}
	for _, k := range testKeys() {
		for r := range crdt.Region(len(w.stores)) {
			if w.wrote[k][r+1] {
				w.write(r+1, k)
			}
		}
	}
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

// split returns the frames in b.
func split(b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := lengthBytes + int(b[0])<<24 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		out, b = append(out, b[:n:n]), b[n:]
	}
	return out
}
