//go:build integration

package valkeytest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// slots is how many hash slots a cluster has.
	slots = 16384
	// formTimeout is how long a cluster may take to form: some seconds of gossip.
	formTimeout = 20 * time.Second
)

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
		if time.Since(begun) > formTimeout {
			t.Fatalf("the cluster did not form in %v", formTimeout)
		}
	}
}
