package steer

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	// armTime is how long the target of a planned switchover may take until it is
	// armed; then nothing has happened, and it fails.
	armTime = 15 * time.Second
	// repointTime is how long the servers of other Regions may take to follow; then it
	// is over all the same, and they go on trying.
	repointTime = 30 * time.Second
	// leadTime is between two tries to have another member lead.
	leadTime = lease.Time(10 * time.Second)
)

// A Report is what a member reports once a period.
type Report struct {
	judge.Report
	Server Server // of its Region; of a witness zero
}

// A ChiefConfig is what a Chief goes by.
type ChiefConfig struct {
	// Self is this member's name.
	Self string
	// Members are the names of all that vote, this one too. Required.
	Members []string
	// Witnesses are those of Members that keep no sessions and are not to lead.
	Witnesses []string
	// Lease is what all members go by, with no zeros in it.
	Lease lease.Config
	// Judge is what the judge goes by; an agreed mode wins over its own.
	Judge judge.Config
	// Alarms are evaluated in each of the judge's periods.
	Alarms []alarm.Alarm
	// Promotion is how long whoever manages the servers may take to promote one; 0: servers
	// are promoted by their nodes, at once.
	Promotion time.Duration
}

// A Chief is the part of the quorum's leader, from when it was elected and has applied all
// that was agreed before, until it leads no more.
type Chief struct {
	config  ChiefConfig
	rules   judge.Rules
	alarms  alarm.Set
	grantor *lease.Grantor

	watch   ledger.Watch
	left    []string // Regions that are not to be promoted, as was agreed when it judged last
	verdict judge.Verdict
	judged  time.Time // when it judged last
	told    []ledger.Event

	round   *lease.Round // for consents to wanted; nil: none is under way
	wanted  uint64
	counted uint64 // renewals, when nobody could hold a lease any more
	begun   lease.Time
	stage   ledger.Step // of the switchover, and since when this leader has seen it
	since   lease.Time
	usurper usurper    // who is to be adopted, and since when that is so
	dispute lease.Time // until when a demoted holder is not given the lease again; 0: none is
	lead    lease.Time // not to hand over leadership before
	reign   uint64     // the epoch when that was looked at last
	due     map[string]lease.Time
}

// NewChief returns that of a leader of now. It fails if the judge or the alarms make no
// sense.
func NewChief(c ChiefConfig, s ledger.State, now lease.Time) (*Chief, error) {
	if s.Mode != "" {
		c.Judge.Mode = s.Mode
	}
	rules, err := judge.New(c.Judge)
	if err != nil {
		return nil, err
	}
	alarms, err := alarm.New(c.Alarms)
	if err != nil {
		return nil, err
	}
	return &Chief{
		config: c, rules: rules, alarms: alarms, grantor: lease.NewGrantor(c.Lease, now),
		watch: s.Watch, left: s.Watch.Judge.Left, lead: now + leadTime/2, due: map[string]lease.Time{},
	}, nil
}

// Verdict returns what the judge found last.
func (c *Chief) Verdict() judge.Verdict { return c.verdict }

// Watch returns what the judge and the alarms know, as of now.
func (c *Chief) Watch() ledger.Watch { return c.watch }

// Renewed says that a renewal was agreed now, a grant, or a step of a switchover.
func (c *Chief) Renewed(now lease.Time) { c.grantor.Renewed(now) }

// An Observation is what a Chief goes by at one time.
type Observation struct {
	State   ledger.State
	Reports []Report // of each member the last
	Data    []alarm.Datum
	Wall    time.Time
}

// Tick judges if it is time to, and returns what is to be done.
//
// Path fail over 2/4: from judge.Rules.Judge, which it asks; next Local.Tick, in the node of
// the Region that was granted the lease.
func (c *Chief) Tick(o Observation, now lease.Time) []Act {
	acts := c.judge(o, now)
	if o.State.Lease.Epoch > 0 {
		acts = append(acts, c.adopt(o, now)...)
		acts = append(acts, c.switchover(o, now)...)
		acts = append(acts, c.succeed(o, now)...)
	}
	return append(acts, c.elsewhere(o, now)...)
}

