package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// begins notes a request on its way.
func (o *oracle) begins(r *request) {
	o.stats.Requests++
	if id := r.visit.Credential.ID; !id.IsZero() {
		s := o.session(id)
		r.usedBefore, s.lastUse = s.lastUse, o.w.queue.now
		r.usedIt = s.used[r.browser]
		for _, u := range s.used {
			r.usedByAny = max(r.usedByAny, u)
		}
		r.did.session = s
		r.local = o.allIsHere(r, s)
		r.lives = r.app.site.lives()
		if r.browser.knowsOf == id {
			r.knows = r.evicted(r.browser.knows)
		}
	}
}

// allIsHere reports whether a request finds all that it needs in its own Region.
func (o *oracle) allIsHere(r *request, s *session) bool {
	site := r.app.site
	if o.w.primary != 0 || o.w.little || r.visit.Strict || !site.alive() || o.w.queue.now.sub(site.ill) < breakerOpen {
		return false
	}
	rec := site.server.core.Read(site.server.now(), crdt.SessionKey(s.id))
	if idle := rec.Born.Idle; idle > 0 && rec.Touch.Add(idle) < o.w.queue.now.crdt().Add(3*mostSkew) {
		return false // it may have idled out here, and been used elsewhere
	}
	return !rec.Dead && !rec.Born.Dot.IsZero() && rec.Auth.Cur == r.visit.Credential.Hash()
}

// breakerOpen is how long a breaker keeps calls from a server that is back.
const breakerOpen = 6 * time.Second

// judged checks what a request's cookies were said to open.
func (o *oracle) judged(r *request) {
	s := r.did.session
	switch r.standing.State {
	case proof.Live:
		o.stats.Live++
		o.liveInTime(r, s)
		o.liveUnended(r, s)
		o.liveByProof(r, s)
		o.liveOnStrictRoute(r, s)
		o.readsItsWrites(r, s)
	case proof.Gone:
		o.goneIsGone(r, s)
	case proof.Superseded:
		o.supersededBySomebody(r, s)
	case proof.LoggedOut:
		o.loggedOutBySomebody(r, s)
	case proof.Expired:
		o.expiredInTime(r, s)
	default:
	}
}

// liveInTime is I6: nothing is shown beyond its limits and what clocks may differ by.
func (o *oracle) liveInTime(r *request, s *session) {
	now := o.w.queue.now
	if end := s.id.Deadline(); now.crdt() >= end.Add(mostSkew) {
		o.brokenFor(s, "I6", "live %v after its deadline", now.crdt().Sub(end))
	}
	if idle, used := o.w.idle, r.usedBefore; idle > 0 && used > 0 && now.sub(used) > idle+3*mostSkew {
		o.brokenFor(s, "I6", "live %v after its last use, idle time %v", now.sub(used), idle)
	}
}

// expiredInTime is I6: nothing expires before its limits, as far as its browser
// can know. Who shares its cookies may have used it where nobody has heard of it.
func (o *oracle) expiredInTime(r *request, s *session) {
	now, idle := o.w.queue.now, o.w.idle
	if now.crdt() >= s.id.Deadline().Add(-mostAhead) || s.lossy { // by whatever clock
		return
	}
	used := r.usedIt
	if o.settled {
		used = r.usedByAny
	}
	if idle == 0 || used > 0 && now.sub(used) < idle*9/10-4*mostSkew {
		o.brokenFor(s, "I6", "expired %v after its last use, idle time %v, %v before its deadline",
			now.sub(used), idle, s.id.Deadline().Sub(now.crdt()))
	}
}

// liveUnended is I2 and I4: where an ending is known to be, what it ended is not
// shown to a request that came later.
func (o *oracle) liveUnended(r *request, s *session) {
	for _, site := range o.saidBy(r) {
		o.unendedAt(r, s, site)
	}
}

