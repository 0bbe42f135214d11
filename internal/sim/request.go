package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// A request is one request of a browser, as package roam's middleware serves it:
// its cookies are judged, a handler wants something, the wish is committed, and
// cookies go back.
type request struct {
	app     *app
	browser *browser
	action  Action
	sent    instant
	visit   proof.Visit
	life    int // of the app that serves it

	standing proof.Standing
	answer   router.Answer
	read     proof.Answer // what was read for the visit
	rung     router.Rung
	wish     proof.Wish
	set      *proof.Credential
	sealing  *proof.Sealing
	ended    bool
	err      error
	did      did

	// What the oracle notes.
	knows      []seen  // by the browser, and by whoever made the request's writes
	usedBefore instant // the session
	usedIt     instant // by its browser, before it was sent
	usedByAny  instant
	rest       bool // nothing had to be written
	local      bool // all that was needed was in the Region
	alone      bool // the browser had no other request under way
	lives      int  // of the Region's servers when the request was sent
}

// did is what a request did to its session, for the oracle.
type did struct {
	write   *write      // that was tried
	auth    *authWrite  // that was tried
	login   *login      // that was begun
	record  crdt.Record // as it was shown
	session *session    // that it was about
	revoke  *ending     // that was tried, of all sessions of a user
}

const (
	lifetime = 10 * time.Minute
	// touchTimeout is how long a page waits for its use to be noted, or for what
	// is sealed to be taken in.
	touchTimeout = 500 * time.Millisecond
	// sealedRoom is what a sealed cookie may hold: about what production allows. In
	// some runs it is littleRoom, so that a session's fields do not fit.
	sealedRoom = 3_400
	littleRoom = 400
)

// within has do done, and goes on with an error if that takes too long for a page.
func (a *app) within(d time.Duration, do func(func(error)), done func(error)) {
	over := false
	finish := func(err error) {
		if !over {
			over = true
			done(err)
		}
	}
	a.w.queue.after(d, a.serving(func() { finish(errLate) }))
	do(finish)
}

var errLate = fmt.Errorf("%w: the page does not wait longer", router.ErrUnavailable)

// serve begins to serve r, which has just arrived.
func (a *app) serve(r *request) {
	r.life = a.life
	var read bool
	if r.standing, read = r.visit.Begin(a.now()); !read {
		r.handle()
		return
	}
	q := router.Query{
		Key: crdt.SessionKey(r.visit.Credential.ID), Seen: r.standing.Seen.Token, Class: r.class(),
	}
	a.read(q, func(ans router.Answer, err error) {
		r.answer, r.rung = ans, ans.Rung
		standsIn := r.visit.StandsIn(a.now())
		if st, idled := r.visit.Idled(a.now()); idled && !standsIn && errors.Is(err, router.ErrDoubtful) {
			r.standing = st
			r.handle()
			return
		}
		r.read = proof.Answer{Record: ans.Record, Token: ans.Token, Doubtful: ans.Doubtful, Partial: ans.Partial, Unread: err != nil}
		if err != nil && !standsIn {
			r.fail(err)
			return
		}
		r.readEpochs(errors.Is(err, router.ErrUnavailable))
	})
}

func (r *request) class() router.Class {
	if r.visit.Strict {
		return router.Strict
	}
	return router.Safe
}

// readEpochs reads the revocations of the session's user, here and where the
// session came from. Silent says that no Region could tell of the session.
func (r *request) readEpochs(silent bool) {
	of, from := r.visit.Copy(r.read.Record, r.app.now()), r.answer.Region
	if r.read.Unread {
		from, r.rung = r.app.site.region, router.Stale
	}
	if of.User == "" || of.Dead {
		r.judge(silent)
		return
	}
	q := router.Query{Key: crdt.UserKey(of.User), Class: r.class()}
	if from != r.app.site.region {
		q.Also = from
	}
	r.app.read(q, func(ans router.Answer, err error) {
		switch {
		case err == nil:
			r.rung = max(r.rung, ans.Rung)
		case !r.visit.StandsIn(r.app.now()):
			r.fail(err)
			return
		default:
			r.rung = max(r.rung, router.Stale)
		}
		r.read.Epochs = ans.Record.Epochs()
		r.judge(silent)
	})
}

func (r *request) judge(silent bool) {
	v := r.visit.Judge(r.read, r.app.now())
	if v.Doubt {
		r.fail(router.ErrDoubtful)
		return
	}
	r.standing = v.Standing
	if v.Stale {
		r.rung = max(r.rung, router.Stale)
	}
	r.did.record = r.standing.Record
	r.unseal(silent)
}