// judge asks the judge once a period.
func (c *Chief) judge(o Observation, now lease.Time) []Act {
	if since := o.Wall.Sub(c.judged); since >= 0 && since < c.rules.Config().Period {
		return nil
	}
	c.judged = o.Wall
	statuses, changes := c.alarms.Evaluate(c.watch.Alarms, o.Data, o.Wall)
	in := judge.Observations{Alarms: c.alarms.Raised(statuses)}
	for _, r := range o.Reports {
		in.Reports = append(in.Reports, r.Report)
	}
	if l := o.State.Lease; l.Epoch > 0 {
		in.Lease = judge.Lease{Holder: l.Holder, From: l.From, Epoch: l.Epoch, Since: l.Since, Unplanned: l.Unplanned}
	}
	c.obey(o.State)
	state, verdict := c.rules.Judge(c.watch.Judge, in, o.Wall)
	c.tell(changes, verdict, o)
	c.watch.Judge, c.watch.Alarms, c.verdict = state, statuses, verdict
	if verdict.Ruled { // else nothing is to change
		c.watch.Away = away(verdict)
	}
	acts := c.save(o, now)
	return append(acts, c.depose(o, now)...)
}

// away returns the Regions that users are to leave by a verdict.
func away(v judge.Verdict) (out []string) {
	for _, f := range v.Findings {
		if f.Kind == judge.RouteAway && f.Act {
			out = append(out, f.From)
		}
	}
	return out
}

// obey takes in what operators had agreed since it judged last: the mode, and Regions that
// may be promoted again.
func (c *Chief) obey(s ledger.State) {
	for _, region := range c.left {
		if !slices.Contains(s.Watch.Judge.Left, region) {
			c.watch.Judge = c.watch.Judge.Readmit(region)
		}
	}
	c.left = s.Watch.Judge.Left
	if config := c.rules.Config(); s.Mode != "" && s.Mode != config.Mode {
		config.Mode = s.Mode
		if rules, err := judge.New(config); err == nil { // the mode was checked when it came in
			c.rules = rules
		}
	}
}

// tell notes what was found that was not found before.
func (c *Chief) tell(changes []alarm.Event, v judge.Verdict, o Observation) {
	for _, e := range changes {
		c.told = append(c.told, ledger.Event{
			At: o.Wall, Kind: ledger.KindAlarm, Region: e.Region,
			Text: fmt.Sprintf("%s went from %s to %s: %s", e.Alarm, e.Old, e.New, e.Reason),
		})
	}
	if !v.Ruled {
		return
	}
	same := func(f judge.Finding) func(judge.Finding) bool {
		return func(g judge.Finding) bool {
			return f.Kind == g.Kind && f.From == g.From && f.To == g.To && f.Rule == g.Rule
		}
	}
	for _, f := range v.Findings {
		if !slices.ContainsFunc(c.verdict.Findings, same(f)) {
			c.told = append(c.told, ledger.Event{At: o.Wall, Kind: ledger.KindVerdict, Region: f.From, Other: f.To, Epoch: v.Epoch, Text: f.String()})
		}
	}
	for _, f := range c.verdict.Findings {
		if c.verdict.Ruled && !slices.ContainsFunc(v.Findings, same(f)) {
			c.told = append(c.told, ledger.Event{
				At: o.Wall, Kind: ledger.KindVerdict, Region: f.From, Other: f.To, Epoch: v.Epoch, Text: "over: " + f.String(),
			})
		}
	}
}

