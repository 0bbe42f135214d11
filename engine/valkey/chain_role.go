package valkey

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/engine"
)

// A Role is what a server says of its replication, or all shards of a cluster together:
// Chains.Role.
type Role struct {
	// Primary: it takes writes, as far as its lease lets it.
	Primary bool
	// Follows is host:port of whom it replicates, as Follow was told; empty for a primary.
	Follows string
	// LinkUp: it has what that one had, and is told what comes.
	LinkUp bool
	// Syncing: it is being given all that the other one has.
	Syncing bool
	// Loading: it reads what is on its disk.
	Loading bool
	// Silent is for how long it has heard nothing of whom it follows, in whole seconds;
	// the longest Duration there is: it never has. 0 for a primary.
	Silent time.Duration
	// Replid names the history that its data are of, and Offset is how far it has come in
	// it, in bytes.
	Replid string
	Offset int64
	// Replicas is how many servers follow this one.
	Replicas int
	// RunID is another one each time that the server starts.
	RunID string
	// Keys is how many keys it has, of whatever kind.
	Keys int64
}

// role asks for the role, again where the connection had ended meanwhile. Whoever calls
// it has the turn. It fails with ErrCluster for a cluster's server, but of Chains.
func (c *Chain) role(ctx context.Context) (Role, error) {
	reply, err := c.ask(ctx, "INFO")
	if errors.Is(err, engine.ErrUnavailable) && ctx.Err() == nil {
		reply, err = c.ask(ctx, "INFO")
	}
	if err != nil {
		return Role{}, err
	}
	info, err := reply.ToString()
	if err != nil {
		return Role{}, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	if !c.shard && infoText(info, "cluster_enabled") == "1" {
		return Role{}, ErrCluster
	}
	return parseRole(info)
}

// parseRole reads what a server says of itself.
func parseRole(info string) (Role, error) {
	r := Role{
		Loading: infoText(info, "loading") == "1" || infoText(info, "async_loading") == "1",
		Replid:  infoText(info, "master_replid"), Replicas: int(infoNumber(info, "connected_slaves")),
		RunID: infoText(info, "run_id"), Offset: infoNumber(info, "master_repl_offset"), Keys: infoKeys(info),
	}
	switch role := infoText(info, "role"); role {
	case "master":
		r.Primary = true
	case "slave":
		r.Follows = net.JoinHostPort(infoText(info, "master_host"), infoText(info, "master_port"))
		r.LinkUp = infoText(info, "master_link_status") == "up"
		r.Syncing = infoText(info, "master_sync_in_progress") == "1"
		r.Offset = infoNumber(info, "slave_repl_offset")
		r.Silent = silence(info, r.LinkUp)
	default:
		return Role{}, fmt.Errorf("%w: its role is %q", engine.ErrUnavailable, role)
	}
	return r, nil
}

// silence returns for how long a replica has heard nothing.
func silence(info string, up bool) time.Duration {
	since := "master_link_down_since_seconds"
	if up {
		since = "master_last_io_seconds_ago"
	}
	s := infoNumber(info, since)
	if s < 0 || s > int64(math.MaxInt64/time.Second) || infoText(info, since) == "" {
		return math.MaxInt64
	}
	return time.Duration(s) * time.Second
}

// infoKeys returns how many keys a server has, in all of its databases.
func infoKeys(info string) (n int64) {
	for line := range strings.Lines(info) {
		if _, counts, ok := strings.Cut(line, ":keys="); ok && strings.HasPrefix(line, "db") {
			count, _, _ := strings.Cut(counts, ",")
			of, _ := strconv.ParseInt(strings.TrimSpace(count), 10, 64) // what can't be read is none
			n += max(0, of)
		}
	}
	return n
}
