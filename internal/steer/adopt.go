package steer

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A usurper is a Region whose server somebody else has made a primary: a person at the
// server, or who manages it. Whoever sees that one of these is so has seen how it is meant
// to be, and it is not undone (DESIGN R16).
type usurper struct {
	region string
	beside bool // the holder's is one, too
	since  lease.Time
}

// usurps reports whether a server that is not the holder's was made a primary in the
// present epoch by somebody else. It has heartbeats of the epoch, so that it followed the
// holder's; nobody here promotes one but in a switchover, or under the next epoch. One that
// has started anew as a primary is not meant by anybody.
func usurps(s Server, of ledger.State) bool {
	return s.Known && s.Primary && s.Turned && of.Lease.Epoch > 0 && s.Beat.Epoch == of.Lease.Epoch && !of.Handover.Pending()
}

// adopt has a Region become the holder that somebody else has made it, when the holder's
// server has been none for as long as a lease may last. Beside a holder's server that is
// one it does not count, and is made to follow again.
func (c *Chief) adopt(o Observation, now lease.Time) []Act {
	l, wait := o.State.Lease, c.config.Lease.Wait()
	next, lag := c.usurping(o)
	if next.region != c.usurper.region || next.beside != c.usurper.beside {
		c.usurper = next
		c.usurper.since = now
		c.tellUsurper(o)
	}
	if next.region == "" || next.beside || now.Sub(c.usurper.since) < wait {
		return nil
	}
	return c.once("adopt", Act{Kind: Propose, Command: ledger.Command{Depose: &ledger.Depose{
		Epoch: l.Epoch, Wish: next.region, Lag: lag.Seconds(), Why: "somebody has made its server the primary",
	}}}, now)
}

// tellUsurper has everybody be told what somebody has done at a server.
func (c *Chief) tellUsurper(o Observation) {
	u, l := c.usurper, o.State.Lease
	if u.region == "" {
		return
	}
	text := fmt.Sprintf("somebody has made the server of %s a primary, and that of %s is none: it is to have the lease in %v", u.region, l.Holder, c.config.Lease.Wait())
	if u.beside {
		text = fmt.Sprintf("somebody has made the server of %s a primary: it takes no writes, as %s holds the lease, and is to follow again in %v", u.region, l.Holder, 2*c.config.Lease.Wait())
	}
	c.told = append(c.told, ledger.Event{At: o.Wall, Kind: ledger.KindVerdict, Region: u.region, Other: l.Holder, Epoch: l.Epoch, Text: text})
}

// usurping returns the Region whose server was made a primary, if there is one. Of several
// it is the most caught-up one.
func (c *Chief) usurping(o Observation) (next usurper, lag time.Duration) {
	if o.State.Lease.Deposed {
		return usurper{}, 0
	}
	for _, region := range o.State.Setup.Regions {
		r, ok := c.fit(region, o)
		_, owes := o.State.Owes(region)
		if !ok || owes || region == o.State.Lease.Holder || !usurps(r.Server, o.State) {
			continue
		}
		behind, known := Behind(o.Reports, o.State.Lease.Epoch, r)
		if known && (next.region == "" || behind < lag) {
			next.region, lag = region, behind
		}
	}
	if r, ok := c.fit(o.State.Lease.Holder, o); ok && r.Server.Primary && next.region != "" {
		next.beside = true
	}
	return next, lag
}

// usurped reports whether somebody has put another primary in the holder's place, which
// answers as a replica: the judge, which sees a holder without heartbeats, knows less then.
func (c *Chief) usurped(o Observation) bool {
	_, ok := c.fit(o.State.Lease.Holder, o)
	return ok && c.usurper.region != "" && !c.usurper.beside
}

// disputed reports whether it is not clear yet who is to have the lease of a holder whose
// server was made to follow: whoever did that may be about to promote another one.
func (c *Chief) disputed(o Observation, now lease.Time) bool {
	l := o.State.Lease
	if l.Loss != ledger.Demotion || l.Deposed {
		c.dispute = 0
		return !l.Deposed && c.usurper.region != "" && !c.usurper.beside
	}
	if c.dispute == 0 {
		c.dispute = now.Add(c.config.Lease.Wait() + c.rules.Config().Fresh)
	}
	return c.usurper.region != "" || now < c.dispute
}
