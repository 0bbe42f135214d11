package lease_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
)

func TestConfigCheck(t *testing.T) {
	if err := (lease.Config{}).WithDefaults().Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, c := range map[string]lease.Config{
		"guard":    {Guard: -1},
		"TTL":      {TTL: 3 * time.Second},
		"renewals": {Renew: -1},
		"step":     {MaxStep: 300 * time.Millisecond},
	} {
		if err := c.WithDefaults().Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check of %+v = %v, want a fault of the %s", c, err, want)
		}
	}
}

// A voter that gave its word, or has just started, consents when that is over, and then
// vouches for no epoch that is over.
func TestVoter(t *testing.T) {
	c := lease.Config{}.WithDefaults()
	v := lease.NewVoter(c, 0, 0)
	if wait, ok := v.Consent(2, 0); ok || wait != c.Wait() {
		t.Errorf("Consent at the start = %v, %v, want to wait for %v", wait, ok, c.Wait())
	}
	at := lease.Time(c.Wait())
	if !v.Vouch(1, 1, at) {
		t.Error("Vouch for the present epoch = false")
	}
	if wait, ok := v.Consent(2, at.Add(c.Wait()-1)); ok || wait != 1 {
		t.Errorf("Consent while bound = %v, %v, want to wait for 1ns", wait, ok)
	}
	if _, ok := v.Consent(2, at.Add(c.Wait())); !ok || v.Consented() != 2 {
		t.Errorf("Consent when free = %v, %d, want it", ok, v.Consented())
	}
	for epoch, known := range map[uint64]uint64{0: 0, 1: 1, 2: 3} {
		if v.Vouch(epoch, known, at.Add(time.Hour)) {
			t.Errorf("Vouch for epoch %d, of which %d is known, after consent to 2 = true", epoch, known)
		}
	}
}

// A round is agreed to by a majority, each member counted once, and none for another epoch.
func TestRound(t *testing.T) {
	r := lease.NewRound(4, 4)
	for _, member := range []string{"a", "b", "b"} {
		if r.Consented(member, 4) {
			t.Errorf("after %s a majority of four has consented", member)
		}
	}
	if r.Consented("c", 3) || !r.Consented("d", 4) {
		t.Error("a consent to another epoch counts, or the third does not")
	}
}

// kinds returns what acts are.
func kinds(acts []lease.Act) (out []lease.ActKind) {
	for _, a := range acts {
		out = append(out, a.Kind)
	}
	return out
}

// A holder renews, falls back on the word of all others, and stops when a clock steps.
func TestHolder(t *testing.T) {
	c := lease.Config{}.WithDefaults()
	h := lease.NewHolder(c, 3, []string{"b", "c"}, 0)
	now := lease.Time(0)
	want := func(what string, acts []lease.Act, kind lease.ActKind) {
		t.Helper()
		if got := kinds(acts); len(got) != 1 || got[0] != kind {
			t.Fatalf("%s = %v, want %v", what, got, kind)
		}
	}
	want("the first tick", h.Tick(now), lease.AskClocks)
	want("the clock", h.Clocks(1, []time.Duration{time.Hour}, now), lease.Renew)
	acts := h.Renewed(1, now)
	want("the renewal", acts, lease.Grant)
	if acts[0].Lasts != c.TTL-c.Guard || acts[0].Epoch != 3 {
		t.Errorf("granted %+v, want epoch 3 for %v", acts[0], c.TTL-c.Guard)
	}
	if acts := h.Tick(now.Add(c.Renew - 1)); acts != nil {
		t.Errorf("a tick too early = %v", acts)
	}
	now = now.Add(c.Renew)
	want("the next tick", h.Tick(now), lease.AskClocks)
	want("the clock", h.Clocks(2, []time.Duration{time.Hour + c.Renew}, now), lease.Renew)
	now = now.Add(c.Answer)
	want("no answer of the quorum", h.Tick(now), lease.AskClocks)
	if acts := h.Renewed(2, now); acts != nil {
		t.Errorf("a renewal that came late = %v", acts)
	}
	if got := kinds(h.Clocks(3, []time.Duration{time.Hour + c.Renew + c.Answer}, now)); !slices.Equal(got, []lease.ActKind{lease.AskWord, lease.Renew}) {
		t.Fatalf("the clock again = %v, want to ask for words, and the quorum once more", got)
	}
	if acts := h.Vouched(3, "b", now); acts != nil {
		t.Errorf("one word of two = %v", acts)
	}
	want("all words", h.Vouched(3, "c", now), lease.Grant)
	now = now.Add(c.Renew)
	want("the tick after that", h.Tick(now), lease.AskClocks)
	want("a clock that has stepped", h.Clocks(4, []time.Duration{2 * time.Hour}, now), lease.Stop)
	if acts := h.Tick(now.Add(time.Hour)); acts != nil {
		t.Errorf("a tick after the end = %v", acts)
	}
}

