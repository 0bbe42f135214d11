package cfn

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MostBytes is how large a template may be that is sent with a request, and not put into a bucket first.
const MostBytes = 51_200

// A Template is one that could be read. Goroutines may share it.
type Template struct {
	parameters []*Parameter
	conditions []field
	mappings   []field
	resources  []*resource
	outputs    []field
}

// A Parameter of a template.
type Parameter struct {
	// Name of the parameter.
	Name string
	// Type is String, Number, a list, or an ID of something of AWS's.
	Type string
	// Default is what it is if nobody says otherwise; HasDefault whether there is one.
	Default    string
	HasDefault bool
	// Allowed are the values that it may have; empty: any.
	Allowed []string

	line    int
	pattern *regexp.Regexp
	secret  bool // NoEcho
}

// list reports whether a parameter is several values.
func (p *Parameter) list() bool {
	return p.Type == "CommaDelimitedList" || strings.HasPrefix(p.Type, "List<") || strings.HasPrefix(p.Type, "AWS::SSM::Parameter::Value<List<")
}

// A resource of a template.
type resource struct {
	name, kind string
	line       int
	condition  string
	body       *value // all of it
	properties *value // nil: none
	depends    []string
}

// Read reads a template. It fails with Faults where it can't tell what is meant; Check finds all else.
func Read(text []byte) (*Template, error) {
	r := &reader{}
	if len(text) > MostBytes {
		r.add(0, "size", "", "%d bytes; at most %d may be", len(text), MostBytes)
		return nil, r.faults
	}
	root := r.document(text)
	if len(r.faults) > 0 {
		return nil, r.sorted()
	}
	t := &Template{}
	r.sections(t, root)
	if len(r.faults) > 0 {
		return nil, r.sorted()
	}
	return t, nil
}

var lineOf = regexp.MustCompile(`^yaml: line (\d+): `)

func (r *reader) document(text []byte) *value {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	err := in.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		r.add(0, "syntax", "", "the template is empty")
		return nil
	case err != nil:
		line := 0
		if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // it matched digits
		}
		r.add(line, "syntax", "", "this is no YAML: %v", err)
		return nil
	}
	if err := in.Decode(&next); !errors.Is(err, io.EOF) {
		r.add(next.Line, "syntax", "", "a second document begins")
		return nil
	}
	v := r.read(doc.Content[0], "", 0)
	if v.kind != dict {
		r.add(v.line, "syntax", "", "a template is a mapping")
		return nil
	}
	return v
}

// sections takes a template apart.
func (r *reader) sections(t *Template, root *value) {
	for _, f := range root.fields {
		switch f.key {
		case "AWSTemplateFormatVersion":
			if f.value.text != "2010-09-09" {
				r.add(f.line, "section", f.key, `the one version that there is, is "2010-09-09"`)
			}
		case "Description":
			if f.value.kind != scalar || len(f.value.text) > 1024 {
				r.add(f.line, "section", f.key, "is a text of at most 1024 bytes")
			}
		case "Metadata":
		case "Parameters":
			for _, p := range r.entries(f) {
				t.parameters = append(t.parameters, r.parameter(p))
			}
		case "Mappings":
			t.mappings = r.entries(f)
		case "Conditions":
			t.conditions = r.entries(f)
		case "Resources":
			for _, e := range r.entries(f) {
				t.resources = append(t.resources, r.resource(e))
			}
		case "Outputs":
			t.outputs = r.entries(f)
		default:
			r.add(f.line, "section", f.key, "there is no such section")
		}
	}
	if len(t.resources) == 0 {
		r.add(root.line, "section", "Resources", "there are none")
	}
}

var logicalName = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)

// entries are those of a section.
func (r *reader) entries(f field) []field {
	if f.value.kind != dict {
		r.add(f.line, "section", f.key, "is no mapping")
		return nil
	}
	for _, e := range f.value.fields {
		if !logicalName.MatchString(e.key) {
			r.add(e.line, "name", f.key+"."+e.key, "names are letters and digits")
		}
	}
	return f.value.fields
}

