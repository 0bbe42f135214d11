package valkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// maxEpoch is the last epoch there is.
	maxEpoch = 1<<48 - 1
	// maxLease bounds a lease: as long as it lasts nobody else can write.
	maxLease = time.Minute
	// clockBytes is how many of a server's clock are the time.
	clockBytes = 6
)

// Under has writes be refused with engine.ErrNotPrimary by a server that does not hold
// the lease of epoch; 0, the default: leases are not known here, and a server that has
// ever held one refuses. It is told to every engine that writes, once an epoch. Whoever
// is under one is refused by a replica at once, which no promotion is waited for.
func (e *Engine) Under(epoch uint64) { e.epoch.Store(min(epoch, maxEpoch)) }

// Clocks are what the clocks of an engine's primaries said, and which servers these were.
type Clocks struct {
	by map[string]string // address: time and replication ID
}

// Times returns the times, since 2024, in an order that stays while the servers do.
func (c Clocks) Times() []time.Duration {
	var out []time.Duration
	for _, addr := range slices.Sorted(maps.Keys(c.by)) {
		out = append(out, time.Duration(number(c.by[addr][:clockBytes]))*time.Millisecond) //nolint:gosec // 48 bits
	}
	return out
}

// History returns what names the history of data that they were writing: Role.Replid, also
// of all shards of a cluster. It is another one when a server has started anew.
func (c Clocks) History() string {
	var all []string
	for _, clock := range c.by {
		all = append(all, clock[clockBytes:])
	}
	return setOf(all)
}

// Clocks asks the primaries for their clocks, for Grant.
func (e *Engine) Clocks(ctx context.Context) (Clocks, error) {
	by, err := everyPrimary(ctx, e, func(_ string, node valkey.Client) (string, error) {
		clock, err := e.ofServer(ctx, node, "roam_v1_clock").ToString()
		if err != nil {
			return "", e.failed(ctx, err)
		}
		if len(clock) <= clockBytes {
			return "", fmt.Errorf("%w: clock of %d bytes", engine.ErrUnavailable, len(clock))
		}
		return clock, nil
	})
	if err != nil {
		return Clocks{}, fmt.Errorf("ask for clocks: %w", err)
	}
	return Clocks{by}, nil
}

// Grant gives the primaries the lease of an epoch, from what their clocks said on: then
// they take the writes of engines that are Under it. Whoever grants must have asked for
// the clocks before it made sure that nobody else holds one (DESIGN R5, R6), and grants
// again before it ends. A server keeps it in its memory alone, not even its replicas have
// it; one that starts anew, becomes a primary or loses its functions has none until it is
// granted again: engine.ErrUnreachable says that this happened in between. A server that
// has held the lease of a later epoch, or whose epoch was ended, refuses with
// engine.ErrNotPrimary. After an error some of a cluster may have it.
func (e *Engine) Grant(ctx context.Context, epoch uint64, c Clocks, lasts time.Duration) error {
	if epoch == 0 || epoch > maxEpoch || lasts <= 0 || lasts > maxLease {
		return fmt.Errorf("grant the lease: %w: epoch %d for %v: want 1 to %d, and at most %v",
			crdt.ErrMalformed, epoch, lasts, uint64(maxEpoch), maxLease)
	}
	_, err := everyPrimary(ctx, e, func(addr string, node valkey.Client) (any, error) {
		clock, ok := c.by[addr]
		if !ok {
			return nil, fmt.Errorf("%w: it was not asked for its clock", engine.ErrUnreachable)
		}
		stop := number(clock[:clockBytes]) + uint64(lasts.Milliseconds()) //nolint:gosec // positive
		arg := string(appendNumber(appendNumber(nil, epoch, 6), stop, 6)) + clock[clockBytes:]
		return nil, e.failed(ctx, e.ofServer(ctx, node, "roam_v1_grant", arg).Error())
	})
	if err != nil {
		return fmt.Errorf("grant the lease of epoch %d: %w", epoch, err)
	}
	return nil
}

// EndLease has the primaries let go of an epoch, for good: grants that are still on their
// way are refused. It fails with engine.ErrNotPrimary if one of them has had a later epoch,
// or is a replica, and all others have let go; after another error some may not have.
func (e *Engine) EndLease(ctx context.Context, epoch uint64) error {
	arg := string(appendNumber(appendNumber(nil, min(epoch, maxEpoch), 6), 0, 6))
	refusals, err := everyPrimary(ctx, e, func(_ string, node valkey.Client) (refusal, err error) {
		err = e.failed(ctx, e.ofServer(ctx, node, "roam_v1_grant", arg).Error())
		if errors.Is(err, engine.ErrNotPrimary) { // which says nothing of the others
			return err, nil
		}
		return nil, err
	})
	for _, refusal := range refusals {
		err = cmp.Or(err, refusal)
	}
	if err != nil {
		return fmt.Errorf("end the lease of epoch %d: %w", epoch, err)
	}
	return nil
}

// everyPrimary does something with all primaries at once, and returns what came of it by
// their addresses. It fails if one fails, or a partition has no primary: of that one nobody
// knows whether it goes on.
func everyPrimary[T any](ctx context.Context, e *Engine, do func(addr string, node valkey.Client) (T, error)) (map[string]T, error) {
	if err := e.open(ctx); err != nil {
		return nil, err
	}
	nodes, err := e.allPrimaries(ctx)
	if err != nil {
		return nil, err
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards what follows
		out  = map[string]T{}
		errs []error
	)
	for addr, node := range nodes {
		wg.Go(func() {
			one, err := do(addr, node)
			mu.Lock()
			defer mu.Unlock()
			if out[addr] = one; err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// ofServer calls a function that is about one server and no key of it.
func (e *Engine) ofServer(ctx context.Context, node valkey.Client, function string, args ...string) valkey.ValkeyResult {
	for r := retry(ctx); ; {
		res := node.Do(ctx, node.B().Fcall().Function(function).Numkeys(0).Arg(args...).Build())
		if may, mended := e.mends(ctx, res.Error()); !may || !r.again(ctx, mended) {
			return res
		}
	}
}
