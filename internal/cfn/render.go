package cfn

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Stack is where a template is rendered.
type Stack struct {
	// Name of the stack.
	Name string
	// Region, Account and Partition that it is in. Default partition: aws.
	Region, Account, Partition string
	// Parameters by their names; those that have a default may be left out.
	Parameters map[string]string
	// Attribute returns what Ref (with attribute "") and Fn::GetAtt of a resource are. Nil: "Cache",
	// "Cache.Arn".
	Attribute func(resource, attribute string) string
}

// A Rendered template is one without functions and conditions. Values are strings, []any and map[string]any.
type Rendered struct {
	// Resources that there are.
	Resources map[string]Resource
	// Outputs that there are.
	Outputs map[string]any
}

// A Resource is one of a rendered template.
type Resource struct {
	// Type is CloudFormation's: AWS::EC2::VPC.
	Type string
	// Properties of the resource.
	Properties map[string]any
}

// none is what Ref of AWS::NoValue is.
type none struct{}

// A renderer evaluates functions.
type renderer struct {
	report
	t          *Template
	s          Stack
	parameters map[string]string
	judging    map[string]bool // conditions that are being evaluated
	judged     map[string]bool // and what came of those that were
}

// Render evaluates a template as CloudFormation would, once it has made all resources. It fails with Faults: a
// parameter that is missing or is not allowed, a function that it can't evaluate.
func (t *Template) Render(s Stack) (Rendered, error) {
	if s.Partition == "" {
		s.Partition = "aws"
	}
	if s.Attribute == nil {
		s.Attribute = func(resource, attribute string) string {
			return strings.TrimSuffix(resource+"."+attribute, ".")
		}
	}
	r := &renderer{t: t, s: s, parameters: map[string]string{}, judging: map[string]bool{}, judged: map[string]bool{}}
	r.take()
	out := Rendered{Resources: map[string]Resource{}, Outputs: map[string]any{}}
	for _, res := range t.resources {
		if res.condition != "" && !r.named(res.condition, res.line) {
			continue
		}
		properties, _ := r.value(res.properties).(map[string]any)
		out.Resources[res.name] = Resource{Type: res.kind, Properties: properties}
	}
	for _, o := range t.outputs {
		if c, ok := o.value.get("Condition").plain(); ok && !r.named(c, o.line) {
			continue
		}
		out.Outputs[o.key] = r.value(o.value.get("Value"))
	}
	if len(r.faults) > 0 {
		return Rendered{}, r.sorted()
	}
	return out, nil
}

// take judges parameters.
func (r *renderer) take() {
	for name := range r.s.Parameters {
		if r.t.parameter(name) == nil {
			r.add(0, "parameter", "Parameters."+name, "the template has no such parameter")
		}
	}
	for _, p := range r.t.parameters {
		v, ok := r.s.Parameters[p.Name]
		if !ok {
			if !p.HasDefault {
				r.add(p.line, "parameter", "Parameters."+p.Name, "is needed")
				continue
			}
			v = p.Default
		}
		if len(p.Allowed) > 0 && !slices.Contains(p.Allowed, v) {
			r.add(p.line, "parameter", "Parameters."+p.Name, "%q is none of %v", v, p.Allowed)
		}
		if p.pattern != nil && !p.pattern.MatchString(v) {
			r.add(p.line, "parameter", "Parameters."+p.Name, "%q does not match %v", v, p.pattern)
		}
		if _, err := strconv.ParseFloat(v, 64); p.Type == "Number" && err != nil {
			r.add(p.line, "parameter", "Parameters."+p.Name, "%q is no number", v)
		}
		r.parameters[p.Name] = v
	}
}

// named evaluates a condition by its name.
func (r *renderer) named(name string, line int) bool {
	if is, ok := r.judged[name]; ok {
		return is
	}
	c := r.t.condition(name)
	if c == nil || r.judging[name] {
		r.add(line, "condition", "Conditions."+name, "can't be evaluated")
		return false
	}
	r.judging[name] = true
	r.judged[name] = r.holds(c)
	return r.judged[name]
}

