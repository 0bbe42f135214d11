package cfn

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// groups: security groups can be named within a Region only. What a rule names is of this template, or a parameter
// of which CloudFormation makes sure that it is one of this Region.
func (l *linter) groups() {
	for _, r := range l.t.resources {
		if !strings.HasPrefix(r.kind, "AWS::EC2::SecurityGroup") {
			continue
		}
		l.describes(r.properties.get("GroupDescription"), r.path("GroupDescription"))
		rules := []*value{r.properties}
		for _, list := range []string{"SecurityGroupIngress", "SecurityGroupEgress"} {
			rules = append(rules, r.properties.get(list).elements()...)
		}
		for _, rule := range rules {
			l.describes(rule.get("Description"), r.path("Description"))
			for _, key := range []string{"SourceSecurityGroupId", "DestinationSecurityGroupId"} {
				for _, v := range rule.get(key).outcomes() {
					l.group(v, r.path(key))
				}
			}
		}
	}
}

var groupText = regexp.MustCompile(`^[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}$`)

// describes: EC2 takes few characters in the descriptions of groups and their rules, and no apostrophe.
func (l *linter) describes(v *value, path string) {
	for _, o := range v.outcomes() {
		text := o
		if o.kind == call && o.fn == "Fn::Sub" {
			text, _ = subText(o)
		}
		if text.kind == scalar && !groupText.MatchString(text.text) {
			l.add(o.line, "group-text", path, "%q: EC2 takes letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, up to 255", text.text)
		}
	}
}

func (l *linter) group(v *value, path string) {
	name, _ := v.refers()
	if r := l.t.resource(name); r != nil && r.kind == "AWS::EC2::SecurityGroup" {
		return
	}
	if p := l.t.parameter(name); p != nil && p.Type == "AWS::EC2::SecurityGroup::Id" {
		return
	}
	l.add(v.line, "group-region", path, "want a group of this template or a parameter of type AWS::EC2::SecurityGroup::Id: one of another Region can't be named, let its network (CIDR) in")
}

// A network is a range of addresses in a template.
type network struct {
	line   int
	path   string
	prefix netip.Prefix
	vpc    string // of a subnet: whose it is
}

// networks: two networks of a template have no part in common, nor have two subnets of one, and no route
// to elsewhere leads into one's own network.
func (l *linter) networks() {
	var vpcs, subnets []network
	for _, r := range l.t.resources {
		switch r.kind {
		case "AWS::EC2::VPC":
			vpcs = l.disjoint(vpcs, l.network(r, "CidrBlock"))
		case "AWS::EC2::Subnet":
			n := l.network(r, "CidrBlock")
			if n != nil {
				n.vpc = spelled(r.properties.get("VpcId"))
			}
			subnets = l.disjoint(subnets, n)
		}
	}
	for _, r := range l.t.of("AWS::EC2::Route") {
		_, peering := r.has("VpcPeeringConnectionId")
		_, transit := r.has("TransitGatewayId")
		n := l.network(r, "DestinationCidrBlock")
		if n == nil || !peering && !transit {
			continue
		}
		for _, vpc := range vpcs {
			if vpc.prefix.Overlaps(n.prefix) {
				l.add(n.line, "overlap", n.path, "%s is a part of %s %s: between networks that overlap there is no way", n.prefix, vpc.path, vpc.prefix)
			}
		}
	}
}

// disjoint adds a network to others of its kind.
func (l *linter) disjoint(others []network, n *network) []network {
	if n == nil {
		return others
	}
	for _, o := range others {
		if o.vpc == n.vpc && o.prefix.Overlaps(n.prefix) {
			l.add(n.line, "overlap", n.path, "%s and %s %s have a part in common", n.prefix, o.path, o.prefix)
		}
	}
	return append(others, *n)
}

// network returns the one of a property that is written down, or a parameter's default.
func (l *linter) network(r *resource, property string) *network {
	v := r.properties.get(property)
	text, ok := v.plain()
	if name, _ := v.refers(); !ok && l.t.parameter(name) != nil {
		text = l.t.parameter(name).Default
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil // it comes from elsewhere, and is judged there
	}
	return &network{line: v.line, path: r.path(property), prefix: prefix.Masked()}
}

