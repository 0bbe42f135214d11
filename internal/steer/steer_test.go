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

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// apply returns a state after commands that are to be taken.
func apply(t *testing.T, s ledger.State, commands ...ledger.Command) ledger.State {
	t.Helper()
	for _, c := range commands {
		c.At = noon
		var err error
		if s, err = s.Apply(s.Index+1, c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func founded(t *testing.T) ledger.State {
	return apply(t, ledger.State{}, ledger.Command{Describe: &ledger.Describe{Setup: ledger.Setup{
		Version: 1, Regions: []string{"east", "west", "north"}, Leases: true, Primary: "east",
	}}})
}

func local(region string) *steer.Local {
	return steer.NewLocal(steer.LocalConfig{Region: region, Others: []string{"b", "c"}, Lease: lease.Config{}.WithDefaults()})
}

// only wants one act of a kind, and returns it.
func only(t *testing.T, what string, acts []steer.Act, kind steer.Kind) steer.Act {
	t.Helper()
	if len(acts) != 1 || acts[0].Kind != kind {
		t.Fatalf("%s = %+v, want one act of kind %d", what, acts, kind)
	}
	return acts[0]
}

// A planned switchover, seen from both ends, with no word of the quorum in the gap.
func TestSwitchover(t *testing.T) {
	s := apply(t, founded(t), ledger.Command{Plan: &ledger.Plan{To: "west"}})
	west := local("west")
	follows := steer.Server{Known: true, Follows: "east", Linked: true}
	west.Saw(follows, 0)
	only(t, "west hears of the plan", west.Agreed(s, 0), steer.Leases)
	only(t, "its clock", west.Clocks(2, 1, []time.Duration{time.Hour}, 0), steer.Leases)
	if acts := west.Renewed(2, 1, 1); acts != nil {
		t.Fatalf("an armed holder does %+v", acts)
	}
	step := only(t, "west is ready", west.Tick(1), steer.Propose)
	s = apply(t, s, step.Command)

	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true}, 0)
	end := only(t, "east drains", east.Agreed(s, 1), steer.End)
	if acts := east.Tick(2); acts != nil {
		t.Fatalf("east, with its end under way, does %+v", acts)
	}
	mark := only(t, "east has ended", east.Ended(end.Epoch, 2), steer.Mark)
	if acts := east.Marked(mark.Epoch, 3); acts != nil || end.Epoch != 1 || mark.Epoch != 1 {
		t.Fatalf("east has marked %d of %d and does %+v", mark.Epoch, end.Epoch, acts)
	}

	west.Agreed(s, 3)
	if !west.Hurried() {
		t.Error("west is in no hurry")
	}
	follows.Marked = 1
	only(t, "west sees the mark", west.Saw(follows, 4), steer.Promote)
	ask := only(t, "west is promoted", west.Saw(steer.Server{Known: true, Primary: true, Marked: 1}, 5), steer.Leases)
	give := only(t, "its clock", west.Clocks(2, ask.Lease.Try, []time.Duration{time.Hour}, 6), steer.Leases)
	if give.Lease.Kind != lease.Grant {
		t.Fatalf("with a renewal at hand it does %+v, want to grant", give.Lease)
	}
	begun := only(t, "its server took the lease", west.Gave(2, 7), steer.Propose)
	s = apply(t, s, begun.Command)
	if s.Lease.Holder != "west" {
		t.Fatalf("the lease is %+v", s.Lease)
	}
	east.Saw(steer.Server{Known: true, Primary: true, Marked: 1}, 8)
	if a := only(t, "east hears that west has begun", east.Agreed(s, 9), steer.Follow); a.Region != "west" {
		t.Errorf("east follows %q", a.Region)
	}
}

// A Region that lost the lease follows nobody before its own writes are safe, and no
// server that belongs to somebody else is ever made to follow.
func TestSalvageComesFirst(t *testing.T) {
	s := apply(t, founded(t),
		ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}},
		ledger.Command{Grant: &ledger.Grant{Newest: 1, To: "west"}})
	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true}, 0)
	if acts := east.Agreed(s, 0); acts != nil {
		t.Errorf("before it is known where the logs parted it does %+v", acts)
	}
	alone := local("east")
	alone.Saw(steer.Server{Known: true, Primary: true}, 0)
	alone.Agreed(s, 0)
	only(t, "nobody says where", alone.Tick(lease.Time(5*time.Second)), steer.Salvage)
	s = apply(t, s, ledger.Command{Fork: &ledger.Fork{Epoch: 1, At: "there"}})
	if a := only(t, "east comes back", east.Agreed(s, 0), steer.Salvage); a.Epoch != 1 || a.Region != "west" {
		t.Errorf("it salvages %+v", a)
	}
	s = apply(t, s, ledger.Command{Salvage: &ledger.Salvage{Epoch: 1, Closed: true}})
	only(t, "all is safe", east.Agreed(s, 1), steer.Follow)

	north := local("north")
	north.Saw(steer.Server{Known: true, Primary: true, Foreign: true}, 0)
	if acts := north.Agreed(s, 0); acts != nil {
		t.Errorf("a stranger's server is made to do %+v", acts)
	}
}

