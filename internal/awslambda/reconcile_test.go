package awslambda

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/elasticache"
)

func code(yes bool, c string) awstest.Fate {
	if !yes {
		return awstest.Fate{}
	}
	return awstest.Fate{Code: c}
}

// What goes wrong with AWS: whether Lambda is asked to come again, and what is reported.
func TestHandleFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		fate  func(c awstest.Call) awstest.Fate
		again bool
		want  string // a metric that is 1
	}{
		{"ElastiCache is silent", func(c awstest.Call) awstest.Fate { return awstest.Fate{Hang: c.Service == "elasticache"} }, true, "Failed"},
		{"ElastiCache throttles", func(c awstest.Call) awstest.Fate { return code(c.Service == "elasticache", "Throttling") }, true, "Failed"},
		{"only its own group answers", func(c awstest.Call) awstest.Fate {
			return awstest.Fate{Lost: c.Action == "DescribeGlobalReplicationGroups"}
		}, true, "Failed"},
		{"no right to look", func(c awstest.Call) awstest.Fate { return code(c.Service == "elasticache", "AccessDenied") }, false, "Refused"},
		{"Route 53 is away", func(c awstest.Call) awstest.Fate { return awstest.Fate{Lost: c.Service == "route53"} }, true, "DnsError"},
		{"Route 53 hangs", func(c awstest.Call) awstest.Fate { return awstest.Fate{Hang: c.Service == "route53"} }, true, "DnsError"},
		{"Route 53 throttles", func(c awstest.Call) awstest.Fate { return code(c.Service == "route53", "Throttling") }, true, "DnsError"},
		{"no right to move", func(c awstest.Call) awstest.Fate {
			return code(c.Action == "ChangeResourceRecordSets", "AccessDenied")
		}, false, "DnsRefused"},
		{"no such zone", func(c awstest.Call) awstest.Fate { return code(c.Service == "route53", "NoSuchHostedZone") }, false, "DnsRefused"},
		{"it is never in sync", func(c awstest.Call) awstest.Fate { return code(c.Action == "GetChange", "Throttling") }, false, "DnsPending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(west2, west1)
				w.Fate = c.fate
				f, out := function(t, w, setup(west2, DriveRecord, DriveMetric))
				begun := time.Now()
				err := f.Handle(t.Context(), tick())
				took := time.Since(begun)
				fields := reported(t, out)
				if (err != nil) != c.again || fields[c.want] != 1.0 || took > Timeout-2*time.Second {
					t.Errorf("Handle = %v after %v, %v; want again %v, and %s", err, took, fields, c.again, c.want)
				}
			})
		})
	}
}

// However slow everything is, the report is written before Lambda ends the function.
func TestBudget(t *testing.T) {
	if sum := lookBudget + settleBudget + moveBudget + verifyBudget; sum > Timeout-5*time.Second {
		t.Errorf("the steps may take %v of %v", sum, Timeout)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west2, west1)
		w.Cache.Status, w.Route53.Sync = "modifying", time.Hour
		looks, changes := 0, 0
		w.Fate = func(c awstest.Call) awstest.Fate {
			if c.Action == "DescribeReplicationGroups" {
				if looks++; looks == 5 {
					w.Cache.Status = ""
				}
				return awstest.Fate{Hang: looks%2 == 1}
			}
			changes += yes(c.Action == "ChangeResourceRecordSets")
			return awstest.Fate{Hang: c.Action == "GetRoutingControlState" || c.Action == "ChangeResourceRecordSets" && changes < 3}
		}
		f, out := function(t, w, setup(west2, DriveRecord, DriveControl, DriveMetric))
		begun := time.Now()
		err := f.Handle(t.Context(), tick())
		if took := time.Since(begun); took > Timeout-2*time.Second || took < 60*time.Second {
			t.Errorf("Handle = %v after %v", err, took)
		}
		if fields := reported(t, out); fields["DnsPending"] != 1.0 || fields["ControlError"] != 1.0 || err == nil {
			t.Errorf("Handle = %v, %v", err, fields)
		}
	})
}

