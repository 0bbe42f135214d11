package node

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// connsOfPeer: one link of each peer, one that replaces it, and as many again.
	connsOfPeer = 4
	// maxStrangers bounds those who have yet to prove who they are. A handshake is some
	// 30 KiB and takes two round trips.
	maxStrangers = 64
)

// A door is a listener that sends everybody away until it is opened, so that peers
// hear at once that there is no engine yet, and that has a bound. Who comes when it is
// full takes the place of a stranger, by chance, and is sent away if there is none: who
// only holds connections open can keep no peer out, and ends no link that there is.
type door struct {
	listener net.Listener
	conns    chan net.Conn
	closed   chan struct{}
	close    sync.Once
	most     int  // in at a time
	proof    bool // guests prove who they are; else nobody is a stranger

	mu        sync.Mutex // guards what follows
	opened    bool
	in        int
	strangers []*guest // of those in
}

func newDoor(l net.Listener, most int, proof bool) *door {
	return &door{listener: l, conns: make(chan net.Conn), closed: make(chan struct{}), most: most, proof: proof}
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = true
}

// run accepts until Close.
func (d *door) run() {
	const breath = 50 * time.Millisecond // after a failure: files may be short
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			select {
			case <-d.closed:
				return
			case <-time.After(breath):
				continue
			}
		}
		g, leaves := d.admit(conn)
		if leaves != nil {
			_ = leaves.Close() // it comes again
		}
		if g == nil {
			continue
		}
		select {
		case d.conns <- g:
		case <-d.closed:
			_ = g.Close()
			return
		}
	}
}

// admit lets somebody in, unless the guest is nil; who leaves is to be closed.
func (d *door) admit(conn net.Conn) (in *guest, leaves net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.opened {
		return nil, conn
	}
	if d.in == d.most || len(d.strangers) == maxStrangers {
		if len(d.strangers) == 0 {
			return nil, conn
		}
		g := d.strangers[rand.IntN(len(d.strangers))] //nolint:gosec // who can guess it gains nothing
		d.leave(g)
		leaves = g.Conn
	}
	in = &guest{Conn: conn, door: d, isIn: true}
	d.in++
	if d.proof {
		d.strangers = append(d.strangers, in)
	}
	return in, leaves
}

// leave makes room; mu is held.
func (d *door) leave(g *guest) {
	if g.isIn {
		g.isIn = false
		d.in--
		d.know(g)
	}
}

// know takes somebody from the strangers; mu is held.
func (d *door) know(g *guest) {
	d.strangers = slices.DeleteFunc(d.strangers, func(s *guest) bool { return s == g })
}

// Accept returns the next connection.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listening. Connections that there are stay.
func (d *door) Close() (err error) {
	d.close.Do(func() {
		close(d.closed)
		err = d.listener.Close()
	})
	return err
}

// Addr returns where the door is.
func (d *door) Addr() net.Addr { return d.listener.Addr() }

// A guest makes room when it goes.
type guest struct {
	net.Conn
	door *door
	isIn bool // guarded by the door's mu
}

// prove says that it is known who the guest is.
func (g *guest) prove() {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.door.know(g)
}

// Close closes the connection.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.door.leave(g)
	g.door.mu.Unlock()
	return g.Conn.Close()
}
