package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// TestMain wants no goroutine and no file to be left of any test.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lab")
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // databases run as another user
	}
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			fmt.Fprintf(os.Stderr, "the tests are done, %q is left, %v\n", left, err)
			code = 1
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// inLab runs a test on a lab in a bubble, and closes it. The bubble itself fails
// if a goroutine is left then.
func inLab(t *testing.T, topology string, test func(*testing.T, *Lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// A bubble begins in the year 2000, before the first stamp there is.
		<-time.After(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		l, err := New(t.Context(), Config{Topology: topology, ShopURL: "http://127.0.0.1:8080"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			for range 2 { // the second does nothing
				if err := l.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
		}()
		test(t, l)
	})
}

func must(t *testing.T, l *Lab, a console.Action) console.State {
	t.Helper()
	if err := l.Do(t.Context(), a); err != nil {
		t.Fatalf("Do(%+v) = %v", a, err)
	}
	return l.State()
}

func linkOf(t *testing.T, s console.State, from, to string) console.Link {
	t.Helper()
	for _, l := range s.Links {
		if l.From == from && l.To == to {
			return l
		}
	}
	t.Fatalf("the state has no link from %s to %s", from, to)
	return console.Link{}
}

func newVisitor(l *Lab) *visitor { return &visitor{edge: l.Handler(), cookies: map[string]string{}} }

func (v *visitor) login(t *testing.T, region, user string) {
	t.Helper()
	v.ask(t, http.MethodPost, region, "/login", url.Values{"user": {user}, "password": {"any"}})
}

func (v *visitor) look(t *testing.T, region string) (got view) {
	t.Helper()
	if err := json.Unmarshal(v.ask(t, http.MethodGet, region, "/api/session", nil).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStateBegins(t *testing.T) {
	for topology, primary := range map[string]string{console.ActiveActive: "", console.ActivePassive: west1} {
		inLab(t, topology, func(t *testing.T, l *Lab) {
			s := l.State()
			if s.Topology != topology || s.Primary != primary || s.ReadAfterWrite != "token" || s.Shop != "http://127.0.0.1:8080" {
				t.Errorf("state = %s, primary %q, %s, shop %s", s.Topology, s.Primary, s.ReadAfterWrite, s.Shop)
			}
			wantRegions(t, s)
			wantWholeLinks(t, s)
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("the state has no JSON: %v", err)
			}
		})
	}
}

func wantRegions(t *testing.T, s console.State) {
	t.Helper()
	var got, want []console.Region
	for i, p := range places() {
		want = append(want, console.Region{
			Name: p.name, ID: uint8(p.id), Alive: true, Primary: s.Primary == "" || s.Primary == p.name,
			Shop: "http://127.0.0.1:8080/_edge?to=" + p.name,
		})
		if i < len(s.Regions) {
			r := s.Regions[i]
			got = append(got, console.Region{Name: r.Name, ID: r.ID, Alive: r.Alive, Primary: r.Primary, Shop: r.Shop})
		}
	}
	if !reflect.DeepEqual(got, want) || len(s.Regions) != len(want) {
		t.Errorf("Regions = %+v, want %+v", s.Regions, want)
	}
}

// wantWholeLinks wants all links to be up and as they began.
func wantWholeLinks(t *testing.T, s console.State) {
	t.Helper()
	for _, k := range s.Links {
		whole := console.Plane{DelayMs: *millis(distance(k.From, k.To)), JitterMs: *millis(jitter)}
		if !k.Connected || k.HeardMs == nil || k.Calls != whole || k.Replication != whole {
			t.Errorf("link %s → %s = %+v, want it up, heard and %+v", k.From, k.To, k, whole)
		}
	}
	if len(s.Links) != 6 {
		t.Errorf("%d links, want 6", len(s.Links))
	}
}

func TestStateCounts(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		v := newVisitor(l)
		v.login(t, west1, "alice")
		v.ask(t, http.MethodPost, europe, "/cart/add", url.Values{"item": {"lamp"}})
		<-time.After(time.Second)
		s := l.State()
		if s.Totals != console.Sum(s.Regions) || s.Totals.Requests != 2 || s.Totals.Writes < 2 {
			t.Errorf("totals = %+v, want the sum: 2 requests and their writes", s.Totals)
		}
		for _, r := range s.Regions {
			if r.Records != 2 || r.Bytes == 0 {
				t.Errorf("%s keeps %d records of %d bytes, want alice and her session", r.Name, r.Records, r.Bytes)
			}
		}
		for _, k := range s.Links {
			if k.LagEntries != 0 || k.LagMs == nil || *k.LagMs != 0 {
				t.Errorf("%s → %s lags by %d entries, %v ms, a second later, want 0", k.From, k.To, k.LagEntries, k.LagMs)
			}
		}
	})
}

func TestDoLink(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		whole := linkOf(t, l.State(), west1, europe).Calls
		cut, slow := whole, whole
		cut.Cut, cut.Changed = true, true
		slow.DelayMs, slow.Loss, slow.Changed = 500, 0.25, true
		link := func(plane string) console.Action {
			return console.Action{Kind: console.ActLink, From: west1, To: europe, Plane: plane}
		}
		for _, step := range []struct {
			plane              string
			cut                *bool
			delay              *int
			loss               *float64
			calls, replication console.Plane
		}{
			{console.PlaneReplication, new(true), nil, nil, whole, cut},
			{console.PlaneCalls, nil, new(500), new(0.25), slow, cut},
			{"", nil, nil, nil, whole, whole}, // healed
			{console.PlaneAll, new(true), nil, nil, cut, cut},
			{console.PlaneAll, new(false), nil, nil, whole, whole},
		} {
			a := link(step.plane)
			a.Cut, a.DelayMs, a.Loss = step.cut, step.delay, step.loss
			if step.plane == "" {
				a.Kind = console.ActHeal
			}
			s := must(t, l, a)
			if got := linkOf(t, s, west1, europe); got.Calls != step.calls || got.Replication != step.replication {
				t.Errorf("after %+v: calls %+v, replication %+v, want %+v and %+v", a, got.Calls, got.Replication, step.calls, step.replication)
			}
			if back := linkOf(t, s, europe, west1); back.Calls != whole || back.Replication != whole {
				t.Errorf("after %+v the other direction is %+v, want it as it was", a, back)
			}
		}
	})
}

