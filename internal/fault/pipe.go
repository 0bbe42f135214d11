package fault

import (
	"bytes"
	"io"
	"slices"
	"syscall"
	"time"
)

const (
	// sendBuffer bounds the bytes of one direction that are sent and not read,
	// or read and not acknowledged; a writer waits beyond it. 256 KiB is what a
	// socket of Linux has after a little traffic, and fills within a test.
	sendBuffer = 256 << 10
	// segmentBytes bounds what is late together when a message is lost. It is
	// what a sender hands to the network card at once (64 KiB, GSO).
	segmentBytes = 64 << 10
	// firstRetransmit is Linux's least retransmission time. With the round trip on
	// top it is the 200–228 ms by which a lost segment was measured to be late.
	firstRetransmit = 200 * time.Millisecond
	// retransmitTries bounds how often one segment is lost; the last is late by
	// 12.6 s then.
	retransmitTries = 6
	// stallRetry is the first step of the back-off of a stream that is cut; each
	// step is twice the one before. With it a cut of 5 s is followed by 2.75 s of
	// silence and one of 15 s by 0.75 s; measured were 2.5–3.0 s and 0.9 s.
	stallRetry = 250 * time.Millisecond
	// stallRetryMax bounds the steps. Linux goes to 120 s, which would teach a
	// demo or a drill nothing more.
	stallRetryMax = 8 * time.Second
)

// segment is a piece of a stream on its way, or arrived and not read.
type segment struct {
	data []byte
	due  time.Time
	held bool // by a cut; due means nothing
	fin  bool // the writer closed; no segment follows
}

// pipe is one direction of a connection. It is guarded by Net.mu.
type pipe struct {
	line *line // that its bytes pass
	back *line // that its acknowledgements pass
	src  *conn
	dst  *conn
	mate *pipe // the other direction

	segments []segment // in order; those held are last
	used     int       // bytes of the send buffer that are taken
	unacked  int       // of these, bytes read whose acknowledgement is cut off
	last     time.Time // when the newest segment arrives: none overtakes it
	stalled  time.Time // when the cut began to hold something; zero: nothing held
	reset    time.Time // when the reader hears that the writer is gone; zero: never
	writing  bool      // a Write is under way; others wait, so that none is torn
	changed  chan struct{}
}

// wait returns a channel that is closed when something about p changes.
func (p *pipe) wait() <-chan struct{} {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

func (p *pipe) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// take reads what has arrived. If that is nothing it returns when there may be
// something; zero: when p changes.
func (p *pipe) take(b []byte, now time.Time) (n int, next time.Time, err error) {
	for len(p.segments) > 0 && n < len(b) {
		s := &p.segments[0]
		if s.held || s.fin || s.due.After(now) {
			break
		}
		moved := copy(b[n:], s.data)
		n += moved
		if s.data = s.data[moved:]; len(s.data) == 0 {
			p.segments = p.segments[1:]
		}
	}
	if n > 0 {
		p.free(n)
		return n, time.Time{}, nil
	}
	if len(p.segments) > 0 && !p.segments[0].held {
		next = p.segments[0].due
		if p.segments[0].fin && !next.After(now) {
			return 0, time.Time{}, io.EOF
		}
	}
	if !p.reset.IsZero() && !p.reset.After(now) {
		return 0, time.Time{}, syscall.ECONNRESET
	}
	return 0, earliest(next, p.reset), nil
}

// free gives the writer room for what was read, once it hears of it.
func (p *pipe) free(n int) {
	if p.back.cut() {
		p.unacked += n
		return
	}
	p.used -= n
	p.wake()
}

// acknowledge frees what was read while the way back was cut.
func (p *pipe) acknowledge() {
	p.used -= p.unacked
	p.unacked = 0
	p.wake()
}

// put sends as much of b as there is room for in one piece.
func (p *pipe) put(b []byte, now time.Time) int {
	n := min(len(b), sendBuffer-p.used, segmentBytes)
	if n <= 0 {
		return 0
	}
	p.used += n
	if p.dst.gone() {
		p.count(n)
		p.refuse(now)
	} else {
		p.send(segment{data: bytes.Clone(b[:n])}, now)
	}
	return n
}

func (p *pipe) send(s segment, now time.Time) {
	p.count(len(s.data))
	if s.held = p.line.cut(); !s.held {
		p.last = latest(p.last, now.Add(p.line.delay()+p.repeats()))
		s.due = p.last
	} else if p.stalled.IsZero() {
		p.stalled = now
	}
	p.segments = append(p.segments, s)
	p.wake()
}

func (p *pipe) count(n int) {
	p.line.messages++
	p.line.bytes += uint64(n)
}

// repeats draws how often a segment is lost and returns how late that makes it.
func (p *pipe) repeats() time.Duration {
	late, step := time.Duration(0), firstRetransmit+p.roundTrip()
	for range retransmitTries {
		if !p.line.loses() {
			break
		}
		late += step
		step *= 2
	}
	return late
}

func (p *pipe) roundTrip() time.Duration { return p.line.link.Delay + p.back.link.Delay }

// stall holds the segments that have not arrived.
func (p *pipe) stall(now time.Time) {
	for i := range p.segments {
		if s := &p.segments[i]; s.due.After(now) {
			s.held = true
			p.stalled = now
		}
	}
	if p.reset.After(now) {
		p.reset = time.Time{} // nobody repeats a reset
	}
	p.last = now
	p.wake()
}

// resume sends what was held at the first retry of the back-off after the heal.
func (p *pipe) resume(now time.Time) {
	if p.stalled.IsZero() {
		return
	}
	retry, step := p.stalled.Add(stallRetry), stallRetry
	for retry.Before(now) {
		step = min(2*step, stallRetryMax)
		retry = retry.Add(step)
	}
	p.stalled = time.Time{}
	for i := range p.segments {
		if s := &p.segments[i]; s.held {
			p.last = latest(p.last, retry.Add(p.line.delay()))
			s.held, s.due = false, p.last
		}
	}
	p.wake()
}

// refuse answers what was sent to an end that is gone with a reset, if both get
// through.
func (p *pipe) refuse(now time.Time) {
	m := p.mate
	if !p.dst.gone() || p.used == 0 || p.line.cut() || m.line.cut() || !m.reset.IsZero() {
		return
	}
	m.last = latest(m.last, now.Add(p.roundTrip()))
	m.reset = m.last
	p.wake()
	m.wake()
}

// underWay counts the segments that have not arrived.
func (p *pipe) underWay(now time.Time) int {
	n := 0
	for _, s := range p.segments {
		if s.held || s.due.After(now) {
			n++
		}
	}
	return n
}

// dropHeld forgets what is held: the host that would have sent it again is gone.
func (p *pipe) dropHeld() {
	p.segments = slices.DeleteFunc(p.segments, func(s segment) bool { return s.held })
	p.stalled = time.Time{}
}

// earliest returns the earlier of two moments, where zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
