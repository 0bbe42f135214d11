package deployment

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/feed"
)

// A teller tells what was agreed on, as one of the control plane does.
type teller struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	view    feed.View
	changed chan struct{}
}

func newTeller(t *testing.T, v feed.View) *teller {
	t.Helper()
	n := &teller{view: v, changed: make(chan struct{})}
	n.Server = httptest.NewServer(feed.Handler(n))
	t.Cleanup(n.end)
	return n
}

// end ends it, and what it is telling.
func (n *teller) end() {
	n.CloseClientConnections()
	n.Close()
}

func (n *teller) Latest() (feed.View, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view, n.changed
}

func (n *teller) put(v feed.View) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view = v
	close(n.changed)
	n.changed = make(chan struct{})
}

// A recorder is an engine that says what it is told of leases and names.
type recorder struct {
	engine.Engine
	name  string
	told  chan string
	fails bool // the first Reconnect
}

func (r *recorder) Unwrap() engine.Engine { return r.Engine }

func (r *recorder) Under(epoch uint64) { r.told <- fmt.Sprint(r.name, " ", epoch) }

func (r *recorder) Reconnect(context.Context) error {
	r.told <- r.name + " anew"
	if r.fails {
		r.fails = false
		return engine.ErrUnreachable
	}
	return nil
}

// wrapped is a wrapper around it, which has none of its powers itself.
type wrapped struct{ engine.Engine }

func (w wrapped) Unwrap() engine.Engine { return w.Engine }

const three = `
version: 1
name: shop
topology: active-passive
primary: west
regions:
  - {name: east, id: 4, engine: {memory: {}}, node: {links: "127.0.0.1:1", http: "127.0.0.1:3"}}
  - {name: west, id: 7, engine: {memory: {}}, node: {links: "127.0.0.1:2", http: "127.0.0.1:4"}}
  - {name: north, id: 9, engine: {memory: {}}, node: {links: "127.0.0.1:5", http: "127.0.0.1:6"}}
`

