package lease

import "time"

// A Holder is the part of the node whose servers are the primaries in an epoch. It tries
// to renew, one try at a time. A try asks the servers for their clock first: the lease
// that it brings ends that much later, by that clock.
type Holder struct {
	config Config
	epoch  uint64
	others []string // members beside its own

	next    Time // of the next try
	try     uint64
	phase   phase
	asked   Time // when this try asked for the clocks
	vouched map[string]bool

	drifts  []time.Duration // of the servers' clocks to ours, when they were last told soon
	stopped bool

	// armed: the epoch is reserved, and no server may have its lease yet. agreed is when
	// the try asked for the clocks that the quorum agreed to last, if there is one.
	armed  bool
	agreed *Time
}

type phase uint8

const (
	resting   phase = iota
	asking          // the server, for its clock
	renewing        // with the quorum
	vouching        // with all others, or the quorum
	beginning       // asking the server, with a renewal at hand
)

// An Act is what is to be done.
type Act struct {
	Kind ActKind
	Try  uint64
	// Epoch is the holder's.
	Epoch uint64
	// Lasts is how long each server is to hold the lease, from what its clock said in this
	// try; of Grant.
	Lasts time.Duration
}

// An ActKind is a kind of Act.
type ActKind uint8

// The acts. AskClocks: ask the servers what time it is, and tell Clocks. Renew: have the
// quorum agree to a renewal, and tell Renewed. AskWord: ask each other member to vouch,
// and tell Vouched. Grant: give the servers the lease. Stop: have the servers let go of
// the epoch for good, whatever is still on its way to them, and try no more.
const (
	AskClocks ActKind = iota + 1
	Renew
	AskWord
	Grant
	Stop
)

// NewHolder returns that of an epoch that was granted to this node. others are the other
// members.
func NewHolder(c Config, epoch uint64, others []string, now Time) *Holder {
	return &Holder{config: c, epoch: epoch, others: others, next: now}
}

// NewArmed returns that of an epoch that is reserved for this node, as the next: it renews
// as another does, and gives its servers nothing until Begin.
func NewArmed(c Config, epoch uint64, others []string, now Time) *Holder {
	h := NewHolder(c, epoch, others, now)
	h.armed = true
	return h
}

// Ready reports whether an armed holder could begin now, with time left to renew.
func (h *Holder) Ready(now Time) bool {
	return h.armed && !h.stopped && h.agreed != nil && now < h.agreed.Add(h.config.lasts()-h.config.Answer)
}

// Begin turns an armed holder into one that holds: the epoch before is over, at all of
// its servers and for good. What the quorum agreed to last lasts for what is left of it,
// so that nobody waits for the quorum now.
func (h *Holder) Begin(now Time) []Act {
	if !h.armed || h.stopped {
		return nil
	}
	h.armed = false
	acts := h.begin(now)
	if h.agreed != nil {
		h.phase = beginning
	}
	return acts
}

// Epoch returns the holder's.
func (h *Holder) Epoch() uint64 { return h.epoch }

// Stopped reports whether the reign is over.
func (h *Holder) Stopped() bool { return h.stopped }

// Tick says what time it is.
func (h *Holder) Tick(now Time) []Act {
	switch {
	case h.stopped:
		return nil
	case h.phase == resting && now >= h.next:
		return h.begin(now)
	case h.phase == resting || now < h.asked.Add(h.config.Answer):
		return nil
	case h.phase == renewing && !h.armed && !h.config.Strict && len(h.others) > 0:
		// The quorum does not answer. The clocks are asked anew: words are from now on.
		acts := h.begin(now)
		h.vouched = map[string]bool{}
		return acts
	}
	h.rest(now)
	return nil
}

func (h *Holder) begin(now Time) []Act {
	h.try++
	h.phase, h.asked, h.vouched = asking, now, nil
	return []Act{{Kind: AskClocks, Try: h.try, Epoch: h.epoch}}
}

func (h *Holder) rest(now Time) {
	h.phase, h.vouched = resting, nil
	h.next = max(now, h.next.Add(h.config.Renew))
}

// Clocks says what time it is at each of the servers, as asked in a try, in an order that
// stays. A clock that has stepped ends the reign: nobody knows how much is left of a lease
// that it measured.
func (h *Holder) Clocks(try uint64, servers []time.Duration, now Time) []Act {
	if h.stopped || try != h.try || h.phase != asking && h.phase != beginning {
		return nil
	}
	if h.step(servers, now) {
		return h.Stop()
	}
	if left := h.left(now); h.phase == beginning && left > 0 {
		h.phase = resting // the next try is due when it was
		return []Act{{Kind: Grant, Try: h.try, Epoch: h.epoch, Lasts: left}}
	}
	if h.vouched != nil {
		// The quorum is asked as well: what was lost on its way once may come through.
		h.phase = vouching
		return []Act{{Kind: AskWord, Try: h.try, Epoch: h.epoch}, {Kind: Renew, Try: h.try, Epoch: h.epoch}}
	}
	h.phase = renewing
	return []Act{{Kind: Renew, Try: h.try, Epoch: h.epoch}}
}

// left returns how long servers may hold the lease, from what their clocks said up to now,
// by what the quorum agreed to last.
func (h *Holder) left(now Time) time.Duration {
	if h.agreed == nil {
		return 0
	}
	return h.agreed.Add(h.config.lasts()).Sub(now)
}

// step reports whether a server's clock has stepped against ours since it was last told
// soon. What an answer takes on its way looks like a step.
func (h *Holder) step(servers []time.Duration, now Time) bool {
	if now.Sub(h.asked) > h.config.MaxStep {
		return false
	}
	was := h.drifts
	h.drifts = make([]time.Duration, len(servers))
	steps := false
	for i, server := range servers {
		h.drifts[i] = server - time.Duration(h.asked)
		steps = steps || len(was) == len(servers) && (h.drifts[i]-was[i]).Abs() > 2*h.config.MaxStep
	}
	return steps
}

// Renewed says that the quorum has agreed to the renewal of a try.
func (h *Holder) Renewed(try uint64, now Time) []Act {
	if h.stopped || try != h.try || h.phase != renewing && h.phase != vouching {
		return nil
	}
	asked := h.asked
	h.agreed = &asked
	if h.armed {
		h.rest(now)
		return nil
	}
	return h.grant(now)
}

// Vouched says that a member has given its word in a try.
func (h *Holder) Vouched(try uint64, member string, now Time) []Act {
	if h.stopped || try != h.try || h.phase != vouching {
		return nil
	}
	h.vouched[member] = true
	for _, other := range h.others {
		if !h.vouched[other] {
			return nil
		}
	}
	return h.grant(now)
}

func (h *Holder) grant(now Time) []Act {
	h.rest(now)
	return []Act{{Kind: Grant, Try: h.try, Epoch: h.epoch, Lasts: h.config.lasts()}}
}

// Refused says that a server does not take the lease of this epoch any more, or that the
// quorum does not renew it. Who would go on would keep all others from writing.
func (h *Holder) Refused() []Act { return h.Stop() }

// Granted says that an epoch was granted to somebody. A later one ends this reign.
func (h *Holder) Granted(epoch uint64) []Act {
	if h.stopped || epoch <= h.epoch {
		return nil
	}
	return h.Stop()
}

// Stop ends the reign.
func (h *Holder) Stop() []Act {
	if h.stopped {
		return nil
	}
	h.stopped = true
	return []Act{{Kind: Stop, Epoch: h.epoch}}
}
