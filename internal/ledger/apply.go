package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/routing"
)

// Apply returns the State after a command, which came at an index. After a refusal the
// State is as it was.
func (s State) Apply(index uint64, c Command) (State, error) {
	next, err := s.apply(index, c)
	if err != nil {
		return s, err
	}
	next.Index = index
	return next, nil
}

func (s State) apply(index uint64, c Command) (State, error) {
	switch {
	case c.Describe != nil:
		return s.describe(*c.Describe, c.At)
	case s.Setup.Version == 0:
		return s, fmt.Errorf("%w: nobody has founded the deployment", ErrInvalid)
	case c.Renew != nil:
		return s.renew(*c.Renew)
	case c.Release != nil:
		return s.release(*c.Release, c.At)
	case c.Depose != nil:
		return s.depose(*c.Depose, c.At)
	case c.Detach != nil:
		return s.detach(*c.Detach, c.At)
	case c.Grant != nil:
		return s.grant(*c.Grant, c.At)
	case c.Plan != nil:
		return s.plan(*c.Plan, index, c.At)
	case c.Advance != nil:
		return s.advance(*c.Advance, c.At)
	default:
		return s.attend(c)
	}
}

// attend applies what has nothing to do with who holds the lease.
func (s State) attend(c Command) (State, error) {
	switch {
	case c.Join != nil:
		return s.join(*c.Join)
	case c.Fork != nil:
		return s.fork(*c.Fork)
	case c.Salvage != nil:
		return s.salvage(*c.Salvage, c.At)
	case c.Readmit != nil:
		return s.readmit(*c.Readmit, c.At)
	case c.Steer != nil:
		return s.steer(*c.Steer, c.At)
	case c.Route != nil:
		return s.route(*c.Route, c.At)
	case c.Watched != nil:
		return s.watched(*c.Watched)
	}
	return s, fmt.Errorf("%w: no command is set", ErrInvalid)
}

// describe founds the deployment, or changes what it is.
func (s State) describe(d Describe, at time.Time) (State, error) {
	was, is := s.Setup, d.Setup
	if is.Version != was.Version+1 {
		return s, fmt.Errorf("%w: version %d was given, and %d is the present one", ErrConflict, is.Version, was.Version)
	}
	if len(is.Regions) == 0 || is.Leases && !slices.Contains(is.Regions, is.Primary) {
		return s, fmt.Errorf("%w: no Regions, or none that takes the writes", ErrInvalid)
	}
	if _, err := routing.New(is.Controls, is.Rules); err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if was.Leases != is.Leases && was.Version > 0 && was.Leases {
		return s, fmt.Errorf("%w: who takes writes can't go from one Region to all of a running deployment", ErrInvalid)
	}
	if s.Lease.Epoch > 0 && !slices.Contains(is.Regions, s.Lease.Holder) {
		return s, fmt.Errorf("%w: %s holds the lease: switch over to another Region first", ErrInvalid, s.Lease.Holder)
	}
	if h := s.Handover; h.Pending() || h.Step == Repointing {
		return s, fmt.Errorf("%w to %s", ErrBusy, h.To)
	}
	s.Setup = is
	if was.Version == 0 {
		s = s.tell(Event{At: at, Kind: KindFounded, Region: is.Primary, Text: fmt.Sprintf("a deployment of %d Regions", len(is.Regions))})
	} else {
		s = s.tell(Event{At: at, Kind: KindSetup, Text: fmt.Sprintf("version %d: %s%s", is.Version, difference(was.Regions, is.Regions), by(d.By))})
	}
	if is.Leases && s.Lease.Epoch == 0 {
		s.Newest = max(s.Newest, d.Epoch, 1)
		s.Lease = Lease{Epoch: s.Newest, Holder: is.Primary, Since: at, Renewals: s.Lease.Renewals}
		s = s.promoted(at)
	}
	return s, nil
}

// difference says which Regions came and went.
func difference(was, is []string) string {
	text := []string{"other settings"}
	for _, r := range is {
		if !slices.Contains(was, r) {
			text = append(text, "with "+r)
		}
	}
	for _, r := range was {
		if !slices.Contains(is, r) {
			text = append(text, "without "+r)
		}
	}
	return strings.Join(text, ", ")
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + clip(who)
}

// clip bounds a text.
func clip(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}

// tell adds an event.
func (s State) tell(e Event) State {
	s.Seq++
	e.Seq, e.Text = s.Seq, clip(e.Text)
	s.Events = append(slices.Clip(s.Events), e)
	if n := len(s.Events) - MaxEvents; n > 0 {
		s.Events = slices.Clone(s.Events[n:])
	}
	return s
}

