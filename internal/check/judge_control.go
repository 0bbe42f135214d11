package check

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// controlPart is what rows call what members decide together.
const controlPart = "control"

// heardFor is how old a member's report may be: two periods of a second and a half.
const heardFor = 2500 * time.Millisecond

// A word is what one member says.
type word struct {
	member topology.Member
	status *admin.Status // nil: it said nothing, and a row tells why
	// file and version are what members have agreed on, as this one knows it; empty: it
	// did not tell.
	file    string
	version uint64
}

// words are those of all members, in the order of the file.
type words []word

// told returns those that said something.
func (w words) told() words {
	return slices.DeleteFunc(slices.Clone(w), func(one word) bool { return one.status == nil })
}

// newest returns what the member knows that knows most; nil if none said anything.
func (w words) newest() *admin.Status {
	var out *admin.Status
	for _, one := range w.told() {
		if out == nil || one.status.Index > out.Index {
			out = one.status
		}
	}
	return out
}

// leading returns what the member knows that leads, which hears from the judge first; else
// what is newest.
func (w words) leading() *admin.Status {
	out := w.newest()
	for _, one := range w.told() {
		if one.status.Leader == one.member.Name && one.status.Index >= out.Index {
			out = one.status
		}
	}
	return out
}

// sees returns the last report of a member that another one has heard lately.
func (w word) sees(name string) (admin.Seen, bool) {
	if w.status == nil {
		return admin.Seen{}, false
	}
	i := slices.IndexFunc(w.status.Members, func(s admin.Seen) bool { return s.Name == name })
	if i < 0 || w.status.Members[i].Heard.IsZero() || w.status.At.Sub(w.status.Members[i].Heard) > heardFor {
		return admin.Seen{}, false
	}
	return w.status.Members[i], true
}

// report returns the last report of a member: from itself, or from whoever heard it.
func (w words) report(name string) (out admin.Seen, ok bool) {
	for _, one := range w {
		s, heard := one.sees(name)
		if heard && one.member.Name == name {
			return s, true
		}
		if heard {
			out, ok = s, true
		}
	}
	return out, ok
}

// judgeControl judges what members say, and where they are.
func judgeControl(d topology.Deployment, w words, leads map[string]lookup) []Row {
	if d.Control == nil {
		return nil
	}
	rows := append(judgeQuorum(w), judgeSeats(d, leads)...)
	if len(w.told()) > 0 {
		rows = slices.Concat(rows, judgeMembers(d, w), judgeHearing(w), judgeVersions(w), judgeAgreed(d, w), judgeLeader(w),
			judgeFile(d, w), judgeLease(d, w), judgeWatch(d, w))
	}
	for i := range rows {
		rows[i].Part = controlPart
	}
	return rows
}

// judgeQuorum judges how many members there are, how many take part, and how many more
// may be lost.
func judgeQuorum(w words) (out []Row) {
	n, majority := len(w), len(w)/2+1
	switch {
	case n%2 == 0:
		out = append(out, Row{
			State: Warning, Seen: fmt.Sprintf("%d members vote: they bear the loss of %d, as one less would, and a cut into halves stops both", n, n-majority),
			Mend: "add a witness in a place of its own",
		})
	case n < 3:
		out = append(out, Row{State: Warning, Seen: "1 member votes: its loss stops all decisions", Mend: "have three members: each Region, and witnesses"})
	}
	if len(w.told()) == 0 {
		return append(out, Row{State: Unknown, Seen: "no member told what has been agreed on", Mend: "mend what stands beside the members"})
	}
	var gone []string
	for _, one := range w {
		if !w.takesPart(one) {
			gone = append(gone, one.member.Name)
			out = append(out, Row{
				State: Warning, Region: one.member.Name, Seen: "no member that was asked hears it",
				Mend: "look whether it runs, and at the network between it and the others",
			})
		}
	}
	row := Row{State: Good, Seen: fmt.Sprintf("%d of %d members take part: the loss of %d more is borne", n-len(gone), n, max(0, n-len(gone)-majority))}
	switch {
	case n-len(gone) < majority:
		row.State, row.Mend = Fault, "bring "+list(gone)+" back"
		row.Seen = fmt.Sprintf("%d of %d members take part: no majority, and nothing can be agreed on", n-len(gone), n)
	case len(gone) > 0 && n-len(gone) == majority:
		row.State, row.Mend = Warning, "bring "+list(gone)+" back"
	}
	return append(out, row)
}

// takesPart reports whether some other member hears one, by what either says. Who is the
// only one that was asked counts itself.
func (w words) takesPart(one word) bool {
	asked := 0
	for _, other := range w {
		if other.member.Name == one.member.Name {
			continue
		}
		if _, heard := other.sees(one.member.Name); heard {
			return true
		}
		if other.status != nil {
			asked++
			continue
		}
		if r, known := w.report(other.member.Name); known && slices.Contains(r.Hears, one.member.Name) {
			return true
		}
	}
	return one.status != nil && asked == 0
}