// unseal has the store take in what came sealed. What can't be taken in now stays
// as it is, and strict routes refuse it.
func (r *request) unseal(silent bool) {
	w, ok := r.standing.Import()
	if !ok {
		r.app.w.oracle.judged(r)
		r.handle()
		return
	}
	done := func(ans router.Answer, err error) {
		switch {
		case err == nil:
			r.standing = r.standing.Unsealed()
			r.standing.Seen.Token = ans.Token
			r.app.w.oracle.tookIn(r, r.did.session, ans.Dot)
			r.rung = max(r.rung, ans.Rung)
		case ended(err):
			r.standing = r.standing.Lost(err)
		case r.visit.Strict:
			r.fail(router.ErrStale)
			return
		default:
			r.rung = router.Sealed
		}
		r.app.w.oracle.judged(r)
		r.handle()
	}
	if silent {
		done(router.Answer{}, router.ErrUnavailable)
		return
	}
	var got router.Answer
	r.app.within(touchTimeout, func(finish func(error)) {
		r.take(w, func(ans router.Answer, err error) {
			got = ans
			finish(err)
		})
	}, func(err error) { done(got, err) })
}

// take makes a write, after its user's record was told of the session.
func (r *request) take(w proof.Written, done func(router.Answer, error)) {
	write := func() {
		op := r.app.mint(router.Write{Key: w.Key, Seen: w.Seen, Base: w.Base, Op: w.Op})
		r.app.w.oracle.tries(r, w, op.Op)
		r.app.write(op, done)
	}
	if w.Note == "" {
		write()
		return
	}
	r.app.write(r.app.mint(router.Write{
		Key: crdt.UserKey(w.Note), Op: crdt.Op{Changes: []crdt.Change{crdt.Index(w.Credential.ID, nil)}},
	}), func(_ router.Answer, err error) {
		if err != nil && !errors.Is(err, crdt.ErrLimit) {
			r.app.w.oracle.tries(r, w, w.Op)
			done(router.Answer{}, err)
			return
		}
		write()
	})
}

// destroy ends the session of the request everywhere.
func (r *request) destroy(done func(error)) {
	st := r.standing
	key := crdt.SessionKey(st.Credential.ID)
	e := r.app.w.oracle.ends(r.app.w.oracle.session(st.Credential.ID))
	r.app.revoke(router.Write{
		Key: key, Seen: st.Seen.Token, Base: st.Record, Op: crdt.Op{Destroy: true},
	}, func(out outcome) {
		if out.err == nil {
			r.app.w.oracle.ended(e, key, out)
		}
		done(out.err)
	})
}

// revoke ends all sessions of the session's user.
func (r *request) revoke() {
	user := r.standing.Record.User
	key := crdt.UserKey(user)
	e := r.app.w.oracle.revokes(user)
	r.app.revoke(router.Write{Key: key, Op: crdt.Op{Revoke: true}}, func(out outcome) {
		if r.err = out.err; out.err == nil {
			r.app.w.oracle.ended(e, key, out)
			once := out.answer.Tries == 1 && r.app.w.net.rates.repeated == 0
			if out.answer.Rung == router.Normal && once { // else another revocation may come late
				e.browser, r.did.revoke = r.browser, e
			}
			st := r.standing.End()
			st.Seen = st.Seen.With(key, out.answer.Dot)
			r.standing, r.ended = st, true
		}
		r.respond()
	})
}

// commit writes what the request wants.
func (r *request) commit() {
	switch r.standing.Move(r.wish, r.app.now()) {
	case proof.Rest:
		r.rest = true
		r.respond()
	case proof.Touch:
		seals := r.app.w.seal && !r.visit.Strict && r.standing.Carried != 0
		r.app.within(touchTimeout, func(finish func(error)) { r.write(seals, finish) }, func(err error) {
			if ended(err) {
				r.err = err
			}
			r.respond()
		})
	case proof.RefuseUnknown, proof.RefuseSlow, proof.RefuseRotation, proof.RefuseBare:
		r.fail(errRefusedMove)
	case proof.Leave:
		r.destroy(func(err error) {
			if err != nil {
				r.fail(err)
				return
			}
			r.standing = r.standing.Left()
			r.writeAndRespond()
		})
	case proof.Write:
		r.writeAndRespond()
	}
}

func (r *request) writeAndRespond() {
	seals := r.app.w.seal && !r.visit.Strict
	r.write(seals, func(err error) {
		if r.wish.Login != nil && r.standing.State == proof.Live && ended(err) {
			// The session ended under a login: a fresh one takes its place.
			r.standing = r.standing.Lost(err)
			r.write(seals, func(err error) {
				r.err = err
				r.respond()
			})
			return
		}
		r.err = err
		r.respond()
	})
}

