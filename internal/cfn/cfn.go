package cfn

// A World is where a template is to be.
type World struct {
	// Regions that it is deployed in; empty: any.
	Regions []string
	// Offered says whether a Region has a type. Nil: all have all.
	Offered func(kind, region string) bool
}

// Check returns all that is wrong with a template. Without a spec what resources take is not looked at, nor which
// attributes they have.
func (t *Template) Check(spec *Spec, w World) Faults {
	r := &report{}
	t.trace(r, spec)
	if spec != nil {
		t.fit(r, spec)
	}
	for _, res := range t.resources {
		for _, region := range w.Regions {
			if w.Offered != nil && !w.Offered(res.kind, region) {
				r.add(res.line, "region", "Resources."+res.name, "%s is not offered in %s", res.kind, region)
			}
		}
	}
	for _, rule := range rules() {
		rule(&linter{r, t})
	}
	return r.sorted()
}

// A linter holds a template to our own rules.
type linter struct {
	*report
	t *Template
}

// rules are our own: each is about something that went wrong on AWS for somebody.
func rules() []func(*linter) {
	return []func(*linter){
		(*linter).inherited, (*linter).topics, (*linter).kept, (*linter).observed, (*linter).secrets, (*linter).grants,
		(*linter).records, (*linter).groups, (*linter).networks, (*linter).alarms, (*linter).functions,
	}
}

// path of a property of a resource.
func (r *resource) path(property string) string {
	return "Resources." + r.name + ".Properties." + property
}

// has returns the line of a property that is there.
func (r *resource) has(property string) (int, bool) {
	for _, f := range r.fields() {
		if f.key == property && len(f.value.outcomes()) > 0 {
			return f.line, true
		}
	}
	return 0, false
}

func (r *resource) fields() []field {
	if r.properties == nil {
		return nil
	}
	return r.properties.fields
}
