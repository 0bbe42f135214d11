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

// AddReplica starts a replica of a primary of a cluster and returns it once it has all
// that the primary has, and all of the cluster know of it.
func AddReplica(t testing.TB, cluster []*Server, primary *Server, args ...string) *Server {
	t.Helper()
	out := Start(t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}, args...)...)
	id := primary.Do("CLUSTER", "MYID")
	out.Do("CLUSTER", "MEET", "127.0.0.1", primary.Port())
	begun := time.Now()
	for !strings.Contains(out.Do("CLUSTER", "NODES"), id) {
		if time.Sleep(10 * time.Millisecond); time.Since(begun) > formTimeout {
			t.Fatalf("the replica did not meet its primary in %v", formTimeout)
		}
	}
	out.Do("CLUSTER", "REPLICATE", id)
	me := out.Do("CLUSTER", "MYID")
	for {
		known := strings.Contains(out.Do("INFO", "replication"), "master_link_status:up")
		for _, s := range cluster {
			for line := range strings.Lines(s.Do("CLUSTER", "NODES")) {
				known = known && (!strings.HasPrefix(line, me) || strings.Contains(line, "slave "+id))
			}
			known = known && strings.Contains(s.Do("CLUSTER", "NODES"), me)
		}
		if known {
			return out
		}
		if time.Sleep(10 * time.Millisecond); time.Since(begun) > formTimeout {
			t.Fatalf("the cluster did not know of its replica in %v", formTimeout)
		}
	}
}
