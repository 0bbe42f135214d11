package crdt

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Hash is what is stored of a session's secret. Comparing it with a proof is
// Judge's work, in constant time.
type Hash [16]byte

// A Record is what is known of a session or a user at one place. Its zero value
// but for the Key is bottom: nothing is known. Records only ever grow, by Join.
type Record struct {
	Key Key
	// Dead absorbs everything: a session that was destroyed somewhere is
	// destroyed. A dead record keeps only its Key.
	Dead bool
	// Born is written by the birth of a session. A copy without it has heard
	// later writes first and is not shown to anyone.
	Born Born
	// Abs is the absolute deadline, a min-register; zero where not heard.
	Abs Time
	// Touch is the last use, a max-register.
	Touch Time
	// User is whose session this is; empty while nobody has logged in. Two
	// different users in one record make it dead.
	User string
	// Auth is how the session is proved.
	Auth Auth
	// VV is what this copy contains: every effect of each actor on this record
	// up to its stamp.
	VV Vector
	// Fields are last-writer-wins registers, sorted by name, no name twice.
	Fields []Field
}

// Born is the birth of a session. Of two births the one with the least Dot is
// kept, wherever it arrives first.
type Born struct {
	Dot     Dot
	Created Time
	Idle    time.Duration // 0: no idle timeout
}

// Auth is one register: user's proof, secret and what was known of revocations
// when authentication began. The higher Gen wins, then the later Dot. A login
// or an elevation raises Gen and a routine rotation does not, so the rotation of
// a planted cookie can't win over a login in another Region.
type Auth struct {
	Gen   uint32
	Dot   Dot
	Cur   Hash // of the secret in force
	Prev  Hash // of the one before, accepted until Grace
	Grace Time
	At    Time // when the user authenticated
	// Epochs is the user's revocation vector, read when authentication began.
	// Of two registers with one Gen the lesser of each entry holds, so that
	// neither login can hide what the other did not see.
	Epochs Vector
}

// A Field is one last-writer-wins register, decided by (Stamp, Actor, Gone,
// Value). Its Dot is the caller's, the same for all tries of one write.
type Field struct {
	Name  string
	Dot   Dot
	Gone  bool // deleted; kept as a tombstone as long as the record
	Value []byte
}

// IsBottom reports whether nothing at all is known of r.
func (r Record) IsBottom() bool {
	return !r.Dead && r.Born.Dot.IsZero() && r.Auth.Dot.IsZero() && r.User == "" &&
		r.Abs == 0 && r.Touch == 0 && len(r.VV) == 0 && len(r.Fields) == 0
}

// hasSession reports whether r holds what only a session's record may.
func (r Record) hasSession() bool {
	return r.Dead || !r.Born.Dot.IsZero() || !r.Auth.Dot.IsZero() || r.User != "" || r.Abs != 0 || r.Touch != 0
}

// Field returns the field called name and whether there is one; one that is
// Gone is not.
func (r Record) Field(name string) (Field, bool) {
	f, ok := r.lookup(name)
	return f, ok && !f.Gone
}

func (r Record) lookup(name string) (Field, bool) {
	i, ok := slices.BinarySearchFunc(r.Fields, name, func(f Field, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return Field{}, false
	}
	return r.Fields[i], true
}

// Under yields the live fields whose name begins with prefix, in order.
func (r Record) Under(prefix string) func(yield func(Field) bool) {
	start, _ := slices.BinarySearchFunc(r.Fields, prefix, func(f Field, n string) int { return strings.Compare(f.Name, n) })
	return func(yield func(Field) bool) {
		for _, f := range r.Fields[start:] {
			if !strings.HasPrefix(f.Name, prefix) {
				return
			}
			if !f.Gone && !yield(f) {
				return
			}
		}
	}
}

// Join returns the least record that contains both a and b, which have one Key.
// It is commutative, associative and idempotent, and never looks at a clock:
// replicas whose clocks differ must agree.
func Join(a, b Record) Record {
	if a.Dead || b.Dead || (a.User != "" && b.User != "" && a.User != b.User) {
		return Record{Key: a.Key, Dead: true}
	}
	return Record{
		Key:    a.Key,
		Born:   joinBorn(a.Born, b.Born),
		Abs:    leastSet(a.Abs, b.Abs),
		Touch:  max(a.Touch, b.Touch),
		User:   max(a.User, b.User), // one is empty, or both are the same
		Auth:   joinAuth(a.Auth, b.Auth),
		VV:     a.VV.Join(b.VV),
		Fields: joinFields(a.Fields, b.Fields),
	}
}

func joinBorn(a, b Born) Born {
	switch {
	case a.Dot.IsZero():
		return b
	case b.Dot.IsZero():
		return a
	case compareBorn(a, b) <= 0:
		return a
	}
	return b
}

// compareBorn goes on past the dot so that Join has one answer even for
// values that no two births can have.
func compareBorn(a, b Born) int {
	return cmp.Or(compareDots(a.Dot, b.Dot), cmp.Compare(a.Created, b.Created), cmp.Compare(a.Idle, b.Idle))
}

func joinAuth(a, b Auth) Auth {
	switch {
	case a.Dot.IsZero():
		return b
	case b.Dot.IsZero():
		return a
	}
	win := a
	if compareAuth(a, b) < 0 {
		win = b
	}
	if a.Gen == b.Gen {
		win.Epochs = a.Epochs.Meet(b.Epochs)
	}
	return win
}

func compareAuth(a, b Auth) int {
	return cmp.Or(
		cmp.Compare(a.Gen, b.Gen),
		compareDots(a.Dot, b.Dot),
		bytes.Compare(a.Cur[:], b.Cur[:]),
		bytes.Compare(a.Prev[:], b.Prev[:]),
		cmp.Compare(a.Grace, b.Grace),
		cmp.Compare(a.At, b.At),
	)
}

func joinFields(a, b []Field) []Field {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]Field, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := strings.Compare(a[0].Name, b[0].Name); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, later(a[0], b[0])), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// later returns the field that wins. Actor decides between concurrent writes of
// one stamp; the bytes only after a clock went wrong.
func later(a, b Field) Field {
	if cmp.Or(compareDots(a.Dot, b.Dot), compareBools(a.Gone, b.Gone), bytes.Compare(a.Value, b.Value)) >= 0 {
		return a
	}
	return b
}

func compareDots(a, b Dot) int {
	return cmp.Or(cmp.Compare(a.Stamp, b.Stamp), cmp.Compare(a.Actor, b.Actor))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// leastSet returns the lesser of a and b, where zero means "not set".
func leastSet(a, b Time) Time {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Latest returns the highest stamp in r. A write made by somebody who has seen
// r is stamped above it.
func (r Record) Latest() Stamp {
	latest := max(r.VV.Max(), r.Born.Dot.Stamp, r.Auth.Dot.Stamp)
	for _, f := range r.Fields {
		latest = max(latest, f.Dot.Stamp)
	}
	return latest
}
