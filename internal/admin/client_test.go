package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/ledger"
)

func clientOf(t *testing.T, urls ...string) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{URLs: urls, Token: operatorToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// nobody returns the URL of a member that is not there.
func nobody(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + addr
}

func kindOf(err error) Kind {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Kind
	}
	return ""
}

// All that a Client can ask for, asked of the API.
func TestClientAsks(t *testing.T) {
	m := founded(t)
	c := clientOf(t, serve(t, m, nil).url)
	ctx := t.Context()
	index := func() uint64 { s, _ := m.State(); return s.Index }
	for _, step := range []struct {
		name string
		do   func() (any, error)
		want func() any
	}{
		{"status", func() (any, error) { s, err := c.Status(ctx); return s.Index, err }, func() any { return index() }},
		{"watch", func() (any, error) { s, err := c.Watch(ctx, index(), time.Millisecond); return s.Index, err }, func() any { return index() }},
		{"dry run", func() (any, error) {
			o, err := c.Switchover(ctx, Move{To: "us-west-2", DryRun: true})
			return o.Begun, err
		}, func() any { return false }},
		{"switchover", func() (any, error) { o, err := c.Switchover(ctx, Move{To: "us-west-2"}); return o.Epoch, err }, func() any { return uint64(8) }},
		{"cancel", func() (any, error) { d, err := c.CancelSwitchover(ctx, "alice"); return d.Index, err }, func() any { return index() }},
		{"mode", func() (any, error) { d, err := c.SetMode(ctx, Mode{Mode: "off"}); return d.Index, err }, func() any { return index() }},
		{"readmit", func() (any, error) { d, err := c.Readmit(ctx, "us-west-2", ""); return d.Index, err }, func() any { return index() }},
		{"events", func() (any, error) { e, err := c.Events(ctx, 1, 2); return len(e.Events), err }, func() any { return 2 }},
		{"controls", func() (any, error) { o, err := c.Controls(ctx); return len(o.Controls), err }, func() any { return 4 }},
		{"set controls", func() (any, error) {
			o, err := c.SetControls(ctx, Changes{Changes: []Change{{"users-us-west-2", true}}, Override: []string{"gate"}})
			return len(o.Controls) == 4 && o.Controls[2].On, err
		}, func() any { return true }},
		{"webhooks", func() (any, error) { w, err := c.Webhooks(ctx); return len(w.Webhooks), err }, func() any { return 2 }},
		{"test webhook", func() (any, error) { o, err := c.TestWebhook(ctx, "pager"); return o.OK, err }, func() any { return true }},
		{"set topology", func() (any, error) {
			_, version, err := c.Topology(ctx)
			if err != nil {
				return nil, err
			}
			o, err := c.SetTopology(ctx, []byte("- us-west-1\n- us-west-2\n- us-east-1\n"), version, false, "alice & bob")
			return o.Version, err
		}, func() any { return uint64(2) }},
		{"topology", func() (any, error) {
			f, v, err := c.Topology(ctx)
			return strings.Contains(string(f), "us-east-1") && v == 2, err
		}, func() any { return true }},
		{"failover", func() (any, error) { o, err := c.Failover(ctx, Move{To: "us-west-2"}); return o.Begun, err }, func() any { return true }},
	} {
		got, err := step.do()
		if err != nil || got != step.want() {
			t.Errorf("%s: %v, %v, want %v", step.name, got, err, step.want())
		}
	}
	s, _ := m.State()
	m.propose(t, ledger.Command{Grant: &ledger.Grant{Newest: s.Newest, Renewals: s.Lease.Renewals, To: "us-west-2"}})
	m.propose(t, ledger.Command{Salvage: &ledger.Salvage{Epoch: 7, Items: make([]ledger.Item, 3)}})
	all, err := c.Receipts(ctx)
	one, err2 := c.Receipt(ctx, 7, 1, 1)
	if err != nil || err2 != nil || len(all.Receipts) != 1 || len(one.Items) != 1 || one.Total != 3 {
		t.Errorf("receipts %+v, %v, %+v, %v", all, err, one, err2)
	}
	if _, err := c.Receipt(ctx, 99, 0, 1); kindOf(err) != KindNotFound {
		t.Errorf("no receipt: %v, want a problem of kind not-found", err)
	}
}

// A stranger counts what it is asked, and keeps who asks.
func stranger(t *testing.T, answer http.HandlerFunc) (string, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, &asked
}

func TestClientGoesToTheLeader(t *testing.T) {
	leads, follows := founded(t), founded(t)
	far, asked := stranger(t, func(http.ResponseWriter, *http.Request) {})
	leader := serve(t, leads, nil).url
	follower := func(hint string) string {
		follows.set(func(m *member) { m.leader = "us-west-2" })
		return serve(t, follows, func(c *Config) { c.Members = map[string]string{"us-west-2": hint} }).url
	}
	c := clientOf(t, nobody(t), follower(leader+"/"), far, leader)
	if o, err := c.Switchover(t.Context(), Move{To: "us-west-2"}); err != nil || !o.Begun {
		t.Errorf("Switchover = %+v, %v, want it begun", o, err)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("one that does not lead was asked %d times", n)
	}
	// A hint to one that we don't know is not followed: it would be shown the token.
	c = clientOf(t, follower(far))
	if _, err := c.Switchover(t.Context(), Move{To: "us-west-2"}); kindOf(err) != KindNotLeader || asked.Load() > 0 {
		t.Errorf("Switchover = %v, the stranger was asked %d times, want not-leader and never", err, asked.Load())
	}
}

