//go:build integration

package node

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// on returns the engine of a Region, as the file says it.
func on(s *valkeytest.Server) string { return `{valkey: {addrs: ["` + s.Addr + `"]}}` }

func TestThreeNodesOnValkey(t *testing.T) {
	l := newLand(t, activeActive, on(valkeytest.Start(t)), on(valkeytest.Start(t)), on(valkeytest.Start(t)))
	l.stories()
}

// A node sees that its server is gone, says so, and goes on when it is back and
// empty: peers give it what they have.
func TestServerComesBackEmpty(t *testing.T) {
	s := valkeytest.Start(t)
	l := newLand(t, activeActive, on(s), "{memory: {}}", "{memory: {}}")
	l.startAll()
	alive := func(r crdt.Record) bool { return !r.IsBottom() }
	before := l.birth("east")
	l.everywhere(before, "the session", alive)
	s.Kill()
	eventually(t, "west is not ready", func() bool {
		code, h := health(t, l.nodes["west"].HTTP())
		return code == http.StatusServiceUnavailable && !h.Engine.Answers && len(h.Why) == 1 &&
			strings.Contains(h.Why[0], "the engine does not answer")
	})
	s.Restart()
	l.ready("west")
	l.everywhere(l.birth("west"), "a session of the server that came back", alive)
	l.everywhere(before, "the session that the server had lost", alive)
}

// In an active-passive deployment on Valkey the servers replicate by themselves:
// nodes tell health, and push nothing.
func TestActivePassiveOnValkey(t *testing.T) {
	primary := valkeytest.Start(t, "--repl-diskless-sync-delay", "0") // replicas come at once
	host, p, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	secondary := func() *valkeytest.Server { return valkeytest.Start(t, "--replicaof", host+" "+p) }
	east := secondary()
	l := newLand(t, "topology: active-passive\nprimary: west", on(primary), on(east), on(secondary()))
	for _, name := range names() {
		n := l.start(name)
		eventually(t, name+" is ready", func() bool { code, _ := health(t, n.HTTP()); return code == http.StatusOK })
		eventually(t, name+" hears of the primary, and of nobody else", func() bool {
			_, h := health(t, n.HTTP())
			return !h.Links && (name == "west" && len(h.Peers) == 0 ||
				name != "west" && len(h.Peers) == 1 && h.Peers[0].HeardSeconds != nil && *h.Peers[0].HeardSeconds < 2)
		})
	}
	eventually(t, "east says how late writes get to it", func() bool {
		_, h := health(t, l.nodes["east"].HTTP())
		_, body := get(t, l.nodes["east"].HTTP(), "/metrics")
		lag := h.Peers[0].LagSeconds
		return lag != nil && *lag > 0 && *lag < 5 && strings.Contains(body, `roam_primary_lag_seconds{peer="west"} `)
	})
	east.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "what east has gets old", func() bool {
		_, h := health(t, l.nodes["east"].HTTP())
		return len(h.Peers) == 1 && h.Peers[0].HeardSeconds != nil && *h.Peers[0].HeardSeconds > 2
	})
	east.Do("REPLICAOF", host, p)
	eventually(t, "it is young again", func() bool {
		_, h := health(t, l.nodes["east"].HTTP())
		return *h.Peers[0].HeardSeconds < 2
	})
	if !strings.Contains(l.said.String(), "no links are needed") {
		t.Error("no node said that it pushes nothing")
	}
	l.everywhere(l.birth("west"), "the session", func(r crdt.Record) bool { return !r.IsBottom() })
}

// A secondary's node whose primary is away when it starts is ready, says why it hears
// nothing, and hears of the primary when it comes.
func TestPrimaryIsAwayAtStart(t *testing.T) {
	primary := valkeytest.Start(t, "--repl-diskless-sync-delay", "0") // replicas come at once
	host, p, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	east := valkeytest.Start(t, "--replicaof", host+" "+p)
	l := newLand(t, "topology: active-passive\nprimary: west", on(primary), on(east), on(valkeytest.Start(t)))
	l.start("west") // loads the functions
	eventually(t, "east has the functions", func() bool { return !strings.Contains(east.Do("INFO", "memory"), "number_of_functions:0") })
	primary.Kill()
	at := l.start("east").HTTP()
	eventually(t, "east is ready, and says why it hears nothing", func() bool {
		code, h := health(t, at)
		return code == http.StatusOK && h.Ready && len(h.Peers) == 1 && h.Peers[0].HeardSeconds == nil &&
			strings.Contains(h.Peers[0].LastError, "could not be opened yet") && slices.Contains(h.Warnings, "nothing has been heard of west")
	})
	primary.Restart()
	eventually(t, "east hears of the primary", func() bool {
		_, h := health(t, at)
		return h.Peers[0].HeardSeconds != nil && *h.Peers[0].HeardSeconds < 2 && h.Peers[0].LastError == ""
	})
}