// The role is asked again before each change: it may have been lost since it was decided, as
// when the function was frozen or a throttle lasted.
func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		when   func(c awstest.Call, changes int) bool // the role is lost before this request
		want   string
		metric string
	}{
		{"while it looked at the record", func(c awstest.Call, _ int) bool { return c.Action == "ListResourceRecordSets" }, west1, "DnsOvertaken"},
		{"while it was throttled", func(_ awstest.Call, changes int) bool { return changes == 1 }, west1, "DnsOvertaken"},
		{"while it waited for all servers", func(c awstest.Call, _ int) bool { return c.Action == "GetChange" }, west2, "Overtaken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(west2, west1)
				changes := 0
				w.Fate = func(call awstest.Call) awstest.Fate {
					if c.when(call, changes) {
						w.Cache.Promote(west1)
					}
					if call.Action == "ChangeResourceRecordSets" {
						changes++
						return code(c.name == "while it was throttled", "Throttling")
					}
					return awstest.Fate{}
				}
				f, out := function(t, w, setup(west2, DriveRecord))
				err := f.Handle(t.Context(), tick())
				if fields := reported(t, out); err != nil || getRecord(w) != c.want || fields[c.metric] != 1.0 {
					t.Errorf("Handle = %v, the record leads to %q, %v; want %q and %s", err, getRecord(w), fields, c.want, c.metric)
				}
				// The new primary's own schedule mends what came too late.
				w.Fate = nil
				f, _ = function(t, w, setup(west1, DriveRecord))
				if err := f.Handle(t.Context(), tick()); err != nil || getRecord(w) != west1 {
					t.Errorf("the new primary: %v, the record leads to %q", err, getRecord(w))
				}
			})
		})
	}
}

// Both Regions' functions at once, over and over while the role goes to and fro: at the end the
// record is the primary's.
func TestTwoFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west1, west1)
		w.Route53.OneByOne, w.Route53.Sync = true, 3*time.Second
		stop := make(chan struct{})
		done := make(chan int, 2)
		for _, region := range []string{west1, west2} {
			f, out := function(t, w, setup(region, DriveRecord))
			go func() {
				n := 0
				for ; ; n++ {
					select {
					case <-stop:
						done <- n
						return
					default:
					}
					_ = f.Handle(t.Context(), tick())
					out.Reset()
					time.Sleep(7 * time.Second)
				}
			}()
		}
		for i := range 40 {
			time.Sleep(11 * time.Second)
			w.Lock(func() { w.Cache.Promote([]string{west1, west2}[i%2]) })
		}
		time.Sleep(2 * time.Minute)
		close(stop)
		if n, m := <-done, <-done; n < 10 || m < 10 || getRecord(w) != west2 {
			t.Errorf("after %d and %d runs the record leads to %q", n, m, getRecord(w))
		}
	})
}

func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west2, west1)
		w.Route53.Sync = time.Hour
		f, out := function(t, w, setup(west2, DriveRecord, DriveControl))
		err := f.Handle(t.Context(), tick())
		if fields := reported(t, out); err != nil || fields["DnsPending"] != 1.0 || fields["ControlUpdated"] != 1.0 {
			t.Errorf("Handle = %v, %v; want the controls moved while Route 53 takes all the time there is", err, fields)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west2, west1)
		w.Fate = func(c awstest.Call) awstest.Fate { return awstest.Fate{Hang: c.Service == "route53"} } // us-east-1 is away
		f, out := function(t, w, setup(west2, DriveRecord, DriveControl))
		err := f.Handle(t.Context(), tick())
		if fields := reported(t, out); err == nil || !w.Routing.On[panel+west2] || w.Routing.On[panel+west1] || fields["ControlUpdated"] != 1.0 {
			t.Errorf("Handle = %v, controls %v, %v; want them moved though Route 53 is away", err, w.Routing.On, fields)
		}
		w.Cache.Promote(west1)
		if err := f.Handle(t.Context(), tick()); err != nil || len(w.Routing.Updates) != 1 {
			t.Errorf("a secondary: %v, %d updates", err, len(w.Routing.Updates))
		}
	})
	for what, c := range map[string]struct {
		fate   string
		taken  bool
		metric string
	}{
		"a safety rule forbids it":   {fate: "ConflictException", metric: "ControlRefused"},
		"a Region was taken out":     {taken: true, metric: "ControlRefused"},
		"the endpoints are all down": {fate: "EndpointTemporarilyUnavailableException", metric: "ControlError"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(west2, west1)
			w.Fate = func(call awstest.Call) awstest.Fate {
				return code(c.fate != "" && call.Action == "UpdateRoutingControlStates", c.fate)
			}
			if c.taken {
				w.Cache.Members, w.Cache.Status = w.Cache.Members[1:], "primary-only"
			}
			f, out := function(t, w, setup(west2, DriveControl))
			err := f.Handle(t.Context(), tick())
			if fields := reported(t, out); (err != nil) != (c.metric == "ControlError") || fields[c.metric] != 1.0 || w.Routing.On[panel+west2] {
				t.Errorf("%s: Handle = %v, %v, %v", what, err, fields, w.Routing.On)
			}
		})
	}
}

