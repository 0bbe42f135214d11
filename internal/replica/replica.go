package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// DefaultHeartbeat is how old what is known of a peer is at best: half a second is
	// nothing beside the ten that strict routes live with.
	DefaultHeartbeat = 500 * time.Millisecond
	// DefaultSilence is six heartbeats: a link that lost that many is dead, and
	// TCP alone would take minutes to say so.
	DefaultSilence = 3 * time.Second
	// A link that was cut comes back within mostBackoff of its healing.
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = 2 * time.Second
	// releaseEvery is how often the log hears what it may trim.
	releaseEvery = 200 * time.Millisecond
)

// Config tunes a Replica. Its zero value is good.
type Config struct {
	// Limits bound each link; its zero value means the defaults.
	Limits Limits
	// Heartbeat is how often a link says how far the log is; 500 ms. What is
	// known of an origin's writes is at best that old.
	Heartbeat time.Duration
	// Silence is how long a link may be silent, or a write may take, before it
	// is given up; 3 s.
	Silence time.Duration
	// BackoffMin and BackoffMax bound the wait before a link is dialled again;
	// 50 ms and 2 s, doubling, half of it jitter.
	BackoffMin, BackoffMax time.Duration
	// Jitter returns a number in [0, 1); math/rand/v2.
	Jitter func() float64
	// Log hears of links that come and go; silent.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.withDefaults()
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Heartbeat, DefaultHeartbeat},
		{&c.Silence, DefaultSilence},
		{&c.BackoffMin, leastBackoff},
		{&c.BackoffMax, mostBackoff},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Dial opens a connection to a peer. Who is at its other end is for the
// connection to prove: see Proven. Of one that proves nothing, Replica believes
// the hello.
type Dial func(ctx context.Context, peer crdt.Region) (net.Conn, error)

// A Proven connection knows which Region is at its other end.
type Proven interface {
	// Peer returns that Region. It is asked once something has been read, and
	// fails if the other end has proved nothing.
	Peer() (crdt.Region, error)
}

// ErrImpostor says that the other end of a link claims to be another Region than
// the one that it proved to be.
var ErrImpostor = errors.New("peer claims to be another Region")

// proved compares what the other end of a connection says of itself with what it
// has proved, where connections prove anything.
func proved(conn net.Conn, claim crdt.Region) error {
	p, ok := conn.(Proven)
	if !ok {
		return nil
	}
	peer, err := p.Peer()
	if err == nil && peer != claim {
		err = fmt.Errorf("%w: %d, and is %d", ErrImpostor, claim, peer)
	}
	return err
}

// ErrEngine says that an engine has no log, takes in none or can't be scanned.
var ErrEngine = errors.New("engine does not replicate")

// A Replica pushes the log of the engine of one Region to its peers and takes in
// theirs. It may be used by many goroutines.
type Replica struct {
	here     crdt.Region
	eng      engine.Engine
	log      engine.Log
	sink     engine.Sink
	scanner  engine.Scanner
	refiller engine.Refiller               // nil: the engine has no such power
	given    chan struct{}                 // holds one when peers may have given all
	compare  map[crdt.Region]chan struct{} // asks a link for a comparison
	dial     Dial
	cfg      Config
	start    time.Time // of the process's clock, which does not step

	wg sync.WaitGroup // all goroutines

	mu        sync.Mutex // guards what follows; nothing that blocks is called under it
	closed    bool
	cancels   map[int]context.CancelFunc
	next      int // key in cancels
	ledger    *Ledger
	out       map[crdt.Region]*Peer
	in        map[crdt.Region]*inbound
	refilling bool // the engine lost something, and peers' states have not all come
}

// inbound is what outlives one link from an origin.
type inbound struct {
	cancel context.CancelFunc // of the link there is; nil: none
	done   chan struct{}      // closed when that link is gone
	want   uint64
	anew   bool // the next link wants everything
	status Source
}

