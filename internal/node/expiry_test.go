//go:build integration

package node

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

// The links of a node whose certificate ends are ended by its peers while they are in
// use, and come back by the one that replaces it, with nobody restarted.
func TestLinksEndWithACertificateAndComeBack(t *testing.T) {
	l := memoryLand(t)
	east := []pki.Member{{Region: "east", Hosts: []string{"127.0.0.1"}}}
	cert, key := pemPaths(l.dir, "east")
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	const lives = 6 * time.Second // long enough to meet
	made := time.Now().AddDate(-1, -1, 0)
	rows, err := pki.Init(l.dir, east, false, made)
	for range 2 { // months are of different lengths
		if err == nil {
			made = made.Add(time.Until(rows[len(rows)-1].Expires) * -1).Add(lives)
			rows, err = pki.Init(l.dir, east, true, made)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	l.startAll()
	eventually(t, "west has no link to or from east any more, because of the certificate", func() bool {
		_, h := health(t, l.nodes["west"].HTTP())
		_, body := get(t, l.nodes["west"].HTTP(), "/metrics")
		return !h.Peers[0].Pushing && !h.Peers[0].Pushed && strings.Contains(body, `roam_peer_link_failures_total{peer="east",reason="expired"} 1`)
	})
	if _, h := health(t, l.nodes["west"].HTTP()); !h.Peers[1].Pushing || !h.Peers[1].Pushed {
		t.Error("west's links with north are gone too")
	}
	if _, err := pki.Init(l.dir, east, true, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names() {
		l.ready(name)
	}
}
