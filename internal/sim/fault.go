package sim

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// inflict makes something go wrong, and has it end by itself.
func (w *world) inflict(act Action) {
	w.trace.note(act.Do.String(), uint64(act.Region), uint64(act.Peer), uint64(act.For)) //nolint:gosec // never negative
	s := w.sites[act.Region]
	switch act.Do {
	case Cut:
		w.cut(act.For, [2]crdt.Region{act.Region, act.Peer})
	case CutBoth:
		w.cut(act.For, [2]crdt.Region{act.Region, act.Peer}, [2]crdt.Region{act.Peer, act.Region})
	case Isolate:
		w.cut(act.For, w.around(act.Region)...)
	case Flap:
		w.flap(act, act.For)
	case FailOver, Forget:
		w.fail(s, s.server, act)
	case FailSide:
		if s.side != nil {
			w.fail(s, s.side, act)
		}
	case Hang:
		s.server.hangs++
		s.server.busy = max(s.server.busy, w.queue.now.add(act.For))
		s.ill = max(s.ill, s.server.busy)
	case Jump:
		s.server.skew = min(s.server.skew+act.For, mostAhead)
	case Restart:
		s.app.restart(act.For)
	default:
	}
}

// around returns the paths from a Region to all others, and back.
func (w *world) around(r crdt.Region) (out [][2]crdt.Region) {
	for _, s := range w.regions() {
		if s.region != r {
			out = append(out, [2]crdt.Region{r, s.region}, [2]crdt.Region{s.region, r})
		}
	}
	return out
}

// cut cuts paths for a while.
func (w *world) cut(long time.Duration, paths ...[2]crdt.Region) {
	for _, p := range paths {
		w.net.cut(p[0], p[1])
	}
	w.queue.after(long, func() {
		for _, p := range paths {
			w.net.heal(p[0], p[1])
		}
	})
}

// flap cuts a link both ways again and again.
func (w *world) flap(act Action, left time.Duration) {
	on := 200*time.Millisecond + time.Duration(act.Arg%uint64(1800*time.Millisecond)) //nolint:gosec // below 2 s
	if left < 2*on {
		return
	}
	w.cut(on, [2]crdt.Region{act.Region, act.Peer}, [2]crdt.Region{act.Peer, act.Region})
	w.queue.after(2*on, func() { w.flap(act, left-2*on) })
}

// fail takes a server down and has its copy, or an empty one, go on in its place.
func (w *world) fail(s *site, server *server, act Action) {
	if !server.up {
		return
	}
	server.down()
	if server == s.server {
		s.ill = max(s.ill, w.queue.now.add(act.For))
		s.failed()
	}
	w.queue.after(act.For, func() {
		if act.Do == Forget {
			server.forget()
			s.blank()
		} else {
			server.failOver()
		}
		w.oracle.failed(s)
	})
}
