package quorum

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

// A person's certificate opens no link of the quorum, though it names her as a member's Region.
func TestPeopleAreRefused(t *testing.T) {
	g := newGroup(t, 3, 3, Rules{})
	g.start(1)
	for _, role := range []string{pki.Viewer, pki.Operator} {
		r, err := pki.Issue(pki.Order{Dir: g.dir, Person: pki.Person{Name: region(2), Role: role}, Renew: true}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if f, err := g.shows(r.Cert, r.Key); err == nil && f.kind != frameGoodbye {
			t.Errorf("a %s called %s: frame %d, want a refusal", role, region(2), f.kind)
		}
	}
	if f, err := g.shows(filepath.Join(g.dir, region(2)+".pem"), filepath.Join(g.dir, region(2)+".key")); err != nil || f.kind != frameHello {
		t.Errorf("%s itself: frame %d, %v; want a hello", region(2), f.kind, err)
	}
}

// shows greets member 1 as member 2, with any certificate, and returns its first frame.
func (g *group) shows(cert, key string) (frame, error) {
	g.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		g.t.Fatal(err)
	}
	raw, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", g.hall[1].Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	cfg := g.keeper[2].Client(region(1), "127.0.0.1")
	cfg.Certificates = []tls.Certificate{pair}
	w := &wire{Conn: tls.Client(raw, cfg), silence: patience}
	defer func() { _ = w.Close() }() // the other end may have
	if err := w.send(frame{kind: frameHello, hello: hello{from: 2, to: 1, life: 1}}); err != nil {
		return frame{}, err
	}
	return readFrame(w, maxGreetingBytes)
}
