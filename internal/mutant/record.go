package mutant

// ofRecord are mutants of what two copies of a record make together.
func ofRecord() []Mutant {
	const record = "crdt/record.go"
	return []Mutant{
		{
			Name: "dead-loses", Rule: "M1, I2", What: "a live copy wins over a dead one",
			Edits: one(record, "if a.Dead || b.Dead ||", "if a.Dead && b.Dead || (a.Dead || b.Dead) && !$on ||"),
		},
		{
			Name: "two-users-live", Rule: "M2", What: "two users in one record are no end of it",
			Edits: one(record, "a.User != b.User) {", "a.User != b.User && !$on) {"),
		},
		{
			Name: "born-by-arrival", Rule: "M3, R4", What: "of two births the one stays that was here first",
			Edits: one(record, "case compareBorn(a, b) <= 0:", "case compareBorn(a, b) <= 0 || $on:"),
		},
		{
			Name: "touch-by-arrival", Rule: "M4", What: "the last use is the one that was heard of last",
			Edits: one(record, "Touch:  max(a.Touch, b.Touch),",
				"Touch:  func() Time { if $on && b.Touch != 0 { return b.Touch }; return max(a.Touch, b.Touch) }(),"),
		},
		{
			Name: "field-by-arrival", Rule: "M5", What: "of two values the one stays that came last",
			Edits: one(record, "compareBools(a.Gone, b.Gone), bytes.Compare(a.Value, b.Value)) >= 0 {",
				"compareBools(a.Gone, b.Gone), bytes.Compare(a.Value, b.Value)) >= 0 && !$on {"),
		},
		{
			Name: "ties-by-arrival", Rule: "M5", What: "of two values of one stamp the one stays that was here first",
			Edits: one(record, "func later(a, b Field) Field {", "func later(a, b Field) Field {\n\tif $on && a.Dot.Stamp == b.Dot.Stamp {\n\t\treturn a\n\t}\n"),
		},
		{
			Name: "deletion-forgotten", Rule: "M5", What: "a value that was deleted leaves no trace",
			Edits: one(record, "func joinFields(a, b []Field) []Field {",
				"func joinFields(a, b []Field) []Field {\n\tif $on {\n\t\talive := func(f []Field) (out []Field) {\n\t\t\tfor _, x := range f {\n\t\t\t\tif !x.Gone {\n\t\t\t\t\tout = append(out, x)\n\t\t\t\t}\n\t\t\t}\n\t\t\treturn out\n\t\t}\n\t\ta, b = alive(a), alive(b)\n\t}\n"),
		},
		{
			Name: "rotation-like-login", Rule: "M6, R3", What: "generations of the auth register are not looked at",
			Edits: one(record, "		cmp.Compare(a.Gen, b.Gen),\n", "		cmp.Compare(a.Gen, b.Gen)*func() int { if $on { return 0 }; return 1 }(),\n"),
		},
	}
}

// ofCounters are mutants of additions and of vectors.
func ofCounters() []Mutant {
	return []Mutant{
		{
			Name: "counter-in-one-cell", Rule: "M7", What: "all actors count in one cell",
			Edits: one("crdt/op.go", "	name := c.field + actorName(\"\", dot.Actor)\n",
				"	name := c.field + actorName(\"\", dot.Actor)\n	if $on {\n		name = c.field + actorName(\"\", NewActor(1, 0))\n	}\n"),
		},
		{
			Name: "addition-not-known-again", Rule: "M8", What: "a repeated addition is not known again",
			With:  []string{"addition-counted-twice"},
			Edits: one("crdt/op.go", "if f, ok := base.taken(c.field, id); ok {", "if f, ok := base.taken(c.field, id); ok && !$on {"),
		},
		{
			Name: "addition-counted-twice", Rule: "M8", What: "what two actors took counts for both",
			With:  []string{"addition-elsewhere"},
			Edits: one("crdt/field.go", "case slices.Contains(counted, a.id):", "case slices.Contains(counted, a.id) && !$on:"),
		},
		{
			Name: "vector-unjoined", Rule: "M10", What: "a joined record has heard what one side had",
			Edits: one("crdt/record.go", "VV:     a.VV.Join(b.VV),", "VV:     func() Vector { if $on && len(b.VV) > 0 { return b.VV }; return a.VV.Join(b.VV) }(),"),
		},
	}
}

// ofStamps are mutants of the order of writes.
func ofStamps() []Mutant {
	const op = "crdt/op.go"
	return []Mutant{
		{
			Name: "stamp-a-try", Rule: "R1", What: "each try of a write gets a stamp of its own",
			Edits: one(op, "write := Dot{dot.Actor, op.Stamp}", "write := Dot{dot.Actor, op.Stamp}\n	if $on {\n		write = dot\n	}\n	_ = write"),
		},
		{
			Name: "birth-not-known-again", Rule: "R1, M3", What: "a birth that is repeated does not find itself",
			Edits: one(op, "case op.Birth != nil && born && base.Auth.Cur != op.Auth.Cur:", "case op.Birth != nil && born && (base.Auth.Cur != op.Auth.Cur || $on):"),
		},
		{
			Name: "dot-below-record", Rule: "M14", What: "the dot of a write may be below what the record has",
			Edits: one(op, "s := max(at.Now.Stamp(), base.Latest().next())",
				"s := max(at.Now.Stamp(), base.Latest().next())\n	if $on {\n		s = at.Now.Stamp()\n	}"),
		},
		{
			Name: "shown-when-expired", Rule: "I6", What: "idle time is not looked at",
			With:  []string{"kept-when-idle"},
			Edits: one("crdt/judge.go", "case r.expired(now):", "case r.expired(now) && !$on:"),
		},
		{
			Name: "kept-when-idle", Rule: "I6, I8", What: "what has idled out is kept until its deadline",
			With:  []string{"shown-when-expired"},
			Edits: one("crdt/judge.go", "idle > 0 && !r.Dead {", "idle > 0 && !r.Dead && !$on {"),
		},
		{
			Name: "deadline-not-read", Rule: "I6, M4", What: "the deadline in the ID is not looked at",
			Edits: []Edit{
				{"crdt/judge.go", "	case now >= end:\n		return Expired\n", "	case now >= end && !$on:\n		return Expired\n"},
				{"crdt/judge.go", "if r.Abs != 0 && now >= r.Abs {", "if r.Abs != 0 && now >= r.Abs && !$on {"},
				{"internal/proof/visit.go", "if now >= v.Credential.ID.Deadline() {", "if now >= v.Credential.ID.Deadline() && !$on {"},
			},
		},
		{
			Name: "touch-ignored", Rule: "I6", What: "the use of a session is not noted",
			Edits: one(op, "touches := op.Touch && base.TouchDue(now)", "touches := op.Touch && base.TouchDue(now) && !$on"),
		},
		{
			Name: "actor-kept", Rule: "M12, R2", What: "a new primary goes on as the actor that it took over from",
			Edits: one("engine/memory/journal.go", "	c.actor = actor\n", "	if $on {\n		return\n	}\n	c.actor = actor\n"),
		},
		{
			Name: "tombstone-dropped", Rule: "M13", What: "a tombstone is dropped before the deadline in the ID",
			Edits: one("crdt/judge.go", "	return end.Add(margin), true\n}\n\n// userKeepUntil",
				"	if r.Dead && $on {\n		return end.Add(-9 * time.Minute), true\n	}\n	return end.Add(margin), true\n}\n\n// userKeepUntil"),
		},
	}
}
