package elasticache

import (
	"fmt"
	"strings"
	"time"
)

// A Want is what a Region's node wants of its group.
type Want uint8

// The wants. Detached: it is to take writes of its own, out of the Global Datastore, whatever
// that costs; the data part for good.
const (
	Nothing Want = iota
	Promoted
	Detached
)

// A Deed is what is to be asked of ElastiCache.
type Deed uint8

// The deeds. Wait: ElastiCache was asked a moment ago, and what it said then stands.
const (
	None Deed = iota
	Wait
	Failover
	Disassociate
)

// askAgain is how long a deed is waited for that ElastiCache has taken, or refused, before it
// is asked for once more.
const askAgain = 15 * time.Second

// A Site is a Region's group.
type Site struct {
	Global string // the ID of the Global Datastore
	Group  string // the ID of the replication group
	Region string // as AWS calls it
}

// Decide returns what to ask for, and why nothing if something is wanted. Asked is when it
// last was; zero: never.
func Decide(v View, s Site, want Want, asked, now time.Time) (Deed, string) {
	mine := strings.EqualFold(v.Global, s.Global)
	waits := !asked.IsZero() && now.Before(asked.Add(askAgain))
	switch {
	case want == Nothing:
		return None, ""
	case !v.Found:
		return None, fmt.Sprintf("there is no replication group %s", s.Group)
	case v.Global == "" && want == Detached:
		return None, ""
	case !mine:
		return None, fmt.Sprintf("%s is in Global Datastore %q, and not %s", s.Group, v.Global, s.Global)
	case strings.EqualFold(v.Role, Primary):
		return None, ""
	case !strings.EqualFold(v.Role, Secondary):
		return None, fmt.Sprintf("%s has role %q", s.Group, v.Role)
	case waits:
		return Wait, ""
	case want == Detached:
		// A failover that goes on for ever is what this is for: the status is no reason to wait.
		return Disassociate, ""
	case v.GlobalStatus != available:
		return None, fmt.Sprintf("the Global Datastore is %q", v.GlobalStatus)
	case v.has(s):
		// The two were asked one after the other, and it was promoted in between.
		return None, fmt.Sprintf("the Global Datastore has %s as its primary, and the group is yet to say so", s.Group)
	}
	return Failover, ""
}

// The roles of a group in a Global Datastore, and the status of one in which nothing changes.
const (
	Primary   = "PRIMARY"
	Secondary = "SECONDARY"
	available = "available"
)

// PrimaryOf returns the member that the Global Datastore has as its one primary; false: there
// is none, or it is not known.
func (v View) PrimaryOf() (Member, bool) {
	var out Member
	n := 0
	for _, m := range v.Members {
		if strings.EqualFold(m.Role, Primary) {
			out = m
			n++
		}
	}
	return out, n == 1
}

// has reports whether the Global Datastore has a Region's group as its primary.
func (v View) has(s Site) bool {
	m, ok := v.PrimaryOf()
	return ok && m.Group == s.Group && m.Region == s.Region
}

// Promotable reports whether a Region's group could be made the primary now.
func (v View) Promotable(s Site) bool {
	return v.Found && strings.EqualFold(v.Global, s.Global) && strings.EqualFold(v.Role, Secondary) && v.GlobalStatus == available
}

// String says in a few words how things are.
func (v View) String() string {
	switch {
	case !v.Found:
		return "there is no such replication group"
	case v.Global == "":
		return fmt.Sprintf("the group is %s, and in no Global Datastore", v.Status)
	}
	who := "nobody"
	if m, ok := v.PrimaryOf(); ok {
		who = m.Group + " in " + m.Region
	}
	return fmt.Sprintf("Global Datastore %s is %s: %s is its primary", v.Global, v.GlobalStatus, who)
}
