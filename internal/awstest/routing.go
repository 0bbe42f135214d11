package awstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// Routing is a cluster of ARC. All its endpoints tell of the same controls.
type Routing struct {
	On      map[string]bool // by the ARN of a control; those that there are
	Rest    time.Duration   // after a change nothing may be changed for so long
	Updates [][]Entry       // that were taken

	changed time.Time
}

// An Entry is one of an update, by the wire's names.
type Entry struct {
	RoutingControlArn, RoutingControlState string //nolint:revive // the wire's name
}

type toggle struct {
	RoutingControlArn                string //nolint:revive // the wire's name
	UpdateRoutingControlStateEntries []Entry
	SafetyRulesToOverride            []string
}

func (s *Routing) understand(r *http.Request, body []byte) (Call, any, error) {
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "ToggleCustomerAPI.")
	if !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.0" {
		return Call{}, nil, fmt.Errorf("%s with target %q is nothing", r.Method, r.Header.Get("X-Amz-Target"))
	}
	var in toggle
	if err := json.Unmarshal(body, &in); err != nil {
		return Call{}, nil, err
	}
	c := Call{Action: action, Resource: in.RoutingControlArn}
	for _, e := range in.UpdateRoutingControlStateEntries {
		c.Names = append(c.Names, e.RoutingControlArn)
	}
	return c, in, nil
}

func (s *Routing) do(c Call, in any, now time.Time) (any, *failure) {
	t := in.(toggle)
	switch c.Action {
	case "GetRoutingControlState":
		on, ok := s.On[t.RoutingControlArn]
		if !ok {
			return nil, refuse("ResourceNotFoundException", "no control %q", t.RoutingControlArn)
		}
		return map[string]string{"RoutingControlArn": t.RoutingControlArn, "RoutingControlState": word(on)}, nil
	case "UpdateRoutingControlStates":
		if len(t.SafetyRulesToOverride) > 0 {
			return nil, refuse("AccessDeniedException", "no rule may be overridden")
		}
		next := map[string]bool{}
		maps.Copy(next, s.On)
		for _, e := range t.UpdateRoutingControlStateEntries {
			if _, ok := next[e.RoutingControlArn]; !ok {
				return nil, refuse("ResourceNotFoundException", "no control %q", e.RoutingControlArn)
			}
			next[e.RoutingControlArn] = e.RoutingControlState == "On"
		}
		on := 0
		for _, is := range next {
			if is {
				on++
			}
		}
		if on == 0 || !s.changed.IsZero() && now.Sub(s.changed) < s.Rest {
			return nil, refuse("ConflictException", "a safety rule forbids it")
		}
		s.On, s.changed = next, now
		s.Updates = append(s.Updates, t.UpdateRoutingControlStateEntries)
		return map[string]string{}, nil
	}
	return nil, refuse("ValidationException", "no operation %q", c.Action)
}

func word(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}

func (s *Routing) write(rw http.ResponseWriter, _ Call, out any) { writeJSON(rw, "1.0", out) }

func (s *Routing) fail(rw http.ResponseWriter, f *failure) { failJSON(rw, "1.0", f) }

func writeJSON(rw http.ResponseWriter, version string, v any) {
	rw.Header().Set("Content-Type", "application/x-amz-json-"+version)
	_ = json.NewEncoder(rw).Encode(v)
}

func failJSON(rw http.ResponseWriter, version string, f *failure) {
	rw.Header().Set("Content-Type", "application/x-amz-json-"+version)
	rw.WriteHeader(f.status)
	_ = json.NewEncoder(rw).Encode(map[string]string{"__type": f.code, "message": strings.Join(f.messages, "; ")})
}

// params is the store of parameters of SSM.
type params World

type parameter struct {
	Name, Value, Type string
	Names             []string
	Overwrite         bool
}

func (s *params) understand(r *http.Request, body []byte) (Call, any, error) {
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
	if !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		return Call{}, nil, fmt.Errorf("%s with target %q is nothing", r.Method, r.Header.Get("X-Amz-Target"))
	}
	var in parameter
	if err := json.Unmarshal(body, &in); err != nil {
		return Call{}, nil, err
	}
	c := Call{Action: action, Names: append([]string(nil), in.Names...)}
	if in.Name != "" {
		c.Names = append(c.Names, in.Name)
	}
	return c, in, nil
}

func (s *params) do(c Call, in any, _ time.Time) (any, *failure) {
	p := in.(parameter)
	switch c.Action {
	case "GetParameters":
		found, missing := []parameter{}, []string{}
		for _, name := range p.Names {
			if v, ok := s.Params[name]; ok {
				found = append(found, parameter{Name: name, Value: v, Type: "String"})
			} else {
				missing = append(missing, name)
			}
		}
		return map[string]any{"Parameters": found, "InvalidParameters": missing}, nil
	case "PutParameter":
		if _, ok := s.Params[p.Name]; ok && !p.Overwrite {
			return nil, refuse("ParameterAlreadyExists", "it exists")
		}
		if s.Params == nil {
			s.Params = map[string]string{}
		}
		s.Params[p.Name] = p.Value
		return map[string]any{"Version": 1}, nil
	}
	return nil, refuse("ValidationException", "no operation %q", c.Action)
}

func (s *params) write(rw http.ResponseWriter, _ Call, out any) { writeJSON(rw, "1.1", out) }

func (s *params) fail(rw http.ResponseWriter, f *failure) { failJSON(rw, "1.1", f) }
