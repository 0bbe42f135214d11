package router

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
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
	// Known is what this Region's journal knows of the record's end; the zero
	// Record if nothing.
	Known crdt.Record
	// Jitter is a random number in [0, 1).
	Jitter float64
}

const (
	// firstPoll is the first wait for a write on its way here; it doubles.
	firstPoll = 2 * time.Millisecond
	// justCreated is how young a creation is that ByRetry waits for.
	justCreated = 2 * time.Second
	// retryLeast and retryMost are the delays of "retry on a local miss".
	retryLeast = 100 * time.Millisecond
	retryMost  = 200 * time.Millisecond
	// maxAsked bounds the Regions that are asked beside each other: one more
	// than the likely one. With two silent ones the third is asked when the
	// first gives up.
	maxAsked = 2
)

// A ReadPlan is one read under way. It is used by one goroutine.
//
// This Region is asked first, alone. Elsewhere the likely Region is asked, and
// if it keeps silent for longer than its answers usually take, the next one as
// well (a hedge): a Region that hangs then costs a hedge delay and a round trip
// instead of its timeout. The first answer that leaves nothing to ask wins.
type ReadPlan struct {
	rules *Rules
	query Query
	hints Hints

	stage    readStage
	waited   bool // the last step was a Wait
	queue    []crdt.Region
	asked    RegionSet // and have not answered
	width    int       // how many may be asked beside each other by now
	narrow   bool      // no hedges
	hedged   crdt.Region
	hedges   int
	hedgeAt  crdt.Time
	answered RegionSet   // with all they have
	partial  RegionSet   // but for a part of them, which did not answer
	refills  RegionSet   // but for what they lost and have not got back yet
	best     crdt.Record // all answers joined
	side     bool
	heard    bool        // some answer came, if only a part of one
	from     crdt.Region // that last answered with something
	last     crdt.Region // that last answered at all
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
	return ReadPlan{rules: r, query: q, hints: h, best: crdt.Record{Key: q.Key}, poll: firstPoll, width: 1}
}

// Next returns the step that follows.
//
// After ReadAt the read is to be started, and Next called again at once with no
// event; after Wait, with the next event, or with none if its time passed first.
// Each ReadAt ends in one event, within its Timeout; one that was never sent
// does at once, with ErrOpen or ErrNoRetry. Where ReadAt says Alone, nothing
// else will be asked before its event, so that it may be passed to Next on the
// spot. After Done reads that have not ended are of no more interest.
func (p *ReadPlan) Next(now crdt.Time, e Event) Step {
	passed := p.waited && e.Region == 0
	p.waited = false
	if e.Region != 0 {
		p.take(now, e)
	}
	if p.stage == begin {
		return p.begin(now)
	}
	if e.Region != 0 && p.satisfied() {
		return p.done()
	}
	switch {
	case p.stage == elsewhere:
		return p.goOn(now, passed)
	case p.asked != 0 && passed:
		return p.done() // the budget went by
	case p.asked != 0:
		return p.wait(p.end.Sub(now)) // for this Region, which is asked alone
	case p.stage == local:
		return p.afterLocal(now)
	case passed:
		return p.readAt(now, p.rules.Here, false)
	case p.stage == waiting:
		return p.waitForWrite(now)
	}
	return p.done() // retried
}

func (p *ReadPlan) begin(now crdt.Time) Step {
	p.end = now.Add(p.rules.ReadBudget)
	if !p.hints.Known.Key.IsZero() {
		if p.best = p.hints.Known; p.best.Dead {
			p.heard = true
			return p.done() // whatever anybody else has
		}
	}
	if p.rules.Mode == ByPrimary {
		p.wrote = p.writer()
	}
	if p.wrote != 0 && p.wrote != p.rules.Here {
		// The order of asking is all there is to this mode: no hedges.
		p.stage, p.queue, p.narrow = elsewhere, []crdt.Region{p.wrote, p.rules.Here}, true
		return p.goOn(now, false)
	}
	p.stage = local
	return p.readAt(now, p.rules.Here, false)
}

