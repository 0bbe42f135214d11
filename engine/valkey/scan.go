package valkey

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// scanCount is how many keys a server looks at for one question of a scan: some
// 100 µs of its time.
const scanCount = 512

// Scan yields the records of some partitions. A node of a cluster of Valkey 8 looks at
// the keys of their slots, one after the other; every other server at all the keys that
// it has, once.
func (e *Engine) Scan(ctx context.Context, of engine.Partitions, yield func(crdt.Record) bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	nodes, err := e.allPrimaries(ctx)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	s := scan{e: e, of: of, seen: map[crdt.Key]struct{}{}, yield: yield}
	for _, node := range nodes {
		patterns, err := s.patterns(ctx, node)
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		for _, pattern := range patterns {
			more, err := s.node(ctx, node, pattern)
			if err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			if !more {
				return nil
			}
		}
	}
	return nil
}

// A scan is one Scan under way.
type scan struct {
	e     *Engine
	of    engine.Partitions
	seen  map[crdt.Key]struct{} // a server may name a key twice; two may, while a slot moves
	yield func(crdt.Record) bool
}

// slotScans is the first version of Valkey that looks into one slot alone where a
// pattern names it.
const slotScans = 8

// patterns returns what the keys match that a node is asked for, each by going through
// its keys, or one slot of them.
func (s *scan) patterns(ctx context.Context, node valkey.Client) ([]string, error) {
	if s.of == 0 || !s.e.Cluster() {
		return keyPatterns(s.of, false), nil
	}
	info, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return nil, s.e.failed(ctx, err)
	}
	major, _, _ := strings.Cut(infoText(info, "valkey_version"), ".")
	n, err := strconv.Atoi(major)
	return keyPatterns(s.of, err == nil && n >= slotScans), nil
}

// keyPatterns returns what the keys of the records of some partitions match, and few
// others. By slot, what stands before the hash tag must be plain.
func keyPatterns(of engine.Partitions, bySlot bool) []string {
	var high, low [len(hexDigits)]bool
	var out []string
	for p := range of.All() {
		high[p>>4&15], low[p&15] = true, true
		if tag := partitionKey(0, p)[1:] + "*"; bySlot {
			out = append(out, string(sessionKeys)+tag, string(userKeys)+tag)
		}
	}
	if of == 0 || bySlot {
		return out
	}
	return []string{string([]byte{'[', sessionKeys, userKeys, ']', '{'}) + anyOf(high) + anyOf(low) + "}*"}
}

// anyOf returns a pattern for one of some hexadecimal digits.
func anyOf(digits [len(hexDigits)]bool) string {
	out := []byte{'['}
	for i, is := range digits {
		if is {
			out = append(out, hexDigits[i])
		}
	}
	return string(append(out, ']'))
}

// node yields what matches pattern.
func (s *scan) node(ctx context.Context, node valkey.Client, pattern string) (more bool, err error) {
	for cursor := uint64(0); ; {
		entry, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Build()).AsScanEntry()
		if err != nil {
			return false, s.e.failed(ctx, err)
		}
		var keys []crdt.Key
		for _, key := range entry.Elements {
			k, err := parseRecordKey(key)
			if err != nil {
				return false, err
			}
			if _, twice := s.seen[k]; !twice && s.of.Has(k.Partition()) {
				s.seen[k] = struct{}{}
				keys = append(keys, k)
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

// records yields what is stored of keys.
func (s *scan) records(ctx context.Context, keys []crdt.Key) (more bool, err error) {
	cmds := make(valkey.Commands, len(keys))
	for i, k := range keys {
		cmds[i] = s.e.client().B().Hgetall().Key(recordKey(k)).Build().Pin()
	}
	if len(cmds) == 0 {
		return true, nil
	}
	for i, res := range s.e.client().DoMulti(ctx, cmds...) {
		hash, err := res.ToArray()
		if err != nil {
			return false, s.e.failed(ctx, err)
		}
		r, err := decodeReply(keys[i], hash)
		if err != nil {
			return false, fmt.Errorf("record %v: %w", keys[i], err)
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