// One question is asked a few times, and not for as long as there is time.
func TestTriesAreBounded(t *testing.T) {
	for fate, want := range map[string]int{"Throttling": elasticache.AskTries, "InternalFailure": elasticache.AskTries, "AccessDenied": 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(west2, west1)
			w.Fate = func(awstest.Call) awstest.Fate { return code(true, fate) }
			f, _ := function(t, w, setup(west2, DriveRecord))
			_ = f.Handle(t.Context(), tick())
			if n := len(w.Calls()); n != want {
				t.Errorf("%s: %d requests, want %d", fate, n, want)
			}
		})
	}
}

// The metric that health checks follow is said by every Region that knows, and by none that
// does not.
func TestMetric(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(w *awstest.World)
		want  any
	}{
		{"primary", func(*awstest.World) {}, 1.0},
		{"secondary", func(w *awstest.World) { w.Cache.Promote(west1) }, 0.0},
		{"two sources", func(w *awstest.World) { w.Cache.Promote(west1); w.Cache.Local = map[string]string{west2: "PRIMARY"} }, nil},
		{"nobody answers", func(w *awstest.World) {
			w.Fate = func(awstest.Call) awstest.Fate { return awstest.Fate{Lost: true} }
		}, nil},
		{"no group", func(w *awstest.World) { w.Cache.Members = nil }, nil},
		{"taken out", func(w *awstest.World) {
			w.Cache.Members, w.Cache.Alone = nil, map[string]string{west2: groupOf(west2)}
		}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(west2, west2)
			c.setup(w)
			f, out := function(t, w, setup(west2, DriveMetric))
			_ = f.Handle(t.Context(), tick())
			if fields := reported(t, out); fields["IsGlobalPrimary"] != c.want {
				t.Errorf("%s: IsGlobalPrimary = %v, want %v", c.name, fields["IsGlobalPrimary"], c.want)
			}
			for _, call := range w.Calls() {
				if call.Service != "elasticache" {
					t.Errorf("%s: the metric alone asked %s", c.name, call.Service)
				}
			}
		})
	}
}

// The metric is told before anything is moved: health checks must follow it while the control plane
// that the record needs does not answer.
func TestMetricComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west2, west1)
		w.Cache.Promote(west2)
		w.Fate = func(c awstest.Call) awstest.Fate { return awstest.Fate{Lost: c.Service == "route53"} }
		f, out := function(t, w, setup(west2, DriveRecord, DriveMetric))
		if err := f.Handle(t.Context(), tick()); err == nil {
			t.Error("without Route 53 it does not fail")
		}
		line, rest, _ := strings.Cut(out.String(), "\n")
		var first, last map[string]any
		if err := errors.Join(json.Unmarshal([]byte(line), &first), json.Unmarshal([]byte(rest), &last)); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if first["IsGlobalPrimary"] != 1.0 || first["DnsError"] != nil || last["DnsError"] != 1.0 || last["IsGlobalPrimary"] != nil {
			t.Errorf("stdout: %s", out)
		}
	})
}

// An operator's word makes a group that was taken out take the writes; a cluster of many shards
// is reached by its configuration endpoint.
func TestStandaloneAndCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west1, west1)
		w.Cache.Alone, w.Cache.Members, w.Cache.Status = map[string]string{west2: groupOf(west2)}, w.Cache.Members[:1], "primary-only"
		c := setup(west2, DriveRecord, DriveControl)
		c.Place.Standalone = true
		f, out := function(t, w, c)
		if err := f.Handle(t.Context(), tick()); err != nil || getRecord(w) != west2 || !w.Routing.On[panel+west2] {
			t.Errorf("Handle = %v, the record leads to %q, %s", err, getRecord(w), out)
		}
		f, _ = function(t, w, setup(west1, DriveRecord, DriveControl)) // the dead Region comes back
		if err := f.Handle(t.Context(), tick()); err != nil || getRecord(w) != west2 || !w.Routing.On[panel+west2] {
			t.Errorf("the dead Region: %v, the record leads to %q", err, getRecord(w))
		}
		c = setup(west1, DriveRecord)
		c.Adopt = true
		f, _ = function(t, w, c)
		if err := f.Handle(t.Context(), tick()); err != nil || getRecord(w) != west1 {
			t.Errorf("with an operator's word: %v, the record leads to %q", err, getRecord(w))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(west2, west1)
		w.Cache.Cluster = true
		f, _ := function(t, w, setup(west2, DriveRecord))
		want := awstest.Endpoint("clustercfg", groupOf(west2), west2)
		if err := f.Handle(t.Context(), tick()); err != nil || getRecord(w) != want {
			t.Errorf("Handle = %v, the record leads to %q, want %q", err, getRecord(w), want)
		}
	})
}
