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
	last    Step
	adopted bool
	unknown crdt.Region // where an addition may have been made
	err     error
}

// NewWritePlan returns the plan of w. The rules must stay as they are.
func NewWritePlan(r *Rules, w Write) WritePlan {
	return WritePlan{rules: r, hasAdd: w.Op.HasAdd(), base: !w.Base.IsBottom()}
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
		return p.try(now, true)
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

// backOff sleeps before all targets are tried again, or gives up: at once if
// none of them was even asked.
func (p *WritePlan) backOff(now crdt.Time, jitter float64) Step {
	if p.rounds >= len(p.rules.Backoff) || p.tries > len(p.rules.Backoff) || !p.sent {
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

// try sends the write to the next target.
func (p *WritePlan) try(now crdt.Time, retry bool) Step {
	if now >= p.end || p.tries > len(p.rules.Backoff) {
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
