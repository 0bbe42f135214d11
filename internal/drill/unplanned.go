package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
)

// unplanned takes the primary away, has it come back, and settles what it had.
func (w *world) unplanned(ctx context.Context, i int, k strike) (out Unplanned, err error) {
	if err := w.settled(ctx); err != nil {
		return out, err
	}
	s := w.state()
	from := w.region(s.Lease.Holder)
	out.Kind, out.From, out.Epoch = k.name, from.name, s.Lease.Epoch
	at := w.book.page()
	if !pause.For(ctx, before) {
		return out, ctx.Err()
	}
	w.say("failover %d: %s, %s, epoch %d", i+1, k.name, from.name, s.Lease.Epoch)
	w.hold(true, from)
	defer w.hold(false, nil)
	struck := w.book.now()
	if err := k.done(ctx, w, from); err != nil {
		return out, err
	}
	missing, err := w.lose(ctx, &out, k, at, struck)
	healed := w.book.now()
	if failed := k.undone(ctx, w, from); failed != nil || err != nil {
		return out, errors.Join(err, failed)
	}
	if err := w.regain(ctx, &out, from, at, missing); err != nil {
		return out, err
	}
	out.Back = w.book.now() - healed
	out.LoggedOut = w.book.strangers()
	w.say("  back after %v: %d were missing, the receipt has %d (%d never acknowledged), %d are missing now",
		out.Back.Round(10*time.Millisecond), out.Missing, out.Listed, out.Unacknowledged, len(out.Lost))
	return out, w.propose(ctx, ledger.Command{Readmit: &ledger.Readmit{Region: from.name, By: name}})
}

// lose waits until clients can write again, and returns which writes the new primary lacks.
func (w *world) lose(ctx context.Context, out *Unplanned, k strike, at page, struck time.Duration) ([]Write, error) {
	err := until(ctx, "wait for another Region to hold the lease", failoverTime, lookEvery, func() string {
		if s := w.state(); s.Lease.Epoch == out.Epoch || s.Lease.Holder == out.From {
			return fmt.Sprintf("%s holds epoch %d", s.Lease.Holder, s.Lease.Epoch)
		}
		return ""
	})
	if err != nil {
		return nil, errors.Join(err, errors.New(w.verdict()))
	}
	s := w.state()
	out.To, out.Granted = s.Lease.Holder, w.book.now()-struck
	w.awaitClients(ctx, out, k, at, struck)
	if !pause.For(ctx, after) {
		return nil, ctx.Err()
	}
	writes, _ := w.book.since(at)
	has, err := w.records(ctx, w.region(out.To), writes)
	if err != nil {
		return nil, err
	}
	missing := lacking(writes, has)
	out.Acknowledged, out.Missing = len(writes), len(missing)
	w.say("  %s has the lease after %v, clients write again after %v to %v; %d writes are missing there",
		out.To, out.Granted.Round(10*time.Millisecond), out.first().Round(10*time.Millisecond), out.worst().Round(10*time.Millisecond), len(missing))
	return missing, nil
}

// awaitClients waits until all clients write again that can, and notes how long each took.
func (w *world) awaitClients(ctx context.Context, out *Unplanned, k strike, at page, struck time.Duration) {
	waits := map[string]time.Duration{} // until the first acknowledgement
	want := w.config.Clients * len(w.regions)
	if k.apart {
		want -= w.config.Clients
	}
	err := until(ctx, "wait for clients to write again", failoverTime, lookEvery, func() string {
		writes, _ := w.book.since(at)
		clear(waits)
		for _, x := range writes {
			first, is := waits[x.Who]
			counts := x.At == out.To && !x.Prober && (!k.apart || x.Home != out.From)
			if counts && (!is || x.Acked-struck < first) {
				waits[x.Who] = x.Acked - struck
			}
		}
		if len(waits) < want {
			return fmt.Sprintf("%d of %d do, in %s", len(waits), want, out.To)
		}
		return ""
	})
	for who, wait := range waits {
		out.Waits = append(out.Waits, Wait{Who: who, Wait: wait})
	}
	out.sort()
	if err != nil {
		out.Faults = append(out.Faults, err.Error())
	}
}

// regain waits until the lost Region has given what it had, and compares.
func (w *world) regain(ctx context.Context, out *Unplanned, from *region, at page, missing []Write) error {
	err := until(ctx, "wait for what the lost Region had", returnTime, lookEvery, func() string {
		s := w.state()
		if s.Lease.Holder == out.From {
			return "" // it was not lost for long: there is nothing to wait for
		}
		return w.back(s, from, out.Epoch)
	})
	if err != nil {
		return errors.Join(err, errors.New(w.verdict()))
	}
	writes, doubts := w.book.since(at)
	receipt, ok := ledger.Receipt{}, false
	for _, r := range w.state().Receipts {
		if r.Epoch == out.Epoch {
			receipt, ok = r, true
		}
	}
	if !ok {
		out.Faults = append(out.Faults, fmt.Sprintf("there is no receipt of epoch %d", out.Epoch))
		return nil
	}
	all, err := w.listed(ctx, out.Epoch)
	if err != nil {
		out.Faults = append(out.Faults, err.Error()) // what the receipt names is compared
	} else {
		out.Differs = misnamed(receipt, all)
		receipt.Items = all
	}
	out.Listed, out.Unacknowledged, out.Note = len(receipt.Items), explained(missing, receipt), receipt.Note
	out.Differs = append(out.Differs, disagreements(missing, doubts, receipt)...)
	holder := w.region(w.state().Lease.Holder)
	has, err := w.records(ctx, holder, writes)
	if err != nil {
		return err
	}
	for _, l := range lacking(writes, has) {
		out.Lost = append(out.Lost, fmt.Sprintf("a write of %s to %s, acknowledged in %s", l.Who, l.Key, l.At))
	}
	for _, session := range w.endedAlone(ctx, writes, has) {
		out.Lost = append(out.Lost, session+" has ended, and nobody ended it")
	}
	return nil
}

// verdict says what the judge found last, and held back.
func (w *world) verdict() string {
	for _, r := range w.regions {
		if m := r.member(); m != nil {
			if s := m.Status(); s.Judged {
				return fmt.Sprintf("%s leads, and finds %v; held back is %v; the lease is %+v", r.name, s.Verdict.Findings, s.Verdict.Held, s.State.Lease)
			}
		}
	}
	return "nobody leads"
}