func (r *reader) parameter(f field) *Parameter {
	path := "Parameters." + f.key
	p := &Parameter{Name: f.key, line: f.line}
	for _, k := range f.value.fields {
		text, ok := k.value.plain()
		switch k.key {
		case "Type":
			p.Type = text
		case "Default":
			p.Default, p.HasDefault = text, ok
		case "AllowedValues":
			for _, i := range k.value.items {
				p.Allowed = append(p.Allowed, i.text)
			}
		case "AllowedPattern":
			// The whole value has to match, in Java's words; those used here mean the same in Go's.
			re, err := regexp.Compile("^(?:" + text + ")$")
			if err != nil {
				r.add(k.line, "parameter", path, "its pattern is none: %v", err)
			}
			p.pattern = re
		case "NoEcho":
			p.secret = text == "true"
		case "ConstraintDescription", "Description", "MaxLength", "MinLength", "MaxValue", "MinValue":
		default:
			r.add(k.line, "parameter", path+"."+k.key, "there is no such key")
		}
	}
	if p.Type == "" {
		r.add(f.line, "parameter", path, "has no type")
	}
	r.standard(p, path)
	return p
}

// standard judges a parameter's default by the parameter's own rules.
func (r *reader) standard(p *Parameter, path string) {
	if !p.HasDefault {
		return
	}
	if len(p.Allowed) > 0 && !slices.Contains(p.Allowed, p.Default) {
		r.add(p.line, "parameter", path, "its default %q is none of its allowed values", p.Default)
	}
	if p.pattern != nil && !p.pattern.MatchString(p.Default) {
		r.add(p.line, "parameter", path, "its default %q does not match its pattern", p.Default)
	}
	if p.Type == "Number" {
		if _, err := strconv.ParseFloat(p.Default, 64); err != nil {
			r.add(p.line, "parameter", path, "its default %q is no number", p.Default)
		}
	}
}

func (r *reader) resource(f field) *resource {
	path := "Resources." + f.key
	out := &resource{name: f.key, line: f.line, body: f.value}
	if f.value.kind != dict {
		r.add(f.line, "section", path, "is no mapping")
		return out
	}
	for _, k := range f.value.fields {
		switch k.key {
		case "Type":
			out.kind, _ = k.value.plain()
		case "Properties":
			out.properties = k.value
		case "Condition":
			out.condition, _ = k.value.plain()
		case "DependsOn":
			for _, i := range append([]*value{k.value}, k.value.items...) {
				if name, ok := i.plain(); ok {
					out.depends = append(out.depends, name)
				}
			}
		case "DeletionPolicy", "UpdateReplacePolicy":
			may := []string{"Retain", "Delete", "Snapshot", "RetainExceptOnCreate"}
			if text, ok := k.value.plain(); !ok || !slices.Contains(may, text) {
				r.add(k.line, "policy", path+"."+k.key, "want one of %v, as a word: no function is taken here", may)
			}
		case "Metadata", "UpdatePolicy", "CreationPolicy":
		default:
			r.add(k.line, "section", path+"."+k.key, "there is no such key of a resource")
		}
	}
	if out.kind == "" {
		r.add(f.line, "section", path, "has no type")
	}
	return out
}

// Parameters returns the template's parameters, as they stand in it.
func (t *Template) Parameters() []Parameter {
	var out []Parameter
	for _, p := range t.parameters {
		out = append(out, *p)
	}
	return out
}

// Outputs returns the names of the template's outputs.
func (t *Template) Outputs() []string {
	var out []string
	for _, f := range t.outputs {
		out = append(out, f.key)
	}
	return out
}

// Types returns the types of the template's resources, each once.
func (t *Template) Types() []string {
	var out []string
	for _, r := range t.resources {
		if !slices.Contains(out, r.kind) {
			out = append(out, r.kind)
		}
	}
	return out
}

func (t *Template) parameter(name string) *Parameter {
	for _, p := range t.parameters {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (t *Template) resource(name string) *resource {
	for _, r := range t.resources {
		if r.name == name {
			return r
		}
	}
	return nil
}

func (t *Template) condition(name string) *value {
	for _, f := range t.conditions {
		if f.key == name {
			return f.value
		}
	}
	return nil
}

// of returns the resources of a type.
func (t *Template) of(kind string) []*resource {
	var out []*resource
	for _, r := range t.resources {
		if r.kind == kind {
			out = append(out, r)
		}
	}
	return out
}