// Whoever was deposed stops its servers, and says so.
func TestDeposed(t *testing.T) {
	s := founded(t)
	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true}, 0)
	only(t, "east reigns", east.Agreed(s, 0), steer.Leases)
	s = apply(t, s, ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}})
	only(t, "east is deposed", east.Agreed(s, 1), steer.End)
	only(t, "it has ended", east.Ended(1, 2), steer.Propose)
	if acts := east.Tick(2 + lease.Time(time.Second)); len(acts) != 1 || acts[0].Command.Release == nil {
		t.Errorf("as nobody has heard that, it does %+v", acts)
	}
}

// Who has the lease again takes in what it took before, and nobody has looked at: its node
// may have what its server has not any more.
func TestSalvageAtHome(t *testing.T) {
	s := apply(t, founded(t),
		ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}},
		ledger.Command{Grant: &ledger.Grant{Newest: 1, To: "west"}},
		ledger.Command{Depose: &ledger.Depose{Epoch: 2, Wish: "east"}},
		ledger.Command{Grant: &ledger.Grant{Newest: 2, To: "east"}})
	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true}, 0)
	only(t, "east reigns", east.Agreed(s, 0), steer.Leases)
	if acts := east.Tick(0); len(acts) != 0 {
		t.Errorf("before its server has the lease it does %+v", acts)
	}
	if a := only(t, "its server has the lease", east.Gave(3, 1), steer.Salvage); a.Epoch != 1 || a.Region != "east" {
		t.Errorf("it salvages %+v", a)
	}
}

// A target that starts anew after it has begun arms itself, as it has not heard that; once
// it has, it goes on.
func TestTargetStartsAnew(t *testing.T) {
	s := apply(t, founded(t), ledger.Command{Plan: &ledger.Plan{To: "west"}}, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Draining}})
	west := local("west")
	only(t, "west starts", west.Agreed(s, 0), steer.Leases)
	west.Saw(steer.Server{Known: true, Primary: true}, 0)
	s = apply(t, s, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Repointing}})
	ask := only(t, "west hears that it has begun", west.Agreed(s, 1), steer.Leases)
	renew := only(t, "its clock", west.Clocks(2, ask.Lease.Try, []time.Duration{time.Hour}, 2), steer.Leases)
	if give := only(t, "the renewal", west.Renewed(2, renew.Lease.Try, 3), steer.Leases); give.Lease.Kind != lease.Grant {
		t.Errorf("west does %+v, want to grant", give.Lease)
	}
}

// A leader whose Region holds the lease has another member lead, but not before whoever was
// just granted the lease has begun.
func TestLeadsElsewhere(t *testing.T) {
	s := founded(t)
	config := steer.ChiefConfig{
		Self: "west", Members: []string{"east", "west", "north"}, Lease: lease.Config{}.WithDefaults(),
		Judge: judge.Config{Regions: []string{"east", "west", "north"}},
	}
	c, err := steer.NewChief(config, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	leads := func(now lease.Time) bool {
		o := steer.Observation{State: s, Wall: noon.Add(time.Duration(now))}
		for _, m := range config.Members {
			o.Reports = append(o.Reports, steer.Report{Report: judge.Report{Member: m, At: o.Wall}, Server: steer.Server{Known: true}})
		}
		return slices.ContainsFunc(c.Tick(o, now), func(a steer.Act) bool { return a.Kind == steer.Lead && a.Region != "west" })
	}
	now := lease.Time(time.Minute)
	if leads(now) {
		t.Error("another is to lead while the lease is elsewhere")
	}
	s = apply(t, s, ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}}, ledger.Command{Grant: &ledger.Grant{Newest: 1, To: "west"}})
	if leads(now) || leads(now.Add(3*time.Second)) {
		t.Error("another is to lead as soon as west has the lease")
	}
	if !leads(now.Add(6 * time.Second)) {
		t.Error("west goes on leading")
	}
}

