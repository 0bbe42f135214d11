//go:build integration

package valkeytest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// StartCluster starts a cluster of n primaries and returns them once each sees all.
func StartCluster(t testing.TB, n int, args ...string) []*Server {
	t.Helper()
	out := make([]*Server, n)
	for i := range out {
		out[i] = Start(t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}, args...)...)
	}
	for i, s := range out {
		s.Do("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(slots*i/n), fmt.Sprint(slots*(i+1)/n-1))
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
	}
	for _, s := range out[1:] {
		s.Do("CLUSTER", "MEET", "127.0.0.1", out[0].Port())
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		agreed := 0
		for _, s := range out {
			info := s.Do("CLUSTER", "INFO")
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) {
				agreed++
			}
		}
		if agreed == n {
			return out
		}
		if time.Since(begun) > startTimeout {
			t.Fatalf("the cluster did not form in %v", startTimeout)
		}
	}
}

// Do sends a command on a connection of its own and returns the reply: of a bulk
// string its text, of anything else its first line. An error ends the test.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	reply, err := s.do(s.t.Context(), args)
	if err != nil {
		s.t.Fatalf("%v at %s: %v", args, s.Addr, err)
	}
	return reply
}

func (s *Server) do(ctx context.Context, args []string) (string, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the reply was read
	_ = conn.SetDeadline(time.Now().Add(startTimeout))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := conn.Write([]byte(b.String())); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	switch {
	case err != nil:
		return "", err
	case line[0] == '-':
		return "", fmt.Errorf("%s", strings.TrimSpace(line[1:]))
	case line[0] != '$':
		return strings.TrimSpace(line[1:]), nil
	}
	var n int
	if _, err := fmt.Sscanf(line, "$%d", &n); err != nil || n < 0 {
		return "", err
	}
	text := make([]byte, n)
	for read := 0; read < n; {
		k, err := r.Read(text[read:])
		if err != nil {
			return "", err
		}
		read += k
	}
	return string(text), nil
}
