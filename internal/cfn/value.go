package cfn

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// A kind is what a value is.
type kind uint8

const (
	scalar kind = iota
	list
	dict
	call // of a function: Ref, Fn::Sub
)

// A value is a place in a template.
type value struct {
	kind   kind
	line   int
	text   string // of a scalar
	tag    string // of a scalar: !!str, !!int, !!bool, …
	below  bool   // of a scalar: it begins in the next line, as a block
	items  []*value
	fields []field
	fn     string // of a call: Ref, Condition, Fn::If
	arg    *value
}

type field struct {
	key   string
	line  int
	value *value
}

// get returns what a dict has behind a key; nil if nothing.
func (v *value) get(key string) *value {
	if v == nil || v.kind != dict {
		return nil
	}
	for _, f := range v.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// at goes down several keys.
func (v *value) at(keys ...string) *value {
	for _, k := range keys {
		v = v.get(k)
	}
	return v
}

// plain returns a scalar's text.
func (v *value) plain() (string, bool) {
	if v == nil || v.kind != scalar {
		return "", false
	}
	return v.text, true
}

// each calls yield for a value and all that is in it.
func (v *value) each(yield func(*value)) {
	if v == nil {
		return
	}
	yield(v)
	for _, i := range v.items {
		i.each(yield)
	}
	for _, f := range v.fields {
		f.value.each(yield)
	}
	v.arg.each(yield)
}

// outcomes are all that a value can become by its conditions, with NoValue left out.
func (v *value) outcomes() []*value {
	switch {
	case v == nil || v.isNone():
		return nil
	case v.kind == call && v.fn == "Fn::If" && v.arg.kind == list && len(v.arg.items) == 3:
		return append(v.arg.items[1].outcomes(), v.arg.items[2].outcomes()...)
	}
	return []*value{v}
}

// elements are all that can be elements of a list.
func (v *value) elements() []*value {
	var out []*value
	for _, o := range v.outcomes() {
		if o.kind != list {
			out = append(out, o) // a list that is a parameter, or one that may be written without brackets
			continue
		}
		for _, i := range o.items {
			out = append(out, i.outcomes()...)
		}
	}
	return out
}

// isNone reports whether a value takes what it stands behind away.
func (v *value) isNone() bool {
	if v == nil || v.kind != call || v.fn != "Ref" {
		return false
	}
	name, ok := v.arg.plain()
	return ok && name == "AWS::NoValue"
}

// refers returns what a Ref, a Fn::GetAtt or a Fn::Sub of one name alone leads to.
func (v *value) refers() (name, attribute string) {
	if v == nil || v.kind != call {
		return "", ""
	}
	switch v.fn {
	case "Ref":
		name, _ = v.arg.plain()
	case "Fn::GetAtt":
		if v.arg.kind == list && len(v.arg.items) == 2 {
			name, _ = v.arg.items[0].plain()
			attribute, _ = v.arg.items[1].plain()
		}
	}
	return name, attribute
}

// functions are the short names of those there are.
func functions() []string {
	return []string{
		"Sub", "GetAtt", "If", "Not", "And", "Or", "Equals", "Join", "Select", "Split", "FindInMap", "Base64", "Cidr", "GetAZs",
		"ImportValue", "GetStackOutput",
	}
}

// fullName returns a function by its short tag or its long key; empty if it is none.
func fullName(name string) string {
	if name == "Ref" || name == "Condition" {
		return name
	}
	short := strings.TrimPrefix(name, "Fn::")
	for _, f := range functions() {
		if f == short {
			return "Fn::" + f
		}
	}
	return ""
}

// mostDepth bounds how deep a template goes.
const mostDepth = 60

// A reader makes values of YAML.
type reader struct{ report }

func (r *reader) read(n *yaml.Node, path string, depth int) *value {
	if depth > mostDepth {
		r.add(n.Line, "too-deep", path, "goes deeper than %d", mostDepth)
		return &value{line: n.Line}
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.add(n.Line, "alias", path, "CloudFormation takes no anchors and aliases")
		return &value{line: n.Line}
	}
	if tag := n.Tag; strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
		fn := fullName(tag[1:])
		if fn == "" || strings.HasPrefix(tag, "!Fn::") {
			r.add(n.Line, "unknown-function", path, "there is no function %s", tag)
			return &value{line: n.Line}
		}
		plain := *n
		plain.Tag = ""
		return r.function(fn, n.Line, r.bare(&plain, path, depth))
	}
	return r.bare(n, path, depth)
}

// bare reads a node that has no tag of a function.
func (r *reader) bare(n *yaml.Node, path string, depth int) *value {
	v := &value{line: n.Line}
	switch n.Kind {
	case yaml.ScalarNode:
		v.text, v.tag = n.Value, n.ShortTag()
		v.below = n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	case yaml.SequenceNode:
		v.kind = list
		for _, c := range n.Content {
			v.items = append(v.items, r.read(c, path, depth+1))
		}
	case yaml.MappingNode:
		v.kind = dict
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := path + "." + key.Value
			if path == "" {
				at = key.Value
			}
			if v.get(key.Value) != nil {
				r.add(key.Line, "twice", at, "is there twice")
				continue
			}
			v.fields = append(v.fields, field{key.Value, key.Line, r.read(n.Content[i+1], at, depth+1)})
		}
		// The long form of a function is a dict of one key. So is {Condition: Name}, where the key means
		// a condition only among conditions: who reads those looks.
		if len(v.fields) == 1 && v.fields[0].key != "Condition" {
			f := v.fields[0]
			if fn := fullName(f.key); fn != "" && (fn == f.key) {
				return r.function(fn, f.line, f.value)
			}
			if strings.HasPrefix(f.key, "Fn::") {
				r.add(f.line, "unknown-function", path, "there is no function %s", f.key)
			}
		}
	default:
		r.add(n.Line, "syntax", path, "is nothing that a template can have here")
	}
	return v
}

// function is a call. GetAtt's argument may be Name.Attribute.
func (r *reader) function(fn string, line int, arg *value) *value {
	if fn == "Fn::GetAtt" && arg.kind == scalar {
		name, attribute, _ := strings.Cut(arg.text, ".")
		arg = &value{kind: list, line: line, items: []*value{
			{line: line, text: name, tag: "!!str"}, {line: line, text: attribute, tag: "!!str"},
		}}
	}
	return &value{kind: call, line: line, fn: fn, arg: arg}
}
