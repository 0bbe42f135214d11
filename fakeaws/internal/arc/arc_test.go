package arc

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster/types"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a cluster with a client of each endpoint.
type world struct {
	*Fake
	clock   *clock.Manual
	keeper  *door.Keeper
	clients map[string]*route53recoverycluster.Client
	a, b    string
}

func begin(t *testing.T, rotate time.Duration, rules ...Rule) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Unix(0, 0)), clients: map[string]*route53recoverycluster.Client{}}
	w.Fake = New(Config{Clock: w.clock, Account: "123456789012", Rotate: rotate})
	if err := w.Add(Panel{Name: "p", Controls: []string{"a", "b"}, Rules: rules}); err != nil {
		t.Fatal(err)
	}
	w.a, w.b = w.ControlARN("p", "a"), w.ControlARN("p", "b")
	w.keeper = door.NewKeeper(w.clock, "123456789012")
	w.keeper.Admit("AKID", door.Caller{ARN: "arn:aws:iam::123456789012:role/dns", Secret: "secret"})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	service := w.Service()
	for _, region := range Regions() {
		s := httptest.NewServer(w.keeper.Door(service, region))
		t.Cleanup(s.Close)
		w.clients[region] = route53recoverycluster.New(route53recoverycluster.Options{
			Region: region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
		})
	}
	return w
}

// set asks for states: + is on, - is off, anything else is left out.
func (w *world) set(t *testing.T, a, b byte, override ...string) error {
	t.Helper()
	in := &route53recoverycluster.UpdateRoutingControlStatesInput{SafetyRulesToOverride: override}
	for arn, s := range map[string]byte{w.a: a, w.b: b} {
		if said := map[byte]types.RoutingControlState{'+': types.RoutingControlStateOn, '-': types.RoutingControlStateOff}[s]; said != "" {
			in.UpdateRoutingControlStateEntries = append(in.UpdateRoutingControlStateEntries, types.UpdateRoutingControlStateEntry{RoutingControlArn: &arn, RoutingControlState: said})
		}
	}
	_, err := w.clients["eu-west-1"].UpdateRoutingControlStates(t.Context(), in)
	return err
}

func (w *world) states() string {
	out := ""
	for _, arn := range []string{w.a, w.b} {
		if on, _ := w.State(arn); on {
			out += "+"
		} else {
			out += "-"
		}
	}
	return out
}

func isConflict(err error) bool {
	e, ok := errors.AsType[*types.ConflictException](err)
	return ok && *e.ResourceType == "SAFETY_RULE"
}

func TestSafetyRules(t *testing.T) {
	one := Rule{Name: "one", Asserted: []string{"a", "b"}, Type: "ATLEAST", Threshold: 1}
	both := Rule{Name: "not both", Asserted: []string{"a", "b"}, Type: "AND", Inverted: true}
	w := begin(t, 0, one, both)
	for _, c := range []struct {
		a, b     byte
		conflict bool
		want     string
	}{
		{'+', ' ', false, "+-"},
		{'-', ' ', true, "+-"}, // none would be on
		{' ', '+', true, "+-"}, // both would be on
		{'-', '+', false, "-+"},
		{'-', '+', false, "-+"}, // as they are
	} {
		w.clock.Advance(5 * time.Second)
		err := w.set(t, c.a, c.b)
		if isConflict(err) != c.conflict || !c.conflict && err != nil || w.states() != c.want {
			t.Errorf("set %c%c: %v and %s, want %s, conflict %v", c.a, c.b, err, w.states(), c.want, c.conflict)
		}
	}
	// So soon after a change there is no other one, be it allowed.
	w.clock.Advance(5 * time.Second)
	if err := w.set(t, '+', '-'); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5*time.Second - 1)
	if err := w.set(t, '-', '+'); !isConflict(err) {
		t.Errorf("too soon: %v, want a conflict", err)
	}
	w.clock.Advance(1)
	if err := w.set(t, '-', '+'); err != nil {
		t.Errorf("later: %v", err)
	}
	if err := w.set(t, '-', '-', w.RuleARN("p", "one"), w.RuleARN("p", "not both")); err != nil || w.states() != "--" {
		t.Errorf("overridden: %v, %s", err, w.states())
	}
	if err := w.set(t, '+', '-', "arn:none"); err == nil || w.states() != "--" {
		t.Errorf("an override of nothing: %v, %s", err, w.states())
	}
}

func TestGating(t *testing.T) {
	w := begin(t, 0, Rule{Name: "gate", Gating: []string{"a"}, Targets: []string{"b"}, Type: "OR", Wait: -1})
	if err := w.set(t, ' ', '+'); !isConflict(err) {
		t.Errorf("the gate is closed: %v", err)
	}
	if err := w.set(t, '+', '+'); !isConflict(err) || w.states() != "--" {
		t.Errorf("the gate opens in the same update: %v, %s, want a conflict and nothing done", err, w.states())
	}
	if err := w.set(t, '+', ' '); err != nil {
		t.Error(err)
	}
	if err := w.set(t, ' ', '+'); err != nil || w.states() != "++" {
		t.Errorf("the gate is open: %v, %s", err, w.states())
	}
}

