package check

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// deploy describes Regions with servers at addresses.
func deploy(t *testing.T, head string, addrs map[string]string) topology.Deployment {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\n%s\nregions:\n", head)
	for i, name := range []string{"west", "east"} {
		fmt.Fprintf(&b, "  - name: %s\n    id: %d\n    engine: {valkey: {addrs: [%q]}}\n    node: {links: %q, http: %q}\n",
			name, i+1, addrs[name], freeAddr(t), freeAddr(t))
	}
	d, err := topology.Parse([]byte(b.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	return d
}

func run(t *testing.T, d topology.Deployment) []Row {
	t.Helper()
	return Run(t.Context(), d, Options{Getenv: func(string) string { return "" }, Now: time.Now()})
}

// has reports whether some row is of a state and a Region, and says something.
func has(rows []Row, state State, region, part, words string) bool {
	for _, r := range rows {
		if r.State == state && r.Region == region && r.Part == part && strings.Contains(r.Seen, words) {
			return true
		}
	}
	return false
}

// What this machine lacks to ask is no fault of what is asked.
func TestPasswordIsElsewhere(t *testing.T) {
	d := deploy(t, "topology: active-active", map[string]string{"west": "127.0.0.1:1", "east": "127.0.0.1:2"})
	d.Regions[0].Engine.Valkey.PasswordFile = filepath.Join(t.TempDir(), "none")
	if rows := run(t, d); !has(rows, Unknown, "west", "engine", "it was not asked") || has(rows, Fault, "west", "engine", "") {
		t.Errorf("a password that is not here: %+v; want unknown", rows)
	}
}

// Links are dialled with the certificate of the Region that this machine is in, and
// want that of the Region that is dialled.
func TestWhoIsAtLinks(t *testing.T) {
	dir := t.TempDir()
	members := []pki.Member{{Region: "west", Hosts: []string{"127.0.0.1"}}, {Region: "east", Hosts: []string{"127.0.0.1"}}}
	if _, err := pki.Init(dir, members, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	d := deploy(t, "topology: active-active", map[string]string{"west": "127.0.0.1:1", "east": "127.0.0.1:2"})
	files := func(region string) *topology.TLS {
		return &topology.TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, region+".pem"), Key: filepath.Join(dir, region+".key")}
	}
	serve := d
	serve.Links.TLS = files("{region}")
	for i, r := range serve.Regions {
		eng, err := memory.New(r.ID, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = eng.Close() }) // never fails
		n, err := node.Start(t.Context(), serve, serve.Regions[i].Name, node.Config{Engine: eng})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
	}
	ask := func(d topology.Deployment, here string) []Row {
		return Run(t.Context(), d, Options{Here: here, Getenv: func(string) string { return "" }, Now: time.Now()})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; <-tick.C {
		if rows := ask(serve, "west"); has(rows, Good, "east", "links", "proves its Region") {
			break
		} else if time.Since(begun) > 10*time.Second {
			t.Fatalf("with west's certificate: %+v", rows)
		}
	}
	if rows := ask(serve, ""); !has(rows, Unknown, "east", "links", "who is there was not asked") {
		t.Errorf("on a machine of no Region: %+v", rows)
	}
	swapped := serve
	swapped.Regions = slices.Clone(serve.Regions)
	swapped.Regions[0].Node, swapped.Regions[1].Node = serve.Regions[1].Node, serve.Regions[0].Node
	if rows := ask(swapped, "west"); !has(rows, Fault, "east", "links", "certificate is not of that Region") || !has(rows, Fault, "east", "node", "is the node of west") {
		t.Errorf("west's node at east's address: %+v", rows)
	}
}

// The certificates of a server, and that which it is shown, are warned of before they end.
func TestCertificatesOfServers(t *testing.T) {
	dir := t.TempDir()
	made := time.Now().AddDate(-1, -1, 14) // some two weeks are left
	if _, err := pki.Init(dir, []pki.Member{{Region: "west", Hosts: []string{"127.0.0.1"}}}, false, made); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	pair, err := tls.LoadX509KeyPair(path("west.pem"), path("west.key"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // the other end tells
			_ = conn.Close()                                   // it is no Valkey server
		}
	}()
	d := deploy(t, "topology: active-active", map[string]string{"west": l.Addr().String(), "east": "127.0.0.1:1"})
	d.Regions[0].Engine.Valkey.TLS = &topology.ServerTLS{CA: path("ca.pem"), Cert: path("west.pem"), Key: path("west.key")}
	rows := run(t, d)
	for _, words := range []string{l.Addr().String() + ": it has a certificate until 20", "is shown is good until 20"} {
		if !has(rows, Warning, "west", "engine", words) {
			t.Errorf("a certificate that ends in two weeks: %+v, want a warning that says %q", rows, words)
		}
	}
	rows = Run(t.Context(), d, Options{Getenv: func(string) string { return "" }, Now: made})
	if !has(rows, Good, "west", "engine", "it has a certificate until 20") {
		t.Errorf("a certificate that has just been made: %+v, want that it is good", rows)
	}
	d.Regions[0].Engine.Valkey.TLS.ServerName = "another.example"
	if rows := run(t, d); has(rows, Fault, "west", "engine", "it has a certificate") || !has(rows, Fault, "west", "engine", "another.example") {
		t.Errorf("a certificate of another name: %+v, want a fault", rows)
	}
	_ = l.Close()
	<-done
}

// Progress counts all parts, from none to all.
func TestProgress(t *testing.T) {
	d := deploy(t, "topology: active-active", map[string]string{"west": "127.0.0.1:1", "east": "127.0.0.1:2"})
	var got []string
	Run(t.Context(), d, Options{Getenv: func(string) string { return "" }, Now: time.Now(), Progress: func(done, all int) {
		got = append(got, fmt.Sprintf("%d/%d", done, all))
	}})
	if want := []string{"0/7", "1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"}; !slices.Equal(got, want) {
		t.Errorf("progress %v, want %v", got, want)
	}
}
