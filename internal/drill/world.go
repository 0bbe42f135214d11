package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// name is what the deployment is called.
const name = "drill"

// regionNames are the Regions, the first primary first.
func regionNames() []string { return []string{"us-west-1", "us-west-2", "us-east-1"} }

// A region is one Region of a world.
type region struct {
	name   string
	id     crdt.Region
	server *valkeyserver.Server
	engine *valkey.Engine // straight to the server, for who checks
	own    addresses
	seen   map[string]addresses // the others', as they are reached from here
	path   string               // of its roam.yaml
	parts  topology.Deployment
	app    *app
	prober *prober

	mu   sync.Mutex // guards what follows
	node *node.Node // nil: it does not run
}

// addresses are where a Region is found.
type addresses struct{ server, replicate, control, api, http string }

// A world is three Regions on this machine.
type world struct {
	config  Config
	dir     string
	net     *fault.Net
	regions []*region
	book    *notebook
	log     *os.File
	proxies []*fault.Proxy
}

// newWorld starts servers, nodes and applications. Close it, also if it fails.
func newWorld(ctx context.Context, c Config) (w *world, err error) {
	w = &world{config: c, net: fault.NewNet(c.Seed), book: newNotebook()}
	if w.dir, err = os.MkdirTemp("", "roam-drill-"); err != nil {
		return w, err
	}
	if w.log, err = os.Create(filepath.Join(w.dir, "log")); err != nil {
		return w, err
	}
	program, err := valkeyserver.Find(ctx)
	if err != nil {
		return w, err
	}
	ports, err := freePorts(ctx, 3*len(regionNames()))
	if err != nil {
		return w, err
	}
	for i, name := range regionNames() {
		r := &region{name: name, id: crdt.Region(i + 1), seen: map[string]addresses{}}
		r.server, err = valkeyserver.Start(ctx, program, valkeyserver.Config{Args: serverArgs()})
		if err != nil {
			return w, fmt.Errorf("server of %s: %w", name, err)
		}
		w.regions = append(w.regions, r)
		r.own = addresses{server: r.server.Addr(), replicate: r.server.Addr(), control: ports[3*i], api: ports[3*i+1], http: ports[3*i+2]}
	}
	if err := w.connect(ctx); err != nil {
		return w, err
	}
	for _, r := range w.regions {
		if err := w.describe(r); err != nil {
			return w, err
		}
		if err := w.startNode(ctx, r); err != nil {
			return w, err
		}
		// A server that is not granted anything takes no writes of roam's: it can be
		// reached from the start.
		if r.engine, err = valkey.Open(ctx, r.id, valkey.Config{Addrs: []string{r.own.server}}); err != nil {
			return w, fmt.Errorf("reach the server of %s: %w", r.name, err)
		}
	}
	return w, nil
}

// serverArgs are what servers are told: what they acknowledge is in the file's pages when
// they are killed.
func serverArgs() []string {
	return []string{
		"--appendonly", "yes", "--appendfsync", "everysec", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
	}
}