// judgeMembers judges each member by itself.
func judgeMembers(d topology.Deployment, w words) (out []Row) {
	for _, one := range w.told() {
		name, s := one.member.Name, one.status
		own, _ := one.sees(name)
		row := Row{State: Good, Region: name, Seen: "it answers, and hears " + cmp.Or(list(own.Hears), "nobody")}
		switch {
		case s.Self != name:
			row.State, row.Mend = Fault, "look at api_advertise in the file, and at names"
			row.Seen = fmt.Sprintf("at %s is %s", one.member.API, s.Self)
		case s.Deployment != d.Name:
			row.State, row.Mend = Fault, "look at name: in the file, and at api_advertise"
			row.Seen = fmt.Sprintf("it is of the deployment %q, and this file is of %q", s.Deployment, d.Name)
		}
		out = append(out, row)
	}
	limit := clockLimit(d)
	for _, one := range w {
		off, known := w.clock(one.member.Name)
		if known && max(off, -off) > min(clockWarning, limit) {
			state := Warning
			if max(off, -off) > limit {
				state = Fault
			}
			out = append(out, Row{
				State: state, Region: one.member.Name,
				Seen: fmt.Sprintf("its clock is %v off those of all who hear it, or its words take so long", off.Round(time.Millisecond)),
				Mend: clockMend(d),
			})
		}
	}
	return out
}

// clockLimit is how wrong a clock may be. One that is wrong by more than the lease's
// guard will be set right some time, and a step back by more than that in a bad moment is
// what the lease can't bear.
func clockLimit(d topology.Deployment) time.Duration {
	if d.Leases() {
		return min(clockFault, d.Control.Lease.WithDefaults().Guard)
	}
	return clockFault
}

func clockMend(d topology.Deployment) string {
	mend := "have all follow one source of time, with chrony or what the cloud offers"
	if d.Leases() {
		mend += fmt.Sprintf("; let it slew the clock and not step it: a lease bears no step of more than %v", clockLimit(d))
	}
	return mend
}

// clock returns by how much a member's clock is ahead of that of whoever finds it least
// wrong: what one says of another may be its own clock that is wrong. Of two that hear
// each other, half the difference of what they say is free of how long words take.
func (w words) clock(name string) (off time.Duration, known bool) {
	skew := func(by, of word) (time.Duration, bool) {
		s, heard := by.sees(of.member.Name)
		return time.Duration(s.SkewMS * float64(time.Millisecond)), heard
	}
	for _, of := range w {
		if of.member.Name != name {
			continue
		}
		for _, by := range w {
			ahead, heard := skew(by, of)
			if by.member.Name == name || !heard {
				continue
			}
			if back, too := skew(of, by); too {
				ahead = (ahead - back) / 2
			}
			if !known || max(ahead, -ahead) < max(off, -off) {
				off, known = ahead, true
			}
		}
	}
	return off, known
}

// judgeHearing judges which links between members work, of those whose reports are known.
func judgeHearing(w words) (out []Row) {
	for i, one := range w {
		a, known := w.report(one.member.Name)
		if !known {
			continue // a row tells that nobody hears it
		}
		for _, other := range w[i+1:] {
			b, known := w.report(other.member.Name)
			if !known {
				continue
			}
			row := Row{State: Warning, Region: a.Name, Mend: "look at the network between the two, both ways, at the port of control"}
			switch there, back := slices.Contains(a.Hears, b.Name), slices.Contains(b.Hears, a.Name); {
			case there && back:
				continue
			case there:
				row.Region, row.Seen = b.Name, fmt.Sprintf("it does not hear %s, which hears it", a.Name)
			case back:
				row.Seen = fmt.Sprintf("it does not hear %s, which hears it", b.Name)
			default:
				row.Seen = fmt.Sprintf("it and %s do not hear each other", b.Name)
			}
			out = append(out, row)
		}
	}
	return out
}

// judgeVersions: all members run one version of the software.
func judgeVersions(w words) []Row {
	by := map[string][]string{}
	for _, one := range w {
		if s, known := w.report(one.member.Name); known && s.Version != "" {
			by[s.Version] = append(by[s.Version], s.Name)
		}
	}
	var all []string
	for _, version := range slices.Sorted(maps.Keys(by)) {
		all = append(all, version+" ("+strings.Join(by[version], ", ")+")")
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return []Row{{State: Good, Seen: "members run one version: " + slices.Collect(maps.Keys(by))[0]}}
	}
	return []Row{{State: Warning, Seen: "members run several versions: " + list(all), Mend: "bring the upgrade to its end"}}
}

