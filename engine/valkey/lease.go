package valkey

import (
	"context"
	"fmt"
	"maps"
	"slices"
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

// Histories returns, in the same order, what names the history of data that each of them
// was writing: Role.Replid. It is another one when a server has started anew.
func (c Clocks) Histories() []string {
	var out []string
	for _, addr := range slices.Sorted(maps.Keys(c.by)) {
		out = append(out, c.by[addr][clockBytes:])
	}
	return out
}

// Clocks asks the primaries for their clocks, for Grant.
func (e *Engine) Clocks(ctx context.Context) (Clocks, error) {
	out := Clocks{map[string]string{}}
	err := e.everyPrimary(ctx, func(addr string, node valkey.Client) error {
		clock, err := e.ofServer(ctx, node, "roam_v1_clock").ToString()
		if err != nil {
			return e.failed(ctx, err)
		}
		if len(clock) <= clockBytes {
			return fmt.Errorf("%w: clock of %d bytes", engine.ErrUnavailable, len(clock))
		}
		out.by[addr] = clock
		return nil
	})
	if err != nil {
		return Clocks{}, fmt.Errorf("ask for clocks: %w", err)
	}
	return out, nil
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
	err := e.everyPrimary(ctx, func(addr string, node valkey.Client) error {
		clock, ok := c.by[addr]
		if !ok {
			return fmt.Errorf("%w: it was not asked for its clock", engine.ErrUnreachable)
		}
		stop := number(clock[:clockBytes]) + uint64(lasts.Milliseconds()) //nolint:gosec // positive
		arg := string(appendNumber(appendNumber(nil, epoch, 6), stop, 6)) + clock[clockBytes:]
		return e.failed(ctx, e.ofServer(ctx, node, "roam_v1_grant", arg).Error())
	})
	if err != nil {
		return fmt.Errorf("grant the lease of epoch %d: %w", epoch, err)
	}
	return nil
}

// EndLease has the primaries let go of an epoch, for good: grants that are still on their
// way are refused. After an error some may not have.
func (e *Engine) EndLease(ctx context.Context, epoch uint64) error {
	arg := string(appendNumber(appendNumber(nil, min(epoch, maxEpoch), 6), 0, 6))
	err := e.everyPrimary(ctx, func(_ string, node valkey.Client) error {
		return e.failed(ctx, e.ofServer(ctx, node, "roam_v1_grant", arg).Error())
	})
	if err != nil {
		return fmt.Errorf("end the lease of epoch %d: %w", epoch, err)
	}
	return nil
}

// everyPrimary does something with each primary, until one fails.
func (e *Engine) everyPrimary(ctx context.Context, do func(addr string, node valkey.Client) error) error {
	if err := e.open(ctx); err != nil {
		return err
	}
	nodes, err := e.primaries(ctx)
	if err != nil {
		return err
	}
	for addr, node := range nodes {
		if err := do(addr, node); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
	}
	return nil
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
