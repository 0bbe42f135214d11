package awsdeploy

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	// resourceTime is how long CloudFormation takes for one resource.
	resourceTime = 4 * time.Second
	stackKind    = "AWS::CloudFormation::Stack"
)

// A formation is CloudFormation in all Regions.
type formation struct {
	w      *world
	stacks []*fakeStack
	// fail says why a resource can't be made or changed; empty: it can.
	fail func(stack, resource string) string
	// replaces are resources that any update would replace.
	replaces []string
}

type fakeStack struct {
	id, name, region string
	status, template string
	parameters, tags map[string]string
	policy, role     string
	resources        []*fakeResource
	events           []fakeEvent
	sets             map[string]*fakeSet
	steps            []fakeStep // of what goes on
}

type fakeResource struct{ name, kind, id, status, keep string }

type fakeEvent struct {
	id, resource, kind, physical, status, reason string
	at                                           time.Time
}

// A fakeStep is what happens when its time has come.
type fakeStep struct {
	at time.Time
	do func()
}

type fakeSet struct {
	status, reason, template string
	parameters               map[string]string
	changes                  []string
	at                       time.Time
}

// advance does what is due.
func (f *formation) advance(now time.Time) {
	for _, s := range f.stacks {
		for len(s.steps) > 0 && !s.steps[0].at.After(now) {
			step := s.steps[0]
			s.steps = s.steps[1:]
			step.do()
		}
	}
}

// find returns a stack by its name, if it is there, or its ID.
func (f *formation) find(region, name string) *fakeStack {
	for _, s := range f.stacks {
		if s.region == region && (s.id == name || s.name == name && s.status != "DELETE_COMPLETE") {
			return s
		}
	}
	return nil
}

// states are the statuses of all stacks that are there.
func (f *formation) states() map[string]string {
	out := map[string]string{}
	for _, s := range f.stacks {
		if s.status != "DELETE_COMPLETE" {
			out[s.region+" "+s.name] = s.status
		}
	}
	return out
}

func (s *fakeStack) event(resource, kind, physical, status, reason string, at time.Time) {
	s.events = append(s.events, fakeEvent{fmt.Sprintf("%s-e%d", s.id, len(s.events)), resource, kind, physical, status, reason, at})
}

func (s *fakeStack) set(status, reason string, at time.Time) {
	s.status = status
	s.event(s.name, stackKind, s.id, status, reason, at)
}

func (f *formation) do(c call, form url.Values) (string, *refusal) {
	if form.Get("Version") != "2010-05-15" {
		return "", refuse("InvalidAction", "version %q", form.Get("Version"))
	}
	switch c.action {
	case "CreateStack":
		return f.create(c, form)
	case "ListStacks":
		var all []string
		for _, s := range f.stacks {
			if s.region == c.region && s.status == form.Get("StackStatusFilter.member.1") {
				all = append(all, in("member", el("StackId", s.id), el("StackName", s.name), el("StackStatus", s.status), el("CreationTime", stamp(time.Now()))))
			}
		}
		return envelope(c.action, in("StackSummaries", all...)), nil
	}
	s := f.find(c.region, form.Get("StackName"))
	if s == nil {
		return "", refuse("ValidationError", "Stack with id %s does not exist", form.Get("StackName"))
	}
	switch c.action {
	case "DescribeStacks":
		return envelope(c.action, in("Stacks", f.describe(s))), nil
	case "GetTemplate":
		return envelope(c.action, el("TemplateBody", s.template)), nil
	case "DescribeStackEvents":
		return f.describeEvents(c, s, form)
	case "ListStackResources":
		var all []string
		for _, r := range s.resources {
			all = append(all, in("member", el("LogicalResourceId", r.name), el("PhysicalResourceId", r.id), el("ResourceType", r.kind), el("ResourceStatus", r.status), el("LastUpdatedTimestamp", stamp(time.Now()))))
		}
		return envelope(c.action, in("StackResourceSummaries", all...)), nil
	case "DeleteStack":
		f.remove(s, time.Now())
		return envelope(c.action, ""), nil
	}
	return f.changeSets(c, s, form)
}

func (f *formation) describe(s *fakeStack) string {
	var parameters, outputs, tags []string
	for _, k := range sortedKeys(s.parameters) {
		parameters = append(parameters, in("member", el("ParameterKey", k), el("ParameterValue", s.parameters[k])))
	}
	if strings.HasSuffix(s.status, "_COMPLETE") && !strings.HasPrefix(s.status, "ROLLBACK") {
		for _, o := range f.outputs(s) {
			outputs = append(outputs, in("member", el("OutputKey", o[0]), el("OutputValue", o[1])))
		}
	}
	for _, k := range sortedKeys(s.tags) {
		tags = append(tags, in("member", el("Key", k), el("Value", s.tags[k])))
	}
	return in("member", el("StackId", s.id), el("StackName", s.name), el("StackStatus", s.status), el("CreationTime", stamp(time.Now())),
		in("Parameters", parameters...), in("Outputs", outputs...), in("Tags", tags...))
}

