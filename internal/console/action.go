package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxDelayMs bounds the delay of a link, one way. With more than a minute
// nothing arrives within any deadline, so a cut says the same more clearly.
const maxDelayMs = 60_000

// Kinds of actions.
const (
	// ActLink changes the link From → To on Plane: any of Cut, DelayMs, Loss.
	ActLink = "link"
	// ActRegion kills or revives Region, by Alive.
	ActRegion = "region"
	// ActTopology starts the deployment anew with Topology. All sessions are gone.
	ActTopology = "topology"
	// ActHeal makes the link From → To as it was when the deployment began, on
	// both planes. With neither From nor To it heals every link and revives
	// every Region.
	ActHeal = "heal"
	// ActSwitchover begins to have Region take all writes, where there is a control plane.
	ActSwitchover = "switchover"
	// ActReadmit lets Region be promoted again that has lost the lease.
	ActReadmit = "readmit"
)

// Planes of an action.
const (
	PlaneAll         = "all"
	PlaneCalls       = "calls"
	PlaneReplication = "replication"
)

// An Action is something that a person wants done to the deployment. Fields
// that its Kind does not take are zero.
type Action struct {
	Kind     string   `json:"kind"`
	From     string   `json:"from,omitempty"`
	To       string   `json:"to,omitempty"`
	Plane    string   `json:"plane,omitempty"` // PlaneAll, PlaneCalls or PlaneReplication
	Cut      *bool    `json:"cut,omitempty"`
	DelayMs  *int     `json:"delayMs,omitempty"` // one way, 0 to 60,000; jitter stays
	Loss     *float64 `json:"loss,omitempty"`    // share, 0 to 1
	Region   string   `json:"region,omitempty"`
	Alive    *bool    `json:"alive,omitempty"`
	Topology string   `json:"topology,omitempty"` // ActiveActive or ActivePassive
}

// A Refusal is an error that also tells what to do next. Source.Do may return
// one.
type Refusal struct {
	Problem string // what is wrong
	Next    string // what to do about it, a sentence
}

// Error returns the problem.
func (r *Refusal) Error() string { return r.Problem }

// Check tells whether a makes sense for a deployment that looks like s. Its
// error is a *Refusal that names the first thing wrong. Source.Do may be given
// an action only after it, and may still refuse for reasons of its own.
func (a Action) Check(s State) error {
	if err := a.checkFields(); err != nil {
		return err
	}
	switch a.Kind {
	case ActLink:
		return a.checkLink(s)
	case ActRegion:
		if a.Alive == nil {
			return refuse(`add "alive": true to revive it, false to kill it`, "action region has no alive")
		}
		return checkRegion(s, "region", a.Region)
	case ActSwitchover, ActReadmit:
		if s.Control == nil {
			return refuse("start the demo with --engine valkey, and choose "+ActivePassive, "there is no lease to move: no control plane runs here")
		}
		return checkRegion(s, "region", a.Region)
	case ActTopology:
		if a.Topology != ActiveActive && a.Topology != ActivePassive {
			return refuse("use "+ActiveActive+" or "+ActivePassive, "unknown topology %q", a.Topology)
		}
	case ActHeal:
		if a.From != "" || a.To != "" {
			return a.checkEnds(s)
		}
	}
	return nil
}

// checkFields refuses unknown kinds, and fields that the kind does not take: who
// sends them means something that would not happen.
func (a Action) checkFields() error {
	stray := a
	stray.Kind = ""
	switch a.Kind {
	case ActLink:
		stray.From, stray.To, stray.Plane, stray.Cut, stray.DelayMs, stray.Loss = "", "", "", nil, nil, nil
	case ActRegion:
		stray.Region, stray.Alive = "", nil
	case ActSwitchover, ActReadmit:
		stray.Region = ""
	case ActTopology:
		stray.Topology = ""
	case ActHeal:
		stray.From, stray.To = "", ""
	default:
		return refuse("use link, region, topology, heal, switchover or readmit", "unknown kind of action %q", a.Kind)
	}
	if stray != (Action{}) {
		return refuse("leave out: "+strings.Join(stray.fields(), ", "), "action %s has fields that it does not take", a.Kind)
	}
	return nil
}

// fields names what is set, as it is called in JSON; Kind aside.
func (a Action) fields() []string {
	set := []struct {
		name string
		is   bool
	}{
		{"from", a.From != ""},
		{"to", a.To != ""},
		{"plane", a.Plane != ""},
		{"cut", a.Cut != nil},
		{"delayMs", a.DelayMs != nil},
		{"loss", a.Loss != nil},
		{"region", a.Region != ""},
		{"alive", a.Alive != nil},
		{"topology", a.Topology != ""},
	}
	var names []string
	for _, f := range set {
		if f.is {
			names = append(names, f.name)
		}
	}
	return names
}

func (a Action) checkLink(s State) error {
	if err := a.checkEnds(s); err != nil {
		return err
	}
	if !slices.Contains([]string{PlaneAll, PlaneCalls, PlaneReplication}, a.Plane) {
		return refuse("use all, calls or replication", "unknown plane %q", a.Plane)
	}
	if a.Cut == nil && a.DelayMs == nil && a.Loss == nil {
		return refuse("add cut, delayMs or loss", "action link changes nothing")
	}
	if a.DelayMs != nil && (*a.DelayMs < 0 || *a.DelayMs > maxDelayMs) {
		return refuse(fmt.Sprintf("use 0 to %d milliseconds", maxDelayMs), "delayMs is %d", *a.DelayMs)
	}
	// Put this way round, what is no number is refused too.
	if a.Loss != nil && !(*a.Loss >= 0 && *a.Loss <= 1) {
		return refuse("use a share from 0 to 1: 0.05 loses one message in twenty", "loss is %g", *a.Loss)
	}
	return nil
}

func (a Action) checkEnds(s State) error {
	if err := checkRegion(s, "from", a.From); err != nil {
		return err
	}
	if err := checkRegion(s, "to", a.To); err != nil {
		return err
	}
	if a.From == a.To {
		return refuse("name two Regions", "a link from %s to itself", a.From)
	}
	return nil
}

func checkRegion(s State, field, name string) error {
	names := make([]string, len(s.Regions))
	for i, r := range s.Regions {
		if r.Name == name {
			return nil
		}
		names[i] = r.Name
	}
	return refuse("use one of: "+strings.Join(names, ", "), "%s names no Region: %q", field, name)
}

func refuse(next, format string, args ...any) error {
	return &Refusal{Problem: fmt.Sprintf(format, args...), Next: next}
}

// decodeAction reads one action and nothing else. Names that no action has are
// refused, so that a misspelt field is not an action that does less.
func decodeAction(b []byte) (Action, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var a Action
	if err := dec.Decode(&a); err != nil {
		return Action{}, fmt.Errorf("decode action: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Action{}, errors.New("decode action: something follows it")
	}
	return a, nil
}
