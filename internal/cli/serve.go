package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// shutdownTime is how long requests under way are waited for at the end. Who then
// is still there is hung up on: browsers open connections ahead of need, and to
// the server those are requests about to come.
const shutdownTime = time.Second

// listen opens a port on loopback. The demo speaks http and anyone may log in:
// it must not be reachable from elsewhere.
func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usagef("--%s %q: %w: want host:port, such as 127.0.0.1:8080", flag, addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, usagef("--%s %q is not a loopback address: the demo opens no port to others; use 127.0.0.1", flag, addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another port with --%s, or port 0 for any", err, flag)
	}
	return l, nil
}

// A server is one address and what is served there.
type server struct {
	listener net.Listener
	handler  http.Handler
}

func (s server) url() string { return "http://" + s.listener.Addr().String() }

// serve serves all until ctx ends, which is no error, or one fails.
func serve(ctx context.Context, servers ...server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(servers))
	var running []*http.Server
	for _, s := range servers {
		hs := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			// Streams of events end with ctx instead of holding up the end.
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		running = append(running, hs)
		go func() { ended <- hs.Serve(s.listener) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended: // before its time
	}
	cancel()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer done()
	for _, hs := range running {
		if hs.Shutdown(grace) != nil {
			_ = hs.Close() // nobody is left to tell
		}
	}
	return err
}
