package control_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// errAway is what a server says that is away.
var errAway = errors.New("away")

// A rack is the servers of all Regions. What one that takes writes is told is at those
// that follow it at once.
type rack struct {
	mu      sync.Mutex
	servers map[string]*server
	writers int // the most servers that held a lease at a time
}

// A server is a Region's, in memory.
type server struct {
	rack    *rack
	name    string
	away    bool
	primary bool
	follows string
	marked  uint64
	beat    judge.Beat
	epoch   uint64
	over    bool
	until   time.Time
	owed    int // how often it was asked to salvage
	turned  int // how often it was to follow another one
}

func (s *server) locked(do func() error) error {
	s.rack.mu.Lock()
	defer s.rack.mu.Unlock()
	if s.away {
		return errAway
	}
	return do()
}

// share gives those that follow what they are to have.
func (s *server) share() {
	for _, other := range s.rack.servers {
		if !other.primary && other.follows == s.name && !other.away {
			other.marked, other.beat = s.marked, s.beat
		}
	}
}

func (s *server) seen() *control.Server {
	return &control.Server{Leased: s, Steered: s, Look: s.look, Salvage: s.salvage}
}

func (s *server) look(context.Context) (out steer.Server, err error) {
	err = s.locked(func() error {
		head := s.rack.servers[s.follows]
		out = steer.Server{
			Primary: s.primary, Follows: s.follows, Linked: head != nil && !head.away && head.primary,
			Marked: s.marked, Beat: s.beat, Clock: new(time.Duration),
		}
		return nil
	})
	return out, err
}

func (s *server) Clocks(context.Context, string) ([]time.Duration, control.GrantFunc, error) {
	asked := time.Now()
	grant := func(_ context.Context, epoch uint64, lasts time.Duration) error {
		return s.locked(func() error {
			if epoch < s.epoch || epoch == s.epoch && s.over {
				return engine.ErrNotPrimary
			}
			s.epoch, s.over, s.until = epoch, false, asked.Add(lasts)
			holding := 0
			for _, other := range s.rack.servers {
				if !other.over && time.Now().Before(other.until) {
					holding++
				}
			}
			s.rack.writers = max(s.rack.writers, holding)
			return nil
		})
	}
	return []time.Duration{time.Duration(asked.UnixNano())}, grant, s.locked(func() error { return nil })
}

func (s *server) End(_ context.Context, epoch uint64) error {
	return s.locked(func() error {
		if epoch >= s.epoch {
			s.epoch, s.over = epoch, true
		}
		return nil
	})
}

func (s *server) Mark(_ context.Context, epoch uint64, _ string) error {
	return s.locked(func() error { s.marked = max(s.marked, epoch); s.share(); return nil })
}

func (s *server) Beat(_ context.Context, epoch uint64) error {
	return s.locked(func() error {
		s.beat = judge.Beat{Epoch: epoch, N: s.beat.N + 1, At: time.Now()}
		s.share()
		return nil
	})
}

func (s *server) Tail(context.Context) (string, error) { return "fork of " + s.name, nil }

func (s *server) Promote(context.Context, bool) error {
	return s.locked(func() error { s.primary, s.follows = true, ""; return nil })
}

func (s *server) Follow(_ context.Context, region string) error {
	return s.locked(func() error { s.primary, s.follows, s.turned = false, region, s.turned+1; return nil })
}

func (s *server) salvage(ctx context.Context, o control.Order, tell func(context.Context, ledger.Salvage) error) error {
	if err := s.locked(func() error { s.owed++; return nil }); err != nil {
		return err
	}
	if o.Receipt.Fork != "fork of "+o.To {
		return fmt.Errorf("the fork is %q, of %s", o.Receipt.Fork, o.To)
	}
	return tell(ctx, ledger.Salvage{Epoch: o.Receipt.Epoch, Closed: true, Counts: map[ledger.Fate]uint64{ledger.Recovered: 1}})
}

// A house is members on loopback.
type house struct {
	*testing.T
	rack    *rack
	peers   []control.Peer
	members map[string]*control.Member
	webs    map[string]*http.Server
	dirs    string
	served  func(http.Handler) // told of what a member answers with, before it knows anything; nil: nobody is
}

func newHouse(t *testing.T, names ...string) *house {
	t.Helper()
	h := &house{T: t, rack: &rack{servers: map[string]*server{}}, members: map[string]*control.Member{}, webs: map[string]*http.Server{}, dirs: t.TempDir()}
	for i, name := range names {
		h.rack.servers[name] = &server{rack: h.rack, name: name, primary: i == 0, follows: map[bool]string{false: names[0]}[i == 0]}
		h.peers = append(h.peers, control.Peer{Name: name, ID: uint64(i) + 1, Links: h.free(), API: h.free()})
	}
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() { h.start(name) })
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, name := range names {
			h.stop(name)
		}
	})
	if t.Failed() {
		t.FailNow() // not all are here
	}
	return h
}

