package quorum

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	simElection  = 10
	simHeartbeat = 2
	simSnapshot  = 8
	simTick      = 10 // steps
)

// A plan is what a simulation goes through.
type plan struct {
	voters    []uint64
	witnesses []uint64
	joiner    uint64 // starts with nothing, and is added some time; zero: nobody
	leaver    uint64 // is removed some time
	steps     int    // with faults
}

// A world is some members, their disks, the network between them and an oracle that
// sees everything. All that happens is drawn from one seed.
type world struct {
	seed    uint64
	plan    plan
	dice    *rand.Rand
	now     int
	ids     []uint64
	members map[uint64]*simMember
	wire    letters
	sent    int
	cut     map[[2]uint64]bool
	faulty  bool
	trace   uint64
	failed  string
	saved   func(id uint64, s Save) // told what is written; nil: nobody is

	leaders  map[uint64]uint64 // by term
	order    []uint64          // commands, as first applied
	at       map[uint64]int    // index of the log: how many commands are applied with it
	floor    int               // commands that somebody was told of
	serial   uint64
	proposed map[uint64]int // command: the floor when it was proposed
	unknown  []uint64       // commands that somebody was told were applied

	count map[string]int // what there was, so that a test shows something
}

type simMember struct {
	id       uint64
	core     *Core // nil: down
	disk     Stored
	volatile *pb.HardState
	phase    int
	list     []uint64
	done     map[uint64]bool
	writes   map[uint64]uint64 // ours by number: the command
	reads    map[uint64]int    // ours by number: the floor then
	changes  map[uint64]bool
	led      Leadership
}

type letter struct {
	at, nr   int
	from, to uint64
	bytes    []byte
}

// letters is a heap by time.
type letters []letter

func (l letters) Len() int { return len(l) }
func (l letters) Less(i, j int) bool {
	return l[i].at < l[j].at || l[i].at == l[j].at && l[i].nr < l[j].nr
}
func (l letters) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *letters) Push(x any)   { *l = append(*l, x.(letter)) }
func (l *letters) Pop() any {
	old := *l
	x := old[len(old)-1]
	*l = old[:len(old)-1]
	return x
}

func newWorld(seed uint64, p plan) *world {
	w := &world{
		seed: seed, plan: p, dice: rand.New(rand.NewPCG(seed, 1)), members: map[uint64]*simMember{}, cut: map[[2]uint64]bool{},
		leaders: map[uint64]uint64{}, count: map[string]int{}, at: map[uint64]int{}, proposed: map[uint64]int{}, faulty: true,
	}
	founded, err := Found("sim", p.voters)
	if err != nil {
		w.fail("found: %v", err)
	}
	for _, id := range p.voters {
		w.members[id] = &simMember{id: id, disk: founded, phase: w.dice.IntN(simTick)}
	}
	if p.joiner != 0 {
		w.members[p.joiner] = &simMember{id: p.joiner, phase: w.dice.IntN(simTick)}
	}
	w.ids = slices.Sorted(maps.Keys(w.members))
	for _, id := range w.ids {
		w.start(w.members[id])
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf("step %d: ", w.now) + fmt.Sprintf(format, args...)
	}
}

// note mixes what happened into the trace.
func (w *world) note(what byte, args ...uint64) {
	mix := func(v uint64) {
		w.trace = (w.trace ^ v) * 0x9E3779B97F4A7C15
		w.trace ^= w.trace >> 29
	}
	mix(uint64(what))
	mix(uint64(w.now))
	for _, v := range args {
		mix(v)
	}
}

func (w *world) start(m *simMember) {
	m.disk.Life++
	core, err := New(Rules{
		ID: m.id, Seed: w.seed, Witnesses: w.plan.witnesses, ElectionTicks: simElection, HeartbeatTicks: simHeartbeat, SnapshotEvery: simSnapshot,
	}, m.disk)
	if err != nil {
		w.fail("start %d: %v", m.id, err)
		return
	}
	m.core, m.volatile, m.led = core, nil, Leadership{}
	m.writes, m.reads, m.changes = map[uint64]uint64{}, map[uint64]int{}, map[uint64]bool{}
	w.note('s', m.id)
	w.work(m)
}

