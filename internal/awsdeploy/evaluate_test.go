package awsdeploy

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A scope is what the words of a template mean in a stack.
type scope struct {
	stack      *fakeStack
	conditions map[string]*yaml.Node
}

func scopeOf(s *fakeStack) (scope, map[string]*yaml.Node) {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(s.template), &doc) != nil || len(doc.Content) == 0 {
		return scope{stack: s}, nil
	}
	top := pairs(doc.Content[0])
	sc := scope{stack: s, conditions: map[string]*yaml.Node{}}
	if c := top["Conditions"]; c != nil {
		sc.conditions = pairs(c)
	}
	return sc, top
}

// outputs returns the outputs of a stack with their values.
func (f *formation) outputs(s *fakeStack) (out [][2]string) {
	sc, top := scopeOf(s)
	section := top["Outputs"]
	for i := 0; section != nil && i+1 < len(section.Content); i += 2 {
		about := pairs(section.Content[i+1])
		if c := about["Condition"]; c != nil && !sc.holds(c.Value) {
			continue
		}
		out = append(out, [2]string{section.Content[i].Value, sc.value(about["Value"])})
	}
	return out
}

// property returns a property of a resource of a stack as text; empty: it has none.
func property(s *fakeStack, resource, name string) string {
	sc, top := scopeOf(s)
	if top["Resources"] == nil {
		return ""
	}
	r := pairs(top["Resources"])[resource]
	if r == nil {
		return ""
	}
	p := pairs(r)["Properties"]
	if p == nil || pairs(p)[name] == nil {
		return ""
	}
	return sc.value(pairs(p)[name])
}

// wanted reports whether a resource's condition holds.
func (sc scope) wants(resource string) bool {
	_, top := scopeOf(sc.stack)
	c := pairs(pairs(top["Resources"])[resource])["Condition"]
	return c == nil || sc.holds(c.Value)
}

func (sc scope) holds(name string) bool {
	n := sc.conditions[name]
	return n != nil && sc.value(n) == "true"
}

var placeholder = regexp.MustCompile(`\$\{([^}!]+)\}`)

// value evaluates what stands in a template, as far as ours go. Lists are texts with commas between.
func (sc scope) value(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	var all []string
	for _, c := range n.Content {
		all = append(all, sc.value(c))
	}
	switch n.Tag {
	case "!Ref":
		return sc.ref(n.Value)
	case "!GetAtt":
		name, attribute, _ := strings.Cut(n.Value, ".")
		if r := sc.stack.resource(name); r != nil && attribute == "GlobalReplicationGroupId" {
			return r.id
		}
		return sc.ref(name) + "." + attribute
	case "!Sub":
		if n.Kind != yaml.ScalarNode {
			return strings.Join(all, ",")
		}
		return placeholder.ReplaceAllStringFunc(n.Value, func(s string) string { return sc.ref(s[2 : len(s)-1]) })
	case "!If":
		if sc.holds(n.Content[0].Value) {
			return all[1]
		}
		return all[2]
	}
	if n.Kind == yaml.ScalarNode && n.Tag != "!Condition" {
		return n.Value
	}
	return sc.judged(n, all)
}

// judged evaluates conditions, and lists.
func (sc scope) judged(n *yaml.Node, all []string) string {
	switch n.Tag {
	case "!Equals":
		return fmt.Sprint(all[0] == all[1])
	case "!Not":
		return fmt.Sprint(all[0] != "true")
	case "!And":
		return fmt.Sprint(!strings.Contains(strings.Join(all, ","), "false"))
	case "!Or":
		return fmt.Sprint(strings.Contains(strings.Join(all, ","), "true"))
	case "!Condition":
		return fmt.Sprint(sc.holds(n.Value))
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "Condition" {
		return fmt.Sprint(sc.holds(n.Content[1].Value))
	}
	return strings.Join(all, ",")
}

func (sc scope) ref(name string) string {
	switch name {
	case "AWS::Region":
		return sc.stack.region
	case "AWS::AccountId":
		return account
	case "AWS::Partition":
		return "aws"
	case "AWS::StackName":
		return sc.stack.name
	}
	if v, ok := sc.stack.parameters[name]; ok {
		return v
	}
	if base, attribute, ok := strings.Cut(name, "."); ok {
		return sc.ref(base) + "." + attribute
	}
	if r := sc.stack.resource(name); r != nil {
		return r.id
	}
	return "no-" + name
}