// take joins what an answer brought, whenever it comes.
func (p *ReadPlan) take(now crdt.Time, e Event) {
	from, res := e.Region, e.Result
	p.asked.remove(from)
	if p.hedged == from {
		p.hedged = 0
		if p.neverSent(now, e) {
			return
		}
	}
	p.partial.remove(from)
	p.refills.remove(from)
	switch {
	case res.Err != nil:
		p.err = res.Err
	case res.Partial || res.Refilling:
		p.partial.set(from, res.Partial)
		p.refills.set(from, res.Refilling)
	default:
		p.answered.add(from)
	}
	if res.Record.Key == p.query.Key { // even beside an error
		p.best = crdt.Join(p.best, res.Record)
	}
	if res.Err == nil || res.Side || res.Record.Dead {
		p.heard, p.last = true, from
		if !res.Record.IsBottom() {
			p.from = from
		}
	}
	p.side = p.side || res.Side
}

// neverSent takes back a hedge that was refused before it cost anything. It
// reports whether that is all the event says.
func (p *ReadPlan) neverSent(now crdt.Time, e Event) bool {
	switch {
	case errors.Is(e.Result.Err, ErrNoRetry):
		p.width-- // and there may be a token a hedge delay later
		p.hedges--
		p.queue = slices.Insert(p.queue, 0, e.Region) // its turn comes
		return true
	case errors.Is(e.Result.Err, ErrOpen):
		p.width, p.hedgeAt = p.width-1, now
		p.hedges--
	}
	return false
}

// satisfied reports whether no further answer could be better.
func (p *ReadPlan) satisfied() bool {
	switch {
	case p.best.Dead:
		return true
	case p.query.Key.Kind() != crdt.KindSession:
		return p.toldOfUser() && p.askedAlso() // nothing known of a user is an answer
	case !p.born():
		return p.missIsSure()
	case p.rules.Mode == ByPrimary:
		return true // the order of asking is all there is to it
	}
	return p.told() && p.query.Seen.FreshIn(p.best.VV)
}

// told: some engine told all it has, but for what a side store or a journal may add.
// A token does not speak for what every engine has: what a side store alone tells, or
// an engine that is refilling, may be older than it.
func (p *ReadPlan) told() bool { return p.answered != 0 || p.partial&^p.refills != 0 }

// toldOfUser: some Region told all it has of a user, or all but what only this
// Region's side store has, of which others know no more. What a Region that is
// refilling has is never enough: the revocation that is missed would let a
// session in.
func (p *ReadPlan) toldOfUser() bool {
	here := p.rules.Here
	return p.answered != 0 || p.partial.Has(here) && !p.refills.Has(here)
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
	birth := p.query.Key.SessionID().Birth()
	for _, primary := range []crdt.Region{p.rules.Primary, p.rules.Next} {
		if primary != 0 && !p.answered.Has(primary) {
			return false // wherever it was born, it was written there
		}
	}
	return p.allAnswered() || p.answered.Has(birth) && p.answered.Len() >= 2
}

func (p *ReadPlan) allAnswered() bool { return p.answered.Len() == len(p.rules.Near) }

// afterLocal: this Region did not have it all. One that is refilling is as good
// as one that did not answer: no waiting here brings back what it lost.
func (p *ReadPlan) afterLocal(now crdt.Time) Step {
	here := p.rules.Here
	answered := p.answered.Has(here) || p.partial.Has(here) && !p.refills.Has(here)
	switch {
	case answered && p.rules.Mode == Accept:
		return p.done()
	case answered && p.rules.Mode == ByRetry:
		if p.born() || !p.recent(now, justCreated) {
			return p.done()
		}
		p.stage = retrying
		return p.wait(retryLeast + time.Duration(p.hints.Jitter*float64(retryMost-retryLeast)))
	case answered:
		p.stage, p.waitEnd = waiting, now.Add(p.worthWaiting(now))
		return p.waitForWrite(now)
	}
	return p.startAsking(now)
}

