package judge

import (
	"fmt"
	"slices"
	"time"
)

// What signals are about, as their keys begin.
const (
	aboutLost    = "lost"    // a Region
	aboutRefused = "refused" // a Region, by those who write to it
	aboutBehind  = "behind"  // a Region
	aboutClock   = "clock"   // a Region
	aboutDead    = "dead"    // a link, from one Region to another
	aboutSlow    = "slow"    // writes from one Region to another or itself
	aboutFailing = "failing" // writes too
)

func ofRegion(about, region string) string { return about + " " + region }

func ofLink(about, from, to string) string { return about + " " + from + " -> " + to }

// note takes what the reports say of the period into all signals. Without a quorum
// that is nothing.
func (b *bench) note(shift int64, quorum bool) {
	if quorum {
		b.hearBeats()
	}
	was := b.s.Signals
	b.s.Signals = map[string]Signal{} // of Regions that are gone nothing is kept
	take := func(key string, h Hysteresis, p point) {
		if !quorum {
			p = missing
		}
		b.s.Signals[key] = was[key].next(p, shift, h, b.c, b.s.Now)
	}
	// Where nobody writes any more, or no heartbeats are, it is not bad for ever. What
	// is lost or dead stays so until somebody has seen it well.
	mayForget := func(key string, h Hysteresis, p point) {
		take(key, h, p)
		if s := b.s.Signals[key]; s.silent() {
			b.s.Signals[key] = s.forget(b.s.Now)
		}
	}
	for _, region := range b.c.Regions {
		take(ofRegion(aboutLost, region), b.c.Lost, b.tally(region).point(b.majority()))
		mayForget(ofRegion(aboutRefused, region), b.c.Lost, b.refused(region).point(len(b.c.Regions)/2+1))
		mayForget(ofRegion(aboutBehind, region), b.c.Impaired, b.behind(region))
		mayForget(ofRegion(aboutClock, region), b.c.Impaired, b.clockWrong(region))
		for _, to := range b.c.Regions {
			if to != region {
				take(ofLink(aboutDead, region, to), b.c.Impaired, b.dead(region, to))
			}
			slow, failing := b.writes(region, to)
			mayForget(ofLink(aboutSlow, region, to), b.c.Impaired, slow)
			mayForget(ofLink(aboutFailing, region, to), b.c.Impaired, failing)
		}
	}
}

// hearBeats remembers the last heartbeat that any member tells of.
func (b *bench) hearBeats() {
	for _, r := range b.reports {
		for _, v := range r.Views {
			if v.Beat.Epoch <= b.s.Lease.Epoch && v.Beat.after(b.s.Beat) {
				b.s.Beat = v.Beat
			}
		}
	}
}

// A tally is who says what of a Region.
type tally struct {
	up, unheard, deaf, engine []string
}

// tally asks all members of a Region. One who is not sure of everything says nothing.
func (b *bench) tally(region string) (t tally) {
	for _, r := range b.reports {
		v := r.view(region)
		switch {
		case v.In == Down:
			t.unheard = append(t.unheard, r.Member)
		case v.Out == Down:
			t.deaf = append(t.deaf, r.Member)
		case v.Engine == Down:
			t.engine = append(t.engine, r.Member)
		case v.In == Up && v.Out == Up && v.Engine == Up:
			t.up = append(t.up, r.Member)
		}
	}
	return t
}

func (t tally) down() int { return len(t.unheard) + len(t.deaf) + len(t.engine) }

func (t tally) point(majority int) point {
	switch {
	case t.down() >= majority:
		return bad
	case len(t.up) >= majority:
		return good
	}
	return missing
}

// rule names what a Region that is lost suffers from.
func (t tally) rule(majority int) Rule {
	switch {
	case len(t.unheard) >= majority:
		return RuleUnheard
	case len(t.deaf) >= majority:
		return RuleDeaf
	case len(t.engine) >= majority:
		return RuleEngine
	}
	return RuleCutOff
}

// refused asks all Regions how their writes to one went.
func (b *bench) refused(to string) (t tally) {
	for _, region := range b.c.Regions {
		r := b.from(region)
		w, ok := r.writes(to, b.c.MinWrites)
		switch {
		case !ok:
		case w.share() >= b.c.LostShare:
			t.unheard = append(t.unheard, fmt.Sprintf("%s %d of %d", region, w.Failed, w.Count))
		default:
			t.up = append(t.up, region)
		}
	}
	return t
}

// behind says whether a secondary's engine is far behind the primary.
func (b *bench) behind(region string) point {
	lag, _, ok := b.lag(region)
	switch {
	case region == b.s.Lease.Holder || !ok:
		return missing
	case lag >= b.c.Stale:
		return bad
	}
	return good
}

// lag returns how far a Region is behind the last heartbeat that members know of
// (DESIGN R7: at the end of a lease all heartbeats are old, so not behind now), and its
// own last heartbeat. It is not known unless the Region's own member has reported, and
// both heartbeats are of this epoch.
func (b *bench) lag(region string) (time.Duration, Beat, bool) {
	r := b.from(region)
	beat := r.view(region).Beat
	epoch := b.s.Lease.Epoch
	if b.s.Lease.Holder == "" || beat.N == 0 || beat.Epoch != epoch || b.s.Beat.Epoch != epoch {
		return 0, beat, false
	}
	if !b.s.Beat.after(beat) {
		return 0, beat, true
	}
	return max(0, b.s.Beat.At.Sub(beat.At)), beat, true
}

// clock returns how wrong the clock of a Region's server is, as the median of what
// members say; it is not known unless a majority do.
func (b *bench) clock(region string) (time.Duration, bool) {
	var all []time.Duration
	for _, r := range b.reports {
		if c := r.view(region).Clock; c != nil {
			all = append(all, *c)
		}
	}
	if len(all) < b.majority() {
		return 0, false
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	if -low > high { // of the two in the middle the worse one
		return low, true
	}
	return high, true
}

func (b *bench) clockWrong(region string) point {
	off, ok := b.clock(region)
	switch {
	case !ok:
		return missing
	case max(off, -off) > b.c.MaxClock:
		return bad
	}
	return good
}

// dead says whether what one Region sends to another is lost. The one that should
// receive it knows best. If it can't be asked, the sender knows what it was told.
func (b *bench) dead(from, to string) point {
	receiver := b.from(to)
	sight := receiver.view(from).In
	if sight == Unseen {
		sender := b.from(from)
		sight = sender.view(to).Out
	}
	switch sight {
	case Up:
		return good
	case Down:
		return bad
	case Unseen:
	}
	return missing
}

// writes says whether those from one Region to another are slow, and whether they
// fail.
func (b *bench) writes(from, to string) (slow, failing point) {
	r := b.from(from)
	w, ok := r.writes(to, b.c.MinWrites)
	if !ok {
		return missing, missing
	}
	slow, failing = good, good
	if w.P99 >= b.c.SlowWrites {
		slow = bad
	}
	if w.share() >= b.c.FailedShare {
		failing = bad
	}
	return slow, failing
}
