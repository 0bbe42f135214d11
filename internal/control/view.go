package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// A Seen is what is known of one member.
type Seen struct {
	Member  string
	ID      uint64
	Witness bool
	// Heard is when its last report came; zero: none has.
	Heard   time.Time
	Hears   []string // the members that it heard then
	Server  steer.Server
	Version string
	// Data is what it had measured then, and Names how what it keeps outside of Roam fared.
	Data  []alarm.Datum
	Names []Name
	// Skew is by how much its clock is ahead of this one's, or its words took to come.
	Skew time.Duration
}

// A Status is what a member knows.
type Status struct {
	// At is when the member knew it: in one that runs, a moment ago. Zero: it knows nothing.
	At      time.Time
	Self    string
	Leader  string // empty: nobody that is known
	State   ledger.State
	Members []Seen
	// Holds is the epoch whose lease this Region's server may have; zero: none.
	Holds uint64
	// Verdict is the judge's last, and Watch what it knows. Both are known to the
	// leader; elsewhere Judged is false.
	Judged  bool
	Verdict judge.Verdict
	Watch   ledger.Watch
}

// publish keeps what the loop knows for whoever asks.
func (m *Member) publish() {
	v := &Status{At: time.Now(), Self: m.config.Self, State: m.state}
	if m.local != nil {
		v.Holds, _ = m.local.Holds()
	}
	if m.chief != nil {
		v.Judged, v.Verdict, v.Watch = true, m.chief.Verdict(), m.chief.Watch()
	}
	for _, p := range m.config.Members {
		s := Seen{Member: p.Name, ID: p.ID, Witness: p.Witness}
		if h, ok := m.reports[p.Name]; ok {
			s.Heard, s.Hears, s.Server, s.Version, s.Skew = h.arrived, h.bytes.Heard, h.bytes.Server, h.bytes.Version, h.skew
			s.Data, s.Names = h.data, h.bytes.Names
		}
		v.Members = append(v.Members, s)
	}
	m.mu.Lock()
	m.view = v
	m.mu.Unlock()
}

// Status returns what this member knows.
func (m *Member) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.view == nil {
		return Status{Self: m.config.Self}
	}
	s := *m.view
	s.Leader = m.leader
	return s
}

// leading does something with the Chief, in the loop. It fails with ErrNotLeader.
func (m *Member) leading(ctx context.Context, do func(*steer.Chief, steer.Observation)) error {
	done := make(chan error, 1)
	m.mail.put(func() []steer.Act {
		if m.chief == nil {
			done <- fmt.Errorf("%w; %q does", ErrNotLeader, m.Leader())
			return nil
		}
		do(m.chief, m.observe())
		done <- nil
		return nil
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-m.done:
		return ErrNotLeader
	}
}

// Precheck looks at all that a switchover to a Region needs: planned, or a failover. It
// fails with ErrNotLeader.
func (m *Member) Precheck(ctx context.Context, to string, planned bool) (checks []steer.Check, err error) {
	err = m.leading(ctx, func(c *steer.Chief, o steer.Observation) { checks = c.Precheck(o, to, planned) })
	return checks, err
}

// Behind returns how far the server of a Region is behind, as members know, and whether
// they do. It fails with ErrNotLeader.
func (m *Member) Behind(ctx context.Context, region string) (lag time.Duration, known bool, err error) {
	err = m.leading(ctx, func(_ *steer.Chief, o steer.Observation) {
		for _, r := range o.Reports {
			if r.Member == region {
				lag, known = steer.Behind(o.Reports, o.State.Lease.Epoch, r)
			}
		}
	})
	return lag, known, err
}

// sorted returns the names of a map.
func sorted[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }
