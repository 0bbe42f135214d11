package quorum

import (
	"encoding/binary"
	"flag"
	"slices"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "simulate this seed alone")
	seedsFlag = flag.Uint64("seeds", 120, "how many seeds to simulate")
)

func (w *world) any() *simMember { return w.members[w.ids[w.dice.IntN(len(w.ids))]] }

func (w *world) propose(m *simMember) {
	if m.core == nil {
		return
	}
	w.serial++
	seq, err := m.core.Propose(binary.BigEndian.AppendUint64(nil, w.serial))
	if err != nil {
		w.fail("propose: %v", err)
		return
	}
	m.writes[seq], w.proposed[w.serial] = w.serial, w.floor
	w.work(m)
}

func (w *world) read(m *simMember) {
	if m.core == nil {
		return
	}
	seq, err := m.core.Read()
	if err != nil {
		w.fail("read: %v", err)
		return
	}
	m.reads[seq] = w.floor
	w.work(m)
}

// act does something: as a client, or as fate.
func (w *world) act() {
	m := w.any()
	switch n := w.dice.IntN(1000); {
	case n < 40:
		w.propose(m)
	case n < 80:
		w.read(m)
	case n < 83:
		w.cutOff(m)
	case n < 86:
		w.cut[[2]uint64{m.id, w.any().id}] = true // one way
	case n < 92:
		clear(w.cut)
	case n < 95 && m.core != nil:
		w.crash(m)
	case n < 105 && m.core == nil:
		w.start(m)
	case n < 107 && m.core != nil:
		_ = m.core.Transfer(w.any().id) // it may not be the leader
		w.work(m)
	case n < 110 && w.plan.joiner != 0:
		w.change(m, Change{[]ChangeKind{AddVoter, AddLearner}[n%2], w.plan.joiner})
	case n < 111 && w.plan.leaver != 0 && w.now > w.plan.steps/2:
		w.change(m, Change{Remove, w.plan.leaver})
	case n < 115 && m.core != nil:
		for seq := range m.writes {
			if len(m.writes) == 1 { // else which one is chance
				m.core.Abandon(seq)
				delete(m.writes, seq)
			}
		}
	}
}

func (w *world) change(m *simMember, steps ...Change) {
	if m.core == nil {
		return
	}
	seq, err := m.core.Change(steps)
	if err != nil {
		return // as of what it has applied it makes no sense
	}
	m.changes[seq] = true
	w.work(m)
}

func (w *world) cutOff(m *simMember) {
	for _, id := range w.ids {
		w.cut[[2]uint64{m.id, id}], w.cut[[2]uint64{id, m.id}] = true, true
	}
}

func (w *world) runFor(ticks int) {
	for range ticks * simTick {
		if w.failed != "" {
			return
		}
		w.step()
	}
}

// heal ends all faults, and holds that everybody comes to agree soon.
func (w *world) heal() {
	w.faulty = false
	clear(w.cut)
	for _, id := range w.ids {
		if w.members[id].core == nil {
			w.start(w.members[id])
		}
	}
	if w.plan.joiner != 0 {
		w.change(w.members[w.ids[0]], Change{AddVoter, w.plan.joiner})
	}
	if w.plan.leaver != 0 {
		w.runFor(20 * simElection)
		w.change(w.members[w.ids[0]], Change{Remove, w.plan.leaver})
		w.runFor(20 * simElection)
		w.crash(w.members[w.plan.leaver])
		w.ids = slices.DeleteFunc(w.ids, func(id uint64) bool { return id == w.plan.leaver })
	}
	w.runFor(60 * simElection) // letters of before, too, and a snapshot that is sent again
	for _, id := range w.ids {
		w.propose(w.members[id])
		w.read(w.members[id])
	}
	w.runFor(10 * simElection)
	for _, id := range w.ids {
		m := w.members[id]
		if len(m.writes)+len(m.reads)+len(m.changes) > 0 {
			w.fail("all is well, and of %d's there wait %d commands, %d reads, %d changes; led %v", id, len(m.writes), len(m.reads), len(m.changes), m.led)
		}
		if !slices.Equal(m.list, w.order) {
			w.fail("all is well, and %d has %v, and not %v", id, m.list, w.order)
		}
		if m.led != w.members[w.ids[0]].led || slices.Contains(w.plan.witnesses, m.led.Leader) || m.led.Leader == 0 {
			w.fail("all is well, and %d follows %v", id, m.led)
		}
	}
	for _, c := range w.unknown {
		if c != 0 && !slices.Contains(w.order, c) {
			w.fail("%d was said to be applied, and is not", c)
		}
	}
	if w.floor > len(w.order) {
		w.fail("%d commands were known of, and there are %d", w.floor, len(w.order))
	}
}

func simulate(seed uint64, p plan) *world {
	w := newWorld(seed, p)
	for range p.steps {
		if w.failed != "" {
			return w
		}
		w.step()
		w.act()
	}
	w.heal()
	return w
}

func seeds() (from, to uint64) {
	if *seedFlag != 0 {
		return *seedFlag, *seedFlag + 1
	}
	return 1, 1 + *seedsFlag
}

func TestAgreementUnderFaults(t *testing.T) {
	for name, p := range map[string]plan{
		"three":          {voters: []uint64{1, 2, 3}, steps: 3000},
		"three, witness": {voters: []uint64{1, 2, 3}, witnesses: []uint64{3}, steps: 3000},
		"five, witness":  {voters: []uint64{1, 2, 3, 4, 5}, witnesses: []uint64{5}, steps: 3000},
		"changing":       {voters: []uint64{1, 2, 3, 4}, witnesses: []uint64{3}, joiner: 5, leaver: 4, steps: 3000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sum world
			applied := 0
			from, to := seeds()
			for seed := from; seed < to; seed++ {
				w := simulate(seed, p)
				if w.failed != "" {
					t.Fatalf("seed %d: %s\nonce more: go test ./internal/quorum -run '%s' -seed %d", seed, w.failed, t.Name(), seed)
				}
				sum.lost, sum.copies, sum.folds = sum.lost+w.lost, sum.copies+w.copies, sum.folds+w.folds
				sum.restores, sum.stepsIn, sum.elections = sum.restores+w.restores, sum.stepsIn+w.stepsIn, sum.elections+w.elections
				applied += len(w.order)
			}
			t.Logf("%d commands, %d elections, %d by a witness, %d messages lost, %d twice, %d snapshots made, %d restored",
				applied, sum.elections, sum.stepsIn, sum.lost, sum.copies, sum.folds, sum.restores)
			if *seedFlag == 0 && (applied == 0 || sum.folds == 0 || len(p.witnesses) > 0 && sum.stepsIn == 0) {
				t.Error("the faults are too many, or too few: this shows nothing")
			}
		})
	}
}

func TestSameSeedSameStory(t *testing.T) {
	p := plan{voters: []uint64{1, 2, 3, 4, 5}, witnesses: []uint64{5}, steps: 2000}
	traces := map[uint64]bool{}
	for seed := uint64(1); seed < 20; seed++ {
		a, b := simulate(seed, p), simulate(seed, p)
		if a.trace != b.trace {
			t.Fatalf("seed %d tells two stories", seed)
		}
		traces[a.trace] = true
	}
	if len(traces) != 19 {
		t.Errorf("19 seeds tell %d stories", len(traces))
	}
}
