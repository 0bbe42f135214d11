package fault

import (
	"sync"
	"time"
)

// A Net is a network of hosts that have names. Hosts and links come into being
// when they are first named; links are perfect then and hosts alive. A Net may
// be used by many goroutines; in a testing/synctest bubble it must be made in
// the bubble.
type Net struct {
	seed uint64

	mu        sync.Mutex // guards what follows, and all lines, pipes, conns and listeners
	hosts     map[string]*host
	lines     map[lineKey]*line
	order     []*line // the lines, in the order of their making
	listeners map[addr]*listener
	ports     int // given to dialling ends so far
}

type lineKey struct {
	from, to string
	plane    Plane
}

// host is guarded by Net.mu.
type host struct {
	name  string
	state state
}

type state uint8

const (
	alive state = iota
	killed
	frozen
)

// NewNet returns a network whose delays and losses are drawn from seed.
func NewNet(seed uint64) *Net {
	return &Net{
		seed:      seed,
		hosts:     map[string]*host{},
		lines:     map[lineKey]*line{},
		listeners: map[addr]*listener{},
	}
}

// SetLink makes one direction behave as l says from now on. What is on its way
// keeps its time, but for a cut: that swallows calls on their way and holds
// streams. A stream that was held goes on some time after the heal, when TCP
// would have tried again. Values out of range are brought into it.
func (n *Net) SetLink(from, to string, p Plane, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.line(from, to, p)
	n.alter(func() { at.link = l.within() })
}

// Link returns how one direction behaves. A frozen host does not show in it.
func (n *Net) Link(from, to string, p Plane) Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.line(from, to, p).link
}

// Kill ends the process on a host as others see it when the machine lives on:
// its connections are reset at once, those who are connected hear of it one
// delay later, and calls and dials are refused. Listeners stay and hear again
// after Revive, as if the process had been started anew. A peer behind a cut
// hears nothing until it sends again after the heal.
//
// For a machine that loses power, Freeze it, and Kill it just before Revive.
func (n *Net) Kill(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.host(name)
	if h.state == killed {
		return
	}
	// While a frozen host is not heard, neither are its resets.
	for _, l := range n.order {
		if l.from == h {
			for _, p := range append([]*pipe(nil), l.pipes...) {
				p.src.vanish(time.Now())
			}
		}
	}
	for at, l := range n.listeners {
		if at.host == name {
			l.queue = nil
		}
	}
	n.alter(func() { h.state = killed })
}

// Freeze makes a host fall silent, which is what a dead Region looks like most
// often: nothing leaves it and nothing is answered, on both planes. Its
// connections survive and go on after Revive.
func (n *Net) Freeze(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.host(name)
	n.alter(func() { h.state = frozen })
}

// Revive undoes Kill and Freeze.
func (n *Net) Revive(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.host(name)
	n.alter(func() { h.state = alive })
}

// Alive reports whether a host is neither killed nor frozen.
func (n *Net) Alive(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host(name).state == alive
}

// alter makes a change, then stalls what it has cut and wakes what it has
// healed.
func (n *Net) alter(change func()) {
	was := make([]bool, len(n.order))
	for i, l := range n.order {
		was[i] = l.cut()
	}
	change()
	now := time.Now()
	for i, l := range n.order {
		switch is := l.cut(); {
		case is && !was[i]:
			l.stall(now)
		case !is && was[i]:
			l.heal(now)
		}
	}
}

// stall holds what is on its way in streams: a cut swallows it, and TCP keeps a
// copy.
func (l *line) stall(now time.Time) {
	for _, p := range l.pipes {
		p.stall(now)
	}
}

func (l *line) heal(now time.Time) {
	for _, p := range l.pipes {
		p.resume(now)
		p.mate.acknowledge()
		p.refuse(now)
		p.mate.refuse(now)
	}
}

// host returns the host called name. The caller holds mu, as for line.
func (n *Net) host(name string) *host {
	h, ok := n.hosts[name]
	if !ok {
		h = &host{name: name}
		n.hosts[name] = h
	}
	return h
}

func (n *Net) line(from, to string, p Plane) *line {
	key := lineKey{from, to, p}
	l, ok := n.lines[key]
	if !ok {
		l = newLine(n.seed, n.host(from), n.host(to), p)
		n.lines[key] = l
		n.order = append(n.order, l)
	}
	return l
}

// depart is line.depart for callers that do not hold mu.
func (n *Net) depart(l *line) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.depart(time.Now())
}

func (n *Net) arrive(l *line) arrival {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.arrive()
}

func (n *Net) killed(h *host) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return h.state == killed
}
