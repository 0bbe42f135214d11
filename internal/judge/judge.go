package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rules are what verdicts follow from. They never change.
type Rules struct {
	c       Config
	members []string
}

// New returns the rules of a configuration. It fails, naming every fault, if that
// makes no sense.
func New(c Config) (Rules, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return Rules{}, fmt.Errorf("judge: %w", err)
	}
	c.Regions, c.Witnesses, c.Barred = slices.Clone(c.Regions), slices.Clone(c.Witnesses), slices.Clone(c.Barred)
	return Rules{c: c, members: slices.Concat(c.Regions, c.Witnesses)}, nil
}

// Config returns the configuration, defaults filled in.
func (r Rules) Config() Config { return r.c }

// Judge takes in what members have seen and returns what is remembered of it and the
// verdict at now. It is to be called once a period, also when there is nothing new;
// called more often, the worst of a period counts. Periods in which it was not called
// are missing. It changes no argument, and equal arguments have equal results.
//
// Path fail over 1/4: from what members reported; next steer.Chief.Tick, which carries out
// what is found if the epoch is still the same.
func (r Rules) Judge(old State, in Observations, now time.Time) (State, Verdict) {
	s := old.clone()
	shift := s.tick(r.c, now)
	b := bench{c: r.c, members: r.members, in: in, s: &s, reports: r.fresh(in.Reports, now)}
	b.v.At, b.v.Epoch = s.Now, in.Lease.Epoch
	current := s.follow(in.Lease)
	quorum := len(b.reports) >= b.majority()
	b.note(shift, quorum)
	b.v.Ruled = current && quorum
	switch {
	case !current:
		b.hold(RuleLease, "the lease given has epoch %d, and epoch %d is known", in.Lease.Epoch, s.Lease.Epoch)
	case !quorum:
		b.hold(RuleQuorum, "%d of %d members have reported in the last %v (%s), and %d must have",
			len(b.reports), len(b.members), r.c.Fresh, b.names(b.reports), b.majority())
	default:
		b.links()
		b.regions()
		b.alarms()
		b.away()
		b.failOver()
		b.v.sort()
	}
	return s, b.v
}

// fresh returns the newest report of each member, in their order, without those that
// are too old or from times to come.
func (r Rules) fresh(reports []Report, now time.Time) (out []Report) {
	for _, member := range r.members {
		newest := Report{}
		for _, report := range reports {
			age := now.Sub(report.At)
			if report.Member != member || age > r.c.Fresh || age < -r.c.Fresh {
				continue
			}
			if newest.Member == "" || report.At.After(newest.At) {
				newest = report
			}
		}
		if newest.Member != "" {
			out = append(out, newest)
		}
	}
	return out
}

// A bench is one call of Judge.
type bench struct {
	c       Config
	members []string
	in      Observations
	s       *State
	v       Verdict
	reports []Report // the fresh ones, one a member
}

// majority returns how many members are one.
func (b *bench) majority() int { return len(b.members)/2 + 1 }

// from returns the fresh report of a member; one that did not report has seen nothing.
func (b *bench) from(member string) Report {
	for _, r := range b.reports {
		if r.Member == member {
			return r
		}
	}
	return Report{}
}

// names lists the members of reports.
func (b *bench) names(reports []Report) string {
	var names []string
	for _, r := range reports {
		names = append(names, r.Member)
	}
	return list(names)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (b *bench) find(f Finding) { b.v.Findings = append(b.v.Findings, f) }

// hold notes what keeps a finding from being made.
func (b *bench) hold(rule Rule, format string, args ...any) {
	b.v.Held = append(b.v.Held, Finding{Kind: None, Rule: rule, Reason: fmt.Sprintf(format, args...)})
}

// holdBack is hold for a finding that is known.
func (b *bench) holdBack(kind Kind, from string, rule Rule, format string, args ...any) {
	b.v.Held = append(b.v.Held, Finding{Kind: kind, From: from, Rule: rule, Reason: fmt.Sprintf(format, args...)})
}

// acts reports whether findings are to be carried out.
func (b *bench) acts() bool { return b.c.Mode == Automatic }
