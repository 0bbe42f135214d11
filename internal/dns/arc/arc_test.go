package arc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"
	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

const panel = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef0123456789abcdef/routingcontrol/"

const east, west, north = panel + "east", panel + "west", panel + "north"

func regions() []string {
	return []string{"us-east-1", "us-west-2", "eu-west-1", "ap-southeast-2", "ap-northeast-1"}
}

func cluster(t *testing.T, w *awstest.World, start int, c Config) *Cluster {
	t.Helper()
	var endpoints []Endpoint
	for _, r := range regions() {
		endpoints = append(endpoints, Endpoint{fmt.Sprintf("https://abc.route53-recovery-cluster.%s.amazonaws.com/v1", r), r})
	}
	out, err := New(sdk.New(sdk.Options{
		Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, ""), HTTPClient: w, Retryer: aws.NopRetryer{},
	}), endpoints, c)
	if err != nil {
		t.Fatal(err)
	}
	out.start = func(int) int { return start }
	return out
}

func world(on string) *awstest.World {
	return &awstest.World{Routing: awstest.Routing{On: map[string]bool{east: on == east, west: on == west, north: on == north}}}
}

func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		c := cluster(t, w, 3, Config{})
		changed, err := c.Turn(t.Context(), west, []string{east, north}, nil)
		want := []awstest.Entry{{RoutingControlArn: west, RoutingControlState: "On"}, {RoutingControlArn: east, RoutingControlState: "Off"}, {RoutingControlArn: north, RoutingControlState: "Off"}}
		if err != nil || !changed || len(w.Routing.Updates) != 1 || !slices.Equal(w.Routing.Updates[0], want) || w.Unsigned > 0 {
			t.Errorf("Turn = %v, %v, updates %v, want one of %v", changed, err, w.Routing.Updates, want)
		}
		for _, call := range w.Calls() {
			if call.Region != "ap-southeast-2" || !strings.Contains(call.Host, call.Region) || call.Service != "route53-recovery-cluster" {
				t.Errorf("%+v is not signed for its endpoint, the one that dice chose", call)
			}
		}
		if changed, err := c.Turn(t.Context(), west, []string{east, north}, nil); err != nil || changed || len(w.Routing.Updates) != 1 {
			t.Errorf("again: %v, %v, %d updates", changed, err, len(w.Routing.Updates))
		}
	})
}

// Every call may begin anywhere: all five endpoints come first now and then.
func TestStartsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		c := cluster(t, w, 0, Config{})
		fresh, err := New(c.client, c.endpoints, Config{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 200 {
			w.Forget()
			if _, err := fresh.States(t.Context(), []string{east}); err != nil {
				t.Fatal(err)
			}
			seen[w.Calls()[0].Region] = true
		}
		if len(seen) != 5 {
			t.Errorf("calls began at %v only", seen)
		}
	})
}