func TestDoRegionAndHeal(t *testing.T) {
	inLab(t, console.ActivePassive, func(t *testing.T, l *Lab) {
		v := newVisitor(l)
		v.login(t, west1, "alice")
		<-time.After(time.Second)
		s := must(t, l, console.Action{Kind: console.ActRegion, Region: west1, Alive: new(false)})
		if s.Regions[0].Alive || !s.Regions[1].Alive {
			t.Errorf("%s killed: alive = %v, %s = %v", west1, s.Regions[0].Alive, west2, s.Regions[1].Alive)
		}
		if got := v.look(t, west1); got.Region != west2 || got.User != "alice" {
			t.Errorf("asked for the dead %s: %s shows %q, want %s and alice", west1, got.Region, got.who(), west2)
		}
		must(t, l, console.Action{Kind: console.ActLink, From: west2, To: europe, Plane: console.PlaneAll, Cut: new(true)})
		s = must(t, l, console.Action{Kind: console.ActHeal})
		if !s.Regions[0].Alive {
			t.Errorf("healed: %s is dead still", west1)
		}
		for _, k := range s.Links {
			if k.Calls.Changed || k.Replication.Changed {
				t.Errorf("healed: %+v, want it as it was", k)
			}
		}
		<-time.After(10 * time.Second)
		if got := v.look(t, west1); got.Region != west1 || got.User != "alice" || got.Rung != "normal" {
			t.Errorf("10 s later %s shows %q, %s, want %s, alice, normal", got.Region, got.who(), got.Rung, west1)
		}
		s = must(t, l, console.Action{Kind: console.ActRegion, Region: europe, Alive: new(true)}) // it is
		if !s.Regions[2].Alive {
			t.Errorf("%s, revived alive, is dead", europe)
		}
	})
}

