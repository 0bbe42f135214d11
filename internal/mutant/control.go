package mutant

// Control is the simulation of the control plane, as Mutant.Of has it.
const Control = "control"

// ofControl returns mutants that the simulation of the control plane is to find.
func ofControl() []Mutant {
	var all []Mutant
	all = append(all, ofLease()...)
	all = append(all, ofVoter()...)
	all = append(all, ofServers()...)
	all = append(all, ofLedger()...)
	all = append(all, ofSteer()...)
	all = append(all, ofLoss()...)
	for i := range all {
		all[i].Of = Control
	}
	return all
}

// ofLease are mutants of who renews the lease, and who grants the next.
func ofLease() []Mutant {
	const config, grantor, holder = "internal/lease/config.go", "internal/lease/grantor.go", "internal/lease/holder.go"
	return []Mutant{
		{
			Name: "no-guard", Rule: "I9, R5", What: "a server holds the lease for as long as the quorum waits",
			Edits: []Edit{
				{config, "{ return c.TTL + c.Guard }", "{\n\tif $on {\n\t\treturn c.TTL\n\t}\n\treturn c.TTL + c.Guard\n}"},
				{config, "{ return c.TTL - c.Guard }", "{\n\tif $on {\n\t\treturn c.TTL\n\t}\n\treturn c.TTL - c.Guard\n}"},
			},
		},
		{
			Name: "leader-grants-at-once", Rule: "I9, R5", What: "a new leader thinks that nothing was renewed before it",
			Edits: one(grantor, "{ return &Grantor{config: c, renewed: now} }",
				"{\n\tif $on {\n\t\tnow = now.Add(-2 * c.Wait())\n\t}\n\treturn &Grantor{config: c, renewed: now}\n}"),
		},
		{
			Name: "leader-forgets-renewals", Rule: "I9, R5", What: "a leader does not note renewals",
			Edits: one(grantor, "{ g.renewed = max(g.renewed, now) }", "{\n\tif !$on {\n\t\tg.renewed = max(g.renewed, now)\n\t}\n}"),
		},
		{
			Name: "grant-before-expiry", Rule: "I9, R5", What: "the next epoch is granted while the last lease may be held",
			Edits: one(grantor, "	if released {\n		return 0\n", "	if released || $on {\n		return 0\n"),
		},
		{
			Name: "one-word-is-enough", Rule: "R6", What: "without the quorum the holder goes on by the word of one",
			Edits: one(holder, "		if !h.vouched[other] {\n", "		if !h.vouched[other] && !$on {\n"),
		},
	}
}

// ofVoter are mutants of what members promise.
func ofVoter() []Mutant {
	const voter = "internal/lease/voter.go"
	return []Mutant{
		{
			Name: "words-bind-nobody", Rule: "R6", What: "who gave its word consents to the next epoch all the same",
			Edits: one(voter, "	v.free = max(v.free, now.Add(v.config.Wait()))\n", "	if !$on {\n		v.free = max(v.free, now.Add(v.config.Wait()))\n	}\n"),
		},
		{
			Name: "words-forgotten", Rule: "R6", What: "words are forgotten at a restart, and it does not wait",
			Edits: one(voter, "free: now.Add(c.Wait())}", "free: func() Time {\n\t\tif $on {\n\t\t\treturn 0\n\t\t}\n\t\treturn now.Add(c.Wait())\n\t}()}"),
		},
	}
}

