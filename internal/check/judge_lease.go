package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/topology"
)

// writer returns the Region that is to take all writes: the holder that members agreed
// on, or where there are no leases the primary of the file. Empty: nobody says.
func writer(d topology.Deployment, w words) string {
	if !d.Leases() {
		return d.Primary
	}
	if s := w.newest(); s != nil && s.Lease != nil {
		return s.Lease.Holder
	}
	return ""
}

// judgeLease judges who may write, and what failovers have left to do. Who the file
// names as primary had the first lease, and that says nothing of now.
func judgeLease(d topology.Deployment, w words) []Row {
	if !d.Leases() {
		return nil
	}
	s := w.leading()
	if s.Lease == nil || s.Lease.Holder == "" {
		return []Row{{State: Warning, Seen: "nobody holds the lease: no Region takes writes", Mend: "look whether a majority of members take part, and at the log of the one that leads"}}
	}
	rows := []Row{judgeHolder(s, w)}
	owed := map[string]bool{}
	for _, r := range s.Receipts {
		owed[r.From] = true
		rows = append(rows, Row{
			State: Warning, Seen: fmt.Sprintf("the receipt of epoch %d is open: what %s took and %s had not got is not home yet", r.Epoch, r.From, r.To),
			Mend: "bring the server of " + r.From + " or its node back: roam receipts tells what is missing",
		})
	}
	for _, r := range s.Regions {
		if r.Owes > 0 && !owed[r.Name] {
			rows = append(rows, Row{
				State: Warning, Region: r.Name, Seen: fmt.Sprintf("what it took in epoch %d is not home yet", r.Owes), Mend: "bring its server or its node back",
			})
		}
		if !r.Candidate && r.Name != s.Lease.Holder {
			rows = append(rows, Row{
				State: Warning, Region: r.Name, Seen: "it has lost the lease, and is not promoted by itself",
				Mend: "when it is well again: roam region readmit " + r.Name,
			})
		}
	}
	return rows
}

// judgeHolder judges the lease itself.
func judgeHolder(s *admin.Status, w words) Row {
	l := s.Lease
	row := Row{State: Good, Region: l.Holder, Seen: fmt.Sprintf("it holds the lease, in epoch %d", l.Epoch)}
	own := slices.IndexFunc(w, func(one word) bool {
		return one.member.Name == l.Holder && one.status != nil && one.status.Self == l.Holder
	})
	switch h := s.Handover; {
	case l.Deposed:
		row.State, row.Mend = Warning, "run it again in a moment; roam status --watch tells how far that is"
		row.Seen = fmt.Sprintf("it is deposed from epoch %d: %s is to follow: %s", l.Epoch, cmp.Or(l.Wish, "another Region"), cmp.Or(l.Why, "no reason was given"))
	case h != nil && !h.Over():
		row.Seen += fmt.Sprintf("; a switchover to %s is %s", h.To, h.Step)
	case l.Released:
		row.State, row.Mend = Warning, "look at the log of the member that leads"
		row.Seen = fmt.Sprintf("it has let go of the lease of epoch %d, and nobody has the next: no Region takes writes", l.Epoch)
	case own < 0 && !slices.ContainsFunc(s.Regions, func(r admin.Region) bool { return r.Name == l.Holder && r.Heard }):
		row.State, row.Mend = Warning, "look whether its node runs; roam status tells what the judge makes of it"
		row.Seen = fmt.Sprintf("epoch %d is its own, and no member that was asked hears it", l.Epoch)
	case own >= 0 && (w[own].status.Lease == nil || w[own].status.Lease.Held != l.Epoch):
		row.State, row.Mend = Warning, "look whether its node reaches its server and the other members"
		row.Seen = fmt.Sprintf("epoch %d is its own, and its server does not have the lease: no Region takes writes", l.Epoch)
	}
	return row
}

// judgeVerdict tells what the judge has found, as whoever leads knows.
func judgeVerdict(v *admin.Verdict) (out []Row) {
	if v == nil {
		return nil
	}
	for _, f := range v.Findings {
		out = append(out, Row{State: Warning, Region: f.From, Seen: fmt.Sprintf("the judge finds (%s): %s", f.Kind, f.Reason), Mend: "look at what it names"})
	}
	for _, f := range v.Held {
		out = append(out, Row{
			State: Warning, Region: f.From, Seen: fmt.Sprintf("the judge is held back (%s, by %s): %s", f.Kind, f.Rule, f.Reason),
			Mend: "mend what it names, or decide yourself: roam failover, roam controls",
		})
	}
	return out
}

// judgeWatch tells what the judge may do, and judges alarms.
func judgeWatch(d topology.Deployment, w words) (out []Row) {
	s := w.leading()
	mode := cmp.Or(s.Mode, string(d.Control.Judge.Mode), string(judge.Automatic))
	told := map[string]string{
		string(judge.Off): "the judge is off: it does nothing about a Region in trouble", string(judge.Advise): "the judge is on advise: it says what it would do, and does nothing",
	}
	out = append(out, Row{State: Good, Seen: cmp.Or(told[mode], "the judge is on "+mode)})
	out = append(out, judgeVerdict(s.Verdict)...)
	well := 0
	for _, a := range s.Alarms {
		reason := cmp.Or(a.Reason, "nothing has come yet")
		switch a.State {
		case string(alarm.Alarming):
			out = append(out, Row{State: Warning, Seen: fmt.Sprintf("alarm %s: %s", a.Name, reason), Mend: "look at what it watches"})
		case string(alarm.InsufficientData):
			out = append(out, Row{State: Unknown, Seen: fmt.Sprintf("alarm %s has too little to go by: %s", a.Name, reason), Mend: "wait, and look whether what it watches is in use"})
		default:
			well++
		}
	}
	if well > 0 {
		out = append(out, Row{State: Good, Seen: fmt.Sprintf("%d of %d alarms are silent", well, len(s.Alarms))})
	}
	return out
}
