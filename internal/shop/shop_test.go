package shop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/shop"
)

// A failing engine is out of reach for writes, or for everything.
type failing struct {
	engine.Engine
	writes, reads atomic.Bool
}

func (f *failing) Unwrap() engine.Engine { return f.Engine }

func (f *failing) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if f.reads.Load() {
		return crdt.Record{Key: k}, engine.ErrUnreachable
	}
	return f.Engine.Read(ctx, k, seen)
}

func (f *failing) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if f.writes.Load() {
		return crdt.Dot{}, engine.ErrUnreachable
	}
	return f.Engine.Apply(ctx, k, op)
}

// A door is a shop that is open.
type door struct {
	url    string
	shop   *shop.Shop
	engine *failing
}

// RoundTrip serves a request without a network, so that tests can own the time.
func (d door) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	served := r.Clone(r.Context())
	if served.Body == nil {
		served.Body = http.NoBody
	}
	d.shop.ServeHTTP(w, served)
	res := w.Result()
	res.Request = r
	return res, nil
}

// clock is time.Now moved on, since a synctest bubble begins in the year 2000,
// where Roam's time has not.
func clock() time.Time { return time.Now().AddDate(30, 0, 0) }

// open opens a shop of one Region in memory.
func open(t *testing.T, c shop.Config) door {
	t.Helper()
	here := region(t, 1, "eu-west-1")
	return openAt(t, c, here)
}

// region returns a Region that keeps its sessions in memory and can fail.
func region(t *testing.T, id crdt.Region, name string) roam.Region {
	t.Helper()
	mem, err := memory.New(id, memory.Config{Clock: clock})
	if err != nil {
		t.Fatalf("memory.New: %v", err)
	}
	t.Cleanup(func() {
		if err := mem.Close(); err != nil {
			t.Errorf("Engine.Close() = %v", err)
		}
	})
	return roam.Region{ID: id, Name: name, Engine: &failing{Engine: mem}}
}

// openAt opens a shop in here, with peers that nothing replicates to.
func openAt(t *testing.T, c shop.Config, here roam.Region, peers ...roam.Region) door {
	t.Helper()
	store, err := roam.Open(t.Context(), roam.Config{
		Here: here, Peers: peers, WriteBudget: 400 * time.Millisecond, Clock: clock,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	c.Region = here.Name
	s, err := shop.New(store, key(), c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Store.Close() = %v", err)
		}
	})
	fails, ok := engine.As[*failing](here.Engine)
	if !ok {
		t.Fatalf("Region %s can't fail", here.Name)
	}
	return door{fmt.Sprintf("https://shop.test:%d", here.ID), s, fails}
}

func key() []byte { return []byte("a key for tests, not for a cookie") }

// A visitor is a browser in a shop.
type visitor struct {
	t      *testing.T
	door   door
	client *http.Client
}

func (d door) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, d, &http.Client{Jar: jar, Transport: d}}
}

// stays returns v, not following redirects.
func (v *visitor) stays() *visitor {
	c := *v.client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &visitor{v.t, v.door, &c}
}

// goesTo returns v at another door. Cookies do not know ports, so they come along.
func (v *visitor) goesTo(d door) *visitor {
	c := *v.client
	c.Transport = d
	return &visitor{v.t, d, &c}
}

// thief returns a visitor with a copy of v's cookies.
func (v *visitor) thief() *visitor {
	out := v.door.visitor(v.t)
	u, err := url.Parse(v.door.url)
	if err != nil {
		v.t.Fatal(err)
	}
	out.client.Jar.SetCookies(u, v.client.Jar.Cookies(u))
	return out
}

func (v *visitor) do(method, path, contentType, body string, header ...string) (*http.Response, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.door.url+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(b)
}

func (v *visitor) get(path string) (*http.Response, string) {
	v.t.Helper()
	return v.do(http.MethodGet, path, "", "")
}

// post posts a form of names and values.
func (v *visitor) post(path string, form ...string) (*http.Response, string) {
	v.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	return v.do(http.MethodPost, path, "application/x-www-form-urlencoded", values.Encode())
}

// An account is what the API tells of a session.
type account struct {
	Region, Rung, State, User, Session, Served, Theme string
	Left                                              bool
	Visits                                            int64
	Waiting                                           int `json:"revocations_waiting"`
	Cart                                              []struct {
		Item     string
		Quantity int
	}
}

// account asks the API.
func (v *visitor) account() account {
	v.t.Helper()
	res, body := v.get("/api/session")
	if res.StatusCode != http.StatusOK {
		v.t.Fatalf("GET /api/session = %d %s", res.StatusCode, body)
	}
	var a account
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		v.t.Fatalf("GET /api/session: %v in %s", err, body)
	}
	return a
}

func (a account) quantity(item string) int {
	for _, l := range a.Cart {
		if l.Item == item {
			return l.Quantity
		}
	}
	return 0
}

// wantText fails unless the element called id has exactly this text.
func wantText(t *testing.T, body, id, want string) {
	t.Helper()
	_, rest, ok := strings.Cut(body, ` id="`+id+`"`)
	if !ok {
		t.Errorf("no element %q in the page, want one with %q", id, want)
		return
	}
	_, rest, _ = strings.Cut(rest, ">")
	rest = strings.TrimPrefix(rest, "<code>")
	if got, _, _ := strings.Cut(rest, "<"); got != want {
		t.Errorf("element %q = %q, want %q", id, got, want)
	}
}
