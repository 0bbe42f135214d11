package steer

import (
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
)

// A Check is one thing that was looked at before something is begun.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// Next is what to do about it; empty: nothing.
	Next string `json:"next,omitempty"`
}

// Precheck looks at all that a switchover to a Region needs. Planned: nothing is to be
// lost, so that the present holder must be there too; else it is a failover, which must
// say what it may lose.
func (c *Chief) Precheck(o Observation, to string, planned bool) []Check {
	s, l := o.State, o.State.Lease
	var checks []Check
	check := func(name string, ok bool, next, format string, args ...any) {
		if ok {
			next = ""
		}
		checks = append(checks, Check{name, ok, fmt.Sprintf(format, args...), next})
	}
	check("lease", l.Epoch > 0, "only active-passive deployments on servers have a primary to move", "epoch %d of %s", l.Epoch, l.Holder)
	check("region", s.Has(to) && to != l.Holder, fmt.Sprintf("name one of %q", without(s.Setup.Regions, l.Holder)), "%s is to have it", to)
	check("free", !s.Handover.Pending(), "wait for it to end", "no other switchover is under way")
	fresh := 0
	for _, r := range o.Reports {
		if o.Wall.Sub(r.At) <= c.rules.Config().Fresh {
			fresh++
		}
	}
	check("quorum", 2*fresh > len(c.config.Members), "look at the members with \"roam status\"", "%d of %d members report", fresh, len(c.config.Members))
	target, known := c.fit(to, o)
	check("target", known, "see that its node runs and reaches its server", "the node and the server of %s answer", to)
	_, owes := s.Owes(to)
	check("salvaged", !owes, "wait until its receipt is complete: \"roam receipts\"", "what %s took itself was taken in", to)
	check("follows", !target.Server.Primary && target.Server.Follows == l.Holder && target.Server.Linked,
		"see why its server does not follow the primary's", "the server of %s follows %q, linked %v", to, target.Server.Follows, target.Server.Linked)
	if target.Server.Service != "" {
		check("service", !target.Server.Held, "wait until it can be promoted; if the primary's Region is lost for good, detach it: docs/aws/global-datastore.md", "%s", target.Server.Service)
	}
	if planned {
		_, ok := c.fit(l.Holder, o)
		check("primary", ok && !l.Released && !l.Deposed, "if it is lost this is a failover: \"roam failover\"", "%s holds the lease and answers", l.Holder)
	}
	lag, known := Behind(o.Reports, l.Epoch, target)
	limit := c.rules.Config().MaxLag
	check("lag", known && lag <= limit, fmt.Sprintf("wait until it is at most %v behind, or force a failover", limit),
		"%s is %v behind the newest heartbeat that members know", to, lag.Round(time.Millisecond))
	return checks
}

// Behind returns how far a Region is behind the newest heartbeat of an epoch that members
// know of, by that of its server; false: nobody knows, as where one of several has none.
func Behind(reports []Report, epoch uint64, of Report) (time.Duration, bool) {
	var newest judge.Beat
	for _, r := range reports {
		for _, v := range r.Views {
			if v.Beat.Epoch == epoch && v.Beat.At.After(newest.At) {
				newest = v.Beat
			}
		}
	}
	if newest.At.IsZero() || of.Server.Beat.Epoch != epoch || of.Server.Beat.At.IsZero() {
		return 0, false
	}
	return max(0, newest.At.Sub(of.Server.Beat.At)), true
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}
