package valkey

import (
	"context"
	"fmt"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// scanCount is how many keys a server looks at for one question of a scan: some
// 100 µs of its time.
const scanCount = 512

// Scan yields the records of a partition. A server that is of no cluster, or is older
// than Valkey 8, looks at the keys of all partitions for it.
func (e *Engine) Scan(ctx context.Context, partition uint16, yield func(crdt.Record) bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("scan partition %d: %w", partition, err)
	}
	if partition >= crdt.Partitions {
		return fmt.Errorf("scan: %w: partition %d", crdt.ErrMalformed, partition)
	}
	nodes, err := e.primaries(ctx)
	if err != nil {
		return fmt.Errorf("scan partition %d: %w", partition, err)
	}
	s := scan{e: e, seen: map[string]bool{}, yield: yield}
	for _, pattern := range e.patterns(partition) {
		s.pattern = pattern
		for _, node := range nodes {
			more, err := s.node(ctx, node)
			if err != nil {
				return fmt.Errorf("scan partition %d: %w", partition, err)
			}
			if !more {
				return nil
			}
		}
	}
	return nil
}

// patterns returns what the keys of a partition's records match. In a cluster, what
// stands before the hash tag must be plain: then a node looks into its slot only.
func (e *Engine) patterns(partition uint16) []string {
	tag := partitionKey(0, partition)[1:] + "*"
	if e.client().Mode() == valkey.ClientModeCluster {
		return []string{string(sessionKeys) + tag, string(userKeys) + tag}
	}
	return []string{string([]byte{'[', sessionKeys, userKeys, ']'}) + tag}
}

// A scan is one Scan under way.
type scan struct {
	e       *Engine
	pattern string
	seen    map[string]bool // a server may name a key twice
	yield   func(crdt.Record) bool
}

func (s *scan) node(ctx context.Context, node valkey.Client) (more bool, err error) {
	for cursor := uint64(0); ; {
		entry, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(s.pattern).Count(scanCount).Build()).AsScanEntry()
		if err != nil {
			return false, s.e.failed(ctx, err)
		}
		var keys []string
		for _, key := range entry.Elements {
			if !s.seen[key] {
				s.seen[key] = true
				keys = append(keys, key)
			}
		}
		if more, err := s.records(ctx, keys); err != nil || !more {
			return false, err
		}
		if cursor = entry.Cursor; cursor == 0 {
			return true, nil
		}
	}
}

// records yields what is stored in keys.
func (s *scan) records(ctx context.Context, keys []string) (more bool, err error) {
	cmds := make(valkey.Commands, len(keys))
	for i, key := range keys {
		cmds[i] = s.e.client().B().Hgetall().Key(key).Build()
	}
	if len(cmds) == 0 {
		return true, nil
	}
	for i, res := range s.e.client().DoMulti(ctx, cmds...) {
		hash, err := res.ToArray()
		if err != nil {
			return false, s.e.failed(ctx, err)
		}
		k, err := parseRecordKey(keys[i])
		if err != nil {
			return false, err
		}
		r, err := decodeReply(k, hash)
		if err != nil {
			return false, fmt.Errorf("record %v: %w", k, err)
		}
		if r = shown(r); r.IsBottom() {
			continue
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("%w: %w", engine.ErrUnavailable, engine.Ended(ctx))
		}
		if !s.yield(r) {
			return false, nil
		}
	}
	return true, nil
}
