package sim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/replica"
)

// An oracle sees everything, in true time, and knows what must not happen. It
// judges by what requests were told and by what was written, not by vectors and
// tokens, which are what is being judged.
type oracle struct {
	w          *world
	sessions   map[crdt.SessionID]*session
	all        []*session
	users      map[string]*user
	auths      map[crdt.Hash]*authWrite
	settled    bool
	violations []Violation
	stats      Stats
}

// A Violation is an invariant of docs/invariants.md that did not hold.
type Violation struct {
	Invariant string
	At        time.Duration
	What      string
	// Sessions shows the session in each Region.
	Where []string
}

// String tells the violation in a line.
func (v Violation) String() string {
	return fmt.Sprintf("%s at %.3fs: %s", v.Invariant, v.At.Seconds(), v.What)
}

// Stats are what a run went through, so that a run that went nowhere is seen.
type Stats struct {
	Requests, Errors, Live, Writes, Logins, Endings int
	FreshReads                                      int // judged against what their browser knew
	Flagged                                         int // stale, local-only, sealed or with something lost
	Failovers, Lost                                 int
	Sealed, Bare, Resyncs, Pulls, Holes, Repaired   int
}

// Plus returns the sum of both.
func (s Stats) Plus(t Stats) Stats {
	return Stats{
		Requests: s.Requests + t.Requests, Errors: s.Errors + t.Errors, Live: s.Live + t.Live, Writes: s.Writes + t.Writes,
		Logins: s.Logins + t.Logins, Endings: s.Endings + t.Endings, FreshReads: s.FreshReads + t.FreshReads,
		Flagged: s.Flagged + t.Flagged, Failovers: s.Failovers + t.Failovers, Lost: s.Lost + t.Lost,
		Sealed: s.Sealed + t.Sealed, Bare: s.Bare + t.Bare, Resyncs: s.Resyncs + t.Resyncs, Pulls: s.Pulls + t.Pulls, Holes: s.Holes + t.Holes, Repaired: s.Repaired + t.Repaired,
	}
}

// count adds what the ends of a link did.
func (s *Stats) count(c replica.Counts, h replica.Heard) {
	s.Resyncs += int(c.Resyncs)   //nolint:gosec // a handful
	s.Pulls += int(c.Pulls)       //nolint:gosec // a handful
	s.Holes += int(h.Holes)       //nolint:gosec // a handful
	s.Repaired += int(c.Repaired) //nolint:gosec // a handful
}

// A session is one session's life as nobody in the world can see it.
type session struct {
	id      crdt.SessionID
	number  int
	born    bool // its birth was acknowledged
	writes  []*write
	auths   []*authWrite
	endings []*ending
	lastUse instant              // of any request about it
	used    map[*browser]instant // acknowledged, or needed no note
	lossy   bool                 // something of it was lost in a failover
}

// A write is one change of one field.
type write struct {
	session *session
	serial  int
	name    string // of the field
	value   string // "": the field was deleted
	add     bool
	stamp   crdt.Stamp // of its tries
	sealing crdt.Stamp // of its sealing, if no try succeeded
	id      uint64     // of an addition
	chain   crdt.Dot   // once acknowledged
	acked   bool
	lost    bool
	sealed  bool     // into a cookie
	in      bool     // and taken in from there
	sure    *browser // whose cookie has it for sure
	before  []seen   // what its maker knew and read of the field
}

// dot returns the dot of the field that w wrote.
func (w *write) dot() crdt.Dot {
	if w.add || w.sealed {
		return w.chain
	}
	return crdt.Dot{Actor: w.chain.Actor, Stamp: w.stamp}
}

// seen returns w as its maker has seen it.
func (w *write) seen() seen {
	name := w.name
	if a := w.chain.Actor; w.add {
		name += string([]byte{byte(a >> 16), byte(a >> 8), byte(a)})
	}
	return seen{name: name, dot: w.dot(), chain: w.chain, id: w.id}
}

// seen is a write as somebody has seen it.
type seen struct {
	name  string
	dot   crdt.Dot
	chain crdt.Dot
	id    uint64 // of an addition
}

// An authWrite is one write of what proves a session: its birth, a login, a
// rotation.
type authWrite struct {
	session *session
	hash    crdt.Hash
	user    string
	login   *login // that is in force
	browser *browser
	made    instant
	acked   bool
	sealed  bool       // into a cookie
	parent  *authWrite // of the credential that it was made with; nil: none
}

// replaces reports whether a was made by somebody who had b, or what came of b.
func (a *authWrite) replaces(b *authWrite) bool {
	for p := a.parent; p != nil; p = p.parent {
		if p == b {
			return true
		}
	}
	return false
}

// A login is one authentication.
type login struct {
	user    string
	sent    instant
	began   instant // when its reading of revocations was over
	browser *browser
}

type user struct {
	name    string
	revokes []*ending
}