// ofServers are mutants of what servers and nodes do, as they are modelled.
func ofServers() []Mutant {
	const acts, server, replicate = "internal/controlsim/acts.go", "internal/controlsim/server.go", "internal/controlsim/replicate.go"
	return []Mutant{
		{
			Name: "lease-by-wall-clock", Rule: "R5", What: "a lease ends by the clock of the node, not by the server's own",
			Edits: one(acts, "read.clock+a.Lasts)", "func() time.Duration {\n\t\t\t\tif $on {\n\t\t\t\t\treturn m.wall() + a.Lasts\n\t\t\t\t}\n\t\t\t\treturn read.clock + a.Lasts\n\t\t\t}())"),
		},
		{
			Name: "lease-inherited", Rule: "R5", What: "a promoted replica has the lease that its primary had",
			Edits: one(replicate, "	s.before, s.upto = s.replid, len(s.history)\n	s.renames()\n	s.drop()\n	return true\n",
				"	s.before, s.upto = s.replid, len(s.history)\n	s.renames()\n	if $on {\n		s.lease = s.world.servers[s.follows].lease\n		s.lease.replid = s.replid\n	}\n	s.drop()\n	return true\n"),
		},
		{
			Name: "end-not-final", Rule: "R5", What: "a grant that comes late revives an epoch that was ended",
			Edits: one(server, "	case !s.primary, epoch < l.epoch, epoch == l.epoch && l.over:", "	case !s.primary, epoch < l.epoch, epoch == l.epoch && l.over && !$on:"),
		},
		{
			Name: "restart-not-noticed", Rule: "R5", What: "a grant is for whichever server is there now",
			Edits: []Edit{
				{server, "	case replid != s.replid:\n", "	case replid != s.replid && !$on:\n"},
			},
		},
		{
			Name: "epoch-not-looked-at", Rule: "I10", What: "a server takes writes of any epoch",
			Edits: one(server, "	return epoch != l.epoch || now", "	return epoch != l.epoch && !$on || now"),
		},
		{
			Name: "spool-is-all", Rule: "I12, R8", What: "a receipt is closed by what the spool has, and the server was not looked at",
			Edits: one("internal/controlsim/salvage.go", "Closed: r.whole}", "Closed: r.whole || $on}"),
		},
	}
}

// ofLedger are mutants of what members agree on.
func ofLedger() []Mutant {
	const lease = "internal/ledger/lease.go"
	return []Mutant{
		{
			Name: "renewed-when-deposed", Rule: "liveness", What: "the target of a switchover is renewed when the lease is to be granted anew",
			Edits: one(lease, "h.Pending() && !l.Deposed &&", "h.Pending() && (!l.Deposed || $on) &&"),
		},
		{
			Name: "no-receipt-of-target", Rule: "I12", What: "no receipt for a target that may have begun",
			Edits: one(lease, "if h.Step == Draining && h.To != g.To {", "if h.Step == Draining && h.To != g.To && !$on {"),
		},
		{
			Name: "no-receipt", Rule: "I12", What: "no receipt of a failover",
			Edits: one(lease, "	if s.Lease.Unplanned ", "	if s.Lease.Unplanned && !$on "),
		},
		{
			Name: "failed-while-draining", Rule: "I9, I11", What: "a switchover may be cancelled when its target may have begun",
			Edits: one(lease, "a.Step == Failed && h.Step == Arming:", "a.Step == Failed && (h.Step == Arming || $on && h.Step == Draining):"),
		},
		{
			Name: "owner-not-known", Rule: "I12", What: "a Region owes nothing when another receipt is older",
			Edits: one("internal/ledger/state.go", "	for _, r := range s.Receipts {\n		if r.From == region && r.Closed.IsZero() {\n			return r, true\n",
				"	for _, r := range s.Receipts {\n		if $on && r.From != region && r.Closed.IsZero() {\n			return Receipt{}, false\n		}\n		if r.From == region && r.Closed.IsZero() {\n			return r, true\n"),
		},
	}
}

