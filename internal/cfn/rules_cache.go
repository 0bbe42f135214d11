package cfn

import (
	"slices"
	"strings"
)

const (
	groupType  = "AWS::ElastiCache::ReplicationGroup"
	globalType = "AWS::ElastiCache::GlobalReplicationGroup"
	topicType  = "AWS::SNS::Topic"
)

// inherited: a group that joins a Global Datastore says nothing that it has from there, or ElastiCache
// refuses it with InvalidParameterCombination.
func (l *linter) inherited() {
	from := []string{
		"AtRestEncryptionEnabled", "AutomaticFailoverEnabled", "CacheNodeType", "CacheParameterGroupName", "CacheSecurityGroupNames",
		"Engine", "EngineVersion", "NumNodeGroups", "PrimaryClusterId", "SnapshotArns", "SnapshotName", "TransitEncryptionEnabled",
	}
	for _, r := range l.t.of(groupType) {
		if _, joins := r.has("GlobalReplicationGroupId"); !joins {
			continue
		}
		for _, property := range from {
			if line, ok := r.has(property); ok {
				l.add(line, "inherited", r.path(property), "a group that joins a Global Datastore has it from there and must not say it")
			}
		}
	}
}

// topics: ElastiCache publishes only where a policy lets it by aws:SourceOwner, the policy is there before the
// group, and the topic has no key of its own. Else the topic becomes inactive in the middle of a failover.
func (l *linter) topics() {
	for _, r := range l.t.of(groupType) {
		line, ok := r.has("NotificationTopicArn")
		if !ok {
			continue
		}
		path := r.path("NotificationTopicArn")
		name, _ := r.properties.get("NotificationTopicArn").refers()
		topic := l.t.resource(name)
		if topic == nil || topic.kind != topicType {
			l.add(line, "topic-policy", path, "want a Ref of a topic in this template, so that its policy can be looked at")
			continue
		}
		if line, ok := topic.has("KmsMasterKeyId"); ok {
			l.add(line, "topic-policy", topic.path("KmsMasterKeyId"), "ElastiCache can't write to a topic with a key")
		}
		l.publishes(r, name, line, path)
	}
}

// publishes looks for the policy of a group's topic.
func (l *linter) publishes(r *resource, topic string, line int, path string) {
	for _, p := range l.t.of("AWS::SNS::TopicPolicy") {
		about := slices.ContainsFunc(p.properties.get("Topics").elements(), func(v *value) bool { name, _ := v.refers(); return name == topic })
		if !about {
			continue
		}
		if !slices.ContainsFunc(statements(p.properties.get("PolicyDocument")), lets) {
			l.add(p.line, "topic-policy", "Resources."+p.name, "no statement lets elasticache.amazonaws.com publish by aws:SourceOwner; by aws:SourceAccount alone it can't")
		}
		if !slices.Contains(r.depends, p.name) {
			l.add(r.line, "topic-policy", "Resources."+r.name+".DependsOn", "name %s: ElastiCache tries the topic when it is told of it", p.name)
		}
		return
	}
	l.add(line, "topic-policy", path, "topic %s has no policy", topic)
}

// lets reports whether a statement lets ElastiCache publish.
func lets(s *value) bool {
	service := slices.ContainsFunc(s.at("Principal", "Service").elements(), func(v *value) bool { return v.text == "elasticache.amazonaws.com" })
	publish := slices.ContainsFunc(s.get("Action").elements(), func(v *value) bool { return strings.EqualFold(v.text, "sns:Publish") })
	owner := false
	for _, f := range s.at("Condition", "StringEquals").all() {
		owner = owner || strings.EqualFold(f.key, "aws:SourceOwner")
	}
	effect, _ := s.get("Effect").plain()
	return effect == "Allow" && service && publish && owner
}

// all returns the fields of a dict; of anything else none.
func (v *value) all() []field {
	if v == nil {
		return nil
	}
	return v.fields
}