// waitForWrite waits as long as the missing write may still be on its way here.
func (p *ReadPlan) waitForWrite(now crdt.Time) Step {
	left := min(p.waitEnd, p.end).Sub(now)
	if left <= 0 {
		return p.startAsking(now)
	}
	d := min(p.poll, left)
	p.poll *= 2
	return p.wait(d)
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
	return p.goOn(now, false)
}

// goOn asks the next Region if there is room for one more, makes room if those
// that are asked have been silent for too long, and else waits for them.
func (p *ReadPlan) goOn(now crdt.Time, passed bool) Step {
	if now >= p.end || p.asked == 0 && len(p.queue) == 0 {
		return p.done()
	}
	mayHedge := !p.narrow && len(p.queue) > 0 && p.width < maxAsked
	hedge := mayHedge && p.asked.Len() == p.width && (passed || now >= p.hedgeAt)
	if hedge {
		p.width++
	}
	switch {
	case len(p.queue) > 0 && p.asked.Len() < p.width:
		r := p.queue[0]
		p.queue = p.queue[1:]
		return p.readAt(now, r, hedge)
	case mayHedge:
		return p.wait(min(p.hedgeAt, p.end).Sub(now))
	case passed: // and nobody that was asked has answered within the budget
		return p.done()
	}
	return p.wait(p.end.Sub(now))
}

func (p *ReadPlan) readAt(now crdt.Time, r crdt.Region, hedge bool) Step {
	alone := p.asked == 0 && (p.stage != elsewhere || p.narrow || len(p.queue) == 0)
	p.asked.add(r)
	p.hedgeAt = now.Add(p.rules.hedgeDelay(p.hints.Lag[r]))
	if hedge {
		p.hedged = r
		p.hedges++
	}
	timeout := min(p.rules.Timeout(r), max(p.end.Sub(now), time.Millisecond))
	return Step{Do: ReadAt, Region: r, Timeout: timeout, Hedge: hedge, Alone: alone}
}

func (p *ReadPlan) wait(d time.Duration) Step {
	p.waited = true
	return Step{Do: Wait, For: max(d, time.Millisecond)}
}

// errSilent stands for the errors of reads that have not ended.
var errSilent = fmt.Errorf("%w: no answer in time", engine.ErrUnavailable)

// done judges what was gathered.
func (p *ReadPlan) done() Step {
	a := Answer{Record: p.best, Region: p.source(), Token: p.query.Seen, Hedges: p.hedges, Partial: !p.told()}
	if !p.heard {
		if p.err == nil {
			p.err = errSilent
		}
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

// source returns the Region that the answer is from: the last that had
// something, or else the last that answered.
func (p *ReadPlan) source() crdt.Region {
	for _, r := range []crdt.Region{p.from, p.last} {
		if r != 0 {
			return r
		}
	}
	return p.rules.Here
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
	// The part that is missing of this Region, or of the one that had the record,
	// may be all there is of a logout.
	half := p.partial.Has(p.rules.Here) || p.partial.Has(a.Region)
	user := p.query.Key.Kind() != crdt.KindSession
	old := len(missing) > 0 || half || a.Partial && !p.side || user && !p.toldOfUser() || !p.askedAlso() || p.hints.Unheard > p.rules.StrictBound
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

// refuse answers with an error, and with no session. Of a user what is known goes
// with it: a sealed session may be served now, and is checked against that (R11).
func (p *ReadPlan) refuse(a Answer, err error) Step {
	a.Rung = Refused
	if p.query.Key.Kind() != crdt.KindUser {
		a.Record = crdt.Record{Key: p.query.Key}
	}
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
	case p.rules.Next != 0 && r == p.rules.Next:
		return r // it takes them already
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
