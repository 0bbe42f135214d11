package lab

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/postgresserver"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// Engines that Regions of a Lab may keep records in.
const (
	// Memory is in this process.
	Memory = "memory"
	// Valkey is servers of their own, on this machine.
	Valkey = "valkey"
	// Postgres is a database for each, on this machine.
	Postgres = "postgres"
)

// Engines returns those that there are.
func Engines() []string { return []string{Memory, Valkey, Postgres} }

// Config is how a Lab begins. Zero fields take their defaults.
type Config struct {
	// Topology is console.ActiveActive (default) or console.ActivePassive, where
	// us-west-1 takes all writes. On Valkey the servers of the others then replicate its
	// by themselves.
	Topology string
	// Engine is Memory (default), Valkey, which takes a server program on the PATH, or
	// Postgres, which takes one too and is for active-active.
	Engine string
	// ReadAfterWrite is what reads do about writes that have not arrived.
	// Default roam.ByToken.
	ReadAfterWrite roam.Mode
	// Seed is what delays and losses are drawn from. Default 1.
	Seed uint64
	// Cookie is the name of the shop's cookies. Default "roam".
	Cookie string
	// ShopURL is where the edge is served; pages link to it.
	ShopURL string
	// Log hears of links and of what goes wrong. Default: nothing is logged.
	Log *slog.Logger
}

// A Lab is several Regions in one process. It is a console.Source, and its
// Handler is the edge of its shops. It may be used by many goroutines.
type Lab struct {
	config  Config
	program valkeyserver.Program // of servers; where there are none, nothing
	base    postgresserver.Program
	key     []byte // of cookies, the same in every Region
	feed    *feed
	change  chan struct{} // holds one while Regions start over, die, revive or are closed, then for ever
	ending  chan struct{} // closed when they are about to be closed
	closed  sync.Once

	mu      sync.RWMutex // guards what follows; held for a moment only
	current *deployment
}

// New starts three Regions. Ctx bounds them, as Close does. It fails if the
// configuration makes no sense, and with valkeyserver.ErrMissing or
// postgresserver.ErrMissing if there is no server to run.
func New(ctx context.Context, c Config) (*Lab, error) {
	if c.Topology == "" {
		c.Topology = console.ActiveActive
	}
	if c.Engine == "" {
		c.Engine = Memory
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if !slices.Contains([]string{console.ActiveActive, console.ActivePassive}, c.Topology) {
		return nil, fmt.Errorf("topology %q: want %s or %s", c.Topology, console.ActiveActive, console.ActivePassive)
	}
	l := &Lab{config: c, key: make([]byte, 32), feed: newFeed(), change: make(chan struct{}, 1), ending: make(chan struct{})}
	switch c.Engine {
	case Memory:
	case Valkey:
		var err error
		if l.program, err = valkeyserver.Find(ctx); err != nil {
			return nil, err
		}
	case Postgres:
		var err error
		if l.base, err = postgresserver.Find(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("engine %q: want %s", c.Engine, strings.Join(Engines(), " or "))
	}
	if _, err := io.ReadFull(rand.Reader, l.key); err != nil {
		return nil, fmt.Errorf("make a cookie key: %w", err)
	}
	var err error
	if l.current, err = l.deploy(ctx, c.Topology); err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends all Regions and returns when nothing of them runs any more. Again,
// it does nothing.
func (l *Lab) Close() (err error) {
	l.closed.Do(func() {
		close(l.ending)
		l.change <- struct{}{} // waits for Regions that are starting over
		l.feed.close()
		err = l.deployment().Close()
	})
	return err
}

// Servers returns what each Region has, and what program that is; empty where there are
// no servers.
func (l *Lab) Servers() string {
	switch l.config.Engine {
	case Valkey:
		return "two servers on loopback: " + l.program.String()
	case Postgres:
		return "a server on loopback: " + l.base.String()
	}
	return ""
}

// Handler returns the edge: it sends each request to the Region that the request
// asks for with RegionHeader or its cookie, or to the nearest that is alive.
func (l *Lab) Handler() http.Handler {
	e := &edge{
		alive: func(name string) bool { return l.deployment().alive(name) },
		serve: func(name string) http.Handler { return l.deployment().region(name) },
	}
	for _, p := range places() {
		e.names = append(e.names, p.name)
	}
	return e
}

func (l *Lab) deployment() *deployment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current
}

// redeploy starts over with another topology, and new engines: all sessions are gone.
// The Regions there are serve until the new ones can.
func (l *Lab) redeploy(ctx context.Context, topology string) error {
	select {
	case l.change <- struct{}{}:
		defer func() { <-l.change }()
	default:
		return &console.Refusal{Problem: "the Regions are starting over already, or ending", Next: "wait a moment and look what there is"}
	}
	next, err := l.deploy(context.WithoutCancel(ctx), topology)
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.current
	l.current = next
	l.mu.Unlock()
	l.feed.add(console.Event{Kind: console.KindTopology, Text: "started over as " + topology + "; all sessions are gone"})
	return old.Close()
}
