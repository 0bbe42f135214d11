package quorum

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/roam-sessions/roam/internal/pki"
)

func TestMembersAgree(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(g.ids...)
	var want []string
	for i, id := range slices.Concat(g.ids, g.ids) {
		c := fmt.Sprint("command ", i)
		want = append(want, c)
		if n := g.propose(id, c); n != len(want) {
			t.Errorf("%q at %d is number %d, want %d", c, id, n, len(want))
		}
		for _, r := range g.ids {
			if got := g.read(r); !slices.Equal(got, want) {
				t.Errorf("%d reads %q, want %q", r, got, want)
			}
		}
	}
}

func TestManyAtOnceAreAppliedOnce(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{SnapshotEvery: 50})
	g.start(g.ids...)
	var work sync.WaitGroup
	var mu sync.Mutex
	numbers := map[int]bool{}
	for w := range 30 {
		work.Go(func() {
			for i := range 10 {
				id := g.ids[w%3]
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				v, err := g.member[id].Propose(ctx, fmt.Append(nil, w, " ", i))
				cancel()
				if err != nil {
					t.Errorf("propose at %d: %v", id, err)
					return
				}
				mu.Lock()
				numbers[v.(int)] = true
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if len(numbers) != 300 {
		t.Errorf("300 commands have %d numbers", len(numbers))
	}
	want := g.read(1)
	if len(want) != 300 {
		t.Errorf("%d commands were applied, want 300", len(want))
	}
	for _, id := range g.ids {
		if got := g.read(id); !slices.Equal(got, want) {
			t.Errorf("%d has %q, want %q", id, got, want)
		}
	}
}

func TestLeaderIsKilledAndComesBack(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(g.ids...)
	g.propose(1, "before")
	first := g.leader(g.ids...)
	g.net.Kill(region(first))
	g.stop(first)
	rest := g.others(first)
	if got := g.propose(rest[0], "after"); got != 2 {
		t.Errorf("after a kill the next command is number %d, want 2", got)
	}
	if second := g.leader(rest...); second == first {
		t.Errorf("%d leads, and is dead", second)
	}
	g.net.Revive(region(first))
	g.start(first)
	if got := g.read(first); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("back again, %d reads %q", first, got)
	}
}

func TestAllStopAndStartAgain(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{SnapshotEvery: 4})
	g.start(g.ids...)
	var want []string
	for i := range 11 {
		want = append(want, fmt.Sprint(i))
		g.propose(1, want[i])
	}
	term := g.member[1].Status().Lead.Term
	for _, id := range g.ids {
		g.stop(id)
	}
	g.start(g.ids...)
	for _, id := range g.ids {
		if got := g.read(id); !slices.Equal(got, want) {
			t.Errorf("started again, %d reads %q, want %q", id, got, want)
		}
		if now := g.member[id].Status().Lead.Term; now <= term {
			t.Errorf("started again, %d is in term %d, and was in %d", id, now, term)
		}
	}
}

func TestLeaderIsCutOff(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(g.ids...)
	g.propose(1, "before")
	first := g.leader(g.ids...)
	rest := g.others(first)
	if s := g.member[first].Status().Silent; s != 0 {
		t.Errorf("the leader has not heard itself for %v", s)
	}
	g.cut(first, true)
	g.await("its silence is noticed", func() bool {
		s := g.member[rest[0]].Status()
		return s.Lead.Leader == first && s.Silent >= 3*DefaultHeartbeatTicks*g.member[first].cfg.Tick
	})
	lost, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if v, err := g.member[first].Propose(lost, []byte("maybe")); !errors.Is(err, ErrUnknown) {
		t.Errorf("cut off, the leader proposes: %v, %v; want ErrUnknown", v, err)
	}
	if err := g.member[first].Read(lost); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cut off, the leader reads: %v; want no answer", err)
	}
	g.propose(rest[0], "after")
	if got := g.read(rest[1]); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("%d reads %q", rest[1], got)
	}
	g.await("the new leader is heard", func() bool {
		s := g.member[rest[0]].Status()
		return s.Lead.Leader != first && s.Silent <= 2*DefaultHeartbeatTicks*g.member[first].cfg.Tick
	})
	g.await("the old leader steps down", func() bool { return g.member[first].Status().Lead.Leader != first })
	g.cut(first, false)
	for _, id := range g.ids {
		if got := g.read(id); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("joined again, %d reads %q", id, got)
		}
	}
}

