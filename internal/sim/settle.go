package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// What must be true once all is well again.

// calm ends all that goes wrong.
func (w *world) calm() {
	w.net.rates, w.dropped, w.phase = rates{}, 0, settlingPhase
	w.trace.note("calm")
	w.queue.after(settling/3, func() { // one round of comparing, once links are up
		for _, l := range w.links {
			l.askToCompare()
		}
	})
}

// checkSettled checks what all Regions hold after they had the time to compare.
func (o *oracle) checkSettled() {
	o.settled = true
	for _, l := range o.w.links {
		o.checkLink(l)
	}
	for _, s := range o.all {
		o.checkSession(s)
	}
	for _, name := range o.userNames() {
		o.same(nil, crdt.UserKey(name))
	}
}

func (o *oracle) userNames() []string {
	var out []string
	for name := range o.users {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// checkLink is I13: all of a log has been taken in.
func (o *oracle) checkLink(l *link) {
	if !l.up {
		o.broken("I13", "no link from Region %d to %d, though nothing is in its way", l.origin.region, l.peer.region)
		return
	}
	for p, head := range l.head() {
		at := l.peer.server.core.Position(l.origin.region, uint16(p)) //nolint:gosec // below Partitions
		if head.N > 0 && at != head {
			o.broken("I13", "Region %d is at %v of partition %d of Region %d, whose head is %v",
				l.peer.region, at, p, l.origin.region, head)
		}
	}
}

// same is I1: every Region holds the same content.
func (o *oracle) same(s *session, k crdt.Key) bool {
	var first crdt.Record
	for i, site := range o.w.regions() {
		rec := site.server.core.Read(site.server.now(), k)
		if i == 0 {
			first = rec
		}
		if o.nearItsEnd(rec) || o.nearItsEnd(first) {
			return false // clocks differ, and some have dropped it
		}
		if rec.Digest() != first.Digest() {
			what := fmt.Sprintf("Regions 1 and %d differ", site.region)
			if k.Kind() == crdt.KindUser {
				what = fmt.Sprintf("of a user, %s: %v and %v, %v and %v", what, first.VV, rec.VV, first.Fields, rec.Fields)
			}
			o.brokenFor(s, "I1", "%s", what)
			return false
		}
	}
	return true
}

// nearItsEnd reports whether clocks may differ over whether to keep a record.
// Digests leave it out then (replica.Fold), and what a failover lost of it may
// stay lost.
func (o *oracle) nearItsEnd(rec crdt.Record) bool {
	until, ok := rec.KeepUntil()
	return !rec.IsBottom() && ok && until < o.w.queue.now.crdt().Add(foldMargin+3*mostSkew)
}

// foldMargin is how near its end a record is left out of digests.
const foldMargin = 120 * time.Second

// checkSession checks the end of a session's story.
func (o *oracle) checkSession(s *session) {
	k := crdt.SessionKey(s.id)
	o.checkEndings(s, k)
	if idle := o.w.idle; idle > 0 && o.w.queue.now.sub(s.lastUse) > idle-3*mostSkew {
		return // what has idled out may be dropped, and be heard of again in part
	}
	if !o.same(s, k) {
		return
	}
	site := o.w.sites[1]
	rec := site.server.core.Read(site.server.now(), k)
	if rec.Dead || rec.IsBottom() {
		return
	}
	for _, w := range s.writes {
		if w.acked && !w.lost && (!w.sealed || w.in) && !shows(rec, w.seen()) {
			o.brokenFor(s, "I5", "write %d of %q, %v, was acknowledged and is missing", w.serial, w.name, w.dot())
		}
	}
	o.checkValues(s, rec)
	o.checkCounts(s, rec)
	o.checkLogins(s, rec)
}

// checkEndings is I2 at the end: a logout that was acknowledged is everywhere.
func (o *oracle) checkEndings(s *session, k crdt.Key) {
	for _, site := range o.w.regions() {
		rec := site.server.core.Read(site.server.now(), k)
		for _, e := range s.endings {
			if e.acked > 0 && !rec.Dead && !rec.IsBottom() {
				o.brokenFor(s, "I2", "its logout of %.3fs was acknowledged, and it is not dead in Region %d", seconds(e.acked), site.region)
			}
		}
	}
}

// checkValues is I3 at the end: no value stands that its field's writers had
// seen and replaced.
func (o *oracle) checkValues(s *session, rec crdt.Record) {
	for _, f := range rec.Fields {
		var winner *write
		for _, w := range s.writes {
			if !w.add && w.name == f.Name && w.stamped(f.Dot.Stamp) {
				winner = w
			}
		}
		if f.Name[0] == '#' {
			continue
		}
		if winner == nil {
			o.brokenFor(s, "I5", "field %q holds %q@%v, which nobody wrote", f.Name, f.Value, f.Dot)
			continue
		}
		for _, w := range s.writes {
			if w.acked && !w.lost && !w.sealed && w.name == f.Name && w != winner && replaced(w, winner) {
				o.brokenFor(s, "I3", "write %d of %q stands, which write %d had seen and replaced", winner.serial, f.Name, w.serial)
			}
		}
	}
}

// stamped reports whether a field with the stamp s was written by w.
func (w *write) stamped(s crdt.Stamp) bool { return s == w.stamp || w.sealed && s == w.sealing }

// replaced reports whether w was made by somebody who had seen old.
func replaced(w, old *write) bool {
	for _, b := range w.before {
		if old.stamped(b.dot.Stamp) {
			return true
		}
	}
	return false
}

// checkCounts: every acknowledged addition counts, and none counts twice.
func (o *oracle) checkCounts(s *session, rec crdt.Record) {
	for i := range fields {
		name := string(rune('a' + i))
		var least, most int64
		for _, w := range s.writes {
			if w.name != "#"+name+"\x00" {
				continue
			}
			most++
			if w.acked && !w.lost && (!w.sealed || w.in) {
				least++
			}
		}
		if n := rec.Count(name); n < least || n > most {
			o.brokenFor(s, "I5", "counter %q is %d, want %d to %d", name, n, least, most)
		}
	}
}

// checkLogins is I4 and I15 at the end.
func (o *oracle) checkLogins(s *session, rec crdt.Record) {
	site := o.w.sites[1]
	now := o.w.queue.now.crdt()
	epochs := crdt.Vector{}
	if rec.User != "" {
		epochs = site.server.core.Read(site.server.now(), crdt.UserKey(rec.User)).Epochs()
	}
	live := rec.Judge(now, rec.Auth.Cur, epochs) == crdt.Live
	if l := o.loginOf(rec.Auth.Cur); l != nil && live {
		for _, e := range o.user(l.user).revokes {
			if e.acked > 0 && e.invoked > l.began {
				o.brokenFor(s, "I4", "live for all, after the revocation of %.3fs; its login began at %.3fs",
					seconds(e.invoked), seconds(l.began))
			}
		}
	}
	for _, a := range s.auths {
		if a.user == "" && rec.User != "" && rec.Judge(now, a.hash, epochs) == crdt.Live {
			o.brokenFor(s, "I15", "live as %q for a secret from before the login", rec.User)
		}
		if a.hash != rec.Auth.Cur && now > rec.Auth.Grace.Add(mostSkew) && rec.Judge(now, a.hash, epochs) == crdt.Live {
			o.brokenFor(s, "I15", "live for a secret that was replaced, after its grace")
		}
	}
}

// checkSealed: what was sealed into a browser's cookie, and nothing else came
// between, was taken in, or is still in its cookies where engines are full.
func (o *oracle) checkSealed() {
	for _, b := range o.w.browsers {
		s := o.sessions[b.jar.credential.ID]
		if s == nil {
			continue
		}
		site := o.w.sites[1]
		rec := site.server.core.Read(site.server.now(), crdt.SessionKey(s.id))
		for _, w := range s.writes {
			if w.sure != b || rec.Dead || rec.IsBottom() || o.w.little && o.carries(b, w.seen()) {
				continue
			}
			if !shows(rec, w.seen()) {
				o.brokenFor(s, "R11", "write %d of %q, %v, was sealed into the cookie of browser %d and is missing", w.serial, w.name, w.dot(), b.id)
			}
		}
	}
}

// carries reports whether a browser's sealed cookies have a write.
func (o *oracle) carries(b *browser, k seen) bool {
	return slices.ContainsFunc(b.jar.sealed[:], func(value string) bool {
		s, err := o.w.keys.OpenSealed(value)
		return err == nil && shows(s.Record, k)
	})
}

// visitAll has every browser visit every Region, when all is well: each must be
// served as if nothing had happened, and be shown nothing that is past its limits.
func (w *world) visitAll(begin time.Duration) {
	for i, b := range w.browsers {
		for j, s := range w.regions() {
			at := begin + time.Duration(i)*50*time.Millisecond + time.Duration(j)*2*time.Second
			act := Action{At: at, Do: Visit, Browser: b.id, Region: s.region}
			w.queue.at(instant(at.Microseconds()), func() { b.send(w, act) })
		}
	}
}

// checkEmpty is I8: everything has gone.
func (o *oracle) checkEmpty() {
	for _, site := range o.w.regions() {
		for _, server := range site.servers() {
			for p := range uint16(crdt.Partitions) {
				for _, rec := range server.core.Scan(server.now(), p) {
					if rec.Key.Kind() == crdt.KindSession {
						o.broken("I8", "Region %d holds a session %v after its deadline", site.region,
							server.now().Sub(rec.Key.SessionID().Deadline()))
					}
				}
			}
		}
	}
}

// checkEvents is I8 for work: what is asked of a deployment ends.
func (o *oracle) checkEvents() {
	if o.w.queue.full() {
		o.broken("I8", "%d events and no end", o.w.queue.run)
	}
}
