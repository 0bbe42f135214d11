package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	// maxRequest is the longest request that is read by UDP. Questions are short; of a
	// longer one the rest is lost, and it is answered as no message.
	maxRequest = 4096
	// maxQuestions is how many requests one connection may bring, one after the other.
	maxQuestions = 1024
	// restFor is how long a socket rests that fails, so that its failing costs little.
	restFor = 50 * time.Millisecond
	// portTries is how often another port is tried where any will do and the one that
	// TCP got is taken by UDP.
	portTries = 16
)

// listen opens an address by TCP and UDP, at one port.
func (s *Server) listen(ctx context.Context, at string) error {
	for try := 1; ; try++ {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
		if err != nil {
			return fmt.Errorf("listen by TCP: %w", err)
		}
		p, err := new(net.ListenConfig).ListenPacket(ctx, "udp", l.Addr().String())
		if err == nil {
			s.listeners, s.packets = append(s.listeners, l), append(s.packets, p.(*net.UDPConn))
			return nil
		}
		_ = l.Close() // nobody has come yet
		if _, port, _ := net.SplitHostPort(at); port != "0" || try == portTries {
			return fmt.Errorf("listen by UDP: %w", err)
		}
	}
}

func (s *Server) closeSockets() {
	for _, l := range s.listeners {
		_ = l.Close() // nobody was served
	}
	for _, p := range s.packets {
		_ = p.Close() // nor here
	}
}

// source returns the address from which a server is told things: the one that it knows us by,
// if we listen at one of its kind and no other. Else the system chooses.
func (s *Server) source(to netip.Addr) netip.Addr {
	for _, p := range s.packets {
		if a := p.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); !a.IsUnspecified() && a.Is4() == to.Unmap().Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// serveUDP answers what comes at one address, one request at a time, beside others that do.
func (s *Server) serveUDP(p *net.UDPConn) {
	buf := make([]byte, maxRequest)
	for {
		n, from, err := p.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.isOver() {
				return
			}
			s.rest()
			continue
		}
		s.stats.udp.Add(1)
		answers, release := s.handle(buf[:n], from.Addr().Unmap(), false)
		for _, b := range answers {
			if _, err := p.WriteToUDPAddrPort(b, from); err != nil {
				s.stats.unsent.Add(1) // whoever asked asks again
			}
		}
		release()
	}
}

func (s *Server) isOver() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// rest waits a little, or until the server ends.
func (s *Server) rest() {
	t := time.NewTimer(restFor)
	defer t.Stop()
	select {
	case <-s.ended:
	case <-t.C:
	}
}

// serveTCP takes connections in.
func (s *Server) serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.take(c)
		case s.isOver() || errors.Is(err, net.ErrClosed):
			return
		default:
			s.rest() // as when there are too many open files
		}
	}
}

// take serves a connection, or closes it if there are too many.
func (s *Server) take(c net.Conn) {
	var from netip.Addr
	if at, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = at.AddrPort().Addr().Unmap()
	}
	s.mu.Lock()
	full := s.over || len(s.conns) >= s.config.Conns || s.from[from] >= s.config.Conns/4
	if !full {
		s.conns[c] = from
		s.from[from]++
	}
	s.mu.Unlock()
	if full {
		s.stats.connsRefused.Add(1)
		_ = c.Close() // nothing was written to it
		return
	}
	s.wg.Go(func() {
		s.serveConn(c, from)
		s.mu.Lock()
		delete(s.conns, c)
		if s.from[from]--; s.from[from] == 0 {
			delete(s.from, from)
		}
		s.mu.Unlock()
	})
}

// serveConn answers what one connection brings, one request after the other.
func (s *Server) serveConn(c net.Conn, from netip.Addr) {
	defer func() { _ = c.Close() }() // what was to be written was
	for range maxQuestions {
		if !s.awaitUntil(c, time.Now().Add(s.config.Idle)) {
			return
		}
		packet, err := readFramed(c)
		if err != nil {
			return
		}
		s.stats.tcp.Add(1)
		answers, release := s.handle(packet, from, true)
		for _, b := range answers {
			_ = c.SetWriteDeadline(time.Now().Add(s.config.Idle)) // or the write fails
			if _, err = c.Write(framed(b)); err != nil {
				s.stats.unsent.Add(1)
				break
			}
		}
		release()
		if err != nil || len(answers) == 0 {
			return // whoever asks what is no question is not worth a connection
		}
	}
}

// awaitUntil gives the other end time to ask, unless the server has ended.
func (s *Server) awaitUntil(c net.Conn, t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && c.SetReadDeadline(t) == nil
}

// readFramed reads a message from a stream: RFC 1035, 4.2.2.
func readFramed(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// framed is a message as a stream has it, to be written at once.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) //nolint:gosec // no message is longer
}