// save has agreed what the next leader must know.
func (c *Chief) save(o Observation, now lease.Time) []Act {
	if len(c.told) == 0 && sameToAll(c.watch, o.State.Watch) {
		return nil
	}
	told := c.told
	if len(told) > 20 { // the rest comes with the next
		told = told[:20]
	}
	acts := c.once("watched", Act{Kind: Propose, Command: ledger.Command{
		Watched: &ledger.Watched{Epoch: o.State.Lease.Epoch, Readmits: o.State.Readmits, Watch: c.watch, Events: told},
	}}, now)
	if len(acts) > 0 {
		c.told = slices.Clone(c.told[len(told):])
	}
	return acts
}

// sameToAll reports whether a leader that comes next would not judge differently with the
// one or the other. What the last seconds have shown is shown to it again.
func sameToAll(a, b ledger.Watch) bool {
	ja, jb := a.Judge, b.Judge
	if !slices.Equal(a.Away, b.Away) {
		return false
	}
	if !reflect.DeepEqual(ja.Left, jb.Left) || !reflect.DeepEqual(ja.Failovers, jb.Failovers) || ja.Decision != jb.Decision {
		return false
	}
	for key, s := range ja.Signals {
		if t := jb.Signals[key]; s.On != t.On || s.Ill != t.Ill || len(s.Flaps) != len(t.Flaps) {
			return false
		}
	}
	for name, s := range a.Alarms {
		if t := b.Alarms[name]; s.State != t.State || s.Solid != t.Solid {
			return false
		}
	}
	return true
}

// depose ends the lease of a Region that is lost.
func (c *Chief) depose(o Observation, now lease.Time) []Act {
	f, is := c.verdict.FailOver()
	l := o.State.Lease
	if !is || !f.Act || c.verdict.Epoch != l.Epoch || l.Deposed && l.Wish == f.To || c.usurped(o) || c.promoting(o) {
		return nil
	}
	return c.once("depose", Act{Kind: Propose, Command: ledger.Command{
		Depose: &ledger.Depose{Epoch: l.Epoch, Wish: f.To, Why: f.Reason, Lag: f.Lag.Seconds()},
	}}, now)
}

// switchover sees to it that a planned one ends.
func (c *Chief) switchover(o Observation, now lease.Time) []Act {
	s, h := o.State, o.State.Handover
	if c.stage != h.Step {
		c.stage, c.since = h.Step, now
	}
	lasts := now.Sub(c.since)
	end := func(step ledger.Step, why string) []Act {
		return c.once("end", Act{Kind: Propose, Command: ledger.Command{Advance: &ledger.Advance{Epoch: h.Epoch, Step: step, Why: why}}}, now)
	}
	switch {
	case h.Step == ledger.Arming && (lasts > armTime || s.Lease.Deposed || s.Lease.Released):
		return end(ledger.Failed, fmt.Sprintf("%s was not ready in %v, and nothing was changed", h.To, armTime))
	case h.Step == ledger.Draining && lasts > c.drainTime(o) && !s.Lease.Deposed:
		// The holder has all writes; the target may lack the last.
		wish := h.From
		if _, ok := c.fit(h.From, o); !ok {
			wish = h.To
		}
		why := fmt.Sprintf("%s did not take over from %s in %v", h.To, h.From, c.drainTime(o))
		return c.once("depose", Act{Kind: Propose, Command: ledger.Command{
			Depose: &ledger.Depose{Epoch: s.Lease.Epoch, Wish: wish, Why: why},
		}}, now)
	case h.Step == ledger.Repointing && c.repointed(o):
		return end(ledger.Done, "")
	case h.Step == ledger.Repointing && lasts > repointTime:
		return end(ledger.Done, "some servers do not follow yet")
	}
	return nil
}

// promoting reports whether whoever manages the servers is promoting the target of a planned
// switchover: nobody takes writes meanwhile, which is no reason for a failover.
func (c *Chief) promoting(o Observation) bool {
	s := o.State
	target, ok := c.fit(s.Handover.To, o)
	return c.config.Promotion > 0 && s.Handover.Step == ledger.Draining && ok && target.Server.Marked >= s.Lease.Epoch
}

