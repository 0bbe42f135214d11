package controlsim

import (
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// An oracle knows all that happened, and checks it against what is promised.
type oracle struct {
	world  *world
	writes []write
	acked  set
	burnt  set // acknowledged or not: was on a disk that was lost, and not in its node's spool

	newest uint64        // epoch of a write that was taken
	last   time.Duration // when a write was taken last
	epochs map[uint64]*reign
}

// A write is one that a server took.
type write struct {
	epoch  uint64
	server int
}

// A reign is what is known of an epoch.
type reign struct {
	server *server
	taken  set           // in it
	fork   set           // what its server had when it was first given the lease
	ended  time.Duration // when its server had let go of it for good; 0: it has not
	marked bool
	kept   set    // what its server had when it marked the end
	after  uint64 // planned: the epoch that was held when it was
}

func (o *oracle) reign(epoch uint64) *reign {
	r := o.epochs[epoch]
	if r == nil {
		r = &reign{}
		o.epochs[epoch] = r
	}
	return r
}

// take numbers a write that a server takes, and checks that no other one would.
func (o *oracle) take(s *server, epoch uint64) int {
	w := o.world
	for _, other := range w.servers {
		if other != s && other.live() {
			w.violation("I9", "server %s takes a write of epoch %d while server %s could take one of %d", nameOf(s.id), epoch, nameOf(other.id), other.lease.epoch)
		}
	}
	if epoch < o.newest {
		w.violation("I10", "server %s takes a write of epoch %d, and epoch %d has taken one", nameOf(s.id), epoch, o.newest)
	}
	o.newest = max(o.newest, epoch)
	o.last = w.now
	id := len(o.writes)
	o.writes = append(o.writes, write{epoch, s.id})
	o.reign(epoch).taken.add(id)
	w.out.Stats.Taken++
	w.trace(uint64(id)) //nolint:gosec // positive
	w.story.taken(s, epoch)
	return id
}

func (o *oracle) acknowledged(id int) {
	if !o.acked.has(id) {
		o.acked.add(id)
		o.world.out.Stats.Acknowledged++
	}
}

// granted is told that a server was given a lease.
func (o *oracle) granted(s *server, first bool) {
	w := o.world
	for _, other := range w.servers {
		if other != s && other.live() && s.live() {
			w.violation("I9", "server %s holds epoch %d and server %s epoch %d", nameOf(s.id), s.lease.epoch, nameOf(other.id), other.lease.epoch)
		}
	}
	r := o.reign(s.lease.epoch)
	if !first || r.server != nil {
		return
	}
	w.say("server %s holds epoch %d for the first time", nameOf(s.id), s.lease.epoch)
	w.point("gave")
	r.server, r.fork = s, s.data.clone()
	if r.after != 0 && w.log.state.Lease.Epoch <= s.lease.epoch {
		o.begun(s, r)
	}
}

// begun checks that the target of a planned switchover has all that was written before.
func (o *oracle) begun(s *server, r *reign) {
	w, before := o.world, o.reign(r.after)
	if !before.marked {
		w.violation("I11", "server %s begins epoch %d, and the end of %d is not marked", nameOf(s.id), s.lease.epoch, r.after)
	}
	lacks := before.taken.without(s.data)
	lacks.join(before.kept.without(s.data))
	if n := lacks.len(); n > 0 {
		w.violation("I11", "server %s begins epoch %d of a planned switchover and lacks %d writes of %d", nameOf(s.id), s.lease.epoch, n, r.after)
	}
	if before.ended > 0 && w.service == nil {
		w.out.Gaps = append(w.out.Gaps, w.now-before.ended)
	}
}

// ended is told that a server has let go of an epoch.
func (o *oracle) ended(epoch uint64) {
	if r := o.reign(epoch); r.ended == 0 {
		r.ended = o.world.now
		o.world.point("ended")
	}
}

// marked is told that a server has marked the end of an epoch.
func (o *oracle) marked(s *server, epoch uint64) {
	if r := o.reign(epoch); !r.marked {
		r.marked, r.kept = true, s.data.clone()
		o.world.point("marked")
	}
}

// burns is told that a server's disk is lost.
func (o *oracle) burns(s *server) { o.burnt.join(s.data.without(s.spool)) }

// tears is told that the last of what a server's disk had is lost.
func (o *oracle) tears(writes set) { o.burnt.join(writes) }

// copies reports whether anybody but one server has a write.
func (o *oracle) copies(id int, but *server) bool {
	for _, s := range o.world.servers {
		if s != but && s.data.has(id) || s.spool.has(id) {
			return true
		}
	}
	return false
}

// replaces is told that a server is given all data of another one, in place of its own.
func (o *oracle) replaces(s, by *server) {
	w := o.world
	for _, id := range s.data.without(by.data).within(o.acked).all() {
		switch {
		case o.copies(id, s):
		case o.burnt.has(id):
			w.out.Stats.Bystanders++
		default:
			w.violation("I12", "server %s throws away the only copy of write %d, of epoch %d and server %s",
				nameOf(s.id), id, o.writes[id].epoch, nameOf(o.writes[id].server))
			return
		}
	}
}

// agreed is told what was agreed.
func (o *oracle) agreed(was ledger.State, c ledger.Command, err error) {
	w, is := o.world, o.world.log.state
	if err != nil {
		return
	}
	if is.Newest < was.Newest || is.Lease.Epoch < was.Lease.Epoch {
		w.violation("I10", "epochs went from %d of %d to %d of %d", was.Lease.Epoch, was.Newest, is.Lease.Epoch, is.Newest)
	}
	switch {
	case c.Plan != nil:
		w.say("a switchover from %s to %s is planned: epoch %d", is.Lease.Holder, is.Handover.To, is.Handover.Epoch)
		w.out.Stats.Planned++
		o.reign(is.Handover.Epoch).after = is.Lease.Epoch
		w.point("planned")
	case c.Advance != nil:
		w.say("the switchover to %d is %s: %s", c.Advance.Epoch, c.Advance.Step, c.Advance.Why)
		w.point(string(c.Advance.Step))
	case c.Depose != nil:
		w.say("epoch %d of %s is to end, %s is to have the next: %s", was.Lease.Epoch, was.Lease.Holder, c.Depose.Wish, c.Depose.Why)
		w.point("deposed")
	case c.Grant != nil:
		o.grants(is.Lease)
	case c.Release != nil:
		w.say("epoch %d is released: %s", c.Release.Epoch, c.Release.Why)
		if c.Release.Loss != "" {
			w.out.Stats.Losses++
		}
	case c.Salvage != nil && c.Salvage.Closed:
		o.closed(c.Salvage.Epoch)
	}
	if was.Handover.Step != is.Handover.Step {
		switch is.Handover.Step {
		case ledger.Done:
			w.out.Stats.Done++
		case ledger.Failed:
			w.out.Stats.Failed++
		}
	}
	w.out.Stats.Receipts += len(is.Receipts) - len(was.Receipts)
}

// grants is told that a lease was granted.
func (o *oracle) grants(l ledger.Lease) {
	w := o.world
	w.say("epoch %d is granted to %s", l.Epoch, l.Holder)
	if l.Unplanned {
		w.out.Stats.Failovers++
	}
	if w.holder().byHand {
		w.out.Stats.Adopted++
	}
	w.point("granted")
}

// closed checks a receipt that is closed: it lists what was missing at the new primary, and
// nothing of that is missing any more.
func (o *oracle) closed(epoch uint64) {
	w := o.world
	for _, r := range w.log.state.Receipts {
		if r.Epoch == epoch {
			w.say("the receipt of epoch %d is closed: %v", epoch, r.Counts)
			w.out.Stats.Closed++
			w.out.Stats.Recovered += int(r.Counts[ledger.Recovered]) //nolint:gosec // below MaxItems
			w.out.Stats.Unknown += int(r.Counts[ledger.Unknown])     //nolint:gosec // one
			o.check(r)
		}
	}
}

func (o *oracle) check(r ledger.Receipt) {
	w, lease := o.world, o.world.log.state.Lease
	var listed set
	for _, other := range w.log.state.Receipts {
		// What is brought home is all that is there: it may be that of several epochs.
		for _, item := range other.Items {
			if id, err := strconv.Atoi(item.Session); err == nil && other.From == r.From {
				listed.add(id)
			}
		}
	}
	target, sure := w.holder(), r.Counts[ledger.Unknown] == 0
	took := o.reign(r.Epoch).taken.within(o.acked)
	// What the target itself has lost meanwhile is in its own receipt, which may not be open
	// yet. That there is one is checked in the end.
	lacks := took.without(target.data).without(target.spool).without(o.burnt)
	for _, other := range w.log.state.Receipts {
		// The lease has moved on meanwhile, and who took them in has one open itself.
		if i := w.region(other.From); i >= 0 && other.Closed.IsZero() {
			lacks = lacks.without(w.servers[i].data).without(w.servers[i].spool)
		}
	}
	if n := lacks.len(); n > 0 && !target.gone {
		w.violation("I12", "the receipt of epoch %d is closed, and server %s lacks %d of its writes", r.Epoch, nameOf(target.id), n)
	}
	next := o.reign(lease.Epoch)
	if lease.Since != r.At || next.server != target {
		return // others have held the lease since
	}
	missing := took.without(next.fork)
	if !sure {
		missing = missing.without(o.burnt)
	}
	if n := missing.without(listed).len(); n > 0 {
		w.violation("I12", "the receipt of epoch %d lists %d writes, and not %d that were missing", r.Epoch, listed.len(), n)
	}
	// What others took and it took in from them may be listed, though they had it.
	if n := listed.within(next.fork).within(o.reign(r.Epoch).taken).len(); n > 0 {
		w.violation("I12", "the receipt of epoch %d lists %d writes that were never missing", r.Epoch, n)
	}
}
