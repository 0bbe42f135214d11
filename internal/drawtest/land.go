package drawtest

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// Begin is when a Land begins.
const Begin crdt.Time = 90_000_000_000

// A Land is a Region, whose core an engine is compared with, and two others.
type Land struct {
	Rng   *rand.Rand
	Now   crdt.Time
	Core  *memory.Core
	Actor crdt.Actor // of Core
	Peers []*Peer
	Keys  []crdt.Key // two of users, then eight of sessions
}

// A Peer is another Region, whose log is to be taken in.
type Peer struct {
	Region crdt.Region
	Core   *memory.Core
}

// New returns a Land with keys, in which nothing was written.
func New(seed uint64) *Land {
	l := &Land{Rng: rand.New(rand.NewPCG(seed, 1)), Now: Begin} //nolint:gosec // a test's
	l.Empty()
	return l
}

// Empty makes all cores anew, and their actors and the keys.
func (l *Land) Empty() {
	l.Actor = l.NewActor(1)
	l.Core = NewCore(l.Actor)
	l.Peers = nil
	for r := crdt.Region(2); r <= 3; r++ {
		l.Peers = append(l.Peers, &Peer{r, NewCore(l.NewActor(r))})
	}
	l.renewKeys()
}

// NewCore returns a core that is never full.
func NewCore(a crdt.Actor) *memory.Core {
	return memory.NewCore(a, memory.Config{MaxBytes: 1 << 40, LogBytes: 1 << 40})
}

// NewActor draws an actor of a Region.
func (l *Land) NewActor(r crdt.Region) crdt.Actor { return crdt.NewActor(r, l.Rng.Uint32()) }

func (l *Land) renewKeys() {
	l.Keys = []crdt.Key{crdt.UserKey("ann"), crdt.UserKey("bob")}
	for len(l.Keys) < 10 {
		l.Keys = append(l.Keys, l.NewKey())
	}
}

// NewKey draws a session, of one of three partitions, so that batches hold several records.
func (l *Land) NewKey() crdt.Key {
	var e crdt.IDEntropy
	for i := range e {
		e[i] = byte(l.Rng.Uint32())
	}
	binary.BigEndian.PutUint16(e[:], uint16(l.Rng.IntN(3))) //nolint:gosec // below 3
	life := time.Duration(1+l.Rng.IntN(200)) * time.Hour
	if l.Rng.IntN(20) == 0 {
		life = crdt.MaxLifetime + time.Duration(l.Rng.IntN(2)-1)*time.Hour
	}
	return crdt.SessionKey(crdt.NewSessionID(l.Now.Add(life), 1, e))
}

// Key draws one of the keys.
func (l *Land) Key() crdt.Key { return l.Keys[l.Rng.IntN(len(l.Keys))] }

// Tick moves the clock: mostly a little, at times so that things end. At times there are
// other keys then.
func (l *Land) Tick() {
	switch n := l.Rng.IntN(1000); {
	case n < 600:
		l.Now += crdt.Time(l.Rng.IntN(3))
	case n < 990:
		l.Now = l.Now.Add(time.Duration(l.Rng.IntN(60_000)) * time.Millisecond)
	case n < 996:
		l.Now = l.Now.Add(time.Duration(l.Rng.IntN(48)) * time.Hour)
	case l.Rng.IntN(10) == 0 && l.Now < 1<<40: // stamps end in 2093
		l.Now = l.Now.Add(crdt.MaxLifetime + time.Minute)
		l.renewKeys()
	default:
		l.renewKeys()
	}
}

// Peer draws one of the peers, which writes something and may be another server then.
func (l *Land) Peer() *Peer {
	p := l.Peers[l.Rng.IntN(len(l.Peers))]
	for range l.Rng.IntN(6) {
		k := l.Key()
		_, _ = p.Core.Apply(l.Now, k, l.Op(k, p.Core)) // refused or not
	}
	if l.Rng.IntN(60) == 0 {
		p.Core.Promote(l.NewActor(p.Region))
	}
	return p
}

// Piece draws a part of a peer's log that may be what comes next, or not.
func (l *Land) Piece(p *Peer) engine.Batch {
	part := l.Key().Partition()
	at := l.Core.Position(p.Region, part)
	switch l.Rng.IntN(20) {
	case 0, 1, 2, 3:
		at.N -= min(at.N, uint64(l.Rng.IntN(5))) //nolint:gosec // below 5
	case 4, 5:
		at.N += uint64(l.Rng.IntN(3)) //nolint:gosec // below 3
	case 6:
		at = engine.Position{}
	}
	b, _ := p.Core.Log(part, at, 1+l.Rng.IntN(6), 1<<30)
	b.Rebase = l.Rng.IntN(12) == 0
	if n := len(b.Frags); n > 1 && l.Rng.IntN(5) == 0 {
		b.First, b.Frags = b.First+1, b.Frags[1:]
	}
	if len(b.Frags) > 0 && l.Rng.IntN(10) == 0 {
		b.Frags[l.Rng.IntN(len(b.Frags))] = crdt.Fragment{}
	}
	return b
}

// KindOf returns which error of packages crdt and engine err is; err if it is none of them.
func KindOf(err error) error {
	for _, kind := range []error{
		crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExpired, crdt.ErrExists, crdt.ErrOtherUser, crdt.ErrAhead, crdt.ErrLimit, crdt.ErrOp, engine.ErrFull,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return err
}
