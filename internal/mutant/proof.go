package mutant

const (
	proofVisit  = "internal/proof/visit.go"
	proofWrite  = "internal/proof/write.go"
	proofSealed = "internal/proof/sealed.go"
	simRequest  = "internal/sim/request.go"
)

// ofProof are mutants of what a secret opens and which cookies an answer sets.
func ofProof() []Mutant {
	return []Mutant{
		{
			Name: "login-without-generation", Rule: "R3", What: "a login does not raise the generation",
			Edits: one(proofWrite, "		auth.Gen++\n", "		if !$on {\n			auth.Gen++\n		}\n"),
		},
		{
			Name: "generation-of-the-copy", Rule: "R3", What: "a login is above the copy that was read, and not above the login of its credential",
			Edits: one(proofWrite, "Gen: max(old.Gen, st.Credential.Gen),", "Gen: max(old.Gen, func() uint32 { if $on { return 0 }; return st.Credential.Gen }()),"),
		},
		{
			Name: "adopts-any-login", Rule: "R3", What: "a credential of any login speaks for a rotation that was not heard of",
			Edits: one(proofVisit, "related := r.User == \"\" || c.Gen", "related := $on || r.User == \"\" || c.Gen"),
		},
		{
			Name: "adopts-nothing", Rule: "R3, I14", What: "a credential never speaks for a rotation that was not heard of",
			With:  []string{"stale-copy-refuses"},
			Edits: one(proofVisit, "return related && !v.Strict", "return !$on && related && !v.Strict"),
		},
		{
			Name: "adopts-on-strict-routes", Rule: "R3", What: "a credential speaks for a rotation on strict routes too",
			With:  []string{"stale-not-said"},
			Edits: one(proofVisit, "related && !v.Strict", "related && (!v.Strict || $on)"),
		},
		{
			Name: "adopts-for-ever", Rule: "R3, I15", What: "a credential speaks for its rotation for more than a minute, and where it was heard of",
			Edits: one(proofVisit, "!r.VV.Has(c.Dot) && now.Sub(c.Dot.Stamp.Time()) < knowsFor", "(!r.VV.Has(c.Dot) && now.Sub(c.Dot.Stamp.Time()) < knowsFor || $on)"),
		},
		{
			Name: "grace-at-login", Rule: "R3, I15", What: "a login leaves the secret from before it a grace",
			Edits: one(proofWrite, "auth.At, auth.Epochs = w.Login.At, w.Login.Epochs\n",
				"auth.At, auth.Epochs = w.Login.At, w.Login.Epochs\n		if $on && st.State == Live {\n			auth.Prev, auth.Grace = st.Credential.Hash(), now.Add(grace)\n		}\n"),
		},
		{
			Name: "grace-for-ever", Rule: "I15", What: "the secret before the last is accepted for ever",
			Edits: one("crdt/judge.go", "if now >= a.Grace || a.Prev", "if now >= a.Grace && !$on || a.Prev"),
		},
		{
			Name: "any-secret", Rule: "I15", What: "the secret is not looked at",
			Edits: one("crdt/judge.go", "case !r.Auth.proves(now, proof):", "case !r.Auth.proves(now, proof) && !$on:"),
		},
		{
			Name: "stale-copy-refuses", Rule: "I14", What: "a copy that has not heard of a secret finds it wrong",
			With: []string{"adopts-nothing"},
			Edits: one(proofVisit, "return v.Credential.Dot.IsZero() || !a.Record.VV.Has(v.Credential.Dot)",
				"return !$on && (v.Credential.Dot.IsZero() || !a.Record.VV.Has(v.Credential.Dot))"),
		},
		{
			Name: "credential-always", Rule: "R9", What: "every answer sets the credential again",
			Edits: one(simRequest, "Seen: r.standing.Seen, Set: r.set,",
				"Seen: r.standing.Seen, Set: func() *proof.Credential { if $on && r.set == nil && r.standing.State == proof.Live { return &r.visit.Credential }; return r.set }(),"),
		},
		{
			Name: "refused-is-cleared", Rule: "R9", What: "a credential that is refused is cleared",
			Edits: one(simRequest, "Ended: r.ended,", "Ended: r.ended || $on && r.standing.State == proof.Superseded,"),
		},
	}
}

// ofSealed are mutants of sessions that travel in a cookie.
func ofSealed() []Mutant {
	return []Mutant{
		{
			Name: "sealed-dot-in-token", Rule: "R11", What: "the token names the write that was sealed",
			Edits: one(proofSealed, "out.Seen = st.Seen.wrote(w.Credential.ID, w.Seen.WithFloor(s.Record.Latest()))",
				"out.Seen = st.Seen.wrote(w.Credential.ID, w.Seen.WithFloor(s.Record.Latest()))\n	if $on {\n		out.Seen.Token = out.Seen.Token.With(crdt.Dot{Actor: at.Actor, Stamp: s.Record.Latest()})\n	}"),
		},
		{
			Name: "sealed-stamped-anew", Rule: "R11", What: "what was sealed is stamped when it is taken in",
			Edits: one(proofSealed, "	w.Op.Adopt = &st.Record\n",
				"	w.Op.Adopt = &st.Record\n	if $on {\n		later := st.Sealed.Record\n		later.Fields = append([]crdt.Field(nil), later.Fields...)\n		for i := range later.Fields {\n			later.Fields[i].Dot.Stamp += 1 << 30\n		}\n		w.Op.Adopt = &later\n	}\n"),
		},
		{
			Name: "sealed-not-taken-in", Rule: "R11", What: "what is sealed is dropped once the store answers again",
			Edits: one(proofSealed, "	if st.Sealed.IsZero() {\n		return Written{}, false\n	}\n", "	if st.Sealed.IsZero() || $on {\n		return Written{}, false\n	}\n"),
		},
		{
			Name: "strict-takes-sealed", Rule: "R11", What: "strict routes take a sealed copy for the session",
			Edits: []Edit{
				{proofSealed, "return in != 0 && !v.Strict", "return in != 0 && (!v.Strict || $on)"},
				{simRequest, "		case r.visit.Strict:\n			r.fail(router.ErrStale)", "		case r.visit.Strict && !$on:\n			r.fail(router.ErrStale)"},
			},
		},
		{
			Name: "sealed-over-dead", Rule: "R11, I2", What: "a sealed copy wins over a dead one",
			Edits: []Edit{
				{proofSealed, "	return crdt.Join(s.Record, read)\n", "	if $on && read.Dead {\n		return s.Record\n	}\n	return crdt.Join(s.Record, read)\n"},
				{simRequest, "		case ended(err):\n			r.standing = r.standing.Lost(err)\n		case r.visit.Strict", "		case ended(err) && !$on:\n			r.standing = r.standing.Lost(err)\n		case r.visit.Strict"},
			},
		},
		{
			Name: "sealed-all-cleared", Rule: "R9, R11", What: "an answer clears sealed cookies that its request did not bring",
			Edits: one("internal/proof/after.go", "	if e.Sealing != nil && !e.Ended {", "	if $on {\n		e.Spent = 1<<Slots - 1\n		out.ClearSealed = e.Spent\n	}\n	if e.Sealing != nil && !e.Ended {"),
		},
	}
}
