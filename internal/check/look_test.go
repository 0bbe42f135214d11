//go:build integration

package check

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

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

// How far a secondary is behind is found out without writing anything; one that is cut
// off from news while its link still seems to be there lacks what was written since.
func TestHowFarASecondaryIsBehind(t *testing.T) {
	one := valkeytest.Start(t, "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0")
	door := valkeytest.NewDoor(t, one.Addr)
	host, port, err := net.SplitHostPort(door.Addr)
	if err != nil {
		t.Fatal(err)
	}
	two := valkeytest.Start(t, "--maxmemory", "1gb", "--replicaof", host+" "+port)
	d := deploy(t, "topology: active-passive\nprimary: west", map[string]string{"west": one.Addr, "east": two.Addr})
	for begun := time.Now(); !has(run(t, d), Good, "east", "engine", "it has what "+one.Addr+" had"); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s nobody knows how far east is behind: %+v", run(t, d))
		}
	}
	before := one.Do("DBSIZE")
	door.Hold(true)
	one.Do("SET", "x", "y")
	rows := run(t, d)
	door.Hold(false)
	if !has(rows, Warning, "east", "engine", "it lacks ") {
		t.Errorf("a secondary that lacks a write: %+v", rows)
	}
	door.Hold(true)
	one.Do("SET", "x", "z")
	time.AfterFunc(300*time.Millisecond, func() { door.Hold(false) })
	if rows = run(t, d); !has(rows, Good, "east", "engine", "it has what "+one.Addr+" had") || has(rows, Warning, "east", "engine", "lacks") {
		t.Errorf("a secondary that catches up in 300 ms: %+v, want that it is waited for", rows)
	}
	if one.Do("DEL", "x"); one.Do("DBSIZE") != before {
		t.Error("roam check has written something")
	}
}

// A node whose primary was away when it started is looked at like any other: it is ready,
// says that it hears nothing, and all is well once the primary is there.
func TestNodeWhosePrimaryWasAway(t *testing.T) {
	one := valkeytest.Start(t, "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(one.Addr)
	if err != nil {
		t.Fatal(err)
	}
	two := valkeytest.Start(t, "--maxmemory", "1gb", "--replicaof", host+" "+port)
	d := deploy(t, "topology: active-passive\nprimary: west", map[string]string{"west": one.Addr, "east": two.Addr})
	until := func(what string, is func([]Row) bool) {
		t.Helper()
		for begun := time.Now(); !is(run(t, d)); time.Sleep(50 * time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("after 20 s not so: %s: %+v", what, run(t, d))
			}
		}
	}
	start := func(name string) {
		t.Helper()
		n, err := node.Start(t.Context(), d, name, node.Config{RetryMax: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
	}
	start("west") // loads the functions
	until("east has the functions", func(rows []Row) bool {
		return has(rows, Good, "east", "engine", "") && !has(rows, Warning, "east", "engine", "functions")
	})
	one.Kill()
	start("east")
	until("east is ready and hears nothing", func(rows []Row) bool {
		return has(rows, Fault, "west", "engine", "") && has(rows, Fault, "east", "engine", "does not hear of its primary") &&
			has(rows, Good, "east", "node", "it is ready") && has(rows, Warning, "east", "node", "nothing has been heard of west")
	})
	one.Restart()
	until("all is well", func(rows []Row) bool { return Worst(rows) == Good })
}
