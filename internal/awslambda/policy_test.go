package awslambda

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/roam-sessions/roam/internal/awstest"
)

func account() Account {
	return Account{ID: "123456789012", Partition: "aws", Function: "roam-reconcile"}
}

// list reads what may be one string or several.
func list(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, s := range v {
			out = append(out, s.(string))
		}
	}
	return out
}

// permits evaluates a policy as far as ours go. A condition that it does not know denies.
func permits(t *testing.T, policy []byte, call awstest.Call) bool {
	t.Helper()
	var p struct {
		Statement []struct {
			Effect           string
			Action, Resource any
			Condition        map[string]map[string]any
		}
	}
	if err := json.Unmarshal(policy, &p); err != nil {
		t.Fatal(err)
	}
	service := call.Service
	if service == "monitoring" {
		service = "cloudwatch"
	}
	allowed := map[string]bool{}
	for _, resource := range resources(call) {
		for _, s := range p.Statement {
			if s.Effect != "Allow" {
				t.Fatalf("effect %q", s.Effect)
			}
			matches := func(patterns []string, what string) bool {
				return slices.ContainsFunc(patterns, func(pattern string) bool {
					ok, err := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(what, "/", ":"))
					return err == nil && ok
				})
			}
			if matches(list(s.Action), service+":"+call.Action) && matches(list(s.Resource), resource) && holds(s.Condition, call) {
				allowed[resource] = true
			}
		}
	}
	return len(allowed) == len(resources(call))
}

// resources are those that a call needs a right to.
func resources(c awstest.Call) []string {
	var out []string
	switch {
	case c.Service == "ssm":
		for _, name := range c.Names {
			out = append(out, fmt.Sprintf("arn:aws:ssm:%s:123456789012:parameter%s", c.Region, name))
		}
	case c.Action == "UpdateRoutingControlStates":
		out = c.Names
	case c.Action == "FailoverGlobalReplicationGroup":
		out = []string{c.Resource, "arn:aws:elasticache:" + c.Region + ":123456789012:replicationgroup:" + groupOf(c.Region)}
	case c.Resource != "":
		out = []string{c.Resource}
	default:
		out = []string{"any"}
	}
	return out
}

func holds(condition map[string]map[string]any, c awstest.Call) bool {
	for operator, keys := range condition {
		if operator != "ForAllValues:StringEquals" {
			return false
		}
		for key, allowed := range keys {
			var have []string
			switch key {
			case "route53:ChangeResourceRecordSetsNormalizedRecordNames":
				have = c.Names
			case "route53:ChangeResourceRecordSetsRecordTypes":
				have = c.Types
			case "route53:ChangeResourceRecordSetsActions":
				have = c.Actions
			default:
				return false
			}
			for _, v := range have {
				if !slices.Contains(list(allowed), v) {
					return false
				}
			}
		}
	}
	return true
}

