package awsdeploy

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// rightOf is the right that a call needs; empty: none.
func rightOf(c call) string {
	switch c.service {
	case "sts":
		return ""
	case "cloudcontrolapi":
		return "cloudformation:" + c.action
	}
	return c.service + ":" + c.action
}

// everyCall carries out all there is, and returns the rights that it took.
func everyCall(t *testing.T) map[string]bool {
	used := map[string]bool{}
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		d, _ := w.undoer(Config{})
		if _, _, err := d.Caller(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A change set without changes is deleted.
		s, err := d.look(t.Context(), west2, "shop-arc")
		if err != nil {
			t.Fatal(err)
		}
		if is, err := d.change(t.Context(), d.want(7, nil), s); is || err != nil || len(w.formation.find(west2, "shop-arc").sets) > 0 {
			t.Fatalf("a change that is none: %t, %v", is, err)
		}
		w.resources["us-east-1 AWS::DSQL::Cluster abc"] = `{"DeletionProtectionEnabled":true}`
		if _, err := d.discard(t.Context(), "us-east-1", "AWS::DSQL::Cluster", "abc"); err != nil {
			t.Fatal(err)
		}
		remains, err := d.Destroy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Purge(t.Context(), remains); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.calls {
			if right := rightOf(c); right != "" {
				used[right] = true
			}
		}
	})
	return used
}

// The policy has the rights of all calls that are made, and of no others.
func TestPolicyIsWhatIsCalled(t *testing.T) {
	used := everyCall(t)
	used["cloudformation:SetStackPolicy"] = true // by CreateStack with a policy
	used["cloudformation:TagResource"] = true    // by CreateStack with tags
	have := map[string]bool{}
	for _, s := range calls("shop", Account{ID: account, Partition: "aws"}) {
		for _, a := range s.Action {
			have[a] = true
		}
		for _, r := range s.Resource {
			if r != "*" && (!strings.HasPrefix(r, "arn:aws:") || strings.Contains(r, "${")) {
				t.Errorf("%s: resource %q", s.Sid, r)
			}
		}
	}
	if got, want := sortedKeys(have), sortedKeys(used); !slices.Equal(got, want) {
		t.Errorf("the policy has\n%s\nand what is called is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPolicyOfARole(t *testing.T) {
	read := func(role string) map[string][]string {
		raw, err := Policy(testPlan(), testTemplate, Account{ID: account, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Statement []Statement }
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		out := map[string][]string{}
		for _, s := range p.Statement {
			out[s.Sid] = s.Action
		}
		return out
	}
	if got := read(""); !slices.Equal(got["WhatCloudFormationMakes"], []string{"ec2:*", "elasticache:*", "kms:*", "logs:*", "route53-recovery-control-config:*", "route53:*", "s3:GetObject"}) || got["PassTheRole"] != nil {
		t.Errorf("without a role: %v", got)
	}
	if got := read("arn:aws:iam::123456789012:role/cfn"); got["WhatCloudFormationMakes"] != nil || !slices.Equal(got["PassTheRole"], []string{"iam:PassRole"}) {
		t.Errorf("with a role: %v", got)
	}
}

// Each call is in the page that tells of them, and the page has no others.
func TestDocsTellOfEachCall(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "aws", "deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	right := regexp.MustCompile("`([a-z0-9-]+:[A-Z]\\w+)`")
	told := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.HasPrefix(line, "| `") {
			for _, m := range right.FindAllStringSubmatch(cells[1], -1) {
				told[m[1]] = true
			}
		}
	}
	have := map[string]bool{"sts:GetCallerIdentity": true}
	for _, s := range calls("shop", Account{ID: account, Partition: "aws"}) {
		for _, a := range s.Action {
			have[a] = true
		}
	}
	if !maps.Equal(told, have) {
		t.Errorf("docs/aws/deploy.md tells of\n%s\nand there are\n%s", strings.Join(sortedKeys(told), "\n"), strings.Join(sortedKeys(have), "\n"))
	}
}

// A type that is none of AWS's has no name in a policy.
func TestPolicyRefusesOtherTypes(t *testing.T) {
	p := awsplan.Plan{Name: "shop", Steps: []awsplan.Step{{Do: awsplan.DoStack, Template: "x.yaml"}}}
	if raw, err := Policy(p, func(string) (string, error) { return "Resources: {R: {Type: Custom::Thing}}", nil }, Account{}); err == nil {
		t.Errorf("Policy = %s, want an error", raw)
	}
}
