package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// An Effect is what a Rule does to calls.
type Effect string

// What a Rule may do.
const (
	// Outage: calls fail with ServiceUnavailable, or as Rule.Code says.
	Outage Effect = "outage"
	// Refuse: connections are closed without an answer, and nothing is done.
	Refuse Effect = "refuse"
	// Hang: calls are never answered, and nothing is done.
	Hang Effect = "hang"
	// Lose: calls are done, and their answer is lost.
	Lose Effect = "lose"
	// Throttle: calls beyond Rate and Burst fail with Throttling; without a Rate, all do.
	Throttle Effect = "throttle"
	// Slow: calls are answered Delay later. They are done at the end of it.
	Slow Effect = "slow"
)

// mostRules bounds the rules at a time; one more is an error.
const mostRules = 200

// ErrRule: a rule says something that is none, or there are too many.
var ErrRule = errors.New("no such rule")

// A Rule makes some calls go wrong. Where fields say nothing, it is about all.
type Rule struct {
	// ID is given by Rules.Add.
	ID string `json:"id,omitempty"`
	// Service is the name that is signed, such as route53.
	Service string `json:"service,omitempty"`
	// Region is that of the endpoint. Route 53's is us-east-1.
	Region string `json:"region,omitempty"`
	// Action is an operation, such as ChangeResourceRecordSets.
	Action string `json:"action,omitempty"`
	// Effect is what happens to them.
	Effect Effect `json:"effect"`
	// Code and Status are the error of an outage.
	Code   string `json:"code,omitempty"`
	Status int    `json:"status,omitempty"`
	// Delay is for Slow, at most a minute.
	Delay time.Duration `json:"delay,omitempty"`
	// Rate and Burst are for Throttle: calls a second, and how many at once.
	Rate  float64 `json:"rate,omitempty"`
	Burst float64 `json:"burst,omitempty"`
	// Count is how many calls the rule is for; it goes when they have been. 0: all.
	Count int `json:"count,omitempty"`
}

// ParseRule reads a rule of JSON, in which delay is a text such as 1.5s or a number of
// nanoseconds. It fails with ErrRule.
func ParseRule(text []byte) (Rule, error) {
	type plain Rule
	var in struct {
		plain
		Delay json.RawMessage `json:"delay"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return Rule{}, fmt.Errorf("%w: %w", ErrRule, err)
	}
	r := Rule(in.plain)
	if len(in.Delay) > 0 {
		var said string
		err := json.Unmarshal(in.Delay, &said)
		if err == nil {
			r.Delay, err = time.ParseDuration(said)
		} else {
			err = json.Unmarshal(in.Delay, &r.Delay)
		}
		if err != nil {
			return Rule{}, fmt.Errorf("%w: delay: %w", ErrRule, err)
		}
	}
	return r, r.check()
}

func (r Rule) check() error {
	switch {
	case !slices.Contains([]Effect{Outage, Refuse, Hang, Lose, Throttle, Slow}, r.Effect):
		return fmt.Errorf("%w: effect %.20q", ErrRule, r.Effect)
	case r.Delay < 0 || r.Delay > time.Minute || r.Effect == Slow && r.Delay == 0:
		return fmt.Errorf("%w: delay %v", ErrRule, r.Delay)
	case r.Rate < 0 || r.Burst < 0 || r.Count < 0 || math.IsNaN(r.Rate+r.Burst) || math.IsInf(r.Rate+r.Burst, 0):
		return fmt.Errorf("%w: rate, burst and count are not below 0", ErrRule)
	case r.Status != 0 && (r.Status < 400 || r.Status > 599):
		return fmt.Errorf("%w: status %d", ErrRule, r.Status)
	}
	return nil
}

// matches reports whether a rule is about a call.
func (r Rule) matches(service, region, action string) bool {
	return (r.Service == "" || r.Service == service) && (r.Region == "" || r.Region == region) && (r.Action == "" || r.Action == action)
}

// Rules are those in force. Goroutines may share them.
type Rules struct {
	mu   sync.Mutex // guards what follows
	next int
	all  []*inForce
}

// An inForce is a rule with what it remembers.
type inForce struct {
	Rule
	bucket bucket
}

// Add puts a rule in force, behind the others, and returns its ID. It fails with ErrRule.
func (rs *Rules) Add(r Rule) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.all) >= mostRules {
		return "", fmt.Errorf("%w: there are %d already", ErrRule, mostRules)
	}
	rs.next++
	r.ID = strconv.Itoa(rs.next)
	rs.all = append(rs.all, &inForce{Rule: r, bucket: bucket{rate: r.Rate, burst: max(r.Burst, 1)}})
	return r.ID, nil
}

// Remove takes a rule away and reports whether it was there.
func (rs *Rules) Remove(id string) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := len(rs.all)
	rs.all = slices.DeleteFunc(rs.all, func(r *inForce) bool { return r.ID == id })
	return len(rs.all) < n
}

// Clear takes all rules away.
func (rs *Rules) Clear() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = nil
}

// List returns the rules in force.
func (rs *Rules) List() []Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := make([]Rule, len(rs.all))
	for i, r := range rs.all {
		out[i] = r.Rule
	}
	return out
}

// apply returns the rules that a call suffers, counts it, and lets those go that have had
// all theirs.
func (rs *Rules) apply(service, region, action string, now time.Time) []Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []Rule
	var gone []string
	for _, r := range rs.all {
		if !r.matches(service, region, action) || r.Effect == Throttle && r.Rate > 0 && r.bucket.take(now) {
			continue
		}
		out = append(out, r.Rule)
		if r.Count == 1 {
			gone = append(gone, r.ID)
		}
		r.Count = max(r.Count-1, 0)
	}
	rs.all = slices.DeleteFunc(rs.all, func(r *inForce) bool { return slices.Contains(gone, r.ID) })
	return out
}

// A bucket lets so many calls through a second, and a burst at once. Its zero value lets
// all through.
type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

// take reports whether one more may pass now.
func (b *bucket) take(now time.Time) bool {
	if b.burst == 0 {
		return true
	}
	if b.at.IsZero() {
		b.tokens = b.burst
	} else if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.burst, b.tokens+passed.Seconds()*b.rate)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Away reports whether a rule keeps all calls of an action from being done. It counts none.
func (rs *Rules) Away(service, region, action string) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.ContainsFunc(rs.all, func(r *inForce) bool {
		return r.matches(service, region, action) && slices.Contains([]Effect{Outage, Refuse, Hang}, r.Effect)
	})
}
