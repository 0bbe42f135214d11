package quorum

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/pki"
)

// patience bounds what a test waits for, so that it fails instead of hanging.
const patience = 30 * time.Second

// A list is a state machine: all commands there were.
type list struct {
	mu       sync.Mutex
	commands []string
	restored int // with something in it
}

func (l *list) Apply(_ uint64, command []byte) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = append(l.commands, string(command))
	return len(l.commands)
}

func (l *list) Snapshot() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(l.commands); err != nil {
		return nil
	}
	return b.Bytes()
}

func (l *list) Restore(state []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = nil
	if len(state) == 0 {
		return nil
	}
	l.restored++
	return gob.NewDecoder(bytes.NewReader(state)).Decode(&l.commands)
}

func (l *list) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.commands)
}

// A hall is where a member is found, as long as the test runs: its port stays the
// group's while the member is down. Who comes then is sent away.
type hall struct {
	net.Listener
	mu   sync.Mutex
	desk *desk // nil: the member is down
}

func (h *hall) run() {
	for {
		conn, err := h.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		d := h.desk
		h.mu.Unlock()
		if d == nil {
			_ = conn.Close() // nobody is there
			continue
		}
		select {
		case d.conns <- conn:
		case <-d.closed:
			_ = conn.Close() // nobody is there any more
		}
	}
}

// open returns a Listener for one life of the member.
func (h *hall) open() net.Listener {
	d := &desk{hall: h, conns: make(chan net.Conn), closed: make(chan struct{})}
	h.mu.Lock()
	h.desk = d
	h.mu.Unlock()
	return d
}

type desk struct {
	hall   *hall
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (d *desk) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *desk) Close() error {
	d.once.Do(func() {
		d.hall.mu.Lock()
		if d.hall.desk == d {
			d.hall.desk = nil
		}
		d.hall.mu.Unlock()
		close(d.closed)
	})
	return nil
}

func (d *desk) Addr() net.Addr { return d.hall.Addr() }

// A group is members in Regions, each on loopback and with the fault.Net between them.
type group struct {
	t       *testing.T
	net     *fault.Net
	ids     []uint64
	founder []uint64
	rules   Rules
	hall    map[uint64]*hall
	peers   map[uint64][]Peer
	keeper  map[uint64]*pki.Keeper
	dir     string
	member  map[uint64]*Member
	machine map[uint64]*list
	started map[uint64]bool
	told    map[uint64]*atomic.Value // by OnLead
}

func region(id uint64) string { return fmt.Sprintf("region-%d", id) }

// newGroup makes n members, of which none runs, with certificates in dir.
func newGroup(t *testing.T, n, founders int, rules Rules) *group {
	t.Helper()
	g := &group{
		t: t, net: fault.NewNet(1), rules: rules, dir: t.TempDir(), hall: map[uint64]*hall{}, peers: map[uint64][]Peer{},
		keeper: map[uint64]*pki.Keeper{}, member: map[uint64]*Member{}, machine: map[uint64]*list{}, started: map[uint64]bool{}, told: map[uint64]*atomic.Value{},
	}
	t.Cleanup(func() { goleak.VerifyNone(t) })
	var regions []pki.Member
	for id := uint64(1); id <= uint64(n); id++ {
		g.ids = append(g.ids, id)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := &hall{Listener: l}
		var work sync.WaitGroup
		work.Go(h.run)
		t.Cleanup(func() {
			_ = l.Close() // ends run
			work.Wait()
		})
		g.hall[id] = h
		regions = append(regions, pki.Member{Region: region(id), Hosts: []string{"127.0.0.1"}})
	}
	g.founder = g.ids[:founders]
	if _, err := pki.Init(g.dir, regions, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, from := range g.ids {
		g.told[from] = &atomic.Value{}
		g.keeper[from] = g.keep(g.dir, region(from))
		for _, to := range g.ids {
			if from == to {
				continue
			}
			p, err := g.net.Proxy(t.Context(), region(from), region(to), fault.Calls, g.hall[to].Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() }) // it never fails
			g.peers[from] = append(g.peers[from], Peer{ID: to, Region: region(to), Addr: p.Addr()})
		}
	}
	t.Cleanup(func() {
		for _, id := range g.ids {
			g.stop(id)
		}
	})
	return g
}

func (g *group) keep(dir, name string) *pki.Keeper {
	g.t.Helper()
	k, err := pki.Keep(pki.Files{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key"),
	}, name, slog.New(slog.DiscardHandler))
	if err != nil {
		g.t.Fatal(err)
	}
	return k
}

func (g *group) config(id uint64) Config {
	rules := g.rules
	rules.ID, rules.Seed, rules.ElectionTicks = id, 7, 12
	return Config{
		Rules: rules, Name: "test", Founders: g.founder, Peers: g.peers[id], Path: filepath.Join(g.dir, region(id)+".quorum"),
		Create: !g.started[id], Keeper: g.keeper[id], Tick: 20 * time.Millisecond, Silence: time.Second,
		OnLead: func(l Leadership) { g.told[id].Store(l) },
	}
}

func (g *group) start(ids ...uint64) {
	g.t.Helper()
	for _, id := range ids {
		cfg := g.config(id)
		cfg.Listener = g.hall[id].open()
		g.machine[id] = &list{}
		m, err := Open(context.Background(), cfg, g.machine[id])
		if err != nil {
			g.t.Fatal(err)
		}
		g.member[id], g.started[id] = m, true
	}
}

func (g *group) stop(id uint64) {
	g.t.Helper()
	if m := g.member[id]; m != nil {
		if err := m.Close(); err != nil {
			g.t.Errorf("close %d: %v", id, err)
		}
		g.member[id] = nil
	}
}

// await waits until something is so.
func (g *group) await(what string, so func() bool) {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			g.t.Fatalf("never so: %s", what)
		}
	}
}

// leader waits until those given agree on who leads.
func (g *group) leader(ids ...uint64) uint64 {
	g.t.Helper()
	var lead Leadership
	g.await("all follow one leader", func() bool {
		lead = g.member[ids[0]].Status().Lead
		for _, id := range ids {
			if g.member[id].Status().Lead != lead || g.told[id].Load() != lead {
				return false
			}
		}
		return slices.Contains(ids, lead.Leader)
	})
	return lead.Leader
}

func (g *group) propose(id uint64, command string) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	v, err := g.member[id].Propose(ctx, []byte(command))
	if err != nil {
		g.t.Fatalf("propose %q at %d: %v", command, id, err)
	}
	return v.(int)
}

// read returns what a linearizable read at a member sees.
func (g *group) read(id uint64) []string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	if err := g.member[id].Read(ctx); err != nil {
		g.t.Fatalf("read at %d: %v", id, err)
	}
	return g.machine[id].all()
}

func (g *group) others(id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(g.ids), func(o uint64) bool { return o == id })
}

// cut cuts a member off from all others, or joins it again.
func (g *group) cut(id uint64, cut bool) {
	for _, o := range g.others(id) {
		g.net.SetLink(region(id), region(o), fault.Calls, fault.Link{Cut: cut})
		g.net.SetLink(region(o), region(id), fault.Calls, fault.Link{Cut: cut})
	}
}