// describeEvents returns five events a page, the newest first.
func (f *formation) describeEvents(c call, s *fakeStack, form url.Values) (string, *refusal) {
	var from int
	if _, err := fmt.Sscan(form.Get("NextToken"), &from); err != nil && form.Get("NextToken") != "" {
		return "", refuse("ValidationError", "token %q", form.Get("NextToken"))
	}
	var page []string
	for i := len(s.events) - 1 - from; i >= 0 && len(page) < 5; i-- {
		e := s.events[i]
		page = append(page, in("member", el("EventId", e.id), el("StackId", s.id), el("StackName", s.name), el("LogicalResourceId", e.resource), el("PhysicalResourceId", e.physical),
			el("ResourceType", e.kind), el("ResourceStatus", e.status), el("ResourceStatusReason", e.reason), el("Timestamp", stamp(e.at))))
	}
	token := ""
	if from += len(page); from < len(s.events) {
		token = el("NextToken", fmt.Sprint(from))
	}
	return envelope(c.action, in("StackEvents", page...)+token), nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// given reads parameters of a request; those of before stay if it says so.
func given(form url.Values, before map[string]string, template string) map[string]string {
	out := map[string]string{}
	all, _ := parametersOf(template)
	for key, p := range all {
		if p.standard != nil {
			out[key] = *p.standard
		}
	}
	for i := 1; form.Has(fmt.Sprintf("Parameters.member.%d.ParameterKey", i)); i++ {
		at := fmt.Sprintf("Parameters.member.%d.", i)
		key := form.Get(at + "ParameterKey")
		if out[key] = form.Get(at + "ParameterValue"); form.Get(at+"UsePreviousValue") == "true" {
			out[key] = before[key]
		}
	}
	return out
}

func (f *formation) create(c call, form url.Values) (string, *refusal) {
	name := form.Get("StackName")
	if f.find(c.region, name) != nil {
		return "", refuse("AlreadyExistsException", "Stack [%s] already exists", name)
	}
	if form.Get("RetainExceptOnCreate") != "true" {
		return "", refuse("ValidationError", "what failed would stay")
	}
	s := &fakeStack{
		id:   fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%d", c.region, account, name, len(f.stacks)),
		name: name, region: c.region, template: form.Get("TemplateBody"), tags: map[string]string{}, sets: map[string]*fakeSet{},
		policy: form.Get("StackPolicyBody"), role: form.Get("RoleARN"),
	}
	s.parameters = given(form, nil, s.template)
	for i := 1; form.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		s.tags[form.Get(fmt.Sprintf("Tags.member.%d.Key", i))] = form.Get(fmt.Sprintf("Tags.member.%d.Value", i))
	}
	f.stacks = append(f.stacks, s)
	now := time.Now()
	s.set("CREATE_IN_PROGRESS", "User Initiated", now)
	f.build(s, "CREATE", now)
	return envelope("CreateStack", el("StackId", s.id)), nil
}

// build makes or changes the resources of a stack's template, one after the other.
func (f *formation) build(s *fakeStack, verb string, at time.Time) {
	var all []*fakeResource
	sc, _ := scopeOf(s)
	for _, r := range resourcesOf(s.template) {
		if sc.wants(r.name) {
			all = append(all, &r)
		}
	}
	for _, r := range all {
		at = at.Add(resourceTime)
		now := at
		s.steps = append(s.steps, fakeStep{now, func() {
			old := s.resource(r.name)
			if old != nil && verb == "UPDATE" {
				r = old
			}
			s.event(r.name, r.kind, r.id, verb+"_IN_PROGRESS", "", now)
			if why := f.failure(s, r); why != "" {
				s.event(r.name, r.kind, r.id, verb+"_FAILED", why, now)
				f.rollback(s, verb, all, now)
				return
			}
			if r != old {
				r.id, r.status = f.w.made(s, r), "CREATE_COMPLETE"
				s.resources = append(s.resources, r)
			}
			s.event(r.name, r.kind, r.id, verb+"_COMPLETE", "", now)
		}})
	}
	end := at.Add(resourceTime)
	s.steps = append(s.steps, fakeStep{end, func() { s.set(verb+"_COMPLETE", "", end) }})
}

