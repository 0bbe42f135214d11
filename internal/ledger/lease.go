package ledger

import (
	"fmt"
	"slices"
	"time"
)

// renew counts a renewal. While the holder drains it is not renewed: its servers are to
// stop. Once it is deposed nobody is, not even who has the next epoch reserved: each renewal
// puts off the grant.
func (s State) renew(r Renew) (State, error) {
	l, h := s.Lease, s.Handover
	holds := r.Epoch == l.Epoch && r.Region == l.Holder && !l.Released && !l.Deposed && h.Step != Draining
	reserved := h.Pending() && !l.Deposed && r.Epoch == h.Epoch && r.Region == h.To
	if r.Epoch == 0 || !holds && !reserved {
		return s, fmt.Errorf("%w: %s asks to renew %d", ErrStale, r.Region, r.Epoch)
	}
	switch {
	case !holds:
		s.Handover.Run = r.Run
	case s.Lease.Run == "":
		s.Lease.Run = r.Run
	}
	s.Lease.Renewals++
	return s, nil
}

// release ends an epoch whose servers have stopped.
func (s State) release(r Release, at time.Time) (State, error) {
	if r.Epoch == 0 || r.Epoch != s.Lease.Epoch || r.Region != s.Lease.Holder {
		return s, fmt.Errorf("%w: %s releases %d", ErrStale, r.Region, r.Epoch)
	}
	if s.Lease.Released && (s.Lease.Loss != "" || r.Loss == "") {
		return s, nil
	}
	s.Lease.Released, s.Lease.Loss = true, r.Loss
	return s.tell(Event{At: at, Kind: KindReleased, Region: r.Region, Epoch: r.Epoch, Text: "its servers have stopped: " + r.Why}), nil
}

// depose has the present epoch end.
func (s State) depose(d Depose, at time.Time) (State, error) {
	switch l := s.Lease; {
	case l.Epoch == 0 || d.Epoch != l.Epoch:
		return s, fmt.Errorf("%w: %d is to end, and %d is the present one", ErrStale, d.Epoch, l.Epoch)
	case !s.Has(d.Wish):
		return s, fmt.Errorf("%w: no Region is called %q", ErrInvalid, d.Wish)
	case l.Deposed && l.Wish == d.Wish && (l.Detach || !d.Detach):
		return s, nil
	}
	s.Lease.Deposed, s.Lease.Wish, s.Lease.Why, s.Lease.Lag, s.Lease.At = true, d.Wish, clip(d.Why), d.Lag, at
	s.Lease.Detach = d.Detach
	return s.tell(Event{At: at, Kind: KindDeposed, Region: s.Lease.Holder, Other: d.Wish, Epoch: d.Epoch, Text: d.Why}), nil
}

// detach lets the holder's server be taken out of what manages it.
func (s State) detach(d Detach, at time.Time) (State, error) {
	switch l := s.Lease; {
	case l.Epoch == 0 || d.Epoch != l.Epoch || d.Region != l.Holder || l.Deposed:
		return s, fmt.Errorf("%w: %s is to be detached in epoch %d, and %s holds %d", ErrStale, d.Region, d.Epoch, l.Holder, l.Epoch)
	case l.Detach:
		return s, nil
	}
	s.Lease.Detach = true
	return s.tell(Event{
		At: at, Kind: KindDetached, Region: d.Region, Epoch: d.Epoch, Text: "its server may be taken out of the Global Datastore" + by(d.By),
	}), nil
}

// grant gives a Region the next epoch, when nobody can hold one.
func (s State) grant(g Grant, at time.Time) (State, error) {
	l := s.Lease
	switch {
	case l.Epoch == 0:
		return s, fmt.Errorf("%w: all Regions take writes", ErrInvalid)
	case g.Newest != s.Newest || g.Renewals != l.Renewals:
		return s, fmt.Errorf("%w: the lease was renewed or granted", ErrConflict)
	case !l.Released && !l.Deposed:
		return s, fmt.Errorf("%w: epoch %d was not ended", ErrInvalid, l.Epoch)
	case !s.Has(g.To):
		return s, fmt.Errorf("%w: no Region is called %q", ErrInvalid, g.To)
	}
	h := s.Handover
	if h.Pending() {
		s = s.ended(Failed, at, "the lease was granted anew: "+g.Why)
	}
	s.Newest++
	s.Lease = Lease{
		Epoch: s.Newest, Holder: g.To, Since: at, From: l.Holder, Unplanned: g.To != l.Holder,
		Renewals: l.Renewals, Why: clip(g.Why), Lag: g.Lag, Detach: l.Detach && g.To == l.Wish,
	}
	if s.Lease.Unplanned || l.Loss != "" || g.Loss != "" { // who gets it back may lack what it had
		s = s.owe(Receipt{Epoch: l.Epoch, From: l.Holder, To: g.To, At: at, Why: clip(g.Why), Lag: g.Lag})
	} else {
		s.Lease.Run = l.Run
	}
	if h.Step == Draining && h.To != g.To { // it may have begun, and nobody was told
		s = s.owe(Receipt{Epoch: h.Epoch, From: h.To, To: g.To, At: at, Why: clip(g.Why)})
	}
	return s.promoted(at), nil
}