// An ending is a logout, or a revocation of all sessions of a user.
type ending struct {
	session *session // nil for a revocation
	invoked instant
	acked   instant             // 0: not
	lives   map[crdt.Region]int // of Regions when it was asked for
	have    map[crdt.Region]int // the lives of those that had it when it was acknowledged
	browser *browser            // who asked for it
	heard   instant             // by nothing else under way, so that all it sends later knows of it; 0: not
	by      *site               // whose engine took it and holds it; nil: none
	byLife  int                 // of by's servers then
}

func newOracle(w *world) *oracle {
	return &oracle{
		w: w, sessions: map[crdt.SessionID]*session{}, users: map[string]*user{}, auths: map[crdt.Hash]*authWrite{},
	}
}

// mostViolations bounds what one run reports.
const mostViolations = 20

// broken takes down that an invariant did not hold.
func (o *oracle) broken(invariant, format string, args ...any) {
	o.brokenFor(nil, invariant, format, args...)
}

func (o *oracle) brokenFor(s *session, invariant, format string, args ...any) {
	if len(o.violations) >= mostViolations {
		return
	}
	v := Violation{Invariant: invariant, At: time.Duration(o.w.queue.now) * time.Microsecond, What: fmt.Sprintf(format, args...)}
	if s != nil {
		v.What = fmt.Sprintf("session %d: ", s.number) + v.What
		v.Where = o.whereabouts(s)
	}
	o.violations = append(o.violations, v)
	o.w.trace.note("broken", mixString(fnvOffset, invariant))
}

// whereabouts tells what each Region has of a session.
func (o *oracle) whereabouts(s *session) (out []string) {
	for _, site := range o.w.regions() {
		for i, server := range site.servers() {
			name := [...]string{"engine", "side store"}[i]
			r := server.core.Read(server.now(), crdt.SessionKey(s.id))
			line := fmt.Sprintf("Region %d %s: ", site.region, name)
			switch {
			case r.IsBottom():
				line += "nothing"
			case r.Dead:
				line += "dead"
			default:
				line += fmt.Sprintf("born %v user %q gen %d auth %v heard %v", r.Born.Dot, r.User, r.Auth.Gen, r.Auth.Dot, r.VV)
				line += fieldsOf(r)
			}
			out = append(out, line)
		}
	}
	return out
}

// fieldsOf tells the fields of a record.
func fieldsOf(r crdt.Record) string {
	var b strings.Builder
	for _, f := range r.Fields {
		fmt.Fprintf(&b, " %q=%q@%v", f.Name, f.Value, f.Dot)
	}
	return b.String()
}

func (o *oracle) session(id crdt.SessionID) *session {
	s := o.sessions[id]
	if s == nil {
		s = &session{id: id, number: len(o.all) + 1, used: map[*browser]instant{}}
		o.sessions[id] = s
		o.all = append(o.all, s)
	}
	return s
}

// numberOf returns the number of a session; zero for what is none.
func (o *oracle) numberOf(k crdt.Key) int {
	if s := o.sessions[k.SessionID()]; s != nil {
		return s.number
	}
	return 0
}

func (o *oracle) user(name string) *user {
	u := o.users[name]
	if u == nil {
		u = &user{name: name}
		o.users[name] = u
	}
	return u
}

// tries notes an operation that is about to be tried.
func (o *oracle) tries(r *request, w proof.Written, op crdt.Op) {
	s := o.session(w.Credential.ID)
	r.did.session = s
	if w.Op.Birth != nil {
		r.knows = nil // of another session
	}
	if w.Op.Auth != nil {
		a := &authWrite{session: s, hash: w.Op.Auth.Cur, browser: r.browser, made: o.w.queue.now}
		if w.Op.Birth == nil {
			a.parent = o.auths[r.visit.Credential.Hash()]
		}
		a.user, a.login = r.standing.Record.User, o.loginOf(r.standing.Record.Auth.Cur)
		if l := r.did.login; l != nil {
			a.user, a.login = l.user, l
			o.stats.Logins++
		} else if old := o.auths[r.visit.Credential.Hash()]; old != nil && old.session == s {
			// A rotation is of the login that it rotates, even where that has not
			// been heard of.
			a.login, a.user = cmp.Or(a.login, old.login), cmp.Or(a.user, old.user)
		}
		r.did.auth = a
		o.auths[a.hash] = a
		s.auths = append(s.auths, a)
	}
	if len(w.Op.Changes) == 0 {
		return
	}
	wr := &write{session: s, serial: r.action.Serial, stamp: op.Stamp, id: op.ID, add: r.action.Do == Add, name: r.fieldName()}
	if r.action.Do == Put {
		wr.value = string(valueOf(r.action.Serial))
	}
	for _, k := range r.knows {
		if k.name == wr.name {
			wr.before = append(wr.before, k)
		}
	}
	for _, f := range r.standing.Record.Fields {
		if f.Name == wr.name {
			wr.before = append(wr.before, seen{name: f.Name, dot: f.Dot})
		}
	}
	r.did.write = wr
	s.writes = append(s.writes, wr)
}

func (o *oracle) loginOf(h crdt.Hash) *login {
	if a := o.auths[h]; a != nil {
		return a.login
	}
	return nil
}

