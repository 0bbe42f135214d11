package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/judge/alarm"
)

// periods says how a signal came to be bad.
func (b *bench) periods(s Signal, h Hysteresis) string {
	text := fmt.Sprintf("bad in %d of the last %d periods of %v (%d are enough)", s.count(h), h.Of, b.c.Period, h.Bad)
	if s.last() != bad {
		text += fmt.Sprintf(", good for %d of the %d that end it", min(s.quiet(), h.Good), h.Good)
	}
	if s.flaps(b.c) {
		text += fmt.Sprintf(", and it became so %d times within %v, so that it counts as bad until that is longer ago",
			len(s.Flaps), b.c.FlapWindow)
	}
	return text
}

// links finds impaired links: which, in which direction, and how. Of a Region that is
// lost they say nothing new.
func (b *bench) links() {
	for _, from := range b.c.Regions {
		for _, to := range b.c.Regions {
			if b.lost(from).On || b.lost(to).On {
				continue
			}
			b.deadLink(from, to)
			slow, failing := b.s.Signals[ofLink(aboutSlow, from, to)], b.s.Signals[ofLink(aboutFailing, from, to)]
			r := b.from(from)
			w, ok := r.writes(to, b.c.MinWrites)
			last := "there are too few at the moment"
			if ok {
				last = fmt.Sprintf("%d of %d failed at last, p99 %v", w.Failed, w.Count, w.P99)
			}
			if slow.On {
				b.find(Finding{Kind: Degrade, From: from, To: to, Rule: RuleSlow, Reason: fmt.Sprintf(
					"p99 of writes of %v or more, %s; %s", b.c.SlowWrites, b.periods(slow, b.c.Impaired), last)})
			}
			if failing.On {
				b.find(Finding{Kind: Degrade, From: from, To: to, Rule: RuleFailing, Reason: fmt.Sprintf(
					"%.0f %% of writes or more fail, %s; %s", 100*b.c.FailedShare, b.periods(failing, b.c.Impaired), last)})
			}
		}
	}
}

// deadLink finds one direction of a link dead. What the other direction does makes it
// another kind.
func (b *bench) deadLink(from, to string) {
	there, back := b.s.Signals[ofLink(aboutDead, from, to)], b.s.Signals[ofLink(aboutDead, to, from)]
	if !there.On {
		return
	}
	f := Finding{Kind: Degrade, From: from, To: to, Rule: RuleLink}
	other := "of the other direction nothing is known"
	switch {
	case back.On:
		other = "so is the other direction"
	case back.last() == good:
		f.Kind, other = OneWay, "the other direction is not"
	}
	f.Reason = fmt.Sprintf("what %s sends does not arrive in %s, %s; %s", from, to, b.periods(there, b.c.Impaired), other)
	b.find(f)
}

func (b *bench) lost(region string) Signal { return b.s.Signals[ofRegion(aboutLost, region)] }

// regions finds what is wrong with one Region and takes no user away. Of one that is
// lost that says nothing new.
func (b *bench) regions() {
	for _, region := range b.c.Regions {
		if b.lost(region).On {
			continue
		}
		if s := b.s.Signals[ofRegion(aboutBehind, region)]; s.On && region != b.s.Lease.Holder {
			lag, _, ok := b.lag(region)
			now := fmt.Sprintf("now %v", lag)
			if !ok {
				now = "now not known"
			}
			b.find(Finding{Kind: Degrade, From: b.s.Lease.Holder, To: region, Rule: RuleBehind, Lag: lag, Reason: fmt.Sprintf(
				"%s is %v or more behind, %s; %s", region, b.c.Stale, b.periods(s, b.c.Impaired), now)})
		}
		if s := b.s.Signals[ofRegion(aboutClock, region)]; s.On {
			off, _ := b.clock(region)
			b.find(Finding{Kind: Degrade, From: region, To: region, Rule: RuleClock, Reason: fmt.Sprintf(
				"the clock of its server is more than %v wrong, %s; now %v", b.c.MaxClock, b.periods(s, b.c.Impaired), off)})
		}
	}
}

// alarms finds what alarms say that asks for no more than to be told. An alarm that
// fails over says no more than that of a Region that is not the primary.
func (b *bench) alarms() {
	for _, a := range b.in.Alarms {
		if !slices.Contains(b.c.Regions, a.Region) {
			continue
		}
		if a.Feed == alarm.FeedDegrade || a.Feed == alarm.FeedFailOver && a.Region != b.s.Lease.Holder {
			b.find(Finding{Kind: Degrade, From: a.Region, To: a.Region, Rule: RuleAlarm, Reason: says(a)})
		}
	}
}

func says(a alarm.Raised) string { return fmt.Sprintf("alarm %s: %s", a.Alarm, a.Reason) }

// away finds the Regions that users should leave.
func (b *bench) away() {
	var found []Finding
	for _, region := range b.c.Regions {
		if reason, rule, ok := b.leave(region); ok {
			found = append(found, Finding{
				Kind: RouteAway, From: region, To: region, Act: b.acts(), Rule: rule, Reason: reason,
			})
		}
	}
	for _, f := range found {
		switch {
		case b.c.Mode == Off:
			b.holdBack(RouteAway, f.From, RuleMode, "the judge is off; %s", f.Reason)
		case len(found) == len(b.c.Regions):
			b.holdBack(RouteAway, f.From, RuleLast, "users would have no Region left; %s", f.Reason)
		default:
			b.find(f)
		}
	}
}

// leave reports whether users should leave a Region, and why.
func (b *bench) leave(region string) (reason string, rule Rule, ok bool) {
	if s := b.lost(region); s.On {
		t := b.tally(region)
		if s.last() != bad {
			return fmt.Sprintf("%s was lost, %s", region, b.periods(s, b.c.Lost)), RuleQuiet, true
		}
		return b.whyLost(region, t), t.rule(b.majority()), true
	}
	for _, a := range b.in.Alarms {
		if a.Region == region && a.Feed == alarm.FeedRouteAway {
			return says(a), RuleAlarm, true
		}
	}
	return "", "", false
}

// whyLost says what members say of a Region that is lost.
func (b *bench) whyLost(region string, t tally) string {
	words := []string{fmt.Sprintf("%s is lost to %d of %d members (%d are a majority)", region, t.down(), len(b.members), b.majority())}
	for _, part := range []struct {
		what string
		who  []string
	}{{"unheard by", t.unheard}, {"does not hear", t.deaf}, {"its engine is down, say", t.engine}} {
		if len(part.who) > 0 {
			words = append(words, part.what+" "+list(part.who))
		}
	}
	return strings.Join(append(words, b.periods(b.lost(region), b.c.Lost)), "; ")
}
