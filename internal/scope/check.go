package scope

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// fail notes the first thing that went wrong.
func (s *space) fail(format string, args ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

// after interns c, which the core before has become by a call, and checks that
// nothing it knew is gone (I2 and the vectors).
func (s *space) after(before coreID, c *memory.Core) coreID {
	id := s.intern(c)
	if id == before {
		return id
	}
	for i := range records {
		was, is := &s.states[before].recs[i], &s.states[id].recs[i]
		switch {
		case was.Dead && !is.Dead:
			s.fail("I2: %s was dead in Region %d and is no more", recordName(i), s.region(id)+1)
		case !is.Dead && !is.VV.Covers(was.VV):
			s.fail("%s had heard %v in Region %d and has heard %v", recordName(i), was.VV, s.region(id)+1, is.VV)
		case !is.Dead && !is.Epochs().Covers(was.Epochs()):
			s.fail("I4: %s had the revocations %v in Region %d and has %v", recordName(i), was.Epochs(), s.region(id)+1, is.Epochs())
		}
	}
	return id
}

// checkTaken holds that a cursor passes no entry that its record has not heard
// (I13), and that an ending is known wherever it arrived, whatever was missing
// before it (M11).
func (s *space) checkTaken(before, after *memory.Core, b engine.Batch) {
	from, to := before.Position(b.Actor.Region(), b.Partition), after.Position(b.Actor.Region(), b.Partition)
	for i, f := range b.Frags {
		s.checkEnding(after, f)
		n := b.First + uint64(i) //nolint:gosec // an index
		passed := to.Actor == b.Actor && n <= to.N && (from.Actor != b.Actor || n > from.N)
		if !passed || f.Effect.Key.IsZero() {
			continue
		}
		if r := after.Read(epoch, f.Effect.Key); !r.Dead && !heard(r.VV, f.Dot) {
			s.fail("I13: entry %d of %v was passed over in Region %d, and %v is not heard of", n, b.Actor, indexOf(after.Actor().Region())+1, f.Dot)
		}
	}
}

func (s *space) checkEnding(c *memory.Core, f crdt.Fragment) {
	if f.Effect.Key.IsZero() {
		return
	}
	r := c.Read(epoch, f.Effect.Key)
	if f.Effect.Dead && !r.Dead {
		s.fail("M11: an ending arrived in Region %d and its session is not dead", indexOf(c.Actor().Region())+1)
	}
	for _, d := range f.Effect.Epochs() {
		if !heard(r.Epochs(), d) {
			s.fail("M11: the revocation %v arrived in Region %d and is not known", d, indexOf(c.Actor().Region())+1)
		}
	}
}

func recordName(i int) string {
	if i == annAt {
		return "the record of ann"
	}
	return fmt.Sprintf("session s%d", i+1)
}

// checkCore holds what is true of each core, whatever led to it: Judge says what
// the record does.
func (s *space) checkCore(st *state) {
	epochs := st.recs[annAt].Epochs()
	for i := range sessions {
		r := &st.recs[i]
		got := r.Judge(late, r.Auth.Cur, epochs)
		shown := !r.Born.Dot.IsZero() && !r.Auth.Dot.IsZero()
		switch {
		case r.Dead != (got == crdt.Ended):
			s.fail("I2: %s, dead %v, is judged %v", recordName(i), r.Dead, got)
		case r.Dead:
		case !shown && got != crdt.Absent:
			s.fail("%s, without a birth or a secret, is judged %v", recordName(i), got)
		case shown && len(epochs) == 0 && got != crdt.Live:
			s.fail("%s, which nobody ended, is judged %v by its secret", recordName(i), got)
		case shown && got != crdt.Live && got != crdt.Revoked:
			s.fail("%s is judged %v by its secret", recordName(i), got)
		case shown && r.Auth.Prev != crdt.Hash{} && r.Judge(late, r.Auth.Prev, epochs) == crdt.Live:
			s.fail("I15: %s is live for the secret before its secret", recordName(i))
		}
	}
}

// checkWorld holds what is true in each state of the world: no login is live where
// a revocation is that it did not see (I4), a copy shows what it says it has heard
// (I3), and once all is calm, both Regions are alike (I1) and nothing acknowledged
// is missing (I5).
func (s *space) checkWorld(w *world) string {
	for _, id := range w.cores {
		s.checkRevoked(w, &s.states[id])
		s.checkShows(w, &s.states[id])
	}
	end := s.settle(w.cores)
	for i := range records {
		a, b := s.states[end.pushed[0]].ids[i], s.states[end.pushed[1]].ids[i]
		if w.phase < failed && a != b { // else the one tells nobody of what the other lost
			s.fail("I1: %s differs once both logs were taken in:\n  %+v\n  %+v", recordName(i), s.recs[a], s.recs[b])
		}
		if a, b := s.states[end.alike[0]].ids[i], s.states[end.alike[1]].ids[i]; a != b {
			s.fail("I1: %s differs after a full exchange:\n  %+v\n  %+v", recordName(i), s.recs[a], s.recs[b])
		}
		s.checkKept(w, i, &s.states[end.alike[0]].recs[i])
	}
	wrong := s.wrong
	s.wrong = ""
	return wrong
}

// checkRevoked compares Judge with what is known of who saw what: of all logins of
// the generation in force that the record has heard of, none must have missed a
// revocation that the core has.
func (s *space) checkRevoked(w *world, st *state) {
	epochs := st.recs[annAt].Epochs()
	for i := range sessions {
		r := &st.recs[i]
		if len(epochs) == 0 || r.Dead || r.User != "ann" || r.Auth.Dot.IsZero() {
			continue
		}
		missed := false
		for _, id := range w.results {
			if id == noResult || s.res[id].dot.IsZero() {
				continue
			}
			o, dot := &s.ops[s.res[id].op], s.res[id].dot
			if o.record == i && o.op.Auth != nil && o.op.Auth.Gen == r.Auth.Gen && heard(r.VV, dot) {
				missed = missed || s.missedOne(w, o.op.Auth.Epochs, epochs)
			}
		}
		got := r.Judge(late, r.Auth.Cur, epochs)
		if missed && got == crdt.Live {
			s.fail("I4: %s is live where a revocation is that its login did not see", recordName(i))
		}
	}
}

// missedOne reports whether there was a revocation that is known here and was not
// when a login began.
func (s *space) missedOne(w *world, saw, known crdt.Vector) bool {
	for _, id := range w.results {
		if id == noResult || s.ops[s.res[id].op].kind != Revoke {
			continue
		}
		if dot := s.res[id].dot; !dot.IsZero() && heard(known, dot) && !heard(saw, dot) {
			return true
		}
	}
	return false
}

// heard reports whether v has heard d, without asking the vector's own methods.
func heard(v crdt.Vector, d crdt.Dot) bool {
	for _, e := range v {
		if e.Actor == d.Actor && e.Stamp >= d.Stamp {
			return true
		}
	}
	return false
}

// wanted is what record i must hold in the end, by what clients were told.
type wanted struct {
	dead    bool
	born    crdt.Dot
	touch   crdt.Time
	auth    crdt.Auth
	user    string
	put     crdt.Dot
	side    crdt.Dot
	value   byte
	adds    int64
	added   [maxSteps]uint64
	revoked []crdt.Dot
}

// checkKept compares record i of a calm world with the operations that were
// acknowledged and that some Region had heard of before.
func (s *space) checkKept(w *world, i int, end *crdt.Record) {
	var want wanted
	for _, id := range w.results {
		if id == noResult || s.res[id].dot.IsZero() || s.ops[s.res[id].op].record != i {
			continue
		}
		res := &s.res[id]
		if s.known(w, i, res.dot) {
			want.take(&s.ops[res.op], res)
			continue
		}
		if !w.mayLose(res.dot) {
			s.fail("I5: %v of %s, acknowledged as %v, is nowhere", s.ops[res.op].kind, recordName(i), res.dot)
		}
	}
	s.compare(i, end, &want)
}

// checkShows compares what a core has with the operations that its vectors say it
// has heard, to the letter.
func (s *space) checkShows(w *world, st *state) {
	for i := range records {
		r := &st.recs[i]
		if r.Dead {
			continue // a dead record has no vector
		}
		var want wanted
		for _, id := range w.results {
			if id == noResult || s.res[id].dot.IsZero() {
				continue
			}
			if o := &s.ops[s.res[id].op]; o.record == i && heard(r.VV, s.res[id].dot) {
				want.take(o, &s.res[id])
			}
		}
		s.compare(i, r, &want)
	}
}

// known reports whether a Region has heard of the write d to record i. A dead
// record has heard all that matters.
func (s *space) known(w *world, i int, d crdt.Dot) bool {
	for _, id := range w.cores {
		if r := &s.states[id].recs[i]; r.Dead || heard(r.VV, d) {
			return true
		}
	}
	return false
}

func (x *wanted) take(o *op, r *result) {
	write := crdt.Dot{Actor: r.dot.Actor, Stamp: o.op.Stamp}
	switch o.kind {
	case Destroy:
		x.dead = true
	case Revoke:
		x.revoked = append(x.revoked, r.dot)
	case Put:
		if value := byte(o.op.ID - 1); cmp.Or(order(write, x.put), cmp.Compare(value, x.value)) > 0 {
			x.put, x.value = write, value
		}
	case Adopt:
		if x.side.Before(o.op.Adopt.Fields[0].Dot) {
			x.side = o.op.Adopt.Fields[0].Dot
		}
	case Touch:
		x.touch = max(x.touch, r.at)
	case Add:
		for i, id := range x.added {
			if id == o.op.ID {
				break
			}
			if id == 0 {
				x.added[i] = o.op.ID
				x.adds++
				break
			}
		}
	}
	if r.bears && (x.born.IsZero() || write.Before(x.born)) {
		x.born = write
	}
	if o.op.Auth != nil {
		x.takeAuth(o, write)
	}
}

func (x *wanted) takeAuth(o *op, write crdt.Dot) {
	if x.user != "" && o.op.User != "" && x.user != o.op.User {
		x.dead = true // two users in one session
	}
	x.user = max(x.user, o.op.User)
	auth := *o.op.Auth
	auth.Dot = write
	// The stamp is the client's and the actor who takes it, so two writes can have
	// one dot; then the greater bytes win, as everywhere.
	if cmp.Or(cmp.Compare(auth.Gen, x.auth.Gen), order(write, x.auth.Dot), bytes.Compare(auth.Cur[:], x.auth.Cur[:])) > 0 {
		x.auth = auth
	}
}

// order compares dots, by stamp and then by actor.
func order(a, b crdt.Dot) int {
	return cmp.Or(cmp.Compare(a.Stamp, b.Stamp), cmp.Compare(a.Actor, b.Actor))
}

// compare reports what end lacks of want, or has too much.
func (s *space) compare(i int, end *crdt.Record, want *wanted) {
	name := recordName(i)
	if end.Dead {
		if !want.dead {
			s.fail("I5: %s is dead and nobody ended it", name)
		}
		return
	}
	switch {
	case want.dead:
		s.fail("I2: %s was ended and is not dead", name)
	case end.Born.Dot != want.born:
		s.fail("I5: %s has the birth %v, want the least, %v", name, end.Born.Dot, want.born)
	case end.Touch < want.touch:
		s.fail("I5: %s was last used at %v, want %v", name, end.Touch.Std(), want.touch.Std())
	case end.User != want.user:
		s.fail("I5: %s is of user %q, want %q", name, end.User, want.user)
	case end.Auth.Dot != want.auth.Dot || end.Auth.Gen != want.auth.Gen || end.Auth.Cur != want.auth.Cur:
		s.fail("I5: %s is proved by generation %d of %v, want %d of %v",
			name, end.Auth.Gen, end.Auth.Dot, want.auth.Gen, want.auth.Dot)
	}
	s.compareFields(name, end, want)
}

func (s *space) compareFields(name string, end *crdt.Record, want *wanted) {
	put, _ := end.Field(putField)
	adopted, _ := end.Field(sideField)
	switch {
	case put.Dot != want.put || len(put.Value) > 0 && put.Value[0] != want.value:
		s.fail("I5: %s has the value of %v, want %v", name, put.Dot, want.put)
	case adopted.Dot != want.side:
		s.fail("I5: %s has adopted %v, want %v", name, adopted.Dot, want.side)
	case end.Count("n") != want.adds:
		s.fail("I5: %s counts %d, want %d additions, each once", name, end.Count("n"), want.adds)
	}
	for _, d := range want.revoked {
		if !heard(end.Epochs(), d) {
			s.fail("I4: %s lacks the revocation %v", name, d)
		}
	}
}