func TestOneThatWasAwayGetsASnapshot(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{SnapshotEvery: 16})
	g.start(g.ids...)
	g.propose(1, "first")
	away := g.others(g.leader(g.ids...))[0]
	g.stop(away)
	here := g.others(away)
	for i := range 100 {
		g.propose(here[0], fmt.Sprint(i))
	}
	g.start(away)
	if got, want := g.read(away), g.read(here[1]); !slices.Equal(got, want) || len(got) != 101 {
		t.Errorf("back again, %d has %d commands, and others %d", away, len(got), len(want))
	}
	if g.machine[away].restored == 0 {
		t.Errorf("%d was restored from no snapshot", away)
	}
}

func TestMembersChange(t *testing.T) {
	g := newGroup(t, 4, 3, Rules{SnapshotEvery: 8})
	g.start(g.ids...)
	for i := range 20 {
		g.propose(1, fmt.Sprint(i))
	}
	leaves := g.others(g.leader(1, 2, 3))[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.member[2].Change(ctx, Change{AddLearner, 4}); err != nil {
		t.Fatal(err)
	}
	if got := g.read(4); len(got) != 20 {
		t.Errorf("a learner reads %d commands, want 20", len(got))
	}
	if err := g.member[4].Change(ctx, Change{AddVoter, 4}, Change{Remove, leaves}); err != nil {
		t.Fatal(err)
	}
	g.stop(leaves)
	if got := g.propose(4, "from the new one"); got != 21 {
		t.Errorf("it is number %d, want 21", got)
	}
	g.await("the members are known", func() bool { return len(g.member[4].Status().Voters) == 3 })
	if s := g.member[4].Status(); slices.Contains(s.Voters, leaves) || !slices.Contains(s.Voters, 4) || len(s.Learners) > 0 {
		t.Errorf("%d has left for 4, and the voters are %d, learners %d", leaves, s.Voters, s.Learners)
	}
}

func TestLeadershipIsTransferred(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{Witnesses: []uint64{3}})
	g.start(g.ids...)
	g.propose(1, "first")
	first := g.leader(g.ids...)
	to := 3 - first // 1 or 2: a witness does not lead
	if err := g.member[first].Transfer(t.Context(), 3); !errors.Is(err, ErrChange) {
		t.Errorf("transfer to a witness: %v, want ErrChange", err)
	}
	if err := g.member[3].Transfer(t.Context(), to); !errors.Is(err, ErrNotLeader) {
		t.Errorf("transfer by a follower: %v, want ErrNotLeader", err)
	}
	g.await("who asks for it leads", func() bool {
		if err := g.member[to].Transfer(t.Context(), to); err != nil {
			t.Error(err)
		}
		return g.member[to].Status().Lead.Leader == to
	})
}

func TestWrongCertificatesAreRefused(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(1)
	strangers := t.TempDir()
	if _, err := pki.Init(strangers, []pki.Member{{Region: region(2), Hosts: []string{"127.0.0.1"}}}, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		keeper *pki.Keeper
		says   hello
		want   string
	}{
		{"another Region's", g.keeper[3], hello{from: 2, to: 1, life: 1}, "not of that Region"},
		{"one of the same name by another authority", g.keep(strangers, region(2)), hello{from: 2, to: 1, life: 1}, ""},
		{"the right one, for another member", g.keeper[2], hello{from: 2, to: 3, life: 1}, "bad frame"},
		{"the right one, of another log", g.keeper[2], hello{from: 2, to: 1, life: 1, identity: 99}, "bad frame"},
		{"the right one, of nobody", g.keeper[2], hello{from: 9, to: 1, life: 1}, "bad frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := g.knock(c.keeper, c.says)
			if err == nil && (f.kind != frameGoodbye || !bytes.Contains([]byte(f.reason), []byte(c.want)) || c.want == "") {
				t.Errorf("the answer is of kind %d: %q; want a refusal with %q", f.kind, f.reason, c.want)
			}
		})
	}
	if f, err := g.knock(g.keeper[2], hello{from: 2, to: 1, life: 5}); err != nil || f.kind != frameHello {
		t.Errorf("the right one: kind %d, %q, %v; want a hello", f.kind, f.reason, err)
	}
	if f, err := g.knock(g.keeper[2], hello{from: 2, to: 1, life: 1}); err != nil || f.kind != frameGoodbye {
		t.Errorf("a member that has lost its disk: kind %d, %v; want goodbye", f.kind, err)
	}
}

// knock greets member 1 with a certificate, and returns its first frame. Who is not
// of its authority is believed here, to see what that one says.
func (g *group) knock(k *pki.Keeper, says hello) (frame, error) {
	g.t.Helper()
	raw, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", g.hall[1].Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	cfg := k.Client(region(1), "127.0.0.1")
	cfg.InsecureSkipVerify, cfg.VerifyConnection = true, nil //nolint:gosec // it is the other end that is tested
	w := &wire{Conn: tls.Client(raw, cfg), silence: patience}
	defer func() { _ = w.Close() }() // the other end may have
	if err := w.send(frame{kind: frameHello, hello: says}); err != nil {
		return frame{}, err
	}
	return readFrame(w, maxGreetingBytes)
}

