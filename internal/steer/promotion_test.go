package steer_test

import (
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// While somebody else promotes the target of a switchover nobody is deposed: it has its time,
// and after that, or without the mark, the holder has the lease again.
func TestPromotionTakesItsTime(t *testing.T) {
	const wait, promotion = 6 * time.Second, time.Minute
	replica := steer.Server{Known: true, Follows: "east", Linked: true}
	marked := replica
	marked.Marked = 1
	for name, c := range map[string]struct {
		west      steer.Server
		promotion time.Duration
		want      time.Duration
	}{
		"it is being promoted": {marked, promotion, wait + promotion},
		"it lacks something":   {replica, promotion, wait},
		"it does not answer":   {steer.Server{Marked: 1}, promotion, wait},
		"its node promotes it by itself, and the judge finds that nobody writes": {marked, 0, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := apply(t, founded(t), ledger.Command{Plan: &ledger.Plan{To: "west"}}, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Draining}})
			chief, err := steer.NewChief(steer.ChiefConfig{
				Self: "north", Members: []string{"east", "west", "north"}, Lease: lease.Config{}.WithDefaults(),
				Judge: judge.Config{Regions: []string{"east", "west", "north"}}, Promotion: c.promotion,
			}, s, 0)
			if err != nil {
				t.Fatal(err)
			}
			deposes := func(after time.Duration) bool {
				o := steer.Observation{State: s, Wall: noon.Add(after)}
				for m, server := range map[string]steer.Server{"east": {Known: true, Primary: true}, "west": c.west, "north": replica} {
					r := steer.Report{Report: judge.Report{Member: m, At: o.Wall}, Server: server}
					for _, region := range []string{"east", "west", "north"} {
						v := judge.View{Region: region, In: judge.Up, Out: judge.Up, Engine: judge.Up}
						if c.west == marked { // one to choose is there, if the judge were asked
							v.Beat, v.Clock = judge.Beat{Epoch: 1, N: 9, At: noon}, new(time.Duration)
						}
						r.Views = append(r.Views, v)
					}
					// Nobody can write, and all say so.
					r.Writes = []judge.Writes{{To: "east", Count: 20, Failed: 20}}
					o.Reports = append(o.Reports, r)
				}
				return slices.ContainsFunc(chief.Tick(o, lease.Time(after)), func(a steer.Act) bool { return a.Command.Depose != nil })
			}
			for after := time.Second; after < c.want; after += time.Second {
				if deposes(after) {
					t.Fatalf("the holder is deposed after %v, want %v", after, c.want)
				}
			}
			if !deposes(c.want + 2*time.Second) {
				t.Errorf("after %v nobody is deposed", c.want)
			}
		})
	}
}

// What manages the servers demotes the old holder's before it is agreed that the target has
// begun: with the mark nothing is lost by that, and without it something may be.
func TestDemotedWhileItDrains(t *testing.T) {
	for marked, lost := range map[uint64]bool{1: false, 0: true} {
		s := apply(t, founded(t), ledger.Command{Plan: &ledger.Plan{To: "west"}}, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Draining}})
		east := local("east")
		east.Saw(steer.Server{Known: true, Primary: true, Run: "one", Beat: judge.Beat{Epoch: 1, N: 9}}, 0)
		east.Agreed(s, 0)
		east.Gave(1, 0)
		east.Ended(1, 1)
		east.Marked(1, 2)
		acts := east.Saw(steer.Server{Known: true, Run: "one", Marked: marked, Beat: judge.Beat{Epoch: 1, N: 9}}, 3)
		tells := slices.ContainsFunc(acts, func(a steer.Act) bool { return a.Command.Release != nil && a.Command.Release.Loss == ledger.Demotion })
		if tells != lost {
			t.Errorf("with mark %d it does %+v, want a loss told: %v", marked, acts, lost)
		}
	}
}

// An operator's word comes to the server with the promotion, in the epoch that it was given for.
func TestDetach(t *testing.T) {
	s := apply(t, founded(t),
		ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}},
		ledger.Command{Grant: &ledger.Grant{Newest: 1, To: "west"}})
	west := local("west")
	west.Saw(steer.Server{Known: true, Follows: "east"}, 0)
	if a := only(t, "west holds the lease", west.Agreed(s, 0), steer.Promote); a.Detach {
		t.Error("it is detached without a word")
	}
	s = apply(t, s, ledger.Command{Detach: &ledger.Detach{Epoch: 2, Region: "west"}})
	if a := only(t, "an operator has said so", west.Agreed(s, lease.Time(time.Second)), steer.Promote); !a.Detach {
		t.Error("it is not detached")
	}
}

// A server that its service can't promote now is not ready for a switchover.
func TestPrecheckOfAService(t *testing.T) {
	s := founded(t)
	chief, err := steer.NewChief(steer.ChiefConfig{
		Self: "north", Members: []string{"east", "west", "north"}, Lease: lease.Config{}.WithDefaults(),
		Judge: judge.Config{Regions: []string{"east", "west", "north"}},
	}, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	for text, held := range map[string]bool{"it is modifying": true, "it is available": false} {
		o := steer.Observation{State: s, Wall: noon, Reports: []steer.Report{{
			Report: judge.Report{Member: "west", At: noon}, Server: steer.Server{Known: true, Follows: "east", Linked: true, Service: text, Held: held},
		}}}
		i := slices.IndexFunc(chief.Precheck(o, "west", true), func(c steer.Check) bool { return c.Name == "service" })
		if i < 0 {
			t.Fatal("the service is not looked at")
		}
		if c := chief.Precheck(o, "west", true)[i]; c.OK == held || c.Detail != text {
			t.Errorf("the check is %+v", c)
		}
	}
}
