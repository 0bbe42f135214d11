package scope

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// A Total is what Run found.
type Total struct {
	// Programs that were walked through, of all that there are.
	Programs, Of int
	// States counts what worlds are like, each once, whichever programs lead there:
	// the content of both cores and of the copy, and what is left to do.
	States int
	// Visited and Transitions are sums, and Depth is the most, over all Walks.
	Visited, Transitions, Depth int
	// Calls counts the states of cores that production code was asked for.
	Calls int
	// Violation is the first one's, on the least program; empty if there is none.
	Violation string
}

// String returns the total on one line.
func (t Total) String() string {
	return fmt.Sprintf("%d distinct states (%d with what clients were told), %d transitions, %d of %d programs, depth %d, %d states of cores",
		t.States, t.Visited, t.Transitions, t.Programs, t.Of, t.Depth, t.Calls)
}

// groupsAtOnce is how many groups of programs are walked through between two looks
// at the bound. It is no number of workers, so that totals are the same on any
// machine.
const groupsAtOnce = 4

// Run walks through programs until it has seen states states, or has no more. It
// takes them in an order that mixes them, the same each time. Programs that differ
// in their last operation alone go together, since they share most calls. It calls
// progress now and then, and returns when its last goroutine is gone.
func Run(programs []Program, states, workers int, progress func(Total)) Total {
	groups := mixed(programs)
	total := Total{Of: len(programs)}
	var seen set
	for len(groups) > 0 && total.States < states && total.Violation == "" {
		n := min(groupsAtOnce, len(groups))
		walks := make([][]Walk, n)
		var wg sync.WaitGroup
		next := make(chan int)
		for range workers {
			wg.Go(func() {
				for i := range next {
					walks[i] = walk(groups[i], &seen)
				}
			})
		}
		for i := range n {
			next <- i
		}
		close(next)
		wg.Wait()
		for i, ws := range walks {
			total.take(groups[i], ws)
		}
		total.States, groups = seen.len(), groups[n:]
		progress(total)
	}
	return total
}

func walk(group []Program, seen *set) []Walk {
	e := NewExplorer()
	out := make([]Walk, 0, len(group))
	for _, p := range group {
		w := e.Explore(p, seen.add)
		out = append(out, w)
		if w.Violation != "" {
			break
		}
	}
	return out
}

func (t *Total) take(group []Program, walks []Walk) {
	for i, w := range walks {
		t.Programs++
		t.Visited += w.Visited
		t.Transitions += w.Transitions
		t.Depth = max(t.Depth, w.Depth)
		t.Calls += w.Calls
		if w.Violation != "" && t.Violation == "" {
			t.Violation = cmp.Or(Shrink(group[i]), w.Violation)
		}
	}
}

// mixed returns programs in groups that have all but the last step in common, in
// the order of a hash, so that the first few are of all sorts.
func mixed(programs []Program) [][]Program {
	of := map[sum][]Program{}
	for _, p := range programs {
		s := sum{}
		for _, step := range p[:len(p)-1] {
			s = s.add(uint64(step.Kind)).add(uint64(step.Session))
		}
		of[s] = append(of[s], p)
	}
	order := make([]sum, 0, len(of))
	for s := range of {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b sum) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	out := make([][]Program, 0, len(of))
	for _, s := range order {
		out = append(out, of[s])
	}
	return out
}

// shards keep workers out of each other's way.
const shards = 256

// A set holds hashes for many goroutines. It takes some 20 bytes a state and has
// no bound but what Run is asked for.
type set struct {
	shards [shards]struct {
		mu  sync.Mutex // guards has
		has map[uint64]struct{}
	}
}

func (s *set) add(h uint64) {
	sh := &s.shards[h%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.has == nil {
		sh.has = map[uint64]struct{}{}
	}
	sh.has[h] = struct{}{}
}

func (s *set) len() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.has)
		sh.mu.Unlock()
	}
	return n
}
