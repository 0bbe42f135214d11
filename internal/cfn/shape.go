package cfn

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A fitter compares resources with what their types take.
type fitter struct {
	*report
	t    *Template
	spec *Spec
}

func (t *Template) fit(r *report, spec *Spec) {
	f := &fitter{report: r, t: t, spec: spec}
	for _, res := range t.resources {
		path := "Resources." + res.name
		kind, ok := spec.Types[res.kind]
		if !ok {
			f.add(res.line, "unknown-type", path, "there is no type %s (in the slice of the schemas; tools/cfnspec/types.txt says which it has)", res.kind)
			continue
		}
		properties := res.properties
		if properties == nil {
			properties = &value{kind: dict, line: res.line}
		}
		f.object(properties, kind, path+".Properties")
	}
}

// object compares a mapping with a type.
func (f *fitter) object(v *value, kind Type, path string) {
	if v.kind != dict {
		f.add(v.line, "shape", path, "want a mapping")
		return
	}
	for _, p := range v.fields {
		at := path + "." + p.key
		property, ok := kind.Properties[p.key]
		switch _, readOnly := kind.Attributes[p.key]; {
		case ok:
			f.value(p.value, property.Shape, at)
		case readOnly:
			f.add(p.line, "read-only", at, "AWS says it, and nobody sets it")
		default:
			hint := ""
			if near := nearest(kind.Properties, p.key); near != "" {
				hint = "; did you mean " + near + "?"
			}
			f.add(p.line, "unknown-property", at, "there is no such property%s", hint)
		}
	}
	for name, property := range kind.Properties {
		if !property.Required {
			continue
		}
		is := v.get(name)
		switch {
		case is == nil:
			f.add(v.line, "required", path+"."+name, "is missing")
		case absent(is):
			f.add(is.line, "required", path+"."+name, "must be there, and a condition takes it away")
		}
	}
}

// absent reports whether a value can be nothing.
func absent(v *value) bool {
	if v.isNone() {
		return true
	}
	if v.kind == call && v.fn == "Fn::If" && v.arg.kind == list && len(v.arg.items) == 3 {
		return absent(v.arg.items[1]) || absent(v.arg.items[2])
	}
	return false
}

// value compares a value with a shape.
func (f *fitter) value(v *value, s Shape, path string) {
	for _, o := range v.outcomes() {
		if s.Is == "union" {
			f.union(o, s, path)
			continue
		}
		if o.kind == call {
			f.call(o, s, path)
			continue
		}
		switch s.Is {
		case "string", "integer", "number", "boolean":
			f.primitive(o, s, path)
		case "array":
			f.array(o, s, path)
		case "map":
			f.dictionary(o, s, path)
		case "ref":
			f.object(o, f.spec.Definitions[s.Ref], path)
		case "tag":
			f.tag(o, path)
		}
	}
}

// union wants one of several shapes to do. If none does, the nearest one's faults are told.
func (f *fitter) union(v *value, s Shape, path string) {
	var least Faults
	for i, one := range s.Any {
		try := &fitter{report: &report{}, t: f.t, spec: f.spec}
		try.value(v, one, path)
		if len(try.faults) == 0 {
			return
		}
		if i == 0 || len(try.faults) < len(least) {
			least = try.faults
		}
	}
	for _, fault := range least {
		f.add(fault.Line, fault.Rule, fault.Path, "%s", fault.What)
	}
}

func (f *fitter) array(v *value, s Shape, path string) {
	if v.kind != list {
		f.add(v.line, "shape", path, "want a list")
		return
	}
	for i, item := range v.items {
		f.value(item, *s.Of, path+"["+digits(i)+"]")
	}
}

func (f *fitter) dictionary(v *value, s Shape, path string) {
	if v.kind != dict {
		f.add(v.line, "shape", path, "want a mapping")
		return
	}
	for _, e := range v.fields {
		f.value(e.value, *s.Of, path+"."+e.key)
	}
}

func (f *fitter) tag(v *value, path string) {
	if v.kind != dict || v.get("Key") == nil || v.get("Value") == nil || len(v.fields) != 2 {
		f.add(v.line, "shape", path, "a tag has a Key and a Value")
		return
	}
	f.value(v.get("Key"), Shape{Is: "string"}, path+".Key")
	f.value(v.get("Value"), Shape{Is: "string"}, path+".Value")
}