// drainTime is how long a switchover may drain.
func (c *Chief) drainTime(o Observation) time.Duration {
	if c.promoting(o) {
		return c.config.Lease.Wait() + c.config.Promotion
	}
	return c.config.Lease.Wait()
}

// repointed reports whether the servers of all other Regions follow the holder's.
func (c *Chief) repointed(o Observation) bool {
	for _, region := range o.State.Setup.Regions {
		r, ok := c.fit(region, o)
		if region != o.State.Lease.Holder && (!ok || r.Server.Primary || r.Server.Follows != o.State.Lease.Holder || !r.Server.Linked) {
			return false
		}
	}
	return true
}

// fit returns the last report of a Region's member, and whether its server can be worked
// with.
func (c *Chief) fit(region string, o Observation) (Report, bool) {
	for _, r := range o.Reports {
		if r.Member == region {
			return r, o.Wall.Sub(r.At) <= c.rules.Config().Fresh && r.Server.Known
		}
	}
	return Report{}, false
}

// succeed grants the next epoch when the present one was ended and nobody can hold it.
func (c *Chief) succeed(o Observation, now lease.Time) []Act {
	l := o.State.Lease
	to, why, lag := l.Holder, "it had stopped by itself", 0.0
	if l.Deposed {
		to, why, lag = l.Wish, l.Why, l.Lag
	}
	heir, fit := c.fit(to, o)
	over := l.Deposed || o.State.Idle()
	if !over || !fit || c.grantor.Wait(o.State.Idle(), now) > 0 || c.disputed(o, now) {
		c.round = nil
		return nil
	}
	if c.round == nil || c.wanted != o.State.Newest+1 || c.counted != l.Renewals {
		c.wanted, c.counted, c.begun = o.State.Newest+1, l.Renewals, now
		c.round = lease.NewRound(c.wanted, len(c.config.Members))
	}
	if c.round.Agreed() {
		return c.once("grant", Act{Kind: Propose, Command: ledger.Command{
			Grant: &ledger.Grant{
				Newest: c.wanted - 1, Renewals: c.counted, To: to, Why: why, Lag: lag, Loss: lossOf(to, l, heir.Server),
			},
		}}, now)
	}
	return c.once("consents", Act{Kind: Consents, Epoch: c.wanted}, now)
}

// Consented says that a member has consented to an epoch.
func (c *Chief) Consented(member string, epoch uint64, o Observation, now lease.Time) []Act {
	if c.round == nil || !slices.Contains(c.config.Members, member) || !c.round.Consented(member, epoch) {
		return nil
	}
	return c.succeed(o, now)
}

// elsewhere has another member lead than that of the Region that holds the lease: with it
// the leader would be lost as well, and a new one waits for as long as a lease lasts
// before it grants the next. Who was just granted the lease is not disturbed: its first
// renewal is on its way, and nobody writes before that is agreed.
func (c *Chief) elsewhere(o Observation, now lease.Time) []Act {
	if epoch := o.State.Lease.Epoch; epoch != c.reign {
		c.reign, c.lead = epoch, max(c.lead, now+leadTime/2)
	}
	if o.State.Lease.Holder != c.config.Self || now < c.lead {
		return nil
	}
	for _, m := range c.config.Members {
		if m == c.config.Self || slices.Contains(c.config.Witnesses, m) {
			continue
		}
		if _, ok := c.fit(m, o); ok {
			c.lead = now + leadTime
			return []Act{{Kind: Lead, Region: m}}
		}
	}
	return nil
}

// once returns an act, unless it was asked for a moment ago.
func (c *Chief) once(key string, a Act, now lease.Time) []Act {
	if at, is := c.due[key]; is && now < at {
		return nil
	}
	c.due[key] = now + again
	return []Act{a}
}
