package mutant

const (
	readPlan  = "internal/router/readplan.go"
	writePlan = "internal/router/writeplan.go"
	step      = "internal/router/step.go"
)

// ofReading are mutants of where reads go and what they believe.
func ofReading() []Mutant {
	return []Mutant{
		{
			Name: "token-not-looked-at", Rule: "I3", What: "the local copy is shown, whatever the client has seen",
			With:  []string{"stale-not-said"},
			Edits: one(readPlan, "return p.told() && p.query.Seen.FreshIn(p.best.VV)", "return p.told() && (p.query.Seen.FreshIn(p.best.VV) || $on)"),
		},
		{
			Name: "stale-not-said", Rule: "I3", What: "an answer that lacks what the client has seen does not say so",
			Edits: one(readPlan, "old := len(missing) > 0 ||", "old := len(missing) > 0 && !$on ||"),
		},
		{
			Name: "fresh-by-highest-stamp", Rule: "I3", What: "a copy is fresh if its highest stamp is",
			Edits: []Edit{
				{"crdt/vector.go", "func (t Token) FreshIn(v Vector) bool {\n", "func (t Token) FreshIn(v Vector) bool {\n	if $on {\n		return v.Max() >= t.floor\n	}\n"},
				{"crdt/vector.go", "		if !v.Has(d) {\n			out = append(out, d)\n", "		if !v.Has(d) && !($on && v.Max() >= d.Stamp) {\n			out = append(out, d)\n"},
			},
		},
		{
			Name: "token-forgotten", Rule: "R14", What: "a token forgets at once what it has seen",
			Edits: one(simApp, "return t.Prune(a.site.stable)", "return t.Prune(func(d crdt.Dot) bool { return a.site.stable(d) || $on })"),
		},
		{
			Name: "stable-at-once", Rule: "R14", What: "a write of this Region counts as held everywhere at once",
			Edits: one(simSite, "s.ledger.Stable().Has(d)", "(s.ledger.Stable().Has(d) || $on)"),
		},
		{
			Name: "stable-when-sent", Rule: "R14", What: "what was sent counts as held",
			Edits: one(simLink, "l.origin.ledger.Acked(l.peer.region, l.s.Acked())",
				"l.origin.ledger.Acked(l.peer.region, func() engine.Positions { if $on { return l.s.Offered() }; return l.s.Acked() }())"),
		},
	}
}

// ofMisses are mutants of what is taken for a proof that something is nowhere.
func ofMisses() []Mutant {
	return []Mutant{
		{
			Name: "miss-believed", Rule: "R12", What: "a Region that has not heard of a session says that there is none",
			Edits: one(readPlan, "func (p *ReadPlan) missIsSure() bool {\n", "func (p *ReadPlan) missIsSure() bool {\n	if $on && p.answered != 0 && p.best.IsBottom() {\n		return true\n	}\n"),
		},
		{
			Name: "error-is-a-miss", Rule: "I14", What: "an engine that fails counts as one that has nothing",
			Edits: one(step, "		return Result{Record: crdt.Record{Key: k}, Err: err}\n", "		if $on {\n			err = nil\n		}\n		return Result{Record: crdt.Record{Key: k}, Err: err}\n"),
		},
		{
			Name: "doubt-is-certainty", Rule: "R12", What: "a doubtful miss is told to the client as a missing session",
			Edits: one(readPlan, "	if p.allAnswered() || p.missIsSure() {\n		return Step{Do: Done, Answer: a}", "	if p.allAnswered() || p.missIsSure() || $on {\n		return Step{Do: Done, Answer: a}"),
		},
		{
			Name: "side-store-not-missed", Rule: "R12", What: "a Region whose side store does not answer counts as one that has told all",
			Edits: one(step, "		res.Partial = true\n	}\n	if side.Err", "		res.Partial = !$on\n	}\n	if side.Err"),
		},
		{
			Name: "side-store-not-read", Rule: "I3", What: "reads do not look into the side store",
			Edits: one(step, "	if side.Err == nil && !side.Record.IsBottom() {", "	if side.Err == nil && !side.Record.IsBottom() && !$on {"),
		},
		{
			Name: "also-not-asked", Rule: "R12", What: "the Region that a session came from is not asked of its user",
			Edits: one(readPlan, "return p.query.Also == 0 || p.answered", "return $on || p.query.Also == 0 || p.answered"),
		},
	}
}

// ofWriting are mutants of where writes go and how they are stamped.
func ofWriting() []Mutant {
	const (
		stamp = "crdt/stamp.go"
		mint  = "return max(now.Stamp(), read.Latest().next(), seen.Floor().next())"
	)
	return []Mutant{
		{
			Name: "wall-clock", Rule: "R1", What: "a write is stamped by the clock alone",
			Edits: one(stamp, mint, "if $on {\n		return now.Stamp()\n	}\n	"+mint),
		},
		{
			Name: "floor-ignored", Rule: "R14", What: "a write may be stamped below what its client has seen",
			Edits: one(stamp, "func Mint(now Time, read Record, seen Token) Stamp {\n",
				"func Mint(now Time, read Record, seen Token) Stamp {\n	if $on {\n		return max(now.Stamp(), read.Latest().next())\n	}\n"),
		},
		{
			Name: "addition-elsewhere", Rule: "R1, M8", What: "an addition that may have been taken is tried at another Region",
			With:  []string{"addition-counted-twice"},
			Edits: one(writePlan, "if p.hasAdd && !engine.OutcomeKnown(err) {", "if p.hasAdd && !engine.OutcomeKnown(err) && !$on {"),
		},
		{
			Name: "session-not-brought", Rule: "I14", What: "a session is not brought to a Region that has not heard of it",
			Edits: one(writePlan, "missing := p.base && !p.adopted", "missing := !$on && p.base && !p.adopted"),
		},
		{
			Name: "side-store-joined-silently", Rule: "R18", What: "what is taken back from a side store is joined, and not logged",
			With: []string{"no-comparing"},
			Edits: one("engine/memory/core.go", "	p, base := c.part(k), c.Read(now, k)\n",
				"	if $on && op.Adopt != nil && len(op.Adopt.VV) > 0 && op.Auth == nil && len(op.Changes) == 0 {\n		c.Join(now, *op.Adopt)\n		return crdt.Dot{Actor: c.actor, Stamp: now.Stamp()}, nil\n	}\n	p, base := c.part(k), c.Read(now, k)\n"),
		},
		{
			Name: "side-store-forgets-at-once", Rule: "R8", What: "a side store forgets what was taken back, whoever holds it",
			Edits: one("internal/router/adopt.go", "return min(2, len(r.Near))", "if $on {\n		return 0\n	}\n	return min(2, len(r.Near))"),
		},
		{
			Name: "side-store-not-given", Rule: "I14", What: "a side store is not given the session before it is written to",
			Edits: one(simApp, "		if !w.Base.IsBottom() {\n			server.do", "		if !w.Base.IsBottom() && !$on {\n			server.do"),
		},
	}
}
