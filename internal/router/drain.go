package router

import (
	"context"
	"errors"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// drainLeast and drainMost bound the wait before a record that the primary
	// did not take back is offered again; the wait doubles.
	drainLeast = 100 * time.Millisecond
	drainMost  = 2 * time.Second
)

// errStuck ends a Follow so that what is stuck is looked at again.
var errStuck = errors.New("some records were not taken back")

// drain follows the side store's log and has every record it names taken back
// where writes belong, as an operation that its peers hear of. Nothing is
// deleted: what was taken back is released from the log and expires in time.
// Doing so twice, as app servers that share a side store do, changes nothing.
func (r *Router) drain(ctx context.Context) {
	side := r.regions[r.rules().Here].Side
	log, ok := engine.As[engine.Log](side)
	if !ok {
		r.config.Log.Error("side store keeps no log: what is written there stays there")
		return
	}
	d := drainer{router: r, log: log, stuck: map[crdt.Key]struct{}{}}
	for ctx.Err() == nil {
		err := d.follow(ctx)
		if errors.Is(err, engine.ErrClosed) || sleep(ctx, drainLeast) != nil {
			return
		}
		d.again(ctx)
	}
}

// A drainer is one side store being taken back. It is used by one goroutine.
type drainer struct {
	router *Router
	log    engine.Log
	done   engine.Positions // everything up to here was taken back, or is stuck
	// stuck are records that were refused room, can't be read, or were taken and
	// are not seen to be held by two Regions yet (DESIGN R8). They hold up no
	// others, such as a logout behind them, and are offered again; meanwhile
	// nothing is released, so that a restart finds them.
	stuck map[crdt.Key]struct{}
}

// maxStuck bounds what is stuck. One beyond it holds up the rest.
const maxStuck = 10_000

// follow takes back what comes, until ctx ends or it is time to offer what is
// stuck again.
func (d *drainer) follow(ctx context.Context) error {
	begun := len(d.stuck)
	if begun > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, drainMost)
		defer cancel()
	}
	return d.log.Follow(ctx, d.done, func(b engine.Batch) error {
		if err := d.takeBackAll(ctx, b); err != nil {
			return err
		}
		d.done[b.Partition] = b.Last()
		if begun == 0 && len(d.stuck) > 0 {
			return errStuck
		}
		return d.release(ctx)
	})
}

func (d *drainer) release(ctx context.Context) error {
	if len(d.stuck) > 0 {
		return nil
	}
	return d.log.Release(ctx, d.done)
}

// again offers once more what is stuck.
func (d *drainer) again(ctx context.Context) {
	for k := range d.stuck {
		rec, fate := d.router.readSide(ctx, k)
		if fate == Settled && !d.router.held(ctx, rec) {
			fate = d.router.offer(ctx, rec)
		}
		switch fate {
		case Settled:
			delete(d.stuck, k)
		case Away:
			return
		}
	}
}

// takeBackAll takes back what a batch names, each record once, as it is now; and all
// records of its partition, if the log no longer had what came before it.
func (d *drainer) takeBackAll(ctx context.Context, b engine.Batch) error {
	if Missed(d.done[b.Partition], b) {
		if err := d.takeBackPartition(ctx, b.Partition); err != nil {
			return err
		}
	}
	done := map[crdt.Key]bool{}
	for _, f := range b.Frags {
		if done[f.Effect.Key] {
			continue
		}
		done[f.Effect.Key] = true
		if err := d.takeBackOne(ctx, f.Effect.Key); err != nil {
			return err
		}
	}
	return nil
}

// takeBackPartition takes back every record of a partition: those that were taken
// back before change nothing.
func (d *drainer) takeBackPartition(ctx context.Context, partition uint16) error {
	scanner, ok := engine.As[engine.Scanner](d.router.regions[d.router.rules().Here].Side)
	if !ok {
		d.router.config.Log.Error("side store's log was cut short and it can't be scanned: some of it may stay there",
			"partition", partition)
		return nil
	}
	var keys []crdt.Key
	err := scanner.Scan(ctx, engine.PartitionsOf(partition), func(rec crdt.Record) bool {
		keys = append(keys, rec.Key)
		return true
	})
	for _, k := range keys {
		if err == nil {
			err = d.takeBackOne(ctx, k)
		}
	}
	return err
}

// takeBackOne takes back one record, waiting while there is nowhere to take it.
func (d *drainer) takeBackOne(ctx context.Context, k crdt.Key) error {
	for wait := drainLeast; ; wait = min(2*wait, drainMost) {
		fate := d.router.takeBack(ctx, k)
		if fate == Stuck && len(d.stuck) < maxStuck {
			d.stuck[k], fate = struct{}{}, Settled
		}
		if fate == Settled {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// takeBack brings the side store's copy of one record to where writes belong.
func (r *Router) takeBack(ctx context.Context, k crdt.Key) Fate {
	rec, fate := r.readSide(ctx, k)
	if fate != Settled || rec.IsBottom() {
		return fate
	}
	return r.offer(ctx, rec)
}

// readSide reads the side store's copy of one record.
func (r *Router) readSide(ctx context.Context, k crdt.Key) (crdt.Record, Fate) {
	ctx, cancel := context.WithTimeout(ctx, r.rules().LocalTimeout)
	defer cancel()
	rec, err := r.regions[r.rules().Here].Side.Read(ctx, k, crdt.Token{})
	return rec, fateOf(err)
}

// held reports whether enough Regions' engines are seen to have a record, so that
// no failover of one of them loses it.
func (r *Router) held(ctx context.Context, rec crdt.Record) bool {
	if rec.IsBottom() {
		return true // it is past its time
	}
	holders := 0
	for _, id := range r.rules().Near {
		res := r.readEngine(ctx, Step{Region: id, Timeout: r.rules().Timeout(id)}, Query{Key: rec.Key})
		if res.Err == nil && Holds(res.Record, rec) {
			holders++
		}
		if holders >= r.rules().Holders() {
			return true
		}
	}
	return false
}

// offer has a record adopted where writes belong. One that was taken is Stuck
// until it is held, but where there is nobody else to hold it.
func (r *Router) offer(ctx context.Context, rec crdt.Record) Fate {
	begun := r.config.Clock()
	fate := Away // but for a Region that is there and can't take this one
	for _, id := range r.rules().Writers() {
		a := Answer{Region: id, Tries: 1, Left: id != r.rules().Here}
		err := r.guarded(ctx, id, r.rules().Timeout(id), func(ctx context.Context) (err error) {
			a.Dot, err = r.regions[id].Engine.Apply(ctx, rec.Key, Adoption(rec))
			return err
		})
		switch FateOfReturn(err) {
		case Settled:
			r.observe(TakeBack, rec.Key, a, err, begun)
			if err == nil && r.rules().Holders() > 1 {
				return Stuck
			}
			return Settled
		case Stuck:
			fate = Stuck
		}
	}
	return fate
}
