package dns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	wire "github.com/miekg/dns"

	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// notifyTries is how often a secondary is told of one change; the waits between double
	// from notifyWait. Then it is left to look by itself, which ZoneConfig.Refresh bounds.
	notifyTries = 5
	notifyWait  = time.Second
	// notifyTimeout is how long it may take to answer.
	notifyTimeout = 2 * time.Second
	// notifyGap is the least time between two messages to one secondary. Changes that
	// come closer are told together.
	notifyGap = 200 * time.Millisecond
)

// A teller tells one secondary of changes, by RFC 1996.
type teller struct {
	to   Secondary
	wake chan struct{} // has one, if there is a change to tell of
	ask  exchange
}

func newTeller(to Secondary, keys keyring, from netip.Addr) *teller {
	c := caller{network: "udp", addr: to.Addr.String(), from: from, keys: keys, timeout: notifyTimeout}
	if to.Key != nil {
		c.key = wire.CanonicalName(to.Key.Name)
	}
	return &teller{to: to, wake: make(chan struct{}, 1), ask: c.exchange}
}

// changed has the secondary told. It does not wait.
func (t *teller) changed() {
	select {
	case t.wake <- struct{}{}:
	default: // it is about to be told, and what it is told is the latest
	}
}

// run tells until ctx ends.
func (t *teller) run(ctx context.Context, s *Server) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		for try := 1; ; try++ {
			err := t.tell(ctx, s.zone.Load())
			if err == nil {
				s.stats.notified.Add(1)
				break
			}
			if ctx.Err() != nil {
				return
			}
			s.stats.notifyFailed.Add(1)
			if try == notifyTries {
				s.stats.notifyGaveUp.Add(1)
				s.config.Log.Warn("a secondary was not told of a change", "secondary", t.to.Addr, "tries", try, "err", err)
				break
			}
			fresh, ok := t.wait(ctx, notifyWait<<(try-1))
			if !ok {
				return
			}
			if fresh {
				try = 0
			}
		}
		if !pause.For(ctx, notifyGap) {
			return
		}
	}
}

// wait waits, and not as long if there is another change: then it is as if nothing had been
// tried. It reports false if ctx has ended.
func (t *teller) wait(ctx context.Context, d time.Duration) (fresh, ok bool) {
	if !pause.For(ctx, notifyGap) {
		return false, false
	}
	fresh = pause.Or(ctx, d-notifyGap, t.wake)
	return fresh, fresh || ctx.Err() == nil
}

// tell says which serial there is now.
func (t *teller) tell(ctx context.Context, z *Zone) error {
	m := new(wire.Msg)
	m.SetNotify(z.Origin)
	m.Answer = []wire.RR{wire.Copy(z.soa)}
	r, err := t.ask(ctx, m)
	if err != nil {
		return err
	}
	if r.Rcode != wire.RcodeSuccess {
		return fmt.Errorf("it says %s", wire.RcodeToString[r.Rcode])
	}
	return nil
}
