//go:build integration

package deployment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/dynalitetest"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// A site is an application in several Regions, as one browser sees it.
type site struct {
	t       *testing.T
	regions map[string]*httptest.Server
	configs map[string]roam.Config
	client  *http.Client
}

const visits roam.Counter = "visits"

// newSite runs an application in each Region of a file.
func newSite(t *testing.T, text string, regions ...string) *site {
	t.Helper()
	path := write(t, text)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, regions: map[string]*httptest.Server{}, configs: map[string]roam.Config{}, client: &http.Client{Jar: jar}}
	t.Cleanup(s.client.CloseIdleConnections)
	for _, name := range regions {
		d := open(t, path, name, Options{Patience: patience})
		s.configs[name] = d.Config()
		store, err := roam.Open(t.Context(), d.Config())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() }) // never fails
		s.regions[name] = s.serve(store)
	}
	return s
}

// serve serves what a handler of each kind does: /visit counts, /strict/look shows and
// /out logs out.
func (s *site) serve(store *roam.Store) *httptest.Server {
	s.t.Helper()
	class := func(r *http.Request) roam.Class {
		if strings.HasPrefix(r.URL.Path, "/strict/") {
			return roam.Strict
		}
		return roam.Safe
	}
	sessions, err := roam.NewManager(store, make([]byte, 32), roam.Options{Class: class, Cookie: roam.Cookie{Plain: true}})
	if err != nil {
		s.t.Fatal(err)
	}
	at := httptest.NewServer(sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := roam.FromContext(r.Context())
		switch r.URL.Path {
		case "/visit":
			visits.Add(session, 1)
		case "/out":
			if _, err := session.Destroy(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintf(w, "%d %v", visits.Get(session), session.Rung())
	})))
	s.t.Cleanup(at.Close)
	return at
}

// get asks a Region, as the browser, and returns what it answered.
func (s *site) get(region, path string) (int, string) {
	s.t.Helper()
	// Cookies are of a host, whatever its port: all Regions are one site.
	res, err := s.client.Get(s.regions[region].URL + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read only
	var body strings.Builder
	buf := make([]byte, 1<<10)
	for {
		n, err := res.Body.Read(buf)
		body.Write(buf[:n])
		if err != nil {
			return res.StatusCode, body.String()
		}
	}
}

func (s *site) want(region, path string, code int, body string) {
	s.t.Helper()
	if c, b := s.get(region, path); c != code || !strings.Contains(b, body) {
		s.t.Errorf("%s%s = %d %q, want %d %q", region, path, c, b, code, body)
	}
}

// heard reports whether a Region has young news of another.
func (s *site) heard(region string, of crdt.Region) func() bool {
	return func() bool {
		age, ok := s.configs[region].Links.Heard(of)
		return ok && age < time.Second
	}
}

// copies runs two copies of a table, and brings items from one to the other when it is
// told to.
type copies struct {
	t     *testing.T
	a, b  *dynalitetest.Server
	table string
}

func (c *copies) file(more string) string {
	return fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dynamo: {table: %s, aws_region: us-west-2, endpoint: %q}}, node: {http: %q}}
  - {name: east, id: 2, engine: {dynamo: {table: %s, aws_region: us-east-1, endpoint: %q}}, node: {http: %q}}