// write makes one operation of all that the request wants, and makes it.
func (r *request) write(seals bool, done func(error)) {
	maker := proof.Maker{
		Now: r.app.now(), Here: r.app.site.region, Lifetime: lifetime, Idle: r.app.w.idle,
	}
	fill(maker.ID[:], r.app.dice)
	fill(maker.Secret[:], r.app.dice)
	fill(maker.Seal[:], r.app.dice)
	w := r.standing.Write(r.wish, maker)
	r.take(w, func(ans router.Answer, err error) {
		switch {
		case ended(err):
			r.standing = r.standing.Unsealed()
		case err != nil && seals && sealable(w, err):
			err = r.seal(w, maker)
		case err == nil:
			r.rung = max(r.rung, ans.Rung)
			if w.Op.Adopt != nil {
				r.app.w.oracle.tookIn(r, r.did.session, ans.Dot)
			}
			seen, set := r.standing.Wrote(w, ans.Dot, ans.Token)
			r.standing, r.set = r.standing.Unsealed(), set
			r.standing.Seen = seen
			r.app.w.oracle.wrote(r, w, ans.Dot)
		}
		done(err)
	})
}

// sealable reports whether a write that failed may be made in a cookie instead.
func sealable(w proof.Written, err error) bool {
	return errors.Is(err, router.ErrUnavailable) && !errors.Is(err, errLate) && (!w.Op.HasAdd() || engine.OutcomeKnown(err))
}

// seal makes a write in a sealed cookie.
func (r *request) seal(w proof.Written, maker proof.Maker) error {
	sealing, err := r.standing.Seal(w, maker, r.app.w.keys, r.app.w.room)
	if err != nil {
		return err
	}
	r.standing = r.standing.Unsealed()
	r.standing.Seen, r.sealing, r.set, r.rung = sealing.Seen, &sealing, sealing.Credential, router.Sealed
	r.app.w.oracle.sealed(r, w, sealing)
	return nil
}

func (r *request) fail(err error) {
	r.err = err
	r.respond()
}

// respond sends the answer with its cookies.
func (r *request) respond() {
	a := r.app
	c := proof.After(proof.Ending{
		Brought: r.visit.Seen, Seen: r.standing.Seen, Set: r.set, Ended: r.ended,
		Spent: r.standing.Spent, Sealing: r.sealing,
	}, a.now())
	if r.err != nil {
		c = proof.Cookies{} // what failed sets no cookie
	}
	a.w.trace.note("served", uint64(r.browser.id), uint64(r.action.Do), uint64(a.site.region), //nolint:gosec // small
		uint64(r.standing.State), uint64(r.rung), hashOf(r.err))
	r.tell()
	delay := a.w.net.jittered(a.w.net.path(a.site.region, a.site.region))
	a.w.oracle.served(r)
	if a.w.net.chance(a.w.dropped) {
		r.browser.requests--
		return // the browser never hears of it
	}
	a.w.queue.after(delay, func() { r.browser.receive(r, c) })
}

var errRefusedMove = errors.New("refused: not sure whose session it is")

// proofMark is enough of a hash to tell secrets apart.
func (r *request) proofMark() []byte { h := r.visit.Credential.Hash(); return h[:3] }

// sealedBrought counts the sealed cookies that the request brought.
func (r *request) sealedBrought() (n int) {
	for _, s := range r.visit.Sealed {
		if !s.IsZero() {
			n++
		}
	}
	return n
}

// tell tells a reader of the story how the request was answered.
func (r *request) tell() {
	t := r.app.w.trace
	if !t.words {
		return
	}
	line := fmt.Sprintf("browser %d in Region %d: %v, sent at %.3fs", r.browser.id, r.app.site.region, r.action.Do, seconds(r.sent))
	if s := r.did.session; s != nil {
		line += fmt.Sprintf(", session %d", s.number)
	}
	line += fmt.Sprintf(": %v, %v", r.standing.State, r.rung)
	if w := r.did.write; w != nil {
		line += fmt.Sprintf(", wrote %d to %q: %v", w.serial, w.name, w.dot())
	}
	if a := r.did.auth; a != nil {
		line += fmt.Sprintf(", secret %x", a.hash[:3])
	}
	if len(r.answer.Lost) > 0 {
		line += fmt.Sprintf(", lost %v", r.answer.Lost)
	}
	if r.err != nil {
		line += fmt.Sprintf(", error: %v", r.err)
	}
	if n := r.sealedBrought(); n > 0 {
		line += fmt.Sprintf(", brought %d sealed cookies", n)
	}
	if r.sealing != nil {
		line += fmt.Sprintf(", sealed into slot %d", r.sealing.Slot)
	}
	t.line("%s; proof %x, token %v, read %v", line, r.proofMark(), r.visit.Seen.Token.Dots(), r.did.record.VV)
}
