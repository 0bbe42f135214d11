package awsdeploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// deploy carries testPlan out in a world.
func deploy(t *testing.T, w *world, c Config) (*[]Event, error) {
	t.Helper()
	c.Poll = cmp.Or(c.Poll, 4*resourceTime)
	d, told := w.deployer(testPlan(), c)
	err := d.Deploy(t.Context())
	w.sound(t)
	return told, err
}

// complete is what is there when testPlan is carried out.
func complete() map[string]string {
	return map[string]string{
		west1 + " shop-network": "UPDATE_COMPLETE", west2 + " shop-network": "CREATE_COMPLETE", west1 + " shop-cache": "CREATE_COMPLETE", west2 + " shop-cache": "CREATE_COMPLETE",
		west2 + " shop-arc": "CREATE_COMPLETE", west1 + " shop-zone": "CREATE_COMPLETE",
	}
}

// isComplete checks that all of testPlan is there.
func isComplete(t *testing.T, w *world, when string, updated ...string) {
	t.Helper()
	want := complete()
	for _, stack := range updated {
		want[stack] = "UPDATE_COMPLETE"
	}
	if got := w.formation.states(); !maps.Equal(got, want) {
		t.Errorf("%s: stacks are %v, want %v", when, got, want)
	}
	for _, s := range []struct{ region, stack, parameter, want string }{
		{west1, "shop-network", "Peers", west2 + "-shop-network-vpc"},
		{west2, "shop-cache", "Global", "virxk-shop"},
		{west1, "shop-zone", "Vpcs", west1 + "-shop-network-vpc," + west2 + "-shop-network-vpc"},
	} {
		if is := w.formation.find(s.region, s.stack); is == nil || is.parameters[s.parameter] != s.want {
			t.Errorf("%s: %s of %s in %s is %+v, want %q", when, s.parameter, s.stack, s.region, is, s.want)
		}
	}
	if w.peerings["tgw-attach-1"] != "available" || !w.controls[controlA] || w.controls[controlB] {
		t.Errorf("%s: peering is %s, controls are %v", when, w.peerings["tgw-attach-1"], w.controls)
	}
	if g := w.cache.global("virxk-shop"); g == nil || len(g.members) != 2 {
		t.Errorf("%s: the Global Datastore is %+v, want two members", when, g)
	}
}

// changing are the calls that change something.
func changing() []string {
	return []string{
		"CreateStack", "CreateChangeSet", "ExecuteChangeSet", "DeleteStack", "AcceptTransitGatewayPeeringAttachment", "UpdateRoutingControlStates",
		"DisassociateGlobalReplicationGroup", "DeleteGlobalReplicationGroup", "DeleteReplicationGroup", "ChangeResourceRecordSets", "DeleteResource", "UpdateResource", "DeleteSnapshot",
	}
}

func (w *world) changes() (n int) {
	for _, action := range changing() {
		n += w.count(action)
	}
	return n
}

func TestDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		told, err := deploy(t, w, Config{Role: "arn:aws:iam::123456789012:role/cfn"})
		if err != nil {
			t.Fatalf("Deploy = %v\n%s", err, text(*told))
		}
		isComplete(t, w, "at first")
		for _, want := range []string{
			"1/11 begun  it is wanted\n", "1/11 resource Vpc CREATE_COMPLETE \n", "1/11 done  created\n", "3/11 done  updated\n",
			"4/11 note  peering tgw-attach-1 is pendingacceptance\n", "4/11 done  accepted\n", "6/11 done  primary-only\n", "9/11 done  5 endpoints\n", "10/11 done  turned on\n", "11/11 done  created\n",
		} {
			if !strings.Contains(text(*told), want) {
				t.Errorf("it does not tell %q:\n%s", want, text(*told))
			}
		}
		cache := w.formation.find(west1, "shop-cache")
		if cache.tags[tagName] != "shop" || cache.policy == "" || cache.role == "" || w.formation.find(west1, "shop-network").policy != "" {
			t.Errorf("the cache's stack is %+v", cache)
		}

		before := w.changes()
		told, err = deploy(t, w, Config{})
		if err != nil || w.changes() != before {
			t.Errorf("again: Deploy = %v, and %d calls that change something, want none", err, w.changes()-before)
		}
		for i, said := range texts(*told, Done) {
			if step := testPlan().Steps[i]; step.Do == awsplan.DoStack && said != "nothing to do" {
				t.Errorf("again: step %d: %s", i+1, said)
			}
		}
		isComplete(t, w, "again")
	})
}

