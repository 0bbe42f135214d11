package dns

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// TestExchange asks a server of ours: what is signed is believed, and nothing else.
func TestExchange(t *testing.T) {
	key := testKey("right")
	s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
	ring, err := newKeyring(key, testKey("other"))
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		c := caller{network: network, addr: s.Addrs()[0].String(), keys: ring, timeout: patience}
		m := question("app.session.internal.", wire.TypeA)
		for _, c.key = range []string{"", "right."} {
			if r, err := c.exchange(t.Context(), m); err != nil || len(r.Answer) != 1 {
				t.Errorf("by %s with key %q: %v, %v", network, c.key, r, err)
			}
		}
		c.key = "other."
		if r, err := c.exchange(t.Context(), m); err != nil || r.Rcode != wire.RcodeNotAuth {
			t.Errorf("by %s with a key that the server has not: %v, %v", network, r, err)
		}
	}
}

func TestExchangeIsNotFooled(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	_ = p.SetDeadline(time.Now().Add(patience))
	ring, err := newKeyring(testKey("right"))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(answers ...func(r *wire.Msg)) chan error {
		done := make(chan error, 1)
		go func() {
			buf := make([]byte, 4096)
			n, from, err := p.ReadFrom(buf)
			m := new(wire.Msg)
			if err == nil {
				err = m.Unpack(buf[:n])
			}
			for _, change := range answers {
				r := new(wire.Msg).SetReply(m)
				change(r)
				b, _ := r.Pack()
				_, err2 := p.WriteTo(b, from)
				err = errors.Join(err, err2)
			}
			done <- err
		}()
		return done
	}
	c := caller{network: "udp", addr: p.LocalAddr().String(), keys: ring, timeout: patience}
	done := answer(func(r *wire.Msg) { r.Id++ }, func(r *wire.Msg) { r.Response = false }, func(r *wire.Msg) { r.Opcode = wire.OpcodeNotify }, func(r *wire.Msg) { r.Rcode = wire.RcodeNameError })
	if r, err := c.exchange(t.Context(), question("a.", wire.TypeA)); err != nil || r.Rcode != wire.RcodeNameError {
		t.Errorf("the answer among others: %v, %v", r, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.key = "right."
	done = answer(func(*wire.Msg) {})
	if r, err := c.exchange(t.Context(), question("a.", wire.TypeA)); !errors.Is(err, errUnsigned) {
		t.Errorf("an answer that nobody signed: %v, %v", r, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.timeout = 10 * time.Millisecond
	if r, err := c.exchange(t.Context(), question("a.", wire.TypeA)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v, %v", r, err)
	}
}
