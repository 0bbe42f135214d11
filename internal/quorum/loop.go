package quorum

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// run owns all goroutines of the member.
func (m *Member) run(ctx context.Context, machine StateMachine) {
	defer close(m.down)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { m.links.run(ctx) })
	err := m.loop(ctx, machine)
	cancel()
	work.Wait()
	err = errors.Join(err, m.store.close())
	if err == nil {
		err = ErrStopped
	} else {
		m.cfg.Log.Error("member can't go on", "member", m.cfg.Rules.ID, "err", err)
	}
	now := *m.status.Load()
	now.Err, now.Lead.Leader = err, 0
	m.status.Store(&now)
	for _, done := range m.writes {
		done <- result{err: fmt.Errorf("%w: %w", ErrUnknown, ErrStopped)}
	}
	for _, done := range m.reads {
		done <- result{err: ErrStopped}
	}
}

// loop owns the Core, the file and the state machine. It returns nil at the end of
// ctx. Whatever goes wrong in it, raft's own alarms and a disk that can't be read among
// it, stops this member and not the process, which has sessions to serve.
func (m *Member) loop(ctx context.Context, machine StateMachine) (err error) {
	debug.SetPanicOnFault(true) // the file is mapped memory
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			m.cfg.Log.Error("member panics", "member", m.cfg.Rules.ID, "err", err, "stack", string(debug.Stack()))
			m.store.broken = true
		}
	}()
	tick := time.NewTicker(m.cfg.Tick)
	defer tick.Stop()
	for first := true; ; first = false {
		if err := m.carryOut(machine); err != nil {
			m.store.broken = true
			return err
		}
		if first {
			close(m.replayed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.core.Tick()
		case in := <-m.inbox:
			m.receive(in)
		case do := <-m.calls:
			do()
		}
		m.gather()
		m.silent.Store(int64(m.core.Silent()))
	}
}

// gather takes in what else there is.
func (m *Member) gather() {
	for range gathered {
		select {
		case in := <-m.inbox:
			m.receive(in)
		case do := <-m.calls:
			do()
		default:
			return
		}
	}
}

func (m *Member) receive(in incoming) {
	if err := m.core.Receive(in.from, in.message); err != nil {
		m.cfg.Log.Warn("message refused", "member", m.cfg.Rules.ID, "err", err)
	}
}

// carryOut does all that the Core wants, in its order.
func (m *Member) carryOut(machine StateMachine) error {
	for {
		out, ok := m.core.Next()
		if !ok {
			return nil
		}
		if err := m.store.save(out.Save); err != nil {
			return err
		}
		unsent := m.send(out.Messages)
		if out.Restore != nil {
			m.identity.Store(m.core.Identity())
			if err := machine.Restore(out.Restore.Data); err != nil {
				return fmt.Errorf("restore the state at %d: %w", out.Restore.Index, err)
			}
		}
		for _, c := range out.Commands {
			finish(m.writes, c.Own, result{value: machine.Apply(c.Index, c.Data)})
		}
		m.answer(out)
		if out.Fold {
			if err := m.core.Fold(machine.Snapshot()); err != nil {
				m.cfg.Log.Error("snapshot can't be made: the log grows", "member", m.cfg.Rules.ID, "err", err)
			}
		}
		for _, id := range unsent {
			m.core.Unreachable(id)
		}
		m.publish()
		if out.Led != nil && m.cfg.OnLead != nil {
			m.cfg.OnLead(*out.Led)
		}
	}
}

// send sends messages, and returns to whom some could not be sent.
func (m *Member) send(messages []*pb.Message) (unsent []uint64) {
	for _, msg := range messages {
		o := m.links.out[msg.GetTo()]
		if (o == nil || !o.send(msg)) && !slices.Contains(unsent, msg.GetTo()) {
			unsent = append(unsent, msg.GetTo())
		}
	}
	return unsent
}

// answer tells those who wait. State is as of all commands before.
func (m *Member) answer(out Output) {
	for _, seq := range out.Changed {
		finish(m.writes, seq, result{})
	}
	for _, seq := range out.Unknown {
		finish(m.writes, seq, result{err: fmt.Errorf("%w here: it was elsewhere", ErrUnknown)})
	}
	for _, seq := range out.Reads {
		finish(m.reads, seq, result{})
	}
}

func finish(waiting map[uint64]chan<- result, seq uint64, r result) {
	if done := waiting[seq]; done != nil {
		done <- r // it has room for one
		delete(waiting, seq)
	}
}

func (m *Member) publish() {
	voters, learners := m.core.Members()
	m.status.Store(&Status{ID: m.cfg.Rules.ID, Lead: m.core.led, Applied: m.core.applied, Voters: voters, Learners: learners})
}
