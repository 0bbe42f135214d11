package valkey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Server is what one says of itself.
type Server struct {
	Addr    string
	Version string // with the name of the program in front
	// Replication is the ID of what it is a part of: two primaries with one are one.
	Replication string
	// Follows is host:port of its primary; empty: it is one. Linked: it hears of it.
	Follows string
	Linked  bool
	// Took is how long it took to answer; ClockAhead, by how much its clock is before
	// this machine's, give or take half of that.
	Took, ClockAhead time.Duration
	// Functions: it has those of this version of the engine.
	Functions bool
	// Cluster: it is a node of one. Each of its primaries is a shard.
	Cluster bool
	// Forgets: it keeps nothing on disk, neither what is appended nor snapshots from time
	// to time, so that it starts empty after a crash. False if it does not tell.
	Forgets  bool
	Findings []Finding
}

// Examine asks the server, or all nodes of the cluster, that c leads to, and changes
// nothing there. It fails if one can't be asked, and returns what the others said
// all the same.
func Examine(ctx context.Context, c Config) ([]Server, error) {
	c = c.withDefaults()
	if err := c.check(1); err != nil { // whichever Region it is
		return nil, fmt.Errorf("examine the server: %w", err)
	}
	e := &Engine{config: c, closed: make(chan struct{})}
	client, err := connect(ctx, e.option())
	if err != nil {
		return nil, fmt.Errorf("examine the server: %w", err)
	}
	defer client.Close()
	e.link.now.Store(&client)
	var mu sync.Mutex // guards what follows
	var out []Server
	var errs []error
	var wg sync.WaitGroup
	for addr, node := range e.byAddress() {
		wg.Go(func() {
			s, err := e.examine(ctx, addr, node)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("examine %s: %w", addr, err))
				return
			}
			out = append(out, s)
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(a, b Server) int { return strings.Compare(a.Addr, b.Addr) })
	return out, errors.Join(errs...)
}

func (e *Engine) examine(ctx context.Context, addr string, node valkey.Client) (Server, error) {
	s := Server{Addr: addr}
	info, err := node.Do(ctx, node.B().Info().Build()).ToString() // the first takes as long as a connection
	if err != nil {
		return s, e.failed(ctx, err)
	}
	asked := time.Now()
	clock, err := node.Do(ctx, node.B().Time().Build()).AsIntSlice()
	if err != nil || len(clock) != 2 {
		return s, fmt.Errorf("its time is %v: %w", clock, errors.Join(engine.ErrUnavailable, e.failed(ctx, err)))
	}
	s.Took = time.Since(asked)
	s.ClockAhead = time.Unix(clock[0], clock[1]*int64(time.Microsecond)).Sub(asked.Add(s.Took / 2))

	s.Version = "Redis " + infoText(info, "redis_version")
	if v := infoText(info, "valkey_version"); v != "" {
		s.Version = "Valkey " + v
	}
	s.Replication = infoText(info, "master_replid")
	if infoText(info, "role") != "master" {
		s.Follows = net.JoinHostPort(infoText(info, "master_host"), infoText(info, "master_port"))
		s.Linked = infoText(info, "master_link_status") == "up"
	}
	s.Cluster = infoText(info, "cluster_enabled") == "1"
	s.Forgets = forgets(info, parameters(ctx, node, "save"))
	k := crdt.UserKey("")
	err = node.Do(ctx, node.B().FcallRo().Function("roam_v1_look").Numkeys(2).
		Key(recordKey(k), partitionKey(refillKeys, k.Partition())).Build()).Error()
	reply, isReply := errors.AsType[*valkey.ValkeyError](err)
	moved := isReply && strings.HasPrefix(reply.Error(), "MOVED") // the function was found, and another node has the slot
	switch s.Functions = err == nil || moved; {
	case s.Functions, isReply && strings.Contains(reply.Error(), "Function not found"):
	default:
		return s, e.failed(ctx, err)
	}
	s.Findings = judge(info, listpack(ctx, node))
	return s, nil
}