// saidBy returns the Regions by whose word a session is shown: the one that serves
// the request, and the one that its record is from, if nothing is said to be old.
func (o *oracle) saidBy(r *request) []*site {
	here := r.app.site
	if from := r.answer.Region; from != 0 && from != here.region && r.rung == router.Normal && !r.standing.Adopted {
		return []*site{here, o.w.sites[from]}
	}
	return []*site{here}
}

func (o *oracle) unendedAt(r *request, s *session, site *site) {
	for _, e := range s.endings {
		if o.reached(e, site, r.sent) {
			o.brokenFor(s, "I2", "live by the word of Region %d, which has had its logout since %.3fs", site.region, seconds(e.acked))
		}
	}
	l := o.loginOf(r.did.record.Auth.Cur)
	if l == nil || r.did.record.User == "" {
		return
	}
	for _, e := range o.user(l.user).revokes {
		if e.invoked > l.began && o.reached(e, site, r.sent) {
			o.brokenFor(s, "I4", "live by the word of Region %d, which has had the revocation of %.3fs since %.3fs; the login began at %.3fs",
				site.region, seconds(e.invoked), seconds(e.acked), seconds(l.began))
		}
	}
}

// liveOnStrictRoute is R10 and R11: a strict route shows nothing that may be old,
// and nothing of which a logout was taken, by an engine that holds it, longer ago
// than a Region may be behind.
func (o *oracle) liveOnStrictRoute(r *request, s *session) {
	site := r.app.site
	if !r.visit.Strict {
		return
	}
	if r.rung == router.Stale || r.rung == router.Sealed {
		o.brokenFor(s, "R11", "a strict route in Region %d shows a session that is %v", site.region, r.rung)
	}
	old := func(e *ending) bool {
		return e.by != nil && e.by.lives() == e.byLife && r.sent.sub(e.acked) > r.app.rules.StrictBound+time.Second
	}
	if o.w.queue.now.sub(site.ill) < 2*r.app.rules.StrictBound {
		return // its failover may have taken back what it had heard
	}
	for _, e := range s.endings {
		if old(e) {
			o.brokenFor(s, "R10", "a strict route in Region %d shows a session that was logged out at %.3fs", site.region, seconds(e.acked))
		}
	}
	l := o.loginOf(r.did.record.Auth.Cur)
	if l == nil || r.did.record.User == "" {
		return
	}
	for _, e := range o.user(l.user).revokes {
		if e.invoked > l.began && old(e) {
			o.brokenFor(s, "R10", "a strict route in Region %d shows a session that was revoked at %.3fs", site.region, seconds(e.acked))
		}
	}
}

// delivered is I2 and M11: an ending that gets to a Region is known there at once,
// whatever is missing before it.
func (o *oracle) delivered(s *site, b engine.Batch) {
	for _, f := range b.Frags {
		k := f.Effect.Key
		if k.IsZero() {
			continue
		}
		rec, end := s.server.core.Read(s.server.now(), k), f.Effect
		switch {
		case end.Dead && !rec.Dead && s.server.now() < k.SessionID().Deadline():
			o.brokenFor(o.sessions[k.SessionID()], "I2", "its logout was delivered to Region %d, and it is not dead there", s.region)
		case k.Kind() == crdt.KindUser && !rec.Epochs().Covers(end.Epochs()):
			o.broken("I4", "a revocation was delivered to Region %d, and is not known there", s.region)
		}
	}
}

// acknowledged is R14: what a peer has acknowledged outlives a failover there.
func (o *oracle) acknowledged(l *link) {
	l.peer.server.catchUp()
	for p, at := range l.s.Acked() {
		have := l.peer.server.copy.Position(l.origin.region, uint16(p)) //nolint:gosec // below Partitions
		if have.Actor == at.Actor && have.N < at.N {
			o.broken("R14", "Region %d acknowledged entry %d of partition %d of Region %d, and its copy has %d",
				l.peer.region, at.N, p, l.origin.region, have.N)
		}
	}
}

func seconds(t instant) float64 { return (time.Duration(t) * time.Microsecond).Seconds() }

