package drill

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
)

const (
	// probeTime bounds a write of a prober: a server beside it answers in less, or not.
	probeTime = 150 * time.Millisecond
	// perProbe is how many writes a prober's session has.
	perProbe = 20
	// probeLife is how long such a session lasts.
	probeLife = 6 * time.Hour
)

// A prober stands beside a Region's server and writes to it under every epoch that might
// be taken: the one that members have agreed on, those beside it, and whatever it was told
// before. So it notices a server that takes what it should not.
type prober struct {
	engine *valkey.Engine
	region *region
	book   *notebook
	epoch  func() uint64 // that members have agreed on
	stop   context.CancelFunc
	work   sync.WaitGroup
	pace   atomic.Int64 // nanoseconds between two writes

	sessions uint64
	key      crdt.Key
	written  int // into it
}

func (w *world) openProber(ctx context.Context, r *region) error {
	e, err := valkey.Open(ctx, r.id, valkey.Config{Addrs: []string{r.own.server}})
	if err != nil {
		return fmt.Errorf("probe the server of %s: %w", r.name, err)
	}
	p := &prober{engine: e, region: r, book: w.book, epoch: func() uint64 { return w.state().Lease.Epoch }}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.prober = p
	p.work.Go(func() { p.run(ctx) })
	return nil
}

func (p *prober) close() {
	p.stop()
	p.work.Wait()
	_ = p.engine.Close() // it never fails
}

func (p *prober) run(ctx context.Context) {
	for ctx.Err() == nil {
		now := p.epoch()
		for _, epoch := range []uint64{now + 1, now, max(now, 1) - 1} {
			if epoch > 0 {
				p.write(ctx, epoch)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(p.pace.Load())):
		}
	}
}

// write writes once under an epoch.
func (p *prober) write(ctx context.Context, epoch uint64) {
	now := crdt.TimeOf(time.Now())
	op := crdt.Op{Stamp: now.Stamp(), Changes: []crdt.Change{crdt.Put("n", []byte{byte(p.written)})}}
	if p.written == 0 || p.written >= perProbe {
		p.sessions++
		p.written = 0
		var entropy crdt.IDEntropy
		binary.BigEndian.PutUint64(entropy[:], p.sessions)
		entropy[len(entropy)-1] = byte(p.region.id)
		p.key = crdt.SessionKey(crdt.NewSessionID(now.Add(probeLife), p.region.id, entropy))
		op.Birth, op.Auth = &crdt.Birth{}, &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}
	}
	p.engine.Under(epoch)
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	sent := p.book.now()
	dot, err := p.engine.Apply(ctx, p.key, op)
	switch {
	case err == nil:
		p.written++
		p.book.acknowledged(Write{
			Who: "prober of " + p.region.name, Home: p.region.name, Key: p.key, Dot: dot, At: p.region.name,
			Epoch: epoch, Sent: sent, Acked: p.book.now(), Prober: true,
		})
	case !engine.OutcomeKnown(err):
		p.book.doubtful(Doubt{Who: "prober of " + p.region.name, Key: p.key, Times: 1, Sent: sent})
		p.written = perProbe // what it has is not known: another one begins
	case p.written > 0 && engine.IsRefusal(err):
		p.written = perProbe // it is not here
	}
}
