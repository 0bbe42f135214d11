package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// sampleEvery is how often a server is asked what it holds: as often as a page
	// asks for the state.
	sampleEvery = 500 * time.Millisecond
	// sampleTimeout bounds that. It takes a millisecond.
	sampleTimeout = time.Second
)

// watch keeps a Region's sample fresh until ctx ends. Where the server can't be asked
// the sample stays as it was.
func (s *servers) watch(ctx context.Context, r *region) {
	m := s.machines[r]
	for ctx.Err() == nil {
		if s.deployment.net.Alive(r.name) {
			if k, err := count(ctx, m.main, s.deployment.regions); err == nil {
				m.sample.Store(&k)
			}
		}
		pause.For(ctx, sampleEvery) // the loop looks at ctx
	}
}

func (s *servers) kept(r *region) kept {
	if m := s.machines[r]; m != nil {
		if k := m.sample.Load(); k != nil {
			return *k
		}
	}
	return kept{}
}

// count asks a server what it holds. It counts the keys that are no records
// (docs/formats/valkey.md) and takes them off, and the entries of all logs.
func count(ctx context.Context, s *valkeyserver.Server, regions []*region) (kept, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	others := []string{"EXISTS", "roam:over", "roam:beat"} // of the control plane
	commands := [][]string{
		{"DBSIZE"},
		{"INFO", "memory"},
		nil,
		{"INFO", "replication"},
		{"EVAL_RO", "return #redis.call('KEYS', 'b{00}*')", "0"}, // of echoes; there are some thousand keys
	}
	for p := range crdt.Partitions {
		tag := fmt.Sprintf("{%02x}", p)
		others = append(others, "m"+tag, "l"+tag, "f"+tag)
		for _, r := range regions {
			others = append(others, "c"+tag+string(rune('a'-1+byte(r.id))))
		}
		commands = append(commands, []string{"XLEN", "l" + tag})
	}
	commands[2] = others
	replies, err := s.DoAll(ctx, commands...)
	if err != nil {
		return kept{}, err
	}
	k := kept{bytes: number(infoText(replies[1], "used_memory_dataset")), replication: replies[3]}
	// Between these more may have been written.
	k.records = max(0, number(replies[0])-number(replies[2])-number(replies[4]))
	for _, n := range replies[5:] {
		k.log += number(n)
	}
	return k, nil
}

// infoText returns what INFO tells of a name; empty if it does not.
func infoText(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// number returns what a server counted; 0 is what it does not tell.
func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