// statements returns those of a policy document, whatever conditions they stand under.
func statements(document *value) []*value {
	return document.get("Statement").elements()
}

// kept: what has sessions in it, and keys without which they can't be read, is not deleted with its stack.
func (l *linter) kept() {
	keep := map[string][]string{
		groupType:                        {"Retain", "RetainExceptOnCreate", "Snapshot"},
		globalType:                       {"Retain", "RetainExceptOnCreate"},
		"AWS::DynamoDB::GlobalTable":     {"Retain", "RetainExceptOnCreate"},
		"AWS::DynamoDB::Table":           {"Retain", "RetainExceptOnCreate"},
		"AWS::DSQL::Cluster":             {"Retain", "RetainExceptOnCreate"},
		"AWS::RDS::DBCluster":            {"Retain", "RetainExceptOnCreate", "Snapshot"},
		"AWS::KMS::Key":                  {"Retain", "RetainExceptOnCreate"},
		"AWS::EC2::Volume":               {"Retain", "RetainExceptOnCreate", "Snapshot"},
		"AWS::ElastiCache::CacheCluster": {"Retain", "RetainExceptOnCreate", "Snapshot"},
	}
	for _, r := range l.t.resources {
		may, ok := keep[r.kind]
		if !ok {
			continue
		}
		for _, policy := range []string{"DeletionPolicy", "UpdateReplacePolicy"} {
			if is, _ := r.body.get(policy).plain(); !slices.Contains(may, is) {
				l.add(r.line, "kept", "Resources."+r.name+"."+policy, "is %q, and sessions would go with the stack; want one of %s", is, strings.Join(may, ", "))
			}
		}
	}
}

// observed: who is the primary is seen, and no template says it again. A Global Datastore has one member when it is
// made, this Region's own; and no record of a template leads to a cache that a failover could have taken the writes from.
func (l *linter) observed() {
	for _, r := range l.t.of(globalType) {
		members := r.properties.get("Members").elements()
		line, _ := r.has("Members")
		if len(members) != 1 {
			l.add(line, "observed", r.path("Members"), "want one: ElastiCache takes no more when it is made, and the others' roles are observed")
		}
		for _, m := range members {
			if role, ok := m.get("Role").plain(); !ok || role != "PRIMARY" {
				l.add(m.line, "observed", r.path("Members"), "the one member is PRIMARY, and its role no parameter: an update must not change roles")
			}
			if name, _ := m.get("ReplicationGroupRegion").refers(); name != "AWS::Region" {
				l.add(m.line, "observed", r.path("Members"), "the one member is of this Region: !Ref AWS::Region")
			}
		}
	}
	for _, rec := range l.recordSets() {
		if rec.body.get("SetIdentifier") != nil || rec.kind != "CNAME" {
			continue
		}
		for _, v := range rec.body.get("ResourceRecords").elements() {
			name, attribute := v.refers()
			if r := l.t.resource(name); r != nil && r.kind == groupType && strings.Contains(attribute, "EndPoint") {
				l.add(rec.line, "observed", rec.path, "a simple record that leads to a cache is the reconciler's: an update of the stack would undo a failover")
			}
		}
	}
}

// secrets: a password stands in no template and in no parameter of one that shows it.
func (l *linter) secrets() {
	for _, r := range l.t.of(groupType) {
		for _, v := range r.properties.get("AuthToken").outcomes() {
			text := v
			if v.kind == call && v.fn == "Fn::Sub" {
				text, _ = subText(v)
			}
			if !strings.HasPrefix(text.text, "{{resolve:secretsmanager:") && !strings.HasPrefix(text.text, "{{resolve:ssm-secure:") {
				l.add(v.line, "secret", r.path("AuthToken"), "want {{resolve:secretsmanager:…}}: what stands in a template or a parameter is shown to all who see the stack")
			}
		}
	}
}