// free returns an address that nobody listens at.
func (h *house) free() string {
	h.Helper()
	addr, err := freeport.Addr(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return addr
}

// start starts a member. Others can ask it as soon as it is made, and not before.
func (h *house) start(name string) {
	var self control.Peer
	var regions []string
	for _, p := range h.peers {
		regions = append(regions, p.Name)
		if p.Name == name {
			self = p
		}
	}
	links, err := net.Listen("tcp", self.Links)
	if err != nil {
		h.Error(err)
		return
	}
	var handler swap
	web := &http.Server{Handler: &handler, ReadHeaderTimeout: patience}
	l, err := net.Listen("tcp", self.API)
	if err != nil {
		h.Error(err)
		return
	}
	go func() { _ = web.Serve(l) }() // until it is closed
	ctx, cancel := context.WithCancel(h.Context())
	late := time.AfterFunc(patience, cancel) // the others may not come
	m, err := control.Open(ctx, control.Config{
		Deployment: "test", Self: name, Members: h.peers, Dir: filepath.Join(h.dirs, name), Listener: links,
		Setup:  ledger.Setup{Regions: regions, Leases: true, Primary: regions[0]},
		Server: h.rack.servers[name].seen(), Judge: judge.Config{Regions: regions}, Serve: func(served http.Handler) {
			if h.served != nil {
				h.served(served)
			}
			handler.set(served)
		},
	})
	if late.Stop(); err != nil {
		h.Errorf("open %s: %v", name, err)
		return
	}
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	h.members[name], h.webs[name] = m, web
}

// A swap is a handler that comes later.
type swap struct {
	mu sync.Mutex
	h  http.Handler
}

func (s *swap) set(h http.Handler) { s.mu.Lock(); defer s.mu.Unlock(); s.h = h }

func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.h
	s.mu.Unlock()
	if h == nil {
		http.Error(w, "soon", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}

func (h *house) stop(name string) {
	h.Helper()
	if m := h.members[name]; m != nil {
		if err := m.Close(); err != nil {
			h.Errorf("close %s: %v", name, err)
		}
		_ = h.webs[name].Close() // nobody is left to tell
		delete(h.members, name)
	}
}

// any returns a member that runs.
func (h *house) any() *control.Member {
	for _, p := range h.peers {
		if m := h.members[p.Name]; m != nil {
			return m
		}
	}
	return nil
}

// soon waits for something to be so.
func (h *house) soon(what string, is func() bool) {
	h.Helper()
	looks := time.NewTicker(5 * time.Millisecond)
	defer looks.Stop()
	limit := time.After(patience)
	for !is() {
		select {
		case <-looks.C:
		case <-limit:
			h.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// until waits for the state to be so at a member.
func (h *house) until(what string, is func(ledger.State) bool) ledger.State {
	h.Helper()
	limit := time.After(patience)
	for {
		s, changed := h.any().State()
		if is(s) {
			return s
		}
		select {
		case <-changed:
		case <-limit:
			h.Fatalf("%s: not in %v; the state is %+v", what, patience, s)
		}
	}
}

// held waits until a Region's server holds an epoch.
func (h *house) held(name string, epoch uint64) {
	h.Helper()
	h.soon(fmt.Sprintf("the server of %s holds epoch %d", name, epoch), func() bool {
		h.rack.mu.Lock()
		defer h.rack.mu.Unlock()
		s := h.rack.servers[name]
		return s.epoch == epoch && !s.over && time.Now().Before(s.until) && s.primary
	})
}

func holder(name string) func(ledger.State) bool {
	return func(s ledger.State) bool { return s.Lease.Holder == name }
}

// Three members found a deployment, hand the lease over as planned, lose the Region that
// has it, and take in what it comes back with.
func TestLifeOfADeployment(t *testing.T) {
	h := newHouse(t, "east", "west", "north")
	h.until("founded", holder("east"))
	h.held("east", 1)
	h.until("all have joined", func(s ledger.State) bool { return len(s.Joined) == 3 })

	var said string
	h.soon("a leader finds nothing that is in the way: "+said, func() bool {
		for _, m := range h.members {
			checks, err := m.Precheck(t.Context(), "west", true)
			bad := slices.IndexFunc(checks, func(c steer.Check) bool { return !c.OK })
			if said = fmt.Sprint(err, checks); err == nil && bad < 0 {
				return true
			}
		}
		return false
	})
	if _, err := h.any().Propose(t.Context(), ledger.Command{Plan: &ledger.Plan{To: "west", By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	h.until("west has begun", holder("west"))
	h.held("west", 2)
	s := h.until("all follow", func(s ledger.State) bool { return s.Handover.Step == ledger.Done })
	t.Logf("planned to begun %v, to done %v", s.Handover.Begun.Sub(s.Handover.Planned), s.Handover.Ended.Sub(s.Handover.Planned))
	if east := h.rack.servers["east"]; east.primary || east.follows != "west" {
		t.Errorf("the old primary's server is %+v, want it to follow west", east)
	}

	h.rack.mu.Lock()
	h.rack.servers["west"].away = true
	h.rack.mu.Unlock()
	h.stop("west")
	began := time.Now()
	s = h.until("west is replaced", func(s ledger.State) bool { return s.Lease.Holder != "west" })
	h.held(s.Lease.Holder, s.Lease.Epoch)
	t.Logf("%s took over after %v", s.Lease.Holder, time.Since(began))
	if _, owes := s.Owes("west"); !owes {
		t.Error("there is no receipt of what west took")
	}

	h.rack.mu.Lock()
	h.rack.servers["west"].away = false
	h.rack.mu.Unlock()
	h.start("west")
	h.until("what west took was taken in", func(s ledger.State) bool { _, owes := s.Owes("west"); return !owes })
	h.soon("west follows", func() bool {
		h.rack.mu.Lock()
		defer h.rack.mu.Unlock()
		return h.rack.servers["west"].follows == s.Lease.Holder
	})
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	if west := h.rack.servers["west"]; west.follows != s.Lease.Holder || west.owed == 0 {
		t.Errorf("west's server is %+v, want it salvaged and to follow %s", west, s.Lease.Holder)
	}
	if h.rack.writers > 1 {
		t.Errorf("%d servers held a lease at a time", h.rack.writers)
	}
}

// reigns has a Region be deposed for another one, as an operator does, and waits until that
// holds the epoch, and what the one before took was looked at.
func (h *house) reigns(from, to string, epoch uint64) {
	h.Helper()
	if _, err := h.any().Propose(h.Context(), ledger.Command{Depose: &ledger.Depose{Epoch: epoch - 1, Wish: to}}); err != nil {
		h.Fatal(err)
	}
	h.until(to+" is next", holder(to))
	h.held(to, epoch)
	h.until("what "+from+" took was taken in", func(s ledger.State) bool { _, owes := s.Owes(from); return !owes })
}

// A member that starts again has a log with another's reign in it, and a receipt that was
// open then. It does not do what was to be done at that time: its server is the primary
// now, and would be given another's data.
func TestPastIsNoNews(t *testing.T) {
	h := newHouse(t, "east", "west", "north")
	h.until("founded", holder("east"))
	h.held("east", 1)
	h.until("all have joined", func(s ledger.State) bool { return len(s.Joined) == 3 })
	h.reigns("east", "west", 2)
	for i := range 100 { // so that it is a long one
		mode := []string{"advise", "automatic"}[i%2]
		if _, err := h.any().Propose(t.Context(), ledger.Command{Steer: &ledger.Steer{Mode: mode}}); err != nil {
			t.Fatal(err)
		}
	}
	h.reigns("west", "east", 3)
	h.stop("east")
	east := h.rack.servers["east"]
	owed, turned := east.owed, east.turned
	h.start("east")
	h.soon("east goes on", func() bool {
		return h.members["east"].Status().Holds == 3
	})
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	if east.owed != owed || east.turned != turned || !east.primary {
		t.Errorf("east was asked to salvage %d times, and to follow %d times, of what was long over", east.owed-owed, east.turned-turned)
	}
}

// A member whose files are gone is told so, and does not vote anew.
func TestAmnesia(t *testing.T) {
	h := newHouse(t, "east", "west", "north")
	h.until("all have joined", func(s ledger.State) bool { return len(s.Joined) == 3 })
	h.stop("north")
	h.dirs = t.TempDir()
	links, err := net.Listen("tcp", h.peers[2].Links)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = links.Close() }() // Open may have
	_, err = control.Open(t.Context(), control.Config{
		Deployment: "test", Self: "north", Members: h.peers, Dir: t.TempDir(), Listener: links, Serve: func(http.Handler) {},
		Setup: ledger.Setup{Regions: []string{"east", "west", "north"}}, Judge: judge.Config{Regions: []string{"east", "west", "north"}},
	})
	if !errors.Is(err, control.ErrAmnesia) {
		t.Errorf("Open with no files = %v, want ErrAmnesia", err)
	}
}
