package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/topology"
)

// keepers returns those of two Regions, with certificates made at a time.
func keepers(t *testing.T, made time.Time, names ...string) map[string]*pki.Keeper {
	t.Helper()
	dir, out := t.TempDir(), map[string]*pki.Keeper{}
	var members []pki.Member
	for _, name := range names {
		members = append(members, pki.Member{Region: name, Hosts: []string{"127.0.0.1"}})
	}
	if _, err := pki.Init(dir, members, false, made); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		cert, key := pemPaths(dir, name)
		k, err := pki.Keep(pki.Files{CA: filepath.Join(dir, "ca.pem"), Cert: cert, Key: key}, name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = k
	}
	return out
}

// A link that is used all the time ends when the certificate of its other end does, at
// both ends and in both directions; nothing that comes later is handed on.
func TestLinkEndsWithItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keepers(t, time.Now(), "west", "east")
		a, b := net.Pipe()
		west, east := newTraffic([]topology.Region{{Name: "east", ID: 2}}), newTraffic([]topology.Region{{Name: "west", ID: 1}})
		var why error
		dialled := &link{Conn: tls.Client(a, k["west"].Client("east", "127.0.0.1")), traffic: &west, dialled: 2, ended: func(err error) { why = err }}
		accepted := &link{Conn: tls.Server(b, k["east"].Server([]string{"west"})), traffic: &east}
		pass := func() (sent, got error) {
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(accepted, make([]byte, 5))
				read <- err
			}()
			_, sent = dialled.Write([]byte("hello"))
			if sent != nil {
				_ = b.Close() // nothing comes any more
			}
			return sent, <-read
		}
		end := k["east"].Expiry()
		for ; time.Now().Before(end); time.Sleep(min(24*time.Hour, time.Until(end))) {
			if sent, got := pass(); sent != nil || got != nil {
				t.Fatalf("at %v: %v and %v, want a link until %v", time.Now(), sent, got, end)
			}
		}
		time.Sleep(2 * time.Second) // certificates know seconds
		late := make(chan error, 1)
		go func() {
			_, err := accepted.Read(make([]byte, 5))
			late <- err
		}()
		if _, err := dialled.Conn.Write([]byte("hello")); err != nil { // by a node that does not look
			t.Fatal(err)
		}
		if err := <-late; !errors.Is(err, errExpired) {
			t.Errorf("Read of what an ended certificate sent = %v, want errExpired", err)
		}
		if _, err := accepted.Write([]byte("hello")); !errors.Is(err, errExpired) {
			t.Errorf("Write at the end that accepted = %v, want errExpired", err)
		}
		if sent, _ := pass(); !errors.Is(sent, errExpired) {
			t.Errorf("Write at the end that dialled = %v, want errExpired", sent)
		}
		_, _ = dialled.Close(), dialled.Close()
		if !errors.Is(why, errExpired) || reasonOf(why) != reasonExpired {
			t.Errorf("the link ended because of %v, want errExpired", why)
		}
		_ = accepted.Close()
	})
}

// A peer that accepts and says nothing is given up after eight round trips, and after
// twice as long the next time: it may be farther than it was.
func TestDialGivesUpByTheRoundTrip(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the kernel accepts for nobody
	at := topology.Region{Name: "east", ID: 2, Node: topology.Node{Advertise: l.Addr().String()}}
	n := &Node{peers: []topology.Region{at}, keeper: keepers(t, time.Now(), "west", "east")["west"]}
	n.traffic, n.breakers = newTraffic(n.peers), newBreakers(n.peers, time.Second)
	n.breakers[2].pair.rtt = 30 * time.Millisecond
	for _, want := range []time.Duration{240 * time.Millisecond, 480 * time.Millisecond, 960 * time.Millisecond} {
		begun := time.Now()
		_, err := n.dial(t.Context(), 2)
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took < want || took > want+mostWait {
			t.Errorf("dial of one that keeps silent = %v after %v, want the deadline after %v", err, took, want)
		}
	}
	if v := n.breakers[2].view(); v.reason != reasonTimeout || v.counts[reasonTimeout] != 3 || v.state != breakerOpen {
		t.Errorf("the breaker is %+v, want open after three that took too long", v)
	}
}

