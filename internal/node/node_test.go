package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/topology"
)

const activeActive = "topology: active-active"

func memoryLand(t *testing.T) *land {
	t.Helper()
	return newLand(t, activeActive, "{memory: {}}", "{memory: {}}", "{memory: {}}")
}

func TestThreeNodesOnMemory(t *testing.T) { memoryLand(t).stories() }

// In active-passive on memory engines the primary takes the writes, and the others
// have them.
func TestActivePassiveOnMemory(t *testing.T) {
	l := newLand(t, "topology: active-passive\nprimary: east", "{memory: {}}", "{memory: {}}", "{memory: {}}")
	l.startAll()
	k := l.birth("east")
	l.everywhere(k, "the session", func(r crdt.Record) bool { return !r.IsBottom() })
	_, err := l.engine("west").Apply(t.Context(), k, crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp() + 1, Destroy: true})
	if !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Apply in a secondary = %v, want ErrNotPrimary", err)
	}
}

// hello dials a node with a certificate and claims to be a Region; it returns what
// the node answered.
func (l *land) hello(dir, certOf string, claim crdt.Region, to string) (replica.Frame, error) {
	l.t.Helper()
	r, _ := l.parts.Region(to)
	ca, err := os.ReadFile(filepath.Join(l.dir, "ca.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(pemPaths(dir, certOf))
	if err != nil {
		l.t.Fatal(err)
	}
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	conn, err := d.DialContext(l.t.Context(), "tcp", r.Node.Links)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(replica.AppendFrame(nil, replica.Hello{Region: claim})); err != nil {
		return nil, err
	}
	f, _, err := replica.ReadFrame(conn)
	return f, err
}

func TestImpostorsAreRefused(t *testing.T) {
	l := memoryLand(t)
	l.start("west")
	eventually(t, "west is ready", func() bool { code, _ := health(t, l.nodes["west"].HTTP()); return code == http.StatusOK })

	if f, err := l.hello(l.dir, "east", 2, "west"); err != nil {
		t.Errorf("east as itself: %v, want a hello", err)
	} else if _, ok := f.(replica.Hello); !ok {
		t.Errorf("east as itself: %#v, want a hello", f)
	}
	f, err := l.hello(l.dir, "east", 3, "west")
	if bye, ok := f.(replica.Goodbye); err != nil || !ok || !strings.Contains(bye.Reason, replica.ErrImpostor.Error()) {
		t.Errorf("east as north: %#v, %v; want a goodbye that says %q", f, err, replica.ErrImpostor)
	}
	if f, err := l.hello(l.dir, "west", 2, "west"); err == nil {
		t.Errorf("west to itself: %#v, want no answer", f)
	}
	elsewhere := t.TempDir()
	if _, err := pki.Init(elsewhere, []pki.Member{{Region: "east", Hosts: []string{"127.0.0.1"}}}, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	if f, err := l.hello(elsewhere, "east", 2, "west"); err == nil {
		t.Errorf("east by another authority: %#v, want no answer", f)
	}
	r, _ := l.parts.Region("west")
	conn, err := net.Dial("tcp", r.Node.Links)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write(replica.AppendFrame(nil, replica.Hello{Region: 2}))
	if f, _, err := replica.ReadFrame(conn); err == nil {
		t.Errorf("hello without TLS: %#v, want no answer", f)
	}
	_ = conn.Close()
}

// A node whose peer shows another Region's certificate pushes nothing to it.
func TestDialledMustBeWhoItIs(t *testing.T) {
	l := memoryLand(t)
	l.start("west")
	wrong := l.parts // the node of east, with the certificate of north
	wrong.Regions = append([]topology.Region(nil), l.parts.Regions...)
	cert, key := pemPaths(l.dir, "north")
	wrong.Links.TLS = &topology.TLS{CA: l.parts.Links.TLS.CA, Cert: cert, Key: key}
	if _, err := Start(t.Context(), wrong, "east", Config{}); !errors.Is(err, pki.ErrIdentity) {
		t.Fatalf("Start(east) with the certificate of north = %v, want ErrIdentity", err)
	}
	// A process that listens at east's address, with what it stole from north.
	keeper, err := pki.Keep(pki.Files{CA: wrong.Links.TLS.CA, Cert: cert, Key: key}, "north", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := l.parts.Region("east")
	raw, err := net.Listen("tcp", r.Node.Links)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 1)
	go func() {
		conn, err := tls.NewListener(raw, keeper.Server([]string{"west"})).Accept()
		if err != nil {
			got <- -1
			return
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		n, _ := io.Copy(io.Discard, conn)
		_ = conn.Close()
		got <- int(n)
	}()
	if n := <-got; n != 0 {
		t.Errorf("who listens in east's place was sent %d bytes, want 0", n)
	}
	_ = raw.Close()
	eventually(t, "west says why", func() bool {
		_, h := health(t, l.nodes["west"].HTTP())
		for _, p := range h.Peers {
			if p.Region == "east" && (strings.Contains(p.LastError, pki.ErrIdentity.Error()) || strings.Contains(l.said.String(), pki.ErrIdentity.Error())) {
				return !p.Pushing
			}
		}
		return false
	})
}

// Renewed certificates are used from the next link on, by nodes that go on.
func TestRenewalWithoutRestart(t *testing.T) {
	l := memoryLand(t)
	l.startAll()
	var before [2]time.Time
	for i, name := range names()[:2] {
		before[i] = l.nodes[name].keeper.Expiry()
	}
	// The authority is renewed too, the hard way: nothing old is trusted any more.
	for _, pattern := range []string{"*.pem", "*.key"} {
		files, _ := filepath.Glob(filepath.Join(l.dir, pattern))
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	var members []pki.Member
	for _, name := range names() {
		members = append(members, pki.Member{Region: name, Hosts: []string{"127.0.0.1"}})
	}
	if _, err := pki.Init(l.dir, members, false, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := l.nodes["north"].Close(); err != nil {
		t.Fatal(err)
	}
	l.start("north") // it knows the new authority alone
	l.ready("north")
	for i, name := range names()[:2] {
		l.ready(name)
		if got := l.nodes[name].keeper.Expiry(); !got.After(before[i]) {
			t.Errorf("%s goes by a certificate that ends at %v, before the renewal %v", name, got, before[i])
		}
	}
	l.everywhere(l.birth("north"), "the session", func(r crdt.Record) bool { return !r.IsBottom() })
}

func TestHealthAndMetrics(t *testing.T) {
	l := memoryLand(t)
	l.startAll()
	l.everywhere(l.birth("west"), "the session", func(r crdt.Record) bool { return !r.IsBottom() })
	at := l.nodes["west"].HTTP()
	if code, body := get(t, at, "/livez"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez = %d %q, want 200 ok", code, body)
	}
	if code, _ := get(t, at, "/"); code != http.StatusNotFound {
		t.Errorf("/ = %d, want 404", code)
	}
	var code int
	var body string
	eventually(t, "east has acknowledged", func() bool {
		code, body = get(t, at, "/metrics")
		return strings.Contains(body, `roam_peer_acked_entries{peer="east"} 1`)
	})
	if code != http.StatusOK {
		t.Errorf("/metrics = %d, want 200", code)
	}
	for _, want := range []string{
		`roam_node_info{engine="memory",region="west",topology="active-active"} 1`,
		"roam_node_ready 1", "roam_engine_up 1", "roam_engine_records 1", "roam_certificate_expiry_timestamp_seconds ",
		`roam_peer_connected{direction="in",peer="north"} 1`, `roam_peer_connected{direction="out",peer="east"} 1`,
		`roam_peer_heard_age_seconds{peer="east"} `, `roam_peer_entries_total{direction="out",peer="east"} `,
		`roam_peer_diverged_buckets_total{peer="east"} 0`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	for _, direction := range []string{"in", "out"} {
		line := `roam_peer_bytes_total{direction="` + direction + `",peer="east"} 0` + "\n"
		if strings.Contains(body, line) || !strings.Contains(body, line[:len(line)-3]) {
			t.Errorf("/metrics has no bytes %s of east", direction)
		}
	}
	// Every metric has one help text and one set of labels, as scrapers want it.
	if families, err := l.nodes["west"].registry().Gather(); err != nil || len(families) < 30 {
		t.Errorf("Gather = %d families, %v; want 30 or more", len(families), err)
	}
}

// A peer that goes is missed and told of; the Region is still ready.
func TestReadyWithoutPeers(t *testing.T) {
	l := memoryLand(t)
	l.startAll()
	if err := l.nodes["east"].Close(); err != nil {
		t.Fatal(err)
	}
	delete(l.nodes, "east")
	eventually(t, "west knows that east is away, and stays ready", func() bool {
		code, h := health(t, l.nodes["west"].HTTP())
		return code == http.StatusOK && h.Ready && !h.Peers[0].Pushing && !h.Peers[0].Pushed && h.Peers[0].LastError != ""
	})
	if !strings.Contains(l.said.String(), "closed, or replaced by a newer link") && !strings.Contains(l.said.String(), "context canceled") {
		t.Errorf("east said no goodbye: %s", l.said.String())
	}
}

// An engine that is out of reach is told and tried again; the node lives on.
func TestEngineOutOfReachAtStart(t *testing.T) {
	l := newLand(t, activeActive, `{valkey: {addrs: ["`+port(t)+`"], password_file: pw}}`, "{memory: {}}", "{memory: {}}")
	n := l.start("west")
	eventually(t, "west says that it lacks a password", func() bool {
		code, h := health(t, n.HTTP())
		return code == http.StatusServiceUnavailable && !h.Ready && len(h.Why) == 1 && strings.Contains(h.Why[0], "read the password")
	})
	if err := os.WriteFile(filepath.Join(l.dir, "pw"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "west says that its engine is out of reach", func() bool {
		code, h := health(t, n.HTTP())
		return code == http.StatusServiceUnavailable && len(h.Why) == 1 && strings.Contains(h.Why[0], engine.ErrUnreachable.Error())
	})
	if code, _ := get(t, n.HTTP(), "/livez"); code != http.StatusOK {
		t.Errorf("/livez = %d, want 200: the node is alive", code)
	}
	if code, body := get(t, n.HTTP(), "/metrics"); code != http.StatusOK || !strings.Contains(body, "\nroam_node_ready 0") {
		t.Errorf("/metrics = %d, want roam_node_ready 0", code)
	}
	if _, ok := n.Engine(); ok {
		t.Error("Engine = true before there is one")
	}
	// Who comes meanwhile is sent away at once.
	conn, err := net.Dial("tcp", l.parts.Regions[0].Node.Links)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = conn.SetDeadline(begun.Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(begun) > patience/2 {
		t.Errorf("a peer that comes too early: %v after %v, want the end at once", err, time.Since(begun))
	}
	_ = conn.Close()
	if strings.Contains(l.said.String(), "hunter2") {
		t.Error("the log holds the password")
	}
}

func TestStartRefuses(t *testing.T) {
	l := memoryLand(t)
	if _, err := Start(t.Context(), l.parts, "south", Config{}); !errors.Is(err, ErrRegion) {
		t.Errorf("Start(south) = %v, want ErrRegion", err)
	}
	for _, addr := range []string{l.parts.Regions[0].Node.HTTP, l.parts.Regions[0].Node.Links} {
		busy, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Start(t.Context(), l.parts, "west", Config{}); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("Start with %s busy = %v, want that it says so", addr, err)
		}
		_ = busy.Close()
	}
	l.start("west") // nothing of the failures is left
}
