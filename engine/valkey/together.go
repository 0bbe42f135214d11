package valkey

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// together returns what several shards say of themselves as one; docs of Chains.Role.
func together(all []Role) Role {
	out := Role{Primary: true, LinkUp: true}
	var runs, replids []string
	for _, r := range all {
		out.Primary = out.Primary && r.Primary
		out.LinkUp = out.LinkUp && r.LinkUp // which no primary's is
		out.Syncing = out.Syncing || r.Syncing
		out.Loading = out.Loading || r.Loading
		out.Silent = max(out.Silent, r.Silent)
		out.Offset += r.Offset
		out.Replicas += r.Replicas
		out.Keys += r.Keys
		runs, replids = append(runs, r.RunID), append(replids, r.Replid)
	}
	out.RunID, out.Replid = setOf(runs), setOf(replids)
	return out
}

// mixed reports whether some shards are primaries and others are not.
func mixed(all []Role) bool {
	return slices.ContainsFunc(all, func(r Role) bool { return r.Primary != all[0].Primary })
}

// setOf returns a name for several that have names, whatever their order: of one its own;
// empty if one has none. It is agreed on once a second, so it is short.
func setOf(names []string) string {
	switch {
	case len(names) == 0 || slices.Contains(names, ""):
		return ""
	case len(names) == 1:
		return names[0]
	}
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(names)), " ")))
	return hex.EncodeToString(sum[:20])
}

// leastOf returns the least epoch that shards know to be over.
func leastOf(marks []uint64) uint64 { return slices.Min(marks) }

// oldest returns what several shards have of beats as one. Its epoch is the latest one that
// any has heard of: whoever asks whether something has begun in an epoch, or which one is
// free, must not miss it as a shard has lost its key. Its number is the least that shards
// have in that epoch, and 0 if one has none; its time is the earliest, and 0 if one has
// none: a copy is as far behind as its last shard.
func oldest(all []Beat) Beat {
	out := all[0]
	for _, b := range all[1:] {
		switch {
		case b.Epoch > out.Epoch:
			out.Epoch, out.N = b.Epoch, 0
		case b.Epoch < out.Epoch:
			out.N = 0
		default:
			out.N = min(out.N, b.N)
		}
		out.At = min(out.At, b.At)
	}
	return out
}