// reached reports whether a Region has had an ending since before a request, and
// nothing happened there that could have taken it away. Once all is settled,
// every Region has every ending.
func (o *oracle) reached(e *ending, s *site, sent instant) bool {
	if e.acked == 0 || e.acked > sent {
		return false
	}
	if o.settled {
		return true
	}
	life, has := e.have[s.region]
	return has && life == s.lives()
}

// lives counts what could have lost something in a Region, or held it up.
func (s *site) lives() int {
	n := 0
	for _, server := range s.servers() {
		n += server.life + server.hangs
	}
	return n
}

// lives returns what lives counts now, of each Region.
func (o *oracle) lives() map[crdt.Region]int {
	out := map[crdt.Region]int{}
	for _, s := range o.w.regions() {
		out[s.region] = s.lives()
	}
	return out
}

// liveByProof is I15: a credential from before a login opens nothing that is the
// user's.
func (o *oracle) liveByProof(r *request, s *session) {
	a := o.auths[r.visit.Credential.Hash()]
	switch {
	case a == nil:
		o.brokenFor(s, "I15", "live for a secret that nobody was given")
	case a.user == "" && r.did.record.User != "":
		o.brokenFor(s, "I15", "live as %q for a secret from before the login", r.did.record.User)
	case a.user != r.did.record.User && a.user != "" && r.did.record.User != "":
		o.brokenFor(s, "I15", "live as %q for a secret of %q", r.did.record.User, a.user)
	default:
		cur := o.auths[r.did.record.Auth.Cur]
		if cur != nil && cur.replaces(a) && o.w.queue.now.sub(cur.made) > mostGrace {
			o.brokenFor(s, "I15", "live for a secret that was replaced %v ago", o.w.queue.now.sub(cur.made))
		}
	}
}

// mostGrace is the longest time for which a replaced secret may open anything,
// whatever the clocks: a grace, and the time that its replacement may be on its way.
const mostGrace = 10*time.Second + 2*mostSkew + mostPatience

// readsItsWrites is I3: what the browser knows of is shown, or the answer says
// that it may not be.
func (o *oracle) readsItsWrites(r *request, s *session) {
	for _, w := range s.writes {
		if w.sealed && slices.Contains(r.answer.Lost, w.chain) {
			o.brokenFor(s, "R11", "write %d of %q is said to be lost, though nobody but a cookie had it", w.serial, w.name)
		}
	}
	if r.rung != router.Normal || len(r.answer.Lost) > 0 || r.standing.Adopted {
		o.stats.Flagged++
		return
	}
	o.stats.FreshReads++
	for _, k := range r.knows {
		if !shows(r.did.record, k) {
			o.brokenFor(s, "I3", "browser %d in Region %d reads %q without %v, which it had seen; the answer says %v",
				r.browser.id, r.app.site.region, k.name, k.dot, r.rung)
		}
	}
}

// goneIsGone is I14: what is said to be nowhere is nowhere, but as a copy that has
// idled out, which its Region keeps a while longer than others.
func (o *oracle) goneIsGone(r *request, s *session) {
	if !s.born {
		return
	}
	now := o.w.queue.now.crdt()
	for _, rec := range o.copies(s) {
		idled := rec.Born.Idle > 0 && now >= rec.Touch.Add(rec.Born.Idle+mostAhead)
		if !rec.Dead && !rec.Born.Dot.IsZero() && !idled {
			o.brokenFor(s, "I14", "said to be gone in Region %d", r.app.site.region)
			return
		}
	}
}

// supersededBySomebody is I14: a secret is refused only if another may have
// taken its place.
func (o *oracle) supersededBySomebody(r *request, s *session) {
	own := o.auths[r.visit.Credential.Hash()]
	if own == nil || s.lossy || own.sealed {
		return // what was sealed may have been ended before anybody took it in
	}
	for _, a := range s.auths {
		if a != own && !own.replaces(a) {
			return
		}
	}
	o.brokenFor(s, "I14", "browser %d in Region %d is refused the last secret there is", r.browser.id, r.app.site.region)
}

