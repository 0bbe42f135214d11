package salvage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/router"
)

const (
	// workers is how many records are brought home at a time: the target may be far.
	workers = 64
	// tries is how often something is asked for that may work the next time, pauseLeast
	// and pauseMost bound the pause between two.
	tries      = 6
	pauseLeast = 50 * time.Millisecond
	pauseMost  = time.Second
	// scanned is how many records of a scan are looked at together.
	scanned = 2000
)

// A task is one record that has something to be brought home.
type task struct {
	key     crdt.Key
	entries []entry
	state   *crdt.Record // of a scan: all that is known
	ending  bool

	base    crdt.Record // at home before
	rec     crdt.Record // what must be at home
	after   crdt.Record // at home now
	adopted bool
	refused error // why it can't be there
	stuck   error // why it can't be there now
}

// settle brings home what was gathered, and lists it.
func (r *run) settle(ctx context.Context) error {
	tasks := group(r.gathered)
	r.gathered, r.bytes = nil, 0
	return r.finish(ctx, tasks)
}

// group makes a task of what is of one record, endings first.
func group(entries []entry) []*task {
	by := map[crdt.Key]*task{}
	var out []*task
	for _, e := range entries {
		k := e.frag.Effect.Key
		t := by[k]
		if t == nil {
			t = &task{key: k}
			by[k], out = t, append(out, t)
		}
		t.entries = append(t.entries, e)
		if _, is := e.frag.Ending(); is {
			t.ending = true
		}
	}
	slices.SortStableFunc(out, func(a, b *task) int { return cmp.Compare(rank(a.ending), rank(b.ending)) })
	return out
}

func rank(ending bool) int {
	if ending {
		return 0
	}
	return 1
}

// finish brings tasks home, lists what was missing, and waits until it is held.
func (r *run) finish(ctx context.Context, tasks []*task) error {
	endings := slices.IndexFunc(tasks, func(t *task) bool { return !t.ending })
	if endings < 0 {
		endings = len(tasks)
	}
	err := r.bringAll(ctx, tasks[:endings])
	if err == nil {
		err = r.bringAll(ctx, tasks[endings:])
	}
	now := r.now()
	for _, t := range tasks {
		if t.adopted {
			r.out.Adopted++
			r.progress.Adopted++
		}
		if t.stuck != nil {
			r.stuck = cmp.Or(r.stuck, t.stuck) // the first one tells enough
		} else if err == nil || t.adopted {
			r.list(t, now)
		}
	}
	if err == nil && r.Held != nil {
		err = each(len(tasks), func(i int) error { return r.awaitHeld(ctx, tasks[i]) })
	}
	r.progress.Records += uint64(len(tasks))
	if r.Progress != nil {
		r.Progress(r.progress)
	}
	return err
}

// bringAll brings tasks home, some of them at a time.
func (r *run) bringAll(ctx context.Context, tasks []*task) error {
	return each(len(tasks), func(i int) error {
		if err := r.pace.wait(ctx, r.Rate); err != nil {
			return err
		}
		err := r.bring(ctx, tasks[i])
		if errors.Is(err, engine.ErrFull) || errors.Is(err, engine.ErrCorrupt) {
			tasks[i].stuck, err = err, nil // it holds up no others
		}
		return err
	})
}

// bring has the target adopt what it lacks of one record.
func (r *run) bring(ctx context.Context, t *task) (err error) {
	if t.base, err = r.read(ctx, r.Target, t.key, crdt.Dot{}); err != nil {
		return err
	}
	if t.rec, err = r.wanted(ctx, t); err != nil {
		return err
	}
	t.after = t.base
	if claims(t.base, t.rec, r.now()) {
		return nil
	}
	var dot crdt.Dot
	err = again(ctx, func() (err error) {
		dot, err = r.Target.Apply(ctx, t.key, router.Adoption(t.rec))
		return err
	})
	if engine.IsRefusal(err) && !errors.Is(err, crdt.ErrDead) {
		t.refused = err
		return nil
	}
	if err != nil && !errors.Is(err, crdt.ErrDead) {
		return err
	}
	t.adopted = err == nil // else it has ended meanwhile
	if t.after, err = r.read(ctx, r.Target, t.key, dot); err != nil {
		return err
	}
	if !claims(t.after, t.rec, r.now()) && !t.past(r.now()) {
		return fmt.Errorf("%w: what it took of %v is not there: it may be another server by now", engine.ErrUnavailable, t.key)
	}
	return nil
}

// past reports whether nobody shows the record any more.
func (t *task) past(now crdt.Time) bool {
	until, ok := t.rec.KeepUntil()
	return ok && now >= until
}

// holdable reports whether there is something at home that others are to have.
func (t *task) holdable(now crdt.Time) bool {
	return t.refused == nil && t.stuck == nil && !t.rec.IsBottom() && !t.past(now)
}