// A node whose server is dead takes in what its spool has all the same. Once the server is
// back it lets go of the epoch first.
func TestSalvageForADeadServer(t *testing.T) {
	s := founded(t)
	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true}, 0)
	only(t, "east reigns", east.Agreed(s, 0), steer.Leases)
	east.Saw(steer.Server{}, 1)
	s = apply(t, s, ledger.Command{Depose: &ledger.Depose{Epoch: 1, Wish: "west"}}, ledger.Command{Grant: &ledger.Grant{Newest: 1, To: "west"}},
		ledger.Command{Fork: &ledger.Fork{Epoch: 1, At: "here"}})
	if a := only(t, "with its server dead it", east.Agreed(s, 2), steer.Salvage); a.Epoch != 1 || a.Region != "west" {
		t.Errorf("it salvages %+v", a)
	}
	end := only(t, "its server is back", east.Saw(steer.Server{Known: true, Primary: true}, 3), steer.End)
	only(t, "it has ended", east.Ended(end.Epoch, 4), steer.Salvage)
}

// A server that may not have any more what it took ends its epoch, and the quorum is told
// why: there is a receipt then, whoever has the next one.
func TestLosses(t *testing.T) {
	reigns := steer.Server{Known: true, Primary: true, Run: "one", Beat: judge.Beat{Epoch: 1, N: 9}}
	replica, other := reigns, reigns
	replica.Primary, replica.Follows, other.Run = false, "west", "two"
	for name, c := range map[string]struct {
		first *steer.Server // what its node had seen before; nil: it is new
		then  steer.Server
		want  ledger.Loss
	}{
		"a restart":                       {&reigns, other, ledger.Restart},
		"a restart, that a new node sees": {nil, other, ledger.Restart},
		"somebody made it follow":         {&reigns, replica, ledger.Demotion},
		"so, as a new node sees":          {nil, replica, ledger.Demotion},
		"nothing":                         {&reigns, reigns, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := apply(t, founded(t), ledger.Command{Renew: &ledger.Renew{Epoch: 1, Region: "east", Run: "one"}})
			east := local("east")
			if c.first != nil {
				east.Saw(*c.first, 0)
				only(t, "east reigns", east.Agreed(s, 0), steer.Leases)
			}
			east.Agreed(s, 1)
			east.Saw(c.then, 2)
			if c.want == "" {
				if acts := east.Tick(3); slices.ContainsFunc(acts, func(a steer.Act) bool { return a.Kind == steer.End }) {
					t.Errorf("it does %+v", acts)
				}
				return
			}
			told := only(t, "its server has let go", east.Ended(1, 4), steer.Propose).Command
			if told.Release == nil || told.Release.Loss != c.want {
				t.Fatalf("it proposes %+v, want a release for %s", told, c.want)
			}
			s = apply(t, s, told, ledger.Command{Grant: &ledger.Grant{Newest: 1, Renewals: 1, To: "east"}})
			if r, owes := s.Owes("east"); !owes || r.Epoch != 1 || r.To != "east" || s.Lease.Run != "" {
				t.Errorf("the receipt is %+v, %v, and the lease %+v", r, owes, s.Lease)
			}
			only(t, "it has the next", east.Agreed(s, 5+lease.Time(time.Second)), map[ledger.Loss]steer.Kind{
				ledger.Restart: steer.Leases, ledger.Demotion: steer.Promote,
			}[c.want])
		})
	}
}

// A loss that nobody has told of is seen when the Region has its next epoch.
func TestLossBetweenEpochs(t *testing.T) {
	s := apply(t, founded(t), ledger.Command{Renew: &ledger.Renew{Epoch: 1, Region: "east", Run: "one"}},
		ledger.Command{Release: &ledger.Release{Epoch: 1, Region: "east"}}, ledger.Command{Grant: &ledger.Grant{Newest: 1, Renewals: 1, To: "east"}})
	if s.Lease.Run != "one" || len(s.Receipts) != 0 {
		t.Fatalf("the lease is %+v with receipts %+v, want the run of before, and none", s.Lease, s.Receipts)
	}
	for name, server := range map[string]steer.Server{
		"a restart":  {Known: true, Primary: true, Run: "two"},
		"a demotion": {Known: true, Run: "one", Beat: judge.Beat{Epoch: 1}},
	} {
		east := local("east")
		east.Saw(server, 0)
		only(t, name, east.Agreed(s, 0), steer.End)
		if told := only(t, name, east.Ended(2, 1), steer.Propose).Command; told.Release == nil || told.Release.Loss == "" {
			t.Errorf("%s: it proposes %+v", name, told)
		}
	}
}

// A holder that drains and has lost something marks no end: who sees the mark has all.
func TestNoMarkAfterALoss(t *testing.T) {
	s := apply(t, founded(t), ledger.Command{Renew: &ledger.Renew{Epoch: 1, Region: "east", Run: "one"}},
		ledger.Command{Plan: &ledger.Plan{To: "west"}}, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Draining}})
	east := local("east")
	east.Saw(steer.Server{Known: true, Primary: true, Run: "two"}, 0)
	only(t, "east drains", east.Agreed(s, 0), steer.End)
	if a := only(t, "east has ended", east.Ended(1, 1), steer.Propose); a.Command.Release == nil || a.Command.Release.Loss != ledger.Restart {
		t.Errorf("it does %+v, want a release", a)
	}
	unseen := local("east")
	only(t, "its server was not seen", unseen.Agreed(s, 0), steer.End)
	if acts := unseen.Ended(1, 1); len(acts) != 0 {
		t.Errorf("it does %+v, want nothing", acts)
	}
}

