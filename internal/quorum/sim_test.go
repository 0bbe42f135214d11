package quorum

import (
	"encoding/binary"
	"flag"
	"maps"
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

// act does something in some steps: as a client, or as fate.
func (w *world) act() {
	acts := []struct {
		of1000 int
		do     func(*simMember)
	}{
		{40, w.propose},
		{40, w.read},
		{2, w.cutOff},
		{2, func(m *simMember) { w.cut[[2]uint64{m.id, w.any().id}] = true }}, // one way
		{2, func(*simMember) { clear(w.cut) }},
		{2, w.crash},
		{5, func(m *simMember) {
			if m.core == nil {
				w.start(m)
			}
		}},
		{2, w.transfer},
		{2, w.abandon},
		{2, func(m *simMember) {
			if w.plan.joiner != 0 {
				w.change(m, Change{[]ChangeKind{AddVoter, AddLearner}[w.dice.IntN(2)], w.plan.joiner})
			}
		}},
		{1, func(m *simMember) {
			if w.plan.leaver != 0 && w.now > w.plan.steps/2 {
				w.change(m, Change{Remove, w.plan.leaver})
			}
		}},
	}
	m, n := w.any(), w.dice.IntN(1000)
	for _, a := range acts {
		if n -= a.of1000; n < 0 {
			a.do(m)
			return
		}
	}
}

func (w *world) transfer(m *simMember) {
	if m.core != nil {
		_ = m.core.Transfer(w.any().id) // it may not be the leader
		w.work(m)
	}
}

// abandon has a client give up what it waits for longest.
func (w *world) abandon(m *simMember) {
	if m.core == nil || len(m.writes) == 0 {
		return
	}
	seq := slices.Min(slices.Collect(maps.Keys(m.writes)))
	m.core.Abandon(seq)
	delete(m.writes, seq)
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
	w.live()
	return w
}

func (w *world) live() {
	for range w.plan.steps {
		if w.failed != "" {
			return
		}
		w.step()
		w.act()
	}
	w.heal()
}

func seeds() (from, to uint64) {
	if *seedFlag != 0 {
		return *seedFlag, *seedFlag + 1
	}
	return 1, 1 + *seedsFlag/raceShare
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
			sum, applied := map[string]int{}, 0
			from, to := seeds()
			for seed := from; seed < to; seed++ {
				w := simulate(seed, p)
				if w.failed != "" {
					t.Fatalf("seed %d: %s\nonce more: go test ./internal/quorum -run '%s' -seed %d", seed, w.failed, t.Name(), seed)
				}
				for what, n := range w.count {
					sum[what] += n
				}
				applied += len(w.order)
			}
			t.Logf("%d commands; %v", applied, sum)
			if *seedFlag != 0 || raceShare > 1 {
				return // too few
			}
			want := []string{"messages lost", "messages twice", "snapshots made", "snapshots taken", "tails overwritten", "elections", "results unknown"}
			if len(p.witnesses) > 0 {
				want = append(want, "elections of a witness")
			}
			for _, what := range want {
				if sum[what] == 0 {
					t.Errorf("no %s: this shows nothing", what)
				}
			}
		})
	}
}

func TestSameSeedSameStory(t *testing.T) {
	p := plan{voters: []uint64{1, 2, 3, 4, 5}, witnesses: []uint64{5}, steps: 2000}
	traces := map[uint64]bool{}
	for seed := uint64(1); seed <= 10; seed++ {
		a, b := simulate(seed, p), simulate(seed, p)
		if a.trace != b.trace {
			t.Fatalf("seed %d tells two stories", seed)
		}
		traces[a.trace] = true
	}
	if len(traces) != 10 {
		t.Errorf("10 seeds tell %d stories", len(traces))
	}
}
