//go:build integration

package steered

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/salvage"
	"github.com/roam-sessions/roam/internal/steer"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A said is a Service that says what it is told to.
type said struct {
	mu       sync.Mutex // guards what follows
	managed  Managed
	promoted int
}

func (s *said) State(bool) Managed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.managed
}

func (s *said) Promote(bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promoted++
	return nil
}

func (s *said) says(m Managed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.managed = m
}

// A sharded is a Region's cluster that a Service manages, with a session in it for each partition.
type sharded struct {
	*testing.T
	shards  []*valkeytest.Server
	service *said
	e       *valkey.Engine
	s       *Server
}

func openCluster(t *testing.T, addr string) *valkey.Engine {
	t.Helper()
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // it never fails
	return e
}

func newSharded(t *testing.T, config Config) *sharded {
	t.Helper()
	shards := valkeytest.StartCluster(t, 3, "--repl-diskless-sync-delay", "0")
	x := &sharded{T: t, shards: shards, service: &said{managed: Managed{Primary: "west", Text: "all is well"}}, e: openCluster(t, shards[0].Addr)}
	config.Self, config.At, config.Service = "west", map[string]string{"west": "", "east": ""}, x.service
	x.s = New(config)
	if err := x.s.Open(x.e); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.s.Close)
	return x
}

// look looks until it can be looked at.
func (x *sharded) look() (seen steer.Server) {
	x.Helper()
	x.until("the servers can be looked at", func() (err error) {
		seen, err = x.s.look(x.Context())
		return err
	})
	return seen
}

func (x *sharded) until(what string, so func() error) {
	x.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := so()
		if err == nil {
			return
		}
		if time.Since(begun) > 20*time.Second {
			x.Fatalf("after 20 s it is not so that %s: %v", what, err)
		}
	}
}

// grant grants the lease of an epoch as the servers are now.
func (x *sharded) grant(epoch uint64) {
	x.Helper()
	x.until("they take the lease", func() error {
		_, grant, err := x.s.Clocks(x.Context(), x.look().Run)
		if err == nil {
			err = grant(x.Context(), epoch, time.Minute)
		}
		return err
	})
	x.e.Under(epoch)
}

// births writes a session in each partition, and returns them.
func (x *sharded) births() map[uint16]crdt.Key {
	x.Helper()
	out := map[uint16]crdt.Key{}
	for i := 0; len(out) < crdt.Partitions; i++ {
		now := crdt.TimeOf(time.Now())
		k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{byte(i), byte(i >> 8)}))
		if _, is := out[k.Partition()]; is {
			continue
		}
		op := crdt.Op{Stamp: now.Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
		if _, err := x.e.Apply(x.Context(), k, op); err != nil {
			x.Fatalf("birth in partition %d: %v", k.Partition(), err)
		}
		out[k.Partition()] = k
	}
	return out
}

// A cluster can't be steered by nodes, and is told so at once.
func TestClusterWithoutService(t *testing.T) {
	e := openCluster(t, valkeytest.StartCluster(t, 1)[0].Addr)
	s := New(Config{Self: "west", At: map[string]string{"west": ""}})
	if err := s.Open(e); !errors.Is(err, valkey.ErrCluster) || !strings.Contains(err.Error(), "control.datastore") {
		t.Errorf("Open = %v, want ErrCluster and what to do", err)
	}
	if _, err := s.look(t.Context()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("look = %v, want ErrUnreachable", err)
	}
}

