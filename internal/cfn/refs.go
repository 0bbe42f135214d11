package cfn

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// pseudo are the parameters that every template has.
func pseudo() []string {
	return []string{
		"AWS::AccountId", "AWS::NoValue", "AWS::NotificationARNs", "AWS::Partition", "AWS::Region", "AWS::StackId", "AWS::StackName",
		"AWS::URLSuffix",
	}
}

// A tracer follows references: whether they lead somewhere, whether that is there when they are followed, what is
// never used, and what waits for itself.
type tracer struct {
	*report
	t      *Template
	spec   *Spec // nil: attributes are not looked at
	used   map[string]bool
	awaits map[string][]string // who of resources needs whom
}

func (t *Template) trace(r *report, spec *Spec) {
	tr := &tracer{report: r, t: t, spec: spec, used: map[string]bool{}, awaits: map[string][]string{}}
	for _, c := range t.conditions {
		tr.condition(c.value, "Conditions."+c.key)
	}
	for _, res := range t.resources {
		tr.resource(res)
	}
	for _, o := range t.outputs {
		path := "Outputs." + o.key
		var when []string
		if c := o.value.get("Condition"); c != nil {
			tr.named(c.text, c.line, path)
			when = []string{c.text}
		}
		tr.follow(o.value.get("Value"), place{path: path, when: when})
		tr.follow(o.value.at("Export", "Name"), place{path: path, when: when})
		if o.value.get("Value") == nil {
			tr.add(o.line, "section", path, "has no value")
		}
	}
	tr.unused()
	tr.cycles()
}

// A place is where a reference stands.
type place struct {
	path string
	self string   // the resource that it is in
	when []string // conditions that are true here
}

func (tr *tracer) resource(res *resource) {
	path := "Resources." + res.name
	p := place{path: path, self: res.name}
	if res.condition != "" {
		tr.named(res.condition, res.line, path)
		p.when = []string{res.condition}
	}
	for _, name := range res.depends {
		if tr.t.resource(name) == nil {
			tr.add(res.body.get("DependsOn").line, "reference", path+".DependsOn", "there is no resource %s", name)
			continue
		}
		tr.awaits[res.name] = append(tr.awaits[res.name], name)
	}
	for _, key := range []string{"Properties", "Metadata", "UpdatePolicy", "CreationPolicy"} {
		tr.follow(res.body.get(key), place{path: path + "." + key, self: res.name, when: p.when})
	}
}

// named notes that a condition is used.
func (tr *tracer) named(name string, line int, path string) {
	tr.used["condition "+name] = true
	if tr.t.condition(name) == nil {
		tr.add(line, "reference", path, "there is no condition %s", name)
	}
}

// condition follows what stands among conditions: those may use parameters, mappings and each other.
func (tr *tracer) condition(v *value, path string) {
	v.each(func(v *value) {
		if name, ok := conditionOf(v); ok {
			tr.named(name, v.line, path)
			return
		}
		if v.kind != call {
			return
		}
		switch v.fn {
		case "Ref":
			name, _ := v.arg.plain()
			if tr.t.resource(name) != nil {
				tr.add(v.line, "reference", path, "conditions are judged before there are resources, such as %s", name)
				return
			}
			tr.reach(name, v.line, place{path: path})
		case "Fn::GetAtt", "Fn::ImportValue":
			tr.add(v.line, "reference", path, "conditions can't use %s", v.fn)
		}
	})
}

// conditionOf returns the name in {Condition: Name} or !Condition Name.
func conditionOf(v *value) (string, bool) {
	if v.kind == call && v.fn == "Condition" {
		return v.arg.plain()
	}
	if v.kind == dict && len(v.fields) == 1 && v.fields[0].key == "Condition" {
		return v.fields[0].value.plain()
	}
	return "", false
}

func (tr *tracer) follow(v *value, p place) {
	if v == nil {
		return
	}
	for i, item := range v.items {
		q := p
		if v.kind == list && len(v.items) > 1 {
			q.path = p.path + "[" + digits(i) + "]"
		}
		tr.follow(item, q)
	}
	for _, f := range v.fields {
		q := p
		q.path = p.path + "." + f.key
		tr.follow(f.value, q)
	}
	if v.kind == call {
		tr.call(v, p)
	}
}

func digits(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return digits(n/10) + digits(n%10)
}