func (s *fakeStack) resource(name string) *fakeResource {
	i := slices.IndexFunc(s.resources, func(r *fakeResource) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return s.resources[i]
}

func (f *formation) failure(s *fakeStack, r *fakeResource) string {
	if f.fail == nil {
		return ""
	}
	return f.fail(s.name, r.name)
}

// rollback undoes what was made: what was kept by policy goes too, as creation was asked for so.
func (f *formation) rollback(s *fakeStack, verb string, all []*fakeResource, at time.Time) {
	s.steps = nil
	for _, r := range all {
		if s.resource(r.name) == nil && f.failure(s, r) == "" {
			s.event(r.name, r.kind, "", verb+"_FAILED", "Resource creation cancelled", at)
		}
	}
	end, prefix := at.Add(2*resourceTime), ""
	if verb == "UPDATE" {
		prefix = "UPDATE_"
	}
	s.set(prefix+"ROLLBACK_IN_PROGRESS", "The following resource(s) failed", at)
	s.steps = []fakeStep{{end, func() {
		if verb == "CREATE" {
			for _, r := range s.resources {
				f.w.unmade(s, r)
				r.status = "DELETE_COMPLETE"
			}
		}
		s.set(prefix+"ROLLBACK_COMPLETE", "", end)
	}}}
}

func (f *formation) remove(s *fakeStack, now time.Time) {
	if strings.HasPrefix(s.status, "DELETE_") && s.status != "DELETE_FAILED" {
		return
	}
	s.set("DELETE_IN_PROGRESS", "User Initiated", now)
	end := now.Add(resourceTime)
	s.steps = []fakeStep{{end, func() {
		for _, r := range slices.Backward(s.resources) {
			if why := f.failure(s, r); why != "" && r.status != "DELETE_COMPLETE" {
				s.event(r.name, r.kind, r.id, "DELETE_FAILED", why, end)
				s.set("DELETE_FAILED", "The following resource(s) failed to delete", end)
				return
			}
			if r.status == "DELETE_COMPLETE" {
				continue
			}
			if r.status = "DELETE_SKIPPED"; r.keep != "Retain" {
				r.status = "DELETE_COMPLETE"
				f.w.unmade(s, r)
			}
			s.event(r.name, r.kind, r.id, r.status, "", end)
		}
		s.set("DELETE_COMPLETE", "", end)
	}}}
}

func (f *formation) changeSets(c call, s *fakeStack, form url.Values) (string, *refusal) {
	name := form.Get("ChangeSetName")
	set := s.sets[name]
	if c.action == "CreateChangeSet" {
		if set != nil {
			return "", refuse("AlreadyExistsException", "ChangeSet %s already exists", name)
		}
		set = &fakeSet{template: form.Get("TemplateBody"), at: time.Now()}
		set.parameters = given(form, s.parameters, set.template)
		f.compare(s, set)
		s.sets[name] = set
		return envelope(c.action, el("Id", name)+el("StackId", s.id)), nil
	}
	if set == nil {
		return "", refuse("ChangeSetNotFound", "ChangeSet [%s] does not exist", name)
	}
	switch c.action {
	case "DescribeChangeSet":
		status := set.status
		if time.Since(set.at) < 3*time.Second {
			return envelope(c.action, el("Status", "CREATE_IN_PROGRESS")), nil
		}
		return envelope(c.action, el("Status", status)+el("StatusReason", set.reason)+in("Changes", set.changes...)), nil
	case "DeleteChangeSet":
		delete(s.sets, name)
		return envelope(c.action, ""), nil
	case "ExecuteChangeSet":
		if set.status != "CREATE_COMPLETE" || !strings.HasSuffix(s.status, "_COMPLETE") {
			return "", refuse("InvalidChangeSetStatus", "it is %s", set.status)
		}
		clear(s.sets) // CloudFormation deletes all that were made for the stack as it was
		s.template, s.parameters = set.template, set.parameters
		now := time.Now().Add(7 * time.Second) // it does not begin at once
		s.steps = []fakeStep{{now, func() { s.set("UPDATE_IN_PROGRESS", "User Initiated", now) }}}
		f.build(s, "UPDATE", now)
		return envelope(c.action, ""), nil
	}
	return "", refuse("InvalidAction", "%s", c.action)
}

// compare says what a change set would do.
func (f *formation) compare(s *fakeStack, set *fakeSet) {
	set.status = "CREATE_COMPLETE"
	if s.template == set.template && maps.Equal(s.parameters, set.parameters) {
		set.status, set.reason = "FAILED", "The submitted information didn't contain changes. Submit different information to create a change set."
		return
	}
	change := func(action string, r fakeResource, replacement string) {
		set.changes = append(set.changes, in("member", el("Type", "Resource"), in("ResourceChange", el("Action", action), el("LogicalResourceId", r.name), el("ResourceType", r.kind), replacement)))
	}
	after := resourcesOf(set.template)
	for _, r := range after {
		switch {
		case s.resource(r.name) == nil:
			change("Add", r, "")
		case slices.Contains(f.replaces, r.name):
			change("Modify", r, el("Replacement", "True"))
		default:
			change("Modify", r, el("Replacement", "False"))
		}
	}
	for _, r := range s.resources {
		if !slices.ContainsFunc(after, func(a fakeResource) bool { return a.name == r.name }) {
			change("Remove", *r, "")
		}
	}
}

// resourcesOf returns the resources of a template in their order.
func resourcesOf(template string) (out []fakeResource) {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(template), &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	section := pairs(doc.Content[0])["Resources"]
	for i := 0; section != nil && i+1 < len(section.Content); i += 2 {
		about := pairs(section.Content[i+1])
		r := fakeResource{name: section.Content[i].Value}
		if about["Type"] != nil {
			r.kind = about["Type"].Value
		}
		if about["DeletionPolicy"] != nil {
			r.keep = about["DeletionPolicy"].Value
		}
		out = append(out, r)
	}
	return out
}
