package cfn

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A Spec says what resources take: a slice of AWS's schemas, as tools/cfnspec makes it.
type Spec struct {
	// Version is that of the package that it is a slice of.
	Version string `json:"version"`
	// Types by their names: AWS::EC2::VPC.
	Types map[string]Type `json:"types"`
	// Definitions are what properties are made of, by their numbers.
	Definitions map[string]Type `json:"definitions"`
}

// A Type is a resource's, or a part of one.
type Type struct {
	// Attributes are what Fn::GetAtt can ask of a resource.
	Attributes map[string]Shape `json:"attributes,omitempty"`
	// Properties by their names.
	Properties map[string]Property `json:"properties"`
}

// A Property is one of a type.
type Property struct {
	// Shape is what it may be.
	Shape
	// Required says that it must be there.
	Required bool `json:"required,omitempty"`
	// Replace is yes or maybe where changing it makes another resource in the old one's place.
	Replace string `json:"replace,omitempty"`
}

// A Shape is what a value may be.
type Shape struct {
	// Is string, integer, number, boolean, json, tag, array, map, ref, union, or something that is not judged.
	Is string `json:"is"`
	// Of is what an array or a map has.
	Of *Shape `json:"of,omitempty"`
	// Ref is the number of a definition.
	Ref string `json:"ref,omitempty"`
	// Any are those of a union.
	Any []Shape `json:"any,omitempty"`
	// Values are those that a string may have; empty: any.
	Values []string `json:"values,omitempty"`
	// Pattern of a string, where the schemas have one.
	Pattern string `json:"pattern,omitempty"`
}

// ParseSpec reads a slice. It fails if that is none, or if a part refers to a part that is not there.
func ParseSpec(text []byte) (*Spec, error) {
	var s Spec
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("read the slice of schemas: %w", err)
	}
	if len(s.Types) == 0 || s.Version == "" {
		return nil, fmt.Errorf("read the slice of schemas: it has %d types and version %q", len(s.Types), s.Version)
	}
	for _, types := range []map[string]Type{s.Types, s.Definitions} {
		for name, t := range types {
			for p, property := range t.Properties {
				if missing := s.missing(property.Shape, 0); missing != "" {
					return nil, fmt.Errorf("read the slice of schemas: %s.%s: %s", name, p, missing)
				}
			}
		}
	}
	return &s, nil
}

// missing says what a shape needs and has not.
func (s *Spec) missing(shape Shape, depth int) string {
	switch {
	case depth > mostDepth:
		return "it is too deep"
	case shape.Is == "ref":
		if _, ok := s.Definitions[shape.Ref]; !ok {
			return "there is no definition " + shape.Ref
		}
	case shape.Is == "array" || shape.Is == "map":
		if shape.Of == nil {
			return "nobody says of what it is an " + shape.Is
		}
		return s.missing(*shape.Of, depth+1)
	}
	for _, one := range shape.Any {
		if missing := s.missing(one, depth+1); missing != "" {
			return missing
		}
	}
	return ""
}

// attribute returns what a resource's attribute is. Structured ones can be asked for by their parts.
func (t Type) attribute(name string) (Shape, bool) {
	shape, ok := t.Attributes[name]
	return shape, ok
}

// nearest returns the attribute or property that differs in case alone.
func nearest[V any](names map[string]V, name string) string {
	for n := range names {
		if strings.EqualFold(n, name) {
			return n
		}
	}
	return ""
}
