package node

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/primary"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

// How something fares that says outside of Roam where the writer is.
const (
	published = "published" // it says so
	pending   = "pending"   // it is being made so: nobody has to do anything yet
	refused   = "refused"   // somebody has to look
	idle      = "idle"      // it is not this node's to keep
)

func fareStates() []string { return []string{published, pending, refused, idle} }

// What somebody does about what does not fare well.
const (
	waitAMoment = "wait a moment"
	waitLonger  = "nothing: it is tried again within a minute. If it lasts, look whether this machine reaches the service, and whether the service is well"
)

// A fare is how something fares.
type fare struct {
	state     string // empty: nothing is known of it yet
	epoch     uint64
	target    string
	since     time.Time
	why, next string
}

// mostWhy bounds the text of an error that members tell each other.
const mostWhy = 300

// of returns a fare of a publication.
func (f fare) of(w dns.Publication) fare {
	f.epoch, f.target = w.Epoch, w.Target
	return f
}

// orPending returns a fare of which something is known.
func (f fare) orPending() fare {
	if f.state == "" {
		f.state, f.why, f.next = pending, "it begins", waitAMoment
	}
	return f
}

// notOurs returns that something is not this node's to keep.
func notOurs(why string, last fare) fare { return fare{state: idle, why: why, since: last.since} }

// event returns what an event says.
func (f fare) event(name string) string {
	switch {
	case f.state == published && f.target == "":
		return name + " is told"
	case f.state == published:
		return fmt.Sprintf("%s leads to %s", name, f.target)
	}
	return fmt.Sprintf("%s is %s: %s. What to do: %s", name, f.state, f.why, f.next)
}

// sameNote returns what finds an event.
func sameNote(region string, epoch uint64, text string) func(ledger.Event) bool {
	return func(e ledger.Event) bool {
		return e.Kind == ledger.KindNames && e.Region == region && e.Epoch == epoch && e.Text == text
	}
}

// heard takes in what came of one try.
func (k *signpost) heard(r dns.Report) {
	f := fareOfError(k.kind, r.Err, r.Again)
	if f.state == idle {
		return // that is seen from the lease
	}
	k.become(f.of(r.Publication))
}

// told takes in what came of telling the metric.
func (k *signpost) told(r primary.Report) {
	f := fareOfError(k.kind, r.Err, r.Again)
	f.epoch, f.target = r.Epoch, "0"
	if r.Primary {
		f.target = "1"
	}
	k.become(f)
}

// become notes how it fares now, and since when.
func (k *signpost) become(f fare) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.since = k.last.since; f.state != k.last.state || f.epoch != k.last.epoch || f.since.IsZero() {
		f.since = time.Now()
	}
	k.last = f
}

// fareOfError returns what an error of whoever keeps something means.
func fareOfError(kind string, err error, again bool) fare {
	if err == nil {
		return fare{state: published}
	}
	f := fare{state: refused, why: err.Error()}
	if len(f.why) > mostWhy {
		f.why = strings.ToValidUTF8(f.why[:mostWhy], "") + "…"
	}
	switch {
	case errors.Is(err, route53.ErrNotPrimary):
		f.state = idle
	case errors.Is(err, dns.ErrOccupied):
		f.next = "look at the zone: the name, or _roam. below it, has what is not Roam's. Take it away, or have roam.yaml name another"
	case errors.Is(err, dns.ErrStale):
		f.next = "look whether this node hears the others. If the deployment was set up from nothing, or roam.yaml has another target since, delete the text record _roam. beside the name, and start the nodes anew"
	case errors.Is(err, arc.ErrConflict):
		f.next = "look at the control panel's safety rules, and turn the controls by hand or mend the rule. It is tried again, and no rule is ever overridden"
	case errors.Is(err, dns.ErrRefused):
		f.next = refusedNext(kind)
	case errors.Is(err, route53.ErrPending):
		f.state, f.next = pending, "nothing: Route 53 took it, and it is looked at again within a minute"
	case again:
		f.state, f.next = pending, waitAMoment
	default:
		f.state, f.next = pending, waitLonger
	}
	return f
}

// refusedNext tells what is done about a right that lacks, or a name that is not there.
func refusedNext(kind string) string {
	switch kind {
	case topology.Route53:
		return "look at zone_id and health checks in roam.yaml, and at what the node's role may do: docs/dns.md has the policy"
	case topology.ARC:
		return "look at the ARNs in roam.yaml, and at what the node's role may do: docs/dns.md has the policy"
	case metricKind:
		return "let the node's role do cloudwatch:PutMetricData: docs/dns.md has the policy"
	}
	return "look at the key, and at what the server lets it do: docs/dns.md has an example"
}
