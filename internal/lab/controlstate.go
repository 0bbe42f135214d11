package lab

import (
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/ledger"
)

// shownNotes and shownReceipts are how many of the last ones a state has.
const shownNotes, shownReceipts = 12, 5

// controlState returns what the control plane knows; nil: there is none, or nothing is
// agreed yet.
func (d *deployment) controlState() *console.Control {
	s, ok := d.agreed()
	if !ok {
		return nil
	}
	out := &console.Control{
		Epoch: s.Lease.Epoch, Holder: s.Lease.Holder, Since: utc(s.Lease.Since), Name: writerName,
		Left: append([]string{}, s.Watch.Judge.Left...), Handover: handoverState(s.Handover),
		Receipts: []console.Receipt{}, Notes: []console.Note{},
	}
	if s.Lease.Deposed || s.Lease.Released {
		out.Ending = "it is over: " + s.Lease.Why
	}
	if m, err := d.leading(); err == nil {
		out.Leader = m.Leader()
	}
	for _, r := range d.regions {
		seat := d.seatOf(r)
		out.Names = append(out.Names, nameState(r, seat))
		if seat == nil {
			continue
		}
		if r.name == s.Lease.Holder {
			out.Held = seat.holds(s.Lease.Epoch)
		}
		if known := r.agreed.Load(); known != nil && known.Lease.Epoch == s.Lease.Epoch && out.Ending == "" {
			out.LastsMs = max(out.LastsMs, seat.lasts().Milliseconds())
		}
	}
	for _, r := range slices.Backward(s.Receipts[max(0, len(s.Receipts)-shownReceipts):]) {
		out.Receipts = append(out.Receipts, receiptState(r))
	}
	for _, e := range slices.Backward(s.Events[max(0, len(s.Events)-shownNotes):]) {
		out.Notes = append(out.Notes, console.Note{Seq: e.Seq, At: utc(e.At), Kind: string(e.Kind), Region: e.Region, Text: e.Text})
	}
	return out
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// lasts returns how long the lease lasts unless it is renewed, as this Region knows.
func (s *seat) lasts() time.Duration {
	at := s.renewed.Load()
	if at == 0 {
		return 0
	}
	c := leaseConfig()
	return max(0, time.Duration(at)+c.TTL-c.Guard-time.Since(s.deployment.begun))
}

func nameState(r *region, s *seat) console.Name {
	out := console.Name{Region: r.name}
	if s == nil {
		out.Problem = "it is dead"
		return out
	}
	a := s.answer.Load()
	switch {
	case a == nil:
		out.Problem = "it was not asked yet"
	case a.err != nil:
		out.Problem = a.err.Error()
	default:
		out.Writer, out.TTLMs = strings.TrimSuffix(a.Target, "."+zoneName+"."), a.TTL.Milliseconds()
	}
	return out
}

func handoverState(h ledger.Handover) *console.Handover {
	if h.ID == 0 {
		return nil
	}
	after := func(t time.Time) *float64 {
		if t.IsZero() {
			return nil
		}
		return millis(max(0, t.Sub(h.Planned)))
	}
	return &console.Handover{
		From: h.From, To: h.To, Epoch: h.Epoch, Step: string(h.Step), Why: h.Why,
		ArmedMs: after(h.Armed), BegunMs: after(h.Begun), EndedMs: after(h.Ended),
	}
}

func receiptState(r ledger.Receipt) console.Receipt {
	out := console.Receipt{
		Epoch: r.Epoch, From: r.From, To: r.To, At: utc(r.At), Open: r.Closed.IsZero(), Note: r.Note,
		Counts: map[string]uint64{},
	}
	for _, f := range []ledger.Fate{ledger.Recovered, ledger.Superseded, ledger.Lost, ledger.Unknown} {
		out.Counts[string(f)] = r.Counts[f]
	}
	return out
}
