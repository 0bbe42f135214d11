package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The kinds of refusals. Nothing was changed after any of them.
var (
	ErrConflict = errors.New("a safety rule forbids it")
	ErrLease    = errors.New("the Region does not hold the lease")
	ErrUnknown  = errors.New("there is none of that name")
	ErrInvalid  = errors.New("it makes no sense")
)

// A Refusal says why an update was not made. It is one of the kinds above.
type Refusal struct {
	Kind    error
	Rules   []string // the safety rules that were broken, by name; of ErrConflict only
	Reason  string
	RetryAt time.Time // when waiting alone will have helped; zero: it does not help
}

// Error says what was refused and why.
func (r *Refusal) Error() string { return "update routing controls: " + r.Reason }

// Unwrap returns the kind.
func (r *Refusal) Unwrap() error { return r.Kind }

// A State is which controls are on. It is plain data, belongs to what members agree
// on, and its zero has all controls off, as ARC begins.
type State struct {
	On      map[string]bool      // by control; what is off may be left out
	Changed map[string]time.Time // by control, the last change
}

// A Change turns one control on or off.
type Change struct {
	Control string
	On      bool
}

// A Request is a batch of changes, of which all are made or none.
type Request struct {
	Changes []Change
	// Override names safety rules that are not to be asked, neither for what they
	// demand nor for their wait. It is for people in an emergency.
	Override []string
	// Holder is the Region that holds the lease; empty: none does, or all Regions
	// take writes.
	Holder string
}

// Update returns the state after a request at now. It fails with a *Refusal, and the
// state is as before, if a control or rule is unknown, a control is named twice, a
// writer's control would be turned on for a Region without the lease, a control
// rests after a change, or a safety rule would be broken. Of what is broken the
// refusal names everything.
//
// Assertion rules are held against what the request leaves behind, and only those
// that have to do with what it names. Gating rules are held against the state before
// it, so that no request opens its own gate. To name a control is a change in the
// eyes of rules even if it is so already; the wait that follows begins only with what
// really changed.
func (p Panel) Update(s State, r Request, now time.Time) (State, error) {
	if refusal := p.understand(r); refusal != nil {
		return s, refusal
	}
	next, named := s.with(r.Changes, now)
	refusal := &Refusal{Kind: ErrConflict}
	var reasons []string
	waiting := true
	for _, rule := range p.rules {
		if slices.Contains(r.Override, rule.Name) || !meet(rule.Controls, named) {
			continue
		}
		reason := rule.breach(s, next)
		if reason != "" {
			waiting = false
		} else if until := rule.rests(s, now); !until.IsZero() {
			refusal.RetryAt = later(refusal.RetryAt, until)
			reason = fmt.Sprintf("rule %q: its controls were changed less than %v ago and rest until %s",
				rule.Name, rule.wait(), until.UTC().Format(time.RFC3339Nano))
		}
		if reason != "" {
			refusal.Rules, reasons = append(refusal.Rules, rule.Name), append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return next, nil
	}
	if !waiting {
		refusal.RetryAt = time.Time{}
	}
	refusal.Reason = strings.Join(reasons, "; ")
	return s, refusal
}

// with returns the state after some changes, and the controls that they name.
func (s State) with(changes []Change, now time.Time) (next State, named []string) {
	next = State{On: map[string]bool{}, Changed: map[string]time.Time{}}
	maps.Copy(next.On, s.On)
	maps.Copy(next.Changed, s.Changed)
	for _, c := range changes {
		named = append(named, c.Control)
		if next.On[c.Control] != c.On {
			next.On[c.Control], next.Changed[c.Control] = c.On, now
		}
	}
	return next, named
}

// understand refuses what no state allows.
func (p Panel) understand(r Request) *Refusal {
	if len(r.Changes) == 0 {
		return &Refusal{Kind: ErrInvalid, Reason: "it names no control"}
	}
	seen := map[string]bool{}
	for _, c := range r.Changes {
		control, ok := p.controls[c.Control]
		switch {
		case !ok:
			return &Refusal{Kind: ErrUnknown, Reason: fmt.Sprintf("control %q: %v", c.Control, ErrUnknown)}
		case seen[c.Control]:
			return &Refusal{Kind: ErrInvalid, Reason: fmt.Sprintf("control %q is named twice", c.Control)}
		case c.On && control.Writer && r.Holder == "":
			return &Refusal{Kind: ErrLease, Reason: fmt.Sprintf(
				"control %q would send writes to %s, and no Region holds the lease", c.Control, control.Region)}
		case c.On && control.Writer && control.Region != r.Holder:
			return &Refusal{Kind: ErrLease, Reason: fmt.Sprintf(
				"control %q would send writes to %s, and %s holds the lease", c.Control, control.Region, r.Holder)}
		}
		seen[c.Control] = true
	}
	for _, name := range r.Override {
		if !slices.ContainsFunc(p.rules, func(rule Rule) bool { return rule.Name == name }) {
			return &Refusal{Kind: ErrUnknown, Reason: fmt.Sprintf("rule %q to override: %v", name, ErrUnknown)}
		}
	}
	return nil
}

// breach says how a change from one state to another breaks the rule; empty: it
// doesn't.
func (r Rule) breach(before, after State) string {
	on, what := after.On, "would leave"
	if r.gating() {
		on, what = before.On, "needs its gates, and it finds"
	}
	ok, count := r.holds(on)
	if ok {
		return ""
	}
	demand := fmt.Sprintf("at least %d", r.need())
	if r.Inverted {
		demand = fmt.Sprintf("fewer than %d", r.need())
	}
	return fmt.Sprintf("rule %q: the change %s %d of %s on, and %s must be",
		r.Name, what, count, strings.Join(r.judged(), ", "), demand)
}

// rests returns until when the rule's controls rest; zero: they don't. A change that
// is further ahead than the wait was made by a clock that has been set back since,
// and would keep its control at rest for as long as that clock was wrong.
func (r Rule) rests(s State, now time.Time) (until time.Time) {
	for _, name := range r.Controls {
		if changed, ok := s.Changed[name]; ok && changed.Sub(now) <= r.wait() {
			until = later(until, changed.Add(r.wait()))
		}
	}
	if !now.Before(until) {
		return time.Time{}
	}
	return until
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Follow returns the changes that make the writers' controls say where the lease is:
// those of other Regions off, and then the holder's on. None: they do already. With
// no holder all of them go off.
func (p Panel) Follow(s State, holder string) []Change {
	var out []Change
	for _, c := range p.Controls() {
		if c.Writer && s.On[c.Name] && c.Region != holder {
			out = append(out, Change{Control: c.Name})
		}
	}
	for _, c := range p.Controls() {
		if c.Writer && !s.On[c.Name] && c.Region == holder {
			out = append(out, Change{Control: c.Name, On: true})
		}
	}
	return out
}
