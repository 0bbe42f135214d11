package history

import (
	"cmp"
	"slices"
	"sort"
)

// everywhere stands for all Regions.
const everywhere uint8 = 0

// A place is a user or a session in a Region, or everywhere.
type place struct {
	name   string
	region uint8
}

// An ending is a revocation, where it is known from: from then on no login that
// began before start is live there.
type ending struct {
	from  int64
	start int64 // the greatest among those known by then
	event int32
}

// endings are where and from when what was ended must not be shown.
type endings struct {
	sessions map[place]ending
	users    map[place][]ending // by from
}

// endings gathers what was acknowledged.
func (c *checker) endings() *endings {
	out := &endings{sessions: map[place]ending{}, users: map[place][]ending{}}
	var settled []int32
	for i := range c.events {
		if c.events[i].Kind == Converged {
			settled = append(settled, int32(i)) //nolint:gosec // memory bounds it
		}
	}
	byStart(c.events, settled)
	soonest := soonestEnds(c.events, settled)
	for i := range c.events {
		e := &c.events[i]
		if (e.Kind != End && e.Kind != Revoke) || !e.done() {
			continue
		}
		for r := uint8(1); r <= maxRegion; r++ {
			if e.Have>>r&1 == 1 {
				out.note(e, int32(i), r, e.End) //nolint:gosec // memory bounds it
			}
		}
		after := sort.Search(len(settled), func(n int) bool { return c.events[settled[n]].Start > e.End })
		if after < len(settled) {
			out.note(e, int32(i), everywhere, soonest[after]) //nolint:gosec // memory bounds it
		}
	}
	for _, list := range out.users {
		slices.SortStableFunc(list, func(a, b ending) int { return cmp.Compare(a.from, b.from) })
		for n := 1; n < len(list); n++ {
			if list[n].start < list[n-1].start {
				list[n].start, list[n].event = list[n-1].start, list[n-1].event
			}
		}
	}
	return out
}

// soonestEnds returns for each convergence the first end of it and all that begin
// after it.
func soonestEnds(events []Event, settled []int32) []int64 {
	out := make([]int64, len(settled))
	for n := len(settled) - 1; n >= 0; n-- {
		out[n] = events[settled[n]].End
		if n+1 < len(settled) {
			out[n] = min(out[n], out[n+1])
		}
	}
	return out
}

func (x *endings) note(e *Event, i int32, region uint8, from int64) {
	if e.Kind == Revoke {
		at := place{e.User, region}
		x.users[at] = append(x.users[at], ending{from, e.Start, i})
		return
	}
	at := place{e.Session, region}
	if old, ok := x.sessions[at]; !ok || from < old.from {
		x.sessions[at] = ending{from, e.Start, i}
	}
}

// revoked returns the revocation that is known at a place before start and that
// speaks of the latest logins.
func (x *endings) revoked(at place, start int64) (ending, bool) {
	list := x.users[at]
	n := sort.Search(len(list), func(n int) bool { return list[n].from >= start })
	if n == 0 {
		return ending{}, false
	}
	return list[n-1], true
}

// A login is a login of a session.
type login struct {
	user  string
	start int64
	began int64 // the greatest of its user's logins up to it
	event int32
}

// resurrected holds that no read shows the session once it was ended where the
// read was answered, whatever the answer says of itself.
func (c *checker) resurrected(group []int32, endings *endings) {
	logins := c.logins(group)
	for _, i := range group {
		e := &c.events[i]
		if e.Kind != Read || !e.Live || !e.done() {
			continue
		}
		for _, region := range []uint8{e.Region, everywhere} {
			if end, ok := endings.sessions[place{e.Session, region}]; ok && end.from < e.Start {
				c.broken(NoResurrection, []int32{end.event, i}, "a session is shown that was ended%s", where(region))
				break
			}
			if c.outlived(i, e, region, logins, endings) {
				break
			}
		}
	}
}

func where(region uint8) string {
	if region == everywhere {
		return ", after all Regions had heard"
	}
	return " in that Region"
}

// outlived reports whether a read shows a session of which every login began
// before a revocation that is known where it was answered.
func (c *checker) outlived(i int32, e *Event, region uint8, logins []login, endings *endings) bool {
	n := sort.Search(len(logins), func(n int) bool { return logins[n].start > e.End })
	if n == 0 {
		return false
	}
	last := logins[n-1]
	rev, ok := endings.revoked(place{last.user, region}, e.Start)
	if !ok || last.began >= rev.start {
		return false
	}
	c.broken(NoResurrection, []int32{last.event, rev.event, i},
		"a session is shown whose user's sessions were revoked%s", where(region))
	return true
}

// logins returns the logins of a session by start. One that is not known to have
// failed may count.
func (c *checker) logins(group []int32) []login {
	var out []login
	for _, i := range group {
		e := &c.events[i]
		if e.Kind != Login || e.Refused {
			continue
		}
		l := login{e.User, e.Start, e.Began, i}
		if n := len(out); n > 0 && out[n-1].began > l.began {
			l.began, l.event = out[n-1].began, out[n-1].event
		}
		out = append(out, l)
	}
	return out
}
