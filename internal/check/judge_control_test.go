package check

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// twoAndAWitness is a file of a deployment with leases.
const twoAndAWitness = `
version: 1
name: shop
topology: active-passive
primary: west
regions:
  - name: west
    id: 1
    engine: {valkey: {addrs: ["db.west:6379"], tls: {}}}
    node: {control: "n.west:7102", api: "n.west:7103"}
    network: [10.1.0.0/16]
  - name: east
    id: 2
    engine: {valkey: {addrs: ["db.east:6379"], tls: {}}}
    node: {control: "n.east:7102", api: "n.east:7103"}
    network: [10.2.0.0/16, "2001:db8:2::/48"]
links: {tls: {ca: c, cert: "{region}.pem", key: "{region}.key"}}
control:
  witnesses: [{name: eyes, id: 16, control: "eyes:7102", api: "eyes:7103"}]
`

// A scene is all that is judged of a control plane.
type scene struct {
	d     topology.Deployment
	w     words
	leads map[string]lookup
}

func (s *scene) status(i int) *admin.Status { return s.w[i].status }

// seen returns what member i knows of member j.
func (s *scene) seen(i, j int) *admin.Seen { return &s.w[i].status.Members[j] }

// every changes what each member says.
func (s *scene) every(do func(*admin.Status)) {
	for _, one := range s.w.told() {
		do(one.status)
	}
}

// deaf has member i hear nobody of those, as it reports and as its status tells.
func (s *scene) deaf(i int, of ...int) {
	for _, j := range of {
		name := s.w[j].member.Name
		s.seen(i, j).Heard = time.Time{}
		for k := range s.w {
			hears := &s.seen(k, i).Hears
			*hears = slices.DeleteFunc(slices.Clone(*hears), func(n string) bool { return n == name })
		}
	}
}

func sceneOf(t *testing.T, file string) *scene {
	t.Helper()
	d, err := topology.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{d: d, leads: map[string]lookup{}}
	for i, host := range []string{"db.west", "n.west", "db.east", "n.east", "eyes"} {
		s.leads[host] = lookup{addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i/2 + 1), 0, byte(i + 1)})}}
	}
	at := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for _, m := range d.Voters() {
		one := word{member: m, file: file, version: 2, status: &admin.Status{
			Deployment: "shop", At: at, Self: m.Name, Leader: "east", Index: 40, Topology: 2,
			Lease:   &admin.Lease{Epoch: 7, Holder: "west"},
			Regions: []admin.Region{{Name: "west", Role: "primary", Candidate: true, Heard: true}, {Name: "east", Role: "secondary", Candidate: true, Heard: true}},
			Alarms:  []admin.Alarm{{Name: "slow", State: "OK"}},
		}}
		if !m.Witness {
			one.status.Lease.Held = 7
		}
		for _, other := range d.Voters() {
			seen := admin.Seen{Name: other.Name, ID: other.ID, Witness: other.Witness, Heard: at.Add(-time.Second), Version: "v1", SkewMS: -20}
			for _, third := range d.Voters() {
				if third.Name != other.Name {
					seen.Hears = append(seen.Hears, third.Name)
				}
			}
			one.status.Members = append(one.status.Members, seen)
		}
		s.w = append(s.w, one)
	}
	return s
}

// trouble leaves out what is good.
func trouble(rows []Row) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.State == Good })
}

// wantTrouble wants rows that are not good, these and no others, each with a part and
// with what to do.
func wantTrouble(t *testing.T, name string, rows []Row, part string, want ...string) {
	t.Helper()
	rows = trouble(rows)
	for i, r := range rows {
		if r.Part != part || r.Mend == "" {
			t.Errorf("%s: %+v: want part %q, and how to mend it", name, r, part)
		}
		if r.State == Unknown {
			rows[i].Mend = "" // there is something to do about it all the same
		}
	}
	wantRows(t, name, rows, want...)
}

const (
	west = iota
	east
	eyes
)

func TestWellControlled(t *testing.T) {
	s := sceneOf(t, twoAndAWitness)
	wantRows(t, "all is well", judgeControl(s.d, s.w, s.leads),
		"ok  3 of 3 members take part: the loss of 1 more is borne",
		"ok west it answers, and hears east and eyes", "ok east it answers", "ok eyes it answers",
		"ok  members run one version: v1", "ok  east leads", "ok  this file is version 2",
		"ok west it holds the lease, in epoch 7", "ok  the judge is on automatic", "ok  1 of 1 alarms are silent")
	s.d.Control = nil
	wantRows(t, "no control plane", judgeControl(s.d, nil, s.leads))
}

// A change is what is otherwise than it should be, and what is said of that.
type change struct {
	do   func(*scene)
	want []string
}

