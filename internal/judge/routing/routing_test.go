package routing_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/internal/judge/routing"
)

func at(ms int) time.Time {
	return time.Date(2025, 10, 3, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

// controls are those of users and writes for two Regions, a third one for users, and
// two gates.
func controls() []routing.Control {
	return []routing.Control{
		{Name: "users-west", Region: "west"},
		{Name: "users-east", Region: "east"},
		{Name: "users-north", Region: "north"},
		{Name: "write-west", Region: "west", Writer: true},
		{Name: "write-east", Region: "east", Writer: true},
		{Name: "gate-a", Region: "west"},
		{Name: "gate-b", Region: "west"},
	}
}

func users() []string { return []string{"users-east", "users-north", "users-west"} }

func panel(t *testing.T, rules ...routing.Rule) routing.Panel {
	t.Helper()
	p, err := routing.New(controls(), rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func on(names ...string) routing.State {
	s := routing.State{On: map[string]bool{}}
	for _, name := range names {
		s.On[name] = true
	}
	return s
}

// request reads changes as "+users-west -users-east".
func request(text string) (r routing.Request) {
	for word := range strings.FieldsSeq(text) {
		r.Changes = append(r.Changes, routing.Change{Control: word[1:], On: word[0] == '+'})
	}
	return r
}

func lit(s routing.State) (names []string) {
	for name, is := range s.On {
		if is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A ruled is a request under one rule, and whether it is made.
type ruled struct {
	name    string
	rule    routing.Rule
	before  routing.State
	request string
	ok      bool
}

func rulings() []ruled {
	assert := func(typ routing.Type, threshold int, inverted bool) routing.Rule {
		return routing.Rule{Name: "r", Controls: users(), Type: typ, Threshold: threshold, Inverted: inverted}
	}
	gate := func(typ routing.Type, threshold int, inverted bool) routing.Rule {
		return routing.Rule{
			Name: "r", Controls: users(), Gates: []string{"gate-a", "gate-b"}, Type: typ, Threshold: threshold, Inverted: inverted,
		}
	}
	return []ruled{
		{"ATLEAST 2 leaves 2", assert(routing.AtLeast, 2, false), on(users()...), "-users-west", true},
		{"ATLEAST 2 leaves 1", assert(routing.AtLeast, 2, false), on(users()...), "-users-west -users-east", false},
		{"ATLEAST 1 moves the last", assert(routing.AtLeast, 1, false), on("users-west"), "+users-east -users-west", true},
		{"ATLEAST 1 takes the last", assert(routing.AtLeast, 1, false), on("users-west"), "-users-west", false},
		{"ATLEAST 2 mends what is broken", assert(routing.AtLeast, 2, false), on(), "+users-west +users-east", true},
		{"ATLEAST 2 mends half", assert(routing.AtLeast, 2, false), on(), "+users-west", false},
		{"ATLEAST 2 of others", assert(routing.AtLeast, 2, false), on(), "+gate-a", true},
		{"AND keeps all", assert(routing.And, 0, false), on("users-west", "users-east"), "+users-north", true},
		{"AND loses one", assert(routing.And, 0, false), on(users()...), "-users-north", false},
		{"OR keeps one", assert(routing.Or, 0, false), on(users()...), "-users-west -users-east", true},
		{"OR loses all", assert(routing.Or, 0, false), on("users-west"), "-users-west", false},
		{"inverted AND: not all", assert(routing.And, 0, true), on("users-west"), "+users-east +users-north", false},
		{"inverted AND: two", assert(routing.And, 0, true), on("users-west"), "+users-east", true},
		{"inverted ATLEAST 2: one", assert(routing.AtLeast, 2, true), on("users-west"), "-users-west +users-east", true},
		{"inverted ATLEAST 2: two", assert(routing.AtLeast, 2, true), on("users-west"), "+users-east", false},
		{"inverted OR: none", assert(routing.Or, 0, true), on("users-west"), "-users-west", true},
		{"inverted OR: one", assert(routing.Or, 0, true), on(), "+users-west", false},

		{"gate OR open", gate(routing.Or, 0, false), on("gate-b"), "+users-west", true},
		{"gate OR shut", gate(routing.Or, 0, false), on(), "+users-west", false},
		{"gate OR shut, off too", gate(routing.Or, 0, false), on("users-west"), "-users-west", false},
		{"gate AND half open", gate(routing.And, 0, false), on("gate-a"), "+users-west", false},
		{"gate AND open", gate(routing.And, 0, false), on("gate-a", "gate-b"), "+users-west", true},
		{"gate ATLEAST 2", gate(routing.AtLeast, 2, false), on("gate-a"), "+users-west", false},
		{"gate inverted OR: off allows", gate(routing.Or, 0, true), on(), "+users-west", true},
		{"gate inverted OR: on forbids", gate(routing.Or, 0, true), on("gate-a"), "+users-west", false},
		{"gates themselves are free", gate(routing.And, 0, false), on(), "+gate-a", true},
		{"no request opens its own gate", gate(routing.Or, 0, false), on(), "+gate-a +users-west", false},
		{"a request may shut it behind itself", gate(routing.Or, 0, false), on("gate-a"), "-gate-a +users-west", true},
	}
}

func TestRules(t *testing.T) {
	for _, c := range rulings() {
		before := lit(c.before)
		after, err := panel(t, c.rule).Update(c.before, request(c.request), at(0))
		if got := err == nil; got != c.ok {
			t.Errorf("%s: Update = %v, want success %v", c.name, err, c.ok)
			continue
		}
		if !slices.Equal(lit(c.before), before) {
			t.Errorf("%s: Update changed its argument to %v", c.name, lit(c.before))
		}
		var refusal *routing.Refusal
		if !c.ok && (!errors.Is(err, routing.ErrConflict) || !errors.As(err, &refusal) || !slices.Equal(refusal.Rules, []string{"r"}) ||
			!refusal.RetryAt.IsZero() || !slices.Equal(lit(after), before)) {
			t.Errorf("%s: state %v, %#v; want nothing changed and a refusal by rule r", c.name, lit(after), err)
		}
	}
}

func TestRefusalSaysWhatIsWrong(t *testing.T) {
	p := panel(t,
		routing.Rule{Name: "one-left", Controls: users(), Type: routing.AtLeast, Threshold: 1},
		routing.Rule{Name: "never-all", Controls: users(), Type: routing.And, Inverted: true},
		routing.Rule{Name: "gated", Controls: []string{"users-west"}, Gates: []string{"gate-a"}, Type: routing.Or},
	)
	_, err := p.Update(on("users-west"), request("-users-west"), at(0))
	want := `update routing controls: rule "gated": the change needs its gates, and it finds 0 of gate-a on, and at least 1 must be; ` +
		`rule "one-left": the change would leave 0 of users-east, users-north, users-west on, and at least 1 must be`
	if err == nil || err.Error() != want {
		t.Errorf("Update = %v, want %s", err, want)
	}
	_, err = p.Update(on("users-west", "gate-a"), request("+users-east +users-north"), at(0))
	want = `update routing controls: rule "never-all": the change would leave 3 of users-east, users-north, users-west on, and fewer than 3 must be`
	if err == nil || err.Error() != want {
		t.Errorf("Update = %v, want %s", err, want)
	}
}

func TestOverride(t *testing.T) {
	p := panel(t,
		routing.Rule{Name: "one-left", Controls: users(), Type: routing.AtLeast, Threshold: 1},
		routing.Rule{Name: "gated", Controls: []string{"users-west"}, Gates: []string{"gate-a"}, Type: routing.Or},
	)
	r := request("-users-west")
	r.Override = []string{"one-left"}
	var refusal *routing.Refusal
	if _, err := p.Update(on("users-west"), r, at(0)); !errors.As(err, &refusal) || !slices.Equal(refusal.Rules, []string{"gated"}) {
		t.Errorf("with one of two rules overridden: %v, want the other one's refusal", err)
	}
	r.Override = []string{"one-left", "gated"}
	after, err := p.Update(on("users-west"), r, at(0))
	if err != nil || len(lit(after)) != 0 {
		t.Errorf("with both overridden: %v on, %v", lit(after), err)
	}
	// The wait is part of what is overridden.
	r = request("+users-west")
	if _, err := p.Update(after, r, at(1)); !errors.Is(err, routing.ErrConflict) {
		t.Errorf("a millisecond later: %v, want a conflict", err)
	}
	r.Override = []string{"one-left", "gated"}
	if _, err := p.Update(after, r, at(1)); err != nil {
		t.Errorf("a millisecond later, overridden: %v", err)
	}
	r.Override = []string{"one-right"}
	if _, err := p.Update(on("users-west"), r, at(0)); !errors.Is(err, routing.ErrUnknown) {
		t.Errorf("overriding what does not exist: %v, want it refused", err)
	}
}

// waits are two rules that share a control and rest for 5 s and a minute, and one
// that does not rest.
func waits(t *testing.T) routing.Panel {
	rule := func(name string, wait time.Duration, controls ...string) routing.Rule {
		return routing.Rule{Name: name, Controls: controls, Type: routing.AtLeast, Threshold: 1, Wait: wait}
	}
	return panel(t, rule("five", 0, "users-west", "users-east"), rule("a-minute", time.Minute, "users-east", "users-north"),
		rule("none", -1, "gate-a", "gate-b"))
}

// made returns the state after a request that must succeed.
func made(t *testing.T, p routing.Panel, before routing.State, text string, now time.Time) routing.State {
	t.Helper()
	after, err := p.Update(before, request(text), now)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return after
}

// refused returns the refusal of a request that must fail.
func refused(t *testing.T, p routing.Panel, before routing.State, text string, now time.Time) *routing.Refusal {
	t.Helper()
	_, err := p.Update(before, request(text), now)
	var refusal *routing.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("%s: %v, want a refusal", text, err)
	}
	return refusal
}

func TestWait(t *testing.T) {
	p := waits(t)
	all := on(append(users(), "gate-a", "gate-b")...)
	changed := made(t, p, all, "-users-west", at(0))
	for _, text := range []string{"+users-west", "+users-east", "-users-west"} {
		r := refused(t, p, changed, text, at(4999))
		if !slices.Equal(r.Rules, []string{"five"}) || r.RetryAt != at(5000) {
			t.Errorf("%s before the wait is over: %+v, want rule five's refusal until 5 s", text, r)
		}
		made(t, p, changed, text, at(5000))
	}
	made(t, p, changed, "-users-north", at(1)) // it shares no rule with what changed
	quick := made(t, p, all, "-gate-a", at(0))
	made(t, p, quick, "+gate-a", at(0))
}

func TestLongestWaitCounts(t *testing.T) {
	p := waits(t)
	changed := made(t, p, on(users()...), "-users-east", at(0))
	r := refused(t, p, changed, "+users-east", at(1000))
	if !slices.Equal(r.Rules, []string{"a-minute", "five"}) || r.RetryAt != at(60000) {
		t.Errorf("while both rest: %+v, want both rules until a minute has passed", r)
	}
	// A demand that waiting does not help has no time to try again.
	if r := refused(t, p, changed, "+users-west -users-north", at(1000)); !r.RetryAt.IsZero() {
		t.Errorf("a rule that rests and one that is broken: %+v, want no time to try again", r)
	}
	// A clock that was an hour ahead when the change was made.
	made(t, p, changed, "+users-east", at(-3600_000))
}

func TestNoChangeBeginsNoWait(t *testing.T) {
	p := waits(t)
	same := made(t, p, on(users()...), "+users-west", at(0))
	made(t, p, same, "-users-west", at(1))
}

func TestWriterNeedsTheLease(t *testing.T) {
	p := panel(t, routing.Rule{Name: "one-writer", Controls: []string{"write-east", "write-west"}, Type: routing.And, Inverted: true})
	for _, c := range []struct {
		holder, request string
		kind            error
	}{
		{"east", "-write-west +write-east", nil},
		{"west", "-write-west +write-east", routing.ErrLease},
		{"", "+write-east", routing.ErrLease},
		{"north", "+write-east", routing.ErrLease},
		{"north", "-write-west", nil}, // taking it away never needs a lease
		{"", "-write-west", nil},
		{"north", "+users-east", nil}, // users need none
		{"west", "+users-east", nil},  // nor does it matter what else is on
		{"west", "+write-west +write-east", routing.ErrLease},
	} {
		r := request(c.request)
		r.Holder = c.holder
		r.Override = []string{"one-writer"} // no override helps
		after, err := p.Update(on("write-west"), r, at(0))
		if !errors.Is(err, c.kind) || (c.kind == nil) != (err == nil) {
			t.Errorf("%s while %q holds the lease: %v, want %v", c.request, c.holder, err, c.kind)
		}
		if err != nil && !slices.Equal(lit(after), []string{"write-west"}) {
			t.Errorf("%s was refused and left %v", c.request, lit(after))
		}
		why := `control "write-east" would send writes to east, and ` + cmp.Or(c.holder, "no Region") + " holds the lease"
		if err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want it to say %s", c.request, err, why)
		}
	}
}

func TestWhatMakesNoSense(t *testing.T) {
	p := panel(t)
	for text, kind := range map[string]error{
		"":                        routing.ErrInvalid,
		"+users-west -users-west": routing.ErrInvalid,
		"+users-west +users-west": routing.ErrInvalid,
		"+users-south":            routing.ErrUnknown,
	} {
		if _, err := p.Update(routing.State{}, request(text), at(0)); !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v", text, err, kind)
		}
	}
}

func TestFollow(t *testing.T) {
	p := panel(t)
	for _, c := range []struct {
		holder string
		on     []string
		want   []routing.Change
	}{
		{"east", []string{"write-west", "users-west"}, []routing.Change{{Control: "write-west"}, {Control: "write-east", On: true}}},
		{"west", []string{"write-west"}, nil},
		{"west", nil, []routing.Change{{Control: "write-west", On: true}}},
		{"", []string{"write-west", "write-east"}, []routing.Change{{Control: "write-east"}, {Control: "write-west"}}},
	} {
		s := on(c.on...)
		got := p.Follow(s, c.holder)
		if !slices.Equal(got, c.want) {
			t.Errorf("Follow(%v, %q) = %v, want %v", c.on, c.holder, got, c.want)
		}
		if len(got) == 0 {
			continue
		}
		after, err := p.Update(s, routing.Request{Changes: got, Holder: c.holder}, at(0))
		if err != nil || len(p.Follow(after, c.holder)) != 0 {
			t.Errorf("after following %q: %v, still to do %v", c.holder, err, p.Follow(after, c.holder))
		}
	}
}

func TestNewFindsAllFaults(t *testing.T) {
	_, err := routing.New(
		[]routing.Control{{Name: "a", Region: "west"}, {Name: "a", Region: "west"}, {Name: "b"}},
		[]routing.Rule{
			{Type: "MOST"},
			{Name: "x", Controls: []string{"a", "c", "a"}, Type: routing.AtLeast, Threshold: 4},
			{Name: "x", Controls: []string{"a"}, Gates: []string{"a"}, Type: routing.And, Threshold: 1},
			{Name: "y", Controls: []string{"a", "b"}, Gates: []string{"b"}, Type: routing.AtLeast, Threshold: 2},
		})
	if err == nil {
		t.Fatal("New took what makes no sense")
	}
	for _, want := range []string{
		`control "a": there are two`, `control "b" of Region ""`, `rule "": it has no name`, `rule "": it names no controls`, `type "MOST"`,
		`control "c": there is none`, `control "a": it is named twice`, "threshold 4 of 3", `rule "x": there are two`,
		"threshold 1: only ATLEAST", "threshold 2 of 1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want it to say %s", err, want)
		}
	}
	many := make([]routing.Control, 101)
	if _, err := routing.New(many, nil); err == nil || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("New of 101 controls = %v", err)
	}
}

