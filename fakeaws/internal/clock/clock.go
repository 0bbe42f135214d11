package clock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Clock says what time it is and calls when it is later. Goroutines may share it.
type Clock interface {
	// Now returns the time.
	Now() time.Time
	// AfterFunc calls f once d has passed, on a goroutine of its own or of whoever moves
	// the time. The function that it returns prevents the call; it returns false if it is
	// too late.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// Real is the clock of the machine.
type Real struct{}

// Now returns the time.
func (Real) Now() time.Time { return time.Now() }

// AfterFunc calls f once d has passed.
func (Real) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// A Manual is a clock that stands still until it is moved. Goroutines may share it.
type Manual struct {
	mu    sync.Mutex // guards what follows
	now   time.Time
	calls []*call // in the order of their moments, and of their making among equals
}

// A call is what is to be called at a moment.
type call struct {
	at time.Time
	f  func()
}

// NewManual returns a clock that stands at now.
func NewManual(now time.Time) *Manual { return &Manual{now: now} }

// Now returns the time.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// AfterFunc has Advance call f once the time has moved by d, in the goroutine of Advance.
func (m *Manual) AfterFunc(d time.Duration, f func()) func() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &call{m.now.Add(max(d, 0)), f}
	i := len(m.calls)
	for i > 0 && m.calls[i-1].at.After(c.at) {
		i--
	}
	m.calls = slices.Insert(m.calls, i, c)
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		i := slices.Index(m.calls, c)
		if i >= 0 {
			m.calls = slices.Delete(m.calls, i, i+1)
		}
		return i >= 0
	}
}

// Advance moves the time on by d and calls what is due, each at its moment and in their
// order. What they ask for within d is called too.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	end := m.now.Add(d)
	for len(m.calls) > 0 && !m.calls[0].at.After(end) {
		next := m.calls[0]
		m.calls = m.calls[1:]
		if next.at.After(m.now) {
			m.now = next.at
		}
		m.mu.Unlock()
		next.f()
		m.mu.Lock()
	}
	if end.After(m.now) {
		m.now = end
	}
	m.mu.Unlock()
}

// mostPlanned bounds what an Agenda holds: deliveries to come, mostly. One more is
// refused, and whoever plans says what is lost then.
const mostPlanned = 20000

// An Agenda calls things later, and lets its owner wait until none of them runs. Goroutines
// may share it.
type Agenda struct {
	clock Clock
	run   func(f func(ctx context.Context))
	end   context.CancelFunc

	mu      sync.Mutex // guards what follows
	closed  bool
	planned map[*entry]bool
	running sync.WaitGroup // Add is called under mu, and not once closed
}

// An entry is one thing planned.
type entry struct{ stop func() bool }

// NewAgenda returns an empty agenda. What it calls has the values of ctx, and ends with
// Close and not with ctx.
func NewAgenda(ctx context.Context, c Clock) *Agenda {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	return &Agenda{
		clock: c, end: end, planned: map[*entry]bool{},
		run: func(f func(ctx context.Context)) { f(ctx) },
	}
}

// Now returns the time.
func (a *Agenda) Now() time.Time { return a.clock.Now() }

// After calls f once d has passed, with a context that ends with Close. It returns false,
// and calls nothing, if the agenda is closed or full.
func (a *Agenda) After(d time.Duration, f func(ctx context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.planned) >= mostPlanned {
		return false
	}
	e := &entry{}
	a.planned[e] = true
	e.stop = a.clock.AfterFunc(d, func() {
		if !a.begin(e) {
			return
		}
		defer a.running.Done()
		a.run(f)
	})
	return true
}

// begin takes an entry off the list and counts it among what runs.
func (a *Agenda) begin(e *entry) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.planned, e)
	if a.closed {
		return false
	}
	a.running.Add(1)
	return true
}

// Go calls f at once, on a goroutine of its own. It returns false, and calls nothing, if
// the agenda is closed.
func (a *Agenda) Go(f func(ctx context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(func() { a.run(f) })
	return true
}

// Close calls nothing more, ends the contexts of what runs, and returns when it has ended.
func (a *Agenda) Close() {
	a.mu.Lock()
	a.closed = true
	stops := make([]func() bool, 0, len(a.planned))
	for e := range a.planned {
		stops = append(stops, e.stop)
	}
	clear(a.planned)
	a.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	a.end()
	a.running.Wait()
}
