package controlsim

import "time"

// A client writes as the router of an application does: to the primary that its Region's
// node knows of, or that it knew of last, and where that refuses at once to the next one,
// if there is one.
type client struct {
	world           *world
	region          int
	primary, next   int // -1: none
	epoch, reserved uint64
	least, most     time.Duration // between two writes
}

func (c *client) run() {
	w := c.world
	w.after(w.between(c.least, c.most), func() {
		c.run()
		if w.story.over {
			return
		}
		c.look()
		switch {
		case c.epoch == 0 || c.primary < 0:
		case w.one(12): // a name that leads elsewhere by now
			c.write(w.rng.IntN(len(w.servers)), c.epoch, true)
		default:
			c.write(c.primary, c.epoch, true)
		}
	})
}

// look takes in what the node knows, if it knows more.
func (c *client) look() {
	w, m := c.world, c.world.members[c.region]
	if s := m.state; m.up && s.Lease.Epoch >= c.epoch {
		c.primary, c.epoch = w.region(s.Lease.Holder), s.Lease.Epoch
		c.next, c.reserved = -1, 0
		if s.Handover.Pending() {
			c.next, c.reserved = w.region(s.Handover.To), s.Handover.Epoch
		}
	}
}

// write tries to write at a Region.
func (c *client) write(to int, epoch uint64, first bool) {
	w := c.world
	w.send(c.region, to, func() {
		s := w.servers[to]
		s.does(true, func() {
			id, ok := s.takes(epoch)
			w.send(to, c.region, func() {
				switch {
				case ok:
					w.oracle.acknowledged(id)
				case first && c.next >= 0 && c.reserved > epoch:
					c.write(c.next, c.reserved, false)
				}
			})
		})
	})
}
