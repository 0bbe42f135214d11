package cfn

import (
	"slices"
	"strings"
)

// A recordSet is one of a template's, by itself or in a group.
type recordSet struct {
	line             int
	path, name, kind string
	condition        string
	body             *value
}

// recordSets returns all records of a template.
func (l *linter) recordSets() []recordSet {
	var out []recordSet
	add := func(r *resource, v *value, path string) {
		if v == nil {
			return
		}
		kind, _ := v.get("Type").plain()
		out = append(out, recordSet{line: v.line, path: path, name: spelled(v.get("Name")), kind: kind, condition: r.condition, body: v})
	}
	for _, r := range l.t.of("AWS::Route53::RecordSet") {
		add(r, r.properties, "Resources."+r.name)
	}
	for _, r := range l.t.of("AWS::Route53::RecordSetGroup") {
		for i, v := range r.properties.get("RecordSets").elements() {
			add(r, v, r.path("RecordSets["+digits(i)+"]"))
		}
	}
	return out
}

// spelled writes a value down, so that two that are the same can be seen to be.
func spelled(v *value) string {
	switch {
	case v == nil:
		return ""
	case v.kind == scalar:
		return strings.ToLower(strings.TrimSuffix(v.text, "."))
	case v.kind == call:
		return v.fn + "(" + spelled(v.arg) + ")"
	}
	var parts []string
	for _, i := range v.items {
		parts = append(parts, spelled(i))
	}
	for _, f := range v.fields {
		parts = append(parts, f.key+":"+spelled(f.value))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// records: those of one name and type have one policy; of failover records there are one PRIMARY and one SECONDARY,
// told apart by their SetIdentifiers, and the PRIMARY has a health check, or it would be the answer for ever.
func (l *linter) records() {
	by := map[string][]recordSet{}
	for _, r := range l.recordSets() {
		key := r.name + " " + r.kind
		by[key] = append(by[key], r)
	}
	for _, same := range by {
		policies := map[string]bool{}
		roles := map[string]int{}
		sets := map[string]bool{}
		for _, r := range same {
			policy := policyOf(r.body)
			policies[policy] = true
			if policy == "failover" {
				role, _ := r.body.get("Failover").plain()
				roles[role]++
				if role == "PRIMARY" && len(r.body.get("HealthCheckId").outcomes()) == 0 {
					l.add(r.line, "record-policy", r.path, "a PRIMARY record without a health check is the answer whatever happens")
				}
			}
			set := spelled(r.body.get("SetIdentifier"))
			if policy != "simple" && (set == "" || sets[set]) {
				l.add(r.line, "record-policy", r.path, "records of one name want a SetIdentifier each, all different")
			}
			sets[set] = true
		}
		last := same[len(same)-1]
		switch {
		case len(policies) > 1:
			l.add(last.line, "record-policy", last.path, "records of one name and type have one policy; simple ones and others can't be together")
		case policies["simple"] && len(same) > 1:
			l.add(last.line, "record-policy", last.path, "there is another simple record of this name and type")
		case policies["failover"] && (roles["PRIMARY"] != 1 || roles["SECONDARY"] != 1):
			l.add(last.line, "record-policy", last.path, "want one PRIMARY and one SECONDARY, and there are %d and %d", roles["PRIMARY"], roles["SECONDARY"])
		}
	}
}

// policyOf returns the routing policy of a record.
func policyOf(v *value) string {
	for _, p := range []struct{ key, policy string }{
		{"Failover", "failover"},
		{"Weight", "weighted"},
		{"Region", "latency"},
		{"GeoLocation", "geolocation"},
		{"GeoProximityLocation", "geoproximity"},
		{"MultiValueAnswer", "multivalue"},
		{"CidrRoutingConfig", "cidr"},
	} {
		if v.get(p.key) != nil {
			return p.policy
		}
	}
	return "simple"
}

// grants: nobody may change all records, or do everything.
func (l *linter) grants() {
	for _, r := range l.t.resources {
		for _, key := range []string{"PolicyDocument", "Policies"} {
			documents := []*value{r.properties.get(key)}
			if key == "Policies" {
				documents = nil
				for _, p := range r.properties.get(key).elements() {
					documents = append(documents, p.get("PolicyDocument"))
				}
			}
			for _, d := range documents {
				for _, s := range statements(d) {
					l.grant(r, s)
				}
			}
		}
	}
}

// grant judges one statement.
func (l *linter) grant(r *resource, s *value) {
	if effect, _ := s.get("Effect").plain(); effect != "Allow" {
		return
	}
	path := "Resources." + r.name
	everywhere := slices.ContainsFunc(s.get("Resource").elements(), func(v *value) bool { return v.text == "*" })
	for _, a := range s.get("Action").elements() {
		switch action := strings.ToLower(a.text); {
		case action == "*" || action == "*:*":
			l.add(s.line, "grant", path, "a statement allows everything")
		case matches(action, "route53:changeresourcerecordsets"):
			if everywhere || slices.ContainsFunc(s.get("Resource").elements(), endsWild) {
				l.add(s.line, "grant", path, "ChangeResourceRecordSets is allowed in all zones: name the zone")
			}
			if !restricted(s) {
				l.add(s.line, "grant", path, "ChangeResourceRecordSets is allowed for all names of the zone: restrict it by route53:ChangeResourceRecordSetsNormalizedRecordNames")
			}
		case everywhere && matches(action, "elasticache:failoverglobalreplicationgroup"):
			l.add(s.line, "grant", path, "FailoverGlobalReplicationGroup is allowed for all: name the Global Datastore and the group")
		}
	}
}

// matches reports whether an action of a policy, in small letters, includes one.
func matches(pattern, action string) bool {
	if head, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(action, head)
	}
	return pattern == action
}

// endsWild reports whether an ARN is of all zones.
func endsWild(v *value) bool {
	text := v
	if v.kind == call && v.fn == "Fn::Sub" {
		text, _ = subText(v)
	}
	return strings.HasSuffix(text.text, "hostedzone/*")
}

// restricted reports whether a statement is about names that it lists.
func restricted(s *value) bool {
	for _, operator := range s.get("Condition").all() {
		for _, key := range operator.value.all() {
			if strings.EqualFold(key.key, "route53:ChangeResourceRecordSetsNormalizedRecordNames") {
				return !slices.ContainsFunc(key.value.elements(), func(v *value) bool { return strings.Contains(v.text, "*") })
			}
		}
	}
	return false
}
