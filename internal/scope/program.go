package scope

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind says what one operation of a Program does.
type Kind uint8

const (
	// Birth makes the session, with a secret of its own.
	Birth Kind = iota
	// Put writes a value that nobody else writes.
	Put
	// Add adds 1 to a counter.
	Add
	// Touch marks the session as used.
	Touch
	// Login logs ann in, knowing the revocations that its Region knows.
	Login
	// LateLogin logs ann in; authentication began before any revocation.
	LateLogin
	// Rotate replaces the secret and nothing else.
	Rotate
	// Adopt takes in what a side store wrote.
	Adopt
	// Stranger logs bob in.
	Stranger
	// Destroy ends the session.
	Destroy
	// Revoke ends all sessions of ann.
	Revoke
	// Again repeats the operation before it as it was, as a retry does: an
	// addition at the same actor, all else wherever it likes.
	Again

	kinds = iota
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{
		"birth", "put", "add", "touch", "login", "late login", "rotate", "adopt", "stranger", "destroy", "revoke", "again",
	}[k]
}

// ofSession reports whether operations of kind k name a session.
func (k Kind) ofSession() bool { return k < Revoke }

// needsBirth reports whether k is refused where nobody has heard of a birth.
func (k Kind) needsBirth() bool { return k.ofSession() && k != Birth && k != Adopt && k != Destroy }

// A Step is one operation of a Program.
type Step struct {
	Kind    Kind
	Session uint8 // 0 or 1; 0 where Kind names none
}

// String returns the step as a failure prints it.
func (s Step) String() string {
	if s.Kind.ofSession() {
		return fmt.Sprintf("%v s%d", s.Kind, s.Session+1)
	}
	return s.Kind.String()
}

// maxSteps bounds a Program: a world has room for so many results.
const maxSteps = 4

// A Program is a few operations, in the order in which their clients send them.
// Where each is done, and what is delivered between them, is for Explore to try.
type Program []Step

// String returns the program on one line.
func (p Program) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.String()
	}
	return strings.Join(parts, "; ")
}

// Programs returns all programs of n operations over two sessions, n from 1 to 4,
// sorted, but for those that another one stands for: sessions are named in the
// order of their first use; nothing is done to a session before its birth that is
// refused without one; only what writes is done again, and once. Regions are not
// swapped, since their clocks and the order of their actors differ.
func Programs(n int) []Program {
	var out []Program
	var grow func(p Program, born [sessions]bool, named uint8)
	grow = func(p Program, born [sessions]bool, named uint8) {
		if len(p) == n {
			out = append(out, slices.Clone(p))
			return
		}
		for k := range Kind(kinds) {
			last := min(named, sessions-1)
			if !k.ofSession() {
				last = 0
			}
			for s := range last + 1 {
				if k.needsBirth() && !born[s] || k == Again && (len(p) == 0 || p[len(p)-1].Kind == Again) {
					continue
				}
				nowBorn, nowNamed := born, named
				if k.ofSession() {
					nowBorn[s] = born[s] || k == Birth
					nowNamed = max(named, s+1)
				}
				grow(append(p, Step{k, s}), nowBorn, nowNamed)
			}
		}
	}
	grow(make(Program, 0, maxSteps), [sessions]bool{}, 0)
	return out
}

// sub returns p without the operations whose bit is not in keep.
func (p Program) sub(keep uint) Program {
	var out Program
	for i, s := range p {
		if keep>>i&1 == 1 {
			out = append(out, s)
		}
	}
	return out
}
