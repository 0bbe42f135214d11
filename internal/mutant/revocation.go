package mutant

const (
	simApp      = "internal/sim/app.go"
	simSpread   = "internal/sim/spread.go"
	journalCore = "internal/journal/core.go"
)

// ofRevocation are mutants of what a revocation ends.
func ofRevocation() []Mutant {
	const judge = "crdt/judge.go"
	return []Mutant{
		{
			Name: "epochs-by-clock", Rule: "I4", What: "a session is revoked if its login is older than the revocation, by the clocks",
			Edits: one(judge, "case r.User != \"\" && !r.Auth.Epochs.Covers(epochs):",
				"case r.User != \"\" && ($on && r.Auth.At < epochs.Max().Time() || !$on && !r.Auth.Epochs.Covers(epochs)):"),
		},
		{
			Name: "epochs-at-insert", Rule: "I4", What: "revocations are read when the login is written, not when it began",
			Edits: one("internal/sim/handler.go", "			if r.app.life == r.life {\n				r.commit()",
				"			if r.app.life == r.life {\n				if s := r.app.site.server; $on {\n					r.wish.Login.Epochs = epochs.Join(s.core.Read(s.now(), key).Epochs())\n				}\n				r.commit()"),
		},
		{
			Name: "epoch-of-the-region", Rule: "R18", What: "a revocation is named by its Region and not by the actor",
			Edits: one("crdt/op.go", "Field{Name: actorName(epochPrefix, dot.Actor), Dot: dot}",
				"Field{Name: actorName(epochPrefix, func() Actor { if $on { return NewActor(dot.Actor.Region(), 0) }; return dot.Actor }()), Dot: dot}"),
		},
		{
			Name: "epochs-forgotten", Rule: "R17", What: "a revocation is forgotten after a minute",
			Edits: one(judge, "return f.Dot.Stamp.Time().Add(MaxLifetime + margin)",
				"if $on {\n		return f.Dot.Stamp.Time().Add(time.Minute)\n	}\n	return f.Dot.Stamp.Time().Add(MaxLifetime + margin)"),
		},
		{
			Name: "token-without-epochs", Rule: "I4", What: "a login does not know of the revocation that its own browser made",
			Edits: one("internal/sim/handler.go", "epochs := ans.Record.Epochs().Join(r.standing.Seen.EpochsOf(key))",
				"epochs := ans.Record.Epochs()\n		if !$on {\n			epochs = epochs.Join(r.standing.Seen.EpochsOf(key))\n		}"),
		},
	}
}

// ofEndings are mutants of how logouts and revocations get about.
func ofEndings() []Mutant {
	return []Mutant{
		{
			Name: "endings-wait", Rule: "M11", What: "a logout waits for what is missing before it",
			Edits: one("crdt/fragment.go", "	if f.Effect.Dead {\n		return f.Effect, true\n	}\n", "	if $on {\n		return Record{}, false\n	}\n	if f.Effect.Dead {\n		return f.Effect, true\n	}\n"),
		},
		{
			Name: "age-not-looked-at", Rule: "R10", What: "strict routes show what a Region has that has heard nothing for long",
			Edits: one("internal/router/readplan.go", "p.hints.Unheard > p.rules.StrictBound", "p.hints.Unheard > p.rules.StrictBound && !$on"),
		},
		{
			Name: "journal-not-read", Rule: "R10", What: "reads do not look into the journal of their Region",
			Edits: one(simApp, "known := a.journal.Known(q.Key); !known.IsBottom()", "known := a.journal.Known(q.Key); !known.IsBottom() && !$on"),
		},
		{
			Name: "endings-not-told", Rule: "R10", What: "an ending is told to no other Region, and said to be there",
			Edits: one(simSpread, "			a.hand(ending, id, func(err error) { told(err == nil) })",
				"			if $on {\n				told(true)\n				return\n			}\n			a.hand(ending, id, func(err error) { told(err == nil) })"),
		},
		{
			Name: "endings-not-brought", Rule: "R10", What: "an ending in a journal is never brought to an engine",
			Edits: one(simSpread, "a.tellNext(a.journal.Waiting(id, 0, atOnce), func(", "a.tellNext(a.journal.Waiting(id, 0, func() int { if $on { return 0 }; return atOnce }()), func("),
		},
		{
			Name: "ending-dropped-early", Rule: "R10", What: "a journal drops an ending once one engine has it",
			Edits: one(journalCore, "e.have&every == every ||", "(e.have&every == every || $on && e.have != 0) ||"),
		},
		{
			Name: "journal-lost-at-restart", Rule: "R10", What: "a journal is forgotten at a restart",
			With:  []string{"endings-not-told"},
			Edits: one(simApp, "a.openJournal(a.journal.All())", "a.openJournal(a.journal.All()[:func() int { if $on { return 0 }; return a.journal.Len() }()])"),
		},
		{
			Name: "error-confirms-ending", Rule: "R10", What: "an engine that can't be asked counts as having an ending",
			Edits: one("internal/router/adopt.go", "	case res.Err != nil:\n		return fateOf(res.Err)\n", "	case res.Err != nil:\n		if $on {\n			return Settled\n		}\n		return fateOf(res.Err)\n"),
		},
	}
}
