//go:build integration

package check

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nobody has come
	return l.Addr().String()
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

// A deployment that runs as it should has no fault; when one server and one node are
// gone, these are faults and nothing else is.
func TestRunningDeployment(t *testing.T) {
	one, two := valkeytest.Start(t, "--maxmemory", "1gb"), valkeytest.Start(t, "--maxmemory", "1gb")
	d := deploy(t, "topology: active-active", map[string]string{"west": one.Addr, "east": two.Addr})
	nodes := map[string]*node.Node{}
	for _, name := range d.Names() {
		n, err := node.Start(t.Context(), d, name, node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
		nodes[name] = n
	}
	var rows []Row
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if rows = run(t, d); Worst(rows) == Good {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s it is not good: %+v", rows)
		}
	}
	for _, name := range d.Names() {
		for _, part := range []string{"engine", "links", "node"} {
			if !has(rows, Good, name, part, "") {
				t.Errorf("nothing is said of %s of %s: %+v", part, name, rows)
			}
		}
	}

	two.Kill()
	_ = nodes["west"].Close() // never fails
	rows = run(t, d)
	for _, want := range [][2]string{{"east", "engine"}, {"west", "links"}, {"west", "node"}} {
		if !has(rows, Fault, want[0], want[1], "") {
			t.Errorf("%s of %s is gone, and there is no fault: %+v", want[1], want[0], rows)
		}
	}
	if has(rows, Fault, "west", "engine", "") || has(rows, Fault, "east", "links", "") {
		t.Errorf("what is there is a fault: %+v", rows)
	}
}

// Servers that are set up so that sessions would be lost are faults.
func TestUnfitServers(t *testing.T) {
	evicts := valkeytest.Start(t, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")
	rows := run(t, deploy(t, "topology: active-active", map[string]string{"west": evicts.Addr, "east": strings.Replace(evicts.Addr, "127.0.0.1", "localhost", 1)}))
	if !has(rows, Fault, "west", "engine", "maxmemory-policy is allkeys-lru") || !has(rows, Warning, "west", "engine", "functions") {
		t.Errorf("a server that evicts, and that nobody has used: %+v", rows)
	}
	if !has(rows, Fault, "east", "engine", "it is the engine of west too") {
		t.Errorf("two Regions with one server: %+v", rows)
	}
}

// A secondary that follows nobody shows what it had.
func TestSecondaryThatFollowsNobody(t *testing.T) {
	one := valkeytest.Start(t, "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(one.Addr)
	if err != nil {
		t.Fatal(err)
	}
	two := valkeytest.Start(t, "--maxmemory", "1gb", "--replicaof", host+" "+port)
	d := deploy(t, "topology: active-passive\nprimary: west", map[string]string{"west": one.Addr, "east": two.Addr})
	for begun := time.Now(); !has(run(t, d), Good, "east", "engine", "replica of") || has(run(t, d), Fault, "east", "engine", ""); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s a secondary that follows is a fault: %+v", run(t, d))
		}
	}
	two.Do("REPLICAOF", "NO", "ONE")
	if rows := run(t, d); !has(rows, Fault, "east", "engine", "follows nobody") {
		t.Errorf("a secondary that follows nobody: %+v", rows)
	}
}

// A server that accepts and keeps silent is a fault, and makes none of what is beside it.
func TestSilentServer(t *testing.T) {
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // it accepts for nobody: the kernel does
	one := valkeytest.Start(t, "--maxmemory", "1gb")
	d := deploy(t, "topology: active-active", map[string]string{"west": one.Addr, "east": silent.Addr().String()})
	n, err := node.Start(t.Context(), d, "east", node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() }) // never fails
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	begun := time.Now()
	rows := Run(ctx, d, Options{Getenv: func(string) string { return "" }, Now: time.Now()})
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %v, want no more than what it was given", took)
	}
	if !has(rows, Fault, "east", "engine", "") || !has(rows, Good, "east", "links", "") || !has(rows, Fault, "east", "node", "not ready") {
		t.Errorf("a silent server: %+v; want a fault of the engine, links that are open, and what the node says", rows)
	}
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
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
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