func TestReasons(t *testing.T) {
	_, refused := net.Dial("tcp", port(t))
	_, name := net.Dial("tcp", "nowhere.invalid:1")
	for want, err := range map[string]error{
		reasonRefused: refused, reasonName: name, reasonExpired: errExpired, reasonTimeout: context.DeadlineExceeded,
		reasonEnded: io.EOF,
	} {
		if got := reasonOf(err); got != want {
			t.Errorf("reasonOf(%v) = %q, want %q", err, got, want)
		}
	}
	for _, err := range []error{pki.ErrIdentity, tls.AlertError(42), &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}} {
		if got := reasonOf(&net.OpError{Op: "remote error", Err: err}); got != reasonIdentity {
			t.Errorf("reasonOf(%v) = %q, want %q", err, got, reasonIdentity)
		}
	}
	if got := reasonOf(nil); got != reasonEnded {
		t.Errorf("reasonOf(nil) = %q, want %q", got, reasonEnded)
	}
}

// The breaker of a peer that is away opens, says so and why in /readyz and in metrics,
// and closes by a link that lasts.
func TestBreakerIsTold(t *testing.T) {
	l := newLand(t, activeActive, "{memory: {}}", "{memory: {}}", "{memory: {}}")
	at := l.start("west").HTTP()
	var h Health
	of := func(name string) *BreakerHealth {
		_, h = health(t, at)
		for _, p := range h.Peers {
			if p.Region == name {
				return p.Breaker
			}
		}
		return nil
	}
	eventually(t, "east's breaker is open", func() bool {
		b := of("east")
		return b != nil && b.State == breakerOpen && b.Reason == reasonRefused && b.Failures >= openAfter && b.NextTrySeconds <= mostWait.Seconds()
	})
	if b := of("east"); b.DeadlineSeconds != mostDeadline.Seconds() {
		t.Errorf("nothing was measured, and a try may take %v s, want %v", b.DeadlineSeconds, mostDeadline)
	}
	_, body := get(t, at, "/metrics")
	for _, want := range []string{`roam_peer_link_failures_total{peer="east",reason="expired"} 0`, `roam_peer_breaker{peer="east",state="closed"} 0`} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if strings.Contains(body, `roam_peer_link_failures_total{peer="east",reason="refused"} 0`) {
		t.Error("/metrics counts no failure of east")
	}
	l.start("east")
	eventually(t, "east's breaker is closed", func() bool {
		b := of("east")
		return b.State == breakerClosed && b.Reason == "" && b.Failures == 0 && b.DeadlineSeconds < 1
	})
	if code, _ := health(t, at); code != http.StatusOK {
		t.Errorf("/readyz = %d with north away, want 200", code)
	}
	eventually(t, "/metrics says closed", func() bool {
		_, body := get(t, at, "/metrics")
		return strings.Contains(body, `roam_peer_breaker{peer="east",state="closed"} 1`)
	})
}

// Who is refused when a link is up is tried again with the same patience as who is not
// there: a peer that hangs up at once is not hammered.
func TestPeerThatHangsUpIsNotHammered(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := keepers(t, time.Now(), "west", "east")
	came := make(chan struct{}, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := tls.NewListener(raw, k["east"].Server([]string{"west"}))
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // the other end tells
			_ = conn.Close()
			came <- struct{}{}
		}
	}()
	n := &Node{peers: []topology.Region{{Name: "east", ID: 2, Node: topology.Node{Advertise: raw.Addr().String()}}}, keeper: k["west"]}
	n.traffic, n.breakers = newTraffic(n.peers), newBreakers(n.peers, time.Second)
	var waited time.Duration
	for range 8 {
		next := n.breakers[2].pair.next
		conn, err := n.dial(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if early := time.Until(next); early > 0 {
			t.Errorf("dialled %v before it was time", early)
		}
		_, _, err = replica.ReadFrame(conn)
		if err == nil {
			t.Fatal("a frame came from who says nothing")
		}
		_ = conn.Close()
		waited = max(waited, n.breakers[2].view().wait)
	}
	if v := n.breakers[2].view(); v.failures != 8 || v.counts[reasonEnded] != 8 || v.state != breakerOpen || waited == 0 {
		t.Errorf("after eight links that ended at once: %+v, longest wait %v; want an open breaker", v, waited)
	}
	_ = raw.Close()
	<-done
	if len(came) != 8 {
		t.Errorf("the peer was dialled %d times, want 8", len(came))
	}
	if _, err := n.dial(t.Context(), crdt.Region(3)); !errors.Is(err, ErrRegion) {
		t.Errorf("dial of no peer = %v, want ErrRegion", err)
	}
}
