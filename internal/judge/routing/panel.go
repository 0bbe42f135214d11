package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// DefaultWait is how long the controls of a rule rest after a change: ARC's
	// WaitPeriodMs of 5000.
	DefaultWait = 5 * time.Second
	// mostControls and mostRules bound a Panel; New refuses more.
	mostControls = 100
	mostRules    = 100
)

// A Control is one switch. It is plain data.
type Control struct {
	Name   string
	Region string // what it switches
	// Writer: it says where writes go, and not where users go. It can be turned on
	// only for the Region that holds the lease.
	Writer bool
}

// A Type says how many of a rule's controls must be on, in ARC's words.
type Type string

// The types of rules.
const (
	AtLeast Type = "ATLEAST" // as many as Threshold says
	And     Type = "AND"     // all
	Or      Type = "OR"      // one or more
)

// A Rule is one safety rule. It is plain data. With Gates it is a gating rule, else
// an assertion rule.
type Rule struct {
	Name string
	// Controls are what an assertion rule asserts of, or the targets of a gating rule.
	Controls []string
	// Gates must hold the rule before the targets may be changed.
	Gates []string

	Type      Type
	Threshold int  // of AtLeast; others leave it zero
	Inverted  bool // the rule holds when it otherwise would not

	// Wait is how long after a change of one of Controls nothing may be asked of any
	// of them. Zero: DefaultWait; negative: no time at all.
	Wait time.Duration
}

func (r Rule) gating() bool { return len(r.Gates) > 0 }

// judged returns the controls whose states decide whether the rule holds.
func (r Rule) judged() []string {
	if r.gating() {
		return r.Gates
	}
	return r.Controls
}

func (r Rule) wait() time.Duration {
	if r.Wait == 0 {
		return DefaultWait
	}
	return max(r.Wait, 0)
}

// holds reports whether the rule does with some controls on, and how many of those
// that it looks at are.
func (r Rule) holds(on map[string]bool) (ok bool, count int) {
	for _, name := range r.judged() {
		if on[name] {
			count++
		}
	}
	return (count >= r.need()) != r.Inverted, count
}

// need returns how many controls must be on, the inversion left out.
func (r Rule) need() int {
	switch r.Type {
	case And:
		return len(r.judged())
	case AtLeast:
		return r.Threshold
	case Or:
	}
	return 1
}

// A Panel is the controls and rules of a deployment. It never changes.
type Panel struct {
	controls map[string]Control
	rules    []Rule // by name
}

// New returns the panel of some controls and rules. It fails, naming every fault, if
// they make no sense together.
func New(controls []Control, rules []Rule) (Panel, error) {
	p := Panel{controls: map[string]Control{}}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(controls) > mostControls || len(rules) > mostRules {
		fault("%d controls and %d rules: want at most %d and %d", len(controls), len(rules), mostControls, mostRules)
	}
	for _, c := range controls {
		if c.Name == "" || c.Region == "" {
			fault("control %q of Region %q: it needs a name and a Region", c.Name, c.Region)
		}
		if _, ok := p.controls[c.Name]; ok {
			fault("control %q: there are two of that name", c.Name)
		}
		p.controls[c.Name] = c
	}
	for _, r := range rules {
		faults = append(faults, p.check(r))
		if slices.ContainsFunc(p.rules, func(other Rule) bool { return other.Name == r.Name }) {
			fault("rule %q: there are two of that name", r.Name)
		}
		r.Controls, r.Gates = slices.Clone(r.Controls), slices.Clone(r.Gates)
		p.rules = append(p.rules, r)
	}
	if err := errors.Join(faults...); err != nil {
		return Panel{}, err
	}
	slices.SortFunc(p.rules, func(a, b Rule) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return p, nil
}

// check returns every fault of a rule.
func (p Panel) check(r Rule) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("rule %q: "+format, append([]any{r.Name}, args...)...))
	}
	if r.Name == "" {
		fault("it has no name")
	}
	if len(r.Controls) == 0 {
		fault("it names no controls")
	}
	seen := map[string]bool{}
	for _, name := range slices.Concat(r.Controls, r.Gates) {
		if _, ok := p.controls[name]; !ok {
			fault("control %q: there is none of that name", name)
		}
		if seen[name] {
			fault("control %q: it is named twice", name)
		}
		seen[name] = true
	}
	switch r.Type {
	case AtLeast:
		if r.Threshold < 1 || r.Threshold > len(r.judged()) {
			fault("threshold %d of %d controls: want 1 to %d", r.Threshold, len(r.judged()), len(r.judged()))
		}
	case And, Or:
		if r.Threshold != 0 {
			fault("threshold %d: only %s has one", r.Threshold, AtLeast)
		}
	default:
		fault("type %q: want %s, %s or %s", r.Type, AtLeast, And, Or)
	}
	return errors.Join(faults...)
}

// Controls returns all controls by name.
func (p Panel) Controls() []Control {
	var out []Control
	for _, name := range slices.Sorted(maps.Keys(p.controls)) {
		out = append(out, p.controls[name])
	}
	return out
}

// Rules returns all rules by name.
func (p Panel) Rules() []Rule { return slices.Clone(p.rules) }
