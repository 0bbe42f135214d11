package valkey

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Release says that every peer holds the log up to upto. It is trimmed
// Config.KeepReleased later.
func (e *Engine) Release(ctx context.Context, upto engine.Positions) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("release the log: %w", err)
	}
	now := time.Now()
	err := e.states(ctx, func(p uint16, m meta) {
		if n := m.after(upto[p]); n > 0 {
			e.released.Note(p, n, now, e.config.KeepReleased)
		}
	})
	if err != nil {
		return fmt.Errorf("release the log: %w", err)
	}
	return nil
}

// states tells the state of each partition's log.
func (e *Engine) states(ctx context.Context, take func(p uint16, m meta)) error {
	return e.each(ctx, func(p uint16) valkey.Completed {
		return e.client().B().FcallRo().Function("roam_v1_state").Numkeys(2).
			Key(partitionKey(metaKeys, p), partitionKey(logKeys, p)).Build()
	}, func(p uint16, reply string) error {
		m, err := decodeMeta(reply)
		if err == nil {
			take(p, m)
		}
		return err
	})
}

// after returns the number of the entry that whoever is at from has last; 0 for the
// position of an actor that is not remembered.
func (m meta) after(from engine.Position) uint64 {
	for i, e := range m.eras {
		switch {
		case e.actor != from.Actor:
		case i+1 < len(m.eras):
			return min(from.N, m.eras[i+1].fork)
		case from.N <= m.head.N:
			return from.N
		}
	}
	return 0
}

// sweep trims the log and looks at the server's memory until the engine is closed.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(min(e.config.SweepInterval, memoryInterval))
	defer tick.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			ctx, cancel := context.WithTimeout(ctx, memoryInterval)
			e.lookAtMemory(ctx)
			_, _ = e.Lost(ctx) // it stays as it was; what is not found asks anyway
			if now.Sub(swept) >= e.config.SweepInterval {
				swept = now
				e.trim(ctx, now)
			}
			cancel()
		}
	}
}

// trimEntries is how much of a log one call trims: some 100 µs of the server's time.
const trimEntries = 512

// trim trims what was released or written long enough ago. What fails is trimmed at
// another time, or by the bound of the log.
func (e *Engine) trim(ctx context.Context, now time.Time) {
	_ = e.states(ctx, func(p uint16, m meta) { // another time
		e.written.Note(p, m.head.N, now, e.config.KeepLog)
	})
	for p := range uint16(crdt.Partitions) {
		n := max(e.released.Due(p, now, e.config.KeepReleased), e.written.Due(p, now, e.config.KeepLog))
		for gone := int64(trimEntries); n > 0 && gone == trimEntries && ctx.Err() == nil; {
			var err error
			gone, err = e.client().Do(ctx, e.client().B().Fcall().Function("roam_v1_trim").Numkeys(1).
				Key(partitionKey(logKeys, p)).Arg(strconv.FormatUint(n, 10), strconv.Itoa(trimEntries)).Build()).AsInt64()
			if err != nil {
				break // above all a replica, whose log its primary trims
			}
		}
	}
}

// memoryInterval is between two looks at how full the server is.
const memoryInterval = time.Second

// lookAtMemory notes how full the fullest server is, as DESIGN R13 has it. What it
// can't learn leaves the level as it was.
func (e *Engine) lookAtMemory(ctx context.Context) {
	level := int32(-1)
	for _, node := range e.nodes() {
		info, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		if err != nil {
			continue
		}
		level = max(level, levelOf(infoNumber(info, "used_memory"), infoNumber(info, "maxmemory")))
	}
	if level >= 0 {
		e.level.Store(level)
	}
}

// levelOf returns what is refused at so much memory: 1 births of anonymous sessions,
// 2 all births, 3 whatever grows.
func levelOf(used, most int64) int32 {
	switch {
	case most <= 0 || used < most/100*80:
		return 0
	case used < most/100*90:
		return 1
	case used < most:
		return 2
	}
	return 3
}