func TestDoTopology(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		v := newVisitor(l)
		v.login(t, west1, "alice")
		last := l.State().LastEvent
		s := must(t, l, console.Action{Kind: console.ActTopology, Topology: console.ActivePassive})
		if s.Topology != console.ActivePassive || s.Primary != west1 || s.Totals.Requests != 0 {
			t.Errorf("started over: %s, primary %q, %d requests", s.Topology, s.Primary, s.Totals.Requests)
		}
		events, err := l.Events(t.Context(), last)
		if err != nil || events[len(events)-1].Kind != console.KindTopology || s.LastEvent <= last {
			t.Errorf("events after %d = %+v, %v, want one that tells it, numbered on", last, events, err)
		}
		if got := v.look(t, west1); got.User != "" {
			t.Errorf("started over, %s shows %s, want nobody", west1, got.User)
		}
		v.login(t, europe, "alice")
		if got := v.look(t, west2); got.User != "alice" {
			t.Errorf("after a new login %s shows %q, want alice", west2, got.who())
		}
	})
}

// The page asks twice a second how things are, also while they start over; and
// who asks for it twice is told so.
func TestStateDoesNotWaitForATopology(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		again := console.Action{Kind: console.ActTopology, Topology: console.ActivePassive}
		done := make(chan error, 1)
		go func() { done <- l.Do(t.Context(), again) }()
		synctest.Wait() // Regions find each other
		if s := l.State(); s.Topology != console.ActiveActive {
			t.Errorf("meanwhile the topology is %s, want %s", s.Topology, console.ActiveActive)
		}
		var refusal *console.Refusal
		if err := l.Do(t.Context(), again); !errors.As(err, &refusal) || refusal.Next == "" {
			t.Errorf("asked for again meanwhile = %v, want a refusal that says what to do", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Do(%+v) = %v", again, err)
		}
		if s := l.State(); s.Topology != console.ActivePassive {
			t.Errorf("then it is %s, want %s", s.Topology, console.ActivePassive)
		}
	})
}

func TestDoRefuses(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		last := l.State().LastEvent
		for _, a := range []console.Action{
			{},
			{Kind: "drop"},
			{Kind: console.ActRegion, Region: "mars-1", Alive: new(false)},
			{Kind: console.ActRegion, Region: west1},
			{Kind: console.ActTopology, Topology: "ring"},
			{Kind: console.ActHeal, From: west1},
			{Kind: console.ActLink, From: west1, To: west1, Plane: console.PlaneAll, Cut: new(true)},
			{Kind: console.ActLink, From: west1, To: west2, Cut: new(true)},
		} {
			if refusal := (*console.Refusal)(nil); !errors.As(l.Do(t.Context(), a), &refusal) {
				t.Errorf("Do(%+v) = nil, want a refusal", a)
			}
		}
		s := l.State()
		for _, k := range s.Links {
			if k.Calls.Changed || k.Replication.Changed || s.LastEvent != last {
				t.Errorf("refused, and yet %+v, event %d (%d before)", k, s.LastEvent, last)
			}
		}
	})
}

func TestDoAfterClose(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Do(t.Context(), console.Action{Kind: console.ActTopology, Topology: console.ActivePassive}); err == nil {
			t.Error("Do(topology) after Close = nil, want an error: who would close it?")
		}
		for _, a := range []console.Action{{Kind: console.ActRegion, Region: west1, Alive: new(false)}, {Kind: console.ActHeal}} {
			if refusal := (*console.Refusal)(nil); !errors.As(l.Do(t.Context(), a), &refusal) {
				t.Errorf("Do(%+v) after Close = nil, want a refusal", a)
			}
		}
		if _, err := l.Events(t.Context(), l.State().LastEvent); !errors.Is(err, errFeedClosed) {
			t.Errorf("Events after Close = %v, want %v", err, errFeedClosed)
		}
	})
}

func TestNewRefusesATopology(t *testing.T) {
	if l, err := New(t.Context(), Config{Topology: "ring"}); err == nil || l != nil || !strings.Contains(err.Error(), `"ring"`) {
		t.Errorf("New(ring) = %v, %v, want no lab and an error that names it", l, err)
	}
}

