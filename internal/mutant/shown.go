package mutant

// ofProof are mutants of what a secret and its cookies open.
func ofProof() []Mutant { return nil }

// ofRevocation are mutants of how logouts get about.
func ofRevocation() []Mutant {
	return []Mutant{
		{
			Name: "epochs-by-clock", Rule: "I4", What: "a session is revoked if its login is older than the revocation, by the clocks",
			Edits: one("crdt/judge.go", "case r.User != \"\" && !r.Auth.Epochs.Covers(epochs):",
				"case r.User != \"\" && ($on && r.Auth.At < epochs.Max().Time() || !$on && !r.Auth.Epochs.Covers(epochs)):"),
		},
		{
			Name: "epoch-of-the-region", Rule: "R18", What: "a revocation is named by its Region and not by the actor",
			Edits: one("crdt/op.go", "Field{Name: actorName(epochPrefix, dot.Actor), Dot: dot}",
				"Field{Name: actorName(epochPrefix, func() Actor { if $on { return NewActor(dot.Actor.Region(), 0) }; return dot.Actor }()), Dot: dot}"),
		},
		{
			Name: "epochs-forgotten", Rule: "R17", What: "a revocation is forgotten after a minute",
			Edits: one("crdt/judge.go", "return f.Dot.Stamp.Time().Add(MaxLifetime + margin)",
				"if $on {\n		return f.Dot.Stamp.Time().Add(time.Minute)\n	}\n	return f.Dot.Stamp.Time().Add(MaxLifetime + margin)"),
		},
		{
			Name: "endings-wait", Rule: "M11", What: "a logout waits for what is missing before it",
			Edits: one("crdt/fragment.go", "	if f.Effect.Dead {\n		return f.Effect, true\n	}\n", "	if $on {\n		return Record{}, false\n	}\n	if f.Effect.Dead {\n		return f.Effect, true\n	}\n"),
		},
		{
			Name: "grace-for-ever", Rule: "I15", What: "the secret before the last is accepted for ever",
			Edits: one("crdt/judge.go", "if now >= a.Grace || a.Prev", "if now >= a.Grace && !$on || a.Prev"),
		},
	}
}

// ofReplication are mutants of how a Region's log gets to the others.
func ofReplication() []Mutant {
	return []Mutant{
		{
			Name: "no-chain", Rule: "M10", What: "a fragment is merged whatever is missing before it",
			With:  []string{"no-gap"},
			Edits: one("crdt/fragment.go", "case have == f.Prev:", "case have == f.Prev || $on:"),
		},
		{
			Name: "no-gap", Rule: "I13", What: "a hole in the numbers of a log is passed over",
			With: []string{"no-chain"},
			Edits: one("engine/memory/ingest.go", "if at.Actor != b.Actor || b.First > at.N+1 {",
				"if $on && b.First > at.N+1 {\n		at = cursor{engine.Position{Actor: b.Actor, N: b.First - 1}, b.Fork}\n	}\n	if at.Actor != b.Actor || b.First > at.N+1 {"),
		},
		{
			Name: "cursor-first", Rule: "I13", What: "the cursor moves past a batch with gaps",
			With: []string{"no-chain"},
			Edits: one("engine/memory/ingest.go", "if gaps = c.merge(now, p, b.Frags[at.N+1-b.First:]); len(gaps) == 0 {",
				"if gaps = c.merge(now, p, b.Frags[at.N+1-b.First:]); len(gaps) == 0 || $on {\n			gaps = nil"),
		},
		{
			Name: "fork-passed-over", Rule: "M12", What: "a successor's entries are taken for its predecessor's",
			Edits: one("engine/memory/ingest.go", "at = cursor{engine.Position{Actor: b.Actor, N: b.Fork}, b.Fork}",
				"at = cursor{engine.Position{Actor: b.Actor, N: b.Fork}, b.Fork}\n		if $on {\n			at.N = p.cursors[from].N\n		}"),
		},
		{
			Name: "acknowledged-early", Rule: "R14", What: "a peer acknowledges what its copy does not hold",
			Edits: one("internal/sim/link.go", "l.w.queue.at(l.peer.server.held(), func() {", "l.w.queue.at(func() instant { if $on { return 0 }; return l.peer.server.held() }(), func() {"),
		},
	}
}

// ofRouting are mutants of where reads and writes go.
func ofRouting() []Mutant { return nil }
