package memory

import (
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Stats is what an Engine holds, for those who watch it.
type Stats struct {
	Actor      crdt.Actor
	Primary    bool
	Records    int   // those past their time too, until they are swept
	Bytes      int64 // of records; what Config.MaxBytes bounds
	MaxBytes   int64
	LogEntries int
	LogBytes   int64 // what Config.LogBytes bounds
	Followers  int
	Head       engine.Positions
}

// Stats returns what e holds. Partitions are counted one after the other, so
// under writes the sums are of no single moment. It works after Close.
func (e *Engine) Stats() Stats {
	s := Stats{
		Actor:     e.core.actor,
		Primary:   !e.secondary.Load(),
		MaxBytes:  e.core.maxBytes,
		Followers: len(e.followers.all()),
	}
	e.each(func(p uint16) {
		part := e.core.at(p)
		s.Records += len(part.slots)
		s.Bytes += part.bytes
		s.LogEntries += len(part.log.frags)
		s.LogBytes += part.log.bytes
		s.Head[p] = e.core.Head(p)
	})
	return s
}
