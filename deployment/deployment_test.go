package deployment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// A goroutine of valkey-go that looks for a lost server sleeps for up to a second
// after its client was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

// write writes a file that describes a deployment.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roam.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens a Region; it is closed with the test.
func open(t *testing.T, path, region string, o Options) *Deployment {
	t.Helper()
	d, err := Open(t.Context(), path, region, o)
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
	return d
}

func key(id crdt.Region) crdt.Key {
	return crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(time.Hour)), id, crdt.IDEntropy{1}))
}

func birth(t *testing.T, e engine.Engine, k crdt.Key) error {
	t.Helper()
	_, err := e.Apply(t.Context(), k, crdt.Op{
		Stamp: crdt.TimeOf(time.Now()).Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann",
	})
	return err
}

const policies = `
policies:
  read_after_write: accept
  timeouts: {local: 40ms, remote: 200ms, read_budget: 2s, write_budget: 3s, max_wait: 50ms, strict_bound: 20s, backoff: [50ms, 100ms]}
`

// Every word of the file that is about serving sessions gets into the Config.
func TestConfigHasWhatTheFileSays(t *testing.T) {
	path := write(t, `
version: 1
topology: active-passive
primary: west
regions:
  - {name: east, id: 4, engine: {memory: {}}, side: {memory: {max_bytes: 1MiB}}, node: {links: "127.0.0.1:1"}}
  - {name: west, id: 7, engine: {memory: {}}, side: {memory: {}}, node: {links: "127.0.0.1:2", http: "127.0.0.1:4"}}
`+policies)
	engines := map[string]engine.Engine{}
	for name, id := range map[string]crdt.Region{"east": 4, "west": 7} {
		e, err := memory.New(id, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		engines[name] = e
	}
	d := open(t, path, "east", Options{Engines: engines})
	c := d.Config()
	side, isMemory := c.Here.Side.(*memory.Engine)
	if !isMemory || side.Stats().MaxBytes != 1<<20 {
		t.Errorf("Here.Side = %T, want an engine in memory of 1 MiB", c.Here.Side)
	}
	if err := birth(t, c.Here.Side, key(4)); err != nil {
		t.Errorf("a birth in a secondary's side store = %v, want nil", err)
	}
	if c.Links == nil {
		t.Error("Links = nil of engines whose logs can be compared")
	}
	c.Here.Side, c.Log, c.Links = nil, nil, nil
	want := roam.Config{
		Here: roam.Region{ID: 4, Name: "east", Engine: engines["east"]}, Peers: []roam.Region{{ID: 7, Name: "west", Engine: engines["west"]}},
		Primary: 7, ReadAfterWrite: roam.Accept,
		LocalTimeout: 40 * time.Millisecond, RemoteTimeout: 200 * time.Millisecond, ReadBudget: 2 * time.Second, WriteBudget: 3 * time.Second,
		MaxWait: 50 * time.Millisecond, StrictBound: 20 * time.Second, Backoff: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Config =\n%+v, want\n%+v", c, want)
	}
	c.Backoff[0], c.Peers[0].Name = 0, ""
	if again := d.Config(); again.Backoff[0] == 0 || again.Peers[0].Name == "" {
		t.Error("who changes a Config changes the Deployment's")
	}
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatalf("roam.Open = %v, want nil", err)
	}
	_ = store.Close() // never fails
	_ = d.Close()     // once more, at the end
	if err := birth(t, engines["east"], key(4)); err != nil {
		t.Errorf("an engine of Options after Close: %v, want that it is open", err)
	}
	if err := birth(t, side, key(4)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("the side store after Close: %v, want ErrClosed", err)
	}
}

// The zero of what the file does not say is the Store's default.
func TestModesAreTheFiles(t *testing.T) {
	const one = "version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {memory: {}}}]\n"
	for word, mode := range map[string]roam.Mode{"": roam.ByToken, "token": roam.ByToken, "primary": roam.ByPrimary, "retry": roam.ByRetry, "accept": roam.Accept} {
		text := one
		if word != "" {
			text += "policies: {read_after_write: " + word + "}\n"
		}
		if c := open(t, write(t, text), "a", Options{}).Config(); c.ReadAfterWrite != mode || c.Primary != 0 || c.Links != nil || len(c.Peers) != 0 {
			t.Errorf("read_after_write %q: %+v, want %v", word, c, mode)
		}
	}
}

// A peer that is away keeps nobody from starting; calls to it were never sent.
func TestPeerIsAway(t *testing.T) {
	path := write(t, `
version: 1
topology: active-active
regions:
  - {name: here, id: 1, engine: {memory: {}}, node: {links: "127.0.0.1:1", http: "127.0.0.1:2"}}
  - {name: away, id: 2, engine: {valkey: {addrs: ["127.0.0.1:3"]}}, side: {valkey: {addrs: ["127.0.0.1:4"], password_file: none}}, node: {links: "127.0.0.1:5", http: "127.0.0.1:6"}}
`)
	own, err := memory.New(1, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() }) // never fails
	begun := time.Now()
	d := open(t, path, "here", Options{Engines: map[string]engine.Engine{"here": own}, Patience: 100 * time.Millisecond})
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("Open took %v, want little more than its patience", took)
	}
	away := d.Config().Peers[0]
	for what, e := range map[string]engine.Engine{"engine": away.Engine, "side store": away.Side} {
		if _, err := e.Read(t.Context(), key(2), crdt.Token{}); !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("Read of the %s = %v, want ErrUnreachable", what, err)
		}
	}
	if w := d.Waiting(); len(w) != 1 || !strings.Contains(fmt.Sprint(w["away"]), "engine: ") || !strings.Contains(fmt.Sprint(w["away"]), "read the password") {
		t.Errorf("Waiting = %v, want both of away, and why", w)
	}
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatalf("roam.Open = %v, want nil", err)
	}
	_ = store.Close() // never fails
}

