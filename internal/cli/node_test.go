package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/topology"
)

// nodesTime is how long nodes may take to find each other.
const nodesTime = 30 * time.Second

// free returns an address that nobody has at this moment.
func free(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// exampleFile writes the example with free ports to a file, and returns its path
// and what it says.
func exampleFile(t *testing.T) (string, topology.Deployment) {
	t.Helper()
	text := regexp.MustCompile(`127\.0\.0\.1:71\d\d`).ReplaceAllStringFunc(topology.Example(), func(string) string {
		return free(t)
	})
	return writeConfig(t, text)
}

func writeConfig(t *testing.T, text string) (string, topology.Deployment) {
	t.Helper()
	d, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s) = %v", text, err)
	}
	path := filepath.Join(t.TempDir(), "roam.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, d
}

// heard reports whether a node is ready and has heard of so many peers.
func heard(addr string, peers int) bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: nodesTime}
	resp, err := client.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var h struct {
		Ready bool
		Peers []struct {
			HeardSeconds *float64 `json:"heard_seconds"`
			Pushing      bool
		}
	}
	if json.NewDecoder(resp.Body).Decode(&h) != nil || !h.Ready {
		return false
	}
	for _, p := range h.Peers {
		if p.HeardSeconds != nil && p.Pushing {
			peers--
		}
	}
	return peers == 0
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(nodesTime)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after %v not so: %s", nodesTime, what)
		}
	}
}

// The example runs as it is printed, and ends well when it is interrupted.
func TestNodesRunTheExample(t *testing.T) {
	path, d := exampleFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	talk := &talk{}
	ended := make(chan int, len(d.Regions))
	for _, r := range d.Regions {
		go func() {
			ended <- Run(ctx, []string{"node", "--config", path, "--region", r.Name, "--log-format", "json"}, io.Discard, talk)
		}()
	}
	for _, r := range d.Regions {
		soon(t, r.Name+" has heard of its peers", func() bool { return heard(r.Node.HTTP, 2) })
	}
	cancel()
	begun := time.Now()
	for range d.Regions {
		if code := <-ended; code != exitOK || time.Since(begun) > endTime {
			t.Errorf("interrupted, a node ended with %d after %v, want %d within %v; they said: %s", code, time.Since(begun), exitOK, endTime, talk)
		}
	}
	for line := range strings.Lines(talk.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("with --log-format json a node said %q", line)
		}
	}
}