// alarms: each says how it compares, over how long, and what a period without data means; and a health check
// follows an alarm of a kind that it can.
func (l *linter) alarms() {
	for _, r := range l.t.of("AWS::CloudWatch::Alarm") {
		for _, property := range []string{"ComparisonOperator", "EvaluationPeriods", "TreatMissingData"} {
			if _, ok := r.has(property); !ok {
				l.add(r.line, "alarm", r.path(property), "is missing: the schema does not want it, and CloudWatch or we do")
			}
		}
		may := []string{"breaching", "notBreaching", "ignore", "missing"}
		if is, ok := r.properties.get("TreatMissingData").plain(); ok && !slices.Contains(may, is) {
			line, _ := r.has("TreatMissingData")
			l.add(line, "alarm", r.path("TreatMissingData"), "%q is none of %s", is, strings.Join(may, ", "))
		}
		kinds := 0
		for _, property := range []string{"Statistic", "ExtendedStatistic", "Metrics"} {
			if _, ok := r.has(property); ok {
				kinds++
			}
		}
		if kinds != 1 {
			l.add(r.line, "alarm", "Resources."+r.name, "want one of Statistic, ExtendedStatistic and Metrics")
		}
	}
	for _, r := range l.t.of("AWS::Route53::HealthCheck") {
		for _, c := range r.properties.get("HealthCheckConfig").outcomes() {
			l.follows(r, c)
		}
	}
}

// follows judges what a health check follows.
func (l *linter) follows(r *resource, config *value) {
	kind, _ := config.get("Type").plain()
	switch kind {
	case "CLOUDWATCH_METRIC":
		if config.get("AlarmIdentifier") == nil || config.get("InsufficientDataHealthStatus") == nil {
			l.add(config.line, "health-check", r.path("HealthCheckConfig"), "say AlarmIdentifier, and InsufficientDataHealthStatus: what no data means")
		}
		name, _ := config.at("AlarmIdentifier", "Name").refers()
		if alarm := l.t.resource(name); alarm != nil && alarm.kind == "AWS::CloudWatch::Alarm" {
			l.followed(alarm, r.name)
		}
	case "RECOVERY_CONTROL":
		for _, no := range []string{"RequestInterval", "FailureThreshold", "MeasureLatency"} {
			if v := config.get(no); v != nil {
				l.add(v.line, "health-check", r.path("HealthCheckConfig."+no), "a health check of a routing control has none")
			}
		}
		if config.get("RoutingControlArn") == nil {
			l.add(config.line, "health-check", r.path("HealthCheckConfig"), "say RoutingControlArn")
		}
	}
}

// leastPeriod of a metric that a health check can follow, in seconds: those below are of high resolution.
const leastPeriod = 60

// followed judges an alarm that a health check follows.
func (l *linter) followed(alarm *resource, by string) {
	for _, property := range []string{"ExtendedStatistic", "Metrics"} {
		if line, ok := alarm.has(property); ok {
			l.add(line, "health-check", alarm.path(property), "health check %s follows it, and can follow no percentile and no expression", by)
		}
	}
	period, _ := alarm.properties.get("Period").plain()
	if n, err := strconv.Atoi(period); err == nil && n < leastPeriod {
		line, _ := alarm.has("Period")
		l.add(line, "health-check", alarm.path("Period"), "health check %s follows it, and can follow no metric of high resolution", by)
	}
}

// functions: what a function could not do is not forgotten, and it is in no network: it asks AWS alone, and a way
// out of a network would be one more thing that fails.
func (l *linter) functions() {
	for _, r := range l.t.of("AWS::Lambda::Function") {
		if line, ok := r.has("VpcConfig"); ok {
			l.add(line, "function", r.path("VpcConfig"), "it asks AWS alone: in a network it would need a NAT gateway")
		}
		told := slices.ContainsFunc(l.t.of("AWS::Lambda::EventInvokeConfig"), func(c *resource) bool {
			name, _ := c.properties.get("FunctionName").refers()
			return name == r.name && c.properties.at("DestinationConfig", "OnFailure", "Destination") != nil
		})
		if !told {
			l.add(r.line, "function", "Resources."+r.name, "no AWS::Lambda::EventInvokeConfig says where its failures go")
		}
	}
	for _, r := range l.t.of("AWS::SNS::Subscription") {
		if protocol, _ := r.properties.get("Protocol").plain(); protocol != "lambda" {
			continue
		}
		if _, ok := r.has("RedrivePolicy"); !ok {
			l.add(r.line, "function", r.path("RedrivePolicy"), "is missing: what SNS can't deliver would be gone")
		}
	}
}