// Whoever dies at any call (each fifth with the race detector, which takes five times as long), before or after it was carried out, goes on there when she asks again.
func TestDeployGoesOnAfterACrashAnywhere(t *testing.T) {
	total := 0
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		total = len(w.calls)
	})
	if total < 50 {
		t.Fatalf("%d calls: want more to die at", total)
	}
	for at := 1; at <= total; at += stride {
		for _, unheard := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newTestWorld()
				ctx, die := context.WithCancel(t.Context())
				w.fate = func(n int, _ call) fate {
					if n == at {
						die()
						return fate{lost: !unheard, unheard: unheard}
					}
					return fate{}
				}
				d, _ := w.deployer(testPlan(), Config{Poll: 4 * resourceTime})
				if err := d.Deploy(ctx); err == nil && len(w.calls) >= at {
					t.Errorf("dead at call %d: Deploy = nil", at)
				}
				if len(w.calls) < at || unheard && !slices.Contains(changing(), w.calls[at-1].action) {
					return // of a question it is no matter whether AWS heard it
				}
				w.fate = nil
				if told, err := deploy(t, w, Config{}); err != nil {
					t.Fatalf("after a crash at call %d (unheard: %t, %+v): Deploy = %v\n%s", at, unheard, w.calls[at-1], err, text(*told))
				}
				isComplete(t, w, fmt.Sprintf("after a crash at call %d", at))
				if n := len(w.formation.stacks); n != len(complete()) {
					t.Errorf("after a crash at call %d: %d stacks were made, want %d", at, n, len(complete()))
				}
			})
		}
	}
}

// Answers that are lost, throttles and faults of AWS's own are borne, one after each call that went well.
func TestDeployBearsTrouble(t *testing.T) {
	for name, f := range map[string]fate{
		"lost": {lost: true}, "unheard": {unheard: true}, "throttled": {code: "Throttling"}, "broken": {code: "InternalFailure", status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTestWorld()
				w.fate = func(n int, _ call) fate {
					if n%2 == 1 {
						return f
					}
					return fate{}
				}
				if told, err := deploy(t, w, Config{}); err != nil {
					t.Fatalf("Deploy = %v\n%s", err, text(*told))
				}
				isComplete(t, w, name)
			})
		})
	}
}

// What does not end is not borne for ever, and what is refused is not asked twice.
func TestTriesAreBounded(t *testing.T) {
	for code, most := range map[string]int{"Throttling": callTries, "AccessDenied": 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newTestWorld()
			w.fate = func(_ int, c call) fate {
				if c.action == "CreateStack" {
					return fate{code: code}
				}
				return fate{}
			}
			if _, err := deploy(t, w, Config{}); err == nil || !strings.Contains(err.Error(), code) || !strings.Contains(err.Error(), "step 1 of 11: create stack shop-network in us-west-1") {
				t.Errorf("Deploy = %v, want one that says %s", err, code)
			}
			if n := w.count("CreateStack"); n != most {
				t.Errorf("%s: asked %d times, want %d", code, n, most)
			}
		})
	}
}

// A creation that failed is explained by what failed first, and made anew if somebody says so.
func TestDeployExplainsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		w.formation.fail = func(stack, resource string) string {
			if stack == "shop-cache" && resource == "Cache" {
				return "Replication group shop-us-west-1 already exists (Service: AmazonElastiCache)"
			}
			return ""
		}
		for _, when := range []string{"at once", "when it is asked for again"} {
			_, err := deploy(t, w, Config{})
			var of *StackError
			if !errors.As(err, &of) || of.Status != "ROLLBACK_COMPLETE" || of.Resource != "Cache" || of.Type != groupType || !strings.Contains(of.Reason, "already exists") ||
				!strings.Contains(of.Next, "--replace-failed") || !strings.Contains(of.Next, "--purge") {
				t.Errorf("%s: Deploy = %+v (%v), want the cache's reason", when, of, err)
			}
		}
		w.formation.fail = nil
		if _, err := deploy(t, w, Config{}); err == nil {
			t.Error("without --replace-failed it was made anew")
		}
		if _, err := deploy(t, w, Config{ReplaceFailed: true}); err != nil {
			t.Fatalf("with --replace-failed: Deploy = %v", err)
		}
		isComplete(t, w, "made anew")
	})
}

