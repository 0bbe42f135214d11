//go:build integration

package check

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/node"
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
	if !has(rows, Fault, "east", "engine", "west has the same server") {
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