// Whom somebody has made a primary in the holder's place is given the lease, and beside the
// holder is not; the judge does not choose another one meanwhile.
func TestAdopts(t *testing.T) {
	const wait = lease.Time(6 * time.Second)
	config := steer.ChiefConfig{
		Self: "north", Members: []string{"east", "west", "north"}, Lease: lease.Config{}.WithDefaults(),
		Judge: judge.Config{Regions: []string{"east", "west", "north"}, Mode: judge.Off},
	}
	primary := steer.Server{Known: true, Primary: true, Turned: true, Beat: judge.Beat{Epoch: 1, N: 9, At: noon}}
	replica := steer.Server{Known: true, Follows: "west", Beat: judge.Beat{Epoch: 1, N: 9, At: noon}}
	started, older, lacking := primary, primary, primary
	started.Turned, older.Beat.Epoch, lacking.Beat = false, 0, judge.Beat{Epoch: 1}
	for name, c := range map[string]struct {
		east, west steer.Server
		want       bool
	}{
		"somebody swapped the two":         {replica, primary, true},
		"the holder's server is dead":      {steer.Server{}, primary, true},
		"the holder's is a primary, too":   {primary, primary, false},
		"it has started anew, as that":     {replica, started, false},
		"it has nothing of this epoch":     {replica, older, false},
		"one of its shards has nothing":    {replica, lacking, false},
		"it follows, and nobody takes any": {replica, replica, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := founded(t)
			chief, err := steer.NewChief(config, s, 0)
			if err != nil {
				t.Fatal(err)
			}
			adopts := func(now lease.Time) bool {
				o := steer.Observation{State: s, Wall: noon.Add(time.Duration(now))}
				for m, server := range map[string]steer.Server{"east": c.east, "west": c.west, "north": replica} {
					r := steer.Report{Report: judge.Report{Member: m, At: o.Wall}, Server: server}
					for region, seen := range map[string]steer.Server{"east": c.east, "west": c.west} {
						r.Views = append(r.Views, judge.View{Region: region, Beat: seen.Beat})
					}
					o.Reports = append(o.Reports, r)
				}
				return slices.ContainsFunc(chief.Tick(o, now), func(a steer.Act) bool {
					return a.Command.Depose != nil && a.Command.Depose.Wish == "west"
				})
			}
			if adopts(1) || adopts(wait-1) {
				t.Error("west is adopted at once")
			}
			if got := adopts(wait + 1); got != c.want {
				t.Errorf("west is adopted: %v, want %v", got, c.want)
			}
		})
	}
}

// Whose server was made a primary by somebody is not made to follow before that is decided.
func TestUsurperWaits(t *testing.T) {
	s, west := founded(t), local("west")
	west.Saw(steer.Server{Known: true, Primary: true, Turned: true, Beat: judge.Beat{Epoch: 1, N: 9}}, 0)
	if acts := west.Agreed(s, 0); len(acts) != 0 {
		t.Errorf("at once it does %+v", acts)
	}
	if a := only(t, "after a while", west.Tick(lease.Time(12*time.Second)), steer.Follow); a.Region != "east" {
		t.Errorf("it follows %q", a.Region)
	}
}

// A target that has begun and loses something before anybody knows that it has begun says
// so once they do.
func TestTargetLosesBeforeItIsKnown(t *testing.T) {
	for want, lost := range map[ledger.Loss]steer.Server{
		ledger.Restart:  {Known: true, Primary: true, Run: "two"},
		ledger.Demotion: {Known: true, Run: "one"},
	} {
		s := apply(t, founded(t), ledger.Command{Plan: &ledger.Plan{To: "west"}}, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Draining}})
		west := local("west")
		west.Saw(steer.Server{Known: true, Primary: true, Marked: 1, Run: "one"}, 0)
		west.Agreed(s, 0)
		west.Gave(2, 1)
		west.Saw(lost, 2)
		s = apply(t, s, ledger.Command{Advance: &ledger.Advance{Epoch: 2, Step: ledger.Repointing}})
		only(t, "west hears that it has begun", west.Agreed(s, 3), steer.End)
		if a := only(t, "its server has let go", west.Ended(2, 4), steer.Propose); a.Command.Release == nil || a.Command.Release.Loss != want {
			t.Errorf("it proposes %+v, want a release for %s", a.Command, want)
		}
	}
}