// The quorum that did not answer once may do so while words are asked for: one who does not
// give its word, as it is dead, holds up nobody then.
func TestHolderIsRenewedAmongWords(t *testing.T) {
	c := lease.Config{}.WithDefaults()
	h := lease.NewHolder(c, 3, []string{"b", "c"}, 0)
	h.Tick(0)
	h.Clocks(1, []time.Duration{0}, 0)
	now := lease.Time(c.Answer)
	h.Tick(now)
	h.Clocks(2, []time.Duration{c.Answer}, now)
	h.Vouched(2, "b", now)
	if got := kinds(h.Renewed(2, now)); len(got) != 1 || got[0] != lease.Grant {
		t.Errorf("the renewal = %v, want to grant", got)
	}
	if acts := h.Vouched(2, "c", now); acts != nil {
		t.Errorf("a word after that = %v", acts)
	}
}

// Strict, a holder does not go on without the quorum.
func TestStrictHolder(t *testing.T) {
	c := lease.Config{Strict: true}.WithDefaults()
	h := lease.NewHolder(c, 1, []string{"b"}, 0)
	h.Tick(0)
	h.Clocks(1, []time.Duration{0}, 0)
	if acts := h.Tick(lease.Time(c.Answer)); acts != nil {
		t.Errorf("no answer of the quorum = %v, want nothing but another try", acts)
	}
	if acts := h.Tick(lease.Time(c.Answer + c.Renew)); len(acts) != 1 || acts[0].Try != 2 {
		t.Errorf("the next try = %v", acts)
	}
}

// An armed holder renews and grants nothing until it begins; then what was agreed last
// lasts no longer than it would have, and nobody waits for the quorum.
func TestArmedHolder(t *testing.T) {
	c := lease.Config{}.WithDefaults()
	h := lease.NewArmed(c, 5, []string{"b"}, 0)
	if h.Ready(0) {
		t.Error("ready before anything was agreed")
	}
	h.Tick(0)
	h.Clocks(1, []time.Duration{time.Hour}, 0)
	if acts := h.Renewed(1, 10); acts != nil || !h.Ready(10) {
		t.Fatalf("a renewal = %v, ready %v, want nothing to do and to be ready", acts, h.Ready(10))
	}
	now := lease.Time(500 * time.Millisecond)
	if got := kinds(h.Begin(now)); len(got) != 1 || got[0] != lease.AskClocks {
		t.Fatalf("Begin = %v, want to ask for the clocks", got)
	}
	now = now.Add(time.Millisecond)
	acts := h.Clocks(2, []time.Duration{time.Hour + time.Duration(now)}, now)
	if len(acts) != 1 || acts[0].Kind != lease.Grant || acts[0].Lasts != c.TTL-c.Guard-501*time.Millisecond {
		t.Fatalf("the clocks = %+v, want the lease for what is left", acts)
	}
	if got := kinds(h.Tick(lease.Time(c.Renew))); len(got) != 1 || got[0] != lease.AskClocks {
		t.Errorf("the next tick = %v, want another try", got)
	}
}

// What was agreed too long ago is not begun with: the quorum is asked first.
func TestArmedHolderBeginsLate(t *testing.T) {
	c := lease.Config{}.WithDefaults()
	h := lease.NewArmed(c, 5, nil, 0)
	h.Tick(0)
	h.Clocks(1, []time.Duration{0}, 0)
	h.Renewed(1, 0)
	now := lease.Time(c.TTL - c.Guard)
	if h.Ready(now) {
		t.Error("ready with nothing left")
	}
	h.Begin(now)
	if got := kinds(h.Clocks(2, []time.Duration{time.Duration(now)}, now)); len(got) != 1 || got[0] != lease.Renew {
		t.Errorf("the clocks = %v, want to renew", got)
	}
}
