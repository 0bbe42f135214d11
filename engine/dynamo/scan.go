package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Scan yields the records of some partitions. It reads the whole table, whatever is asked
// for, and pays for that: a read unit for 4 KiB.
func (e *Engine) Scan(ctx context.Context, of engine.Partitions, yield func(crdt.Record) bool) error {
	ctx, done, err := e.enter(ctx)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	defer done()
	s := scan{e: e, of: of, seen: map[string]struct{}{}, yield: yield}
	err = e.pages(ctx, func(items []item) error {
		for _, it := range items {
			if err := s.take(it); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.flush()
	}
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// errEnough: whoever scans wants no more.
var errEnough = errors.New("enough")

// pages gives all items of the table to take, in pages of 1 MiB, until that fails.
func (e *Engine) pages(ctx context.Context, take func([]item) error) error {
	var from position
	for t := newTries(); ; {
		items, next, err := e.table.scan(ctx, from)
		switch {
		case err != nil && isWorthATry(err) && t.again(ctx):
			continue
		case err != nil:
			return ended(ctx, err)
		}
		if err := take(items); err != nil {
			return err
		}
		if len(next) == 0 {
			return nil
		}
		from, t = next, newTries()
	}
}

// A scan is one Scan under way. The items of a record come one after the other, perhaps on
// two pages.
type scan struct {
	e     *Engine
	of    engine.Partitions
	seen  map[string]struct{} // keys of all records before
	key   string              // of the record that is being put together; "": none
	rec   crdt.Record
	yield func(crdt.Record) bool
}

// take takes in the next item.
func (s *scan) take(it item) error {
	if it.key != s.key {
		if err := s.flush(); err != nil {
			return err
		}
	}
	r, err := it.record(s.rec.Key)
	if err != nil {
		return err
	}
	if s.key == "" {
		if _, twice := s.seen[it.key]; twice { // what was yielded lacks this item
			return fmt.Errorf("%w: the table's items of one record are not together", engine.ErrUnavailable)
		}
		s.seen[it.key] = struct{}{}
		s.key, s.rec = it.key, crdt.Record{Key: r.Key}
	}
	s.rec = crdt.Join(s.rec, r)
	return nil
}

// flush yields the record that was put together.
func (s *scan) flush() error {
	r, there := s.rec, s.key != ""
	s.key, s.rec = "", crdt.Record{}
	if !there || !s.of.Has(r.Key.Partition()) {
		return nil
	}
	if r = s.e.shown(r); !r.IsBottom() && !s.yield(r) {
		return errEnough
	}
	return nil
}

// Sweep deletes what is past its time and returns how many items that was. It is for
// tables that have no time to live, as Global Tables of strong consistency have none: call
// it from one place, a few times a day. It reads the whole table. What is written anew
// meanwhile stays.
func (e *Engine) Sweep(ctx context.Context) (deleted int, err error) {
	ctx, done, err := e.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	defer done()
	err = e.pages(ctx, func(items []item) error {
		for _, it := range items {
			if it.expiry >= e.now().Std().Unix() {
				continue
			}
			switch err := e.removeOne(ctx, it); {
			case err == nil:
				deleted++
			case !errors.Is(err, errConflict):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return deleted, fmt.Errorf("sweep: %w", err)
	}
	return deleted, nil
}

// removeOne deletes it unless it has changed.
func (e *Engine) removeOne(ctx context.Context, it item) error {
	for t := newTries(); ; {
		err := e.table.remove(ctx, it)
		if err == nil || errors.Is(err, errConflict) || !isWorthATry(err) || !t.again(ctx) {
			return ended(ctx, err)
		}
	}
}