// New returns a Replica for the engine e of Region here, pushing to peers until
// Close or the end of ctx. It fails with ErrEngine if e has no engine.Log,
// engine.Sink and engine.Scanner, and with e's error if it does not answer.
//
// An engine that holds nothing is refilled from its peers, as is an
// engine.Refiller that says that it lost something, now or later. A Refiller is told
// so before New returns, and again when all peers have given what they have.
func New(ctx context.Context, here crdt.Region, e engine.Engine, peers []crdt.Region, dial Dial, cfg Config) (*Replica, error) {
	r := &Replica{
		here: here, eng: e, dial: dial, cfg: cfg.withDefaults(), start: time.Now(),
		cancels: map[int]context.CancelFunc{}, ledger: NewLedger(peers),
		given: make(chan struct{}, 1),
		out:   map[crdt.Region]*Peer{}, in: map[crdt.Region]*inbound{}, compare: map[crdt.Region]chan struct{}{},
	}
	var hasLog, hasSink, hasScanner bool
	r.log, hasLog = engine.As[engine.Log](e)
	r.sink, hasSink = engine.As[engine.Sink](e)
	r.scanner, hasScanner = engine.As[engine.Scanner](e)
	r.refiller, _ = engine.As[engine.Refiller](e)
	if !hasLog || !hasSink || !hasScanner {
		return nil, fmt.Errorf("replicate Region %d: %w: log %t, sink %t, scanner %t",
			here, ErrEngine, hasLog, hasSink, hasScanner)
	}
	for _, p := range peers {
		if p == here || !p.Valid() || r.out[p] != nil {
			return nil, fmt.Errorf("replicate Region %d: peer %d is this Region, is twice or is none", here, p)
		}
		r.out[p], r.in[p] = &Peer{Region: p}, &inbound{status: Source{Region: p}}
		r.compare[p] = make(chan struct{}, 1)
	}
	if err := r.beginRefill(ctx, peers); err != nil {
		return nil, fmt.Errorf("replicate Region %d: %w", here, err)
	}
	ctx, leave := r.enter(ctx)
	go r.run(ctx, leave, peers)
	return r, nil
}

// run pushes to all peers until ctx ends.
func (r *Replica) run(ctx context.Context, leave func(), peers []crdt.Region) {
	defer leave()
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() { r.push(ctx, p) })
	}
	wg.Go(func() { r.refill(ctx) })
	r.release(ctx)
	wg.Wait()
}

// blank reports whether the engine holds nothing of anyone's log: it is new, or
// lost everything. Then logs would not bring back what was written here, and the
// peers' states are asked for.
func (r *Replica) blank(ctx context.Context, peers []crdt.Region) (bool, error) {
	head, err := r.log.Head(ctx)
	if err != nil || head != (engine.Positions{}) {
		return false, err
	}
	for _, p := range peers {
		at, err := r.sink.Positions(ctx, p)
		if err != nil || at != (engine.Positions{}) {
			return false, err
		}
	}
	return true, nil
}

// Close ends all links and returns when the last goroutine is gone.
func (r *Replica) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, cancel := range r.cancels {
		cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// enter returns a context that Close ends, and what is to be called when it is
// no longer needed.
func (r *Replica) enter(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		cancel()
		return ctx, func() {}
	}
	key := r.next
	r.next++
	r.cancels[key] = cancel
	r.wg.Add(1) // so that Close waits for who is inside
	return ctx, func() {
		cancel()
		r.mu.Lock()
		delete(r.cancels, key)
		r.mu.Unlock()
		r.wg.Done()
	}
}

// Compare has all partitions compared with all peers as soon as there are links,
// and what differs mended, both ways if they do so too. It is for who knows that
// an engine may have lost something, as after a failover.
func (r *Replica) Compare() {
	for p := range r.compare {
		r.compareWith(p)
	}
}

func (r *Replica) compareWith(peer crdt.Region) {
	select {
	case r.compare[peer] <- struct{}{}:
	default: // it has been asked for
	}
}

// now is the time by the monotonic clock: a step of the wall clock must neither
// end links nor make what was heard look fresh.
func (r *Replica) now() crdt.Time { return crdt.TimeOf(r.start.Add(time.Since(r.start))) }

// release tells the log what it may trim, until ctx ends.
func (r *Replica) release(ctx context.Context) {
	tick := time.NewTicker(releaseEvery)
	defer tick.Stop()
	var last engine.Positions
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		upto := r.ledger.Release()
		r.mu.Unlock()
		if upto == last {
			continue
		}
		if err := r.log.Release(ctx, upto); err != nil {
			r.cfg.Log.Warn("release log", "region", r.here, "err", err)
			continue
		}
		last = upto
	}
}

// push keeps a link to peer until ctx ends.
func (r *Replica) push(ctx context.Context, peer crdt.Region) {
	wait := r.cfg.BackoffMin
	var sweep Sweep
	for ctx.Err() == nil {
		began := time.Now()
		err := r.link(ctx, peer, &sweep)
		r.update(func() {
			st := r.out[peer]
			st.Connected, st.Unacked, st.LagTime = false, 0, 0
			if err != nil && ctx.Err() == nil {
				st.LastError = err.Error()
			}
		})
		if ctx.Err() != nil {
			return
		}
		r.cfg.Log.Warn("link to peer is down", "peer", peer, "err", err)
		if time.Since(began) > r.cfg.Silence {
			wait = r.cfg.BackoffMin
		}
		// At least half, so that a peer that refuses at once is not hammered.
		pause.For(ctx, wait/2+time.Duration(r.cfg.Jitter()*float64(wait/2)))
		wait = min(2*wait, r.cfg.BackoffMax)
	}
}

func (r *Replica) update(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}
