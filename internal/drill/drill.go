package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/steer"
)

// A Config says what is to happen.
type Config struct {
	// Planned and Unplanned are how often the primary changes, each way.
	Planned, Unplanned int
	// RTT is the round trip between any two Regions. Default 60 ms.
	RTT time.Duration
	// Clients are how many write in each Region. Default 4.
	Clients int
	// Seed draws what the network does at random.
	Seed uint64
	// Kind, if set, is a part of the names of the losses that there are to be.
	Kind string
	// Out hears how it goes; nil: nobody does.
	Out io.Writer
	// Keep leaves logs and files where they are.
	Keep bool
}

const (
	// settleTime bounds how long all may take to be well: the judge wants ten good seconds.
	settleTime = 90 * time.Second
	// handoverTime bounds a planned switchover.
	handoverTime = 20 * time.Second
	// failoverTime bounds the time until another Region has the lease and clients write.
	failoverTime = 30 * time.Second
	// returnTime bounds how long it takes until a Region that is back has given what it had.
	returnTime = 90 * time.Second
	// before and after are how long clients write undisturbed in a round.
	before = 2 * time.Second
	after  = 700 * time.Millisecond
	// hurried and calm are between two writes of a client: so that a gap is seen where it
	// is, and so that a Region that is cut off takes more than a receipt names: 500.
	hurried = 4 * time.Millisecond
	calm    = 15 * time.Millisecond
	// lookEvery is between two looks.
	lookEvery = 5 * time.Millisecond
)

func (c Config) withDefaults() Config {
	if c.RTT == 0 {
		c.RTT = 60 * time.Millisecond
	}
	if c.Clients == 0 {
		c.Clients = 4
	}
	return c
}

// Run does all of it, and returns what was found. An error says that it could not be done
// to its end; what was found until then is returned beside it. It ends soon after ctx.
func Run(ctx context.Context, c Config) (out Result, err error) {
	c = c.withDefaults()
	out.RTT = c.RTT
	w, err := newWorld(ctx, c)
	if err == nil {
		err = w.drill(ctx, &out)
	}
	keep := c.Keep || err != nil || len(out.Broken()) > 0
	if keep && w.dir != "" {
		w.say("logs and files are left in %s", w.dir)
	}
	return out, errors.Join(err, w.Close(keep))
}

func (w *world) drill(ctx context.Context, out *Result) error {
	w.say("three Regions, %v apart, with a server, a node and %d clients each", w.config.RTT, w.config.Clients)
	if err := w.settled(ctx); err != nil {
		return err
	}
	for _, r := range w.regions {
		if err := errors.Join(w.openApp(ctx, r), w.openProber(ctx, r)); err != nil {
			return err
		}
		r.app.pace.Store(int64(calm))
		r.prober.pace.Store(int64(calm))
	}
	for i := range w.config.Planned {
		round, err := w.planned(ctx, i)
		out.Planned = append(out.Planned, round)
		if err != nil {
			return fmt.Errorf("planned switchover %d: %w", i+1, err)
		}
	}
	kinds := slices.DeleteFunc(strikes(), func(k strike) bool { return !strings.Contains(k.name, w.config.Kind) })
	if len(kinds) == 0 {
		return fmt.Errorf("no loss is called %q", w.config.Kind)
	}
	for i := range w.config.Unplanned {
		k := kinds[i%len(kinds)]
		round, err := w.unplanned(ctx, i, k)
		out.Unplanned = append(out.Unplanned, round)
		if err != nil {
			return fmt.Errorf("failover %d, %s: %w", i+1, k.name, err)
		}
	}
	return w.last(ctx, out)
}

// settled waits until nothing is the matter.
func (w *world) settled(ctx context.Context) error {
	if err := w.whole(ctx); err != nil {
		return err
	}
	return until(ctx, "wait until the judge finds all well", settleTime, 10*lookEvery, func() string { return w.leads(w.state()) })
}

// whole waits until all servers follow the holder's, and nothing is under way.
func (w *world) whole(ctx context.Context) error {
	return until(ctx, "wait until all is well", settleTime, 10*lookEvery, func() string {
		s := w.state()
		switch holder := w.region(s.Lease.Holder); {
		case holder == nil:
			return "nobody holds the lease"
		case s.Lease.Released || s.Lease.Deposed:
			return "the lease is ending"
		case s.Handover.Pending() || s.Handover.Step == ledger.Repointing:
			return "a switchover is under way"
		}
		for _, r := range s.Receipts {
			if r.Closed.IsZero() {
				return fmt.Sprintf("the receipt of epoch %d is open", r.Epoch)
			}
		}
		for _, r := range w.regions {
			if missing := w.well(s, r); missing != "" {
				return missing
			}
		}
		return ""
	})
}

// well says what is missing for a Region to be well.
func (w *world) well(s ledger.State, r *region) string {
	m := r.member()
	if m == nil {
		return r.name + " has no member"
	}
	status := m.Status()
	switch {
	case status.State.Lease.Epoch != s.Lease.Epoch:
		return r.name + " does not know who holds the lease"
	case status.Leader == "":
		return r.name + " knows nobody who leads"
	case r.name == s.Lease.Holder && status.Holds != s.Lease.Epoch:
		return r.name + " does not hold what it was granted"
	}
	return w.follows(s, r)
}