policies: {replication: {heartbeat: 100ms}%s}
`, c.table, c.a.Endpoint(), free(c.t), c.table, c.b.Endpoint(), free(c.t), more)
}

func newCopies(t *testing.T) *copies {
	t.Helper()
	c := &copies{t: t, a: dynalitetest.Start(t, ""), b: dynalitetest.Start(t, ""), table: dynalitetest.NewName()}
	c.a.Table(c.table)
	c.b.Table(c.table)
	return c
}

// replicate brings both all that the other has.
func (c *copies) replicate() {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := errors.Join(c.a.Copy(ctx, c.b, c.table, 1), c.b.Copy(ctx, c.a, c.table, 2)); err != nil {
		c.t.Fatal(err)
	}
}

// On a Global Table of eventual consistency a browser sees what it wrote in another
// Region before that is replicated, since the other copy is asked; a logout is in all
// copies as soon as it is done; and strict routes refuse when a Region was not heard of
// for too long, which no node has a part in.
func TestCopiesThatLag(t *testing.T) {
	dynalitetest.Sign(t)
	c := newCopies(t)
	s := newSite(t, c.file(", timeouts: {strict_bound: 2s}"), "west", "east")
	for region, of := range map[string]crdt.Region{"west": 2, "east": 1} {
		eventually(t, region+" hears of the other copy", func() bool {
			c.replicate()
			return s.heard(region, of)()
		})
	}
	s.want("west", "/visit", http.StatusOK, "1 normal")
	s.want("east", "/look", http.StatusOK, "1 normal") // nothing was replicated since
	s.want("east", "/visit", http.StatusOK, "2 normal")
	s.want("west", "/look", http.StatusOK, "2 normal")
	c.replicate()
	s.want("west", "/strict/look", http.StatusOK, "2 normal")

	eventually(t, "what is here gets old", func() bool {
		age, ok := s.configs["west"].Links.Heard(2)
		return ok && age > 2*time.Second
	})
	s.want("west", "/strict/look", http.StatusServiceUnavailable, "")
	s.want("west", "/look", http.StatusOK, "2 stale")

	at, _ := url.Parse(s.regions["east"].URL)
	before := s.client.Jar.Cookies(at)
	s.want("west", "/out", http.StatusOK, "")
	s.client.Jar.SetCookies(at, before) // who kept the cookies shows them to the other Region
	s.want("east", "/look", http.StatusOK, "0 ")
	c.replicate()
	s.want("east", "/look", http.StatusOK, "0 ")
}

// A copy that is away holds up nobody: the session goes on in the other Region's.
func TestOwnCopyIsAway(t *testing.T) {
	dynalitetest.Sign(t)
	c := newCopies(t)
	s := newSite(t, c.file(""), "west", "east")
	eventually(t, "west hears of the other copy", func() bool {
		c.replicate()
		return s.heard("west", 2)()
	})
	s.want("west", "/visit", http.StatusOK, "1 normal")
	c.replicate()
	c.a.Kill()
	s.want("west", "/visit", http.StatusOK, "2 normal")
	s.want("east", "/look", http.StatusOK, "2 normal")
}

// What one Region has committed to a cluster of Aurora DSQL the other shows at once, and
// nothing is measured: nothing can be old.
func TestOneCluster(t *testing.T) {
	pg := postgrestest.Start(t)
	a, b := postgrestest.NewDSQL(t, pg), postgrestest.NewDSQL(t, pg)
	s := newSite(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dsql: {endpoint: %q, user: roam, migrate: true}}, node: {http: %q}}
  - {name: east, id: 2, engine: {dsql: {endpoint: %q, user: roam}}, node: {http: %q}}
`, a.Addr(), free(t), b.Addr(), free(t)), "west", "east")
	c := s.configs["west"]
	if c.Links != nil || c.LocalTimeout != 300*time.Millisecond || c.RemoteTimeout != 500*time.Millisecond || c.Primary != 0 {
		t.Errorf("Config = %+v; want no Links, and the times of a commit across Regions", c)
	}
	for i, region := range []string{"west", "east", "west", "east"} {
		s.want(region, "/visit", http.StatusOK, fmt.Sprintf("%d normal", i+1))
	}
	s.want("west", "/strict/look", http.StatusOK, "4 normal")
	s.want("east", "/out", http.StatusOK, "")
}

