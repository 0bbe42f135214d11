package quorum

import "fmt"

// quiet is raft's logger: what matters of its tale is in Output. It says things by
// the dozen at every election.
type quiet struct{}

// Debug says nothing.
func (quiet) Debug(...any) {}

// Debugf says nothing.
func (quiet) Debugf(string, ...any) {}

// Info says nothing.
func (quiet) Info(...any) {}

// Infof says nothing.
func (quiet) Infof(string, ...any) {}

// Warning says nothing.
func (quiet) Warning(...any) {}

// Warningf says nothing.
func (quiet) Warningf(string, ...any) {}

// Error says nothing.
func (quiet) Error(...any) {}

// Errorf says nothing.
func (quiet) Errorf(string, ...any) {}

// Fatal panics as Panic does: it is the member that can't go on, and not the process.
func (q quiet) Fatal(v ...any) { q.Panic(v...) }

// Fatalf panics as Panicf does.
func (q quiet) Fatalf(format string, v ...any) { q.Panicf(format, v...) }

// Panic panics. Member catches it and stops.
func (quiet) Panic(v ...any) {
	// Broken invariant: raft has found one of its own broken, such as that a leader
	// knows of a commit here which is not in the log.
	panic("raft: " + fmt.Sprint(v...))
}

// Panicf panics. Member catches it and stops.
func (quiet) Panicf(format string, v ...any) {
	// Broken invariant: as in Panic.
	panic("raft: " + fmt.Sprintf(format, v...))
}
