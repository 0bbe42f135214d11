package router

import (
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A Query is one read.
type Query struct {
	Key   crdt.Key
	Seen  crdt.Token // what the client has seen of the record
	Class Class
	// Also is a Region that has to be asked as well; zero for none. A session
	// that came from there brings what is known there of its user, because this
	// Region may have lost both.
	Also crdt.Region
}

// Hints are what a plan is told of the world when it begins.
type Hints struct {
	// Lag is how late a write of each Region usually gets here; zero where it
	// was not measured.
	Lag [crdt.MaxRegion + 1]time.Duration
	// Unheard is how old the oldest news is of the Regions that take writes.
	Unheard time.Duration
	// Jitter is a random number in [0, 1).
	Jitter float64
}

// A Step is what to do next. Do tells which of the other fields mean something.
type Step struct {
	Do      Do
	Region  crdt.Region   // ReadAt, ApplyAt: where
	Timeout time.Duration // ReadAt, ApplyAt, ApplySide: how long at most
	Retry   bool          // ApplyAt: the try costs a retry token
	Adopt   bool          // ApplyAt: together with the record that was read
	Sleep   time.Duration // Sleep: how long
	Answer  Answer        // Done
	Err     error         // Done: nil unless refused
}

// Do is a kind of step.
type Do uint8

// The kinds of steps.
const (
	ReadAt Do = iota
	ApplyAt
	ApplySide
	Sleep
	Done
)

// A Result is what became of the last step.
type Result struct {
	Record crdt.Record // of ReadAt
	// Side: Record holds something that only this Region's side store has.
	Side bool
	// Partial: the side store did not answer, so Record may lack a logout.
	Partial bool
	Dot     crdt.Dot // of ApplyAt and ApplySide
	Err     error
}

// WithSide returns what a Region's engine said, joined with what its side store
// did. One of the two is better than none, but then it's no full answer.
func WithSide(res, side Result) Result {
	switch {
	case side.Err != nil && res.Err == nil:
		// What the side store has may be all there is of a logout.
		res.Partial = true
	case side.Err == nil && !side.Record.IsBottom():
		joined := crdt.Join(res.Record, side.Record)
		res.Side = joined.Dead != res.Record.Dead || !joined.Dead && !joined.VV.Equal(res.Record.VV)
		res.Record = joined
	}
	return res
}

const (
	// firstPoll is the first wait for a write on its way here; it doubles.
	firstPoll = 2 * time.Millisecond
	// justCreated is how young a creation is that ByRetry waits for.
	justCreated = 2 * time.Second
	// retryLeast and retryMost are the delays of "retry on a local miss".
	retryLeast = 100 * time.Millisecond
	retryMost  = 200 * time.Millisecond
)

// A ReadPlan is one read under way. It is used by one goroutine.
type ReadPlan struct {
	rules *Rules
	query Query
	hints Hints

	stage    readStage
	asking   crdt.Region // of the last ReadAt
	queue    []crdt.Region
	answered RegionSet
	best     crdt.Record // all answers joined
	side     bool
	heard    bool        // some answer came, if only a part of one
	partial  bool        // of this Region, the side store's part is missing
	wrote    crdt.Region // ByPrimary: where the client's last write went
	end      crdt.Time   // of the whole read
	waitEnd  crdt.Time   // of waiting for the write to arrive
	poll     time.Duration
	err      error // the last failure
}

type readStage uint8

const (
	begin readStage = iota
	local
	waiting
	retrying
	elsewhere
)

// NewReadPlan returns the plan of q. The rules must stay as they are.
func NewReadPlan(r *Rules, q Query, h Hints) ReadPlan {
	return ReadPlan{rules: r, query: q, hints: h, best: crdt.Record{Key: q.Key}, poll: firstPoll}
}

// Next returns the step that follows the last one, of which last is the result;
// the first time, last is ignored.
func (p *ReadPlan) Next(now crdt.Time, last Result) Step {
	switch p.stage {
	case begin:
		p.end = now.Add(p.rules.ReadBudget)
		if p.rules.Mode == ByPrimary {
			p.wrote = p.writer()
		}
		if p.wrote != 0 && p.wrote != p.rules.Here {
			p.stage, p.queue = elsewhere, []crdt.Region{p.wrote, p.rules.Here}
			return p.ask(now)
		}
		p.stage = local
		return p.readAt(now, p.rules.Here)
	case retrying, waiting:
		if p.asking == 0 { // slept
			return p.readAt(now, p.rules.Here)
		}
	default:
	}
	p.take(last)
	if p.satisfied() {
		return p.done()
	}
	switch p.stage {
	case local:
		return p.afterLocal(now)
	case waiting:
		return p.wait(now)
	case retrying:
		return p.done()
	default:
		return p.ask(now)
	}
}

// take joins what the last step brought.
func (p *ReadPlan) take(last Result) {
	switch {
	case last.Err != nil:
		p.err = last.Err
	case !last.Partial:
		p.answered.add(p.asking)
	}
	if p.asking == p.rules.Here {
		p.partial = last.Err == nil && last.Partial
	}
	if last.Err == nil || last.Side {
		p.best, p.heard = crdt.Join(p.best, last.Record), true
	}
	p.side = p.side || last.Side
}

// satisfied reports whether no further answer could be better.
func (p *ReadPlan) satisfied() bool {
	switch {
	case p.best.Dead:
		return true
	case p.query.Key.Kind() != crdt.KindSession:
		return (p.answered != 0 || p.partial) && p.askedAlso() // nothing known of a user is an answer
	case !p.born():
		return p.missIsSure()
	case p.rules.Mode == ByPrimary:
		return true // the order of asking is all there is to it
	}
	return p.query.Seen.FreshIn(p.best.VV)
}

func (p *ReadPlan) askedAlso() bool { return p.query.Also == 0 || p.answered.Has(p.query.Also) }

func (p *ReadPlan) born() bool { return !p.best.Born.Dot.IsZero() }

// missIsSure: whoever asks holds a cookie that we made, so the session was
// created somewhere. That it is nowhere is believed when its birth Region and
// one other say so, the primary among them if there is one, or all (DESIGN R12).
func (p *ReadPlan) missIsSure() bool {
	if !p.best.IsBottom() || !p.query.Seen.FreshIn(nil) {
		return false // something of it is, or was, somewhere
	}
	birth, primary := p.query.Key.SessionID().Birth(), p.rules.Primary
	if primary != 0 && !p.answered.Has(primary) {
		return false // wherever it was born, it was written there
	}
	return p.allAnswered() || p.answered.Has(birth) && p.answered.Len() >= 2
}

func (p *ReadPlan) allAnswered() bool { return p.answered.Len() == len(p.rules.Near) }

// afterLocal: this Region did not have it all.
func (p *ReadPlan) afterLocal(now crdt.Time) Step {
	answered := p.answered.Has(p.rules.Here) || p.partial
	switch {
	case answered && p.rules.Mode == Accept:
		return p.done()
	case answered && p.rules.Mode == ByRetry:
		if p.born() || !p.recent(now, justCreated) {
			return p.done()
		}
		p.stage = retrying
		return p.sleep(retryLeast + time.Duration(p.hints.Jitter*float64(retryMost-retryLeast)))
	case answered:
		p.stage, p.waitEnd = waiting, now.Add(p.worthWaiting(now))
		return p.wait(now)
	}
	return p.startAsking(now)
}

// wait sleeps as long as the missing write may still be on its way here.
func (p *ReadPlan) wait(now crdt.Time) Step {
	left := min(p.waitEnd, p.end).Sub(now)
	if left <= 0 {
		return p.startAsking(now)
	}
	d := min(p.poll, left)
	p.poll *= 2
	return p.sleep(d)
}

// worthWaiting returns how much longer than now the missing writes usually
// take, at most maxWait.
func (p *ReadPlan) worthWaiting(now crdt.Time) time.Duration {
	var longest time.Duration
	for _, d := range p.query.Seen.Missing(p.best.VV) {
		lag := p.hints.Lag[d.Actor.Region()&crdt.MaxRegion]
		if lag == 0 {
			lag = p.rules.MaxWait
		}
		longest = max(longest, lag-now.Sub(d.Stamp.Time()))
	}
	return min(longest, p.rules.MaxWait)
}

// startAsking queues the other Regions, those most likely to know first: where
// the missing writes were made, the primary, where the session was born, the
// rest by nearness.
func (p *ReadPlan) startAsking(now crdt.Time) Step {
	p.stage = elsewhere
	add := func(r crdt.Region) {
		if p.rules.knows(r) && r != p.rules.Here && !slices.Contains(p.queue, r) {
			p.queue = append(p.queue, r)
		}
	}
	if p.query.Also != 0 {
		add(p.query.Also)
	}
	if p.rules.Primary != 0 {
		add(p.rules.Primary)
	}
	for _, d := range p.query.Seen.Missing(p.best.VV) {
		add(d.Actor.Region())
	}
	if !p.born() && p.query.Key.Kind() == crdt.KindSession {
		add(p.query.Key.SessionID().Birth())
	}
	for _, r := range p.rules.Near {
		add(r)
	}
	return p.ask(now)
}

// ask asks the next Region in the queue.
func (p *ReadPlan) ask(now crdt.Time) Step {
	if len(p.queue) == 0 || now >= p.end {
		return p.done()
	}
	r := p.queue[0]
	p.queue = p.queue[1:]
	return p.readAt(now, r)
}

func (p *ReadPlan) readAt(now crdt.Time, r crdt.Region) Step {
	p.asking = r
	return Step{Do: ReadAt, Region: r, Timeout: min(p.rules.Timeout(r), max(p.end.Sub(now), time.Millisecond))}
}

func (p *ReadPlan) sleep(d time.Duration) Step {
	p.asking = 0
	return Step{Do: Sleep, Sleep: d}
}

// done judges what was gathered.
func (p *ReadPlan) done() Step {
	a := Answer{Record: p.best, Region: p.asking, Token: p.query.Seen}
	if a.Region == 0 {
		a.Region = p.rules.Here
	}
	if !p.heard {
		return p.refuse(a, fmt.Errorf("%w: %w", ErrUnavailable, p.err))
	}
	var missing []crdt.Dot
	if p.query.Key.Kind() == crdt.KindSession && !p.best.Dead {
		missing = p.query.Seen.Missing(p.best.VV)
	}
	if p.allAnswered() {
		// Every Region answered and none has it: a failover lost the write.
		a.Lost, missing = missing, nil
	}
	a.Token = p.tokenAfter(a)
	if p.query.Key.Kind() == crdt.KindSession && !p.best.Dead && !p.born() {
		return p.miss(a)
	}
	return p.rate(a, missing)
}

// miss answers that the session is gone, if that is sure.
func (p *ReadPlan) miss(a Answer) Step {
	if p.allAnswered() || p.missIsSure() {
		return Step{Do: Done, Answer: a}
	}
	a.Doubtful = true
	if p.rules.Mode == Accept || p.rules.Mode == ByRetry {
		a.Rung = Stale
		return Step{Do: Done, Answer: a}
	}
	return p.refuse(a, ErrDoubtful)
}

// rate gives the rung of an answer that has a record.
func (p *ReadPlan) rate(a Answer, missing []crdt.Dot) Step {
	old := len(missing) > 0 || p.partial || p.hints.Unheard > p.rules.StrictBound || !p.askedAlso()
	switch {
	case p.best.Dead:
	case old && p.query.Class == Strict:
		return p.refuse(a, ErrStale)
	case p.side:
		a.Rung = LocalOnly
	case old:
		a.Rung = Stale
	}
	return Step{Do: Done, Answer: a}
}

func (p *ReadPlan) refuse(a Answer, err error) Step {
	a.Rung, a.Record = Refused, crdt.Record{Key: p.query.Key}
	return Step{Do: Done, Answer: a, Err: err}
}

// tokenAfter returns what the client's token becomes: without what is lost, in
// ByPrimary without what was just read where it was written, and on strict
// routes with all that was shown, so that no later read shows less.
func (p *ReadPlan) tokenAfter(a Answer) crdt.Token {
	t := p.query.Seen.Prune(func(d crdt.Dot) bool { return slices.Contains(a.Lost, d) })
	if p.wrote != 0 && p.answered.Has(p.wrote) {
		t = t.Prune(func(crdt.Dot) bool { return true })
	}
	if p.query.Class == Strict {
		for _, d := range a.Record.VV {
			t = t.With(d)
		}
	}
	return t
}

// writer returns where the client's last write went; zero if it made none that
// is still of interest.
func (p *ReadPlan) writer() crdt.Region {
	var newest crdt.Dot
	for _, d := range p.query.Seen.Dots() {
		if newest.Before(d) {
			newest = d
		}
	}
	switch r := newest.Actor.Region(); {
	case newest.IsZero():
		return 0
	case p.rules.Primary != 0:
		return p.rules.Primary
	case p.rules.knows(r):
		return r
	}
	return 0
}

func (p *ReadPlan) recent(now crdt.Time, d time.Duration) bool {
	f := p.query.Seen.Floor()
	return f > 0 && now.Sub(f.Time()) < d
}
