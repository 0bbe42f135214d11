package node

import (
	"bytes"
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
)

// Nodes agree on what they serve, and who has a certificate hears it from any of them;
// who has none does not.
func TestFeedOfAControlPlane(t *testing.T) {
	l := newCountry(t, activeActive, "", "{memory: {}}", "{memory: {}}", "{memory: {}}")
	l.startAll()
	for _, name := range names() {
		client := l.visitor("north", name)
		eventually(t, name+" serves what is agreed on", func() bool {
			resp, err := client.Get("https://" + l.api(name) + "/v1/feed?once")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }() // it is read
			line, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			said, err := feed.ParseLine(bytes.TrimSpace(line))
			return err == nil && said.View.Deployment == "roam" && said.View.Primary == "" && said.View.Version == 1 && said.View.File == l.text
		})
	}
	_, metrics := get(t, l.nodes["west"].HTTP(), "/metrics")
	for _, want := range []string{"roam_control_seated 1", "roam_control_led 1", "roam_receipts_open 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	stranger := l.visitor("", "west")
	resp, err := stranger.Get("https://" + l.api("west") + "/v1/feed?once")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // nothing is in it
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a certificate the feed says %s, want %d", resp.Status, http.StatusUnauthorized)
	}
}

// A node whose part in the control plane can't be taken serves all the same, and says so.
func TestBrokenSeat(t *testing.T) {
	l := newCountry(t, activeActive, "", "{memory: {}}", "{memory: {}}", "{memory: {}}")
	dir := l.parts.Control.DirOf("east")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "voter.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.startAll()
	eventually(t, "east says so", func() bool {
		_, h := health(t, l.nodes["east"].HTTP())
		return h.Ready && strings.Contains(strings.Join(h.Warnings, "\n"), "takes no part in the control plane")
	})
}

// Members agree on another file: every node hears that it is to run by it, those that start
// with the old one too.
func TestAnotherFile(t *testing.T) {
	l := newCountry(t, activeActive, "", "{memory: {}}", "{memory: {}}", "{memory: {}}")
	l.startAll()
	var m *control.Member
	eventually(t, "west is a member of something", func() bool {
		m, _ = l.nodes["west"].seat.seated()
		if m == nil {
			return false
		}
		s, _ := m.State()
		return s.Setup.Version == 1
	})
	s, _ := m.State()
	setup := s.Setup
	setup.Version, setup.File = 2, strings.Replace(l.text, "silence: 500ms", "silence: 700ms", 1)
	if _, err := m.Propose(t.Context(), ledger.Command{Describe: &ledger.Describe{Setup: setup}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range names() {
		select {
		case d := <-l.nodes[name].Replaced():
			if d.Policies.Replication.Silence != 700*time.Millisecond {
				t.Errorf("%s is to run by a silence of %v", name, d.Policies.Replication.Silence)
			}
		case <-time.After(patience):
			t.Fatalf("%s did not hear of another file", name)
		}
		d := Agreed(l.parts, name, l.dir, slog.New(slog.DiscardHandler))
		if d.Policies.Replication.Silence != 700*time.Millisecond || d.Control.Dir != l.parts.Control.Dir {
			t.Errorf("%s would start with a silence of %v, in %q", name, d.Policies.Replication.Silence, d.Control.Dir)
		}
	}
}

func (l *land) api(name string) string {
	r, _ := l.parts.Region(name)
	return r.Node.API
}

// visitor returns a client that asks a Region's node, with another's certificate or none.
func (l *land) visitor(as, of string) *http.Client {
	l.t.Helper()
	name := cmp.Or(as, of)
	keeper, err := pki.Keep(pki.Files(l.parts.Links.TLS.For(name)), name, slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Fatal(err)
	}
	config := keeper.Client(of, "127.0.0.1")
	if as == "" {
		config.Certificates = nil
	}
	transport := &http.Transport{TLSClientConfig: config}
	l.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}