// What may have been done is not asked for again, and reads are.
func TestClientDoesNotAskTwice(t *testing.T) {
	drops, asked := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	m := founded(t)
	c := clientOf(t, drops, serve(t, m, nil).url)
	before, _ := m.State()
	if _, err := c.SetMode(t.Context(), Mode{Mode: "off"}); kindOf(err) != KindUnknown || asked.Load() != 1 {
		t.Errorf("SetMode = %v after %d requests, want unknown after one", err, asked.Load())
	}
	if after, _ := m.State(); after.Index != before.Index {
		t.Error("the next member was asked for the change too")
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("Status = %v, want that of the next member", err)
	}
	busy, tries := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"type":"`+typeBase+`unavailable","detail":"no majority"}`)
	})
	if _, err := clientOf(t, busy).SetMode(t.Context(), Mode{Mode: "off"}); kindOf(err) != KindUnavailable || tries.Load() != clientRounds {
		t.Errorf("SetMode = %v after %d tries, want unavailable after %d", err, tries.Load(), clientRounds)
	}
}

func TestClientBelievesNobodyElse(t *testing.T) {
	far, asked := stranger(t, func(http.ResponseWriter, *http.Request) {})
	moved, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, far, http.StatusTemporaryRedirect) })
	page, _ := stranger(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	endless, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	for name, url := range map[string]string{"a redirect": moved, "a page": page, "an endless answer": endless, "nobody": nobody(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := clientOf(t, url).Status(ctx); err == nil || kindOf(err) != "" || strings.Contains(err.Error(), operatorToken) {
			t.Errorf("%s: Status = %v, want an error that is no problem of a member", name, err)
		}
		cancel()
	}
	if asked.Load() > 0 {
		t.Error("it went where the redirect says, with its token")
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, urls := range [][]string{
		nil,
		{"node.example:7103"},
		{"ftp://node.example"},
		{"http://node.example:7103"}, // with a token
		{"https://me@node.example"},
		{"https://node.example/path"},
		{"https://node.example?x=y"},
		slices.Repeat([]string{"https://node.example"}, maxURLs+1),
	} {
		if _, err := NewClient(ClientConfig{URLs: urls, Token: operatorToken}); !errors.Is(err, errConfig) {
			t.Errorf("NewClient(%q) = %v, want errConfig", urls, err)
		}
	}
	if _, err := NewClient(ClientConfig{URLs: []string{"http://127.0.0.1:7103/", "https://node.example:7103"}, Token: operatorToken}); err != nil {
		t.Errorf("NewClient = %v", err)
	}
}

// Following goes on with another member, misses nothing that is kept, and ends when told.
func TestClientFollows(t *testing.T) {
	m := founded(t)
	for range ledger.MaxEvents {
		m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
	}
	short, asked := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, ": hello\n\nid: 400\nevent: event\ndata: {\"seq\":400,\ndata: \"kind\":\"mode\"}\n\nevent: later\ndata: x\n\n"+
			"event: cut\ndata: {\"from\":401,\"to\":402}\n\n")
		if r.URL.Query().Get("after") != "1" {
			t.Errorf("asked for %s", r.URL)
		}
	})
	var seqs []uint64
	enough := errors.New("enough")
	err := clientOf(t, short, serve(t, m, nil).url).Follow(t.Context(), 1, func(h Heard) error {
		switch {
		case h.Missed != nil:
			seqs = append(seqs, h.Missed.To)
		case h.Event.Kind != ledger.KindMode:
			t.Errorf("heard %+v", h.Event)
		default:
			seqs = append(seqs, h.Event.Seq)
		}
		if len(seqs) == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(seqs, []uint64{400, 401, 402}) || asked.Load() != 1 {
		t.Errorf("Follow = %v after events %v, want enough after 400, 401, 402", err, seqs)
	}
	seqs = nil
	err = clientOf(t, serve(t, m, nil).url).Follow(t.Context(), 0, func(h Heard) error {
		if h.Missed == nil {
			return enough
		}
		seqs = append(seqs, h.Missed.From, h.Missed.To)
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(seqs, []uint64{1, 2}) {
		t.Errorf("Follow = %v, missed %v, want 1 to 2", err, seqs)
	}
	stranger, err := NewClient(ClientConfig{URLs: []string{serve(t, m, nil).url}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Follow(t.Context(), 0, nil); kindOf(err) != KindUnauthorized {
		t.Errorf("Follow of nobody = %v, want unauthorized", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := clientOf(t, nobody(t)).Follow(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow when it is over = %v, want canceled", err)
	}
}

// Whatever a member says: it is read within bounds, and its numbers only grow.
func FuzzAnswers(f *testing.F) {
	f.Add("id: 4\nevent: event\ndata: {\"seq\":4}\n\n")
	f.Add("event: missed\ndata: {\"from\":1,\"to\":3}\n\nevent: cut\ndata: {}\n\n")
	f.Add("data\ndata:\n\n:\n\nevent: event\r\ndata: x\r\n\r\n")
	f.Add(`{"type":"` + typeBase + `busy","status":409}`)
	f.Add(`{"type":7}`)
	f.Fuzz(func(t *testing.T, text string) {
		err := parseStream(strings.NewReader(text), func() {}, func(name, data string) error {
			h, _, err := heardOf(name, data)
			if err == nil && h.Event != nil && h.Missed != nil {
				t.Errorf("%q of %q is two things", data, name)
			}
			return err
		})
		if err == nil {
			t.Errorf("a stream ends without an error: %q", text)
		}
		if p, err := parseProblem(409, []byte(text)); err == nil && (p.Type != typeBase+string(p.Kind) || !strings.HasPrefix(p.Type, typeBase)) {
			t.Errorf("parseProblem(%q) = %+v", text, p)
		}
	})
}