func (tr *tracer) call(v *value, p place) {
	switch v.fn {
	case "Ref":
		name, ok := v.arg.plain()
		if !ok {
			tr.add(v.line, "reference", p.path, "Ref takes a name")
			return
		}
		tr.reach(name, v.line, p)
	case "Fn::GetAtt":
		tr.attribute(v, p)
	case "Fn::Sub":
		tr.substitute(v, p)
	case "Fn::If":
		tr.choose(v, p)
	case "Condition":
		tr.add(v.line, "reference", p.path, "Condition is for conditions; here use Fn::If")
	case "Fn::FindInMap":
		if v.arg.kind == list && len(v.arg.items) > 0 {
			tr.mapping(v.arg.items[0], p)
		}
		tr.follow(v.arg, p)
	default:
		tr.follow(v.arg, p)
	}
}

func (tr *tracer) mapping(v *value, p place) {
	name, ok := v.plain()
	if !ok {
		return
	}
	tr.used["mapping "+name] = true
	if !slices.ContainsFunc(tr.t.mappings, func(f field) bool { return f.key == name }) {
		tr.add(v.line, "reference", p.path, "there is no mapping %s", name)
	}
}

// reach is a reference by a name alone.
func (tr *tracer) reach(name string, line int, p place) {
	switch {
	case slices.Contains(pseudo(), name):
	case tr.t.parameter(name) != nil:
		tr.used["parameter "+name] = true
	case tr.t.resource(name) != nil:
		tr.need(name, line, p)
	default:
		tr.add(line, "reference", p.path, "there is no parameter and no resource %s", name)
	}
}

// need notes that a resource needs another, which must be there whenever it is.
func (tr *tracer) need(name string, line int, p place) {
	if p.self != "" {
		tr.awaits[p.self] = append(tr.awaits[p.self], name)
	}
	c := tr.t.resource(name).condition
	if c != "" && !slices.Contains(tr.implied(p.when), c) {
		tr.add(line, "condition", p.path, "%s is there only if %s, and this is there otherwise, too", name, c)
	}
}

