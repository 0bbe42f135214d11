package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/judge/alarm"
)

// failOver finds whether another Region should become the primary, and which.
func (b *bench) failOver() {
	from := b.s.Lease.Holder
	if from == "" {
		return // all Regions take writes
	}
	rule, reason, ok := b.cause(from)
	if !ok {
		b.s.Decision.Open = b.s.Decision.Open && b.lingers(b.s.Decision.Rule)
		return
	}
	open := b.s.Decision.Open && b.s.Decision.Epoch == b.s.Lease.Epoch
	if held, why := b.forbids(open); why != "" {
		b.holdBack(FailOver, from, held, "%s; %s", why, reason)
		return
	}
	to, why := b.choose(open)
	if to == "" {
		b.holdBack(FailOver, from, RuleCandidate, "%s; %s", why, reason)
		return
	}
	if b.acts() {
		b.decide(from, to, rule, open)
	}
	lag, _, _ := b.lag(to)
	b.find(Finding{
		Kind: FailOver, From: from, To: to, Act: b.acts(), Rule: rule, Reason: reason + "; " + why, Lag: lag,
	})
}

// cause says why the primary should be replaced. The last period must be bad: one that
// was lost and is not any more, or of which nothing is known now, is no cause.
func (b *bench) cause(primary string) (rule Rule, reason string, ok bool) {
	if s := b.lost(primary); s.fires(b.c.Lost) {
		t := b.tally(primary)
		return t.rule(b.majority()), b.whyLost(primary, t), true
	}
	if s := b.s.Signals[ofRegion(aboutRefused, primary)]; s.fires(b.c.Lost) {
		return RuleWrites, fmt.Sprintf("%.0f %% of writes to %s or more fail in most Regions (%s), %s",
			100*b.c.LostShare, primary, list(b.refused(primary).unheard), b.periods(s, b.c.Lost)), true
	}
	for _, a := range b.in.Alarms {
		if a.Region == primary && a.Feed == alarm.FeedFailOver {
			return RuleAlarm, says(a), true
		}
	}
	return "", "", false
}

// lingers reports whether what led to a decision may still be there, although it is not
// enough now. One late report must not end a failover that is under way: then the
// cooldown would keep the next one from finishing it.
func (b *bench) lingers(rule Rule) bool {
	s := b.lost(b.s.Lease.Holder)
	switch rule {
	case RuleAlarm:
		return false // it has a hysteresis of its own
	case RuleWrites:
		s = b.s.Signals[ofRegion(aboutRefused, b.s.Lease.Holder)]
	default:
	}
	return s.last() != good && s.count(b.c.Lost) > 0
}

// forbids says which rule forbids a failover, whatever the candidates. One that has
// been decided and whose cause has been there ever since is no second one.
func (b *bench) forbids(open bool) (rule Rule, why string) {
	if b.c.Mode == Off {
		return RuleMode, "the judge is off"
	}
	if open {
		return "", ""
	}
	if last := b.s.lastFailover(); !last.IsZero() && b.s.Now.Sub(last) < b.c.Cooldown {
		return RuleCooldown, fmt.Sprintf("there was a failover %v ago, and there is none for %v after one",
			b.s.Now.Sub(last).Round(time.Second), b.c.Cooldown)
	}
	if n := b.s.recent(b.c.Window); n >= b.c.MaxFailovers {
		return RuleBudget, fmt.Sprintf("there were %d failovers in the last %v, and %d are the most: an operator must look",
			n, b.c.Window, b.c.MaxFailovers)
	}
	return "", ""
}

// decide remembers a failover that is to be carried out.
func (b *bench) decide(from, to string, rule Rule, open bool) {
	if open {
		if b.s.Decision.To != to || b.late() {
			b.s.Decision.To, b.s.Decision.Aimed = to, b.s.Now
		}
		b.s.Decision.Rule = rule
		return
	}
	b.s.Decision = Decision{Open: true, Epoch: b.s.Lease.Epoch, To: to, Rule: rule, Aimed: b.s.Now}
	b.s.Failovers = append(b.s.Failovers, Failover{Epoch: b.s.Lease.Epoch, From: from, To: to, At: b.s.Now})
}

// late reports whether the Region that was chosen has had its time.
func (b *bench) late() bool { return b.s.Now.Sub(b.s.Decision.Aimed) >= b.c.Attempt }

// choose returns the Region to promote, and why it, or why none. One that was chosen
// has some time to become the primary: two that are told to at once would be worse
// than one that is slow. Then another one is chosen if there is one.
func (b *bench) choose(open bool) (to, why string) {
	type candidate struct {
		region string
		lag    time.Duration
		beat   Beat
	}
	var fit []candidate
	var words []string
	for _, region := range b.c.Regions {
		if region == b.s.Lease.Holder {
			continue
		}
		if fault := b.unfit(region); fault != "" {
			words = append(words, region+" "+fault)
			continue
		}
		lag, beat, _ := b.lag(region)
		fit = append(fit, candidate{region, lag, beat})
		words = append(words, fmt.Sprintf("%s is %v behind", region, lag))
	}
	why = strings.Join(words, ", ")
	if why == "" {
		why = "there is no other Region"
	}
	if open && !b.late() {
		chosen := b.s.Decision.To
		if slices.ContainsFunc(fit, func(c candidate) bool { return c.region == chosen }) {
			return chosen, why
		}
		return "", fmt.Sprintf("%s was chosen, is no longer fit, and has %v to become the primary all the same: %s",
			chosen, b.c.Attempt, why)
	}
	// The most caught-up first; equals stay in the order of Regions.
	slices.SortStableFunc(fit, func(x, y candidate) int {
		switch {
		case x.beat.after(y.beat):
			return -1
		case y.beat.after(x.beat):
			return 1
		}
		return 0
	})
	for _, c := range fit {
		if !open || c.region != b.s.Decision.To || len(fit) == 1 {
			return c.region, why
		}
	}
	return "", why
}

// unfit says why a Region may not be promoted; empty: it may.
func (b *bench) unfit(region string) string {
	lost := b.lost(region)
	lag, beat, known := b.lag(region)
	off, clocked := b.clock(region)
	_, _, leave := b.leave(region)
	switch {
	case slices.Contains(b.c.Barred, region):
		return "is barred by an operator"
	case slices.Contains(b.s.Left, region):
		return "lost the lease and was not readmitted: nothing goes back by itself"
	case lost.flaps(b.c):
		return fmt.Sprintf("was lost %d times within %v", len(lost.Flaps), b.c.FlapWindow)
	case leave:
		return "is one that users should leave"
	case lost.last() != good:
		return fmt.Sprintf("is well by the word of %d of %d members, and %d must say so",
			len(b.tally(region).up), len(b.members), b.majority())
	case !known:
		return fmt.Sprintf("has no heartbeat that could be compared (its last: number %d of epoch %d)", beat.N, beat.Epoch)
	case lag > b.c.MaxLag:
		return fmt.Sprintf("is %v behind, and %v is the most", lag, b.c.MaxLag)
	case !clocked:
		return "has a clock that a majority of members could not compare"
	case max(off, -off) > b.c.MaxClock:
		return fmt.Sprintf("has a clock that is %v wrong, and %v is the most", off, b.c.MaxClock)
	}
	return ""
}
