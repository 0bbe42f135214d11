package judge

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Kind is what a finding asks for.
type Kind string

// The kinds, from the least grave.
const (
	None      Kind = "none"
	Degrade   Kind = "degrade"    // something works badly, and users are served all the same
	OneWay    Kind = "one-way"    // one direction of a link is dead and the other is not
	RouteAway Kind = "route-away" // users should leave a Region
	FailOver  Kind = "fail-over"  // another Region should become the primary
)

// gravity orders kinds.
func (k Kind) gravity() int {
	return slices.Index([]Kind{None, Degrade, OneWay, RouteAway, FailOver}, k)
}

// A Rule is what a finding follows from, or what holds it back.
type Rule string

// The rules that lead to findings.
const (
	RuleUnheard Rule = "unheard" // a majority of members do not hear the Region
	RuleDeaf    Rule = "deaf"    // it does not hear a majority of members
	RuleEngine  Rule = "engine"  // a majority know that its engine is down
	RuleCutOff  Rule = "cut-off" // a majority can't work with it, for one reason or another
	RuleQuiet   Rule = "quiet"   // it was lost, and has not been well for long enough since
	RuleWrites  Rule = "writes"  // most Regions see writes to the primary fail
	RuleAlarm   Rule = "alarm"   // an alarm says so
	RuleLink    Rule = "link"    // what is sent does not arrive
	RuleSlow    Rule = "slow"    // writes between two Regions are slow
	RuleFailing Rule = "failing" // writes between two Regions fail
	RuleBehind  Rule = "behind"  // a secondary is far behind
	RuleClock   Rule = "clock"   // the clock of a server is wrong
)

// The rules that hold findings back.
const (
	RuleQuorum    Rule = "quorum"    // too few members have reported
	RuleLease     Rule = "lease"     // the lease that was given is an old one
	RuleMode      Rule = "mode"      // an operator has switched the judge off
	RuleCooldown  Rule = "cooldown"  // there was a failover a short while ago
	RuleBudget    Rule = "budget"    // there were too many of them
	RuleCandidate Rule = "candidate" // no Region is fit to take over
	RuleLast      Rule = "last"      // users would have nowhere to go
)

// A Finding is one thing to do, or to know.
type Finding struct {
	Kind Kind
	// From and To: a failover is from one Region to the other, a link's direction too.
	// Users leave From. What is about one Region alone has it in both.
	From, To string
	Act      bool // it is to be carried out, and not only shown
	Rule     Rule
	Reason   string // for people: the figures, and the bounds that they were held against
	// Lag is how far To is behind, as far as members know: what a failover may lose.
	Lag time.Duration
}

// String says a finding on one line.
func (f Finding) String() string {
	what := f.From
	switch {
	case f.Kind == RouteAway:
		what = "from " + f.From
	case f.From != f.To && f.To != "":
		what += " to " + f.To
	}
	return fmt.Sprintf("%s %s: %s (rule %s)", f.Kind, what, f.Reason, f.Rule)
}

// A Verdict is what a judge finds at one time.
type Verdict struct {
	At    time.Time
	Epoch uint64 // of the lease that was judged: carry out nothing for another one
	// Ruled: there is a verdict. If not there are no findings, and that means that
	// nothing is to change, not that all is well; Held says why.
	Ruled    bool
	Findings []Finding // the gravest first
	Held     []Finding // what would have been found, and Rule held it back
}

// Kind returns the gravest kind of the findings.
func (v Verdict) Kind() Kind {
	if len(v.Findings) == 0 {
		return None
	}
	return v.Findings[0].Kind
}

// FailOver returns the failover among the findings.
func (v Verdict) FailOver() (Finding, bool) {
	if v.Kind() != FailOver {
		return Finding{}, false
	}
	return v.Findings[0], true
}

func (v *Verdict) sort() {
	slices.SortStableFunc(v.Findings, func(a, b Finding) int {
		return cmp.Compare(b.Kind.gravity(), a.Kind.gravity())
	})
}
