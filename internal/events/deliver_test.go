package events

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

const testSecret = "0123456789abcdef"

// A ring is a source that a test adds to.
type ring struct {
	mu      sync.Mutex
	most    int
	events  []ledger.Event
	seq     uint64
	changed chan struct{}
}

func newRing() *ring { return &ring{most: ledger.MaxEvents, changed: make(chan struct{})} }

func (r *ring) source() ([]ledger.Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events, r.changed
}

func (r *ring) tell(kinds ...ledger.Kind) {
	r.tellAt(time.Now(), kinds...)
}

func (r *ring) tellAt(at time.Time, kinds ...ledger.Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = slices.Clone(r.events)
	for _, k := range kinds {
		r.seq++
		r.events = append(r.events, ledger.Event{Seq: r.seq, At: at, Kind: k, Region: "west", Other: "east", Epoch: 7, Text: "it takes all writes"})
	}
	r.events = r.events[max(0, len(r.events)-r.most):]
	close(r.changed)
	r.changed = make(chan struct{})
}

// A receiver takes what is posted, as receivers should.
type receiver struct {
	t    *testing.T
	got  chan Message
	fate func(try int) int // status of the answer; nil: 200
	mu   sync.Mutex
	try  int
}

func newReceiver(t *testing.T, fate func(try int) int) (*receiver, string) {
	r := &receiver{t: t, got: make(chan Message, 100), fate: fate}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, s.URL
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Errorf("read what is posted: %v", err)
	}
	if err := Verify(q.Header.Get(SignatureHeader), body, time.Now(), []byte(testSecret)); err != nil {
		r.t.Errorf("Verify: %v", err)
	}
	r.mu.Lock()
	r.try++
	try := r.try
	r.mu.Unlock()
	if r.fate != nil {
		if status := r.fate(try); status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
	}
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("decode %s: %v", body, err)
	}
	if id := q.Header.Get("Roam-Event-Id"); q.Method != http.MethodPost || id != m.ID {
		r.t.Errorf("%s with id %q, want POST with %q", q.Method, id, m.ID)
	}
	r.got <- m
}

func (r *receiver) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.try
}

// next returns the numbers of the next n messages.
func (r *receiver) next(n int) (seqs []uint64) {
	r.t.Helper()
	for range n {
		select {
		case m := <-r.got:
			seqs = append(seqs, m.Seq)
		case <-time.After(10 * time.Second):
			r.t.Fatalf("after %v nothing more comes, want %d messages", seqs, n)
		}
	}
	return seqs
}

func hookAt(name, url string, kinds ...ledger.Kind) Hook {
	return Hook{Name: name, URL: url, Secret: []byte(testSecret), Kinds: kinds}
}

// deliver starts a Deliverer that is in a hurry, and returns how to stop it.
func deliver(t *testing.T, c Config) (*Deliverer, func()) {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.Deployment = "shop"
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range d.hooks {
		h.first = 5 * time.Millisecond
	}
	d.client.Timeout = 2 * time.Second
	d.Active(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return d, stop
}

func want(t *testing.T, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: events %v, want %v", what, got, want)
	}
}

// settled waits until a hook was told of an event.
func settled(t *testing.T, d *Deliverer, hook string, seq uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if told := d.Cursors()[hook]; told >= seq {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was told of %v, want %d", hook, d.Cursors(), seq)
		}
		<-time.After(time.Millisecond)
	}
}

func TestDeliversInOrder(t *testing.T) {
	r := newRing()
	r.tell("founded", "mode")
	all, at := newReceiver(t, nil)
	some, there := newReceiver(t, nil)
	d, _ := deliver(t, Config{Source: r.source, Hooks: []Hook{hookAt("all", at), hookAt("some", there, "alarm", "mode")}})
	r.tell("alarm", "promoted", "alarm", "promoted")
	want(t, "all", all.next(6), []uint64{1, 2, 3, 4, 5, 6})
	want(t, "some", some.next(3), []uint64{2, 3, 5})
	settled(t, d, "all", 6)
	settled(t, d, "some", 6) // what it does not want is behind it too
	if s := d.Stats()[1]; s.Name != "some" || s.Delivered != 3 || s.Tries != 3 || s.Dropped != 0 || s.Status != 200 || s.Err != "" {
		t.Errorf("Stats = %+v, want 3 delivered in 3 tries", s)
	}
}