func TestRotates(t *testing.T) {
	for _, c := range []struct {
		name    string
		fate    func(n int, region string) awstest.Fate // of the n-th update
		err     error
		updates int
		on      string
		least   time.Duration
	}{
		{"two are down", func(n int, _ string) awstest.Fate {
			return awstest.Fate{Code: code(n < 3, "EndpointTemporarilyUnavailableException"), Status: 503}
		}, nil, 3, west, 0},
		{"one is silent", func(n int, _ string) awstest.Fate { return awstest.Fate{Hang: n == 1} }, nil, 2, west, 2500 * time.Millisecond},
		{"one cuts", func(n int, _ string) awstest.Fate { return awstest.Fate{Lost: n == 1} }, nil, 2, west, 0},
		{"a throttle", func(n int, _ string) awstest.Fate { return awstest.Fate{Code: code(n == 1, "ThrottlingException")} }, nil, 2, west, 0},
		{"one fails", func(n int, _ string) awstest.Fate {
			return awstest.Fate{Code: code(n == 1, "InternalServerException"), Status: 500}
		}, nil, 2, west, 0},
		{"a whole round is down", func(n int, _ string) awstest.Fate {
			return awstest.Fate{Code: code(n < 6, "EndpointTemporarilyUnavailableException"), Status: 503}
		}, nil, 6, west, 250 * time.Millisecond},
		{"all are down", func(int, string) awstest.Fate { return awstest.Fate{Lost: true} }, errAny, 10, east, 0},
		{"a conflict", func(int, string) awstest.Fate { return awstest.Fate{Code: "ConflictException"} }, ErrConflict, 1, east, 0},
		{"no right", func(int, string) awstest.Fate { return awstest.Fate{Code: "AccessDeniedException"} }, dns.ErrRefused, 1, east, 0},
		{"nonsense", func(int, string) awstest.Fate { return awstest.Fate{Code: "ValidationException"} }, dns.ErrRefused, 1, east, 0},
		{"no such control", func(int, string) awstest.Fate { return awstest.Fate{Code: "ResourceNotFoundException"} }, dns.ErrRefused, 1, east, 0},
		// The first was carried out, so the controls rest, and the second is refused.
		{"an answer is lost", func(n int, _ string) awstest.Fate { return awstest.Fate{Unheard: n == 1} }, nil, 2, west, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := world(east)
				w.Routing.Rest = 5 * time.Second
				n := 0
				var asked []string
				w.Fate = func(call awstest.Call) awstest.Fate {
					if call.Action != "UpdateRoutingControlStates" {
						return awstest.Fate{}
					}
					n++
					asked = append(asked, call.Region)
					return c.fate(n, call.Region)
				}
				begun := time.Now()
				_, err := cluster(t, w, 4, Config{}).Turn(t.Context(), west, []string{east, north}, nil)
				if !like(err, c.err) || n != c.updates || !w.Routing.On[c.on] {
					t.Errorf("Turn = %v after %d updates, on %v; want %v, %d, %s", err, n, w.Routing.On, c.err, c.updates, c.on)
				}
				for i, region := range asked {
					if region != regions()[(4+i)%5] {
						t.Errorf("asked %v, want them in turn from the fifth on", asked)
					}
				}
				if took := time.Since(begun); took < c.least || took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// errAny stands for any error in a table.
var errAny = errors.New("any error")

func like(err, want error) bool {
	return errors.Is(err, want) || err != nil && errors.Is(want, errAny)
}

func code(yes bool, c string) string {
	if yes {
		return c
	}
	return ""
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		no := errors.New("no")
		_, err := cluster(t, w, 0, Config{}).Turn(t.Context(), west, []string{east}, func(context.Context) error { return no })
		if !errors.Is(err, no) || len(w.Routing.Updates) > 0 {
			t.Errorf("Turn = %v, %d updates", err, len(w.Routing.Updates))
		}
	})
}

// What is read after the change is believed, and not what was answered to it.
func TestVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world(east)
		undo := true
		w.Before = func(c awstest.Call) {
			if undo && len(w.Routing.Updates) > 0 && c.Action == "GetRoutingControlState" {
				w.Routing.On = map[string]bool{east: true, west: false, north: false}
			}
		}
		if _, err := cluster(t, w, 0, Config{}).Turn(t.Context(), west, []string{east, north}, nil); !errors.Is(err, errUnverified) {
			t.Errorf("Turn = %v, want that it is not so", err)
		}
	})
}

func TestNewFaults(t *testing.T) {
	one := Endpoint{"https://a.example/v1", "us-east-1"}
	for what, c := range map[string]struct {
		endpoints []Endpoint
		config    Config
	}{
		"none":        {nil, Config{}},
		"six":         {[]Endpoint{one, one, one, one, one, one}, Config{}},
		"no URL":      {[]Endpoint{{"a.example", "us-east-1"}}, Config{}},
		"no Region":   {[]Endpoint{{"https://a.example", ""}}, Config{}},
		"no time":     {[]Endpoint{one}, Config{Timeout: -1}},
		"many rounds": {[]Endpoint{one}, Config{Rounds: 11}},
	} {
		if _, err := New(nil, c.endpoints, c.config); err == nil {
			t.Errorf("%s: New took it", what)
		}
	}
}
