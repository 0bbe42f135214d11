package console

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestCheckPassesWhatMakesSense(t *testing.T) {
	s := newFake().State()
	link := Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll}
	with := func(f func(*Action)) Action { a := link; f(&a); return a }
	for _, a := range []Action{
		with(func(a *Action) { a.Cut = new(true) }),
		with(func(a *Action) { a.Cut = new(false); a.Plane = PlaneCalls }),
		with(func(a *Action) { a.DelayMs = new(0); a.Plane = PlaneReplication }),
		with(func(a *Action) { a.DelayMs = new(maxDelayMs) }),
		with(func(a *Action) { a.Loss = new(0.0) }),
		with(func(a *Action) { a.Loss = new(1.0) }),
		{Kind: ActRegion, Region: "eu-central-1", Alive: new(false)},
		{Kind: ActTopology, Topology: ActivePassive},
		{Kind: ActHeal},
		{Kind: ActHeal, From: "us-west-2", To: "us-west-1"},
	} {
		if err := a.Check(s); err != nil {
			t.Errorf("Check(%+v) = %v, want nil", a, err)
		}
	}
	for _, kind := range []string{ActSwitchover, ActReadmit} {
		a := Action{Kind: kind, Region: "us-west-2"}
		if err := a.Check(newControlled().State()); err != nil {
			t.Errorf("Check(%+v) with a control plane = %v, want nil", a, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	s := newFake().State()
	for _, c := range []struct {
		a    Action
		word string
	}{
		{Action{}, "unknown kind"},
		{Action{Kind: "explode"}, "explode"},
		{Action{Kind: ActLink, From: "mars", To: "us-west-2", Plane: PlaneAll, Cut: new(true)}, `from names no Region: "mars"`},
		{Action{Kind: ActLink, From: "us-west-2", Plane: PlaneAll, Cut: new(true)}, `to names no Region: ""`},
		{Action{Kind: ActLink, From: "us-west-2", To: "us-west-2", Plane: PlaneAll, Cut: new(true)}, "itself"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Cut: new(true)}, "plane"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll}, "changes nothing"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, DelayMs: new(-1)}, "-1"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, DelayMs: new(maxDelayMs + 1)}, "60001"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Loss: new(-0.1)}, "-0.1"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Loss: new(1.01)}, "1.01"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Loss: new(math.NaN())}, "NaN"},
		{Action{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Cut: new(true), Alive: new(true)}, "does not take"},
		{Action{Kind: ActRegion, Region: "mars", Alive: new(true)}, "mars"},
		{Action{Kind: ActRegion, Region: "us-west-1"}, "no alive"},
		{Action{Kind: ActTopology, Topology: "ring"}, "ring"},
		{Action{Kind: ActHeal, From: "us-west-1"}, `to names no Region`},
		{Action{Kind: ActHeal, From: "us-west-1", To: "us-west-1"}, "itself"},
		{Action{Kind: ActHeal, Plane: PlaneCalls}, "does not take"},
		{Action{Kind: ActSwitchover, Region: "us-west-2"}, "no control plane"},
		{Action{Kind: ActReadmit, Region: "us-west-2"}, "no control plane"},
		{Action{Kind: ActSwitchover, Region: "us-west-2", Alive: new(true)}, "does not take"},
		{Action{Kind: ActReadmit, To: "us-west-2"}, "does not take"},
	} {
		wantRefusal(t, c.a, s, c.word)
	}
	for _, kind := range []string{ActSwitchover, ActReadmit} {
		wantRefusal(t, Action{Kind: kind, Region: "mars"}, newControlled().State(), "mars")
	}
}

func wantRefusal(t *testing.T, a Action, s State, word string) {
	t.Helper()
	err := a.Check(s)
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Problem, word) || refusal.Next == "" {
		t.Errorf("Check(%+v) = %v, want a *Refusal with %q, and what to do next", a, err, word)
	}
}

// FuzzDecodeAction checks that what is taken is an action and nothing else: it
// means the same after it was written down again, and Check judges it.
func FuzzDecodeAction(f *testing.F) {
	for _, s := range []string{
		`{"kind":"link","from":"us-west-1","to":"us-west-2","plane":"calls","cut":true}`,
		`{"kind":"link","from":"us-west-1","to":"us-west-2","plane":"all","delayMs":250,"loss":0.05}`,
		`{"kind":"region","region":"us-west-1","alive":false}`,
		`{"kind":"topology","topology":"active-passive"}`,
		`{"kind":"heal"}`, `{"kind":"switchover","region":"us-west-2"}`, `{"kind":"readmit","region":"us-west-2"}`, `null`, `{}`, `{"kind":"heal"}x`, `{"loss":1e999}`, `{"delayMs":1.5}`,
	} {
		f.Add([]byte(s))
	}
	state := newFake().State()
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAction(b)
		if err != nil {
			if a != (Action{}) {
				t.Fatalf("decodeAction(%q) = %+v and %v, want nothing with an error", b, a, err)
			}
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("decodeAction(%q) = %+v, which cannot be written: %v", b, a, err)
		}
		if got, err := decodeAction(again); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("decodeAction(%s) = %+v, %v; want %+v as from %q", again, got, err, a, b)
		}
		if a.Check(state) != nil {
			return
		}
		if a.Loss != nil && (*a.Loss < 0 || *a.Loss > 1) || a.DelayMs != nil && *a.DelayMs < 0 || a.Kind == ActLink && a.From == a.To {
			t.Fatalf("Check passed %s", again)
		}
	})
}
