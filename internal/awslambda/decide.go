package awslambda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/elasticache"
)

// A Place says which group a function is to look at.
type Place struct {
	Region string
	Group  string // the ID of the Region's own replication group
	Global string // the ID of the Global Datastore
	// Standalone is an operator's word that this group takes writes though it is in no
	// Global Datastore: after it was taken out of one because the primary's Region was
	// dead. At most one Region may have it.
	Standalone bool
}

// A Verdict is what to do.
type Verdict string

// The verdicts.
const (
	Move   Verdict = "move"   // this Region is the primary: what says otherwise is moved
	Leave  Verdict = "leave"  // another Region is: it moves things
	Wait   Verdict = "wait"   // it is being decided: look again
	Refuse Verdict = "refuse" // somebody has to look
)

// A Decision is a verdict and what led to it.
type Decision struct {
	Verdict Verdict
	Reason  string
	// Known says whether Primary is; what is not known is not reported.
	Known, Primary bool
	// Endpoint is where writes of this Region go; with Move, or Wait in a Region that is
	// the primary so far.
	Endpoint string
	Members  []elasticache.Member
	// Alone says that an operator's word is all that makes this Region the primary.
	Alone bool
}

// Decide says what to do in a place by what is seen there. Only what both sources agree on is
// acted on: the group's own word, which is this Region's, and the members of the Global
// Datastore, in which exactly one, this one, is the primary. A group that is a secondary by its
// own word leaves everything as it is, whatever the other source says, or if it says nothing.
func Decide(v elasticache.View, p Place) Decision {
	d := Decision{Endpoint: v.Endpoint, Members: v.Members}
	say := func(verdict Verdict, format string, args ...any) Decision {
		d.Verdict, d.Reason = verdict, fmt.Sprintf(format, args...)
		return d
	}
	switch {
	case !v.Found:
		return say(Refuse, "there is no replication group %s", p.Group)
	case slices.Contains([]string{"deleting", "create-failed"}, v.Status):
		return say(Refuse, "replication group %s is %s", p.Group, v.Status)
	case v.Global == "" && !p.Standalone:
		return say(Refuse, "%s is in no Global Datastore, and nobody said that it takes writes on its own", p.Group)
	case v.Global == "":
		d.Known, d.Primary = true, true
		d.Alone, d.Members = true, []elasticache.Member{{Group: p.Group, Region: p.Region}}
		return ready(v, say, "%s takes writes on its own, as an operator said", p.Group)
	case !strings.EqualFold(v.Global, p.Global):
		return say(Refuse, "%s is in Global Datastore %s, and not %s", p.Group, v.Global, p.Global)
	case strings.EqualFold(v.Role, "SECONDARY"):
		d.Known = true
		return say(Leave, "%s is a secondary", p.Group)
	case !strings.EqualFold(v.Role, "PRIMARY"):
		return say(Wait, "%s has role %q", p.Group, v.Role)
	case !v.GlobalFound:
		return say(Wait, "there is no Global Datastore %s, and %s is its primary", p.Global, p.Group)
	case !sole(v.Members, p):
		return say(Wait, "%s is the primary by its own word, and the Global Datastore says %v", p.Group, v.Members)
	}
	d.Known, d.Primary = true, true
	switch v.GlobalStatus {
	case "available", "primary-only":
		return ready(v, say, "%s is the primary", p.Group)
	case "deleting":
		return say(Refuse, "the Global Datastore is being deleted")
	}
	return say(Wait, "%s is the primary, and the Global Datastore is %s", p.Group, v.GlobalStatus)
}

// ready says Move if the group has an endpoint to move to.
func ready(v elasticache.View, say func(Verdict, string, ...any) Decision, format string, args ...any) Decision {
	if v.Endpoint == "" || v.Status == "creating" {
		return say(Wait, "the group is %s and has endpoint %q", v.Status, v.Endpoint)
	}
	return say(Move, format, args...)
}

// sole reports whether a place's group is the one primary among members.
func sole(members []elasticache.Member, p Place) bool {
	ours := false
	for _, m := range members {
		if !strings.EqualFold(m.Role, "PRIMARY") {
			continue
		}
		if m.Group != p.Group || m.Region != p.Region {
			return false
		}
		ours = true
	}
	return ours
}

// leadsTo reports whether a name is an endpoint of one of the members' groups: the group's ID
// is one of its labels. What leads to a group that is no member must stay: it was taken out of
// the Global Datastore, and somebody sent the writes there because this one was dead. Its data
// and ours have parted, and which of them holds is for people to say.
func leadsTo(target string, members []elasticache.Member) bool {
	labels := strings.Split(strings.ToLower(target), ".")
	return slices.ContainsFunc(members, func(m elasticache.Member) bool { return slices.Contains(labels, strings.ToLower(m.Group)) })
}