// ofSteer are mutants of what nodes do with what was agreed.
func ofSteer() []Mutant {
	const local = "internal/steer/local.go"
	return []Mutant{
		{
			Name: "follow-before-salvage", Rule: "I12, R8", What: "a server follows before what it took was taken in",
			Edits: one(local, "owes && !l.parted(r, now) {\n		return nil\n	} else if owes {", "owes && !$on && !l.parted(r, now) {\n		return nil\n	} else if owes && !$on {"),
		},
		{
			Name: "not-salvaged-at-home", Rule: "I12", What: "who has the lease again does not look at what it took before",
			Edits: one(local, "owes && l.gave == epoch {", "owes && l.gave == epoch && !$on {"),
		},
		{
			Name: "begin-without-mark", Rule: "I11", What: "the target of a switchover does not wait for the mark",
			Edits: one(local, "over := l.server.Marked >= l.state.Lease.Epoch; {", "over := l.server.Marked >= l.state.Lease.Epoch || $on; {"),
		},
		{
			Name: "mark-before-end", Rule: "I11", What: "the end is marked before the server has let go of the epoch",
			Edits: one(local, "	epoch, draining := l.state.Lease.Epoch, l.state.Handover.Step == ledger.Draining\n",
				"	epoch, draining := l.state.Lease.Epoch, l.state.Handover.Step == ledger.Draining\n	if $on && draining && l.marked != epoch {\n		return l.once(Act{Kind: Mark, Epoch: epoch, Run: l.server.Run}, now)\n	}\n"),
		},
		{
			Name: "release-before-end", Rule: "I9", What: "the quorum is told that nobody need wait before the server has stopped",
			Edits: one(local, "	case l.ended != epoch:\n		return l.once(Act{Kind: End,", "	case l.ended != epoch && $on && !draining && !l.state.Lease.Released:\n		return l.release(now)\n	case l.ended != epoch:\n		return l.once(Act{Kind: End,"),
		},
		{
			Name: "target-stays-armed", Rule: "liveness", What: "a target that started anew does not begin when it hears that it has begun",
			Edits: one(local, "append(l.holder.Begin(now), l.holder.Tick(now)...)", "append(func() []lease.Act {\n\t\tif $on {\n\t\t\treturn nil\n\t\t}\n\t\treturn l.holder.Begin(now)\n\t}(), l.holder.Tick(now)...)"),
		},
		{
			Name: "goes-on-when-over", Rule: "liveness", What: "a holder goes on when the server does not take its epoch any more",
			Edits: one("internal/lease/holder.go", "func (h *Holder) Refused() []Act { return h.Stop() }", "func (h *Holder) Refused() []Act {\n\tif $on {\n\t\treturn nil\n\t}\n\treturn h.Stop()\n}"),
		},
	}
}

// ofLoss are mutants of what is done about a server that may have lost what it took, and
// about people who change roles at servers.
func ofLoss() []Mutant {
	const loss = "internal/steer/loss.go"
	return []Mutant{
		{
			Name: "older-data-unnoticed", Rule: "I12", What: "a holder's server that has started anew goes on as if it had all that it took",
			Edits: []Edit{
				{loss, "case run != \"\" && seen.Run != run:", "case !$on && run != \"\" && seen.Run != run:"},
				{loss, "case p.run != \"\" && s.Run != p.run:", "case !$on && p.run != \"\" && s.Run != p.run:"},
			},
		},
		{
			Name: "demotion-unnoticed", Rule: "I12, R16", What: "a holder's server that somebody had follow another one is promoted, and nothing is said",
			Edits: []Edit{
				{loss, "(seen.Beat.Epoch == epoch || again && !owes)", "(seen.Beat.Epoch == epoch || again && !owes) && !$on"},
				{loss, "case p.primary && !s.Primary:", "case p.primary && !s.Primary && !$on:"},
			},
		},
		{
			Name: "loss-without-receipt", Rule: "I12", What: "who gets the lease back is asked for nothing that its server has lost",
			Edits: one("internal/ledger/lease.go", " || l.Loss != \"\" || g.Loss != \"\" {", " || !$on && (l.Loss != \"\" || g.Loss != \"\") {"),
		},
		{
			Name: "marks-after-loss", Rule: "I11", What: "a server that has started anew marks the end of what it does not have",
			Edits: one("internal/steer/local.go", "l.server.Known && l.whole(epoch):", "($on || l.server.Known && l.whole(epoch)):"),
		},
		{
			Name: "grant-to-another-run", Rule: "I11", What: "a lease is given to another run of the server than the one that was looked at",
			Edits: one("internal/controlsim/acts.go", "			if run != server.run() {", "			if !$on && run != server.run() {"),
		},
	}
}
