package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
)

// agreed returns the newest that a member of a Region knows; not ok: nothing is agreed.
func (d *deployment) agreed() (newest ledger.State, ok bool) {
	for _, r := range d.regions {
		if s := r.agreed.Load(); s != nil && (!ok || s.Index > newest.Index) {
			newest, ok = *s, true
		}
	}
	return newest, ok
}

// primaryOf returns the Region that takes all writes, as a Region knew last; zero: all do.
func (d *deployment) primaryOf(r *region) crdt.Region {
	if s := r.agreed.Load(); s != nil {
		return d.region(s.Lease.Holder).id
	}
	return d.primary()
}

// seatOf returns a Region's seat; nil: it is dead, or there is no control plane.
func (d *deployment) seatOf(r *region) *seat {
	if p := r.process(); p != nil && d.alive(r.name) {
		return p.seat
	}
	return nil
}

// governed reports whether every Region knows who holds the lease, and that one has it; or
// that there is none.
func (d *deployment) governed() bool {
	if d.keeper.native() == nil {
		return true
	}
	held := false
	for _, r := range d.regions {
		s := r.agreed.Load()
		if s == nil {
			return false
		}
		held = held || s.Lease.Holder == r.name && r.process().seat.holds(s.Lease.Epoch)
	}
	return held
}

// hear tells of what was agreed, once.
func (d *deployment) hear(s ledger.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range s.Events {
		if e.Seq > d.told {
			d.told = e.Seq
			d.lab.feed.add(console.Event{Kind: console.KindControl, Region: e.Region, Text: sentence(e)})
		}
	}
}

// sentence is an event in words.
func sentence(e ledger.Event) string {
	text := string(e.Kind)
	if e.Region != "" {
		text += " " + e.Region
	}
	if e.Epoch > 0 {
		text += fmt.Sprintf(", epoch %d", e.Epoch)
	}
	return text + ": " + e.Text
}

// leading returns the member that leads the quorum, or one that knows who does.
func (d *deployment) leading() (*control.Member, error) {
	var knows *control.Member
	for _, r := range d.regions {
		s := d.seatOf(r)
		if s == nil {
			continue
		}
		m := s.member.Load()
		switch {
		case m == nil || m.Leader() == "":
		case m.Leader() == r.name:
			return m, nil
		default:
			knows = m
		}
	}
	if knows == nil {
		return nil, &console.Refusal{Problem: "no majority of the Regions can decide anything now", Next: "revive Regions or heal links, and wait until one leads"}
	}
	return knows, nil
}

// precheckTime is for how long a switchover waits for what members report once a second and
// may be so in a moment.
const precheckTime = 3 * time.Second

// switchOver begins to have another Region take the writes, if nothing speaks against it.
func (d *deployment) switchOver(ctx context.Context, to string) error {
	for begun := time.Now(); ; {
		m, err := d.leading()
		if err != nil {
			return err
		}
		refusal, soon, err := precheck(ctx, m, to)
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return propose(ctx, m, ledger.Command{Plan: &ledger.Plan{To: to, By: "the console"}})
		case !soon || time.Since(begun) > precheckTime || !pause.For(ctx, precheckTime/30):
			return refusal
		}
	}
}

// precheck returns what speaks against a switchover, and whether that may be over soon; nil:
// nothing does.
func precheck(ctx context.Context, m *control.Member, to string) (refusal *console.Refusal, soon bool, err error) {
	checks, err := m.Precheck(ctx, to, true)
	if errors.Is(err, control.ErrNotLeader) {
		return &console.Refusal{Problem: "the leader has just changed, or is out of reach", Next: "try again in a moment"}, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, c := range checks {
		if c.OK {
			continue
		}
		soon := !slices.Contains([]string{"lease", "region", "free", "salvaged"}, c.Name)
		return &console.Refusal{Problem: "not now: it is not so that " + c.Detail, Next: c.Next}, soon, nil
	}
	return nil, false, nil
}

// steer says what the judge may do by itself, where there is one.
func (d *deployment) steer(ctx context.Context, mode string) error {
	if !d.native() {
		return nil
	}
	m, err := d.leading()
	if err != nil {
		return err
	}
	return propose(ctx, m, ledger.Command{Steer: &ledger.Steer{Mode: mode, By: "the tour"}})
}

// readmit lets a Region be promoted again that has lost the lease.
func (d *deployment) readmit(ctx context.Context, region string) error {
	m, err := d.leading()
	if err != nil {
		return err
	}
	return propose(ctx, m, ledger.Command{Readmit: &ledger.Readmit{Region: region, By: "the console"}})
}

// propose has something agreed. What the ledger refuses is a Refusal.
func propose(ctx context.Context, m *control.Member, c ledger.Command) error {
	_, err := m.Propose(ctx, c)
	for _, kind := range []error{ledger.ErrStale, ledger.ErrConflict, ledger.ErrBusy, ledger.ErrInvalid} {
		if errors.Is(err, kind) {
			return &console.Refusal{Problem: err.Error(), Next: "look at what the control plane shows, and try again"}
		}
	}
	return err
}