// owe opens a receipt. Should there be too many the oldest closed one goes, so that no
// Region's server is taken for one whose writes were looked at.
func (s State) owe(r Receipt) State {
	s.Receipts = append(slices.Clone(s.Receipts), r)
	if len(s.Receipts) > MaxReceipts {
		i := max(0, slices.IndexFunc(s.Receipts, func(r Receipt) bool { return !r.Closed.IsZero() }))
		s.Receipts = slices.Delete(s.Receipts, i, i+1)
	}
	return s.tell(Event{
		At: r.At, Kind: KindReceipt, Region: r.From, Other: r.To, Epoch: r.Epoch,
		Text: fmt.Sprintf("opened: %s was %.1f s behind when it was chosen, as far as was known", r.To, r.Lag),
	})
}

// plan reserves the next epoch for a Region.
func (s State) plan(p Plan, index uint64, at time.Time) (State, error) {
	l, h := s.Lease, s.Handover
	switch {
	case l.Epoch == 0:
		return s, fmt.Errorf("%w: all Regions take writes", ErrInvalid)
	case h.Pending() || h.Step == Repointing:
		return s, fmt.Errorf("%w to %s", ErrBusy, h.To)
	case l.Released || l.Deposed:
		return s, fmt.Errorf("%w: nobody holds the lease: this is a failover", ErrInvalid)
	case !s.Has(p.To):
		return s, fmt.Errorf("%w: no Region is called %q", ErrInvalid, p.To)
	case p.To == l.Holder:
		return s, fmt.Errorf("%w: %s holds the lease", ErrInvalid, p.To)
	}
	if open, is := s.Owes(p.To); is {
		return s, fmt.Errorf("%w: what %s took in epoch %d was not taken in yet", ErrConflict, p.To, open.Epoch)
	}
	s.Newest++
	s.Handover = Handover{ID: index, From: l.Holder, To: p.To, Epoch: s.Newest, Step: Arming, By: clip(p.By), Planned: at}
	return s.tell(Event{
		At: at, Kind: KindSwitchover, Region: p.To, Other: l.Holder, Epoch: s.Newest, Text: "planned" + by(p.By),
	}), nil
}

// advance takes a planned switchover on.
func (s State) advance(a Advance, at time.Time) (State, error) {
	h := s.Handover
	if a.Epoch == 0 || a.Epoch != h.Epoch {
		return s, fmt.Errorf("%w: no switchover to %d is under way", ErrStale, a.Epoch)
	}
	switch {
	case a.Step == Draining && h.Step == Arming && !s.Lease.Deposed && !s.Lease.Released:
		s.Handover.Step, s.Handover.Armed = Draining, at
		return s, nil
	case a.Step == Repointing && h.Step == Draining:
		s.Handover.Step, s.Handover.Begun = Repointing, at
		s.Lease = Lease{Epoch: h.Epoch, Holder: h.To, Since: at, From: h.From, Renewals: s.Lease.Renewals, Run: h.Run, Why: "a planned switchover"}
		return s.promoted(at), nil
	case a.Step == Done && h.Step == Repointing, a.Step == Failed && h.Step == Arming:
		return s.ended(a.Step, at, a.Why), nil
	}
	return s, fmt.Errorf("%w: it is %s and can't become %s", ErrConflict, h.Step, a.Step)
}

// ended ends the switchover.
func (s State) ended(step Step, at time.Time, why string) State {
	s.Handover.Step, s.Handover.Ended, s.Handover.Why = step, at, clip(why)
	text := string(step)
	if why != "" {
		text += ": " + why
	}
	return s.tell(Event{At: at, Kind: KindSwitchover, Region: s.Handover.To, Other: s.Handover.From, Epoch: s.Handover.Epoch, Text: text})
}