func TestImpostorIsNotSentAnything(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	// Where member 2 should be there is somebody with the certificate of Region 3.
	l := g.hall[2].open()
	refused := make(chan error, 1)
	var work sync.WaitGroup
	defer work.Wait()
	defer func() { _ = l.Close() }() // it never fails
	work.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			refused <- err
			return
		}
		w := &wire{Conn: tls.Server(conn, g.keeper[3].Server([]string{region(1)})), silence: patience}
		f, err := readFrame(w, maxGreetingBytes)
		_ = w.Close() // the other end may have
		if err == nil {
			refused <- fmt.Errorf("it was told frame %d", f.kind)
			return
		}
		refused <- nil
	})
	g.start(1)
	if err := <-refused; err != nil {
		t.Error(err)
	}
	if linked := g.member[1].Status().Linked; len(linked) > 0 {
		t.Errorf("member 1 is linked with %d", linked)
	}
}

func TestSlowPeerHoldsUpNobody(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(g.ids...)
	g.propose(1, "first")
	leader := g.leader(g.ids...)
	slow := g.others(leader)[0]
	g.cut(slow, true)
	big := string(bytes.Repeat([]byte{'x'}, MaxCommandBytes))
	for range 2 * queueMessages / 10 { // 3 MB, far more than sockets and queues hold for a peer
		g.propose(leader, big)
	}
	if now := g.leader(g.others(slow)...); now != leader {
		t.Errorf("%d leads, and %d did: it was held up", now, leader)
	}
	g.cut(slow, false)
	if got := len(g.read(slow)); got != 1+2*queueMessages/10 {
		t.Errorf("joined again, it has %d commands", got)
	}
}

// TestFullQueueDrops what comes on top, and does not wait.
func TestFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a wait would be a deadlock here
		o := &outgoing{queue: make(chan *pb.Message, queueMessages)}
		if o.send(&pb.Message{}) {
			t.Error("a link that is down takes a message")
		}
		o.up.Store(true)
		for i := range queueMessages + 1 {
			if got := o.send(&pb.Message{}); got != (i < queueMessages) {
				t.Errorf("message %d: taken %t", i, got)
			}
		}
	})
}

// A bomb is a state machine that panics at one command.
type bomb struct{ list }

func (b *bomb) Apply(index uint64, command []byte) any {
	if string(command) == "bang" {
		panic("bang") // Broken invariant: a state machine's own
	}
	return b.list.Apply(index, command)
}

// TestMemberThatCannotGoOnStopsAlone, whether its state machine panics or its disk
// fails, and says so. What was said to be applied it has when it is started again.
func TestMemberThatCannotGoOnStopsAlone(t *testing.T) {
	for name, hurt := range map[string]func(*Member){
		"panic": func(*Member) {},
		"disk":  func(m *Member) { _ = m.store.db.Close() }, // what is written then fails
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 3, 3, Rules{})
			g.start(1, 2)
			cfg := g.config(3)
			cfg.Listener = g.hall[3].open()
			m, err := Open(context.Background(), cfg, &bomb{})
			if err != nil {
				t.Fatal(err)
			}
			g.started[3] = true
			defer func() { _ = m.Close() }() // it has failed
			g.propose(1, "first")
			if err := m.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := m.call(t.Context(), func() { hurt(m) }); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if name == "panic" {
				if _, err := m.Propose(ctx, []byte("bang")); !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrStopped) {
					t.Errorf("the command it panics at: %v, want ErrUnknown and ErrStopped", err)
				}
			} else {
				g.propose(1, "bang")
			}
			<-m.Done()
			if s := m.Status(); s.Err == nil || errors.Is(s.Err, ErrStopped) || s.Lead.Leader != 0 {
				t.Errorf("it has stopped, and says %+v", s)
			}
			if _, err := m.Propose(ctx, nil); !errors.Is(err, ErrStopped) {
				t.Errorf("propose: %v, want ErrStopped", err)
			}
			if err := m.Read(ctx); !errors.Is(err, ErrStopped) {
				t.Errorf("read: %v, want ErrStopped", err)
			}
			if err := m.Close(); err == nil {
				t.Error("it is closed as if nothing had been")
			}
			g.propose(1, "after")
			g.start(3)
			if got := g.read(3); !slices.Equal(got, []string{"first", "bang", "after"}) {
				t.Errorf("started again it has %q", got)
			}
		})
	}
}
