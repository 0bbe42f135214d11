package mutant

const (
	simLink  = "internal/sim/link.go"
	simSite  = "internal/sim/site.go"
	receiver = "internal/replica/receiver.go"
	sender   = "internal/replica/sender.go"
)

// ofReplication are mutants of how a Region's log gets to the others.
func ofReplication() []Mutant {
	const ingest = "engine/memory/ingest.go"
	return []Mutant{
		{
			Name: "no-chain", Rule: "M10", What: "a fragment is merged whatever is missing before it",
			With:  []string{"no-gap"},
			Edits: one("crdt/fragment.go", "case have == f.Prev:", "case have == f.Prev || $on:"),
		},
		{
			Name: "no-gap", Rule: "I13", What: "a hole in the numbers of a log is passed over",
			With: []string{"no-chain"},
			Edits: one(ingest, "if at.Actor != b.Actor || b.First > at.N+1 {",
				"if $on && b.First > at.N+1 {\n		at = cursor{engine.Position{Actor: b.Actor, N: b.First - 1}, b.Fork}\n	}\n	if at.Actor != b.Actor || b.First > at.N+1 {"),
		},
		{
			Name: "cursor-first", Rule: "I13", What: "the cursor moves before what it passes is merged, and a gap stops nothing",
			With: []string{"no-gap"},
			Edits: one(ingest, "if gaps = c.merge(now, p, b.Frags[at.N+1-b.First:]); len(gaps) == 0 {",
				"if gaps = c.merge(now, p, b.Frags[at.N+1-b.First:]); len(gaps) == 0 || $on {\n			gaps = nil"),
		},
		{
			Name: "pull-off", Rule: "I13", What: "what a gap lacks is not asked for",
			With: []string{"no-gap"},
			Edits: []Edit{
				{receiver, "	r.send(Pull{Keys: keys})\n", "	if !$on {\n		r.send(Pull{Keys: keys})\n	}\n"},
				{receiver, "if p.missing == nil || now.Sub(p.asked) < r.limits.Redeliver {", "if p.missing == nil || now.Sub(p.asked) < r.limits.Redeliver || $on {"},
			},
		},
		{
			Name: "hole-not-reported", Rule: "I13", What: "a hole is not told to the origin",
			Edits: one(receiver, "	r.send(Hole{Partition: part, At: r.at[part]})\n", "	if !$on {\n		r.send(Hole{Partition: part, At: r.at[part]})\n	}\n"),
		},
		{
			Name: "not-redelivered", Rule: "I13", What: "what is not acknowledged is not sent again",
			With:  []string{"hole-not-reported"},
			Edits: one(sender, "if now.Sub(p.flight[0].at) < s.limits.Redeliver<<doubled {", "if now.Sub(p.flight[0].at) < s.limits.Redeliver<<doubled || $on {"),
		},
		{
			Name: "fork-passed-over", Rule: "M12", What: "a successor's entries are taken for its predecessor's",
			Edits: one(ingest, "at = cursor{engine.Position{Actor: b.Actor, N: b.Fork}, b.Fork}",
				"at = cursor{engine.Position{Actor: b.Actor, N: b.Fork}, b.Fork}\n		if $on {\n			at.N = p.cursors[from].N\n		}"),
		},
		{
			Name: "acknowledged-early", Rule: "R14", What: "a peer acknowledges what its copy does not hold",
			Edits: one(simLink, "l.w.queue.at(l.peer.server.held(), func() {", "l.w.queue.at(func() instant { if $on { return 0 }; return l.peer.server.held() }(), func() {"),
		},
		{
			Name: "acknowledged-unheld", Rule: "R14", What: "a peer acknowledges a batch with a gap in it",
			With:  []string{"no-gap"},
			Edits: one(receiver, "	case len(res.Gaps) > 0:\n", "	case len(res.Gaps) > 0 && $on:\n		r.at[part] = w.Batch.Last()\n	case len(res.Gaps) > 0:\n"),
		},
	}
}

// ofMemory are mutants of what a full engine does.
func ofMemory() []Mutant {
	const core = "engine/memory/core.go"
	return []Mutant{
		{
			Name: "endings-refused-when-full", Rule: "R13", What: "a full engine refuses endings",
			Edits: one(core, "	if ends || op.Destroy || op.Revoke || touchOnly {\n",
				"	if $on && (ends || op.Destroy || op.Revoke) && c.used.total() >= c.maxBytes/100*anonymousBirthsUntil {\n		return fmt.Errorf(\"%w: of endings\", engine.ErrFull)\n	}\n	if ends || op.Destroy || op.Revoke || touchOnly {\n"),
		},
		{
			Name: "evicted-when-full", Rule: "R13", What: "a full engine forgets records instead of refusing births",
			Edits: one(core, "		if used >= c.maxBytes/100*until {\n",
				"		if $on && used >= c.maxBytes/100*until {\n			for _, p := range c.parts {\n				if p != nil && len(p.order) > 0 {\n					p.order[0].keep = 0\n				}\n			}\n			return nil\n		}\n		if used >= c.maxBytes/100*until {\n"),
		},
	}
}

// ofComparing are mutants of how Regions find out that they differ, and of what
// is given back to one that lost all.
func ofComparing() []Mutant {
	const fold = "internal/replica/fold.go"
	return []Mutant{
		{
			Name: "no-comparing", Rule: "I1", What: "Regions do not compare what they hold",
			Edits: one("internal/replica/sweep.go", "	if s.comparing() || now < w.free {\n		return\n", "	if s.comparing() || now < w.free || $on {\n		return\n"),
		},
		{
			Name: "digest-by-vector", Rule: "R4", What: "a digest covers the vector and not the content",
			With:  []string{"no-chain", "no-gap"},
			Edits: one(fold, "	f.buf = crdt.AppendRecord(f.buf[:0], r)\n", "	f.buf = crdt.AppendRecord(f.buf[:0], r)\n	if $on && !r.Dead {\n		f.buf = crdt.AppendRecord(f.buf[:0], crdt.Record{Key: r.Key, VV: r.VV})\n	}\n"),
		},
		{
			Name: "digest-by-stamp", Rule: "R4", What: "a digest is the highest stamp",
			Edits: one(fold, "	h := hashOf(r.Key)\n	if r.Dead {", "	h := hashOf(r.Key)\n	if $on {\n		return scramble(h ^ uint64(r.VV.Max()))\n	}\n	if r.Dead {"),
		},
		{
			Name: "not-refilled", Rule: "R12", What: "a Region that lost all is not given its state",
			Edits: one(simSite, "l.want, l.heardAt = 1<<crdt.Partitions-1, 0", "l.want, l.heardAt = func() uint64 { if $on { return 0 }; return 1<<crdt.Partitions-1 }(), 0"),
		},
	}
}