// implied returns conditions that are true, with what follows from them by Fn::And.
func (tr *tracer) implied(when []string) []string {
	out := slices.Clone(when)
	for i := 0; i < len(out); i++ {
		v := tr.t.condition(out[i])
		if v == nil || v.kind != call || v.fn != "Fn::And" {
			continue
		}
		for _, part := range v.arg.items {
			if name, ok := conditionOf(part); ok && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func (tr *tracer) attribute(v *value, p place) {
	if v.arg.kind != list || len(v.arg.items) != 2 {
		tr.add(v.line, "reference", p.path, "Fn::GetAtt takes a resource and an attribute")
		return
	}
	name, _ := v.arg.items[0].plain()
	attribute, ok := v.arg.items[1].plain()
	if !ok {
		tr.follow(v.arg.items[1], p)
	}
	tr.ask(name, attribute, v.line, p)
}

// ask is a reference to an attribute.
func (tr *tracer) ask(name, attribute string, line int, p place) {
	res := tr.t.resource(name)
	if res == nil {
		tr.add(line, "reference", p.path, "there is no resource %s", name)
		return
	}
	tr.need(name, line, p)
	if strings.Contains(attribute, "Endpoint.") && strings.HasPrefix(res.kind, "AWS::ElastiCache::ReplicationGroup") {
		tr.add(line, "endpoint-spelling", p.path, "%s: CloudFormation writes EndPoint, with a capital P, where the API has Endpoint", attribute)
		return
	}
	if tr.spec == nil || attribute == "" {
		return
	}
	kind, known := tr.spec.Types[res.kind]
	if _, ok := kind.attribute(attribute); known && !ok {
		hint := ""
		if near := nearest(kind.Attributes, attribute); near != "" {
			hint = "; did you mean " + near + "?"
		}
		tr.add(line, "unknown-attribute", p.path, "%s has no attribute %s%s", res.kind, attribute, hint)
	}
}

var placeholder = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

// subText returns the text of a Fn::Sub, and the names that it brings along.
func subText(v *value) (*value, *value) {
	if v.arg.kind == list && len(v.arg.items) == 2 {
		return v.arg.items[0], v.arg.items[1]
	}
	return v.arg, nil
}

func (tr *tracer) substitute(v *value, p place) {
	text, names := subText(v)
	if text.kind != scalar || names != nil && names.kind != dict {
		tr.add(v.line, "reference", p.path, "Fn::Sub takes a text, or a text and a mapping")
		return
	}
	tr.follow(names, p)
	if names == nil && !strings.Contains(text.text, "${") {
		tr.add(v.line, "sub", p.path, "Fn::Sub has nothing to put in")
	}
	spoken := map[string]bool{}
	for _, m := range placeholder.FindAllStringSubmatchIndex(text.text, -1) {
		name := strings.TrimSpace(text.text[m[2]:m[3]])
		line := text.line + strings.Count(text.text[:m[0]], "\n")
		if text.below {
			line++
		}
		if names.get(name) != nil {
			spoken[name] = true
			continue
		}
		if res, attribute, ok := strings.Cut(name, "."); ok && !strings.HasPrefix(name, "AWS::") {
			tr.ask(res, attribute, line, p)
			continue
		}
		tr.reach(name, line, p)
	}
	if names != nil {
		for _, f := range names.fields {
			if !spoken[f.key] {
				tr.add(f.line, "unused", p.path, "Fn::Sub brings %s along and does not use it", f.key)
			}
		}
	}
}

func (tr *tracer) choose(v *value, p place) {
	if v.arg.kind != list || len(v.arg.items) != 3 {
		tr.add(v.line, "reference", p.path, "Fn::If takes a condition and two values")
		return
	}
	name, ok := v.arg.items[0].plain()
	if !ok {
		tr.add(v.line, "reference", p.path, "the condition of Fn::If is a name")
		return
	}
	tr.named(name, v.line, p.path)
	then := p
	then.when = append(slices.Clone(p.when), name)
	tr.follow(v.arg.items[1], then)
	otherwise := p
	if c := tr.t.condition(name); c != nil && c.kind == call && c.fn == "Fn::Not" && c.arg.kind == list && len(c.arg.items) == 1 {
		if not, ok := conditionOf(c.arg.items[0]); ok {
			otherwise.when = append(slices.Clone(p.when), not)
		}
	}
	tr.follow(v.arg.items[2], otherwise)
}

// unused reports what nothing refers to.
func (tr *tracer) unused() {
	for _, p := range tr.t.parameters {
		if !tr.used["parameter "+p.Name] {
			tr.add(p.line, "unused", "Parameters."+p.Name, "nothing uses it")
		}
	}
	for _, c := range tr.t.conditions {
		if !tr.used["condition "+c.key] {
			tr.add(c.line, "unused", "Conditions."+c.key, "nothing uses it")
		}
	}
	for _, m := range tr.t.mappings {
		if !tr.used["mapping "+m.key] {
			tr.add(m.line, "unused", "Mappings."+m.key, "nothing uses it")
		}
	}
}

// cycles reports resources that wait for themselves, and conditions that do.
func (tr *tracer) cycles() {
	on := map[string][]string{}
	for _, c := range tr.t.conditions {
		c.value.each(func(v *value) {
			if name, ok := conditionOf(v); ok {
				on[c.key] = append(on[c.key], name)
			}
		})
	}
	for _, g := range []struct {
		section string
		graph   map[string][]string
	}{{"Resources", tr.awaits}, {"Conditions", on}} {
		done := map[string]bool{}
		for _, start := range slices.Sorted(maps.Keys(g.graph)) {
			if loop := walk(g.graph, start, nil, done); loop != nil {
				line := 0
				if res := tr.t.resource(start); res != nil && g.section == "Resources" {
					line = res.line
				} else if c := tr.t.condition(start); c != nil {
					line = c.line
				}
				tr.add(line, "cycle", g.section+"."+start, "waits for itself: %s", strings.Join(loop, " -> "))
			}
		}
	}
}

// walk returns the first loop that is met from a name on. What is done has none.
func walk(graph map[string][]string, at string, way []string, done map[string]bool) []string {
	if i := slices.Index(way, at); i >= 0 {
		return append(slices.Clone(way[i:]), at)
	}
	if done[at] {
		return nil
	}
	way = append(way, at)
	for _, next := range graph[at] {
		if loop := walk(graph, next, way, done); loop != nil {
			done[at] = true
			return loop
		}
	}
	done[at] = true
	return nil
}
