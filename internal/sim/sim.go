package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Options say how to run a seed. The zero Options are those of a release run.
type Options struct {
	Regions int  // 3 to 5; 0: drawn
	Words   bool // keep what happened, in words
	// Without are actions of the seed's story, by serial, that are left out.
	Without map[int]bool
}

// A Result is what became of a run.
type Result struct {
	Seed       uint64
	Trace      uint64 // of all that happened
	Virtual    time.Duration
	Events     uint64
	Story      Story
	Violations []Violation
	Lines      []string // with Options.Words
	Stats      Stats
}

const (
	// settling is how long Regions have to become equal: to connect, to send what
	// waits, to compare.
	settling = 60 * time.Second
	// visiting is how long the last visits take.
	visiting = 20 * time.Second
	// idled is when every session has idled out that may, and most have not come to
	// their deadline; allEnded is when all have.
	idled    = eventful + settling + visiting + 4*time.Minute + 4*mostSkew
	allEnded = eventful + 10*time.Second + lifetime + 2*mostSkew
	// over is when everything must have gone, by every clock.
	over = eventful + 10*time.Second + lifetime + 120*time.Second + 3*mostSkew
	// mostEvents is a hundred times what a run usually takes. One that comes there
	// goes round in circles, and ends there (I8).
	mostEvents = 4_000_000
)

// Run runs a seed.
func Run(seed uint64, o Options) Result {
	telling := rand.New(rand.NewPCG(seed, 1))
	d := draw(telling, o.Regions)
	story := tell(telling, d.regions, d.browsers, d.primary)
	if len(o.Without) > 0 {
		story = slices.DeleteFunc(story, func(a Action) bool { return o.Without[a.Serial] })
	}
	w := newWorld(seed, d, rand.New(rand.NewPCG(seed, 2)), o.Words)
	w.start()
	for _, a := range story {
		w.queue.at(instant(a.At.Microseconds()), func() { w.act(a) })
	}
	at := func(t time.Duration) { w.queue.until(instant(t.Microseconds())) }
	at(eventful)
	w.calm()
	at(eventful + settling)
	w.oracle.checkSettled()
	w.visitAll(eventful + settling)
	at(eventful + settling + visiting)
	w.oracle.checkSealed()
	w.phase = quietPhase
	w.visitAll(idled)
	w.visitAll(allEnded)
	at(over)
	w.oracle.checkEmpty()
	w.oracle.checkEvents()
	for _, l := range w.links {
		l.end(nil)
	}
	return Result{
		Seed: seed, Trace: w.trace.hash, Virtual: over, Events: w.queue.run, Story: story,
		Violations: w.oracle.violations, Lines: w.trace.lines, Stats: w.oracle.stats,
	}
}

// act does one line of the story.
func (w *world) act(a Action) {
	if a.Do.isFault() {
		w.inflict(a)
		return
	}
	b, t := w.browsers[a.Browser], w.thieves[a.Browser]
	switch a.Do {
	case Plant:
		if !t.jar.credential.IsZero() && t.jar.credential.ID != b.jar.credential.ID {
			w.plant(a, b, t)
		}
	case Steal:
		t.jar, t.knows, t.knowsOf = b.jar, b.knows, b.knowsOf
	case Attack:
		a.Do = []Act{Put, Renew, Visit, Login}[a.Arg%4] // as somebody else
		t.send(w, a)
	default:
		b.send(w, a)
	}
}

// plant gives a browser the thief's cookies. Often she logs in then, and as soon as
// her password is checked the thief does something in another Region, which has not
// heard of it: he logs in too, or rotates the secret that he knows, and looks what
// he is shown where she is.
func (w *world) plant(a Action, b, t *browser) {
	w.oracle.forget(b)
	b.jar, b.knows, b.knowsOf = t.jar, t.knows, t.knowsOf
	elsewhere := a
	elsewhere.Region = a.Region%crdt.Region(len(w.regions())) + 1 //nolint:gosec // a handful
	a.Do = Login
	switch a.Arg % 4 {
	case 0, 1:
		elsewhere.Do = Login
		b.send(w, a)
		t.send(w, elsewhere)
	case 2:
		elsewhere.Do = Renew
		b.send(w, a)
		w.queue.after(a.password()+5*time.Millisecond, func() { t.send(w, elsewhere) })
		a.Do = Visit
		w.queue.after(a.password()+12*time.Millisecond, func() { t.send(w, a) })
	}
}