// Whatever is asked, in whatever order: users always have a Region, no writer is
// turned on without the lease, a refusal changes nothing, a success does exactly what
// was asked, and users' controls change once in a wait.
func TestUpdateKeepsItsWord(t *testing.T) {
	p := panel(t, routing.Rule{Name: "one-left", Controls: users(), Type: routing.AtLeast, Threshold: 1})
	rapid.Check(t, func(t *rapid.T) {
		s, clock, moved := on("users-west"), 0, -5000
		for range rapid.IntRange(1, 30).Draw(t, "requests") {
			clock += rapid.IntRange(0, 4000).Draw(t, "pause")
			r := drawRequest(t, p)
			next, err := p.Update(s, r, at(clock))
			if err != nil && !reflect.DeepEqual(next, s) {
				t.Fatalf("%v was refused (%v) and made %v of %v", r, err, next, s)
			}
			if err == nil {
				asMade(t, r, s, next)
				if !slices.Equal(litUsers(s), litUsers(next)) {
					if clock < moved+5000 {
						t.Fatalf("users' controls changed at %d ms and again at %d ms", moved, clock)
					}
					moved = clock
				}
			}
			s = next
		}
	})
}

func drawRequest(t *rapid.T, p routing.Panel) routing.Request {
	var names []string
	for _, c := range p.Controls() {
		names = append(names, c.Name)
	}
	r := routing.Request{Holder: rapid.SampledFrom([]string{"", "west", "east"}).Draw(t, "holder")}
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		r.Changes = append(r.Changes, routing.Change{
			Control: rapid.SampledFrom(names).Draw(t, "control"), On: rapid.Bool().Draw(t, "on"),
		})
	}
	return r
}

func litUsers(s routing.State) []string {
	return slices.DeleteFunc(lit(s), func(name string) bool { return !strings.HasPrefix(name, "users") })
}

// asMade checks what a request that succeeded made.
func asMade(t *rapid.T, r routing.Request, before, after routing.State) {
	want := on(lit(before)...)
	for _, c := range r.Changes {
		want.On[c.Control] = c.On
		if c.On && strings.HasPrefix(c.Control, "write") && c.Control != "write-"+r.Holder {
			t.Fatalf("%v turned a writer on without the lease", r)
		}
	}
	if !slices.Equal(lit(after), lit(want)) {
		t.Fatalf("%v made %v of %v", r, lit(after), lit(before))
	}
	if len(litUsers(after)) == 0 {
		t.Fatalf("%v left users no Region", r)
	}
	raw, err := json.Marshal(after)
	var read routing.State
	if err != nil || json.Unmarshal(raw, &read) != nil || !reflect.DeepEqual(read, after) {
		t.Fatalf("%s (%v) is read as %v", raw, err, read)
	}
}
