package awslambda

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
)

const kill, memory = "/roam/sessions/promoter", "/roam/sessions/promoter-memory"

func promoter() Config {
	c := setup(west2)
	c.Function, c.Switch, c.Memory, c.CacheCluster, c.Rules = Promote, kill, memory, groupOf(west2)+"-001", rules()
	return c
}

// troubled is a world in which all rules say to promote us-west-2.
func troubled() *awstest.World {
	w := newWorld(west1, west1)
	w.Params = map[string]string{kill: "on"}
	at := time.Now().Truncate(time.Minute)
	w.Watch.Alarms = []awstest.Alarm{{Name: "errors", State: "ALARM", Since: at.Add(-5 * time.Minute)}, {Name: "latency", State: "ALARM", Since: at.Add(-3 * time.Minute)}}
	w.Watch.Points = map[time.Time]float64{at.Add(-6 * time.Minute): 60, at.Add(-4 * time.Minute): 0.4, at.Add(-5 * time.Minute): 90}
	return w
}

func TestPromote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := troubled()
		f, out := function(t, w, promoter())
		if err := f.Handle(t.Context(), tick()); err != nil || len(w.Cache.Failovers) != 1 || w.Cache.Failovers[0] != west2 || w.Unsigned > 0 {
			t.Fatalf("Handle = %v, failovers %v, %s", err, w.Cache.Failovers, out)
		}
		if fields := reported(t, out); fields["Promoted"] != 1.0 {
			t.Errorf("%v", fields)
		}
		m, err := ParseMemory(w.Params[memory])
		if err != nil || m.Promoted.IsZero() || m.Role != "SECONDARY" {
			t.Errorf("it keeps %q, %v", w.Params[memory], err)
		}
		w.Cache.Status = "" // it did not come about, and all else is as before
		for range 5 {
			time.Sleep(time.Minute)
			if err := f.Handle(t.Context(), tick()); err != nil {
				t.Error(err)
			}
			out.Reset()
		}
		if len(w.Cache.Failovers) != 1 {
			t.Errorf("failovers %v within the cooldown", w.Cache.Failovers)
		}
	})
}

func TestPromoteNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *awstest.World)
		again  bool // Lambda is asked to come again
		rule   any
	}{
		{"no switch", func(w *awstest.World) { w.Params = nil }, false, "switch"},
		{"a memory nobody can read", func(w *awstest.World) { w.Params[memory] = "x" }, false, "memory"},
		{"SSM is away", func(w *awstest.World) {
			w.Fate = func(c awstest.Call) awstest.Fate { return awstest.Fate{Lost: c.Service == "ssm"} }
		}, true, nil},
		{"no right to SSM", func(w *awstest.World) {
			w.Fate = func(c awstest.Call) awstest.Fate { return code(c.Service == "ssm", "AccessDeniedException") }
		}, false, nil},
		{"it can't be remembered", func(w *awstest.World) {
			w.Fate = func(c awstest.Call) awstest.Fate { return code(c.Action == "PutParameter", "ThrottlingException") }
		}, true, ""},
		{"CloudWatch is away", func(w *awstest.World) {
			w.Fate = func(c awstest.Call) awstest.Fate { return awstest.Fate{Lost: c.Service == "monitoring"} }
		}, true, nil},
		{"no alarms of that name", func(w *awstest.World) { w.Watch.Alarms = nil }, false, "alarms"},
		{"it was behind last", func(w *awstest.World) { w.Watch.Points[time.Now().Add(-time.Minute)] = 7 }, false, "lag"},
		{"no lag", func(w *awstest.World) { w.Watch.Points = nil }, false, "lag"},
		{"old lag", func(w *awstest.World) { w.Watch.Points = map[time.Time]float64{time.Now().Add(-time.Hour): 0.1} }, false, "lag"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Second) // off the minute
				w := troubled()
				c.change(w)
				f, out := function(t, w, promoter())
				err := f.Handle(t.Context(), tick())
				fields := reported(t, out)
				if (err != nil) != c.again || len(w.Cache.Failovers) > 0 || fields["rule"] != c.rule {
					t.Errorf("Handle = %v, failovers %v, %v; want rule %v", err, w.Cache.Failovers, fields, c.rule)
				}
			})
		})
	}
}

