package scope

import (
	"fmt"
	"strings"
)

// An Explorer walks through programs. It is for one goroutine; it remembers what
// calls to cores led to, which programs that begin alike share.
type Explorer struct {
	space *space
	queue []node
	seen  map[world]struct{}
}

// A node is a world, and how it was come to.
type node struct {
	world world
	from  int32 // index in the queue
	by    act
	depth int32
}

// NewExplorer returns an Explorer that remembers nothing.
func NewExplorer() *Explorer {
	return &Explorer{space: newSpace(), seen: map[world]struct{}{}}
}

// A Walk is what Explore found.
type Walk struct {
	// Visited counts the worlds: states of cores, what is left to do, and what
	// clients were told.
	Visited int
	// Transitions counts the steps between them that change anything.
	Transitions int
	// Depth is the greatest number of steps that a world is away.
	Depth int
	// Calls counts the states of cores that calls to production code made.
	Calls int
	// Violation says what went wrong, with the shortest way there; empty if
	// nothing did.
	Violation string
}

// Explore visits every world that p can lead to, the nearest first, and checks
// each. It calls seen with a hash of what each is like; worlds of one hash differ in
// nothing but in what clients were told. It stops at the first violation.
func (e *Explorer) Explore(p Program, seen func(hash uint64)) Walk {
	s := e.space
	clear(e.seen)
	e.queue = e.queue[:0]
	start := world{copied: noCore, results: [maxSteps]resID{noResult, noResult, noResult, noResult}}
	for r := range start.cores {
		start.cores[r] = s.fresh(r)
	}
	var walk Walk
	calls := len(s.states)
	e.visit(node{world: start, from: -1})
	for at := 0; at < len(e.queue) && walk.Violation == ""; at++ {
		n := e.queue[at]
		seen(s.sum(&n.world, p)[0])
		walk.Depth = int(n.depth)
		if wrong := s.checkWorld(&n.world); wrong != "" {
			walk.Violation = e.report(p, at, "then: "+wrong)
			break
		}
		s.next(p, &n.world, func(a act, to world) {
			walk.Transitions++
			e.visit(node{to, int32(at), a, n.depth + 1}) //nolint:gosec // memory bounds it
		})
		if s.wrong != "" {
			walk.Violation = e.report(p, at, "one step on: "+s.wrong)
		}
	}
	walk.Visited, walk.Calls = len(e.seen), len(s.states)-calls
	return walk
}

func (e *Explorer) visit(n node) {
	if _, ok := e.seen[n.world]; ok {
		return
	}
	e.seen[n.world] = struct{}{}
	e.queue = append(e.queue, n)
}

// report says what went wrong and which steps led there.
func (e *Explorer) report(p Program, at int, wrong string) string {
	var steps []string
	for n := e.queue[at]; n.from >= 0; n = e.queue[n.from] {
		before := e.queue[n.from].world
		steps = append(steps, e.space.tell(p, &before, n.by))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "program: %v\n", p)
	for i := range steps {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, steps[len(steps)-1-i])
	}
	fmt.Fprintf(&b, "%s\n", wrong)
	return b.String()
}

// Shrink returns the shortest violation of the least part of p that has one, empty
// if none has.
func Shrink(p Program) string {
	var best string
	for n := 1; n <= len(p) && best == ""; n++ {
		for keep := range uint(1) << len(p) {
			q := p.sub(keep)
			if len(q) != n || q[0].Kind == Again {
				continue
			}
			found := NewExplorer().Explore(q, func(uint64) {}).Violation
			if found != "" && (best == "" || strings.Count(found, "\n") < strings.Count(best, "\n")) {
				best = found
			}
		}
	}
	return best
}
