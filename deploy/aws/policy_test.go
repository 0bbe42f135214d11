package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/roam-sessions/roam/engine/dynamo"
	"github.com/roam-sessions/roam/internal/awslambda"
	"github.com/roam-sessions/roam/internal/cfn"
)

const (
	account  = "123456789012"
	failures = "arn:aws:sqs:us-west-2:123456789012:failures"
)

// rendered renders a template in us-west-2.
func rendered(t *testing.T, name string, parameters map[string]string) cfn.Rendered {
	t.Helper()
	out, err := templates(t)[name].Render(cfn.Stack{
		Name: "sessions", Region: "us-west-2", Account: account, Parameters: parameters,
		Attribute: func(resource, attribute string) string {
			switch resource + "." + attribute {
			case "DeadLetters.Arn":
				return failures
			case "Switch.":
				return "/roam/sessions/switch"
			}
			return resource + "." + attribute
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// variables returns a function's environment.
func variables(t *testing.T, r cfn.Rendered) func(string) string {
	t.Helper()
	environment, _ := r.Resources["Function"].Properties["Environment"].(map[string]any)
	vars, _ := environment["Variables"].(map[string]any)
	if len(vars) == 0 {
		t.Fatal("the function has no variables")
	}
	return func(name string) string {
		if name == "AWS_REGION" {
			return "us-west-2"
		}
		v, ok := vars[name]
		if !ok {
			return ""
		}
		return fmt.Sprint(v)
	}
}

// granted returns the one policy of a role.
func granted(t *testing.T, r cfn.Rendered) any {
	t.Helper()
	policies, _ := r.Resources["Role"].Properties["Policies"].([]any)
	if len(policies) != 1 {
		t.Fatalf("%d policies, want one", len(policies))
	}
	one, _ := policies[0].(map[string]any)
	return normal(t, one["PolicyDocument"])
}

// normal returns what JSON makes of something, lists of one as the one.
func normal(t *testing.T, v any) any {
	t.Helper()
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return single(out)
}

func single(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = single(e)
		}
	case []any:
		for i, e := range v {
			v[i] = single(e)
		}
		if len(v) == 1 {
			return v[0]
		}
	}
	return v
}

// The functions' variables are ones that they take, and their roles may do what awslambda.Policy says, no more and
// no less, whatever they drive.
func TestFunctions(t *testing.T) {
	reconcile := map[string]string{
		"Deployment": "sessions", "Bucket": "b", "Topic": "arn:aws:sns:us-west-2:123456789012:sessions-cache", "Group": "sessions-us-west-2",
		"Global": "virxk-sessions", "Zone": "Z123", "Name": "write.session.internal",
		"Control": "arn:control/a", "Off1": "arn:control/b", "Off2": "arn:control/c", "Endpoints": "us-east-1=https://a.example/v1,us-west-2=https://b.example/v1",
	}
	with := func(of map[string]string, more ...string) map[string]string {
		out := maps.Clone(of)
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	promote := map[string]string{
		"Deployment": "sessions", "Bucket": "b", "Topic": "arn:aws:sns:us-west-2:123456789012:sessions-alarms", "Group": "sessions-us-west-2",
		"Global": "virxk-sessions", "Alarms": "sessions-write-errors,sessions-write-slow", "CacheCluster": "sessions-us-west-2-001",
	}
	for name, c := range map[string]struct {
		template, function string
		parameters         map[string]string
	}{
		"record":              {"lambda.yaml", "sessions-reconcile", with(reconcile, "Drive", "record,metric")},
		"record, alone":       {"lambda.yaml", "sessions-reconcile", with(reconcile, "Drive", "record,metric", "Global", "none", "Adopt", "yes")},
		"metric":              {"lambda.yaml", "sessions-reconcile", with(reconcile, "Drive", "metric")},
		"controls":            {"lambda.yaml", "sessions-reconcile", with(reconcile, "Drive", "control,metric")},
		"controls of two":     {"lambda.yaml", "sessions-reconcile", with(reconcile, "Drive", "control,metric", "Off2", "")},
		"promoter":            {"promoter.yaml", "sessions-promote", promote},
		"sweeper":             {"sweep.yaml", "sessions-sweep", map[string]string{"Deployment": "sessions", "Bucket": "b", "Table": "sessions-sessions"}},
		"promoter, with node": {"promoter.yaml", "sessions-promote", with(promote, "CacheNode", "0001", "Patience", "3m")},
	} {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, c.template, c.parameters)
			config, err := awslambda.ReadConfig(variables(t, r))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Resources["Function"].Properties["FunctionName"]; got != c.function {
				t.Errorf("it is called %v", got)
			}
			if got := r.Resources["Function"].Properties["Timeout"]; fmt.Sprint(got) != fmt.Sprint(given(config).Seconds()) {
				t.Errorf("it is given %v s, want %v", got, given(config))
			}
			if log := r.Resources["Log"].Properties["LogGroupName"]; log != "/aws/lambda/"+c.function {
				t.Errorf("it logs to %v", log)
			}
			want, err := awslambda.Policy(config, awslambda.Account{ID: account, Partition: "aws", Function: c.function, Failures: failures})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(normal(t, want), granted(t, r)); d != "" {
				t.Errorf("what it may do is not awslambda.Policy (-) but (+):\n%s", d)
			}
			if config.Place.Standalone != (c.parameters["Global"] == "none") || config.Adopt != (c.parameters["Adopt"] == "yes") {
				t.Errorf("%+v", config)
			}
		})
	}
}