// primitive compares a scalar.
func (f *fitter) primitive(v *value, s Shape, path string) {
	if v.kind != scalar {
		f.add(v.line, "shape", path, "want a %s", s.Is)
		return
	}
	if v.tag == "!!null" {
		f.add(v.line, "shape", path, "has no value; CloudFormation takes no null")
		return
	}
	if what := misfit(v.text, s); what != "" {
		f.add(v.line, "value", path, "%s", what)
	}
}

// misfit says why a text is not of a shape; empty if it is.
func misfit(text string, s Shape) string {
	ok := true
	switch s.Is {
	case "integer":
		_, err := strconv.ParseInt(text, 10, 64)
		ok = err == nil
	case "number":
		_, err := strconv.ParseFloat(text, 64)
		ok = err == nil
	case "boolean":
		ok = text == "true" || text == "false"
	case "string":
		if len(s.Values) > 0 && !slices.Contains(s.Values, text) {
			return strconv.Quote(text) + " is none of " + strings.Join(s.Values, ", ")
		}
		if s.Pattern != "" {
			// Patterns are JavaScript's: what Go can't read is not judged.
			if re, err := regexp.Compile(s.Pattern); err == nil && !re.MatchString(text) {
				return strconv.Quote(text) + " does not match " + s.Pattern
			}
		}
	}
	if !ok {
		return strconv.Quote(text) + " is no " + s.Is
	}
	return ""
}

// call compares what a function returns with a shape.
func (f *fitter) call(v *value, s Shape, path string) {
	returns, many := f.returns(v)
	switch {
	case returns == "anything":
	case s.Is == "array" && !many:
		f.add(v.line, "shape", path, "want a list, and %s is %s", v.fn, returns)
	case s.Is != "array" && s.Is != "json" && many:
		f.add(v.line, "shape", path, "want a %s, and %s is a list", s.Is, v.fn)
	case s.Is == "ref" || s.Is == "map" || s.Is == "tag":
		f.add(v.line, "shape", path, "want a mapping, and %s is %s", v.fn, returns)
	}
	if v.fn == "Ref" && !many {
		name, _ := v.arg.plain()
		f.parameter(f.t.parameter(name), s, v.line, path)
	}
	if v.fn == "Fn::Sub" && s.Is == "integer" || v.fn == "Fn::Sub" && s.Is == "boolean" {
		f.add(v.line, "shape", path, "want a %s, and Fn::Sub is a text", s.Is)
	}
}

// parameter compares what a parameter can be with a shape.
func (f *fitter) parameter(p *Parameter, s Shape, line int, path string) {
	if p == nil {
		return
	}
	for _, text := range p.Allowed {
		if what := misfit(text, s); what != "" {
			f.add(line, "value", path, "parameter %s may be: %s", p.Name, what)
		}
	}
	numeric := s.Is == "integer" || s.Is == "number"
	switch {
	case len(p.Allowed) > 0:
	case numeric && p.Type != "Number":
		f.add(line, "value", path, "want a %s, and parameter %s is a %s", s.Is, p.Name, p.Type)
	case s.Is == "boolean" && p.Type != "Number":
		f.add(line, "value", path, "want true or false: say so in AllowedValues of parameter %s", p.Name)
	case p.HasDefault && p.Default != "" && !numeric:
		if what := misfit(p.Default, s); what != "" {
			f.add(line, "value", path, "parameter %s is by default: %s", p.Name, what)
		}
	}
}

// returns says what a function returns, and whether that is a list.
func (f *fitter) returns(v *value) (what string, many bool) {
	switch v.fn {
	case "Ref":
		name, _ := v.arg.plain()
		if p := f.t.parameter(name); p != nil && p.list() || name == "AWS::NotificationARNs" {
			return "a list", true
		}
		return "one value", false
	case "Fn::GetAZs", "Fn::Split", "Fn::Cidr":
		return "a list", true
	case "Fn::GetAtt":
		name, attribute := v.refers()
		if res := f.t.resource(name); res != nil {
			shape, ok := f.spec.Types[res.kind].attribute(attribute)
			switch {
			case ok && shape.Is == "array":
				return "a list", true
			case ok && shape.Is != "ref" && shape.Is != "json" && shape.Is != "map":
				return "one value", false
			}
		}
		return "anything", false
	case "Fn::Sub", "Fn::Join", "Fn::Base64":
		return "a text", false
	}
	return "anything", false // Select, FindInMap, ImportValue, GetStackOutput
}
