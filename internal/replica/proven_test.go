package replica

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A provenConn is at its other end whoever it says.
type provenConn struct {
	net.Conn
	peer crdt.Region
	err  error
}

func (c provenConn) Peer() (crdt.Region, error) { return c.peer, c.err }

// A provenListener accepts connections of one Region.
type provenListener struct {
	*listener
	peer crdt.Region
	err  error
}

func (l provenListener) Accept() (net.Conn, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return provenConn{c, l.peer, l.err}, nil
}

// Who has proved to be one Region and says hello as another is refused, however
// well known that one is; and so is who has proved nothing.
func TestHelloMustBeProved(t *testing.T) {
	for _, c := range []struct {
		name  string
		peer  crdt.Region
		err   error
		taken bool
	}{
		{"itself", 2, nil, true},
		{"another peer", 3, nil, false},
		{"nobody", 0, errors.New("no certificate"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, err := New(t.Context(), 1, newFake(1, wall), []crdt.Region{2, 3}, newLAN().dial, Config{})
			if err != nil {
				t.Fatal(err)
			}
			l := provenListener{&listener{conns: make(chan net.Conn), done: make(chan struct{})}, c.peer, c.err}
			served := make(chan error, 1)
			go func() { served <- r.Serve(t.Context(), l) }()
			a, b := net.Pipe()
			l.conns <- b
			if _, err := a.Write(AppendFrame(nil, Hello{Region: 2})); err != nil {
				t.Fatal(err)
			}
			f, _, err := ReadFrame(a)
			bye, refused := f.(Goodbye)
			if err != nil || refused == c.taken {
				t.Errorf("%s: hello as Region 2 was answered with %#v, %v; want taken: %t", c.name, f, err, c.taken)
			}
			if c.peer == 3 && !strings.Contains(bye.Reason, ErrImpostor.Error()) {
				t.Errorf("%s: the reason is %q, want %v", c.name, bye.Reason, ErrImpostor)
			}
			if st := r.Status(); st.Sources[0].Connected != c.taken {
				t.Errorf("%s: Region 2 is connected: %t, want %t", c.name, st.Sources[0].Connected, c.taken)
			}
			_ = a.Close()
			_ = r.Close()
			if err := <-served; err != nil {
				t.Errorf("Serve = %v, want nil after Close", err)
			}
		})
	}
}

// A Region that dials one and meets another that says to be it pushes nothing.
func TestDialledMustBeProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLAN()
		n.open(t, 2, newFake(2, wall), 2, Config{})
		dial := func(ctx context.Context, peer crdt.Region) (net.Conn, error) {
			c, err := n.dial(ctx, peer)
			return provenConn{Conn: c, peer: 3}, err
		}
		r, err := New(t.Context(), 1, newFake(1, wall), []crdt.Region{2}, dial, Config{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		st := r.Status().Peers[0]
		if st.Connected || !strings.Contains(st.LastError, ErrImpostor.Error()) {
			t.Errorf("connected: %t, last error %q; want none, %v", st.Connected, st.LastError, ErrImpostor)
		}
		_ = r.Close()
	})
}