// given is how long a function may take.
func given(c awslambda.Config) time.Duration {
	if c.Function == awslambda.Sweep {
		return awslambda.SweepTimeout
	}
	return awslambda.Timeout
}

// A node may do to the Global Datastore what its page says, no more and no less.
func TestNodes(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "aws", "global-datastore.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## What a node may do")
	_, rest, _ = strings.Cut(rest, "```json")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no policy")
	}
	want := normal(t, []byte(strings.ReplaceAll(text, "session-usw2", "sessions-us-west-2"))).(map[string]any)["Statement"].([]any)
	for detaches, actions := range map[string]int{"yes": 2, "no": 1} {
		r := rendered(t, "nodes.yaml", map[string]string{
			"Deployment": "sessions", "Domain": "session.internal", "Zone": "Z123", "Subnet": "subnet-1", "AvailabilityZone": "us-west-2a",
			"SecurityGroup": "sg-1", "Bucket": "b", "Secret": "sessions/cache", "Group": "sessions-us-west-2", "Global": "virxk-sessions",
			"Certificates": "sessions/pki/us-west-2", "Detaches": detaches,
		})
		var got []any
		for _, s := range granted(t, r).(map[string]any)["Statement"].([]any) {
			if raw, _ := json.Marshal(s); strings.Contains(string(raw), "elasticache:") {
				got = append(got, s)
			}
		}
		if d := cmp.Diff(want, got); (d == "") != (detaches == "yes") {
			t.Errorf("detaches %s: %s", detaches, d)
		}
		raw, _ := json.Marshal(got)
		if n := strings.Count(string(raw), "GlobalReplicationGroup\""); n != actions {
			t.Errorf("detaches %s: %d actions move something: %s", detaches, n, raw)
		}
	}
}

// The table has the keys that engine/dynamo wants, and its policy is dynamo.PolicyFor of it: applications sweep nothing.
func TestTable(t *testing.T) {
	for _, strong := range []string{"yes", "no"} {
		r := rendered(t, "dynamodb.yaml", map[string]string{"Deployment": "sessions", "Strong": strong, "Region2": "us-east-1", "Region3": "us-east-2"})
		want := dynamo.PolicyFor("arn:aws:dynamodb:*:123456789012:table/sessions-sessions", false)
		if d := cmp.Diff(normal(t, []byte(want.JSON())), normal(t, r.Resources["Access"].Properties["PolicyDocument"])); d != "" {
			t.Errorf("strong %s: %s", strong, d)
		}
		table := r.Resources["Table"].Properties
		if _, ttl := table["TimeToLiveSpecification"]; ttl != (strong == "no") {
			t.Errorf("strong %s: time to live %v", strong, table["TimeToLiveSpecification"])
		}
		if _, stream := table["StreamSpecification"]; !stream {
			t.Errorf("strong %s: a table with copies has no stream", strong)
		}
		keys := []any{map[string]any{"AttributeName": "pk", "KeyType": "HASH"}, map[string]any{"AttributeName": "wr", "KeyType": "RANGE"}}
		if d := cmp.Diff(keys, table["KeySchema"]); d != "" {
			t.Error(d)
		}
		if n := len(table["Replicas"].([]any)); n != 3 {
			t.Errorf("%d replicas, want 3", n)
		}
	}
}

// A topic's policy lets ElastiCache publish by its SourceOwner, and no other account.
func TestTopicPolicy(t *testing.T) {
	for _, name := range []string{"cache-primary.yaml", "cache-secondary.yaml"} {
		parameters := map[string]string{"Deployment": "sessions", "Subnets": "subnet-1,subnet-2", "SecurityGroup": "sg-1", "Secret": "sessions/cache"}
		if name == "cache-secondary.yaml" {
			parameters["Global"] = "virxk-sessions"
		}
		r := rendered(t, name, parameters)
		document, _ := r.Resources["EventsPolicy"].Properties["PolicyDocument"].(map[string]any)
		statements, _ := document["Statement"].([]any)
		if len(statements) != 2 {
			t.Fatalf("%s: %d statements, want both", name, len(statements))
		}
		for _, s := range statements {
			condition := s.(map[string]any)["Condition"]
			if d := cmp.Diff(map[string]any{"StringEquals": map[string]any{"aws:SourceOwner": account}}, condition); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
}
