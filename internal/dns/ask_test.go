package dns

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestAsk asks a server of ours as a resolver does: where a name leads and for how long, and
// that it leads nowhere, which is not the same as no answer.
func TestAsk(t *testing.T) {
	s := start(t, Config{})
	at := s.Addrs()[0].String()
	want := Answer{Target: "master.usw1.cache.example.", TTL: 10 * time.Second}
	for _, name := range []string{"write.session.internal", "WRITE.session.internal."} {
		if a, err := Ask(t.Context(), at, name, patience); err != nil || a != want {
			t.Errorf("Ask(%s) = %+v, %v, want %+v", name, a, err, want)
		}
	}
	for _, name := range []string{"app.session.internal", "nothing.session.internal", "elsewhere.invalid"} {
		if a, err := Ask(t.Context(), at, name, patience); !errors.Is(err, ErrNoAnswer) || a != (Answer{}) {
			t.Errorf("Ask(%s) = %+v, %v, want ErrNoAnswer", name, a, err)
		}
	}
	s.mustUpdate(t, func(v *View) { v.Epoch++; v.Writer = "" })
	if a, err := Ask(t.Context(), at, "write.session.internal", patience); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("nobody writes: Ask = %+v, %v, want ErrNoAnswer", a, err)
	}
	if _, err := Ask(t.Context(), at, "not a name", patience); err == nil || errors.Is(err, ErrNoAnswer) {
		t.Errorf("what is no name: %v, want an error of its own", err)
	}
}

// A server that keeps silent is given up in time.
func TestAskNobody(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	begun := time.Now()
	_, err = Ask(t.Context(), silent.LocalAddr().String(), "write.session.internal", 50*time.Millisecond)
	if err == nil || errors.Is(err, ErrNoAnswer) || time.Since(begun) > patience/2 {
		t.Errorf("Ask of nobody = %v after %v, want another error, soon", err, time.Since(begun))
	}
}