func TestFlakyReceiverIsTriedAgainInOrder(t *testing.T) {
	r := newRing()
	c, at := newReceiver(t, func(try int) int {
		return map[int]int{1: 500, 2: 503, 4: 404, 5: 429}[try] + map[bool]int{true: 200}[try == 3 || try > 5]
	})
	d, _ := deliver(t, Config{Source: r.source, Hooks: []Hook{hookAt("pager", at)}})
	r.tell("alarm", "promoted", "alarm")
	want(t, "pager", c.next(3), []uint64{1, 2, 3})
	settled(t, d, "pager", 3)
	if s := d.Stats()[0]; s.Tries != 7 || s.Delivered != 3 {
		t.Errorf("Stats = %+v, want 7 tries and 3 delivered", s)
	}
}

// A hook that hangs or is slow holds up nobody else, and is told when it is well again.
func TestHangingReceiver(t *testing.T) {
	r := newRing()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	}))
	t.Cleanup(hangs.Close)
	well, at := newReceiver(t, nil)
	d, _ := deliver(t, Config{Source: r.source, Hooks: []Hook{hookAt("hangs", hangs.URL), hookAt("well", at)}})
	r.tell("alarm", "alarm", "alarm")
	want(t, "well", well.next(3), []uint64{1, 2, 3})
	if told := d.Cursors()["hangs"]; told != 0 {
		t.Errorf("the one that hangs was told of %d", told)
	}
	close(release)
	settled(t, d, "hangs", 3)
	if s := d.Stats()[0]; s.Tries < s.Delivered {
		t.Errorf("Stats = %+v", s)
	}
}

