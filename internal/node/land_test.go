package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// A goroutine of valkey-go that looks for a lost server sleeps for up to a second
// after its client was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

// patience is how long something may take that should take a moment.
const patience = 45 * time.Second

// A land is a deployment on loopback.
type land struct {
	t     *testing.T
	dir   string // of the certificates
	text  string // roam.yaml
	parts topology.Deployment
	nodes map[string]*Node
	said  log
}

// A log is what nodes say. Goroutines may share it.
type log struct {
	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func names() []string { return []string{"west", "east", "north"} }

// port returns an address that nobody has at this moment.
func port(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// ports returns different ones.
func ports(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		out = append(out, port(t))
	}
	return out
}

// newLand describes three Regions with certificates, whose engines are as
// engines[i] says in YAML; none starts yet. Replication is quick, so that tests are.
func newLand(t *testing.T, topologyLines string, engines ...string) *land {
	t.Helper()
	return describeLand(t, topologyLines, func([]string) string { return "" }, nil, "", engines...)
}

// newCountry is newLand with a control plane.
func newCountry(t *testing.T, topologyLines, control string, engines ...string) *land {
	t.Helper()
	more := func(at []string) string { return fmt.Sprintf(", control: %q, api: %q, dns: %q", at[2], at[3], at[4]) }
	const zone = ", dns: {zone: session.internal, nameservers: [{name: ns.session.internal, addrs: [127.0.0.1]}]}"
	endpoint := func(i int) string { return fmt.Sprintf("{addrs: [127.0.0.%d], port: 6379}", i+1) }
	return describeLand(t, topologyLines, more, endpoint, "control: {dir: \"data/{region}\""+zone+control+"}\n", engines...)
}

// describeLand is newLand with more in each node's line, an endpoint for each Region, if it
// is not nil, and a tail of the file.
func describeLand(
	t *testing.T, topologyLines string, more func(at []string) string, endpointOf func(i int) string, tail string, engines ...string,
) *land {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\n%s\nregions:\n", topologyLines)
	var members []pki.Member
	free := ports(t, 5*len(names()))
	for i, name := range names() {
		at, endpoint := free[5*i:], ""
		if endpointOf != nil {
			endpoint = "    endpoint: " + endpointOf(i) + "\n"
		}
		fmt.Fprintf(&b, "  - name: %s\n    id: %d\n    engine: %s\n%s    node: {links: %q, http: %q%s}\n",
			name, i+1, engines[i], endpoint, at[0], at[1], more(at))
		members = append(members, pki.Member{Region: name, Hosts: []string{"127.0.0.1"}})
	}
	b.WriteString("links: {tls: {ca: ca.pem, cert: \"{region}.pem\", key: \"{region}.key\"}}\n")
	b.WriteString("policies: {replication: {heartbeat: 50ms, silence: 500ms}}\n")
	b.WriteString(tail)
	l := parsedLand(t, b.String())
	if _, err := pki.Init(l.dir, members, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	return l
}

// parsedLand is what a file describes.
func parsedLand(t *testing.T, text string) *land {
	t.Helper()
	l := &land{t: t, dir: t.TempDir(), text: text, nodes: map[string]*Node{}}
	d, err := topology.Parse([]byte(l.text))
	if err != nil {
		t.Fatalf("Parse(%s) = %v", l.text, err)
	}
	l.parts = d.Under(l.dir)
	t.Cleanup(func() {
		for _, n := range l.nodes {
			_ = n.Close() // never fails
		}
		if t.Failed() {
			t.Logf("the nodes said:\n%s", l.said.String())
		}
	})
	return l
}

func (l *land) start(name string) *Node {
	l.t.Helper()
	return l.startAs(name, l.parts, Config{})
}

func (l *land) startAs(name string, d topology.Deployment, c Config) *Node {
	l.t.Helper()
	c.Log = slog.New(slog.NewTextHandler(&l.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.RetryMax, c.Folder = 200*time.Millisecond, l.dir
	n, err := Start(context.WithoutCancel(l.t.Context()), d, name, c)
	if err != nil {
		l.t.Fatalf("Start(%s) = %v, want nil", name, err)
	}
	l.nodes[name] = n
	return n
}

func (l *land) startAll() {
	l.t.Helper()
	for _, name := range names() {
		l.start(name)
	}
	for _, name := range names() {
		l.ready(name)
	}
}

// eventually wants something to be so soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after %v not so: %s", patience, what)
		}
	}
}

// ready waits until a node is, and has heard of all its peers.
func (l *land) ready(name string) {
	l.t.Helper()
	eventually(l.t, name+" is ready and has heard of all", func() bool {
		code, h := health(l.t, l.nodes[name].HTTP())
		heard := 0
		for _, p := range h.Peers {
			if p.HeardSeconds != nil && p.Pushing && p.Pushed {
				heard++
			}
		}
		return code == http.StatusOK && h.Ready && heard == len(names())-1
	})
}

func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func health(t *testing.T, addr string) (int, Health) {
	t.Helper()
	code, body := get(t, addr, "/readyz")
	var h Health
	if code != 0 {
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			t.Fatalf("/readyz said %q: %v", body, err)
		}
	}
	return code, h
}