// wrote notes that an operation was acknowledged.
func (o *oracle) wrote(r *request, w proof.Written, d crdt.Dot) {
	s := r.did.session
	s.born = s.born || w.Op.Birth != nil
	s.used[r.browser] = o.w.queue.now
	if a := r.did.auth; a != nil {
		a.acked = true
	}
	if wr := r.did.write; wr != nil {
		o.stats.Writes++
		wr.acked, wr.chain = true, d
		r.knows = know(r.knows, wr.seen())
		for _, b := range wr.before {
			if !wr.add && wr.dot().Before(b.dot) {
				o.brokenFor(s, "I3", "write %d of %q is stamped %v, below %v which its maker had seen",
					wr.serial, wr.name, wr.dot(), b.dot)
			}
		}
	}
}

// sealed notes that an operation was made in a cookie.
func (o *oracle) sealed(r *request, w proof.Written, sealing proof.Sealing) {
	o.stats.Sealed++
	if a := r.did.auth; a != nil {
		a.acked, a.sealed = true, true
	}
	wr := r.did.write
	s, err := o.w.keys.OpenSealed(sealing.Value)
	if err != nil {
		o.broken("R11", "a sealed cookie that can't be opened: %v", err)
		return
	}
	if s.Bare {
		o.stats.Bare++
	}
	if w.Op.Birth != nil {
		r.knows = nil
	}
	if wr == nil {
		return
	}
	if wr.add {
		wr.sealedCell(s.Record)
		return
	}
	for _, f := range s.Record.Fields {
		if f.Name == wr.name {
			wr.acked, wr.sealed, wr.sealing, wr.chain = true, true, f.Dot.Stamp, f.Dot
			r.knows = know(r.knows, seen{name: f.Name, dot: f.Dot})
		}
	}
}

// sealedCell notes that an addition was sealed: into the cell that is newest.
func (w *write) sealedCell(r crdt.Record) {
	for _, f := range r.Fields {
		if strings.HasPrefix(f.Name, w.name) && w.chain.Before(f.Dot) {
			w.acked, w.sealed, w.chain = true, true, f.Dot
		}
	}
}

// tookIn notes that what the request brought sealed was taken in with d: from now on
// it may be lost with that.
func (o *oracle) tookIn(r *request, s *session, d crdt.Dot) {
	r.knows = slices.Clone(r.knows) // the browser's
	for _, sealed := range r.visit.Sealed {
		for _, f := range sealed.Record.Fields {
			for _, w := range s.writes {
				w.in = w.in || w.sealed && w.seen().name == f.Name && w.dot() == f.Dot
			}
			for i, k := range r.knows {
				if k.name == f.Name && k.dot == f.Dot {
					r.knows[i].chain = d
				}
			}
		}
	}
}

// forget notes that a browser has lost its cookies.
func (o *oracle) forget(b *browser) {
	for _, e := range o.user(b.user).revokes {
		if e.browser == b {
			e.heard = 0
		}
	}
	for _, s := range o.all {
		for _, w := range s.writes {
			if w.sure == b {
				w.sure = nil
			}
		}
	}
}

// know returns known with s, in place of what it replaces.
func know(known []seen, s seen) []seen {
	out := make([]seen, 0, len(known)+1)
	for _, k := range known {
		if k.name == s.name && !s.dot.Before(k.dot) {
			continue
		}
		out = append(out, k)
	}
	return append(out, s)
}

// shows reports whether a record has a write, or a later one of the field. An
// addition may be in the cell of another actor, which took it before.
func shows(r crdt.Record, s seen) bool {
	if r.Dead {
		return true
	}
	for _, f := range r.Fields {
		if f.Name == s.name && !f.Dot.Before(s.dot) {
			return true
		}
		if s.id != 0 && bytes.Contains(f.Value, binary.BigEndian.AppendUint64(nil, s.id)) {
			return true
		}
	}
	return false
}

// failed looks for what a failover lost for good: acknowledged writes that no
// engine has any more.
func (o *oracle) failed(*site) {
	o.stats.Failovers++
	for _, s := range o.all {
		var copies []crdt.Record
		for _, wr := range s.writes {
			if !wr.acked || wr.lost || wr.sealed && !wr.in {
				continue
			}
			if copies == nil {
				copies = o.copies(s)
			}
			found := false
			for _, r := range copies {
				found = found || shows(r, wr.seen())
			}
			if !found {
				wr.lost, wr.sure, s.lossy = true, nil, true
				o.stats.Lost++
			}
		}
		s.lossy = s.lossy || len(s.auths) > 0 // a touch or a login may be lost without a trace
	}
}

// copies returns what all engines have of a session, copies that would take over
// included.
func (o *oracle) copies(s *session) (out []crdt.Record) {
	out = []crdt.Record{}
	k := crdt.SessionKey(s.id)
	for _, site := range o.w.regions() {
		for _, server := range site.servers() {
			out = append(out, server.core.Read(server.now(), k))
		}
	}
	return out
}