// What never ends its answer was told all the same, and is not read to its end.
func TestEndlessAnswer(t *testing.T) {
	r := newRing()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		for q.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	d, stop := deliver(t, Config{Source: r.source, Hooks: []Hook{hookAt("endless", s.URL)}})
	r.tell("alarm", "alarm")
	settled(t, d, "endless", 2)
	stop()
	d.client.Timeout = 0
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := d.Test(ctx, "endless"); err != nil || out.Err != nil || out.Took >= patience {
		t.Errorf("Test = %+v, %v, want it taken before the answer ends", out, err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	r := newRing()
	var log strings.Builder
	elsewhere, at := newReceiver(t, nil)
	var mu sync.Mutex
	answers := http.StatusTemporaryRedirect
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Location", at)
		w.WriteHeader(answers)
	}))
	t.Cleanup(moved.Close)
	d, stop := deliver(t, Config{
		Source: r.source, Hooks: []Hook{hookAt("moved", moved.URL+"/its-secret-path")},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	out, err := d.Test(t.Context(), "moved")
	if err != nil || out.Status != http.StatusTemporaryRedirect || out.Err == nil {
		t.Errorf("Test = %+v, %v, want a status of 307 and an error", out, err)
	}
	r.tell("alarm")
	mu.Lock()
	answers = http.StatusOK
	mu.Unlock()
	settled(t, d, "moved", 1)
	stop()
	if elsewhere.tries() > 0 {
		t.Error("it went where the redirect says")
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log has the URL: %s", log.String())
	}
}

func TestTLSIsVerified(t *testing.T) {
	r := newRing()
	c := &receiver{t: t, got: make(chan Message, 10)}
	s := httptest.NewUnstartedServer(c)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	d, _ := deliver(t, Config{Source: r.source, Hooks: []Hook{hookAt("stranger", s.URL+"/its-secret-path")}})
	out, err := d.Test(t.Context(), "stranger")
	var unknown x509.UnknownAuthorityError
	if err != nil || !errors.As(out.Err, &unknown) || strings.Contains(out.Err.Error(), "secret") {
		t.Errorf("Test = %+v, %v, want an unknown authority, and no URL", out, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	d, _ = deliver(t, Config{Source: r.source, Roots: roots, Hooks: []Hook{hookAt("known", s.URL)}})
	r.tell("alarm")
	want(t, "known", c.next(1), []uint64{1})
	if out, err := d.Test(t.Context(), "known"); err != nil || out.Err != nil || out.Status != 200 {
		t.Errorf("Test = %+v, %v", out, err)
	}
	if m := <-c.got; m.Kind != KindTest || m.Seq != 0 || !strings.HasPrefix(m.ID, "shop-0-") {
		t.Errorf("the test was %+v", m)
	}
	if _, err := d.Test(t.Context(), "nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("Test of nobody = %v, want ErrUnknown", err)
	}
}

func TestRestartGoesOn(t *testing.T) {
	r, dir := newRing(), t.TempDir()
	c, at := newReceiver(t, nil)
	hooks := []Hook{hookAt("pager", at)}
	d, stop := deliver(t, Config{Source: r.source, Dir: dir, Hooks: hooks})
	r.tell("alarm", "alarm")
	want(t, "before", c.next(2), []uint64{1, 2})
	settled(t, d, "pager", 2)
	stop()
	r.tell("alarm")
	deliver(t, Config{Source: r.source, Dir: dir, Hooks: hooks})
	want(t, "after", c.next(1), []uint64{3})
}

// Only one member delivers, and the next one goes on from what it heard of that one.
func TestOnlyWhoIsActiveDelivers(t *testing.T) {
	r := newRing()
	c, at := newReceiver(t, nil)
	hooks := []Hook{hookAt("pager", at)}
	r.tellAt(time.Now().Add(-time.Hour), "mode") // before either knew of the hook
	first, _ := deliver(t, Config{Source: r.source, Hooks: hooks})
	second, _ := deliver(t, Config{Source: r.source, Hooks: hooks})
	second.Active(false)
	settled(t, second, "pager", 1)
	r.tell("alarm", "alarm")
	want(t, "first", c.next(2), []uint64{2, 3})
	settled(t, first, "pager", 3)
	if told := second.Cursors()["pager"]; told != 1 {
		t.Errorf("the second member thinks that the hook was told of %d, want 1", told)
	}
	second.Learn(first.Cursors())
	second.Learn(map[string]uint64{"pager": 2, "stranger": 9}) // old news, and somebody else's
	if got := second.Cursors(); got["pager"] != 3 || len(got) != 1 {
		t.Errorf("Cursors after Learn = %v, want pager at 3 and nobody else", got)
	}
	first.Active(false)
	second.Active(true)
	r.tell("alarm")
	want(t, "second", c.next(1), []uint64{4})
	settled(t, second, "pager", 4)
	if n := c.tries(); n != 3 {
		t.Errorf("%d requests for 3 events", n)
	}
}

func TestBrokenCursorsTellAll(t *testing.T) {
	r, dir := newRing(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, cursorsName), []byte(`{"v":2,"told":{"pager":9}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.tellAt(time.Now().Add(-25*time.Hour), "mode")
	r.tellAt(time.Now().Add(-time.Hour), "mode")
	c, at := newReceiver(t, nil)
	deliver(t, Config{Source: r.source, Dir: dir, Hooks: []Hook{hookAt("pager", at)}})
	want(t, "pager", c.next(1), []uint64{2})
}

func TestNewRefuses(t *testing.T) {
	hook := func(change func(*Hook)) []Hook {
		h := hookAt("pager", "https://hooks.example/secret-path")
		change(&h)
		return []Hook{h}
	}
	for name, hooks := range map[string][]Hook{
		"no name":         hook(func(h *Hook) { h.Name = "" }),
		"no scheme":       hook(func(h *Hook) { h.URL = "hooks.example/secret-path" }),
		"plain elsewhere": hook(func(h *Hook) { h.URL = "http://hooks.example/secret-path" }),
		"not loopback":    hook(func(h *Hook) { h.URL = "http://127.0.0.1.example/secret-path" }),
		"no URL":          hook(func(h *Hook) { h.URL = "https://secret-path:port" }),
		"short secret":    hook(func(h *Hook) { h.Secret = []byte("0123456789abcde") }),
		"no topic":        hook(func(h *Hook) { h.SNS = true }),
		"two of a name":   append(hook(func(*Hook) {}), hook(func(*Hook) {})...),
		"too many":        make([]Hook, maxHooks+1),
	} {
		_, err := New(Config{Deployment: "shop", Source: newRing().source, Dir: t.TempDir(), Hooks: hooks})
		if !errors.Is(err, errConfig) || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%s: New = %v, want errConfig without the URL", name, err)
		}
	}
	if _, err := New(Config{Deployment: "shop", Source: newRing().source, Dir: t.TempDir(), Hooks: hook(func(*Hook) {})}); err != nil {
		t.Errorf("New = %v", err)
	}
}

// What the disk holds is taken whole or refused.
func FuzzParseCursors(f *testing.F) {
	f.Add([]byte(`{"v":1,"told":{"pager":12}}`))
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`{"v":2,"told":{}}`))
	f.Add([]byte(`{"v":1,"told":{"a":-1}}`))
	f.Add([]byte(`{"v":1}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		told, err := parseCursors(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(cursorBytes{version, told})
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxCursors {
			return // names that are longer when they are escaped: never ours
		}
		if more, err := parseCursors(again); err != nil || len(more) != len(told) {
			t.Errorf("what was read can't be read again: %v", err)
		}
	})
}