// judgeAgreed: what members have agreed on has come to all of them.
func judgeAgreed(d topology.Deployment, w words) (out []Row) {
	var version, epoch uint64
	for _, one := range w.told() {
		version = max(version, one.status.Topology)
		if l := one.status.Lease; l != nil {
			epoch = max(epoch, l.Epoch)
		}
	}
	if version == 0 {
		return []Row{{State: Fault, Seen: "nobody has founded the deployment: nothing is agreed on", Mend: "start all members: the first time, all must be there"}}
	}
	const mend = "look whether it hears the others, and at its log"
	holders := map[string]bool{}
	for _, one := range w.told() {
		l := cmp.Or(one.status.Lease, &admin.Lease{})
		if s := one.status; s.Topology < version {
			out = append(out, Row{State: Warning, Region: one.member.Name, Seen: fmt.Sprintf("it goes by version %d of the file, and others by %d", s.Topology, version), Mend: mend})
		}
		switch {
		case !d.Leases():
		case l.Epoch < epoch:
			out = append(out, Row{State: Warning, Region: one.member.Name, Seen: fmt.Sprintf("it knows of epoch %d, and others of %d", l.Epoch, epoch), Mend: mend})
		case l.Holder != "":
			holders[l.Holder] = true
		}
	}
	if len(holders) > 1 {
		out = append(out, Row{
			State: Fault, Seen: fmt.Sprintf("epoch %d is of %s, as members say", epoch, list(slices.Sorted(maps.Keys(holders)))),
			Mend: "stop one of them, and report it: this must never be",
		})
	}
	return out
}

// judgeLeader: one member leads, and all know which.
func judgeLeader(w words) (out []Row) {
	var claims words
	named := map[string]int{}
	for _, one := range w.told() {
		named[one.status.Leader]++
		if one.status.Leader == one.member.Name {
			claims = append(claims, one)
		}
	}
	delete(named, "")
	if len(named) == 0 {
		return []Row{{State: Fault, Seen: "no member leads: nothing can be agreed on", Mend: "run it again in a moment; look whether a majority of members hear each other"}}
	}
	leader := slices.MaxFunc(slices.Sorted(maps.Keys(named)), func(a, b string) int { return cmp.Compare(named[a], named[b]) })
	if len(claims) > 0 {
		leader = slices.MaxFunc(claims, func(a, b word) int { return cmp.Compare(a.status.Index, b.status.Index) }).member.Name
	}
	out = append(out, Row{State: Good, Seen: leader + " leads"})
	for _, one := range w.told() {
		row := Row{State: Warning, Region: one.member.Name, Mend: "run it again in a moment; look whether it hears the others"}
		switch s := one.status; {
		case s.Leader == leader:
			continue
		case s.Leader == one.member.Name && slices.ContainsFunc(claims, func(c word) bool { return c.member.Name == leader && c.status.Index == s.Index }):
			row.State, row.Seen = Fault, fmt.Sprintf("it says that it leads, and so does %s, at one index, %d", leader, s.Index)
		case s.Leader == "":
			row.Seen = "it knows of no member that leads"
		default:
			row.Seen = fmt.Sprintf("it takes %s for the member that leads", s.Leader)
		}
		out = append(out, row)
	}
	return out
}

// judgeFile: the file here is what members have agreed on.
func judgeFile(d topology.Deployment, w words) []Row {
	var agreed word
	for _, one := range w.told() {
		if one.file != "" && one.version >= agreed.version {
			agreed = one
		}
	}
	if agreed.file == "" {
		return []Row{{
			State: Unknown, Seen: "whether this file is the one that members go by is not known: none showed theirs",
			Mend: "run it with --region, or as an operator",
		}}
	}
	if agreed.file == d.Text {
		return []Row{{State: Good, Seen: fmt.Sprintf("this file is version %d, which members agreed on", agreed.version)}}
	}
	here, err := topology.Parse([]byte(d.Text))
	there, foreign := topology.Parse([]byte(agreed.file))
	if err != nil || foreign != nil {
		return []Row{{
			State: Warning, Seen: fmt.Sprintf("this file is not version %d, by which members go, and this program can't read that", agreed.version),
			Mend: "use the program that members run",
		}}
	}
	here.Text, there.Text = "", ""
	if reflect.DeepEqual(here, there) {
		return []Row{{State: Good, Seen: fmt.Sprintf("this file says what version %d says, which members agreed on", agreed.version)}}
	}
	row := Row{
		State: Warning, Seen: fmt.Sprintf("this file is not version %d, by which members go", agreed.version),
		Mend: "get theirs (GET /v1/topology), or have them agree on this one (PUT, docs/api.md)",
	}
	for _, name := range here.Names() {
		if _, known := there.Region(name); !known {
			row.Seen += ": it has " + name
			row.Mend = "get theirs (GET /v1/topology), or have them agree on this one: roam region add " + name
		}
	}
	for _, name := range there.Names() {
		if _, known := here.Region(name); !known {
			row.Seen += ": it lacks " + name
			row.Mend = "get theirs (GET /v1/topology), or have them agree on this one: roam region remove " + name
		}
	}
	return []Row{row}
}