// An update that fails is explained, leaves what was, and comes about when it is asked for again.
func TestDeployExplainsAnUpdateThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		w.formation.fail = func(_, resource string) string {
			if s := w.formation.find(west1, "shop-network"); resource == "Routes" && s != nil && s.parameters["Peers"] != "" {
				return "not authorized to perform: ec2:CreateRoute"
			}
			return ""
		}
		_, err := deploy(t, w, Config{})
		var of *StackError
		if !errors.As(err, &of) || of.Status != "UPDATE_ROLLBACK_COMPLETE" || of.Resource != "Routes" || !strings.Contains(of.Next, "docs/aws/deploy.md") {
			t.Errorf("Deploy = %+v (%v), want the routes' reason", of, err)
		}
		w.formation.fail = nil
		w.formation.find(west1, "shop-network").parameters["Peers"] = "" // CloudFormation has rolled it back
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatalf("again: Deploy = %v", err)
		}
		isComplete(t, w, "again")
	})
}

// After a failover nothing that deploys restores roles, and a stack that has them is updated only if somebody says so.
func TestRolesAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		w.cache.promote(west2)
		w.controls[controlA], w.controls[controlB] = false, true
		other := strings.Replace(testTemplates()["cache-primary.yaml"], "Outputs:", "  Topic: {Type: AWS::SNS::Topic}\nOutputs:", 1)
		for _, allowed := range []bool{false, true, true} {
			d, told := w.deployer(testPlan(), Config{AllowCacheUpdate: allowed})
			d.templates = changed("cache-primary.yaml", other)
			if err := d.Deploy(t.Context()); err != nil {
				t.Fatal(err)
			}
			has := w.formation.find(west1, "shop-cache").resource("Topic") != nil
			note := strings.Contains(text(*told), "--allow-cache-update")
			if has != allowed || note == allowed {
				t.Errorf("allowed %t: updated %t, noted %t\n%s", allowed, has, note, text(*told))
			}
			if g := w.cache.global("virxk-shop"); g.members[0].role != "SECONDARY" || g.members[1].role != "PRIMARY" {
				t.Errorf("allowed %t: roles are %+v", allowed, g.members)
			}
			if w.controls[controlA] || !w.controls[controlB] {
				t.Errorf("allowed %t: controls are %v", allowed, w.controls)
			}
		}
	})
}

// What a later step gave a stack stays when an earlier one changes it, and a change set that somebody left is made anew.
func TestAnEarlierStepTakesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		d, told := w.deployer(testPlan(), Config{})
		d.templates = changed("network.yaml", testTemplates()["network.yaml"]+"# more\n")
		given, err := d.parameters(t.Context(), d.plan.Steps[0])
		if err != nil {
			t.Fatal(err)
		}
		w.formation.find(west1, "shop-network").sets[setName(d.want(0, given))] = &fakeSet{status: "FAILED", reason: "it is of before"}
		if err := d.Deploy(t.Context()); err != nil {
			t.Fatalf("Deploy = %v\n%s", err, text(*told))
		}
		if said := texts(*told, Done)[:3]; !slices.Equal(said, []string{"updated", "updated", "nothing to do"}) {
			t.Errorf("it says %q", said)
		}
		isComplete(t, w, "after it", west2+" shop-network")
	})
}

// Whom somebody else forestalls waits, looks again, and then does what is left to do.
func TestDeployWaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		s, busy := w.formation.find(west1, "shop-zone"), false
		other := testTemplates()["zone.yaml"] + "# more\n"
		w.fate = func(_ int, c call) fate {
			if c.action != "CreateChangeSet" || busy {
				return fate{}
			}
			busy, s.template = true, other // she does the same
			s.set("UPDATE_IN_PROGRESS", "User Initiated", time.Now())
			w.formation.build(s, "UPDATE", time.Now())
			return fate{code: "ValidationError"}
		}
		d, told := w.deployer(testPlan(), Config{})
		d.templates = changed("zone.yaml", other)
		if err := d.Deploy(t.Context()); err != nil || !busy {
			t.Fatalf("Deploy = %v\n%s", err, text(*told))
		}
		if n := w.count("ExecuteChangeSet"); n != 1 { // of the first Deploy
			t.Errorf("%d change sets were executed, want the first alone", n)
		}
		isComplete(t, w, "after it", west1+" shop-zone")
	})
}

func TestDeployRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make func(w *world) (templates func(string) (string, error))
		want error
		says string
	}{
		"another's stack": {func(w *world) func(string) (string, error) {
			w.formation.find(west1, "shop-zone").tags[tagName] = "bank"
			return testTemplate
		}, ErrForeign, "shop-zone in us-west-1"},
		"what replaces data": {func(w *world) func(string) (string, error) {
			w.formation.replaces = []string{"Zone"}
			return changed("zone.yaml", strings.Replace(testTemplates()["zone.yaml"], "Outputs:", "  Topic: {Type: AWS::SNS::Topic}\nOutputs:", 1))
		}, ErrData, "would replace Zone (AWS::Route53::HostedZone)"},
		"what removes data": {func(*world) func(string) (string, error) {
			return changed("zone.yaml", strings.Replace(testTemplates()["zone.yaml"], "  Zone: {Type: AWS::Route53::HostedZone}\n", "", 1))
		}, ErrData, "would remove Zone (AWS::Route53::HostedZone)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTestWorld()
				if _, err := deploy(t, w, Config{}); err != nil {
					t.Fatal(err)
				}
				d, _ := w.deployer(testPlan(), Config{})
				d.templates = c.make(w)
				before := w.count("ExecuteChangeSet") + w.count("DeleteStack")
				if err := d.Deploy(t.Context()); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Deploy = %v, want %v with %q", err, c.want, c.says)
				}
				if w.count("ExecuteChangeSet")+w.count("DeleteStack") != before {
					t.Error("something was changed all the same")
				}
			})
		})
	}
}

// Whose time is up is told so, and nothing is taken back.
func TestDeployWaitsNoLongerThanItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		if _, err := deploy(t, w, Config{Within: 2 * resourceTime}); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "ask again") {
			t.Errorf("Deploy = %v, want ErrUnfinished", err)
		}
		if w.count("DeleteStack") > 0 || w.count("CreateStack") != 1 {
			t.Error("more was done than to ask for one stack")
		}
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		isComplete(t, w, "at last")
	})
}

func TestPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		preview := func(templates func(string) (string, error)) string {
			d, _ := w.deployer(testPlan(), Config{})
			d.templates = templates
			changes, err := d.Preview(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, c := range changes {
				all = append(all, fmt.Sprint(c.Do, c.Differs))
			}
			return strings.Join(all, " ")
		}
		if got, want := preview(testTemplate), "create[] create[] create[] do[] create[] later[] create[] create[] later[] later[] create[]"; got != want {
			t.Errorf("of nothing: %s, want %s", got, want)
		}
		if w.changes() > 0 {
			t.Error("a preview changed something")
		}
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		before := w.changes()
		w.formation.find(west2, "shop-network").parameters["Cidr"] = "10.9.0.0/16"
		other := changed("cache-primary.yaml", testTemplates()["cache-primary.yaml"]+"# more\n")
		if got, want := preview(other), `keep[] update[Cidr is "10.9.0.0/16" and not "10.2.0.0/16"] keep[] do[] skip[another template] do[] keep[] keep[] do[] do[] keep[]`; got != want {
			t.Errorf("of what differs: %s, want %s", got, want)
		}
		if w.changes() != before {
			t.Error("a preview changed something")
		}
	})
}

func TestCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld()
		d, _ := w.deployer(testPlan(), Config{})
		if id, arn, err := d.Caller(t.Context()); err != nil || id != account || !strings.HasSuffix(arn, "user/someone") {
			t.Errorf("Caller = %s, %s, %v", id, arn, err)
		}
		d, _ = w.deployer(testPlan(), Config{Account: "000000000000"})
		if _, _, err := d.Caller(t.Context()); !errors.Is(err, ErrAccount) {
			t.Errorf("Caller = %v, want ErrAccount", err)
		}
		d.cloud.Credentials = nil
		if _, _, err := d.Caller(t.Context()); err == nil || !strings.Contains(err.Error(), "AWS_PROFILE") {
			t.Errorf("without credentials: Caller = %v", err)
		}
		w.sound(t)
	})
}

func TestCheckTellsAllFaults(t *testing.T) {
	p := testPlan()
	p.Steps[0].Parameters = map[string]string{"Deployment": "shop", "Sidr": "10.1.0.0/16"}
	p.Steps[1].Template = "nowhere.yaml"
	p.Steps[3].Do = "dance"
	err := Check(p, changed("zone.yaml", "Parameters: {Vpcs: {Type: String}}\n"+strings.Repeat("# long\n", mostTemplate/7)))
	for _, want := range []string{
		"step 1, stack shop-network in us-west-1: template network.yaml has no parameter Sidr", "template network.yaml wants parameter Cidr, and nobody gives it",
		"step 2, stack shop-network in us-west-2: template: nowhere.yaml", `step 4: this program can't do "dance"`, "step 11, stack shop-zone in us-west-1: template zone.yaml has 512",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check lacks %q: %v", want, err)
		}
	}
	if err := Check(testPlan(), testTemplate); err != nil {
		t.Errorf("Check of a good plan = %v", err)
	}
	if slices.Contains(actions(), awsplan.DoStack) {
		t.Error("a stack is an action")
	}
}
