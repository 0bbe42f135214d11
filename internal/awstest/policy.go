package awstest

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Permits evaluates a policy of IAM as far as ours go: statements that allow, of actions and
// resources, with conditions of ForAllValues:StringEquals. What it does not know denies.
func Permits(policy []byte, call Call) bool {
	var p struct {
		Statement []struct {
			Effect           string
			Action, Resource any
			Condition        map[string]map[string]any
		}
	}
	if json.Unmarshal(policy, &p) != nil {
		return false
	}
	service := call.Service
	if service == "monitoring" {
		service = "cloudwatch"
	}
	resources := call.resources()
	allowed := map[string]bool{}
	for _, resource := range resources {
		for _, s := range p.Statement {
			if s.Effect == "Allow" && matches(s.Action, service+":"+call.Action) && matches(s.Resource, resource) && call.meets(s.Condition) {
				allowed[resource] = true
			}
		}
	}
	return len(allowed) == len(resources)
}

// matches reports whether one of some patterns, in which only a star is special, has a name.
func matches(patterns any, name string) bool {
	return slices.ContainsFunc(list(patterns), func(pattern string) bool {
		// A star stands for slashes too.
		ok, err := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(name, "/", ":"))
		return err == nil && ok
	})
}

// list reads what may be one string or several.
func list(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, s := range v {
			if s, ok := s.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// resources are those that a call needs a right to, in the account 123456789012.
func (c Call) resources() []string {
	switch {
	case c.Service == "ssm":
		var out []string
		for _, name := range c.Names {
			out = append(out, fmt.Sprintf("arn:aws:ssm:%s:123456789012:parameter%s", c.Region, name))
		}
		return out
	case c.Service == "dynamodb":
		return []string{"arn:aws:dynamodb:" + c.Region + ":123456789012:table/" + strings.Join(c.Names, "")}
	case c.Action == "UpdateRoutingControlStates":
		return slices.Compact(slices.Sorted(slices.Values(c.Names)))
	case c.Action == "FailoverGlobalReplicationGroup":
		out := []string{c.Resource}
		for _, name := range c.Names {
			out = append(out, "arn:aws:elasticache:"+c.Region+":123456789012:replicationgroup:"+name)
		}
		return out
	case c.Resource != "":
		return []string{c.Resource}
	}
	return []string{"any"}
}

// meets reports whether all conditions of a statement hold for a call.
func (c Call) meets(condition map[string]map[string]any) bool {
	for operator, keys := range condition {
		if operator != "ForAllValues:StringEquals" {
			return false
		}
		for key, allowed := range keys {
			have, ok := map[string][]string{
				"route53:ChangeResourceRecordSetsNormalizedRecordNames": c.Names,
				"route53:ChangeResourceRecordSetsRecordTypes":           c.Types,
				"route53:ChangeResourceRecordSetsActions":               c.Actions,
			}[key]
			if !ok || slices.ContainsFunc(have, func(v string) bool { return !slices.Contains(list(allowed), v) }) {
				return false
			}
		}
	}
	return true
}
