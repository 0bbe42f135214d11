package valkey

import (
	"context"
	"fmt"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// maxEpoch is the last epoch there is.
	maxEpoch = 1<<48 - 1
	// maxLease bounds a lease: as long as it lasts nobody else can write.
	maxLease = time.Minute
)

// Under has writes be refused with engine.ErrNotPrimary by a server that does not hold
// the lease of epoch; 0, the default: leases are not known here, and a server that has
// ever held one refuses. It is told to every engine that writes, once an epoch.
func (e *Engine) Under(epoch uint64) { e.epoch.Store(min(epoch, maxEpoch)) }

// Grant gives the servers, all primaries of a cluster, the lease of an epoch, from when
// they are asked on, by their own clocks: then they take the writes of engines that are
// Under it. Whoever grants must know that no other Region's servers hold one (DESIGN R5,
// R6), and grants again before it ends. A server keeps it in its memory alone, not even
// its replicas have it; one that starts anew, becomes a primary or lost its functions
// has none until it is granted again. A server that has held the lease of a later epoch
// refuses with engine.ErrNotPrimary. After an error some of a cluster may have it.
func (e *Engine) Grant(ctx context.Context, epoch uint64, lasts time.Duration) error {
	err := e.open(ctx)
	if err == nil && (epoch == 0 || epoch > maxEpoch || lasts <= 0 || lasts > maxLease) {
		err = fmt.Errorf("%w: epoch %d for %v: want 1 to %d, and at most %v", crdt.ErrMalformed, epoch, lasts, uint64(maxEpoch), maxLease)
	}
	var nodes map[string]valkey.Client
	if err == nil {
		nodes, err = e.primaries(ctx)
	}
	for addr, node := range nodes {
		if err = e.grant(ctx, node, epoch, lasts); err != nil {
			err = fmt.Errorf("%s: %w", addr, err)
			break
		}
	}
	if err != nil {
		return fmt.Errorf("grant the lease of epoch %d: %w", epoch, err)
	}
	return nil
}

// grant has a server's lease begin when its clock is asked for: what the network takes
// is part of it.
func (e *Engine) grant(ctx context.Context, node valkey.Client, epoch uint64, lasts time.Duration) error {
	clock, err := node.Do(ctx, node.B().Time().Build()).AsIntSlice()
	if err != nil {
		return e.failed(ctx, err)
	}
	if len(clock) != 2 {
		return e.failed(ctx, fmt.Errorf("TIME of %d numbers", len(clock)))
	}
	stop := crdt.TimeOf(time.Unix(clock[0], clock[1]*1000).Add(lasts))
	arg := string(appendNumber(appendNumber(nil, epoch, 6), uint64(stop), 6)) //nolint:gosec // a time is positive
	for r := retry(ctx); ; {
		err := node.Do(ctx, node.B().Fcall().Function("roam_v1_grant").Numkeys(0).Arg(arg).Build()).Error()
		if may, mended := e.mends(ctx, err); !may || !r.again(ctx, mended) {
			return e.failed(ctx, err)
		}
	}
}
