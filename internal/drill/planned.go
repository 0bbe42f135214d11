package drill

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
)

// planned hands the lease to the next Region, while clients write.
func (w *world) planned(ctx context.Context, i int) (out Planned, err error) {
	if err := w.settled(ctx); err != nil {
		return out, err
	}
	s := w.state()
	from := w.region(s.Lease.Holder)
	to := w.regions[int(from.id)%len(w.regions)]
	out.From, out.To, out.Epoch = from.name, to.name, s.Lease.Epoch
	if err := w.prechecked(ctx, to.name); err != nil {
		return out, err
	}
	at, copies := w.book.page(), w.copies(ctx)
	w.hurry(hurried)
	defer w.hurry(calm)
	if !pause.For(ctx, before) {
		return out, ctx.Err()
	}
	if err := w.switchover(ctx, &out); err != nil {
		return out, err
	}
	// What the old primary has acknowledged is all in before anything is looked at.
	writes, _ := w.book.since(at)
	has, err := w.records(ctx, to, writes)
	if err != nil {
		return out, err
	}
	if !pause.For(ctx, after) {
		return out, ctx.Err()
	}
	lost := lacking(writes, has)
	for _, l := range lost {
		out.Lost = append(out.Lost, fmt.Sprintf("a write of %s to %s, acknowledged in %s", l.Who, l.Key, l.At))
	}
	for _, session := range w.endedAlone(ctx, writes, has) {
		out.Lost = append(out.Lost, session+" has ended, and nobody ended it")
	}
	out.LoggedOut = w.book.strangers()
	out.Copies = w.copies(ctx) - copies
	w.measure(&out, at)
	w.say("switchover %d, %s to %s: epoch %d, all in %v; gap %v between servers, %v at clients, each at most %v beyond a write; %d acknowledged, %d lost",
		i+1, from.name, to.name, out.Epoch, out.Took.Round(time.Millisecond), ms(out.Servers), ms(out.Anywhere), ms(out.worst()),
		out.Acknowledged, len(out.Lost))
	return out, nil
}

// switchover hands the lease over, and waits until that is done.
func (w *world) switchover(ctx context.Context, out *Planned) error {
	begun := w.book.now()
	if err := w.propose(ctx, ledger.Command{Plan: &ledger.Plan{To: out.To, By: name}}); err != nil {
		return err
	}
	var s ledger.State
	err := until(ctx, "wait for the end of the switchover", handoverTime, lookEvery, func() string {
		if s = w.state(); s.Handover.Step == ledger.Failed {
			return "" // it is told below
		}
		if s.Handover.Step != ledger.Done || s.Lease.Holder != out.To {
			return fmt.Sprintf("it is at step %s", s.Handover.Step)
		}
		return ""
	})
	out.Took = w.book.now() - begun
	if err == nil && s.Handover.Step == ledger.Failed {
		err = fmt.Errorf("the switchover has failed: %s", s.Handover.Why)
	}
	return err
}

// measure fills in the gaps.
func (w *world) measure(out *Planned, at page) {
	writes, doubts := w.book.since(at)
	out.Acknowledged = len(writes)
	var probes, clients []Write
	for _, x := range writes {
		if x.Prober {
			probes = append(probes, x)
		} else {
			clients = append(clients, x)
		}
	}
	var ok bool
	if out.Servers, ok = gapOf(probes, out.From, out.To); !ok {
		out.Faults = append(out.Faults, "no gap between servers could be measured")
	}
	if out.Anywhere, ok = gapOf(clients, out.From, out.To); !ok {
		out.Faults = append(out.Faults, "no gap at clients could be measured")
	}
	out.Clients = gaps(clients, doubts, out.From, out.To)
	if want := w.config.Clients * len(w.regions); len(out.Clients) != want {
		out.Faults = append(out.Faults, fmt.Sprintf("%d clients wrote before and after, want %d", len(out.Clients), want))
	}
}

// copies returns how often servers have given another one all that they have.
func (w *world) copies(ctx context.Context) (n int) {
	for _, r := range w.regions {
		text, err := r.server.Do(ctx, "INFO", "stats")
		if err != nil {
			continue // it is away, and is seen to be
		}
		_, after, _ := strings.Cut(text, "sync_full:")
		digits, _, _ := strings.Cut(after, "\r")
		full, _ := strconv.Atoi(digits) // else it says nothing
		n += full
	}
	return n
}
