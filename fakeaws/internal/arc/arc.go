package arc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// Name is what the service's requests are signed for.
const Name = "route53-recovery-cluster"

const (
	// mostControls and mostRules bound a cluster; one more is refused.
	mostControls, mostRules = 300, 100
	// defaultWait is how long the controls of a rule stay as they are after a change.
	defaultWait = 5 * time.Second
	// On and off are the states of a control.
	stateOn, stateOff = "On", "Off"
)

// Regions are those of a cluster's endpoints.
func Regions() []string {
	return []string{"us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "ap-southeast-2"}
}

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what waits go by.
	Clock clock.Clock
	// Account is whose cluster it is.
	Account string
	// Rotate is how long each endpoint in turn is not available. 0: all are, always.
	Rotate time.Duration
}

// A Rule is a safety rule of a panel.
type Rule struct {
	// Name says which it is.
	Name string `json:"name"`
	// Asserted are the names of controls of which Type must hold after each update; or
	// Gating and Targets are those of a rule by which targets are changed only while Type
	// holds of the gating ones.
	Asserted []string `json:"asserted,omitempty"`
	Gating   []string `json:"gating,omitempty"`
	Targets  []string `json:"targets,omitempty"`
	// Type is ATLEAST, AND or OR.
	Type string `json:"type"`
	// Threshold is how many at least.
	Threshold int `json:"threshold,omitempty"`
	// Inverted has the opposite hold.
	Inverted bool `json:"inverted,omitempty"`
	// Wait is how long the rule's controls take no other change after one. Default: 5 s;
	// below 0: none.
	Wait time.Duration `json:"wait,omitempty"`
}

// A Panel is a control panel, as one may describe it.
type Panel struct {
	// Name says which it is.
	Name string `json:"name"`
	// Controls are the names of its routing controls. They are off at first.
	Controls []string `json:"controls"`
	// Rules are its safety rules.
	Rules []Rule `json:"rules,omitempty"`
}

// A control is a routing control.
type control struct {
	arn, name, panel, panelName string
	on                          bool
	changed                     time.Time
}

// A rule is a safety rule with the ARNs of its controls.
type rule struct {
	Rule
	arn                       string
	asserted, gating, targets []string
}

// A Fake is a cluster. Goroutines may share it.
type Fake struct {
	config Config

	mu       sync.Mutex // guards what follows
	controls map[string]*control
	rules    []*rule
}

// New returns a cluster without panels.
func New(c Config) *Fake { return &Fake{config: c, controls: map[string]*control{}} }

// id is what an ARN says of a name.
func id(name string, n int) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])[:n]
}

// PanelARN is that of a panel.
func (f *Fake) PanelARN(panel string) string {
	return fmt.Sprintf("arn:aws:route53-recovery-control::%s:controlpanel/%s", f.config.Account, id(panel, 32))
}

// ControlARN is that of a routing control.
func (f *Fake) ControlARN(panel, name string) string {
	return f.PanelARN(panel) + "/routingcontrol/" + id(panel+"/"+name, 16)
}

// RuleARN is that of a safety rule.
func (f *Fake) RuleARN(panel, name string) string {
	return f.PanelARN(panel) + "/safetyrule/" + id(panel+"/"+name, 16)
}

// ErrPanel: a panel can't be had as it is described.
var ErrPanel = errors.New("no such panel")

// Add adds a panel with its controls and rules. It fails with ErrPanel.
func (f *Fake) Add(p Panel) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case p.Name == "" || len(p.Controls) == 0:
		return fmt.Errorf("%w: it needs a name and controls", ErrPanel)
	case len(f.controls)+len(p.Controls) > mostControls || len(f.rules)+len(p.Rules) > mostRules:
		return fmt.Errorf("%w: at most %d controls and %d rules", ErrPanel, mostControls, mostRules)
	}
	var rules []*rule
	for _, r := range p.Rules {
		made, err := f.newRule(p, r)
		if err != nil {
			return err
		}
		rules = append(rules, made)
	}
	made := map[string]*control{}
	for _, name := range p.Controls {
		arn := f.ControlARN(p.Name, name)
		if f.controls[arn] != nil || made[arn] != nil {
			return fmt.Errorf("%w: control %q is there already", ErrPanel, name)
		}
		made[arn] = &control{arn: arn, name: name, panel: f.PanelARN(p.Name), panelName: p.Name}
	}
	maps.Copy(f.controls, made)
	f.rules = append(f.rules, rules...)
	return nil
}