func (w *world) crash(m *simMember) {
	if m.core == nil {
		return
	}
	if m.volatile != nil && w.dice.IntN(2) == 0 {
		m.disk.State = m.volatile // the system wrote it all the same
	}
	m.core, m.volatile = nil, nil
	w.note('c', m.id)
}

// save does what a disk does. What need not be written is written with the next that must.
func (m *simMember) save(s Save) {
	if s.State != nil {
		m.volatile = s.State
	}
	if !s.Sync {
		return
	}
	if m.volatile != nil {
		m.disk.State, m.volatile = m.volatile, nil
	}
	apply(&m.disk, s)
}

func (w *world) countSave(m *simMember, s Save) {
	if n := len(m.disk.Entries); n > 0 && len(s.Entries) > 0 && s.Entries[0].GetIndex() <= m.disk.Entries[n-1].GetIndex() {
		w.count["tails overwritten"]++
	}
	if s.Reset {
		w.count["snapshots taken"]++
	}
}

// apply is what Save promises, but for State.
func apply(d *Stored, s Save) {
	if s.Reset {
		d.Entries = nil
	}
	if s.First != 0 {
		d.Entries = d.after(s.First - 1)
	}
	if s.Snapshot != nil {
		d.Snapshot = s.Snapshot
	}
	if len(s.Entries) > 0 {
		i := slices.IndexFunc(d.Entries, func(e *pb.Entry) bool { return e.GetIndex() >= s.Entries[0].GetIndex() })
		if i < 0 {
			i = len(d.Entries)
		}
		d.Entries = slices.Concat(d.Entries[:i], s.Entries)
	}
}

// work carries out all that a member wants. It may crash in the middle.
func (w *world) work(m *simMember) {
	for m.core != nil {
		out, ok := m.core.Next()
		if !ok {
			return
		}
		end := 0
		if w.faulty && w.dice.IntN(400) == 0 {
			end = 1 + w.dice.IntN(3)
		}
		if end == 1 {
			w.crash(m) // nothing of it was written
			return
		}
		w.countSave(m, out.Save)
		m.save(out.Save)
		if w.saved != nil {
			w.saved(m.id, out.Save)
		}
		if end == 2 {
			w.crash(m)
			return
		}
		for i, letter := range out.Messages {
			if end == 3 && i > len(out.Messages)/2 {
				w.crash(m)
				return
			}
			w.send(m.id, letter)
		}
		w.applied(m, out)
		if out.Fold {
			w.count["snapshots made"]++
			if err := m.core.Fold(m.snapshot()); err != nil {
				w.fail("fold: %v", err)
			}
		}
	}
}

func (m *simMember) snapshot() []byte {
	b := make([]byte, 0, 8*len(m.list))
	for _, command := range m.list {
		b = binary.BigEndian.AppendUint64(b, command)
	}
	return b
}

// applied has the state machine and the clients of a member hear of an output.
func (w *world) applied(m *simMember, out Output) {
	if out.Restore != nil {
		w.restore(m, out.Restore)
	}
	for _, c := range out.Commands {
		w.apply(m, c)
	}
	for _, seq := range out.Unknown {
		w.unknown = append(w.unknown, m.writes[seq])
		w.count["results unknown"]++
		delete(m.writes, seq)
		delete(m.changes, seq)
	}
	for _, seq := range out.Changed {
		delete(m.changes, seq)
	}
	for _, seq := range out.Reads {
		if len(m.list) < m.reads[seq] {
			w.fail("a read at %d sees %d commands, and %d were known of when it began", m.id, len(m.list), m.reads[seq])
		}
		w.floor = max(w.floor, len(m.list))
		delete(m.reads, seq)
	}
	if out.Led != nil {
		w.lead(m, *out.Led)
	}
}

