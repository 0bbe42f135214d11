package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// silence is for how long a stream may be silent that stands: a server says
	// something each second.
	silence = 3 * time.Second
	// sourceTimeout bounds a try to reach another Region's server: some dozen round trips.
	sourceTimeout = 5 * time.Second
)

// nativeArgs are what servers are told that replicate each other. What such a server had is
// on its disk when it is back: nobody else may have the last of it, and others give it only
// to one that follows them. Servers whose Regions push come back empty instead, and are
// given all by their peers.
func nativeArgs() []string {
	return []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--appendonly", "yes"}
}

// native reports whether the servers of Regions replicate the primary's by themselves, and a
// control plane says which one that is. Else each Region pushes its log to the others.
func (d *deployment) native() bool {
	return d.lab.config.Engine == Valkey && d.topology == console.ActivePassive
}

// carries reports whether what one Region writes is brought to another.
func (d *deployment) carries(from, to *region) bool {
	return from != to && (!d.native() || from.id == d.primary())
}

// A natively is how the servers of Regions replicate each other, through proxies, over
// the Replication plane. Who follows whom the seats see to. Nil is for Regions that push:
// nothing begins or closes.
type natively struct {
	servers *servers
	dir     string                 // of what members keep
	streams map[route]*fault.Proxy // from a Region to the main server of another

	mu      sync.Mutex // guards what follows; one is opened at a time for each
	sources map[route]*source
}

// A source is the engine of another Region's main server over such a stream.
type source struct {
	turn   sync.Mutex // guards what follows
	engine *valkey.Engine
}

// begin makes the ways to all servers.
func (n *natively) begin(ctx context.Context) (err error) {
	if n == nil {
		return nil
	}
	if n.dir, err = os.MkdirTemp("", "roam-demo-"); err != nil {
		return fmt.Errorf("a folder for members: %w", err)
	}
	n.streams, n.sources = map[route]*fault.Proxy{}, map[route]*source{}
	for at := range n.servers.routes {
		p, err := n.servers.deployment.net.Proxy(context.WithoutCancel(ctx), at.from.name, at.to.name, fault.Replication, n.main(at.to).Addr())
		if err != nil {
			return err
		}
		n.streams[at] = p
	}
	return nil
}

// source returns the engine of another Region's server, opened when it is first needed.
func (n *natively) source(ctx context.Context, at route) (*valkey.Engine, error) {
	n.mu.Lock()
	s := n.sources[at]
	if s == nil {
		s = &source{}
		n.sources[at] = s
	}
	n.mu.Unlock()
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.engine != nil {
		return s.engine, nil
	}
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	var err error
	if s.engine, err = n.servers.engine(ctx, at.to.id, n.streams[at].Addr(), false); err != nil {
		return nil, fmt.Errorf("reach %s from %s: %w", at.to.name, at.from.name, err)
	}
	return s.engine, nil
}

// call opens the engine of a Region's server, of another one over the Calls plane, for
// whoever closes it.
func (n *natively) call(ctx context.Context, at route) (engine.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	addr := n.main(at.to).Addr()
	if at.from != at.to {
		addr = n.servers.routes[at].proxies[0].Addr()
	}
	return n.servers.engine(ctx, at.to.id, addr, false)
}

func (n *natively) main(r *region) *valkeyserver.Server { return n.servers.machines[r].main }

// at returns where a Region's server finds those of the others.
func (n *natively) at(from *region) map[string]string {
	out := map[string]string{}
	for at, p := range n.streams {
		if at.from == from {
			out[at.to.name] = p.Addr()
		}
	}
	return out
}

// linked reports whether a server follows one and has had all of it.
func linked(info string) bool {
	return infoText(info, "role") == "slave" && infoText(info, "master_link_status") == "up"
}

// stream fills in how the stream of a link is, by what the servers at its ends last said
// of their replication.
func (n *natively) stream(l *console.Link, from, to *region) {
	sender, receiver := n.servers.kept(from).replication, n.servers.kept(to).replication
	quiet := time.Duration(number(infoText(receiver, "master_last_io_seconds_ago"))) * time.Second
	l.Connected = n.servers.deployment.alive(to.name) && linked(receiver) && quiet < silence
	sent := number(infoText(sender, "master_repl_offset"))
	if infoText(sender, "master_replid") == infoText(receiver, "master_replid") { // else it is given all anew
		l.UnackedBytes = max(0, sent-number(infoText(receiver, "slave_repl_offset")))
	}
	for line := range strings.Lines(sender) {
		if strings.HasPrefix(line, "slave") && strings.Contains(line, ",port="+n.main(to).Port()+",") {
			_, offset, _ := strings.Cut(line, ",offset=")
			offset, _, _ = strings.Cut(offset, ",")
			l.UnackedBytes = max(0, sent-number(offset)) // as of the same moment
		}
	}
}

// Close lets go of all engines and streams, and of what members kept.
func (n *natively) Close() error {
	if n == nil {
		return nil
	}
	var errs []error
	for _, s := range n.sources {
		if s.engine != nil {
			errs = append(errs, s.engine.Close())
		}
	}
	for _, p := range n.streams {
		errs = append(errs, p.Close())
	}
	if n.dir != "" {
		errs = append(errs, os.RemoveAll(n.dir))
	}
	return errors.Join(errs...)
}