func (f *Fake) newRule(p Panel, r Rule) (*rule, error) {
	out := &rule{Rule: r, arn: f.RuleARN(p.Name, r.Name)}
	if r.Wait == 0 {
		out.Wait = defaultWait
	}
	for _, list := range []struct {
		names []string
		arns  *[]string
	}{{r.Asserted, &out.asserted}, {r.Gating, &out.gating}, {r.Targets, &out.targets}} {
		for _, name := range list.names {
			if !slices.Contains(p.Controls, name) {
				return nil, fmt.Errorf("%w: rule %q names %q, which is no control of it", ErrPanel, r.Name, name)
			}
			*list.arns = append(*list.arns, f.ControlARN(p.Name, name))
		}
	}
	asserts := len(r.Asserted) > 0
	switch {
	case asserts == (len(r.Gating) > 0 && len(r.Targets) > 0):
		return nil, fmt.Errorf("%w: rule %q has either asserted controls, or gating ones and targets", ErrPanel, r.Name)
	case !slices.Contains([]string{"ATLEAST", "AND", "OR"}, r.Type):
		return nil, fmt.Errorf("%w: rule %q has the type %.20q", ErrPanel, r.Name, r.Type)
	}
	return out, nil
}

// State reports whether a control is on, and whether there is one.
func (f *Fake) State(arn string) (on, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.controls[arn]
	return c != nil && c.on, c != nil
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	j := door.JSON{Prefix: "ToggleCustomerAPI.", Version: "1.0"}
	return &door.Service{
		Name: Name, Regions: Regions(),
		Speaks: func(*http.Request) door.Protocol { return j },
		Act:    f.act,
		Asks:   asks,
	}
}