// loggedOutBySomebody is I14: nobody is logged out who did not ask for it, nor by
// a revocation that her browser knew of when she logged in.
func (o *oracle) loggedOutBySomebody(r *request, s *session) {
	if len(s.endings) > 0 || o.twoUsers(s) {
		return
	}
	own := o.auths[r.visit.Credential.Hash()]
	for _, a := range s.auths {
		mine := own != nil && !s.lossy && (a == own || own.replaces(a))
		for _, e := range o.user(a.user).revokes {
			if !mine || !own.knew(e) {
				return
			}
		}
	}
	o.brokenFor(s, "I14", "browser %d in Region %d is logged out, and nobody asked for it", r.browser.id, r.app.site.region)
}

// knew reports whether a is of a login whose cookies knew of a revocation. They do
// for a minute, by clocks that differ.
func (a *authWrite) knew(e *ending) bool {
	l := a.login
	return l != nil && e.browser == l.browser && e.heard > 0 && e.heard < l.sent && l.sent.sub(e.invoked) < 15*time.Second
}

// twoUsers reports whether two users may have logged into one session, which
// ends it.
func (o *oracle) twoUsers(s *session) bool {
	first := ""
	for _, a := range s.auths {
		switch {
		case a.user == "" || a.user == first:
		case first == "":
			first = a.user
		default:
			return true
		}
	}
	return false
}

// served checks how a request was answered.
func (o *oracle) served(r *request) {
	took := o.w.queue.now.sub(r.sent)
	if took > mostPatience {
		o.broken("I14", "a request took %v", took)
	}
	if r.err == nil {
		if r.did.session != nil && r.standing.State == proof.Live && r.rest {
			r.did.session.used[r.browser] = o.w.queue.now
		}
		return
	}
	o.stats.Errors++
	if errors.Is(r.err, crdt.ErrAbsent) || errors.Is(r.err, crdt.ErrExists) {
		o.brokenFor(r.did.session, "I14", "browser %d in Region %d is told a wrong thing of its session: %v", r.browser.id, r.app.site.region, r.err)
	}
	if o.settled && !wellRefused(r.err) {
		o.brokenFor(r.did.session, "I14", "an error long after all is well: %v", r.err)
	}
	if r.local && r.app.site.lives() == r.lives && r.app.site.alive() && !wellRefused(r.err) {
		o.brokenFor(r.did.session, "I14", "browser %d in Region %d, where all it needs is: %v", r.browser.id, r.app.site.region, r.err)
	}
}

// mostPatience is longer than any request may take: thinking about a password,
// two reads, two writes, an ending told to all.
const mostPatience = 16 * time.Second

// wellRefused reports whether an error may be however well all is: the session has
// ended, it is not sure whose it is, somebody else has just logged into it, or there is no
// room.
func wellRefused(err error) bool {
	return errors.Is(err, errRefusedMove) || ended(err) || errors.Is(err, crdt.ErrOtherUser) || errors.Is(err, engine.ErrFull)
}

func ended(err error) bool { return errors.Is(err, crdt.ErrDead) || errors.Is(err, crdt.ErrExpired) }

// received notes what a browser has heard.
func (o *oracle) received(r *request, c proof.Cookies) {
	b := r.browser
	o.cookiesOfItsOwn(r, c)
	switch {
	case c.ClearCredential, r.isOver(): // whatever is seen of it yet
		b.knows, b.knowsOf = nil, crdt.SessionID{}
		o.forget(b)
	case c.Seen != nil:
		b.knows, b.knowsOf = r.remembered(c.Seen.Token), c.Seen.ID
	}
	o.sealedBy(r, c)
	// Of tabs that share cookies the answer that comes last says what they hold.
	b.knows = slices.DeleteFunc(slices.Clone(b.knows), func(k seen) bool { return k.chain.IsZero() && !o.carries(b, k) })
	if e := r.did.revoke; e != nil && c.Seen != nil && b.requests == 0 {
		e.heard = o.w.queue.now
	}
}