// follows says what is missing for a Region's server to follow the holder's.
func (w *world) follows(s ledger.State, r *region) string {
	if r.name == s.Lease.Holder {
		return ""
	}
	for _, other := range w.regions {
		m := other.member()
		if m == nil {
			continue
		}
		for _, seen := range m.Status().Members {
			if seen.Member == r.name && (seen.Server.Follows != s.Lease.Holder || !seen.Server.Linked || seen.Server.Primary) {
				return fmt.Sprintf("%s sees the server of %s follow %q, linked %v", other.name, r.name, seen.Server.Follows, seen.Server.Linked)
			}
		}
	}
	return ""
}

// leads says what is missing for the quorum's leader to be elsewhere than the lease, and to
// find all Regions well.
func (w *world) leads(s ledger.State) string {
	for _, r := range w.regions {
		m := r.member()
		if m == nil {
			continue
		}
		status := m.Status()
		if status.Leader != r.name {
			continue
		}
		if r.name == s.Lease.Holder {
			return r.name + " leads and holds the lease"
		}
		if !status.Judged || !status.Verdict.Ruled {
			return "the judge has not ruled"
		}
		for _, f := range status.Verdict.Findings {
			if f.Kind == judge.FailOver || f.Kind == judge.RouteAway || f.Kind == judge.OneWay {
				return "the judge says: " + f.String()
			}
		}
		if left := status.Watch.Judge.Left; len(left) > 0 {
			return fmt.Sprintf("%v may not be promoted", left)
		}
		return ""
	}
	return "nobody leads"
}

// propose has something agreed, by way of whichever member can.
func (w *world) propose(ctx context.Context, c ledger.Command) error {
	var err error
	for _, r := range w.regions {
		m := r.member()
		if m == nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = m.Propose(asking, c)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// prechecked waits until nothing stands against a planned switchover.
func (w *world) prechecked(ctx context.Context, to string) error {
	return until(ctx, "precheck of a switchover to "+to, settleTime, 20*lookEvery, func() string {
		said := "nobody leads"
		for _, r := range w.regions {
			m := r.member()
			if m == nil {
				continue
			}
			checks, err := m.Precheck(ctx, to, true)
			if errors.Is(err, control.ErrNotLeader) || err != nil {
				continue
			}
			bad := slices.IndexFunc(checks, func(c steer.Check) bool { return !c.OK })
			if bad < 0 {
				return ""
			}
			said = fmt.Sprint(checks[bad])
		}
		return said
	})
}

// records reads what a server has of some writes' sessions.
func (w *world) records(ctx context.Context, r *region, writes []Write) (map[crdt.Key]crdt.Record, error) {
	out := map[crdt.Key]crdt.Record{}
	for _, at := range writes {
		out[at.Key] = crdt.Record{}
	}
	return out, r.read(ctx, out)
}

// last looks at all that was ever acknowledged, when all is well.
func (w *world) last(ctx context.Context, out *Result) error {
	w.say("all that was ever acknowledged is looked for once more")
	if err := w.whole(ctx); err != nil {
		return err
	}
	for _, r := range w.regions {
		r.app.resting.Store(true)
		r.prober.pace.Store(int64(time.Second))
	}
	if !pause.For(ctx, visitTime) { // for visits that are under way
		return ctx.Err()
	}
	writes, doubts := w.book.since(page{})
	holder := w.region(w.state().Lease.Holder)
	has, err := w.records(ctx, holder, writes)
	if err != nil {
		return err
	}
	out.Acknowledged = len(writes)
	for _, lost := range lacking(writes, has) {
		out.lose("in the end a write of %s to %s is missing, acknowledged in %s", lost.Who, lost.Key, lost.At)
	}
	for _, session := range unexplained(writes, writes, doubts, has) {
		out.lose("in the end %s has ended, and nobody ended it", session)
	}
	shown := map[crdt.Key]Shown{}
	for k, rec := range has {
		shown[k] = showOf(rec)
	}
	for _, text := range miscounted(w.book.tally(), shown) {
		out.lose("in the end %s", text)
	}
	all := attributed(writes)
	out.Rivals = append(rivals(all), doubles(all)...)
	w.say("%d writes were acknowledged, %d stories of loss, %d of two writers", len(writes), len(out.Lost), len(out.Rivals))
	return nil
}

// hold has sessions end when they are due, or not.
func (w *world) hold(on bool, but *region) {
	for _, r := range w.regions {
		r.app.ending.Store(!on || r == but)
	}
}

// hurry sets how soon a client writes again.
func (w *world) hurry(pace time.Duration) {
	for _, r := range w.regions {
		r.app.pace.Store(int64(pace))
		r.prober.pace.Store(int64(pace))
	}
}

// some returns the first of some lines, and how many more there are.
func some(lines []string) string {
	const most = 3
	text := strings.Join(lines[:min(most, len(lines))], "; ")
	if more := len(lines) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
