package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/steer"
)

// A sitter is a member that knows of a state and does nothing.
type sitter struct {
	name  string
	state ledger.State
}

func (s sitter) State() (ledger.State, <-chan struct{}) { return s.state, nil }

func (s sitter) Propose(context.Context, ledger.Command) (ledger.State, error) {
	return s.state, control.ErrNotLeader
}

func (s sitter) Status() control.Status { return control.Status{Self: s.name, State: s.state} }

func (s sitter) Precheck(context.Context, string, bool) ([]steer.Check, error) {
	return nil, control.ErrNotLeader
}

func (s sitter) Behind(context.Context, string) (time.Duration, bool, error) {
	return 0, false, control.ErrNotLeader
}

// A bereaved is a deployment of three Regions, the first of which has lost 1,234 writes and
// keeps the list of 1,000 of them.
type bereaved struct {
	*testing.T
	config string
	apis   []*httptest.Server
}

func newBereaved(t *testing.T) *bereaved {
	t.Helper()
	const missing = 1234
	dir := t.TempDir()
	r := ledger.Receipt{
		Epoch: 7, From: "region-1", To: "region-2", At: time.Unix(1790000000, 0), Closed: time.Unix(1790000009, 0),
		Counts: map[ledger.Fate]uint64{ledger.Recovered: missing - 1, ledger.Lost: 1},
	}
	lists := receipt.NewFolder(receipt.Config{Dir: filepath.Join(dir, "receipts"), Items: 1000})
	d := lists.Begin(receipt.Head{Epoch: r.Epoch, From: r.From, To: r.To}, false)
	for n := range missing {
		i := ledger.Item{Session: fmt.Sprintf("%010x", n), Kind: "write", At: r.At, Fate: ledger.Recovered}
		if n == 999 {
			i.Fate = ledger.Lost
		}
		d.Add(i)
	}
	r.Items = d.First()
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	b := &bereaved{T: t, config: filepath.Join(dir, "roam.yaml")}
	var text strings.Builder
	text.WriteString("version: 1\ntopology: active-active\nregions:\n")
	members := map[string]string{}
	names := []string{"region-3", "region-2", "region-1"} // who has it is asked last
	for i, name := range names {
		api := httptest.NewUnstartedServer(nil)
		b.apis = append(b.apis, api)
		t.Cleanup(api.Close)
		addr := api.Listener.Addr().String()
		members[name] = "http://" + addr
		fmt.Fprintf(&text, "  - {name: %s, id: %d, engine: {memory: {}}, node: {links: \"127.0.0.1:%d\", http: \"127.0.0.1:%d\", control: \"127.0.0.1:%d\", api: %q}}\n",
			name, i+1, 3*i+1, 3*i+2, 3*i+3, addr)
	}
	text.WriteString("control: {}\n")
	for i, name := range names {
		s := sitter{name, ledger.State{Receipts: []ledger.Receipt{r}}}
		c := admin.Config{Deployment: "shop", Setup: func([]byte) (ledger.Setup, error) { return ledger.Setup{}, nil }, Open: true, Members: members}
		if name == r.From {
			c.Lists = lists
		}
		h, err := admin.New(s, s, c)
		if err != nil {
			t.Fatal(err)
		}
		b.apis[i].Config.Handler = h
		b.apis[i].Start()
	}
	if err := os.WriteFile(b.config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// asks runs "roam receipts", and returns what it printed and what it said beside.
func (b *bereaved) asks(code int, args ...string) (out, aside string) {
	b.Helper()
	var printed, said bytes.Buffer
	args = slices.Concat([]string{"receipts", "--config", b.config}, args)
	if got := Run(b.Context(), args, &printed, &said); got != code {
		b.Fatalf("roam %q ended with %d, want %d; it said:\n%s", args, got, code, &said)
	}
	return printed.String(), said.String()
}

// The first writes of a receipt are named, and how all of them are; then all of them are, as
// far as they are kept, from whichever member has them.
func TestReceiptsNameAll(t *testing.T) {
	b := newBereaved(t)
	out, _ := b.asks(exitOK, "7")
	if !strings.Contains(out, "500 of 1,234 are named here; --all for all") || strings.Count(out, " recovered\n") != 500 {
		t.Errorf("a receipt says:\n%.400s", out)
	}
	const more = "234 more were counted and are not named"
	out, aside := b.asks(exitOK, "7", "--all")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2+1+1+1000 || lines[4] != "0000000000  write    2026-09-21 14:13:20.000  recovered" || !strings.HasSuffix(lines[1003], " lost") ||
		!strings.Contains(lines[1], "1233") || !strings.Contains(aside, more) {
		t.Errorf("all of a receipt are %d lines, and said is %q:\n%.400s", len(lines), aside, out)
	}
	out, aside = b.asks(exitOK, "7", "--all", "--csv")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 1001 || lines[0] != "session,kind,at,fate" || lines[1] != "0000000000,write,2026-09-21T14:13:20Z,recovered" || !strings.Contains(aside, more) {
		t.Errorf("as values it is %d lines, and said is %q:\n%.400s", len(lines), aside, out)
	}
	out, _ = b.asks(exitOK, "7", "--all", "--json")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	var last admin.Item
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 1000 || last.Fate != "lost" || last.Session != "00000003e7" {
		t.Errorf("as JSON it is %d lines, the last %+v, %v", len(lines), last, err)
	}
}

// Who has all writes of a receipt is named when that one can't be asked.
func TestReceiptsNameTheKeeper(t *testing.T) {
	b := newBereaved(t)
	if _, aside := b.asks(exitFailed, "8", "--all"); !strings.Contains(aside, "no receipt of epoch 8") {
		t.Errorf("of no receipt it says %q", aside)
	}
	b.apis[2].Close()
	out, aside := b.asks(exitFailed, "7", "--all")
	if out != "" || !strings.Contains(aside, "region-1 has the whole list of epoch 7, and could not be asked") || !strings.Contains(aside, "refused") {
		t.Errorf("with its keeper away it prints %q and says %q", out, aside)
	}
	if !strings.Contains(aside, b.apis[2].Listener.Addr().String()) {
		t.Errorf("where its keeper was asked is not said: %q", aside)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}