// All that the functions ask, in all the cases there are, is within their policies.
func TestNoCallOutsideThePolicy(t *testing.T) {
	seen := map[string]bool{}
	held := func(c Config, w *awstest.World) {
		t.Helper()
		policy, err := Policy(c, account())
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range w.Calls() {
			seen[call.Service+":"+call.Action] = true
			if !permits(t, policy, call) {
				t.Errorf("%+v is outside of\n%s", call, policy)
			}
		}
	}
	for _, s := range stories(t) {
		synctest.Test(t, func(t *testing.T) {
			w := s.world()
			c := setup(s.Region, DriveRecord, DriveControl, DriveMetric)
			f, _ := function(t, w, c)
			_ = f.Handle(t.Context(), s.Event)
			held(c, w)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := troubled()
		f, _ := function(t, w, promoter())
		if err := f.Handle(t.Context(), tick()); err != nil || len(w.Cache.Failovers) != 1 {
			t.Fatal(err)
		}
		held(promoter(), w)
	})
	for _, action := range []string{
		"elasticache:DescribeReplicationGroups", "elasticache:DescribeGlobalReplicationGroups", "elasticache:FailoverGlobalReplicationGroup",
		"route53:ListResourceRecordSets", "route53:ChangeResourceRecordSets", "route53:GetChange",
		"route53-recovery-cluster:GetRoutingControlState", "route53-recovery-cluster:UpdateRoutingControlStates",
		"monitoring:DescribeAlarms", "monitoring:GetMetricStatistics", "ssm:GetParameters", "ssm:PutParameter",
	} {
		if !seen[action] {
			t.Errorf("no case asks %s: the policy has it, or this test misses it", action)
		}
	}
}

// The policies give away nothing else: not another record, type, action, zone, control or group.
func TestPolicyDenies(t *testing.T) {
	change := func(f func(*awstest.Call)) awstest.Call {
		c := awstest.Call{
			Service: "route53", Region: "us-east-1", Action: "ChangeResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/" + zone,
			Names: []string{name}, Types: []string{"CNAME"}, Actions: []string{"UPSERT"},
		}
		f(&c)
		return c
	}
	c := setup(west2, DriveRecord, DriveControl)
	c.Name = "Write.Session.Internal."
	policy, err := Policy(c, account())
	if err != nil {
		t.Fatal(err)
	}
	if !permits(t, policy, change(func(*awstest.Call) {})) {
		t.Error("the policy denies what it is for")
	}
	for what, call := range map[string]awstest.Call{
		"another name":         change(func(c *awstest.Call) { c.Names = []string{"read.session.internal"} }),
		"another name as well": change(func(c *awstest.Call) { c.Names = append(c.Names, "read.session.internal") }),
		"a name below":         change(func(c *awstest.Call) { c.Names = []string{"a." + name} }),
		"an address":           change(func(c *awstest.Call) { c.Types = []string{"A"} }),
		"to delete":            change(func(c *awstest.Call) { c.Actions = []string{"UPSERT", "DELETE"} }),
		"another zone":         change(func(c *awstest.Call) { c.Resource += "X" }),
		"another control": {
			Service: "route53-recovery-cluster", Region: west2, Action: "UpdateRoutingControlStates",
			Names: []string{panel + west1, panel + "north"},
		},
		"to fail over": {
			Service: "elasticache", Region: west2, Action: "FailoverGlobalReplicationGroup",
			Resource: "arn:aws:elasticache::123456789012:globalreplicationgroup:" + global,
		},
		"a parameter": {Service: "ssm", Region: west2, Action: "GetParameters", Names: []string{kill}},
	} {
		if permits(t, policy, call) {
			t.Errorf("the policy permits %s", what)
		}
	}
	if policy, err = Policy(promoter(), account()); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]awstest.Call{
		"another Global Datastore": {
			Service: "elasticache", Region: west2, Action: "FailoverGlobalReplicationGroup",
			Resource: "arn:aws:elasticache::123456789012:globalreplicationgroup:virxk-carts",
		},
		"to turn the switch":   {Service: "ssm", Region: west2, Action: "PutParameter", Names: []string{kill}},
		"to change a record":   change(func(*awstest.Call) {}),
		"another's parameter":  {Service: "ssm", Region: west2, Action: "GetParameters", Names: []string{memory, "/carts/secret"}},
		"to forget everything": {Service: "ssm", Region: west2, Action: "DeleteParameter", Names: []string{memory}},
	} {
		if permits(t, policy, call) {
			t.Errorf("the promoter's policy permits %s", what)
		}
	}
}

// Statements about what is not driven are left out, and nothing is left to be filled in.
func TestPolicyIsLeast(t *testing.T) {
	for _, c := range []struct {
		config Config
		with   []string
		not    []string
	}{
		{setup(west2, DriveMetric), []string{"elasticache:Describe"}, []string{"route53", "ssm", "Failover"}},
		{setup(west2, DriveRecord), []string{"route53:Change"}, []string{"recovery", "Failover"}},
		{setup(west2, DriveControl), []string{"recovery", panel + west1, panel + west2}, []string{"hostedzone", "Failover"}},
		{promoter(), []string{"Failover", "parameter/roam/"}, []string{"route53", "hostedzone"}},
	} {
		policy, err := Policy(c.config, account())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.with {
			if !strings.Contains(string(policy), want) {
				t.Errorf("no %s in\n%s", want, policy)
			}
		}
		for _, not := range append(c.not, "${", "*:*", `"Action": "*"`) {
			if strings.Contains(string(policy), not) {
				t.Errorf("%s in\n%s", not, policy)
			}
		}
	}
	if _, err := Policy(Config{Function: "demote"}, account()); err == nil {
		t.Error("there is a policy of a function that is none")
	}
}
