package node

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

// The door has a bound.
func TestDoorIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(l, 2, false)
	done := make(chan struct{})
	go func() { d.run(); close(done) }()
	d.open()
	var in []net.Conn
	come := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience / 4))
		return c
	}
	for range 2 {
		c := come()
		g, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, c, g)
	}
	third := come()
	if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the third of two: %v, want that it is sent away", err)
	}
	_, _ = in[1].Close(), in[1].Close() // going twice makes room once
	fourth := come()
	g, err := d.Accept()
	if err != nil {
		t.Fatalf("Accept after one has gone = %v, want nil", err)
	}
	fifth := come()
	if _, err := fifth.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many, after one had gone twice: %v, want that it is sent away", err)
	}
	for _, c := range append(in, third, fourth, fifth, g) {
		_ = c.Close()
	}
	_ = d.Close()
	<-done
}

// Who holds connections open and proves nothing makes room for who comes, and keeps no
// peer out; links that there are stay.
func TestStrangersKeepNobodyOut(t *testing.T) {
	l := memoryLand(t)
	l.startAll()
	r, _ := l.parts.Region("west")
	var strangers []net.Conn
	defer func() {
		for _, c := range strangers {
			_ = c.Close()
		}
	}()
	for range 3 * maxStrangers {
		c, err := net.Dial("tcp", r.Node.Links)
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, c)
	}
	d := l.nodes["west"].door
	eventually(t, "strangers have made room", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.strangers) <= maxStrangers && d.in <= connsOfPeer*2+maxStrangers
	})
	if _, h := health(t, l.nodes["west"].HTTP()); !h.Peers[0].Pushed || !h.Peers[1].Pushed {
		t.Error("strangers ended a link of a peer")
	}
	if err := l.nodes["east"].Close(); err != nil {
		t.Fatal(err)
	}
	l.start("east")
	l.ready("east")
}

// Visitors come from east to the door of west.
type visitors struct {
	t       *testing.T
	door    *door
	keepers map[string]*pki.Keeper
	traffic traffic
}

// come brings somebody in who has proved nothing yet.
func (v *visitors) come() (client *tls.Conn, at net.Conn) {
	v.t.Helper()
	c, err := net.Dial("tcp", v.door.Addr().String())
	if err != nil {
		v.t.Fatal(err)
	}
	g, err := v.door.Accept()
	if err != nil {
		v.t.Fatal(err)
	}
	return tls.Client(c, v.keepers["east"].Client("west", "127.0.0.1")), g
}

// meet brings somebody in who proves that she is of east.
func (v *visitors) meet() (*tls.Conn, *link) {
	v.t.Helper()
	client, g := v.come()
	served := &link{Conn: tls.Server(g, v.keepers["west"].Server([]string{"east"})), traffic: &v.traffic}
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte("hello"))
		sent <- err
	}()
	if _, err := io.ReadFull(served, make([]byte, 5)); err != nil {
		v.t.Fatal(err)
	}
	if err := <-sent; err != nil {
		v.t.Fatal(err)
	}
	return client, served
}

// A guest is a stranger until its link has proved itself, and its place is nobody's then.
func TestGuestsAreKnownByTheirLinks(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(raw, 2, true)
	done := make(chan struct{})
	go func() { d.run(); close(done) }()
	d.open()
	v := visitors{t: t, door: d, keepers: keepers(t, time.Now(), "west", "east"), traffic: newTraffic(nil)}
	one, known := v.meet()
	two, stranger := v.come()
	three, served := v.meet() // takes the stranger's place
	_ = two.SetDeadline(time.Now().Add(patience))
	if err := two.HandshakeContext(t.Context()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, pki.ErrIdentity) {
		t.Errorf("a stranger whose place was taken: %v, want that it was hung up on", err)
	}
	_ = stranger.Close() // goes once more, and makes no room twice
	late, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = late.SetDeadline(time.Now().Add(patience))
	if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("who comes when all are known: %v, want that it is sent away", err)
	}
	for _, l := range []*link{known, served} {
		if _, err := l.Write([]byte("hello")); err != nil {
			t.Errorf("Write at a link that is known = %v, want nil", err)
		}
	}
	for _, c := range []io.Closer{one.NetConn(), two.NetConn(), three.NetConn(), known, served, late, d} {
		_ = c.Close()
	}
	<-done
}

// Strangers have a bound of their own, below that of all.
func TestStrangersAreBounded(t *testing.T) {
	d := newDoor(nil, 10*maxStrangers, true)
	d.open()
	sentAway := 0
	for range 2 * maxStrangers {
		a, b := net.Pipe()
		g, leaves := d.admit(a)
		if g == nil {
			t.Fatal("a guest was not let in where strangers can make room")
		}
		if leaves != nil {
			sentAway++
			_ = leaves.Close()
		}
		t.Cleanup(func() { _, _ = g.Close(), b.Close() }) // pipes never fail
	}
	if len(d.strangers) != maxStrangers || d.in != maxStrangers || sentAway != maxStrangers {
		t.Errorf("%d strangers of %d in, %d sent away; want %d of each", len(d.strangers), d.in, sentAway, maxStrangers)
	}
}
