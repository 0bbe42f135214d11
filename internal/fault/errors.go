package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Method is a call of engine.Engine.
type Method uint8

const (
	// AnyMethod is all three.
	AnyMethod Method = iota
	// Read is engine.Engine.Read.
	Read
	// Apply is engine.Engine.Apply.
	Apply
	// Join is engine.Engine.Join.
	Join
)

// A Rule says which calls fail and how. One whose Nth and Share are both zero
// makes every call of its Method fail.
type Rule struct {
	// Method is the call that the rule is about.
	Method Method
	// Nth makes only that call of Method fail, counted from 1; 0: see Share.
	Nth int
	// Share makes this share of the calls fail, 0 to 1, drawn by seed; 0: all.
	// It is not looked at where Nth is set.
	Share float64
	// Err is what fails: a kind of package engine, a refusal of package crdt, or
	// any other error. Nil is engine.ErrUnavailable.
	Err error
	// After lets the call happen first. It then fails with ErrUnavailable, since
	// its outcome can't be known; of Err only the text is in the error.
	After bool
}

// A Plan is rules, of which the first that fits a call decides.
type Plan []Rule

// A Faulty is an engine whose calls fail by plan, an engine.Wrapper. It may be
// used by many goroutines; which of several concurrent calls is the nth is for
// the scheduler to say. Powers found through Unwrap do not fail.
type Faulty struct {
	engine engine.Engine

	mu     sync.Mutex // guards what follows
	rules  []rule
	failed int
}

// rule is a Rule with what it has seen. Each has dice of its own, so that the
// fate of its nth call depends on the seed alone.
type rule struct {
	Rule
	dice *rand.Rand
	seen int
}

var _ engine.Wrapper = (*Faulty)(nil)

// Errors returns e with calls that fail by plan, the same for the same seed and
// the same calls. Closing it closes e.
func Errors(e engine.Engine, seed uint64, plan Plan) *Faulty {
	f := &Faulty{engine: e, rules: make([]rule, len(plan))}
	for i, r := range plan {
		f.rules[i] = rule{Rule: r, dice: rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // faults must be reproducible
	}
	return f
}

// Failed returns how many calls have failed by plan: a test that wants errors
// makes sure that it had some.
func (f *Faulty) Failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// Unwrap returns the engine whose calls succeed.
func (f *Faulty) Unwrap() engine.Engine { return f.engine }

// Read reads, or fails by plan.
func (f *Faulty) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	return planned(f, Read, func() (crdt.Record, error) { return f.engine.Read(ctx, k, seen) })
}

// Apply applies, or fails by plan.
func (f *Faulty) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	return planned(f, Apply, func() (crdt.Dot, error) { return f.engine.Apply(ctx, k, op) })
}

// Join joins, or fails by plan.
func (f *Faulty) Join(ctx context.Context, r crdt.Record) error {
	_, err := planned(f, Join, func() (struct{}, error) { return struct{}{}, f.engine.Join(ctx, r) })
	return err
}

// Close closes the engine.
func (f *Faulty) Close() error { return f.engine.Close() }

// planned makes one call, unless a rule is against it.
func planned[T any](f *Faulty, m Method, do func() (T, error)) (T, error) {
	var none T
	r, fails := f.decide(m)
	switch {
	case !fails:
		return do()
	case !r.After && r.Err == nil:
		return none, fmt.Errorf("planned fault: %w", engine.ErrUnavailable)
	case !r.After:
		return none, fmt.Errorf("planned fault: %w", r.Err)
	}
	if _, err := do(); err != nil {
		// The call failed by itself, and the caller does not hear of that either.
		return none, fmt.Errorf("planned fault after a call that failed: %w", engine.ErrUnavailable)
	}
	if r.Err == nil {
		return none, fmt.Errorf("planned fault after the call: %w", engine.ErrUnavailable)
	}
	return none, fmt.Errorf("planned fault after the call: %w: %v", engine.ErrUnavailable, r.Err) //nolint:errorlint // not wrapped: see Rule.After
}

// decide counts a call with every rule that is about it, so that the count of
// one rule does not depend on those before it.
func (f *Faulty) decide(m Method) (Rule, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first *rule
	for i := range f.rules {
		r := &f.rules[i]
		if (r.Method == AnyMethod || r.Method == m) && r.hits() && first == nil {
			first = r
		}
	}
	if first == nil {
		return Rule{}, false
	}
	f.failed++
	return first.Rule, true
}

func (r *rule) hits() bool {
	r.seen++
	switch {
	case r.Nth != 0:
		return r.seen == r.Nth
	case r.Share != 0:
		return r.dice.Float64() < r.Share
	}
	return true
}
