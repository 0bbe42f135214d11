package awslambda

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/roam-sessions/roam/internal/awstest"
)

func account() Account {
	return Account{ID: "123456789012", Partition: "aws", Function: "roam-reconcile"}
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
			if !awstest.Permits(policy, call) {
				t.Errorf("%+v is outside of\n%s", call, policy)
			}
			if want := map[bool]string{true: "us-east-1", false: c.Place.Region}[call.Service == "route53"]; call.Region != want && call.Service != "route53-recovery-cluster" {
				t.Errorf("%+v is signed for another Region than %s", call, want)
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
	w, c := swept(), sweeper()
	if err := serveSweeper(t, w).Handle(t.Context(), tick()); err != nil || len(w.Dynamo.Items) != 1 {
		t.Fatalf("Handle = %v, %v", err, w.Dynamo.Items)
	}
	held(c, w)
	for _, action := range []string{
		"elasticache:DescribeReplicationGroups", "elasticache:DescribeGlobalReplicationGroups", "elasticache:FailoverGlobalReplicationGroup",
		"route53:ListResourceRecordSets", "route53:ChangeResourceRecordSets", "route53:GetChange",
		"route53-recovery-cluster:GetRoutingControlState", "route53-recovery-cluster:UpdateRoutingControlStates",
		"monitoring:DescribeAlarms", "monitoring:GetMetricStatistics", "ssm:GetParameters", "ssm:PutParameter",
		"dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:DeleteItem",
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
	if !awstest.Permits(policy, change(func(*awstest.Call) {})) {
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
		if awstest.Permits(policy, call) {
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
		if awstest.Permits(policy, call) {
			t.Errorf("the promoter's policy permits %s", what)
		}
	}
}

func TestPolicyOfASweeperDenies(t *testing.T) {
	policy, err := Policy(sweeper(), account())
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]awstest.Call{
		"another table":        {Service: "dynamodb", Region: west2, Action: "DeleteItem", Names: []string{"carts"}},
		"its copy elsewhere":   {Service: "dynamodb", Region: west1, Action: "DeleteItem", Names: []string{table}},
		"to write":             {Service: "dynamodb", Region: west2, Action: "PutItem", Names: []string{table}},
		"to delete the table":  {Service: "dynamodb", Region: west2, Action: "DeleteTable", Names: []string{table}},
		"to read one's record": {Service: "dynamodb", Region: west2, Action: "Query", Names: []string{table}},
	} {
		if awstest.Permits(policy, call) {
			t.Errorf("the sweeper's policy permits %s", what)
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
		{sweeper(), []string{"table/" + table + `"`}, []string{"elasticache", "route53", "PutItem"}},
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
	for failures, want := range map[string]bool{"": false, "arn:aws:sqs:us-west-2:123456789012:roam-failures": true} {
		a := account()
		a.Failures = failures
		if policy, err := Policy(promoter(), a); err != nil || strings.Contains(string(policy), "sqs:SendMessage") != want || !strings.Contains(string(policy), failures) {
			t.Errorf("with destination %q: %v\n%s", failures, err, policy)
		}
	}
	if _, err := Policy(Config{Function: "demote"}, account()); err == nil {
		t.Error("there is a policy of a function that is none")
	}
}