func TestNewRefusesAnEngine(t *testing.T) {
	if l, err := New(t.Context(), Config{Engine: "stone"}); err == nil || l != nil || !strings.Contains(err.Error(), `"stone"`) {
		t.Errorf("New(stone) = %v, %v, want no lab and an error that names it", l, err)
	}
	t.Setenv("PATH", t.TempDir())
	if l, err := New(t.Context(), Config{Engine: Valkey}); !errors.Is(err, valkeyserver.ErrMissing) || l != nil {
		t.Errorf("New(valkey) without a server on the PATH = %v, %v, want no lab and %v", l, err, valkeyserver.ErrMissing)
	}
}

// Regions don't die while they start over, and the other way round.
func TestLifeWaitsForATopology(t *testing.T) {
	inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
		done, died := make(chan error, 1), make(chan error, 1)
		go func() {
			done <- l.Do(t.Context(), console.Action{Kind: console.ActTopology, Topology: console.ActivePassive})
		}()
		synctest.Wait()
		go func() {
			died <- l.Do(t.Context(), console.Action{Kind: console.ActRegion, Region: west1, Alive: new(false)})
		}()
		synctest.Wait()
		if s := l.State(); !s.Regions[0].Alive || s.Topology != console.ActiveActive {
			t.Errorf("meanwhile %s is alive: %v, as %s, want the Regions as they were", west1, s.Regions[0].Alive, s.Topology)
		}
		if err := errors.Join(<-done, <-died); err != nil {
			t.Fatal(err)
		}
		if s := l.State(); s.Regions[0].Alive || s.Topology != console.ActivePassive {
			t.Errorf("then %s is alive: %v, as %s, want it dead among the new ones", west1, s.Regions[0].Alive, s.Topology)
		}
	})
}

// Whoever sees the console learns which session did what, not whose cookies
// would open it.
func TestEventsNameNobody(t *testing.T) {
	inLab(t, console.ActivePassive, func(t *testing.T, l *Lab) {
		const user = "alice-of-wonderland"
		v, other := newVisitor(l), newVisitor(l)
		seen := []map[string]string{}
		do := func(v *visitor, region, path string, form url.Values) {
			v.ask(t, http.MethodPost, region, path, form)
			seen = append(seen, maps.Clone(v.cookies))
		}
		for _, b := range []*visitor{v, other} {
			do(b, west1, "/login", url.Values{"user": {user}, "password": {"any"}})
		}
		must(t, l, console.Action{Kind: console.ActLink, From: europe, To: west1, Plane: console.PlaneAll, Cut: new(true)})
		do(v, europe, "/cart/add", url.Values{"item": {"lamp"}})
		must(t, l, console.Action{Kind: console.ActHeal})
		<-time.After(20 * time.Second)
		do(v, west2, "/logout", nil)
		do(other, europe, "/logout/everywhere", nil)
		events, err := l.Events(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for _, e := range events {
			kinds[e.Kind]++
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), user) {
				t.Errorf("event %s names the user", text)
			}
			for _, cookies := range seen {
				wantNoPart(t, string(text), cookies)
			}
		}
		for _, kind := range []string{console.KindLogin, console.KindWrite, console.KindTakeBack, console.KindLogout, console.KindRevoke, console.KindLink, console.KindRung} {
			if kinds[kind] == 0 {
				t.Errorf("no event of kind %q among %v: it was not looked at", kind, kinds)
			}
		}
	})
}

// wantNoPart wants no part of the cookies in a text that is long enough to help
// anybody: 8 of their characters are 48 bits.
func wantNoPart(t *testing.T, text string, cookies map[string]string) {
	t.Helper()
	const part = 8
	for name, value := range cookies {
		for i := 0; i+part <= len(value); i++ {
			if strings.Contains(text, value[i:i+part]) {
				t.Errorf("event %s has %q of the cookie %s", text, value[i:i+part], name)
				return
			}
		}
	}
}
