package admin

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// heardFor is how old a report may be of whoever is heard: two and a half periods, as the
// judge has it.
const heardFor = 2500 * time.Millisecond

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// some returns a list that JSON writes as one also if it is empty.
func some[T any](of []T) []T {
	if of == nil {
		return []T{}
	}
	return of
}

// statusOf returns what a member knows at a time.
func statusOf(deployment string, k control.Status, now time.Time) Status {
	s := k.State
	out := Status{
		Deployment: deployment, At: now.UTC(), Self: k.Self, Leader: k.Leader, Index: s.Index, Topology: s.Setup.Version, Mode: string(s.Mode),
		Regions: []Region{}, Members: []Seen{}, Alarms: alarmsOf(s.Watch.Alarms), Controls: controlsOf(s), Receipts: []Receipt{},
	}
	watch := s.Watch
	if k.Judged {
		watch, out.Verdict = k.Watch, verdictOf(k.Verdict)
		out.Alarms = alarmsOf(watch.Alarms)
	}
	if l := s.Lease; l.Epoch > 0 {
		out.Lease = &Lease{
			Epoch: l.Epoch, Holder: l.Holder, Since: l.Since, From: l.From, Unplanned: l.Unplanned, Why: l.Why, Renewals: l.Renewals,
			Released: l.Released, Deposed: l.Deposed, Wish: l.Wish, Held: k.Holds,
		}
	}
	if h := s.Handover; h.ID > 0 {
		out.Handover = &Handover{
			ID: h.ID, From: h.From, To: h.To, Epoch: h.Epoch, Step: string(h.Step), By: h.By,
			Planned: h.Planned, Armed: h.Armed, Begun: h.Begun, Ended: h.Ended, Why: h.Why,
		}
	}
	for _, name := range s.Setup.Regions {
		out.Regions = append(out.Regions, regionOf(name, k, watch, now))
	}
	for _, m := range k.Members {
		out.Members = append(out.Members, Seen{
			Name: m.Member, ID: m.ID, Witness: m.Witness, Self: m.Member == k.Self, Leads: m.Member == k.Leader,
			Heard: m.Heard, Hears: some(m.Hears), Version: m.Version, SkewMS: ms(m.Skew),
		})
	}
	for _, r := range s.Receipts {
		if r.Closed.IsZero() {
			out.Receipts = append(out.Receipts, receiptOf(r))
		}
	}
	out.Names = namesOf(k, now)
	return out
}

// namesOf returns how what Regions' nodes keep outside of Roam fares, of those that are heard.
func namesOf(k control.Status, now time.Time) (out []Name) {
	for _, m := range k.Members {
		if now.Sub(m.Heard) > heardFor {
			continue
		}
		for _, n := range m.Names {
			out = append(out, Name{
				Region: m.Member, Kind: n.Kind, Name: n.Name, State: n.State, Epoch: n.Epoch, Target: n.Target, Since: n.Since, Why: n.Why, Next: n.Next,
			})
		}
	}
	return out
}

func regionOf(name string, k control.Status, watch ledger.Watch, now time.Time) Region {
	s := k.State
	out := Region{
		Name: name, Role: "peer", Away: slices.Contains(s.Away(), name), Candidate: !slices.Contains(watch.Judge.Left, name),
	}
	if s.Lease.Epoch > 0 {
		out.Role = "secondary"
		if s.Lease.Holder == name {
			out.Role = "primary"
		}
	}
	if r, owes := s.Owes(name); owes {
		out.Owes = r.Epoch
	}
	out.DegradedShare = degraded(name, k, now)
	i := slices.IndexFunc(k.Members, func(m control.Seen) bool { return m.Member == name })
	if i < 0 || k.Members[i].Heard.IsZero() {
		return out
	}
	m := k.Members[i]
	out.Heard = now.Sub(m.Heard) <= heardFor
	out.Engine, out.Primary, out.Follows, out.Linked = m.Server.Known, m.Server.Primary, m.Server.Follows, m.Server.Linked
	out.Service = m.Server.Service
	if lag, known := behind(k, m.Server); known && s.Lease.Epoch > 0 {
		figure := ms(lag)
		out.LagMS = &figure
	}
	return out
}

