package awsplan

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/deploy/aws"
	"github.com/roam-sessions/roam/internal/cfn"
)

const account = "123456789012"

// A cloud carries plans out on paper: it renders each stack with what those before it have put out.
type cloud struct {
	t         *testing.T
	stacks    map[[2]string]*made // by name and Region
	templates map[string]*cfn.Template
}

type made struct {
	template   string
	parameters map[string]string
	rendered   cfn.Rendered
	outputs    map[string]string
}

func newCloud(t *testing.T) *cloud {
	return &cloud{t: t, stacks: map[[2]string]*made{}, templates: map[string]*cfn.Template{}}
}

// template reads one of deploy/aws, once.
func (c *cloud) template(name string) *cfn.Template {
	c.t.Helper()
	if t, ok := c.templates[name]; ok {
		return t
	}
	raw, err := aws.Files.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	t, err := cfn.Read(raw)
	if err != nil {
		c.t.Fatalf("%s:\n%v", name, err)
	}
	c.templates[name] = t
	return t
}

// run carries a plan out, and returns what it has changed of stacks that were there, as "stack@region: change".
func (c *cloud) run(p Plan, spec *cfn.Spec) (changed []string, replaced []string) {
	c.t.Helper()
	for _, s := range p.Steps {
		switch s.Do {
		case DoStack:
			for _, change := range c.stack(s, spec) {
				what := fmt.Sprintf("%s@%s: %s.%s", s.Stack, s.Region, change.Resource, change.Property)
				changed = append(changed, what)
				if change.Replaces {
					replaced = append(replaced, what)
				}
			}
		case DoReadEndpoints:
			c.feed(s)
			c.stacks[[2]string{s.Stack, s.Region}].outputs["Endpoints"] = "eu-west-1=https://a.example/v1,us-east-1=https://b.example/v1"
		default:
			c.feed(s)
		}
	}
	return changed, replaced
}

// feed returns what a step's feeds bring.
func (c *cloud) feed(s Step) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, f := range s.Feeds {
		from := c.stacks[[2]string{f.Stack, f.Region}]
		if from == nil {
			c.t.Fatalf("%s of %s in %s: stack %s is not there yet in %s", f.Parameter, s.Stack, s.Region, f.Stack, f.Region)
		}
		v, ok := from.outputs[f.Output]
		if !ok {
			c.t.Fatalf("%s of %s in %s: stack %s in %s puts out no %s: %v", f.Parameter, s.Stack, s.Region, f.Stack, f.Region, f.Output, from.outputs)
		}
		if _, both := s.Parameters[f.Parameter]; both {
			c.t.Errorf("%s in %s: %s is both a parameter and fed", s.Stack, s.Region, f.Parameter)
		}
		if was, ok := out[f.Parameter]; ok {
			v = was + "," + v
		}
		out[f.Parameter] = v
	}
	return out
}

// stack makes or updates a stack.
func (c *cloud) stack(s Step, spec *cfn.Spec) []cfn.Change {
	c.t.Helper()
	t := c.template(s.Template)
	key := [2]string{s.Stack, s.Region}
	was := c.stacks[key]
	parameters := map[string]string{}
	if was != nil {
		maps.Copy(parameters, was.parameters)
	}
	maps.Copy(parameters, s.Parameters)
	maps.Copy(parameters, c.feed(s))
	c.here(s, t)
	stack := cfn.Stack{Name: s.Stack, Region: s.Region, Account: account, Parameters: parameters}
	first, err := t.Render(stack)
	if err != nil {
		c.t.Fatalf("%s in %s (%s):\n%v", s.Stack, s.Region, s.Template, err)
	}
	stack.Attribute = func(resource, attribute string) string {
		return idOf(s, resource, attribute, first.Resources[resource])
	}
	now := &made{template: s.Template, parameters: parameters, outputs: map[string]string{}}
	if now.rendered, err = t.Render(stack); err != nil {
		c.t.Fatal(err)
	}
	for name, r := range now.rendered.Resources {
		if !Offered(r.Type, s.Region) {
			c.t.Errorf("%s in %s has %s, a %s, which is not offered there", s.Stack, s.Region, name, r.Type)
		}
	}
	for name, v := range now.rendered.Outputs {
		text, ok := v.(string)
		if !ok || text == "" {
			c.t.Errorf("%s in %s puts out %s as %v", s.Stack, s.Region, name, v)
		}
		now.outputs[name] = text
	}
	c.stacks[key] = now
	if was == nil {
		return nil
	}
	if was.template != s.Template {
		c.t.Errorf("%s in %s is made by %s, and updated by %s", s.Stack, s.Region, was.template, s.Template)
	}
	maps.DeleteFunc(now.outputs, func(k, _ string) bool { return k == "Endpoints" })
	if v, ok := was.outputs["Endpoints"]; ok {
		now.outputs["Endpoints"] = v
	}
	return cfn.Changes(was.rendered, now.rendered, spec)
}

