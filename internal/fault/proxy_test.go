package fault

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds what a test waits for, so that it fails instead of hanging.
const patience = 20 * time.Second

// proxied is a Net between a server on b and clients on a.
type proxied struct {
	net    *Net
	proxy  *Proxy
	server net.Listener
}

func newProxied(t *testing.T) proxied {
	t.Helper()
	n := NewNet(*seed)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Proxy(t.Context(), "a", "b", Calls, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shut(p)
		shut(l)
		goleak.VerifyNone(t)
	})
	return proxied{n, p, l}
}

func (p proxied) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := p.tryDial(t)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p proxied) tryDial(t *testing.T) (net.Conn, error) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.proxy.Addr())
	if err != nil {
		return nil, err
	}
	return guard(t, c), nil
}

func guard(t *testing.T, c net.Conn) net.Conn {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}

func (p proxied) accept(t *testing.T) net.Conn {
	t.Helper()
	c, err := p.server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return guard(t, c)
}

// connect returns both ends of a connection that is through.
func (p proxied) connect(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client = p.dial(t)
	write(t, client, "hello")
	server = p.accept(t)
	expect(t, server, "hello")
	return client, server
}

func (p proxied) set(from, to string, l Link) { p.net.SetLink(from, to, Calls, l) }

// held returns how many bytes the Net holds of one direction.
func (p proxied) held(from, to string) (bytes int) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	for _, pipe := range p.net.line(from, to, Calls).pipes {
		bytes += pipe.used
	}
	return bytes
}

// nothing wants no byte to come for a while.
func nothing(t *testing.T, what string, c net.Conn) {
	t.Helper()
	const while = 100 * ms
	if err := c.SetReadDeadline(time.Now().Add(while)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: Read = %d, %v, want nothing for %v", what, n, err, while)
	}
	guard(t, c)
}

// ends wants a connection to end with an error, after what is left in it.
func ends(t *testing.T, what string, c net.Conn, want error) {
	t.Helper()
	if _, err := io.Copy(io.Discard, onlyReader{c}); !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// isReset wants a connection that is made now to be reset, which may be before the dial
// returns.
func isReset(t *testing.T, what string, p proxied) {
	t.Helper()
	c, err := p.tryDial(t)
	if err == nil {
		_, err = io.Copy(io.Discard, onlyReader{c})
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v, want a reset", what, err)
	}
}

// A new connection costs a round trip before its first bytes are on their way, and
// another until they are answered; an old one half of that.
func TestProxyDelays(t *testing.T) {
	p := newProxied(t)
	const there, back = 40 * ms, 20 * ms
	p.set("a", "b", Link{Delay: there})
	p.set("b", "a", Link{Delay: back})
	began := time.Now()
	client, server := p.connect(t)
	if took := time.Since(began); took < 2*there+back {
		t.Errorf("the first bytes came after %v, want a round trip of %v and then %v", took, there+back, there)
	}
	for range 3 {
		began = time.Now()
		write(t, client, "ask")
		expect(t, server, "ask")
		if took := time.Since(began); took < there {
			t.Errorf("a question took %v, want %v", took, there)
		}
		half := time.Now()
		write(t, server, "answer")
		expect(t, client, "answer")
		if took := time.Since(half); took < back {
			t.Errorf("an answer took %v, want %v", took, back)
		}
	}
	p.set("a", "b", Link{Delay: 300 * ms}) // at once, on the connection there is
	began = time.Now()
	write(t, client, "slow")
	expect(t, server, "slow")
	if took := time.Since(began); took < 300*ms {
		t.Errorf("a question took %v after the link was slowed down, want 300 ms", took)
	}
}

func TestProxyCutsOneDirection(t *testing.T) {
	p := newProxied(t)
	client, server := p.connect(t)
	p.set("a", "b", Link{Cut: true})
	write(t, client, "held ")
	nothing(t, "there is cut", server)
	write(t, server, "back lives")
	expect(t, client, "back lives")
	write(t, client, "and in order")
	p.set("a", "b", Link{})
	expect(t, server, "held and in order")

	p.set("b", "a", Link{Cut: true})
	write(t, server, "held")
	nothing(t, "back is cut", client)
	write(t, client, "there lives")
	expect(t, server, "there lives")
	p.set("b", "a", Link{})
	expect(t, client, "held")
}

// What is on its way through cuts, losses and jitter comes whole and in order, both
// ways at once.
func TestProxyLosesNothing(t *testing.T) {
	p := newProxied(t)
	client, server := p.connect(t)
	rough := Link{Delay: ms, Jitter: 2 * ms, Loss: 0.02}
	p.set("a", "b", rough)
	p.set("b", "a", rough)
	const size, cuts = 3 << 20, 3
	var wg sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		a, b     string
	}{{client, server, "a", "b"}, {server, client, "b", "a"}} {
		sent := make([]byte, size)
		dice := rand.New(rand.NewPCG(*seed, uint64(way.a[0]))) //nolint:gosec // a test's
		for i := range sent {
			sent[i] = byte(dice.Uint32())
		}
		wg.Go(func() {
			if n, err := way.from.Write(sent); n != size || err != nil {
				t.Errorf("Write = %d, %v, want %d", n, err, size)
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			for i := range cuts {
				part := got[i*size/cuts : (i+1)*size/cuts]
				if _, err := io.ReadFull(way.to, part); err != nil {
					t.Errorf("from %s to %s: %v", way.a, way.b, err)
					return
				}
				cut := rough
				cut.Cut = true
				p.set(way.a, way.b, cut)
				p.set(way.a, way.b, rough)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("from %s to %s other bytes came than were sent", way.a, way.b)
			}
		})
	}
	wg.Wait()
}

// Who sends and is not read waits, and what the Net holds meanwhile is bounded.
func TestProxyHoldsSoMuch(t *testing.T) {
	p := newProxied(t)
	client, server := p.connect(t)
	p.set("a", "b", Link{Cut: true})
	if err := client.SetWriteDeadline(time.Now().Add(300 * ms)); err != nil {
		t.Fatal(err)
	}
	const lots = 256 << 20 // more than kernels hold for a connection
	sent, err := client.Write(make([]byte, lots))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write of %d bytes into a cut = %d, %v, want it to wait", lots, sent, err)
	}
	if held := p.held("a", "b"); held > sendBuffer || held < sendBuffer/2 {
		t.Errorf("%d bytes are held, want %d at most and no little", held, sendBuffer)
	}
	p.set("a", "b", Link{})
	if n, err := io.CopyN(io.Discard, onlyReader{server}, int64(sent)); err != nil {
		t.Errorf("%d of %d bytes came: %v", n, sent, err)
	}
}