// After ElastiCache said no, nothing was done and the next minute may try again; if it said
// nothing, it may have been.
func TestPromotionFails(t *testing.T) {
	for code, c := range map[string]struct {
		fate   awstest.Fate
		cooled bool
	}{
		"InvalidGlobalReplicationGroupState": {awstest.Fate{Code: "InvalidGlobalReplicationGroupState"}, false},
		"AccessDenied":                       {awstest.Fate{Code: "AccessDenied", Status: 403}, false},
		"silence":                            {awstest.Fate{Hang: true}, true},
		"a lost answer":                      {awstest.Fate{Unheard: true}, true},
		"InternalFailure":                    {awstest.Fate{Code: "InternalFailure", Status: 500}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := troubled()
			w.Fate = func(call awstest.Call) awstest.Fate {
				if call.Action == "FailoverGlobalReplicationGroup" {
					return c.fate
				}
				return awstest.Fate{}
			}
			f, out := function(t, w, promoter())
			err := f.Handle(t.Context(), tick())
			fields := reported(t, out)
			m, _ := ParseMemory(w.Params[memory])
			if err != nil || fields["PromotionFailed"] != 1.0 || fields["Promoted"] != 0.0 || m.Promoted.IsZero() == c.cooled {
				t.Errorf("%s: Handle = %v, %v, it keeps %+v", code, err, fields, m)
			}
		})
	}
}

// An event of another cluster wakes nobody; an alarm does, and is not believed.
func TestPromoterIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := troubled()
		w.Watch.Alarms = nil
		f, out := function(t, w, promoter())
		for event, calls := range map[string]bool{
			`{"Records":[{"Sns":{"Message":"{\"AlarmName\":\"errors\",\"NewStateValue\":\"ALARM\"}"}}]}`: true,
			`{"Records":[{"Sns":{"Message":"{\"ElastiCache:FailoverComplete\":\"carts-usw2\"}"}}]}`:      false,
			`{"Records":[{"Sns":{"Message":"ALARM"}}]}`:                                                  false,
		} {
			w.Forget()
			if err := f.Handle(t.Context(), []byte(event)); err != nil || (len(w.Calls()) > 0) != calls || len(w.Cache.Failovers) > 0 {
				t.Errorf("%s: %v, %d requests, failovers %v", event, err, len(w.Calls()), w.Cache.Failovers)
			}
			out.Reset()
		}
	})
}

// The whole way: alarms, promotion, and the reconcilers of both Regions.
func TestFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := troubled()
		p, _ := function(t, w, promoter())
		var reconcilers []Function
		for _, region := range []string{west1, west2} {
			f, _ := function(t, w, setup(region, DriveRecord, DriveControl, DriveMetric))
			reconcilers = append(reconcilers, f)
		}
		if err := p.Handle(t.Context(), tick()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		time.AfterFunc(25*time.Second, func() { w.Lock(func() { w.Cache.Promote(west2); w.Cache.Status = "" }) })
		for getRecord(w) != west2 && time.Since(begun) < 10*time.Minute {
			for _, f := range reconcilers {
				_ = f.Handle(t.Context(), tick()) // one of them may be asked to come again
			}
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(begun); took > 3*time.Minute || !w.Routing.On[panel+west2] {
			t.Errorf("after %v the record leads to %q, controls %v", took, getRecord(w), w.Routing.On)
		}
		if m := w.Params[memory]; !strings.Contains(m, "SECONDARY") {
			t.Errorf("it keeps %q", m)
		}
	})
}
