package opener

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// ownShare is in how many looks the beat is written whether or not somebody else has: of
	// another's beat it is not known when it was written, so it tells no lag.
	ownShare = 16
	// leastPoll is between two looks at the copy here.
	leastPoll = 10 * time.Millisecond
)

// A Beats tells how old what the copy here of a store has of other Regions is, where that
// replicates itself and is read before all is there: as a Global Table of DynamoDB does
// (DESIGN R10). In each Region's copy there is a beat, a write that means nothing, and
// when it gets here, what was written there before it has had its time to get here too.
// That is as much as such a store tells: its items travel apart.
//
// Whoever finds that nobody has written a Region's beat since the last look does so, in
// that Region's own copy, and needs no node and nobody else there. So however many look,
// there is about one write an interval. No clock but this process's has a part in it. It
// may be used by many goroutines.
type Beats struct {
	stop  context.CancelFunc
	work  sync.WaitGroup
	peers map[crdt.Region]*pulse // never changes
}

// beatKey is of a user whose name no user has. Her epoch is the beat: it rises with each
// write, and takes the room of one field a Region.
func beatKey() crdt.Key { return crdt.UserKey("\x00roam: a beat, and nobody") }

// Listen begins to measure, every interval; zero: two seconds. Peers are the other Regions'
// engines, each on that Region's copy. Close the Beats before the engines.
func Listen(ctx context.Context, here engine.Engine, peers map[crdt.Region]engine.Engine, interval time.Duration) *Beats {
	if interval <= 0 {
		interval = topology.DefaultBeat
	}
	b := &Beats{peers: map[crdt.Region]*pulse{}}
	ctx, b.stop = context.WithCancel(ctx)
	for id, e := range peers {
		p := &pulse{region: id, here: here, there: e, interval: interval}
		b.peers[id] = p
		b.work.Go(func() { p.listen(ctx) })
	}
	return b
}

// A pulse is what is known of one Region.
type pulse struct {
	region      crdt.Region
	here, there engine.Engine
	interval    time.Duration

	// What follows is of the goroutine that listens.

	last    crdt.Dot  // the beat that was last seen there
	looked  time.Time // when that look began; zero: there was none
	waiting []beat    // not here yet: at most the oldest, which is bound to come, and the newest

	mu    sync.Mutex // guards what follows
	heard time.Time  // all that was written there by then has had its time; zero: not known
	lag   time.Duration
	err   error // of the last look at either copy
}

// A beat is one that was seen there.
type beat struct {
	dot   crdt.Dot
	since time.Time // it was written after that
	// took is how long it took us to write it just then; zero: another did.
	took time.Duration
}

// listen looks until ctx ends.
func (p *pulse) listen(ctx context.Context) {
	if l, ok := p.there.(*Lazy); ok { // the first look is not to be a pause too late
		select {
		case <-ctx.Done():
		case <-l.Opened():
		}
	}
	for ctx.Err() == nil {
		begun := time.Now()
		next, err := p.look(ctx)
		if err == nil {
			p.await(next)
			err = p.arrive(ctx, begun.Add(p.interval))
		}
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		// Those who look must not all do so at one moment: they would all write.
		spread := p.interval*3/4 + rand.N(p.interval/2) //nolint:gosec // a pause
		pause.For(ctx, spread-time.Since(begun))
	}
}

// look returns the beat of the other copy, which it writes if nobody else has.
func (p *pulse) look(ctx context.Context) (beat, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	begun := time.Now()
	r, err := p.there.Read(ctx, beatKey(), crdt.Token{})
	if err != nil {
		return beat{}, err
	}
	b := beat{dot: newestOf(r, p.region), since: p.looked}
	if b.dot == p.last || p.looked.IsZero() || rand.N(ownShare) == 0 { //nolint:gosec // guards nothing
		begun = time.Now()
		b.since = begun
		if b.dot, err = p.there.Apply(ctx, beatKey(), crdt.Op{Revoke: true}); err != nil {
			return beat{}, err
		}
		b.took = max(time.Since(begun), 1)
	}
	p.last, p.looked = b.dot, begun
	return b, nil
}

// newestOf returns the newest write of a Region that a record tells of.
func newestOf(r crdt.Record, region crdt.Region) (newest crdt.Dot) {
	for _, d := range r.VV {
		if d.Actor.Region() == region && newest.Before(d) {
			newest = d
		}
	}
	return newest
}

// await has a beat waited for.
func (p *pulse) await(b beat) {
	if len(p.waiting) > 0 && p.waiting[0].dot.Actor != b.dot.Actor {
		p.waiting = nil // the copy there is another one, and the old beat may never come
	}
	p.waiting = append(p.waiting[:min(len(p.waiting), 1)], b)
}

// arrive looks at the copy here until all that is waited for has come, or until then.
func (p *pulse) arrive(ctx context.Context, until time.Time) error {
	newest := p.waiting[len(p.waiting)-1]
	wait := max(firstPoll, p.known()/2)
	for {
		if left := time.Until(until); left <= 0 || !pause.For(ctx, min(wait, left)) {
			return nil
		}
		asked := time.Now()
		inner, cancel := context.WithTimeout(ctx, askTimeout)
		r, err := p.here.Read(inner, beatKey(), crdt.Token{})
		cancel()
		if err != nil {
			return err
		}
		if p.note(r, asked); len(p.waiting) == 0 {
			return nil
		}
		wait = max(leastPoll, time.Since(newest.since)/4)
	}
}

// known returns the lag as it was last measured.
func (p *pulse) known() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lag
}

// note notes which beats the record here has.
func (p *pulse) note(r crdt.Record, asked time.Time) {
	for len(p.waiting) > 0 && r.VV.At(p.waiting[0].dot.Actor) >= p.waiting[0].dot.Stamp {
		b := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.mu.Lock()
		p.heard = b.since
		if b.took > 0 { // it was there half of that after it was sent
			p.lag = max(asked.Sub(b.since)-b.took/2, time.Millisecond)
		}
		p.mu.Unlock()
	}
}

// Heard returns how old the last news of a Region is. Not ok: none has come.
func (b *Beats) Heard(r crdt.Region) (age time.Duration, ok bool) {
	p := b.peers[r]
	if p == nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.heard), !p.heard.IsZero()
}

// Lag returns how late a write of a Region gets here, as it was last measured; zero: not
// yet.
func (b *Beats) Lag(r crdt.Region) time.Duration {
	p := b.peers[r]
	if p == nil {
		return 0
	}
	return p.known()
}

// Err returns why a Region, or the copy here, could not be asked last; nil: it was.
func (b *Beats) Err(r crdt.Region) error {
	p := b.peers[r]
	if p == nil {
		return nil
	}
	if l, ok := p.there.(*Lazy); ok && l.Err() != nil {
		return l.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Everywhere reports whether every Region is known to have a write. What others have
// nobody here knows.
func (b *Beats) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring. It never fails.
func (b *Beats) Close() error {
	b.stop()
	b.work.Wait()
	return nil
}
