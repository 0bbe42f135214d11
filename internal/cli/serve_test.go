package cli

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// endTime is how long a command may take from Ctrl-C to its end.
const endTime = 3 * time.Second

// TestServeEndsWithWhoeverIsThere has what a browser leaves open: a stream of
// events, a connection opened ahead of need, and one kept alive.
func TestServeEndsWithWhoeverIsThere(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	l, err := listen(ctx, "shop", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stream" {
			<-r.Context().Done()
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server{l, stream}) }()
	for _, request := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if request != "" {
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
				t.Fatalf("%q answered %q, %v", request, line, err)
			}
		}
	}
	begun := time.Now()
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("serve, interrupted = %v, want nil", err)
	}
	if took := time.Since(begun); took > endTime {
		t.Errorf("serve, interrupted, took %v, want at most %v", took, endTime)
	}
}

func TestServeTellsWhatFailed(t *testing.T) {
	l, err := listen(t.Context(), "shop", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // as if the listener broke
	if err := serve(t.Context(), server{l, http.NotFoundHandler()}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("serve on a closed listener = %v, want that it is closed", err)
	}
}
