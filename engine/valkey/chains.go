package valkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shardsFor is for how long it is remembered which shards a cluster has, and where their
// primaries are. When something is not as it was, it is asked at once.
const shardsFor = 250 * time.Millisecond

// Chains are for all shards of a cluster what a Chain is for one server, but that they steer
// nothing: each Region has a cluster, whose shards follow those of another one, and whoever
// manages the clusters says which. A shard's server is who the cluster here calls its
// primary; of itself it may say that it is a replica, of another Region's.
//
// The user that they connect as needs what ACLOfNode lists, but for what steers. They may be
// used by many goroutines, and do one thing at a time, as a Chain does and with its errors. A
// call fails where one shard can't be asked, or a partition is in none. All may be repeated.
type Chains struct {
	engine *Engine
	turn   *turn // guards what follows
	parts  []part
	asked  time.Time      // when the cluster was asked for them; zero: they may be others now
	gone   sync.WaitGroup // parts that are let go of

	number atomic.Uint64 // of the last beat; beats go on without it, but under several numbers
}

// A part is a shard.
type part struct {
	*Chain
	addr string
	at   signs
}

// Chains returns what tells of the shards of e's cluster, with connections of its own. It
// fails if e is not on a cluster. Close it before e.
func (e *Engine) Chains() (*Chains, error) {
	if !e.Cluster() {
		return nil, errors.New("the server is no cluster's: it has a Chain")
	}
	return &Chains{engine: e, turn: newTurn()}, nil
}

// Close lets go of the connections, as that of a Chain does.
func (c *Chains) Close() error {
	c.turn.end(func() {
		for _, p := range c.parts {
			c.gone.Go(func() { _ = p.Close() }) // never fails
		}
		c.gone.Wait()
	})
	return nil
}

// Redial lets go of the connections, so that whatever is asked next is asked of those who are
// the shards' primaries then.
func (c *Chains) Redial(ctx context.Context) error {
	if err := c.turn.take(ctx); err != nil {
		return fmt.Errorf("dial anew: %w", err)
	}
	defer c.turn.give()
	c.asked = time.Time{}
	_, err := ofAll(c.parts, func(p part) (any, error) { return nil, p.Redial(ctx) })
	return err
}

// Role returns what the shards say of themselves, together. It is a primary if all are, and
// a replica that is linked if all are that: if some are one and some the other it is
// neither, as it may become either, so that no lease is given to it and nobody counts on
// what it has. What is worst of one is so of all. Follows is empty, since each follows another one;
// RunID, and Replid too, is another one when one shard's is.
func (c *Chains) Role(ctx context.Context) (Role, error) {
	ask := func(p part) (Role, error) { return p.Role(ctx) }
	roles, err := ofShards(ctx, c, shardsFor, ask)
	if err == nil && mixed(roles) { // one may have been replaced within its Region
		roles, err = ofShards(ctx, c, 0, ask)
	}
	if err != nil {
		return Role{}, err // it says what was asked
	}
	return together(roles), nil
}

// Mark has every shard tell its replicas that an epoch is over. It fails if one does not.
func (c *Chains) Mark(ctx context.Context, epoch uint64) error {
	_, err := ofShards(ctx, c, 0, func(p part) (any, error) { return nil, p.mark(ctx, epoch, p.at) })
	if err != nil {
		return fmt.Errorf("mark that epoch %d is over: %w", epoch, err)
	}
	return nil
}

// Marked returns the last epoch that is known to be over at every shard; 0: none is. Where
// a mark may have moved with its slot, it is none.
func (c *Chains) Marked(ctx context.Context) (uint64, error) {
	marks, err := ofShards(ctx, c, shardsFor, func(p part) (uint64, error) {
		epoch, err := p.marked(ctx, p.at)
		return epoch, unless(errMoving, err)
	})
	if err != nil {
		return 0, fmt.Errorf("read which epoch is over: %w", err)
	}
	return leastOf(marks), nil
}

// Beat has every shard write its next sign of life, all under one number, and fails if one
// does not. Shards that had different numbers have one from the next beat on.
func (c *Chains) Beat(ctx context.Context, epoch uint64) error {
	least := c.number.Load() + 1
	numbers, err := ofShards(ctx, c, shardsFor, func(p part) (uint64, error) { return p.beat(ctx, epoch, least, p.at) })
	for _, n := range numbers {
		c.number.Store(max(n, c.number.Load()))
	}
	if err != nil {
		return fmt.Errorf("beat in epoch %d: %w", epoch, err)
	}
	return nil
}

// Beaten returns what has come of beats to the shards: the oldest one, with the latest epoch
// that any of them has heard of.
func (c *Chains) Beaten(ctx context.Context) (Beat, error) {
	beats, err := ofShards(ctx, c, shardsFor, func(p part) (Beat, error) {
		b, err := p.beaten(ctx, p.at)
		return b, unless(errMoving, err)
	})
	if err != nil {
		return Beat{}, fmt.Errorf("read the last beat: %w", err)
	}
	return oldest(beats), nil
}

// ofShards asks all shards at once, and returns what they answer, in the order of their
// lowest partitions. Which these are may be as old as age; where that fails it is found out
// anew, and all are asked once more.
func ofShards[T any](ctx context.Context, c *Chains, age time.Duration, ask func(part) (T, error)) ([]T, error) {
	if err := c.turn.take(ctx); err != nil {
		return nil, err
	}
	defer c.turn.give()
	var before error
	if time.Since(c.asked) < age {
		var out []T
		if out, before = ofAll(c.parts, ask); before == nil {
			return out, nil
		}
	}
	if err := c.refresh(ctx); err != nil {
		return nil, errors.Join(before, err)
	}
	return ofAll(c.parts, ask)
}

// ofAll asks all parts at once. Of one that fails there is a zero among the answers.
func ofAll[T any](parts []part, ask func(part) (T, error)) ([]T, error) {
	out, errs := make([]T, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			if out[i], errs[i] = ask(p); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", p.addr, errs[i])
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// refresh finds out which shards there are. Whoever calls it has the turn.
func (c *Chains) refresh(ctx context.Context) error {
	shards, err := c.engine.whole(ctx)
	if err != nil {
		return fmt.Errorf("find the shards: %w", err)
	}
	slices.SortFunc(shards, func(a, b shard) int { return cmp.Compare(a.lowest(), b.lowest()) })
	have := map[string]*Chain{}
	for _, p := range c.parts {
		have[p.addr] = p.Chain
	}
	parts := make([]part, len(shards))
	for i, s := range shards {
		chain := have[s.primary]
		if delete(have, s.primary); chain == nil {
			chain = newChain(c.engine.config, s.primary)
			chain.shard = true
		}
		parts[i] = part{chain, s.primary, signsOf(s.lowest())}
	}
	for _, gone := range have {
		c.gone.Go(func() { _ = gone.Close() }) // never fails
	}
	c.parts, c.asked = parts, time.Now()
	return nil
}

// lowest returns the first partition that a shard has.
func (s shard) lowest() uint16 { return uint16(bits.TrailingZeros64(s.partitions)) } //nolint:gosec // at most 64

// unless returns err but where it is what is expected.
func unless(expected, err error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