// wanted returns what has to be at home of a record: what is there, and what was missing. A
// write that lacks another one before it is had from the former primary's record; where that
// is gone too, it is taken by itself.
func (r *run) wanted(ctx context.Context, t *task) (crdt.Record, error) {
	if t.state != nil {
		return crdt.Join(t.base, *t.state), nil
	}
	frags := make([]crdt.Fragment, len(t.entries))
	for i, e := range t.entries {
		frags[i] = e.frag
	}
	rec, whole := fold(t.base, frags)
	if !whole && r.Old != nil {
		state, err := r.read(ctx, r.Old, t.key, crdt.Dot{})
		if err != nil && !errors.Is(err, engine.ErrCorrupt) {
			return rec, fmt.Errorf("the former primary: %w", err)
		}
		if err == nil {
			rec = crdt.Join(rec, state)
		}
	}
	return foldLoose(rec, frags), nil
}

// read reads a record, as new as a write of it.
func (r *run) read(ctx context.Context, e engine.Engine, k crdt.Key, seen crdt.Dot) (rec crdt.Record, err error) {
	err = again(ctx, func() (err error) {
		rec, err = e.Read(ctx, k, crdt.Token{}.With(seen))
		if errors.Is(err, engine.ErrRefilling) && e == r.Old {
			err = nil // what it shows is what it has
		}
		return err
	})
	return rec, err
}

// list lists what was missing of a record.
func (r *run) list(t *task, now crdt.Time) {
	if t.state != nil {
		r.listState(t)
		return
	}
	for _, e := range t.entries {
		if !e.after && (t.base.Dead || t.base.VV.Has(e.frag.Dot)) {
			continue // it was not missing
		}
		item := Item{Session: t.key.String(), Dot: e.frag.Dot, At: e.frag.Dot.Stamp.Time(), Kind: kindOf(e.frag)}
		switch {
		case errors.Is(t.refused, crdt.ErrExpired):
			item.Fate, item.Reason = Superseded, "the session is past its deadline"
		case t.refused != nil:
			item.Fate, item.Reason = Lost, t.refused.Error()
		default:
			item.Fate, item.Reason = fateOf(e.frag, t.after, now)
		}
		r.note(item)
	}
}

// listState lists what a scan has brought home.
func (r *run) listState(t *task) {
	if !t.adopted && (t.refused == nil || errors.Is(t.refused, crdt.ErrExpired)) {
		return
	}
	latest := t.state.Latest()
	item := Item{Session: t.key.String(), Dot: crdt.Dot{Stamp: latest}, At: latest.Time(), Kind: State, Fate: Unknown}
	switch {
	case t.refused != nil:
		item.Fate, item.Reason = Lost, t.refused.Error()
	case t.state.Dead:
		item.Kind, item.Fate = Destroy, Recovered
	default:
		item.Reason = "the log is gone: which writes it lacked is not known"
	}
	r.note(item)
}

// note counts an item, and tells of it.
func (r *run) note(item Item) {
	r.out.add(item, r.Items)
	if r.Listed != nil {
		r.Listed(item)
	}
}

// awaitHeld returns when another Region has a record, or ctx ends.
func (r *run) awaitHeld(ctx context.Context, t *task) error {
	if !t.holdable(r.now()) {
		return nil
	}
	for wait := pauseLeast; ; wait = min(2*wait, pauseMost) {
		held, asked := r.Held(ctx, t.rec)
		if held && asked == nil {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("%v is not seen to be held by another Region: %w", t.key, errors.Join(err, asked))
		}
	}
}

// scan brings home what the former primary has of some partitions, whatever its log says.
func (r *run) scan(ctx context.Context, of engine.Partitions) error {
	scanner, ok := engine.As[engine.Scanner](r.Old)
	if !ok {
		return errors.New("the former primary: its log was cut short and it can't be scanned")
	}
	var tasks []*task
	var failed error
	next := func() error {
		err := r.finish(ctx, tasks)
		tasks = nil
		return err
	}
	err := scanner.Scan(ctx, of, func(rec crdt.Record) bool {
		tasks = append(tasks, &task{key: rec.Key, state: &rec})
		if len(tasks) == scanned {
			failed = next()
		}
		return failed == nil
	})
	if failed == nil && err == nil {
		failed = next()
	}
	return errors.Join(failed, err)
}

func (r *run) now() crdt.Time { return crdt.TimeOf(r.Clock()) }

// each does something for 0 to n-1, some of it at a time, and returns an error of it. After
// one fails no other is begun.
func each(n int, do func(i int) error) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards what follows
		next   int
		failed error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && failed == nil
	}
	for range min(workers, n) {
		wg.Go(func() {
			for i, more := take(); more; i, more = take() {
				if err := do(i); err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// again tries something until it works or is refused, and some times at the most.
func again(ctx context.Context, do func() error) error {
	wait := pauseLeast
	for try := 1; ; try++ {
		err := do()
		if err == nil || engine.IsRefusal(err) || lasts(err) || try == tries {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, pauseMost)
	}
}

// lasts reports whether there is no sense in asking again soon.
func lasts(err error) bool {
	return errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrCorrupt) || errors.Is(err, engine.ErrFull)
}

// sleep waits, and fails if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if !pause.For(ctx, d) {
		return engine.Ended(ctx)
	}
	return nil
}

// A pace bounds a rate.
type pace struct {
	mu   sync.Mutex // guards next
	next time.Time
}

// wait waits for a turn of so many a second.
func (p *pace) wait(ctx context.Context, rate int) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = p.next.Add(time.Second / time.Duration(rate))
	p.mu.Unlock()
	if d := at.Sub(now); d > 0 {
		return sleep(ctx, d)
	}
	return ctx.Err()
}