// here wants what AWS knows by a Region's own ID to come from that Region.
func (c *cloud) here(s Step, t *cfn.Template) {
	kinds := map[string]string{}
	for _, p := range t.Parameters() {
		kinds[p.Name] = p.Type
	}
	for _, f := range s.Feeds {
		if kind := kinds[f.Parameter]; strings.Contains(kind, "AWS::EC2::") && f.Region != s.Region {
			c.t.Errorf("%s in %s: %s is a %s, and comes from %s", s.Stack, s.Region, f.Parameter, kind, f.Region)
		}
	}
}

// idOf is what AWS would call a resource, or say of it.
func idOf(s Step, name, attribute string, r cfn.Resource) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.Stack + s.Region + name))
	number := fmt.Sprintf("%08x", h.Sum32())
	prefix, ok := map[string]string{
		"AWS::EC2::VPC": "vpc-", "AWS::EC2::Subnet": "subnet-", "AWS::EC2::VPCPeeringConnection": "pcx-", "AWS::EC2::TransitGateway": "tgw-",
		"AWS::EC2::TransitGatewayRouteTable": "tgw-rtb-", "AWS::EC2::TransitGatewayPeeringAttachment": "tgw-attach-",
		"AWS::EC2::SecurityGroup": "sg-", "AWS::EC2::RouteTable": "rtb-", "AWS::Route53::HostedZone": "Z",
	}[r.Type]
	switch {
	case ok:
		return prefix + number
	case r.Type == "AWS::ElastiCache::GlobalReplicationGroup":
		return "virxk-" + fmt.Sprint(r.Properties["GlobalReplicationGroupIdSuffix"])
	case attribute == "ConfigurationEndPoint.Address":
		return "clustercfg." + fmt.Sprint(r.Properties["ReplicationGroupId"]) + ".abc123.use1.cache.amazonaws.com"
	case r.Type == "AWS::ElastiCache::ReplicationGroup" && strings.HasSuffix(attribute, "Address"):
		return "master." + fmt.Sprint(r.Properties["ReplicationGroupId"]) + ".abc123.use1.cache.amazonaws.com"
	}
	for _, called := range []string{"ReplicationGroupId", "FunctionName", "AlarmName", "Name", "QueueName", "TableName"} {
		if is, ok := r.Properties[called]; ok && (attribute == "" || attribute == called) {
			return fmt.Sprint(is)
		}
	}
	if attribute == "" {
		attribute = "Ref"
	}
	service := strings.ToLower(strings.Split(r.Type+"::", "::")[1])
	switch service {
	case "iam":
		return "arn:aws:iam::" + account + ":role/" + s.Stack + "-" + name
	case "dsql":
		if attribute == "Endpoint" {
			return strings.Repeat(number, 4)[:26] + ".dsql." + s.Region + ".on.aws"
		}
		return "arn:aws:dsql:" + s.Region + ":" + account + ":cluster/" + strings.Repeat(number, 4)[:26]
	}
	return "arn:aws:" + service + ":" + s.Region + ":" + account + ":" + s.Stack + "/" + name + "/" + attribute
}

// of returns all resources of a type, with where they are.
func (c *cloud) of(kind string) map[string]cfn.Resource {
	out := map[string]cfn.Resource{}
	for key, m := range c.stacks {
		for name, r := range m.rendered.Resources {
			if r.Type == kind {
				out[key[0]+"@"+key[1]+"/"+name] = r
			}
		}
	}
	return out
}

// sortedKeys returns names in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
