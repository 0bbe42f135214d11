package controlsim

import (
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
)

const (
	// eventful is until when something goes wrong, and calm how long all is well then.
	eventful = 65 * time.Second
	calm     = 40 * time.Second
	// writable is how long after the heal somebody must have taken a write.
	writable = 20 * time.Second
	// slower is how much longer the end of a run takes where a service promotes servers.
	slower = 25 * time.Second
)

// Run runs a seed.
func Run(seed uint64, o Options) Result {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 5)), words: o.Words, //nolint:gosec // a simulation
		out: Result{Seed: seed, Trace: seed},
	}
	w.oracle = oracle{world: w, epochs: map[uint64]*reign{}}
	w.found()
	if managed(seed) {
		w.manage()
	}
	w.story.begin(w)
	w.run(eventful)
	w.heal()
	w.run(eventful + w.patience())
	if w.oracle.last < eventful {
		w.violation("liveness", "nobody has taken a write in the %v since all is well", w.patience())
	}
	end := eventful + w.patience() + calm - writable
	w.run(end - time.Second)
	w.story.over = true // so that nothing is on its way
	w.run(end)
	w.out.Virtual = end
	w.oracle.settled()
	w.out.Stats.Epochs = int(w.log.state.Newest) //nolint:gosec // small
	return w.out
}

// patience is how long after the heal somebody must have taken a write.
func (w *world) patience() time.Duration {
	if w.service != nil {
		return writable + slower
	}
	return writable
}

// manage has a service manage the servers.
func (w *world) manage() {
	w.service = &service{world: w, refuses: w.one(2), alone: -1}
	for _, s := range w.servers[1:] {
		s.primary, s.follows = false, 0
		s.connect()
	}
	w.service.run()
	w.service.form()
}

// found makes the world.
func (w *world) found() {
	w.lease = lease.Config{Strict: w.one(4)}.WithDefaults()
	n := 3 + 2*(w.rng.IntN(3)/2)
	regions := n - w.rng.IntN(2)
	w.judge = judge.Config{
		Mode: judge.Automatic, Cooldown: 15 * time.Second, MaxFailovers: 30, Window: time.Hour, Attempt: 10 * time.Second,
		MaxFlaps: 30, MaxClock: time.Hour, // clocks that run so wrong for so long are far off
	}
	if w.one(5) {
		w.judge.Mode = judge.Advise
	}
	for i := range n {
		m := &member{world: w, id: i, name: nameOf(i), witness: i >= regions}
		w.members = append(w.members, m)
		if m.witness {
			w.judge.Witnesses = append(w.judge.Witnesses, m.name)
			continue
		}
		w.judge.Regions = append(w.judge.Regions, m.name)
		s := &server{world: w, id: i, up: true, primary: true, skew: w.between(-2*time.Second, 2*time.Second), rate: w.rate()}
		if s.lags = spoolLag; w.one(3) {
			s.lags = slowSpoolLag
		}
		w.servers = append(w.servers, s)
		s.renames()
	}
	for _, m := range w.members {
		m.start()
	}
	for i := range w.servers {
		c := &client{world: w, region: i, primary: -1, next: -1, least: 20 * time.Millisecond, most: 800 * time.Millisecond}
		c.run()
	}
}