// recorders returns Options with an engine for each Region of three that tells on the
// channel. Those of east fail to reconnect once.
func recorders(t *testing.T) (Options, chan string) {
	t.Helper()
	told := make(chan string, 100)
	o := Options{Engines: map[string]engine.Engine{}}
	for name, id := range map[string]crdt.Region{"east": 4, "west": 7, "north": 9} {
		e, err := memory.New(id, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		o.Engines[name] = wrapped{&recorder{Engine: e, name: name, told: told, fails: name == "east"}}
	}
	return o, told
}

// wantTold wants engines to be told something, in any order, and nothing else.
func wantTold(t *testing.T, told chan string, want ...string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	for range want {
		select {
		case got := <-told:
			if left[got]--; left[got] < 0 {
				t.Errorf("an engine was told %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("engines were not told %v of %q", left, want)
		}
	}
	select {
	case got := <-told:
		t.Errorf("an engine was told %q beside %q", got, want)
	default:
	}
}

func view(index, epoch uint64, primary string) feed.View {
	return feed.View{Deployment: "shop", Index: index, Epoch: epoch, Primary: primary}
}

// All parts follow a switchover: engines are told the epoch of the lease that their
// server is to hold, the target's as soon as it is known; the Store where to write; and
// connections to who was the primary are made anew, until that succeeds.
func TestPartsFollowTheFeed(t *testing.T) {
	path := write(t, three)
	o, told := recorders(t)
	n := newTeller(t, view(1, 5, "east"))
	o.Feed, o.Topology = []string{n.URL}, filepath.Join(t.TempDir(), "view")
	d := open(t, path, "north", o)
	wantTold(t, told, "east 0", "west 0", "north 0", "east 5", "west 5", "north 5")
	if c := d.Config(); c.Primary != 4 {
		t.Errorf("Primary = %d, want 4, as the feed says, and not the file", c.Primary)
	}
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	d.Attach(store)

	planned := view(2, 5, "east")
	planned.Next, planned.NextEpoch = "west", 6
	n.put(planned)
	wantTold(t, told, "east 5", "west 6", "north 5")
	if c := d.Config(); c.Primary != 4 || store.Primary() != 4 {
		t.Errorf("Primary = %d, the Store's %d while the switchover is planned, want 4", c.Primary, store.Primary())
	}
	n.put(view(3, 6, "west"))
	wantTold(t, told, "east 6", "west 6", "north 6", "east anew", "east anew")
	if c := d.Config(); c.Primary != 7 || store.Primary() != 7 {
		t.Errorf("Primary = %d, the Store's %d, want 7", c.Primary, store.Primary())
	}
	late, err := roam.Open(t.Context(), roam.Config{Here: d.Config().Here, Peers: d.Config().Peers, Primary: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = late.Close() }) // never fails
	if d.Attach(late); late.Primary() != 7 {
		t.Errorf("Primary = %d of a Store that was attached late, want 7", late.Primary())
	}

	// All nodes are gone, and the application starts anew.
	n.end()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o.Patience = 50 * time.Millisecond
	again := open(t, path, "north", o)
	wantTold(t, told, "east 0", "west 0", "north 0", "east 6", "west 6", "north 6")
	if c := again.Config(); c.Primary != 7 {
		t.Errorf("Primary = %d after a restart without nodes, want 7, as the disk says", c.Primary)
	}
}

// Where nodes have said nothing, and nothing is on the disk, the file says who writes.
func TestFileSaysUntilTheFeedDoes(t *testing.T) {
	o, told := recorders(t)
	n := newTeller(t, feed.View{})
	o.Feed, o.Patience = []string{n.URL}, time.Millisecond
	d := open(t, write(t, three), "east", o)
	if c := d.Config(); c.Primary != 7 {
		t.Errorf("Primary = %d, want 7, as the file says", c.Primary)
	}
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	if d.Attach(store); store.Primary() != 7 {
		t.Errorf("the Store's Primary = %d, want 7", store.Primary())
	}
	wantTold(t, told, "east 0", "west 0", "north 0")
	n.put(feed.View{Deployment: "shop", Index: 1}) // nobody has been given the lease yet
	wantTold(t, told, "east 0", "west 0", "north 0")
	if d.steers.primary() != 7 || store.Primary() != 7 {
		t.Errorf("the Store's Primary = %d before anybody has the lease, want 7", store.Primary())
	}
	n.put(view(2, 1, "north"))
	wantTold(t, told, "east 1", "west 1", "north 1", "west anew")
	if d.steers.primary() != 9 || store.Primary() != 9 {
		t.Errorf("the Store's Primary = %d, want 9", store.Primary())
	}
}

// safe is a buffer for a log.
type safe struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *safe) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// What the file does not know changes nothing, and is told.
func TestFeedOfAnotherFile(t *testing.T) {
	active := strings.NewReplacer("active-passive", "active-active", "primary: west\n", "").Replace(three)
	for what, c := range map[string]struct {
		view feed.View
		file string
		want crdt.Region
	}{
		"no such Region":           {view(2, 2, "south"), three, 7},
		"by the file every Region": {view(2, 2, "east"), active, 0},
	} {
		o, told := recorders(t)
		var log safe
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		n := newTeller(t, c.view)
		o.Feed = []string{n.URL}
		d := open(t, write(t, c.file), "east", o)
		if got := d.Config(); got.Primary != c.want || !strings.Contains(log.String(), what) {
			t.Errorf("%s: Primary = %d, want %d and a warning: %s", what, got.Primary, c.want, log.String())
		}
		wantTold(t, told, "east 0", "west 0", "north 0")
	}
}

// A roam.yaml that was pushed is the one that counts at the next start, if it is one.
func TestPushedFile(t *testing.T) {
	for what, c := range map[string]struct {
		text, region string
		ok           bool
	}{
		"a Region more":  {three + `  - {name: south, id: 2, engine: {memory: {}}, node: {links: "127.0.0.1:7", http: "127.0.0.1:8"}}` + "\n", "south", true},
		"it has faults":  {"version: 1\n", "east", true},
		"a Region less":  {strings.Join(strings.Split(three, "\n")[:8], "\n") + "\n", "north", false},
		"it is the same": {three, "north", true},
	} {
		o, _ := recorders(t)
		south, err := memory.New(2, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = south.Close() }) // never fails
		switch what {
		case "a Region more":
			o.Engines["south"] = south
		case "a Region less":
			delete(o.Engines, "north")
		}
		v := view(3, 1, "east")
		v.Version, v.File = 2, c.text
		o.Feed = []string{newTeller(t, v).URL}
		d, err := Open(t.Context(), write(t, three), c.region, o)
		if (err == nil) != c.ok {
			t.Errorf("%s: Open = %v", what, err)
		}
		if err == nil {
			if got := d.Config(); got.Here.Name != c.region || got.Primary != 4 {
				t.Errorf("%s: %s with primary %d", what, got.Here.Name, got.Primary)
			}
			_ = d.Close() // of engines in memory, never fails
		}
	}
}

// Nonsense in Options is told before anything is opened.
func TestOpenRefusesFeeds(t *testing.T) {
	o, _ := recorders(t)
	o.Feed = []string{"http://10.0.0.1/v1/feed"}
	if d, err := Open(t.Context(), write(t, three), "east", o); err == nil || d != nil || !strings.Contains(err.Error(), "want https") {
		t.Errorf("Open = %v, %v; want an error that says https", d, err)
	}
	o.Feed = nil
	d := open(t, write(t, three), "east", o)
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	if d.Attach(store); store.Primary() != 7 {
		t.Errorf("Primary = %d without a feed, want 7", store.Primary())
	}
}

// The file that the control plane was founded with is that of one node: until members have
// agreed on another one, everybody's own stands.
func TestFileOfTheFounderIsNotPushed(t *testing.T) {
	o, _ := recorders(t)
	v := view(3, 1, "east")
	v.Version, v.File = 1, strings.ReplaceAll(three, "name: north", "name: south")
	o.Feed = []string{newTeller(t, v).URL}
	d := open(t, write(t, three), "north", o)
	if got := d.Config(); got.Here.Name != "north" || got.Primary != 4 {
		t.Errorf("%s with primary %d, want north by its own file, with primary 4", got.Here.Name, got.Primary)
	}
}
