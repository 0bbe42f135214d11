package topology

import (
	"cmp"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/replica"
)

// DefaultBeat is how often it is looked at another Region's copy of a store, if nobody
// says otherwise. A write a beat is what that costs a Region.
const DefaultBeat = 2 * time.Second

// Bounds of what may be asked for: outside of them a deployment does not work, or
// somebody wrote another unit than she meant.
const (
	leastBeat = 10 * time.Millisecond
	mostWait  = time.Hour
	// strictBound is the router's default.
	strictBound = 10 * time.Second
	// beatsInBound is how many beats of a copy strict routes must live without: what is
	// known of one is two of them and the lag old at worst.
	beatsInBound = 4
)

func (p *parser) policies(c cursor, d *Deployment) Policies {
	f := c.fields("replication", "read_after_write", "timeouts")
	out := Policies{
		Replication:    p.replication(f["replication"], !d.OneStore()),
		ReadAfterWrite: f["read_after_write"].oneOf("token", "primary", "retry", "accept"),
		Timeouts:       p.timeouts(f["timeouts"]),
	}
	if beat, bound := cmp.Or(out.Replication.Heartbeat, DefaultBeat), cmp.Or(out.Timeouts.StrictBound, strictBound); d.Eventually() && bound < beatsInBound*beat {
		at := f["timeouts"].find("strict_bound")
		if !at.there() {
			at = f["replication"].find("heartbeat")
		}
		at.fault(fmt.Sprintf("let strict_bound be %d heartbeats or more", beatsInBound), "copies that are looked at every %v are often older than the %v that strict routes live with", beat, bound)
	}
	return out
}

// replication reads what nodes that have links do, and is stricter with those.
func (p *parser) replication(c cursor, links bool) Replication {
	f := c.fields("heartbeat", "silence", "window", "redeliver", "sweep", "scan_rate")
	r := Replication{
		Heartbeat: f["heartbeat"].duration(leastBeat, time.Minute),
		Silence:   f["silence"].duration(2*leastBeat, mostWait),
		Window:    int(f["window"].size(64<<10, 1<<30)),
		Redeliver: f["redeliver"].duration(100*time.Millisecond, mostWait),
		Sweep:     f["sweep"].duration(time.Second, 7*24*time.Hour),
		ScanRate:  f["scan_rate"].number(1, 100_000_000),
	}
	beat, silence := cmp.Or(r.Heartbeat, replica.DefaultHeartbeat), cmp.Or(r.Silence, replica.DefaultSilence)
	if links && silence < 2*beat {
		at := f["silence"]
		if !at.there() {
			at = f["heartbeat"]
		}
		at.fault("let silence be two heartbeats or more", "a link with a heartbeat every %v is given up after %v", beat, silence)
	}
	return r
}

func (p *parser) timeouts(c cursor) Timeouts {
	f := c.fields("local", "remote", "read_budget", "write_budget", "max_wait", "strict_bound", "backoff")
	t := Timeouts{
		Local:       f["local"].duration(time.Millisecond, mostWait),
		Remote:      f["remote"].duration(200*time.Millisecond, 500*time.Millisecond), // as router.Config
		ReadBudget:  f["read_budget"].duration(time.Millisecond, mostWait),
		WriteBudget: f["write_budget"].duration(time.Millisecond, mostWait),
		MaxWait:     f["max_wait"].duration(time.Millisecond, mostWait),
		StrictBound: f["strict_bound"].duration(time.Second, mostWait),
	}
	const maxRetries = 10
	for _, b := range f["backoff"].items(maxRetries) {
		t.Backoff = append(t.Backoff, b.duration(time.Millisecond, mostWait))
	}
	return t
}