// wantControl makes each change by itself.
func wantControl(t *testing.T, changes map[string]change) {
	t.Helper()
	for name, c := range changes {
		s := sceneOf(t, twoAndAWitness)
		c.do(s)
		wantTrouble(t, name, judgeControl(s.d, s.w, s.leads), controlPart, c.want...)
	}
}

// Who is gone, who does not hear whom, and who runs something else.
func TestWhoTakesPart(t *testing.T) {
	wantControl(t, map[string]change{
		"a member is gone": {func(s *scene) {
			s.deaf(west, eyes)
			s.deaf(east, eyes)
			s.w[eyes].status = nil
		}, []string{"warn eyes no member that was asked hears it", "warn  2 of 3 members take part: the loss of 0 more"}},
		"a member is heard and not asked": {func(s *scene) { s.w[eyes].status = nil }, nil},
		"a report of long ago": {func(s *scene) {
			s.w[eyes].status = nil
			for i := range eyes {
				s.seen(i, eyes).Heard = s.status(i).At.Add(-3 * time.Second)
			}
		}, []string{"warn eyes no member that was asked hears it", "warn  2 of 3"}},
		"no majority": {func(s *scene) {
			s.deaf(west, east, eyes)
			s.w[east].status, s.w[eyes].status = nil, nil
		}, []string{"warn east no member", "warn eyes no member", "FAULT  1 of 3 members take part: no majority"}},
		"nobody tells": {func(s *scene) {
			for i := range s.w {
				s.w[i].status = nil
			}
		}, []string{"unknown  no member told"}},
		"one way":       {func(s *scene) { s.deaf(east, west) }, []string{"warn east it does not hear west, which hears it"}},
		"the other way": {func(s *scene) { s.deaf(west, east) }, []string{"warn west it does not hear east, which hears it"}},
		"it answers, and nobody hears it": {func(s *scene) {
			s.deaf(east, west)
			s.deaf(eyes, west)
		}, []string{"warn west no member that was asked hears it", "warn  2 of 3", "warn east it does not hear west", "warn eyes it does not hear west"}},
		"it is heard by one that was not asked": {func(s *scene) {
			s.deaf(east, west, eyes)
			s.deaf(west, east)
			s.w[eyes].status = nil
			s.seen(west, eyes).Hears = []string{"west", "east"}
		}, []string{"warn west it and east do not hear each other", "warn east it does not hear eyes, which hears it"}},
		"others' reports are older": {func(s *scene) {
			s.seen(west, east).Hears, s.seen(eyes, east).Hears = nil, nil
		}, nil},
		"cut both ways": {func(s *scene) {
			s.deaf(west, east)
			s.deaf(east, west)
		}, []string{"warn west it and east do not hear each other"}},
		"two versions": {func(s *scene) { s.every(func(a *admin.Status) { a.Members[west].Version = "v2" }) }, []string{"warn  v1 (east, eyes) and v2 (west)"}},
	})
}

// A clock is wrong if all who hear it say so; words that are slow both ways are no clock.
func TestJudgeClocks(t *testing.T) {
	second := 1000.0
	wantControl(t, map[string]change{
		"a wrong clock": {func(s *scene) {
			s.seen(west, east).SkewMS, s.seen(eyes, east).SkewMS = 3*second, 3*second
			s.seen(east, west).SkewMS, s.seen(east, eyes).SkewMS = -3*second, -3*second
		}, []string{"FAULT east its clock is 3s off"}},
		"a clock a bit off": {func(s *scene) {
			s.d.Control.Lease.Guard = 2 * time.Second
			s.seen(west, east).SkewMS, s.seen(eyes, east).SkewMS = 1.5*second, 1.5*second
			s.seen(east, west).SkewMS, s.seen(east, eyes).SkewMS = -1.5*second, -1.5*second
		}, []string{"warn east its clock is 1.5s off"}},
		"a narrow guard": {func(s *scene) {
			s.d.Control.Lease.Guard = 500 * time.Millisecond
			s.seen(west, east).SkewMS, s.seen(eyes, east).SkewMS = 0.6*second, 0.6*second
			s.seen(east, west).SkewMS, s.seen(east, eyes).SkewMS = -0.6*second, -0.6*second
		}, []string{"FAULT east its clock is 600ms off"}},
		"slow words both ways": {func(s *scene) {
			s.seen(west, east).SkewMS, s.seen(eyes, east).SkewMS = -1.4*second, -1.4*second
			s.seen(east, west).SkewMS, s.seen(east, eyes).SkewMS = -1.4*second, -1.4*second
		}, nil},
		"one of two that hear it": {func(s *scene) { s.seen(west, east).SkewMS = 9 * second }, nil},
	})
}