// sealedBy notes what the browser's sealed cookies hold: of requests that overlap
// the answer that comes last may take the place of the other's.
func (o *oracle) sealedBy(r *request, c proof.Cookies) {
	b := r.browser
	switch alone := r.alone && b.requests == 0; {
	case c.Sealing == nil && c.ClearSealed == 0:
	case alone && r.did.write != nil && r.did.write.sealed:
		r.did.write.sure = b
	case !alone:
		o.forget(b)
	}
}

// isOver reports whether the request was told that its session has ended, or is not
// its browser's any more.
func (r *request) isOver() bool {
	switch r.standing.State {
	case proof.LoggedOut, proof.Expired, proof.Gone, proof.Superseded:
		return r.set == nil
	default:
		return false
	}
}

// cookiesOfItsOwn is R9: an answer sets the credential that its request made, and
// clears it only if its request ended the session.
func (o *oracle) cookiesOfItsOwn(r *request, c proof.Cookies) {
	if c.Credential != nil && (r.did.auth == nil || c.Credential.Hash() != r.did.auth.hash) {
		o.broken("R9", "browser %d is set a credential that its request did not make", r.browser.id)
	}
	if c.ClearCredential && !r.ended {
		o.broken("R9", "browser %d is taken its credential by a request that ended nothing", r.browser.id)
	}
}

// evicted returns what a browser knows of, without the writes that its token lost
// sight of when the request was taken up: for the credential's there may be no room
// but in place of the oldest.
func (r *request) evicted(known []seen) []seen {
	brought := r.visit.Seen.Token
	opening := brought.With(r.visit.Credential.Dot)
	return slices.DeleteFunc(slices.Clone(known), func(k seen) bool { return speaksFor(brought, k) && !speaksFor(opening, k) })
}

// remembered returns what the answer's token speaks for of what was known: not
// what is lost for good, nor what there was no room for on the way.
func (r *request) remembered(token crdt.Token) (out []seen) {
	actors := map[crdt.Actor]bool{r.visit.Credential.Dot.Actor: true}
	for _, d := range slices.Concat(r.visit.Seen.Token.Dots(), token.Dots()) {
		actors[d.Actor] = true
	}
	full := len(actors) > crdt.MaxTokenDots || token.Len() == crdt.MaxTokenDots
	for _, k := range r.knows {
		// With a write, those that its actor made before may be lost.
		gone := slices.ContainsFunc(r.answer.Lost, func(d crdt.Dot) bool { return d.Actor == k.chain.Actor && d.Stamp >= k.chain.Stamp })
		if !gone && (!full || speaksFor(token, k)) {
			out = append(out, k)
		}
	}
	return out
}

func speaksFor(t crdt.Token, k seen) bool {
	return slices.ContainsFunc(t.Dots(), func(d crdt.Dot) bool { return d.Actor == k.chain.Actor })
}

// ends notes that a session is about to be ended.
func (o *oracle) ends(s *session) *ending {
	e := &ending{session: s, invoked: o.w.queue.now, lives: o.lives()}
	s.endings = append(s.endings, e)
	return e
}

// revokes notes that a user's sessions are about to be revoked.
func (o *oracle) revokes(name string) *ending {
	e := &ending{invoked: o.w.queue.now, lives: o.lives()}
	u := o.user(name)
	u.revokes = append(u.revokes, e)
	return e
}

// ended notes that the ending of what k names was acknowledged.
func (o *oracle) ended(e *ending, k crdt.Key, out outcome) {
	o.stats.Endings++
	e.acked, e.have = o.w.queue.now, map[crdt.Region]int{}
	took, have := o.w.sites[out.answer.Region], out.have
	rec := took.server.core.Read(took.server.now(), k)
	if out.answer.Rung == router.Normal && (rec.Dead || rec.Epochs().Has(out.answer.Dot)) {
		e.by, e.byLife = took, took.lives()
	}
	for _, s := range o.w.regions() {
		if have.Has(s.region) {
			e.have[s.region] = e.lives[s.region] // it may have got there any time since
		}
	}
}
