package awsdeploy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// A verdict is what is to be done about a stack.
type verdict string

const (
	toCreate  verdict = "create"
	toWait    verdict = "wait"    // something goes on
	toUpdate  verdict = "update"  // it differs
	toReplace verdict = "replace" // it never came to be: delete it, and make it anew
	toSkip    verdict = "skip"    // it differs, and its roles are observed
	toKeep    verdict = "keep"    // it is as it is to be
	toRefuse  verdict = "refuse"  // somebody has to look
)

// A wanted is a stack as it is to be.
type wanted struct {
	deployment    string
	stack, region string
	template      string
	parameters    map[string]string
	capabilities  []string
	policy        string // what no update may do; empty: it may do all
	roles         bool   // what it has, a failover changes
}

// masked is what CloudFormation shows of a parameter that is not to be shown.
const masked = "****"

// A Difference is a parameter that is not as it is to be, or the template.
type Difference struct {
	Parameter string `json:"parameter,omitempty"` // empty: the template
	Is        string `json:"is,omitempty"`
	Want      string `json:"want,omitempty"`
}

// String returns the difference in words.
func (d Difference) String() string {
	if d.Parameter == "" {
		return "another template"
	}
	return fmt.Sprintf("%s is %q and not %q", d.Parameter, d.Is, d.Want)
}

// decide says what is to be done about a stack that has a template; nil: there is none.
func (c Config) decide(w wanted, s *stack, template string) (verdict, []Difference) {
	switch {
	case s == nil || s.status == string(types.StackStatusDeleteComplete):
		return toCreate, nil
	case s.deployment != w.deployment:
		return toRefuse, nil
	case going(s.status):
		return toWait, nil
	case stillborn(s.status) && c.ReplaceFailed:
		return toReplace, nil
	case !whole(s.status):
		return toRefuse, nil
	}
	differs := w.differs(s, template)
	switch {
	case len(differs) == 0:
		return toKeep, nil
	case w.roles && !c.AllowCacheUpdate:
		return toSkip, differs
	}
	return toUpdate, differs
}

// going reports whether CloudFormation is at it. A stack in review has no more than a change set that waits for
// somebody.
func going(status string) bool {
	return strings.HasSuffix(status, "_IN_PROGRESS") && status != string(types.StackStatusReviewInProgress)
}

// stillborn reports whether a stack was never complete, so that nothing is lost with it.
func stillborn(status string) bool {
	return slices.Contains([]types.StackStatus{
		types.StackStatusRollbackComplete, types.StackStatusRollbackFailed, types.StackStatusCreateFailed, types.StackStatusReviewInProgress,
	}, types.StackStatus(status))
}

// whole reports whether a stack can be updated.
func whole(status string) bool {
	return slices.Contains([]types.StackStatus{
		types.StackStatusCreateComplete, types.StackStatusUpdateComplete, types.StackStatusUpdateRollbackComplete, types.StackStatusUpdateFailed,
		types.StackStatusImportComplete, types.StackStatusImportRollbackComplete,
	}, types.StackStatus(status))
}

// done reports whether a stack is as the last who changed it wanted it.
func done(status string) bool {
	return whole(status) && status != string(types.StackStatusUpdateRollbackComplete) && status != string(types.StackStatusUpdateFailed)
}

// differs returns what is not as it is to be, parameters in the order of their names. What is not given stays what
// it is.
func (w wanted) differs(s *stack, template string) (out []Difference) {
	if trimmed(template) != trimmed(w.template) {
		out = append(out, Difference{})
	}
	for _, key := range slices.Sorted(maps.Keys(w.parameters)) {
		is, ok := s.parameters[key]
		switch want := w.parameters[key]; {
		case ok && is == want:
		case strings.HasPrefix(is, masked) && w.roles: // it can't be told, and is let alone
		default:
			out = append(out, Difference{key, is, want})
		}
	}
	return out
}

// given returns the parameters as CloudFormation takes them. Those that are not given stay what they are in the stack
// that is there, if one is: so an earlier step of a plan, carried out again, takes nothing back that a later one gave.
func (w wanted) given(s *stack) (out []types.Parameter) {
	keys := map[string]bool{}
	for key := range w.parameters {
		keys[key] = true
	}
	if s != nil {
		has, _ := parametersOf(w.template) // Check has read it
		for key := range s.parameters {
			if _, ok := has[key]; ok {
				keys[key] = true
			}
		}
	}
	yes := true
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		p := types.Parameter{ParameterKey: &key}
		if value, ok := w.parameters[key]; ok {
			p.ParameterValue = &value
		} else {
			p.UsePreviousValue = &yes
		}
		out = append(out, p)
	}
	return out
}

// trimmed is a template without what the way through CloudFormation may change.
func trimmed(template string) string {
	return strings.TrimSpace(strings.ReplaceAll(template, "\r\n", "\n"))
}

// A parameter is one of a template.
type parameter struct{ standard *string } // what it is if it is not given; nil: it must be

// parametersOf returns the parameters of a template.
func parametersOf(template string) (map[string]parameter, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(template), &doc); err != nil {
		return nil, err
	}
	out := map[string]parameter{}
	if len(doc.Content) == 0 {
		return nil, errors.New("it is empty")
	}
	for key, section := range pairs(doc.Content[0]) {
		if key != "Parameters" {
			continue
		}
		for name, about := range pairs(section) {
			var p parameter
			for word, n := range pairs(about) {
				if word != "Default" {
					continue
				}
				value := n.Value
				p.standard = &value
			}
			out[name] = p
		}
	}
	return out, nil
}

// pairs returns what a mapping has; of anything else nothing.
func pairs(n *yaml.Node) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = n.Content[i+1]
	}
	return out
}