// All shards of a cluster are one server: looked at, granted a lease and beaten together, in
// the run that was looked at.
func TestCluster(t *testing.T) {
	x := newSharded(t, Config{})
	seen := x.look()
	if !seen.Primary || !seen.Turned || seen.Linked || seen.Run == "" || seen.Service != "all is well" || seen.Clock == nil || seen.Beat.Epoch != 0 {
		t.Errorf("look = %+v, want a primary without beats", seen)
	}
	if _, _, err := x.s.Clocks(t.Context(), "another run"); !errors.Is(err, errAnew) {
		t.Errorf("Clocks of another run = %v, want errAnew", err)
	}
	x.grant(1)
	x.births()
	if !x.s.intact(t.Context(), 1) {
		t.Error("servers of which none has started anew are not intact")
	}
	for range 2 {
		if err := x.s.Beat(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if seen = x.look(); seen.Beat.Epoch != 1 || seen.Beat.N != 2 || time.Since(seen.Beat.At).Abs() > time.Minute {
		t.Errorf("look = %+v, want two beats", seen)
	}
}

// The end of an epoch is marked at all shards, in the run that was looked at, and who is to be
// a primary is the Service's to say.
func TestClusterThatIsLeft(t *testing.T) {
	x := newSharded(t, Config{})
	x.grant(1)
	run := x.look().Run
	for what, err := range map[string]error{
		"End": x.s.End(t.Context(), 1), "End again": x.s.End(t.Context(), 1), "Mark": x.s.Mark(t.Context(), 1, run), "Promote": x.s.Promote(t.Context(), false),
	} {
		if err != nil {
			t.Errorf("%s = %v", what, err)
		}
	}
	if err := x.s.Mark(t.Context(), 2, "another run"); !errors.Is(err, errAnew) {
		t.Errorf("Mark of another run = %v, want errAnew", err)
	}
	if err := x.s.Follow(t.Context(), "east"); !errors.Is(err, control.ErrUnderWay) {
		t.Errorf("Follow = %v, want ErrUnderWay: the Service does it", err)
	}
	if x.service.promoted != 0 {
		t.Errorf("the Service was asked %d times to promote what is a primary", x.service.promoted)
	}
	x.service.says(Managed{Primary: "east"})
	if seen := x.look(); seen.Marked != 1 || !seen.Primary || seen.Turned || seen.Follows != "" {
		t.Errorf("look = %+v, want the mark, and primaries that nobody has made such", seen)
	}
}

// follow has a spool take in the log until it has all.
func (x *sharded) follow(spool *salvage.Spool, write func()) {
	x.Helper()
	ctx, stop := context.WithCancel(x.Context())
	var following sync.WaitGroup
	following.Go(func() { _ = spool.Follow(ctx, x.e) }) // it ends with ctx
	write()
	x.until("the spool has all", func() error {
		tail, err := x.e.Tail(x.Context())
		if err == nil && spool.At() != tail {
			err = errors.New("it has less")
		}
		return err
	})
	stop()
	following.Wait()
}

// startsAnew has a shard start anew with nothing, and returns when that is seen.
func (x *sharded) startsAnew(shard int) {
	x.Helper()
	was := x.look().Run
	x.shards[shard].Kill()
	x.shards[shard].Restart()
	x.until("the run is another one", func() error {
		seen, err := x.s.look(x.Context())
		if err == nil && (seen.Run == was || !seen.Primary) {
			err = errors.New("it is of before")
		}
		return err
	})
	if _, _, err := x.s.Clocks(x.Context(), was); err == nil {
		x.Error("Clocks of the run before are told")
	}
	if x.s.intact(x.Context(), 1) {
		x.Error("it is intact though a shard has started anew")
	}
}

// Where one shard starts anew, and has lost what it had, it is another run of the whole. What
// it lacks is brought home from the spool, and nothing of the others is.
func TestClusterOfWhichAShardStartsAnew(t *testing.T) {
	spool, err := salvage.OpenSpool(salvage.SpoolConfig{Dir: filepath.Join(t.TempDir(), "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spool.Close() }) // it was read
	var x *sharded
	x = newSharded(t, Config{Spool: spool, Open: func(ctx context.Context, _ string) (engine.Engine, error) {
		return valkey.Open(ctx, 1, valkey.Config{Addrs: []string{x.shards[0].Addr}})
	}})
	x.grant(1)
	var sessions map[uint16]crdt.Key
	x.follow(spool, func() { sessions = x.births() })
	x.startsAnew(1)
	x.grant(2)
	var told []ledger.Salvage
	order := control.Order{Receipt: ledger.Receipt{Epoch: 1, From: "west", To: "west"}, To: "west", Epoch: 2, Alone: true}
	err = x.s.salvage(t.Context(), order, func(_ context.Context, s ledger.Salvage) error {
		told = append(told, s)
		return nil
	})
	if err != nil || len(told) != 1 || !told[0].Closed {
		t.Fatalf("salvage = %v, told %+v, want all to be brought home", err, told)
	}
	if n := told[0].Counts[ledger.Recovered]; n == 0 || n == crdt.Partitions {
		t.Errorf("%d writes were recovered, want those of one shard", n)
	}
	for p, k := range sessions {
		if r, err := x.e.Read(t.Context(), k, crdt.Token{}); err != nil || r.IsBottom() {
			t.Errorf("the session of partition %d: %v, %v, want it to be there", p, r, err)
		}
	}
}