func (l *land) engine(name string) engine.Engine {
	l.t.Helper()
	e, ok := l.nodes[name].Engine()
	if !ok {
		l.t.Fatalf("%s has no engine", name)
	}
	return e
}

// birth makes a session in a Region, and returns its key.
func (l *land) birth(name string) crdt.Key {
	l.t.Helper()
	k, err := l.tryBirth(name)
	if err != nil {
		l.t.Fatalf("a session in %s: %v", name, err)
	}
	return k
}

func (l *land) tryBirth(name string) (crdt.Key, error) {
	r, _ := l.parts.Region(name)
	var entropy crdt.IDEntropy
	_, _ = rand.Read(entropy[:]) // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), r.ID, entropy))
	op := crdt.Op{Stamp: now.Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
	_, err := l.engine(name).Apply(l.t.Context(), k, op)
	return k, err
}

func (l *land) apply(name string, k crdt.Key, op crdt.Op) {
	l.t.Helper()
	op.Stamp = crdt.TimeOf(time.Now()).Stamp() + 1
	if _, err := l.engine(name).Apply(l.t.Context(), k, op); err != nil {
		l.t.Fatalf("Apply in %s = %v, want nil", name, err)
	}
}

// everywhere waits until all running nodes' engines have what is said of a session.
func (l *land) everywhere(k crdt.Key, what string, is func(crdt.Record) bool) {
	l.t.Helper()
	for name := range l.nodes {
		eventually(l.t, what+" in "+name, func() bool {
			r, err := l.engine(name).Read(l.t.Context(), k, crdt.Token{})
			return err == nil && is(r)
		})
	}
}

// stories is what every kind of engine goes through: a write gets everywhere, also
// to a node that was away, and from one that is back; a logout too.
func (l *land) stories() {
	l.t.Helper()
	l.startAll()
	alive := func(r crdt.Record) bool { return !r.IsBottom() && !r.Dead }
	for _, name := range names() {
		l.everywhere(l.birth(name), "the session of "+name, alive)
	}
	k := l.birth("west")
	l.everywhere(k, "the session", alive)

	if err := l.nodes["east"].Close(); err != nil {
		l.t.Errorf("Close = %v, want nil", err)
	}
	delete(l.nodes, "east")
	l.apply("north", k, crdt.Op{Destroy: true})
	missed := l.birth("west")
	l.everywhere(k, "the logout", func(r crdt.Record) bool { return r.Dead })
	l.start("east")
	l.ready("east")
	l.everywhere(k, "the logout, after a restart", func(r crdt.Record) bool { return r.Dead })
	l.everywhere(missed, "the session that east missed", alive)
	l.everywhere(l.birth("east"), "the session of east, after its restart", alive)
}

func pemPaths(dir, name string) (cert, key string) {
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
}