// One endpoint after the other is down, and no two at once.
func TestRotation(t *testing.T) {
	w := begin(t, time.Minute)
	for turn := range Regions() {
		var down []string
		for _, region := range Regions() {
			_, err := w.clients[region].GetRoutingControlState(t.Context(), &route53recoverycluster.GetRoutingControlStateInput{RoutingControlArn: &w.a})
			if _, ok := errors.AsType[*types.EndpointTemporarilyUnavailableException](err); ok {
				down = append(down, region)
			} else if err != nil {
				t.Error(err)
			}
		}
		if len(down) != 1 || down[0] != Regions()[turn] {
			t.Errorf("in turn %d %v are down, want %s", turn, down, Regions()[turn])
		}
		w.clock.Advance(time.Minute)
	}
}

func TestFaultsAndList(t *testing.T) {
	w := begin(t, 0)
	c := w.clients["us-west-2"]
	_, err := c.GetRoutingControlState(t.Context(), &route53recoverycluster.GetRoutingControlStateInput{RoutingControlArn: aws.String("arn:none")})
	if e, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok || *e.ResourceId != "arn:none" {
		t.Errorf("no control: %v", err)
	}
	_, err = c.UpdateRoutingControlState(t.Context(), &route53recoverycluster.UpdateRoutingControlStateInput{RoutingControlArn: &w.a, RoutingControlState: "Maybe"})
	if e, ok := errors.AsType[*types.ValidationException](err); !ok || e.Reason != types.ValidationExceptionReasonFieldValidationFailed || *e.Fields[0].Name != "RoutingControlState" {
		t.Errorf("no state: %v", err)
	}
	if _, err := c.UpdateRoutingControlState(t.Context(), &route53recoverycluster.UpdateRoutingControlStateInput{RoutingControlArn: &w.a, RoutingControlState: types.RoutingControlStateOn}); err != nil {
		t.Error(err)
	}
	got, err := w.clients["us-east-1"].GetRoutingControlState(t.Context(), &route53recoverycluster.GetRoutingControlStateInput{RoutingControlArn: &w.a})
	if err != nil || got.RoutingControlState != types.RoutingControlStateOn || *got.RoutingControlName != "a" {
		t.Errorf("at another endpoint: %+v, %v", got, err)
	}
	var names []string
	for token := (*string)(nil); ; {
		list, err := c.ListRoutingControls(t.Context(), &route53recoverycluster.ListRoutingControlsInput{MaxResults: aws.Int32(1), NextToken: token, ControlPanelArn: aws.String(w.PanelARN("p"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.RoutingControls {
			names = append(names, *r.RoutingControlName)
		}
		if token = list.NextToken; token == nil {
			break
		}
	}
	if len(names) != 2 || names[0] == names[1] {
		t.Errorf("listed %q", names)
	}
}

// A policy must allow each of the controls.
func TestPolicy(t *testing.T) {
	w := begin(t, 0)
	p, err := iam.Decode([]byte(`{"Statement":{"Effect":"Allow","Action":"route53-recovery-cluster:*","Resource":"` + w.a + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	w.keeper.Admit("AKID", door.Caller{ARN: "arn:aws:iam::123456789012:role/dns", Secret: "secret", Policy: &p})
	err = w.set(t, '+', '-')
	if _, ok := errors.AsType[*types.AccessDeniedException](err); !ok {
		t.Errorf("one of two controls is allowed: %v, want AccessDenied", err)
	}
}

func TestPanelsAreJudged(t *testing.T) {
	f := New(Config{Clock: clock.Real{}, Account: "1"})
	for what, p := range map[string]Panel{
		"no name":        {Controls: []string{"a"}},
		"no controls":    {Name: "p"},
		"another's":      {Name: "p", Controls: []string{"a"}, Rules: []Rule{{Name: "r", Asserted: []string{"b"}, Type: "OR"}}},
		"both kinds":     {Name: "p", Controls: []string{"a"}, Rules: []Rule{{Name: "r", Asserted: []string{"a"}, Gating: []string{"a"}, Targets: []string{"a"}, Type: "OR"}}},
		"no kind":        {Name: "p", Controls: []string{"a"}, Rules: []Rule{{Name: "r", Type: "OR"}}},
		"a type":         {Name: "p", Controls: []string{"a"}, Rules: []Rule{{Name: "r", Asserted: []string{"a"}, Type: "XOR"}}},
		"a control of 2": {Name: "p", Controls: []string{"a", "a"}},
	} {
		if err := f.Add(p); !errors.Is(err, ErrPanel) {
			t.Errorf("%s: %v, want ErrPanel", what, err)
		}
		if _, there := f.State(f.ControlARN("p", "a")); there {
			t.Errorf("%s: refused, it is there in part", what)
		}
	}
}
