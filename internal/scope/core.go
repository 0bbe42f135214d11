package scope

import (
	"encoding/binary"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

const (
	regions  = 2
	sessions = 2
	// records are what a core may hold: the sessions, and what is known of ann.
	records = sessions + 1
	annAt   = sessions
)

// wholeLog is more entries than any log here has.
const wholeLog = 64

// A coreID names an interned state of a core.
type coreID int32

// noCore names none.
const noCore coreID = -1

// A logID names an interned log.
type logID int32

// A state is what a core may be like. It is never changed: calls go to clones.
type state struct {
	core *memory.Core
	sum  sum
	recs [records]crdt.Record
	ids  [records]recordID
	log  logID
}

// A recordID names an interned record.
type recordID int32

// A space is all states of cores that were met, and what calls make of them. It is
// for one goroutine.
type space struct {
	keys   [records]crdt.Key
	states []state
	bySum  map[sum]coreID

	logs     [][]engine.Batch // runs of entries that may arrive, by logID
	logBySum map[sum]logID
	recBySum map[sum]recordID
	recs     []crdt.Record

	ops    []op
	opByID map[opKey]opID
	res    []result
	resID  map[result]resID

	applied   map[applyKey]applied
	delivered map[deliverKey]delivery
	joined    map[joinKey]coreID
	promoted  map[coreID]coreID
	forgotten map[coreID]coreID
	calm      map[calmKey]calm
	buf       []byte

	// wrong is what a call broke; empty if nothing.
	wrong string
}

func newSpace() *space {
	s := &space{
		keys: keys(), bySum: map[sum]coreID{}, logBySum: map[sum]logID{}, recBySum: map[sum]recordID{},
		opByID: map[opKey]opID{}, resID: map[result]resID{}, applied: map[applyKey]applied{},
		delivered: map[deliverKey]delivery{}, joined: map[joinKey]coreID{},
		promoted: map[coreID]coreID{}, forgotten: map[coreID]coreID{}, calm: map[calmKey]calm{},
	}
	return s
}

// keys returns the keys of all records, in one partition, so that one log has all.
func keys() [records]crdt.Key {
	var out [records]crdt.Key
	out[annAt] = crdt.UserKey("ann")
	for i := range sessions {
		var e crdt.IDEntropy
		binary.BigEndian.PutUint16(e[:], out[annAt].Partition())
		e[len(e)-1] = byte(i + 1)
		out[i] = crdt.SessionKey(crdt.NewSessionID(epoch.Add(lifetime), 1, e))
	}
	return out
}

func (s *space) partition() uint16 { return s.keys[annAt].Partition() }

// fresh returns the state of an empty core of the Region with index r.
func (s *space) fresh(r int) coreID {
	return s.intern(memory.NewCore(crdt.NewActor(regionOf(r), first), memory.Config{}))
}

// Incarnations of a primary, and of the copy that takes over from it.
const (
	first  = 1
	second = 2
)

func regionOf(r int) crdt.Region { return crdt.Region(r + 1) } //nolint:gosec // 0 or 1

func indexOf(r crdt.Region) int { return int(r) - 1 }

// region returns the index of the Region of the core id.
func (s *space) region(id coreID) int { return indexOf(s.states[id].core.Actor().Region()) }

// intern returns the ID of what c is like. It keeps c if that is new.
func (s *space) intern(c *memory.Core) coreID {
	st := state{core: c}
	logs, logSum := s.logOf(c)
	b := binary.BigEndian.AppendUint32(s.buf[:0], uint32(c.Actor()))
	for r := range regions {
		at := c.Position(regionOf(r), s.partition())
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, uint32(at.Actor)), at.N)
	}
	st.sum = sumOf(b).addSum(logSum)
	for i, k := range s.keys {
		st.recs[i] = c.Read(epoch, k)
		b = crdt.AppendRecord(b[:0], st.recs[i])
		sm := sumOf(b)
		st.ids[i] = s.internRecord(st.recs[i], sm)
		st.sum = st.sum.addSum(sm)
	}
	s.buf = b
	if id, ok := s.bySum[st.sum]; ok {
		return id
	}
	var ok bool
	if st.log, ok = s.logBySum[logSum]; !ok {
		st.log = logID(len(s.logs)) //nolint:gosec // far fewer
		s.logBySum[logSum] = st.log
		s.logs = append(s.logs, runs(logs))
	}
	id := coreID(len(s.states)) //nolint:gosec // far fewer
	s.bySum[st.sum] = id
	s.states = append(s.states, st)
	s.checkCore(&s.states[id])
	return id
}

func (s *space) internRecord(r crdt.Record, sm sum) recordID {
	id, ok := s.recBySum[sm]
	if !ok {
		id = recordID(len(s.recs)) //nolint:gosec // far fewer
		s.recBySum[sm] = id
		s.recs = append(s.recs, r)
	}
	return id
}

// logOf returns the log of c, a batch for each actor, and its sum.
func (s *space) logOf(c *memory.Core) ([]engine.Batch, sum) {
	var out []engine.Batch
	var total sum
	var from engine.Position
	for more := true; more; {
		var b engine.Batch
		if b, more = c.Log(s.partition(), from, wholeLog, 1<<30); len(b.Frags) == 0 {
			break
		}
		out, from = append(out, b), b.Last()
		total = total.add(uint64(b.Actor)).add(b.Fork).add(b.First)
		for _, f := range b.Frags {
			s.buf = crdt.AppendFragment(s.buf[:0], f)
			total = total.addSum(sumOf(s.buf))
		}
	}
	return out, total
}

// runs returns every run of entries that a log of these batches may have sent.
func runs(log []engine.Batch) []engine.Batch {
	var out []engine.Batch
	for _, b := range log {
		for from := range b.Frags {
			for to := from + 1; to <= len(b.Frags); to++ {
				run := b
				run.First, run.Frags = b.First+uint64(from), b.Frags[from:to] //nolint:gosec // an index
				out = append(out, run)
			}
		}
	}
	return out
}
