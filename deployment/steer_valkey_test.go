//go:build integration

package deployment

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A pair is two Regions whose servers replicate natively, and what grants them leases.
type pair struct {
	t       *testing.T
	servers map[string]*valkeytest.Server
	engines map[string]*valkey.Engine
	path    string
	stop    map[string]func() // ends the granting
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, servers: map[string]*valkeytest.Server{}, engines: map[string]*valkey.Engine{}, stop: map[string]func(){}}
	west := valkeytest.Start(t, "--repl-diskless-sync-delay", "0")
	p.servers["west"] = west
	host, port, err := net.SplitHostPort(west.Addr)
	if err != nil {
		t.Fatal(err)
	}
	p.servers["east"] = valkeytest.Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port)
	for id, name := range map[crdt.Region]string{1: "west", 2: "east"} {
		e, err := valkey.Open(t.Context(), id, valkey.Config{Addrs: []string{p.servers[name].Addr}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		p.engines[name] = e
	}
	p.path = write(t, fmt.Sprintf(`
version: 1
name: shop
topology: active-passive
primary: west
regions:
  - {name: west, id: 1, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q}}
policies: {replication: {heartbeat: 50ms, silence: 500ms}}
`, west.Addr, free(t), free(t), p.servers["east"].Addr, free(t), free(t)))
	t.Cleanup(func() {
		for _, stop := range p.stop {
			stop()
		}
	})
	return p
}

// grant gives a Region's server the lease of an epoch until end is called.
func (p *pair) grant(region string, epoch uint64) {
	p.t.Helper()
	e := p.engines[region]
	once := func(ctx context.Context) error {
		c, err := e.Clocks(ctx)
		if err == nil {
			err = e.Grant(ctx, epoch, c, 2*time.Second)
		}
		return err
	}
	if err := once(p.t.Context()); err != nil {
		p.t.Fatalf("grant %s epoch %d: %v", region, epoch, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			_ = once(ctx) // again in a moment
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	p.stop[region] = func() { cancel(); work.Wait() }
}

// switchover hands the lease of epoch e from west to east, as nodes do.
func (p *pair) switchover(e uint64) {
	p.t.Helper()
	p.stop["west"]()
	if err := p.engines["west"].EndLease(p.t.Context(), e); err != nil {
		p.t.Fatal(err)
	}
	p.servers["west"].Do("SET", "over", "1")
	eventually(p.t, "what west took is in east", func() bool { return p.servers["east"].Do("GET", "over") == "1" })
	p.servers["east"].Do("REPLICAOF", "NO", "ONE")
	p.grant("east", e+1)
	host, port, err := net.SplitHostPort(p.servers["east"].Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.servers["west"].Do("REPLICAOF", host, port)
}

// A page counts the visits of one browser.
type page struct {
	t       *testing.T
	handler http.Handler
	cookies map[string]*http.Cookie
}

func newPage(t *testing.T, store *roam.Store) *page {
	t.Helper()
	sessions, err := roam.NewManager(store, []byte(strings.Repeat("k", 32)), roam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const visits roam.Counter = "visits"
	return &page{t: t, cookies: map[string]*http.Cookie{}, handler: sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := roam.FromContext(r.Context())
		visits.Add(s, 1)
		_, _ = fmt.Fprint(w, visits.Get(s)) // to a recorder, never fails
	}))}
}

// visit visits it, and returns what it says and how long that took.
func (p *page) visit() (string, time.Duration) {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil)
	for _, c := range p.cookies {
		r.AddCookie(c)
	}
	w, begun := httptest.NewRecorder(), time.Now()
	p.handler.ServeHTTP(w, r)
	took := time.Since(begun)
	for _, c := range w.Result().Cookies() {
		p.cookies[c.Name] = c
	}
	return w.Body.String(), took
}

// visitUntil visits it again and again, and wants each visit to be counted once.
func (p *page) visitUntil(stop <-chan struct{}) {
	longest := time.Duration(0)
	for i := 1; ; i++ {
		said, took := p.visit()
		if said != fmt.Sprint(i) {
			p.t.Errorf("visit %d = %q", i, said)
			return
		}
		longest = max(longest, took)
		select {
		case <-stop:
			p.t.Logf("%d visits, the longest took %v", i, longest)
			return
		default:
		}
	}
}

// attached opens an application in a Region.
func (p *pair) attached(region string, o Options) (*Deployment, *roam.Store) {
	p.t.Helper()
	d := open(p.t, p.path, region, o)
	store, err := roam.Open(p.t.Context(), d.Config())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = store.Close() }) // never fails
	d.Attach(store)
	return d, store
}

