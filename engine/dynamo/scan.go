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
	err = pages(ctx, e.table.scan, func(items []item) error {
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

// pages gives all items that read returns to take, page by page, until that fails.
func pages(ctx context.Context, read func(context.Context, position) ([]item, position, error), take func([]item) error) error {
	var from position
	for t := newTries(); ; {
		items, next, err := read(ctx, from)
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