// holds evaluates a condition.
func (r *renderer) holds(v *value) bool {
	if name, ok := conditionOf(v); ok {
		return r.named(name, v.line)
	}
	if v.kind != call || v.arg.kind != list {
		r.add(v.line, "condition", "Conditions", "is no condition")
		return false
	}
	parts := v.arg.items
	switch {
	case v.fn == "Fn::Equals" && len(parts) == 2:
		return fmt.Sprint(r.value(parts[0])) == fmt.Sprint(r.value(parts[1]))
	case v.fn == "Fn::Not" && len(parts) == 1:
		return !r.holds(parts[0])
	case v.fn == "Fn::And" || v.fn == "Fn::Or":
		for _, p := range parts {
			if r.holds(p) == (v.fn == "Fn::Or") {
				return v.fn == "Fn::Or"
			}
		}
		return v.fn == "Fn::And"
	}
	r.add(v.line, "condition", "Conditions", "%s is no condition", v.fn)
	return false
}

// value evaluates a value.
func (r *renderer) value(v *value) any {
	if v == nil {
		return map[string]any{}
	}
	switch v.kind {
	case scalar:
		return v.text
	case list:
		out := []any{}
		for _, i := range v.items {
			if e := r.value(i); e != (none{}) {
				out = append(out, e)
			}
		}
		return out
	case dict:
		out := map[string]any{}
		for _, f := range v.fields {
			if e := r.value(f.value); e != (none{}) {
				out[f.key] = e
			}
		}
		return out
	}
	return r.call(v)
}

func (r *renderer) call(v *value) any {
	switch v.fn {
	case "Ref":
		name, _ := v.arg.plain()
		return r.ref(name, v.line)
	case "Fn::GetAtt":
		name, attribute := v.refers()
		return r.s.Attribute(name, attribute)
	case "Fn::Sub":
		return r.sub(v)
	case "Fn::Base64":
		return base64.StdEncoding.EncodeToString([]byte(r.text(v.arg)))
	case "Fn::GetAZs":
		return []any{r.s.Region + "a", r.s.Region + "b", r.s.Region + "c"}
	}
	return r.several(v)
}

// several evaluates functions of several arguments.
func (r *renderer) several(v *value) any {
	n := 0
	if v.arg.kind == list {
		n = len(v.arg.items)
	}
	switch {
	case v.fn == "Fn::If" && n == 3:
		if name, _ := v.arg.items[0].plain(); r.named(name, v.line) {
			return r.value(v.arg.items[1])
		}
		return r.value(v.arg.items[2])
	case (v.fn == "Fn::Join" || v.fn == "Fn::Select" || v.fn == "Fn::Split") && n == 2:
		return r.pair(v)
	case v.fn == "Fn::Cidr" && n == 3:
		return r.cidr(v)
	case v.fn == "Fn::FindInMap" && n == 3:
		return r.find(v)
	}
	r.add(v.line, "function", v.fn, "can't be evaluated here")
	return ""
}

// text evaluates what must be a text.
func (r *renderer) text(v *value) string {
	s, ok := r.value(v).(string)
	if !ok {
		r.add(v.line, "shape", "", "want a text")
	}
	return s
}

func (r *renderer) ref(name string, line int) any {
	switch name {
	case "AWS::NoValue":
		return none{}
	case "AWS::Region":
		return r.s.Region
	case "AWS::AccountId":
		return r.s.Account
	case "AWS::Partition":
		return r.s.Partition
	case "AWS::StackName":
		return r.s.Name
	case "AWS::URLSuffix":
		return "amazonaws.com"
	case "AWS::StackId":
		return "arn:" + r.s.Partition + ":cloudformation:" + r.s.Region + ":" + r.s.Account + ":stack/" + r.s.Name + "/0"
	}
	if p := r.t.parameter(name); p != nil {
		if !p.list() {
			return r.parameters[name]
		}
		out := []any{}
		for part := range strings.SplitSeq(r.parameters[name], ",") {
			out = append(out, strings.TrimSpace(part))
		}
		return out
	}
	if r.t.resource(name) == nil {
		r.add(line, "reference", name, "there is no such thing")
	}
	return r.s.Attribute(name, "")
}

