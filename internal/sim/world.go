package sim

import (
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/proof"
)

// A world is one deployment in virtual time, with all who use it and all that
// goes wrong.
type world struct {
	seed     uint64
	queue    *queue
	dice     *rand.Rand
	net      *network
	trace    *trace
	oracle   *oracle
	sites    []*site // by Region number; the first is none
	links    []*link
	browsers []*browser
	thieves  []*browser  // one for each browser
	primary  crdt.Region // zero: every Region takes writes
	idle     time.Duration
	dropped  float64 // chance that an answer gets lost
	window   int
	seal     bool // what nobody can take is sealed
	room     int  // in a sealed cookie
	little   bool // memory: engines get full
	keys     proof.Keyring
	phase    phase
}

// littleMemory is about half of what an engine comes to hold.
const littleMemory = 24 << 10

// drawn is what a seed decides before anything happens.
type drawn struct {
	regions, browsers int
	primary           crdt.Region
	side              bool
	idle              time.Duration
	rates             rates
	dropped           float64
	window            int
	engine            memory.Config
	seal              bool
}

// draw draws a deployment. Of each kind of trouble some runs have none, since
// where all goes wrong at once the rarer ways never come about.
func draw(dice *rand.Rand, regions int) drawn {
	sometimes := func(most float64) float64 {
		if dice.IntN(2) == 0 {
			return 0
		}
		return most * dice.Float64()
	}
	d := drawn{regions: regions, browsers: 6 + dice.IntN(5)}
	if regions == 0 {
		d.regions = 3 + max(0, dice.IntN(6)-3) // three most often, up to five
	}
	if dice.IntN(3) == 0 {
		d.primary = crdt.Region(1 + dice.IntN(d.regions)) //nolint:gosec // a handful
		d.side = dice.IntN(2) > 0
	}
	d.idle = []time.Duration{0, 2 * time.Minute, 4 * time.Minute}[dice.IntN(3)]
	d.rates = rates{lost: sometimes(0.05), repeated: sometimes(0.1), late: sometimes(0.1), reordered: sometimes(0.02)}
	d.dropped = sometimes(0.1)
	d.window = []int{8 << 10, 64 << 10, 4 << 20}[dice.IntN(3)]
	d.engine = memory.Config{KeepReleased: 5 * time.Minute}
	if dice.IntN(3) == 0 { // logs that are trimmed past a peer
		d.engine.LogBytes = crdt.Partitions * 2 << 10
	}
	d.seal = dice.IntN(2) == 0 || d.primary != 0 && !d.side // where it comes about
	return d
}

func newWorld(seed uint64, d drawn, dice *rand.Rand, words bool) *world {
	q := &queue{most: mostEvents}
	w := &world{
		seed: seed, queue: q, dice: dice, net: newNetwork(q, dice, d.regions, d.rates), trace: newTrace(q, words),
		primary: d.primary, idle: d.idle, dropped: d.dropped, window: d.window, seal: d.seal,
		sites: make([]*site, 1, d.regions+1),
	}
	if w.room = sealedRoom; seed%4 == 0 {
		w.room = littleRoom
	}
	if seed%8 == 5 { // R13
		// A side store can give nothing back to a primary that stays full.
		w.little, d.engine.MaxBytes, d.side = true, littleMemory, false
	}
	w.oracle = newOracle(w)
	var err error
	if w.keys, err = proof.NewKeyring(make([]byte, 32)); err != nil {
		// A broken invariant: what is drawn here makes sense.
		panic(err)
	}
	for r := 1; r <= d.regions; r++ {
		w.sites = append(w.sites, newSite(w, crdt.Region(r), d)) //nolint:gosec // a handful
	}
	for _, a := range w.regions() {
		a.app = newApp(w, a, d)
		for _, b := range w.regions() {
			if a != b {
				l := &link{w: w, origin: a, peer: b}
				w.links = append(w.links, l)
				a.out[b.region], b.in[a.region] = l, l
			}
		}
	}
	for i := range d.browsers {
		w.browsers = append(w.browsers, newBrowser(i))
		w.thieves = append(w.thieves, newBrowser(thief+i))
	}
	return w
}

// regions returns all sites.
func (w *world) regions() []*site { return w.sites[1:] }

// start begins what goes on by itself.
func (w *world) start() {
	for _, l := range w.links {
		l.dial()
	}
	for _, s := range w.regions() {
		s.app.start()
		s.sweep()
	}
}

// slow sets the beat of what goes on by itself: that of production while Regions
// make up for what went wrong, a slower one before, and hardly any once nothing
// else happens. Beats are most of what a run costs.
func (w *world) slow(d time.Duration) time.Duration {
	switch w.phase {
	case settlingPhase:
		return d / 2
	case quietPhase:
		return 20 * d
	}
	return d
}

// phase is how far a run is.
type phase uint8

const (
	eventfulPhase phase = iota
	settlingPhase
	quietPhase
)