// Through a planned switchover of real servers no visit is lost, in either Region, though
// nobody is told that it has happened until long after; then news come from the new
// primary, connections to the old one are new, and an application that starts when all
// nodes are gone writes as well.
func TestSwitchoverOfServers(t *testing.T) {
	p := newPair(t)
	p.grant("west", 1)
	own := p.own()
	n := newTeller(t, view(1, 1, "west"))
	o := Options{Feed: []string{n.URL}}
	var pages []*page
	deployments := map[string]*Deployment{}
	for _, region := range []string{"west", "east"} {
		o.Topology = filepath.Join(t.TempDir(), "view")
		d, store := p.attached(region, o)
		deployments[region] = d
		pages = append(pages, newPage(t, store))
	}
	links := deployments["east"].Config().Links
	eventually(t, "east hears of west", func() bool { age, ok := links.Heard(1); return ok && age < time.Second })
	planned := view(2, 1, "west")
	planned.Next, planned.NextEpoch = "east", 2
	n.put(planned)
	for name, d := range deployments {
		eventually(t, name+" knows that it is planned", func() bool {
			v, _ := d.steers.feed.Latest()
			return v.Next == "east"
		})
	}
	stop, all := make(chan struct{}), sync.WaitGroup{}
	for _, page := range pages {
		all.Go(func() { page.visitUntil(stop) })
	}
	time.Sleep(200 * time.Millisecond)
	p.switchover(1)
	time.Sleep(300 * time.Millisecond)
	before := ids(p.servers["west"])
	n.put(view(3, 2, "east"))
	for name, d := range deployments {
		eventually(t, name+" knows the primary", func() bool { return d.Config().Primary == 2 })
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	all.Wait()
	if age, ok := links.Heard(2); !ok || age > time.Second {
		t.Errorf("Heard in east, the primary = %v, %v", age, ok)
	}
	p.wantNewWays(deployments["west"], before, own)

	n.end()
	o.Patience = 50 * time.Millisecond
	d, store := p.attached("west", o) // with east's file: what is in it is the same
	if c := d.Config(); c.Primary != 2 {
		t.Errorf("Primary = %d after a start without nodes, want 2", c.Primary)
	}
	if said, _ := newPage(t, store).visit(); said != "1" {
		t.Errorf("a visit after a start without nodes = %q, want 1", said)
	}
}

// wantNewWays wants an application in west to hear of east, and nobody to use connections
// to west that were there before, but for the test's own.
func (p *pair) wantNewWays(west *Deployment, before, own map[string]bool) {
	p.t.Helper()
	links := west.Config().Links
	eventually(p.t, "west hears of east", func() bool {
		age, ok := links.Heard(2)
		return ok && age < time.Second && links.Lag(2) > 0
	})
	eventually(p.t, "the connections to west are new", func() bool {
		for id := range ids(p.servers["west"]) {
			if before[id] && !own[id] {
				return false
			}
		}
		return true
	})
}

// own returns the connections of the test's own engine to west, once all are there.
func (p *pair) own() map[string]bool {
	p.t.Helper()
	for i := range 32 {
		if _, err := p.engines["west"].Read(p.t.Context(), crdt.UserKey(fmt.Sprint(i)), crdt.Token{}); err != nil {
			p.t.Fatal(err)
		}
	}
	return ids(p.servers["west"])
}

// ids returns the connections of engines to a server.
func ids(s *valkeytest.Server) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(s.Do("CLIENT", "LIST")) {
		if strings.Contains(line, "name=roam") {
			id, _, _ := strings.Cut(line, " ")
			out[id] = true
		}
	}
	return out
}