// Nothing is left open by an Open that fails; goroutines are counted at the end.
func TestOpenRefuses(t *testing.T) {
	two := `
version: 1
topology: active-active
regions:
  - {name: here, id: 1, engine: {memory: {}}, node: {links: "127.0.0.1:1", http: "127.0.0.1:2"}}
  - {name: there, id: 2, engine: {memory: {}}, node: {links: "127.0.0.1:5", http: "127.0.0.1:6"}}
`
	servers := strings.ReplaceAll(two, "{memory: {}}", `{valkey: {addrs: ["127.0.0.1:3"]}}`)
	servers = strings.Replace(servers, "127.0.0.1:3", "127.0.0.1:4", 1)
	for name, c := range map[string]struct {
		text, region string
		o            Options
		want         error
		says         string
	}{
		"no such Region":       {servers, "nowhere", Options{}, ErrRegion, `"nowhere"; there are here, there`},
		"engine of no Region":  {servers, "here", Options{Engines: map[string]engine.Engine{"nowhere": nil}}, ErrRegion, "Options.Engines"},
		"in another's memory":  {two, "here", Options{}, ErrElsewhere, "there: "},
		"own engine is away":   {servers, "here", Options{}, engine.ErrUnreachable, "engine of here: "},
		"journal is no file":   {servers, "here", Options{Journal: os.TempDir()}, nil, "journal: "},
		"faults":               {"version: 2\n", "here", Options{}, nil, "topology: is missing"},
		"own side is away":     {strings.Replace(two, "node: {", `side: {valkey: {addrs: ["127.0.0.1:3"]}}, node: {`, 1), "here", inMemory(t), engine.ErrUnreachable, "side store of here: "},
		"own password is away": {strings.Replace(servers, "addrs", "password_env: NONE, addrs", 1), "here", Options{}, nil, "NONE is empty"},
	} {
		path := write(t, c.text)
		d, err := Open(t.Context(), path, c.region, c.o)
		if err == nil || d != nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Open = %v, %v; want %v that says %q and names the file", name, d, err, c.want, c.says)
		}
		var faults Faults
		if errors.As(err, &faults) != (name == "faults") {
			t.Errorf("%s: Open = %#v, want Faults of a file that has some", name, err)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "none"), "here", Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of no file = %v, want ErrNotExist", err)
	}
}

// inMemory returns Options with engines for two Regions.
func inMemory(t *testing.T) Options {
	t.Helper()
	o := Options{Engines: map[string]engine.Engine{}}
	for i, name := range []string{"here", "there"} {
		e, err := memory.New(crdt.Region(i+1), memory.Config{}) //nolint:gosec // 1 or 2
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		o.Engines[name] = e
	}
	return o
}

// The journal is opened, and closed for the next process.
func TestJournalIsKept(t *testing.T) {
	path := write(t, "version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {memory: {}}}]\n")
	o := Options{Journal: filepath.Join(t.TempDir(), "journal")}
	for range 2 {
		d, err := Open(t.Context(), path, "a", o)
		if err != nil {
			t.Fatalf("Open = %v, want nil: is the journal of the one before still open?", err)
		}
		if d.Config().Here.Journal == nil {
			t.Error("Here.Journal = nil, want the journal")
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
}

// Open ends with its context, and the engines that it opened do not.
func TestContextIsOfOpenAlone(t *testing.T) {
	path := write(t, "version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {memory: {}}}]\n")
	ctx, cancel := context.WithCancel(t.Context())
	d, err := Open(ctx, path, "a", Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := birth(t, d.Config().Here.Engine, key(1)); err != nil {
		t.Errorf("a birth after the context of Open = %v, want nil", err)
	}
	_ = d.Close() // of an engine in memory, never fails
}

// What Open takes of any file is what a Store takes.
func FuzzOpen(f *testing.F) {
	files, _ := filepath.Glob("../internal/topology/testdata/faults/*.yaml") // its own tests want some
	for _, name := range files {
		text, err := os.ReadFile(name) //nolint:gosec // of the repository
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {memory: {}}, side: {memory: {}}}]\n" + policies))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := write(t, string(file))
		if strings.Contains(string(file), "valkey") || strings.Contains(string(file), "iB") {
			return // nobody is dialled here, and no memory filled
		}
		d, err := Open(t.Context(), path, "a", Options{})
		if err != nil {
			return
		}
		defer func() { _ = d.Close() }() // of engines in memory, never fails
		c := d.Config()
		if c.Here.Name != "a" || slices.ContainsFunc(c.Peers, func(r roam.Region) bool { return r.Name == "a" }) {
			t.Fatalf("Open of Region a: %+v", c)
		}
		store, err := roam.Open(t.Context(), c)
		if err != nil {
			t.Fatalf("roam.Open of what Open took = %v, want nil", err)
		}
		_ = store.Close() // never fails
	})
}
