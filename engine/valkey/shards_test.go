package valkey

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// slotOf gives partition p slot p.
func slotOf() (out [crdt.Partitions]int64) {
	for p := range out {
		out[p] = int64(p)
	}
	return out
}

func TestParseShards(t *testing.T) {
	node := func(role, health, ip, endpoint string, port, tls int64) any {
		return []any{"id", "x", "port", port, "tls-port", tls, "ip", ip, "endpoint", endpoint, "role", role, "health", health}
	}
	reply := []any{
		[]any{"slots", []any{int64(0), int64(1), int64(63), int64(16383)}, "nodes", []any{
			node("replica", "online", "10.0.0.2", "10.0.0.2", 6380, 0),
			node("master", "online", "10.0.0.1", "one.internal", 6379, 7379),
			node("replica", "loading", "10.0.0.3", "10.0.0.3", 6379, 0),
			node("slave", "online", "", "?", 6381, 0),
		}},
		[]any{"slots", []any{int64(2), int64(2)}, "nodes", []any{node("master", "failed", "10.0.0.4", "10.0.0.4", 6379, 0)}},
		[]any{"slots", []any{}, "nodes", []any{node("master", "online", "10.0.0.5", "10.0.0.5", 6379, 0)}},
		"something else",
	}
	got, err := parseShards(reply, "127.0.0.1", false, slotOf())
	if err != nil || len(got) != 1 {
		t.Fatalf("parseShards = %+v, %v, want the one shard that has slots and a primary", got, err)
	}
	s := got[0]
	if s.primary != "one.internal:6379" || !slices.Equal(s.replicas, []string{"10.0.0.2:6380", "127.0.0.1:6381"}) {
		t.Errorf("parseShards = %+v, want the endpoint, or the address where there is none", s)
	}
	if want := uint64(1 | 1<<1 | 1<<63); s.partitions != want {
		t.Errorf("partitions = %b, want %b", s.partitions, want)
	}
	if got, err := parseShards(reply, "127.0.0.1", true, slotOf()); err != nil || got[0].primary != "one.internal:7379" {
		t.Errorf("parseShards for TLS = %+v, %v, want its port", got, err)
	}
}

// FuzzParseShards: whatever a server says, what is read of it can be connected to.
func FuzzParseShards(f *testing.F) {
	f.Add(`[["slots",[0,9],"nodes",[["port",1,"ip","h","role","master","health","online"]]]]`)
	f.Add(`[{"slots":[0],"nodes":{}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var reply any
		if json.Unmarshal([]byte(text), &reply) != nil {
			return
		}
		got, err := parseShards(whole(reply), "h", false, slotOf())
		if (err != nil) != (len(got) == 0) || err != nil && !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("parseShards = %d shards, %v", len(got), err)
		}
		for _, s := range got {
			if s.primary == "" || s.partitions == 0 {
				t.Errorf("parseShards = %+v, want a primary and slots", s)
			}
		}
	})
}

// whole makes numbers of JSON those of a server.
func whole(x any) any {
	switch x := x.(type) {
	case float64:
		return int64(x)
	case []any:
		for i := range x {
			x[i] = whole(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = whole(x[k])
		}
	}
	return x
}