// promoted tells of a new holder, and has the writers' controls follow the lease, which
// no safety rule holds up: they say where writes go, and that is so already.
func (s State) promoted(at time.Time) State {
	l := s.Lease
	text := "it takes all writes"
	if l.Why != "" {
		text += ": " + l.Why
	}
	s = s.tell(Event{At: at, Kind: KindPromoted, Region: l.Holder, Other: l.From, Epoch: l.Epoch, Text: text})
	panel, err := s.Panel()
	if err != nil {
		return s // it was checked when it came in
	}
	var all []string
	for _, r := range panel.Rules() {
		all = append(all, r.Name)
	}
	follow := routing.Request{Changes: panel.Follow(s.Routing, l.Holder), Override: all, Holder: l.Holder}
	if next, err := panel.Update(s.Routing, follow, at); err == nil && len(follow.Changes) > 0 {
		s.Routing = next
	}
	return s
}

// maxMembers bounds how many are remembered.
const maxMembers = 64

func (s State) join(j Join) (State, error) {
	if j.Member == "" || j.ID == 0 || len(j.Member) > maxText || len(s.Joined) >= maxMembers {
		return s, fmt.Errorf("%w: member %q, number %d", ErrInvalid, clip(j.Member), j.ID)
	}
	s.Joined = maps.Clone(s.Joined)
	if s.Joined == nil {
		s.Joined = map[string]uint64{}
	}
	s.Joined[j.Member] = j.ID
	return s, nil
}

func (s State) readmit(r Readmit, at time.Time) (State, error) {
	if !s.Has(r.Region) {
		return s, fmt.Errorf("%w: no Region is called %q", ErrInvalid, r.Region)
	}
	if open, is := s.Owes(r.Region); is {
		return s, fmt.Errorf("%w: what %s took in epoch %d was not taken in yet", ErrConflict, r.Region, open.Epoch)
	}
	s.Watch.Judge = s.Watch.Judge.Readmit(r.Region)
	s.Readmits++
	return s.tell(Event{At: at, Kind: KindReadmitted, Region: r.Region, Text: "it may be promoted again" + by(r.By)}), nil
}

func (s State) steer(m Steer, at time.Time) (State, error) {
	mode := judge.Mode(m.Mode)
	if mode != judge.Automatic && mode != judge.Advise && mode != judge.Off {
		return s, fmt.Errorf("%w: mode %q: want %s, %s or %s", ErrInvalid, m.Mode, judge.Automatic, judge.Advise, judge.Off)
	}
	s.Mode = mode
	return s.tell(Event{At: at, Kind: KindMode, Text: string(mode) + by(m.By)}), nil
}

func (s State) route(r Route, at time.Time) (State, error) {
	panel, err := s.Panel()
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	next, err := panel.Update(s.Routing, routing.Request{Changes: r.Changes, Override: r.Override, Holder: s.Lease.Holder}, at)
	if err != nil {
		return s, err
	}
	s.Routing = next
	var text []string
	for _, c := range r.Changes {
		text = append(text, c.Control+map[bool]string{true: " on", false: " off"}[c.On])
	}
	if len(r.Override) > 0 {
		text = append(text, fmt.Sprintf("overriding %q", r.Override))
	}
	return s.tell(Event{At: at, Kind: KindRouting, Text: strings.Join(text, ", ") + by(r.By)}), nil
}

func (s State) watched(w Watched) (State, error) {
	if w.Epoch == s.Lease.Epoch && w.Readmits == s.Readmits {
		s.Watch = w.Watch
	}
	for _, e := range w.Events {
		s = s.tell(e)
	}
	return s, nil
}

// maxFork bounds what an engine says of a place in its log.
const maxFork = 4 << 10

// fork notes in a receipt where logs parted.
func (s State) fork(f Fork) (State, error) {
	i := slices.IndexFunc(s.Receipts, func(r Receipt) bool { return r.Epoch == f.Epoch })
	if i < 0 || s.Receipts[i].Fork != "" || len(f.At) > maxFork {
		return s, fmt.Errorf("%w: no receipt of epoch %d lacks it, or it has %d bytes", ErrStale, f.Epoch, len(f.At))
	}
	s.Receipts = slices.Clone(s.Receipts)
	s.Receipts[i].Fork = f.At
	return s, nil
}

// salvage adds to a receipt.
func (s State) salvage(m Salvage, at time.Time) (State, error) {
	i := slices.IndexFunc(s.Receipts, func(r Receipt) bool { return r.Epoch == m.Epoch })
	if i < 0 || !s.Receipts[i].Closed.IsZero() {
		return s, fmt.Errorf("%w: no receipt of epoch %d is open", ErrStale, m.Epoch)
	}
	s.Receipts = slices.Clone(s.Receipts)
	r := &s.Receipts[i]
	r.Counts, r.Note = m.Counts, clip(m.Note)
	r.Items = m.Items[:min(len(m.Items), MaxItems)]
	if m.Closed {
		r.Closed = at
		s = s.tell(Event{
			At: at, Kind: KindReceipt, Region: r.From, Other: r.To, Epoch: r.Epoch,
			Text: fmt.Sprintf("complete: %d recovered, %d superseded, %d lost, %d unknown",
				r.Counts[Recovered], r.Counts[Superseded], r.Counts[Lost], r.Counts[Unknown]),
		})
	}
	return s, nil
}