// What one Region has written to a strongly consistent table the others show at once; its
// times are those of a commit across Regions, and nothing is measured.
func TestStrongTable(t *testing.T) {
	dynalitetest.Sign(t)
	at := dynalitetest.Start(t, "")
	at.Table("sessions")
	on := func(region string) string {
		return fmt.Sprintf("{dynamo: {table: sessions, aws_region: %s, strong: true, endpoint: %q}}", region, at.Endpoint())
	}
	s := newSite(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: %s, node: {http: %q}}
  - {name: east, id: 2, engine: %s, node: {http: %q}}
`, on("us-west-2"), free(t), on("us-east-1"), free(t)), "west", "east")
	if c := s.configs["east"]; c.Links != nil || c.LocalTimeout != 300*time.Millisecond {
		t.Errorf("Config = %+v; want no Links, and the times of a commit across Regions", c)
	}
	for i, region := range []string{"west", "east", "west"} {
		s.want(region, "/visit", http.StatusOK, fmt.Sprintf("%d normal", i+1))
	}
	s.want("east", "/strict/look", http.StatusOK, "3 normal")
}

// A write to another Region's database is no more than two round trips, the first one
// among them.
func TestDatabaseOfAFarRegion(t *testing.T) {
	const oneWay = 100 * time.Millisecond
	near, distant, net := postgrestest.Start(t), postgrestest.Start(t), fault.NewNet(1)
	for _, way := range [][2]string{{"here", "there"}, {"there", "here"}} {
		net.SetLink(way[0], way[1], fault.Calls, fault.Link{Delay: oneWay})
	}
	if err := postgres.Migrate(t.Context(), postgres.Config{DSN: distant.DSN()}); err != nil {
		t.Fatal(err)
	}
	proxy, err := net.Proxy(t.Context(), "here", "there", fault.Calls, distant.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() }) // the test is over
	c := open(t, write(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {postgres: {url: "postgres://roam@%s/postgres", migrate: true}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {postgres: {url: "postgres://roam@%s/postgres"}}, node: {links: %q, http: %q}}
`, near.Addr(), free(t), free(t), proxy.Addr(), free(t), free(t))), "west", Options{Patience: patience}).Config()
	if c.RemoteTimeout != 500*time.Millisecond {
		t.Errorf("RemoteTimeout = %v, want 500 ms: two round trips", c.RemoteTimeout)
	}
	begun := time.Now()
	if err := birth(t, c.Peers[0].Engine, key(2)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 4*oneWay || took > 7*oneWay {
		t.Errorf("the first write took %v, want two round trips of %v", took, 2*oneWay)
	}
}

// Databases of PostgreSQL are kept equal by nodes, as servers of Valkey are, and their
// news is measured so.
func TestDatabasesOfTwoRegions(t *testing.T) {
	west, east := postgrestest.Start(t), postgrestest.Start(t)
	path := write(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {postgres: {url: "postgres://roam@%s/postgres", migrate: true}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {postgres: {url: "postgres://roam@%s/postgres", migrate: true}}, node: {links: %q, http: %q}}
policies: {replication: {heartbeat: 50ms, silence: 500ms}}
`, west.Addr(), free(t), free(t), east.Addr(), free(t), free(t)))
	c := open(t, path, "east", Options{Patience: patience}).Config()
	if _, err := c.Here.Engine.Read(t.Context(), key(2), crdt.Token{}); !errors.Is(err, engine.ErrRefilling) {
		t.Errorf("Read of a new database that nodes replicate = %v, want ErrRefilling", err)
	}
	startNodes(t, path)
	k := key(1)
	eventually(t, "west takes a birth", func() bool { return birth(t, c.Peers[0].Engine, k) == nil })
	eventually(t, "east hears of west, and has its session", func() bool {
		age, ok := c.Links.Heard(1)
		r, err := c.Here.Engine.Read(t.Context(), k, crdt.Token{})
		return ok && age < time.Second && c.Links.Lag(1) > 0 && err == nil && !r.IsBottom()
	})
}