// freePorts returns different addresses that nobody has at this moment.
func freePorts(ctx context.Context, n int) (out []string, err error) {
	for range n {
		addr, err := freeport.Addr(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}

// connect puts the way between Regions in front of whatever one has that others reach.
func (w *world) connect(ctx context.Context) error {
	for _, from := range w.regions {
		for _, to := range w.regions {
			if from == to {
				continue
			}
			var at addresses
			for _, way := range []struct {
				plane fault.Plane
				to    string
				addr  *string
			}{
				{fault.Calls, to.own.server, &at.server},
				{fault.Replication, to.own.replicate, &at.replicate},
				{fault.Replication, to.own.control, &at.control},
				{fault.Replication, to.own.api, &at.api},
			} {
				p, err := w.net.Proxy(context.WithoutCancel(ctx), from.name, to.name, way.plane, way.to)
				if err != nil {
					return err
				}
				w.proxies = append(w.proxies, p)
				*way.addr = p.Addr()
			}
			at.http = to.own.http
			from.seen[to.name] = at
			w.link(from, to, false)
		}
	}
	return nil
}

// link has one direction be as it should, or cut.
func (w *world) link(from, to *region, cut bool) {
	l := fault.Link{Delay: w.config.RTT / 2, Cut: cut}
	w.net.SetLink(from.name, to.name, fault.Calls, l)
	w.net.SetLink(from.name, to.name, fault.Replication, l)
}

// describe writes a Region's roam.yaml: the others' addresses in it are as they are seen
// from there.
func (w *world) describe(r *region) error {
	dir := filepath.Join(w.dir, r.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	r.path = filepath.Join(dir, "roam.yaml")
	if err := os.WriteFile(r.path, []byte(w.text(r)), 0o600); err != nil {
		return err
	}
	d, err := opener.ReadFile(r.path)
	if err != nil {
		return fmt.Errorf("roam.yaml of %s: %w", r.name, err)
	}
	r.parts = d.Under(dir)
	return nil
}

func (w *world) text(r *region) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nname: %s\ntopology: active-passive\nprimary: %s\nregions:\n", name, regionNames()[0])
	for _, to := range w.regions {
		at := to.own
		if to != r {
			at = r.seen[to.name]
		}
		fmt.Fprintf(&b, "  - name: %s\n    id: %d\n    engine: {valkey: {addrs: [%q]}}\n    replicate: %q\n", to.name, to.id, at.server, at.replicate)
		fmt.Fprintf(&b, "    node: {control: %q, control_advertise: %q, api: %q, api_advertise: %q, http: %q}\n",
			to.own.control, at.control, to.own.api, at.api, at.http)
	}
	// Failovers follow each other here as they never should elsewhere.
	b.WriteString("control:\n  dir: \"data/{region}\"\n  judge: {cooldown: 1s, max_failovers: 32, window: 1m, max_flaps: 32, flap_window: 1m}\n")
	return b.String()
}

func (w *world) startNode(ctx context.Context, r *region) error {
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n, err := node.Start(context.WithoutCancel(ctx), r.parts, r.name, node.Config{Log: log, Folder: filepath.Dir(r.path)})
	if err != nil {
		return fmt.Errorf("node of %s: %w", r.name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node = n
	return nil
}

// member returns a Region's member of the control plane; nil: there is none just now.
func (r *region) member() *control.Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.node == nil {
		return nil
	}
	m, _ := r.node.Member() // nil says enough
	return m
}

// stopNode ends a Region's node, if it runs.
func (r *region) stopNode() {
	r.mu.Lock()
	n := r.node
	r.node = nil
	r.mu.Unlock()
	if n != nil {
		_ = n.Close() // it never fails
	}
}

// state returns what is agreed on, as the furthest member knows.
func (w *world) state() (out ledger.State) {
	for _, r := range w.regions {
		if m := r.member(); m != nil {
			if s, _ := m.State(); s.Index > out.Index {
				out = s
			}
		}
	}
	return out
}

// region returns that of a name; nil: there is none.
func (w *world) region(name string) *region {
	for _, r := range w.regions {
		if r.name == name {
			return r
		}
	}
	return nil
}

// nameOf returns the name of the Region of a number.
func nameOf(id crdt.Region) string {
	if names := regionNames(); id >= 1 && int(id) <= len(names) {
		return names[id-1]
	}
	return ""
}

// errTime says that something was not so in the time that it has.
var errTime = errors.New("not in time")

// until waits until something is so. It fails if ctx ends or the time is up, and says what
// was missing: is returns that, empty when all is well.
func until(ctx context.Context, what string, most, every time.Duration, is func() string) error {
	end := time.NewTimer(most)
	defer end.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		missing := is()
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-end.C:
			return fmt.Errorf("%s: %w (%v): %s", what, errTime, most, missing)
		case <-tick.C:
		}
	}
}

// Close ends all of it, and takes the files away unless they are to be kept.
func (w *world) Close(keep bool) error {
	for _, r := range w.regions {
		w.net.Revive(r.name)
		resume(r.server)
	}
	for _, r := range w.regions {
		if r.prober != nil {
			r.prober.close()
		}
		if r.app != nil {
			r.app.close()
		}
	}
	for _, r := range w.regions {
		r.stopNode()
		if r.engine != nil {
			_ = r.engine.Close() // it never fails
		}
	}
	var errs []error
	for _, p := range w.proxies {
		errs = append(errs, p.Close())
	}
	for _, r := range w.regions {
		if r.server != nil {
			errs = append(errs, r.server.Stop())
		}
	}
	if w.log != nil {
		errs = append(errs, w.log.Close())
	}
	if w.dir != "" && !keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// say tells how it goes.
func (w *world) say(format string, args ...any) {
	if w.config.Out == nil {
		return
	}
	at := w.book.now().Round(10 * time.Millisecond)
	_, _ = io.WriteString(w.config.Out, fmt.Sprintf("%8.2fs  ", at.Seconds())+fmt.Sprintf(format, args...)+"\n") // nobody need listen
}