func (r *renderer) sub(v *value) any {
	text, names := subText(v)
	brought, _ := r.value(names).(map[string]any)
	out := placeholder.ReplaceAllStringFunc(text.text, func(m string) string {
		name := strings.TrimSpace(m[2 : len(m)-1])
		if b, ok := brought[name]; ok {
			return fmt.Sprint(b)
		}
		if resource, attribute, ok := strings.Cut(name, "."); ok {
			return r.s.Attribute(resource, attribute)
		}
		return fmt.Sprint(r.ref(name, v.line))
	})
	return strings.ReplaceAll(out, "${!", "${")
}

// pair evaluates functions of two arguments.
func (r *renderer) pair(v *value) any {
	first, second := r.text(v.arg.items[0]), r.value(v.arg.items[1])
	if v.fn == "Fn::Split" {
		out := []any{}
		for part := range strings.SplitSeq(fmt.Sprint(second), first) {
			out = append(out, part)
		}
		return out
	}
	items, ok := second.([]any)
	if !ok {
		r.add(v.line, "shape", v.fn, "want a list")
		return ""
	}
	if v.fn == "Fn::Join" {
		var parts []string
		for _, i := range items {
			parts = append(parts, fmt.Sprint(i))
		}
		return strings.Join(parts, first)
	}
	n, err := strconv.Atoi(first)
	if err != nil || n < 0 || n >= len(items) {
		r.add(v.line, "shape", v.fn, "there is no element %s of %d", first, len(items))
		return ""
	}
	return items[n]
}

// mostSubnets is what Fn::Cidr makes at most.
const mostSubnets = 256

// cidr evaluates Fn::Cidr: so many networks with so many bits for hosts.
func (r *renderer) cidr(v *value) any {
	prefix, err := netip.ParsePrefix(r.text(v.arg.items[0]))
	count, err2 := strconv.Atoi(r.text(v.arg.items[1]))
	bits, err3 := strconv.Atoi(r.text(v.arg.items[2]))
	if err != nil || err2 != nil || err3 != nil || !prefix.Addr().Is4() || count < 1 || count > mostSubnets || bits < 1 || bits > 31 {
		r.add(v.line, "shape", v.fn, "takes a network, a number up to %d, and bits", mostSubnets)
		return []any{}
	}
	if room := 32 - bits - prefix.Bits(); room < 0 || count > 1<<room {
		r.add(v.line, "shape", v.fn, "%v has no room for %d networks with %d bits", prefix, count, bits)
		return []any{}
	}
	a := prefix.Masked().Addr().As4()
	at := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	out := []any{}
	for range count {
		addr := netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)})
		out = append(out, netip.PrefixFrom(addr, 32-bits).String())
		at += 1 << bits
	}
	return out
}

// find evaluates Fn::FindInMap.
func (r *renderer) find(v *value) any {
	name, first, second := r.text(v.arg.items[0]), r.text(v.arg.items[1]), r.text(v.arg.items[2])
	for _, m := range r.t.mappings {
		if found := m.value.at(first, second); m.key == name && found != nil {
			return r.value(found)
		}
	}
	r.add(v.line, "reference", v.fn, "there is nothing at %s.%s.%s", name, first, second)
	return ""
}

// A Change is a property that differs between two renderings.
type Change struct {
	// Resource and Property that differ; of a resource that comes or goes no property.
	Resource, Property string
	// Replaces says that the resource would be made anew.
	Replaces bool
}

// Changes returns what an update from one rendering to another does, sorted. A resource that comes is a change that
// replaces nothing; one that goes replaces.
func Changes(from, to Rendered, spec *Spec) []Change {
	var out []Change
	names := slices.Collect(maps.Keys(from.Resources))
	for name := range to.Resources {
		if _, ok := from.Resources[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		was, isOld := from.Resources[name]
		is, isNew := to.Resources[name]
		if !isOld || !isNew {
			out = append(out, Change{Resource: name, Replaces: isOld})
			continue
		}
		properties := maps.Clone(was.Properties)
		if properties == nil {
			properties = map[string]any{}
		}
		maps.Copy(properties, is.Properties)
		for _, p := range slices.Sorted(maps.Keys(properties)) {
			if fmt.Sprint(was.Properties[p]) != fmt.Sprint(is.Properties[p]) {
				out = append(out, Change{name, p, spec.Types[is.Type].Properties[p].Replace != ""})
			}
		}
	}
	return out
}