// What members have agreed on, and who leads.
func TestJudgeAgreed(t *testing.T) {
	wantControl(t, map[string]change{
		"another deployment": {func(s *scene) { s.status(east).Deployment = "other" }, []string{`FAULT east it is of the deployment "other", and this file is of "shop"`}},
		"another member":     {func(s *scene) { s.status(east).Self = "eyes" }, []string{"FAULT east at n.east:7103 is eyes"}},
		"not founded": {func(s *scene) {
			s.every(func(a *admin.Status) { a.Topology, a.Lease = 0, nil })
			for i := range s.w {
				s.w[i].file = ""
			}
		}, []string{"FAULT  nobody has founded", "unknown  whether this file is the one", "warn  nobody holds the lease"}},
		"a version behind":        {func(s *scene) { s.status(eyes).Topology = 1 }, []string{"warn eyes it goes by version 1 of the file, and others by 2"}},
		"an epoch behind":         {func(s *scene) { s.status(eyes).Lease.Epoch = 6 }, []string{"warn eyes it knows of epoch 6, and others of 7"}},
		"two holders":             {func(s *scene) { s.status(eyes).Lease.Holder = "east" }, []string{"FAULT  epoch 7 is of east and west"}},
		"nobody leads":            {func(s *scene) { s.every(func(a *admin.Status) { a.Leader = "" }) }, []string{"FAULT  no member leads"}},
		"one knows of none":       {func(s *scene) { s.status(eyes).Leader = "" }, []string{"warn eyes it knows of no member that leads"}},
		"one believes in another": {func(s *scene) { s.status(eyes).Leader = "west" }, []string{"warn eyes it takes west for the member that leads"}},
		"two lead at one index":   {func(s *scene) { s.status(west).Leader = "west" }, []string{"FAULT east it says that it leads, and so does west, at one index, 40", "warn eyes it takes east for"}},
		"one led before": {func(s *scene) {
			s.status(west).Leader = "west"
			s.status(west).Index = 39
		}, []string{"warn west it takes west for the member that leads"}},
		"who leads is asked only of others": {func(s *scene) { s.w[east].status = nil }, nil},
	})
}

func TestJudgeFile(t *testing.T) {
	three := strings.Replace(twoAndAWitness, "links:", `  - name: north
    id: 3
    engine: {valkey: {addrs: ["db.north:6379"], tls: {}}}
    node: {control: "n.north:7102", api: "n.north:7103"}
links:`, 1)
	three = strings.Replace(three, "  witnesses: [{name: eyes, id: 16, control: \"eyes:7102\", api: \"eyes:7103\"}]\n", "  dir: x\n", 1)
	for name, c := range map[string]struct {
		here, there string
		want        string
		mend        string
	}{
		"the same":        {twoAndAWitness, twoAndAWitness, "ok  this file is version 2", ""},
		"another comment": {twoAndAWitness, "# one more\n" + twoAndAWitness, "ok  this file says what version 2 says", ""},
		"other settings":  {twoAndAWitness, strings.Replace(twoAndAWitness, "10.1.0.0", "10.9.0.0", 1), "warn  this file is not version 2, by which members go", "PUT"},
		"a Region more":   {three, twoAndAWitness, "warn  by which members go: it has north", "roam region add north"},
		"a Region less":   {twoAndAWitness, three, "warn  by which members go: it lacks north", "roam region remove north"},
		"of a later time": {twoAndAWitness, twoAndAWitness + "later: {}\n", "warn  this program can't read that", "the program"},
		"none shown":      {twoAndAWitness, "", "unknown  whether this file is the one", "--region"},
	} {
		s := sceneOf(t, c.here)
		for i := range s.w {
			s.w[i].file = c.there
		}
		s.w[west].file, s.w[west].version = "behind: {}\n", 1
		if c.there == "" {
			s.w[west].file = ""
		}
		rows := judgeFile(s.d, s.w)
		if len(rows) != 1 || !strings.Contains(rows[0].Mend, c.mend) {
			t.Errorf("%s: %+v, want a row that says to %q", name, rows, c.mend)
			continue
		}
		if rows[0].State == Unknown {
			rows[0].Mend = ""
		}
		wantRows(t, name, rows, c.want)
	}
}

// An even number of members, and one alone, are warned of.
func TestJudgeQuorum(t *testing.T) {
	s := sceneOf(t, twoAndAWitness)
	for n, want := range map[int][]string{
		1: {"warn  1 member votes: its loss stops", "ok  1 of 1 members take part: the loss of 0"},
		2: {"warn  2 members vote: they bear the loss of 0", "ok  2 of 2"},
		3: {"ok  3 of 3 members take part: the loss of 1"},
		4: {"warn  4 members vote: they bear the loss of 1", "ok  4 of 4 members take part: the loss of 1"},
	} {
		wantRows(t, "members", judgeQuorum(append(slices.Clone(s.w), s.w...)[:n]), want...)
	}
}