func (w *world) restore(m *simMember, s *State) {
	m.list, m.done = nil, map[uint64]bool{}
	for b := s.Data; len(b) > 0; b = b[8:] {
		m.list = append(m.list, binary.BigEndian.Uint64(b))
	}
	for _, c := range m.list {
		m.done[c] = true
	}
	if len(m.list) > len(w.order) || !slices.Equal(m.list, w.order[:len(m.list)]) {
		w.fail("%d restores %v, and applied was %v", m.id, m.list, w.order)
	}
}

func (w *world) apply(m *simMember, c Command) {
	command := binary.BigEndian.Uint64(c.Data)
	if m.done[command] {
		w.fail("%d applies %d twice", m.id, command)
	}
	m.done[command] = true
	m.list = append(m.list, command)
	n := len(m.list)
	if n > len(w.order) {
		w.order = append(w.order, command)
		if n-1 < w.proposed[command] {
			w.fail("%d is applied as number %d, and was proposed when %d were known of", command, n, w.proposed[command])
		}
	}
	if w.order[n-1] != command {
		w.fail("%d applies %d as number %d, another applied %d", m.id, command, n, w.order[n-1])
	}
	if at, ok := w.at[c.Index]; ok && at != n {
		w.fail("%d has applied %d commands at index %d, another %d", m.id, n, c.Index, at)
	}
	w.at[c.Index] = n
	w.note('a', m.id, command)
	if c.Own != 0 {
		if m.writes[c.Own] != command {
			w.fail("%d is told of %d, and proposed %d", m.id, command, m.writes[c.Own])
		}
		w.floor = max(w.floor, n)
		delete(m.writes, c.Own)
	}
}

func (w *world) lead(m *simMember, l Leadership) {
	if l.Term < m.led.Term {
		w.fail("%d goes back from term %d to %d", m.id, m.led.Term, l.Term)
	}
	m.led = l
	w.note('l', m.id, l.Term, l.Leader)
	if l.Leader == 0 {
		return
	}
	if other, ok := w.leaders[l.Term]; ok && other != l.Leader {
		w.fail("%d and %d lead in term %d", other, l.Leader, l.Term)
	}
	if l.Leader == m.id {
		w.count["elections"]++
		if slices.Contains(w.plan.witnesses, m.id) {
			w.count["elections of a witness"]++
		}
	}
	w.leaders[l.Term] = l.Leader
}

func (w *world) send(from uint64, m *pb.Message) {
	b, err := proto.Marshal(m)
	if err != nil {
		w.fail("marshal: %v", err)
	}
	copies := 1
	if w.faulty {
		switch n := w.dice.IntN(100); {
		case n < 3:
			copies = 0
			w.count["messages lost"]++
		case n < 6:
			copies = 2
			w.count["messages twice"]++
		}
	}
	for range copies {
		late := 1 + w.dice.IntN(5)
		if w.faulty && w.dice.IntN(10) == 0 {
			late += w.dice.IntN(40 * simTick) // it is overtaken by everything
		}
		w.sent++
		heap.Push(&w.wire, letter{w.now + late, w.sent, from, m.GetTo(), b})
	}
}

func (w *world) deliver(l letter) {
	to := w.members[l.to]
	if to == nil || to.core == nil || w.cut[[2]uint64{l.from, l.to}] {
		return
	}
	m := &pb.Message{}
	if err := proto.Unmarshal(l.bytes, m); err != nil {
		w.fail("unmarshal: %v", err)
		return
	}
	w.note('d', l.from, l.to, uint64(len(l.bytes)))
	if err := to.core.Receive(l.from, m); err != nil {
		w.fail("%d refuses: %v", l.to, err)
	}
	if w.dice.IntN(4) > 0 { // else with what comes next, or with a tick
		w.work(to)
	}
}

// step lets one step of time pass.
func (w *world) step() {
	w.now++
	for len(w.wire) > 0 && w.wire[0].at <= w.now {
		w.deliver(heap.Pop(&w.wire).(letter))
	}
	for _, id := range w.ids {
		m := w.members[id]
		if m.core != nil && w.now%simTick == m.phase {
			m.core.Tick()
			w.work(m)
		}
	}
}