// asks returns the controls that a call is about, each of which a policy must allow.
func asks(c *door.Call) []iam.Request {
	var out []iam.Request
	overrides := "false"
	if len(c.Params.Strs("SafetyRulesToOverride")) > 0 {
		overrides = "true"
	}
	context := map[string][]string{"route53-recovery-cluster:AllowSafetyRulesOverrides": {overrides}}
	if arn := c.Params.Str("RoutingControlArn"); arn != "" {
		out = append(out, iam.Request{Resource: arn, Context: context})
	}
	for _, e := range c.Params.Objects("UpdateRoutingControlStateEntries") {
		out = append(out, iam.Request{Resource: e.Str("RoutingControlArn"), Context: context})
	}
	return out
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	if f.resting(c.Region) {
		return nil, door.Faultf(http.StatusServiceUnavailable, "EndpointTemporarilyUnavailableException", "The cluster endpoint in %s isn't available. Try another cluster endpoint.", c.Region)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c.Action {
	case "GetRoutingControlState":
		ctl, err := f.control(c.Params.Str("RoutingControlArn"))
		if err != nil {
			return nil, err
		}
		return map[string]any{"RoutingControlArn": ctl.arn, "RoutingControlName": ctl.name, "RoutingControlState": state(ctl.on)}, nil
	case "ListRoutingControls":
		return f.list(c.Params)
	case "UpdateRoutingControlState":
		return struct{}{}, f.update([]door.Params{c.Params}, c.Params.Strs("SafetyRulesToOverride"))
	case "UpdateRoutingControlStates":
		entries := c.Params.Objects("UpdateRoutingControlStateEntries")
		if len(entries) == 0 {
			return nil, invalid("UpdateRoutingControlStateEntries", "is required")
		}
		return struct{}{}, f.update(entries, c.Params.Strs("SafetyRulesToOverride"))
	}
	return nil, door.ErrUnknownAction
}

// resting reports whether it is an endpoint's turn to be down.
func (f *Fake) resting(region string) bool {
	if f.config.Rotate <= 0 {
		return false
	}
	turn := f.config.Clock.Now().UnixNano() / int64(f.config.Rotate) % int64(len(Regions()))
	return Regions()[turn] == region
}

func state(on bool) string {
	if on {
		return stateOn
	}
	return stateOff
}

func invalid(field, message string) error {
	return &door.Fault{
		Code: "ValidationException", Message: field + " " + message,
		More: map[string]any{"reason": "fieldValidationFailed", "fields": []map[string]string{{"name": field, "message": message}}},
	}
}

func conflict(r *rule, format string, args ...any) error {
	return &door.Fault{
		Code: "ConflictException", Status: http.StatusConflict, Message: fmt.Sprintf(format, args...),
		More: map[string]any{"resourceId": r.arn, "resourceType": "SAFETY_RULE"},
	}
}

func (f *Fake) control(arn string) (*control, error) {
	if arn == "" {
		return nil, invalid("RoutingControlArn", "is required")
	}
	if c := f.controls[arn]; c != nil {
		return c, nil
	}
	return nil, &door.Fault{
		Code: "ResourceNotFoundException", Status: http.StatusNotFound, Message: "The routing control was not found.",
		More: map[string]any{"resourceId": arn, "resourceType": "ROUTING_CONTROL"},
	}
}

func (f *Fake) list(p door.Params) (any, error) {
	most := 100
	if p.Has("MaxResults") {
		n, ok := p.Int("MaxResults")
		if !ok || n < 1 || n > 1000 {
			return nil, invalid("MaxResults", "is from 1 to 1000")
		}
		most = n
	}
	out := []map[string]any{}
	next := ""
	for _, arn := range slices.Sorted(maps.Keys(f.controls)) {
		c := f.controls[arn]
		if panel := p.Str("ControlPanelArn"); panel != "" && panel != c.panel || arn <= p.Str("NextToken") {
			continue
		}
		if len(out) == most {
			next = out[most-1]["RoutingControlArn"].(string)
			break
		}
		out = append(out, map[string]any{
			"ControlPanelArn": c.panel, "ControlPanelName": c.panelName, "RoutingControlArn": arn, "RoutingControlName": c.name,
			"RoutingControlState": state(c.on), "Owner": f.config.Account,
		})
	}
	reply := map[string]any{"RoutingControls": out}
	if next != "" {
		reply["NextToken"] = next
	}
	return reply, nil
}

// update changes states: all of them, or none.
func (f *Fake) update(entries []door.Params, overrides []string) error {
	want := map[string]bool{}
	for _, e := range entries {
		c, err := f.control(e.Str("RoutingControlArn"))
		if err != nil {
			return err
		}
		said := e.Str("RoutingControlState")
		if said != stateOn && said != stateOff {
			return invalid("RoutingControlState", "is On or Off")
		}
		if before, twice := want[c.arn]; twice && before != (said == stateOn) {
			return invalid("RoutingControlArn", "is there twice")
		}
		want[c.arn] = said == stateOn
	}
	for _, arn := range overrides {
		if !slices.ContainsFunc(f.rules, func(r *rule) bool { return r.arn == arn }) {
			return invalid("SafetyRulesToOverride", "names no safety rule")
		}
	}
	for _, r := range f.rules {
		if !slices.Contains(overrides, r.arn) {
			if err := f.judge(r, want); err != nil {
				return err
			}
		}
	}
	now := f.config.Clock.Now()
	for arn, on := range want {
		if c := f.controls[arn]; c.on != on {
			c.on, c.changed = on, now
		}
	}
	return nil
}

// judge says what a rule has against an update.
func (f *Fake) judge(r *rule, want map[string]bool) error {
	changed := func(arns []string) []string {
		var out []string
		for _, arn := range arns {
			if on, said := want[arn]; said && on != f.controls[arn].on {
				out = append(out, arn)
			}
		}
		return out
	}
	touched := changed(r.asserted)
	if len(r.gating) > 0 {
		touched = changed(r.targets)
	}
	if len(touched) == 0 {
		return nil
	}
	now := f.config.Clock.Now()
	for _, arn := range append(slices.Clone(r.asserted), r.targets...) {
		if at := f.controls[arn].changed; !at.IsZero() && now.Before(at.Add(r.Wait)) {
			return conflict(r, "The routing controls of safety rule %s were changed less than %v ago.", r.Name, r.Wait)
		}
	}
	after := func(arn string) bool {
		if on, said := want[arn]; said {
			return on
		}
		return f.controls[arn].on
	}
	if len(r.gating) > 0 {
		if !r.holds(r.gating, func(arn string) bool { return f.controls[arn].on }) {
			return conflict(r, "Safety rule %s keeps its target controls as they are.", r.Name)
		}
		return nil
	}
	if !r.holds(r.asserted, after) {
		return conflict(r, "The update would violate safety rule %s.", r.Name)
	}
	return nil
}

// holds reports whether so many controls are on as a rule wants.
func (r *rule) holds(arns []string, on func(arn string) bool) bool {
	n := 0
	for _, arn := range arns {
		if on(arn) {
			n++
		}
	}
	good := false
	switch r.Type {
	case "ATLEAST":
		good = n >= r.Threshold
	case "AND":
		good = n == len(arns)
	case "OR":
		good = n > 0
	}
	return good != r.Inverted
}
