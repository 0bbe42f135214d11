package router

import (
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Write is one operation on one record.
type Write struct {
	Key  crdt.Key
	Seen crdt.Token // what the client has seen of the record
	// Base is the record as it was read; bottom for a birth. It is brought along
	// to a Region that has not heard of the session yet.
	Base crdt.Record
	// Op is what to do. If it comes without a Stamp, Router.Write sets it once for all
	// tries, and so the ID of an addition.
	Op crdt.Op
}

// A WritePlan is one write under way. It is used by one goroutine.
//
// A try that timed out may have happened; as all tries carry one stamp
// (DESIGN R1), repeating it is safe, at whatever Region. Additions are the
// exception: the actor that took the first try knows it again, another would
// count twice. After an unknown outcome they stay where they are.
//
// While a switchover is under way, one of two Regions takes writes, or will in a moment.
// The one that refuses sends a write to the other at once, and both are asked in turn.
// That costs neither retry tokens nor the tries of an outage: all writes of that moment
// need it, and a refusal is soon said.
type WritePlan struct {
	rules  *Rules
	hasAdd bool
	base   bool // the record that was read can be adopted where it is missing

	started bool
	end     crdt.Time
	targets []crdt.Region
	next    int // index in targets of the next try
	tries   int
	rounds  int  // times that targets was gone through
	sent    bool // something was asked in this round
	turns   int  // rounds in which both sides of a switchover refused
	refused int  // tries in such rounds
	turning bool // this is one, by now
	last    Step
	adopted bool
	unknown crdt.Region // where an addition may have been made
	err     error
}

const (
	// firstTurn is the longest sleep before Regions that have refused in a switchover are
	// asked again; it doubles up to mostTurn, and is random above its half. What lies
	// between the end of one and the beginning of the other is one way between them and
	// some work of the new primary's node; a write is to wait for little more than that
	// (DESIGN 13: a round trip and 20 ms).
	firstTurn = 5 * time.Millisecond
	mostTurn  = 20 * time.Millisecond
	// maxTurns bounds these sleeps, to a third of a second: beyond it is an outage.
	maxTurns = 16
	// turnBack is in how many turns the old primary is asked once.
	turnBack = 4
)

// NewWritePlan returns the plan of w. The rules must stay as they are.
func NewWritePlan(r *Rules, w Write) WritePlan {
	return WritePlan{rules: r, hasAdd: w.Op.HasAdd(), base: !w.Base.IsBottom()}
}

// Follow has the tries that are still to come go where other rules say. An addition that
// may have been made stays where it is.
func (p *WritePlan) Follow(r *Rules) {
	p.rules = r
	if p.started && p.unknown == 0 {
		p.targets, p.next = r.Writers(), 0
	}
}

// Next returns the step that follows the last one, of which last is the result;
// the first time, last is ignored. Jitter is a random number in [0, 1).
func (p *WritePlan) Next(now crdt.Time, last Result, jitter float64) Step {
	if !p.started {
		p.started = true
		p.end = now.Add(p.rules.WriteBudget)
		p.targets = p.rules.Writers()
		return p.try(now, false)
	}
	switch p.last.Do {
	case ApplySide:
		return p.afterSide(last)
	case Wait:
		return p.try(now, !p.turning)
	}
	if last.Err == nil {
		return p.done(Answer{Dot: last.Dot, Region: p.last.Region}, nil)
	}
	return p.afterError(now, last.Err, jitter)
}

// afterError decides what a failed try means.
func (p *WritePlan) afterError(now crdt.Time, err error, jitter float64) Step {
	if missing := p.base && !p.adopted && errors.Is(err, crdt.ErrAbsent); missing {
		// The Region has not heard of the session yet: bring it along.
		p.adopted = true
		return p.step(Step{
			Do: ApplyAt, Region: p.last.Region, Adopt: true,
			Timeout: p.fit(now, p.rules.Timeout(p.last.Region)),
		})
	}
	if engine.IsRefusal(err) {
		return p.done(Answer{Region: p.last.Region}, err)
	}
	if errors.Is(err, ErrNoRetry) {
		return p.fallBack(now)
	}
	p.err = err
	if p.rules.Next != 0 && p.unknown == 0 && errors.Is(err, engine.ErrNotPrimary) {
		return p.turn(now, jitter)
	}
	p.turning = false
	sent := !errors.Is(err, ErrOpen)
	p.sent = p.sent || sent
	if p.hasAdd && !engine.OutcomeKnown(err) {
		p.unknown = p.last.Region
		p.targets, p.next = []crdt.Region{p.unknown}, 1
	}
	if p.next < len(p.targets) {
		return p.try(now, sent)
	}
	return p.backOff(now, jitter)
}

// turn goes from the side of a switchover that has refused to the other one. Where both
// have, that is asked again after a moment which is to take writes: it has only to be
// ready. The other one, which has stopped, begins again only if the switchover is given
// up, and may be far away: it is asked now and then.
func (p *WritePlan) turn(now crdt.Time, jitter float64) Step {
	p.turning, p.sent = true, true
	p.refused++
	if p.next < len(p.targets) {
		return p.try(now, false)
	}
	if p.turns >= maxTurns {
		p.turning, p.targets = false, p.rules.Writers()
		return p.backOff(now, jitter)
	}
	pause := min(firstTurn<<p.turns, mostTurn)
	p.turns++
	p.targets, p.next = []crdt.Region{p.rules.Next}, 0
	if p.turns%turnBack == 0 {
		p.targets = append(p.targets, p.rules.Primary)
	}
	sleep := pause/2 + time.Duration(jitter*float64(pause/2))
	if now.Add(sleep) >= p.end {
		return p.fallBack(now)
	}
	return p.step(Step{Do: Wait, For: sleep})
}

// backOff sleeps before all targets are tried again, or gives up: at once if
// none of them was even asked.
func (p *WritePlan) backOff(now crdt.Time, jitter float64) Step {
	if p.rounds >= len(p.rules.Backoff) || p.spent() || !p.sent {
		return p.fallBack(now)
	}
	sleep := time.Duration(jitter * float64(p.rules.Backoff[p.rounds])) // full jitter
	p.rounds++
	p.next, p.sent = 0, false
	if now.Add(sleep) >= p.end {
		return p.fallBack(now)
	}
	return p.step(Step{Do: Wait, For: sleep})
}

// spent reports whether there have been all the tries that an outage may cost.
func (p *WritePlan) spent() bool { return p.tries-p.refused > len(p.rules.Backoff) }

// try sends the write to the next target.
func (p *WritePlan) try(now crdt.Time, retry bool) Step {
	if now >= p.end || p.spent() {
		return p.fallBack(now)
	}
	r := p.targets[p.next]
	p.next++
	p.tries++
	return p.step(Step{
		Do: ApplyAt, Region: r, Adopt: p.adopted, Retry: retry,
		Timeout: p.fit(now, p.rules.Timeout(r)),
	})
}

// fallBack goes down the ladder: to this Region's side store, or to a refusal.
func (p *WritePlan) fallBack(now crdt.Time) Step {
	if p.rules.Side && p.unknown == 0 {
		return p.step(Step{Do: ApplySide, Timeout: p.fit(now, p.rules.LocalTimeout) + p.rules.LocalTimeout})
	}
	return p.done(Answer{}, p.failure())
}

func (p *WritePlan) afterSide(last Result) Step {
	switch {
	case last.Err == nil:
		a := Answer{Dot: last.Dot, Region: p.rules.Here, Rung: LocalOnly}
		return p.done(a, nil)
	case engine.IsRefusal(last.Err):
		return p.done(Answer{Region: p.rules.Here}, last.Err)
	}
	return p.done(Answer{}, fmt.Errorf("%w; side store: %w", p.failure(), last.Err))
}

func (p *WritePlan) failure() error {
	kind := ErrUnavailable
	if p.unknown != 0 {
		kind = ErrUnknownOutcome
	}
	return fmt.Errorf("%w: %d tries: %w", kind, p.tries, p.err)
}

func (p *WritePlan) done(a Answer, err error) Step {
	a.Tries = p.tries
	if err != nil && !engine.IsRefusal(err) {
		a.Rung = Refused
	}
	return p.step(Step{Do: Done, Answer: a, Err: err})
}

func (p *WritePlan) step(s Step) Step {
	p.last = s
	return s
}

// fit keeps a try within the budget: the budget beats the last try.
func (p *WritePlan) fit(now crdt.Time, d time.Duration) time.Duration {
	return max(min(d, p.end.Sub(now)), 0)
}
