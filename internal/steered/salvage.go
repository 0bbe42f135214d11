package steered

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/salvage"
)

// positionBytes is how long a place in a log is, as it is agreed on: the actor's number and
// the entry's, big-endian.
const positionBytes = 4 + 8

// forkOf returns places in a log as they are agreed on.
func forkOf(at engine.Positions) string {
	b := make([]byte, 0, len(at)*positionBytes)
	for _, p := range at {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Actor))
		b = binary.BigEndian.AppendUint64(b, p.N)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// parseFork returns the places of what forkOf made; none for the empty text, so that all
// of a log is looked at.
func parseFork(text string) (at engine.Positions, err error) {
	if text == "" {
		return at, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(b) != len(at)*positionBytes {
		err = fmt.Errorf("%d bytes, want %d", len(b), len(at)*positionBytes)
	}
	if err != nil {
		return at, fmt.Errorf("where the logs parted: %w", err)
	}
	for i := range at {
		p := b[i*positionBytes:]
		at[i] = engine.Position{Actor: crdt.Actor(binary.BigEndian.Uint32(p)), N: binary.BigEndian.Uint64(p[4:])}
	}
	return at, nil
}

// awayAfter is for how long a server is asked that may be dead. The order gets old meanwhile:
// where the logs parted may be agreed on by then.
const awayAfter = 2 * time.Second

// salvage has what the server and the spool took be taken in by the primary. While the
// server is away it is what the spool has, once; the receipt stays open until the server
// can be looked at.
func (s *Server) salvage(ctx context.Context, order control.Order, tell func(context.Context, ledger.Salvage) error) error {
	old, chain, err := s.parts()
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, awayAfter)
	_, away := chain.Role(asking)
	cancel()
	if away != nil && (s.config.Spool == nil || s.spooled == order.Receipt.Epoch) {
		return fmt.Errorf("%w: the server can't be looked at: %w", engine.ErrUnreachable, away)
	}
	c, err := s.sources(ctx, order)
	if err != nil {
		return err
	}
	switch {
	case !c.Home && away == nil:
		c.Old = old
	case c.Spool == nil:
		return tell(ctx, ledger.Salvage{Epoch: order.Receipt.Epoch, Closed: true, Note: "what the server had once, and has not now, is known nowhere"})
	}
	if c.Target, err = s.config.Open(ctx, order.To); err != nil {
		return fmt.Errorf("open the engine of %s: %w", order.To, err)
	}
	defer func() { _ = c.Target.Close() }() // of a server it never fails
	if own, ok := engine.As[*valkey.Engine](c.Target); ok {
		own.Under(order.Epoch)
	}
	others, err := s.others(ctx, order)
	defer closeAll(others)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		c.Held = func(ctx context.Context, rec crdt.Record) (bool, error) { return held(ctx, others, rec) }
	}
	r, err := s.bring(ctx, order.Receipt, c)
	if err != nil {
		return err
	}
	if r.Closed = away == nil; away != nil {
		s.spooled = order.Receipt.Epoch
	}
	return tell(ctx, r)
}

// sources returns what is to be looked at, but for the server itself.
func (s *Server) sources(ctx context.Context, order control.Order) (salvage.Config, error) {
	fork, err := parseFork(order.Receipt.Fork)
	if err != nil {
		return salvage.Config{}, err
	}
	intact := func(ctx context.Context) bool { return s.intact(ctx, order.Receipt.Epoch) }
	c := salvage.Config{Fork: fork, Parted: order.Receipt.Fork != "", Intact: intact, Log: s.config.Log}
	if s.config.Spool != nil {
		c.Spool = s.config.Spool
	}
	if order.To == s.config.Self && !intact(ctx) {
		c.Home, c.Fork, c.Parted = true, engine.Positions{}, false
	}
	return c, nil
}

// bring has all be taken in and listed, and returns what that adds to its receipt. What the
// disk does not take of the list costs the list alone: what was lost is brought home all
// the same.
func (s *Server) bring(ctx context.Context, of ledger.Receipt, c salvage.Config) (ledger.Salvage, error) {
	// Where the logs parted by number, each look finds all of it. Else what an earlier one
	// brought home is not found again.
	list := s.config.Lists.Begin(receipt.Head{Epoch: of.Epoch, From: of.From, To: of.To}, !c.Parted)
	defer list.Discard()
	c.Items = 1 // the list has them
	c.Listed = func(i salvage.Item) {
		list.Add(ledger.Item{Session: i.Session, Kind: string(i.Kind), At: i.At.Std(), Fate: ledger.Fate(i.Fate)})
	}
	out, err := salvage.Run(ctx, c)
	if err != nil {
		return ledger.Salvage{}, err
	}
	failed := list.Commit()
	if failed != nil {
		s.config.Log.Error("the whole list of a receipt can't be kept", "epoch", of.Epoch, "err", failed)
	}
	return salvaged(of.Epoch, list, out, failed), nil
}

// others opens the engines of Regions that are neither here nor at the target, nor owe
// writes of their own: two that wait for each other would wait for good. One is enough; if
// there are some and none can be opened, it fails. There are none for a target on its own.
func (s *Server) others(ctx context.Context, o control.Order) (open []engine.Engine, err error) {
	if o.Alone {
		return nil, nil
	}
	for region := range s.config.At {
		if region == s.config.Self || region == o.To || slices.Contains(o.Owing, region) {
			continue
		}
		e, failed := s.config.Open(ctx, region)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("open the engine of %s: %w", region, failed))
			continue
		}
		open = append(open, e)
	}
	if len(open) > 0 {
		return open, nil
	}
	return nil, err
}

func closeAll(engines []engine.Engine) {
	for _, e := range engines {
		_ = e.Close() // of a server it never fails
	}
}

// held reports whether an engine has a record.
func held(ctx context.Context, engines []engine.Engine, rec crdt.Record) (bool, error) {
	var failed error
	for _, e := range engines {
		have, err := e.Read(ctx, rec.Key, crdt.Token{})
		if err == nil && router.Holds(have, rec) {
			return true, nil
		}
		failed = errors.Join(failed, err)
	}
	return false, failed
}

// salvaged returns what a list and an outcome add to the receipt of an epoch. Unkept is why
// there is no whole list.
func salvaged(epoch uint64, list *receipt.Draft, out salvage.Outcome, unkept error) ledger.Salvage {
	r := ledger.Salvage{Epoch: epoch, Counts: list.End().Counts, Items: list.First()}
	out.Counts = map[salvage.Fate]uint64{}
	for fate, n := range r.Counts {
		out.Counts[salvage.Fate(fate)] = n
	}
	var notes []string
	if !out.Complete() {
		notes = append(notes, out.Summary())
	}
	if unkept != nil {
		notes = append(notes, "only the first writes are named: the list of all could not be kept")
	}
	r.Note = strings.Join(notes, "; ")
	return r
}