// degraded returns the share of a Region's answers that was degraded: the worst that a
// member which is heard tells of; nil: none does.
func degraded(region string, k control.Status, now time.Time) (share *float64) {
	for _, m := range k.Members {
		if now.Sub(m.Heard) > heardFor {
			continue
		}
		for _, d := range m.Data {
			if d.Metric == alarm.DegradedShare && d.Region == region && (share == nil || d.Value > *share) {
				share = &d.Value
			}
		}
	}
	return share
}

// behind returns how far a server is behind the newest heartbeat that this member knows of.
func behind(k control.Status, of steer.Server) (time.Duration, bool) {
	var newest judge.Beat
	for _, m := range k.Members {
		if b := m.Server.Beat; b.Epoch == k.State.Lease.Epoch && b.At.After(newest.At) {
			newest = b
		}
	}
	if newest.At.IsZero() || of.Beat.Epoch != newest.Epoch || of.Beat.At.IsZero() {
		return 0, false
	}
	return max(0, newest.At.Sub(of.Beat.At)), true
}

func alarmsOf(all alarm.Statuses) []Alarm {
	out := []Alarm{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		out = append(out, Alarm{Name: name, State: string(cmp.Or(a.State, alarm.InsufficientData)), Since: a.Since, Reason: a.Reason})
	}
	return out
}

func verdictOf(v judge.Verdict) *Verdict {
	return &Verdict{
		At: v.At, Epoch: v.Epoch, Ruled: v.Ruled, Kind: string(v.Kind()), Findings: findingsOf(v.Findings), Held: findingsOf(v.Held),
	}
}

func findingsOf(all []judge.Finding) []Finding {
	out := []Finding{}
	for _, f := range all {
		out = append(out, Finding{
			Kind: string(f.Kind), From: f.From, To: f.To, Act: f.Act, Rule: string(f.Rule), Reason: f.Reason, LagMS: ms(f.Lag),
		})
	}
	return out
}

func controlsOf(s ledger.State) []Control {
	out := []Control{}
	for _, c := range s.Setup.Controls {
		out = append(out, Control{
			Name: c.Name, Region: c.Region, Writer: c.Writer, On: s.Routing.On[c.Name], Changed: s.Routing.Changed[c.Name],
		})
	}
	return out
}

func rulesOf(s ledger.State) []Rule {
	out := []Rule{}
	for _, r := range s.Setup.Rules {
		out = append(out, Rule{
			Name: r.Name, Controls: some(r.Controls), Gates: r.Gates, Type: string(r.Type), Threshold: r.Threshold, Inverted: r.Inverted,
			WaitMS: waitOf(r.Wait).Milliseconds(),
		})
	}
	return out
}

func receiptOf(r ledger.Receipt) Receipt {
	out := Receipt{
		Epoch: r.Epoch, From: r.From, To: r.To, At: r.At, Why: r.Why, LagMS: r.Lag * 1000, Counts: map[string]uint64{}, Closed: r.Closed, Note: r.Note,
	}
	for fate, n := range r.Counts {
		out.Counts[string(fate)] = n
	}
	return out
}

func itemOf(i ledger.Item) Item {
	return Item{Session: i.Session, Kind: i.Kind, At: i.At, Fate: string(i.Fate)}
}

func checksOf(all []steer.Check) (out []Check, ok bool) {
	out, ok = []Check{}, true
	for _, c := range all {
		out = append(out, Check{Name: c.Name, OK: c.OK, Detail: c.Detail, Next: c.Next})
		ok = ok && c.OK
	}
	return out, ok
}