func TestProxyKills(t *testing.T) {
	for _, victim := range []string{"a", "b"} {
		p := newProxied(t)
		client, server := p.connect(t)
		p.net.Kill(victim)
		ends(t, "client, "+victim+" killed", client, syscall.ECONNRESET)
		ends(t, "server, "+victim+" killed", server, syscall.ECONNRESET)
		isReset(t, "a new client", p)
		p.net.Revive(victim)
		p.connect(t)
	}
}

// Where nobody serves, the client hears it when the answer is back.
func TestProxyWithoutServer(t *testing.T) {
	p := newProxied(t)
	shut(p.server)
	const back = 500 * ms
	p.set("b", "a", Link{Delay: back})
	began := time.Now()
	ends(t, "a client", p.dial(t), syscall.ECONNRESET)
	if took := time.Since(began); took < back || took > 2*back {
		t.Errorf("refused after %v, want the %v of a round trip and no more", took, back)
	}
}

// What follows a handshake is held by a cut that comes between.
func TestProxyCutsAHandshake(t *testing.T) {
	p := newProxied(t)
	p.set("b", "a", Link{Delay: 200 * ms})
	client := p.dial(t)
	write(t, client, "first")
	server := p.accept(t) // the answer to that is on its way
	for p.held("a", "b") == 0 {
		runtime.Gosched() // "first" is on its way too, or there
	}
	p.set("a", "b", Link{Cut: true})
	if err := server.SetReadDeadline(time.Now().Add(400 * ms)); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %d, %v, want nothing through the cut", n, err)
	}
	guard(t, server)
	p.set("a", "b", Link{})
	expect(t, server, "first")
}

// A connection that one end closes ends at the other behind all that was sent.
func TestProxyEnds(t *testing.T) {
	p := newProxied(t)
	p.set("a", "b", Link{Delay: 5 * ms})
	for _, clientFirst := range []bool{true, false} {
		one, other := p.connect(t)
		if !clientFirst {
			one, other = other, one
		}
		write(t, one, "farewell")
		shut(one)
		expect(t, other, "farewell")
		ends(t, "the other end", other, nil)
	}
}

// Clients that give up during a cut are forgotten: there is room for others.
func TestProxyForgetsWhoGaveUp(t *testing.T) {
	p := newProxied(t)
	p.set("a", "b", Link{Cut: true})
	for range mostCarried {
		c := p.dial(t)
		write(t, c, "anybody?")
		shut(c)
	}
	for began := time.Now(); ; { // the last of them may not be noticed yet
		c, err := p.tryDial(t)
		if err == nil {
			_, err = io.WriteString(c, "hello")
		}
		if err == nil {
			if err = c.SetReadDeadline(time.Now().Add(50 * ms)); err == nil {
				_, err = c.Read(make([]byte, 1))
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // no reset: there is room
			break
		}
		if time.Since(began) > patience/2 {
			t.Fatalf("another client: %v, want that there is room", err)
		}
	}
	p.set("a", "b", Link{})
	for range mostCarried { // some who gave up may be carried before that is noticed
		if got, _ := io.ReadAll(io.LimitReader(p.accept(t), int64(len("hello")))); string(got) == "hello" {
			return
		}
	}
	t.Error("nobody says hello")
}

// One connection more than there is room for is reset, and those there are live on.
func TestProxyIsFull(t *testing.T) {
	p := newProxied(t)
	client, server := p.connect(t)
	for range mostCarried - 1 {
		p.dial(t)
	}
	isReset(t, "one too many", p)
	write(t, client, "still")
	expect(t, server, "still")
}
