//go:build integration

package cli

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/topology"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A fleet is three processes of roam node, each with a Valkey server.
type fleet struct {
	t       *testing.T
	program string
	config  string
	parts   topology.Deployment
	said    *talk
	running map[string]*exec.Cmd
	engines map[string]*valkey.Engine // of applications, not of the nodes
}

// newFleet builds the program, has it make the certificates, and starts three
// servers; no node starts yet.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{
		t: t, program: filepath.Join(t.TempDir(), "roam"), said: &talk{},
		running: map[string]*exec.Cmd{}, engines: map[string]*valkey.Engine{},
	}
	if out, err := exec.Command("go", "build", "-o", f.program, "../../cmd/roam").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	_, example := exampleFile(t) // for its ports
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\nregions:\n")
	for _, r := range example.Regions {
		s := valkeytest.Start(t)
		fmt.Fprintf(&b, "  - {name: %s, id: %d, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q}}\n",
			r.Name, r.ID, s.Addr, r.Node.Links, r.Node.HTTP)
		e, err := valkey.Open(t.Context(), r.ID, valkey.Config{Addrs: []string{s.Addr}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		f.engines[r.Name] = e
	}
	b.WriteString("links: {tls: {ca: pki/ca.pem, cert: \"pki/{region}.pem\", key: \"pki/{region}.key\"}}\n")
	f.config, f.parts = writeConfig(t, b.String())
	f.pki()
	t.Cleanup(func() {
		for name := range f.running {
			f.end(name, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the nodes said:\n%s", f.said)
		}
	})
	return f
}

func (f *fleet) pki(flags ...string) {
	f.t.Helper()
	args := append([]string{"pki", "init", "--config", f.config, "--dir", filepath.Join(filepath.Dir(f.config), "pki")}, flags...)
	if out, err := exec.Command(f.program, args...).CombinedOutput(); err != nil {
		f.t.Fatalf("roam %q: %v\n%s", args, err, out)
	}
}

func (f *fleet) start(name string) {
	f.t.Helper()
	c := exec.Command(f.program, "node", "--config", f.config, "--region", name)
	c.Stdout, c.Stderr = f.said, f.said
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.running[name] = c
}

// end sends a process a signal and returns its exit code.
func (f *fleet) end(name string, signal syscall.Signal) int {
	f.t.Helper()
	c := f.running[name]
	delete(f.running, name)
	_ = c.Process.Signal(signal) // it may have ended by itself
	_ = c.Wait()                 // the code tells how
	return c.ProcessState.ExitCode()
}

func (f *fleet) ready() {
	f.t.Helper()
	for name := range f.running {
		r, _ := f.parts.Region(name)
		soon(f.t, name+" has heard of its peers", func() bool { return heard(r.Node.HTTP, len(f.running)-1) })
	}
}

func (f *fleet) apply(name string, k crdt.Key, op crdt.Op) {
	f.t.Helper()
	op.Stamp = crdt.TimeOf(time.Now()).Stamp() + 1
	if _, err := f.engines[name].Apply(f.t.Context(), k, op); err != nil {
		f.t.Fatalf("Apply in %s = %v, want nil", name, err)
	}
}

func (f *fleet) birth(name string) crdt.Key {
	f.t.Helper()
	r, _ := f.parts.Region(name)
	var entropy crdt.IDEntropy
	_, _ = rand.Read(entropy[:]) // never fails
	k := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(time.Hour)), r.ID, entropy))
	f.apply(name, k, crdt.Op{Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"})
	return k
}

func (f *fleet) everywhere(k crdt.Key, what string, is func(crdt.Record) bool) {
	f.t.Helper()
	for name, e := range f.engines {
		soon(f.t, what+" in "+name, func() bool {
			r, err := e.Read(f.t.Context(), k, crdt.Token{})
			return err == nil && is(r)
		})
	}
}

// Three processes replicate three real servers over TLS. One is killed, misses a
// logout, and makes up for it; certificates are renewed while they run; and they end
// well when they are told to.
func TestThreeProcessesOnValkey(t *testing.T) {
	f := newFleet(t)
	for _, r := range f.parts.Regions {
		f.start(r.Name)
	}
	f.ready()
	alive := func(r crdt.Record) bool { return !r.IsBottom() && !r.Dead }
	dead := func(r crdt.Record) bool { return r.Dead }
	var keys []crdt.Key
	for _, r := range f.parts.Regions {
		keys = append(keys, f.birth(r.Name))
		f.everywhere(keys[len(keys)-1], "the session of "+r.Name, alive)
	}

	f.end("us-west-2", syscall.SIGKILL)
	f.apply("eu-west-1", keys[0], crdt.Op{Destroy: true}) // the others hear of it
	f.apply("us-west-2", keys[1], crdt.Op{Destroy: true}) // its application goes on without a node
	f.pki("--renew")
	f.start("us-west-2")
	f.ready()
	f.everywhere(keys[0], "the logout that us-west-2 missed", dead)
	f.everywhere(keys[1], "the logout of us-west-2", dead)
	f.everywhere(keys[2], "who did not log out", alive)

	for _, r := range f.parts.Regions {
		begun := time.Now()
		if code := f.end(r.Name, syscall.SIGTERM); code != exitOK || time.Since(begun) > endTime {
			t.Errorf("told to end, %s ended with %d after %v, want %d within %v", r.Name, code, time.Since(begun), exitOK, endTime)
		}
	}
}
