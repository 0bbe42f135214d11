package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// errOtherRegion: two Regions would write one item, and lose each other's writes.
var errOtherRegion = fmt.Errorf("%w: this Region's number is another AWS Region's too, which wrote the item", engine.ErrNotPrimary)

// A view is what a table shows of a record.
type view struct {
	all         crdt.Record // what all items make together
	own         crdt.Record // what the item that this engine writes holds
	version     version     // of that item; zero: there is none
	incarnation uint32      // of its actors
	where       string      // the AWS Region that wrote it
}

// look reads the items of k.
func (e *Engine) look(ctx context.Context, k crdt.Key) (view, error) {
	key := keyOf(k)
	items, err := e.table.items(ctx, key)
	if err != nil {
		return view{}, err
	}
	v := view{all: crdt.Record{Key: k}, own: crdt.Record{Key: k}}
	for _, it := range items {
		r, err := it.record(k)
		if err != nil {
			return view{}, err
		}
		v.all = crdt.Join(v.all, r)
		if it.writer == e.writer() {
			v.own, v.version, v.incarnation, v.where = r, it.version, it.incarnation, it.where
		}
	}
	if v.version == (version{}) {
		v.incarnation, v.where = e.dice(), e.config.Region
	}
	return v, nil
}

// A changing is one change of a record, tried until it is done.
type changing struct {
	e *Engine
	k crdt.Key
	// of returns what the change adds to a record, bottom for nothing, and its dot.
	of func(view) (crdt.Record, crdt.Dot, error)
	// sent are writes of which nobody knows whether they were taken; at most maxTries.
	sent []sentWrite
}

// A sentWrite is known again by its version.
type sentWrite struct {
	version version
	dot     crdt.Dot
}

// change reads k and writes what of adds to it, until nobody has written in between. An
// error that engine.OutcomeKnown accepts says that none of the tries was taken.
func (e *Engine) change(ctx context.Context, k crdt.Key, of func(view) (crdt.Record, crdt.Dot, error)) (crdt.Dot, error) {
	leave, err := e.lines.enter(ctx, k)
	if err != nil {
		return crdt.Dot{}, err
	}
	defer leave()
	c := changing{e: e, k: k, of: of}
	for t := newTries(); ; {
		dot, err := c.try(ctx)
		if err == nil {
			return dot, nil
		}
		if !isWorthATry(err) || !t.again(ctx) {
			return crdt.Dot{}, c.failed(ctx, err)
		}
	}
}

// try does it once.
func (c *changing) try(ctx context.Context) (crdt.Dot, error) {
	v, err := c.e.look(ctx, c.k)
	if err != nil {
		return crdt.Dot{}, notWritten(err)
	}
	for _, w := range c.sent {
		if w.version == v.version {
			return w.dot, nil
		}
	}
	if !c.e.config.Strong && v.where != c.e.config.Region {
		return crdt.Dot{}, errOtherRegion
	}
	effect, dot, err := c.of(v)
	if err != nil || effect.IsBottom() {
		return crdt.Dot{}, err
	}
	now := c.e.now()
	next := crdt.Join(v.own, effect).Prune(now)
	it := item{
		key: keyOf(c.k), writer: c.e.writer(), version: newVersion(), incarnation: v.incarnation, where: c.e.config.Region,
		data: crdt.AppendRecord(nil, next), expiry: expiryOf(next, now),
	}
	if size := len(it.data) + itemOverhead; size > maxItemBytes {
		return crdt.Dot{}, fmt.Errorf("%w: an item of %d bytes, at most %d", crdt.ErrLimit, size, maxItemBytes)
	}
	err = c.e.table.put(ctx, it, v.version)
	if err != nil && !errors.Is(err, errConflict) && !engine.OutcomeKnown(err) {
		c.sent = append(slices.Clip(c.sent), sentWrite{it.version, dot})
	}
	return dot, err
}

// failed returns what the caller is to hear of the last try's error: that its own outcome
// is known says nothing of a write sent before.
func (c *changing) failed(ctx context.Context, err error) error {
	err = ended(ctx, err)
	if len(c.sent) > 0 && engine.OutcomeKnown(err) {
		return fmt.Errorf("%w: an earlier try may have been taken; the last one was not: %v", engine.ErrUnavailable, err) //nolint:errorlint // it is not what became of the operation
	}
	return err
}
