package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// A member is one that agrees with itself, by the ledger's own rules.
type member struct {
	mu      sync.Mutex
	state   ledger.State
	changed chan struct{}
	leader  string
	judged  bool
	seen    []control.Seen
	fails   error // what Propose fails with
	checks  []steer.Check
	lag     time.Duration
	planned []bool // of the prechecks
}

func (m *member) State() (ledger.State, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

func (m *member) Propose(_ context.Context, c ledger.Command) (ledger.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return ledger.State{}, m.fails
	}
	c.At = time.Now().UTC()
	next, err := m.state.Apply(m.state.Index+1, c)
	if err != nil {
		return m.state, err
	}
	m.state = next
	close(m.changed)
	m.changed = make(chan struct{})
	return next, nil
}

func (m *member) Status() control.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return control.Status{
		Self: "us-west-1", Leader: m.leader, State: m.state, Members: m.seen, Holds: m.state.Lease.Epoch, Judged: m.judged,
		Verdict: judge.Verdict{
			At: time.Now(), Epoch: 7, Ruled: true,
			Findings: []judge.Finding{{Kind: judge.Degrade, From: "us-west-2", To: "us-west-2", Rule: judge.RuleBehind, Reason: "it is behind", Lag: time.Second}},
			Held:     []judge.Finding{{Kind: judge.FailOver, From: "us-west-1", To: "us-west-2", Act: true, Rule: judge.RuleMode, Reason: "off"}},
		},
		Watch: m.state.Watch,
	}
}

func (m *member) Precheck(_ context.Context, _ string, planned bool) ([]steer.Check, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader != "us-west-1" {
		return nil, control.ErrNotLeader
	}
	m.planned = append(m.planned, planned)
	return m.checks, nil
}

func (m *member) Behind(context.Context, string) (time.Duration, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lag, true, nil
}

func (m *member) set(do func(*member)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do(m)
}

func setupOf(regions ...string) ledger.Setup {
	s := ledger.Setup{Version: 1, File: "version: 1\nregions:\n- " + strings.Join(regions, "\n- ") + "\n", Regions: regions, Leases: true, Primary: regions[0]}
	var users []string
	for _, r := range regions {
		s.Controls = append(s.Controls, routing.Control{Name: "users-" + r, Region: r}, routing.Control{Name: "write-" + r, Region: r, Writer: true})
		users = append(users, "users-"+r)
	}
	s.Rules = []routing.Rule{
		{Name: "somewhere", Controls: users, Type: routing.AtLeast, Threshold: 1},
		{Name: "gate", Controls: users[1:], Gates: users[:1], Type: routing.Or, Wait: -1},
	}
	return s
}

// founded returns a member of a deployment of two Regions, of which the first leads and
// has the lease, with something of everything.
func founded(t *testing.T) *member {
	t.Helper()
	m := &member{changed: make(chan struct{}), leader: "us-west-1", judged: true, lag: 40 * time.Millisecond}
	m.checks = []steer.Check{{Name: "lease", OK: true, Detail: "epoch 7 of us-west-1"}, {Name: "lag", OK: true, Detail: "40ms"}}
	beat := judge.Beat{Epoch: 7, N: 9, At: time.Now()}
	m.seen = []control.Seen{
		{Member: "us-west-1", ID: 1, Heard: time.Now(), Hears: []string{"us-west-2", "witness"}, Version: "v1", Server: steer.Server{Known: true, Primary: true, Beat: beat}},
		{Member: "us-west-2", ID: 2, Heard: time.Now(), Skew: time.Millisecond, Server: steer.Server{
			Known: true, Follows: "us-west-1", Linked: true, Beat: judge.Beat{Epoch: 7, N: 8, At: beat.At.Add(-40 * time.Millisecond)},
		}},
		{Member: "witness", ID: 16, Witness: true},
	}
	degraded := func(region string, share float64) alarm.Datum {
		return alarm.Datum{Metric: alarm.DegradedShare, Region: region, At: time.Now(), Value: share}
	}
	m.seen[0].Data = []alarm.Datum{{Metric: alarm.WriteP99, Region: "us-west-2", Value: 500}, degraded("us-west-2", 0.25)}
	m.seen[1].Data = []alarm.Datum{degraded("us-west-2", 0.5), degraded("us-west-2", 0.125)}
	m.propose(t, ledger.Command{Describe: &ledger.Describe{Setup: setupOf("us-west-1", "us-west-2"), Epoch: 7}})
	m.propose(t, ledger.Command{Watched: &ledger.Watched{Epoch: 7, Watch: ledger.Watch{
		Alarms: alarm.Statuses{"slow": {State: alarm.Alarming, Since: time.Now(), Reason: "slow"}, "new": {}},
		Judge:  judge.State{Left: []string{"us-west-2"}},
	}}})
	return m
}

func (m *member) propose(t *testing.T, c ledger.Command) {
	t.Helper()
	if _, err := m.Propose(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// failedOver has the lease go to the other Region, and writes be lost and found.
func (m *member) failedOver(t *testing.T, items int) {
	t.Helper()
	m.propose(t, ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "us-west-2", Why: "lost"}})
	s, _ := m.State()
	m.propose(t, ledger.Command{Grant: &ledger.Grant{Newest: s.Newest, Renewals: s.Lease.Renewals, To: "us-west-2", Why: "lost", Lag: 0.25}})
	salvage := &ledger.Salvage{Epoch: 7, Counts: map[ledger.Fate]uint64{ledger.Recovered: 2000, ledger.Lost: 1}, Note: "a note"}
	for range items {
		salvage.Items = append(salvage.Items, ledger.Item{Session: "5f2a", Kind: "fields", At: time.Now(), Fate: ledger.Recovered})
	}
	m.propose(t, ledger.Command{Salvage: salvage})
}

// hooks are webhooks that take everything but one.
type hooks struct{}

func (hooks) Stats() []events.HookStats {
	return []events.HookStats{
		{Name: "pager", Told: 3, Delivered: 2, Tries: 4, Dropped: 1, Status: 200, At: time.Now()},
		{Name: "gone", Err: "post: connection refused"},
	}
}

func (hooks) Test(_ context.Context, name string) (events.Outcome, error) {
	switch name {
	case "pager":
		return events.Outcome{Status: 204, Took: time.Millisecond}, nil
	case "gone":
		return events.Outcome{Took: time.Second, Err: errors.New("post: connection refused")}, nil
	}
	return events.Outcome{}, events.ErrUnknown
}

// The tokens that tests are let in with.
const (
	viewerToken   = "viewer-0123456789abcdef"
	operatorToken = "operator-0123456789abcdef"
)

func configOf(change func(*Config)) Config {
	c := Config{
		Deployment: "shop", Hooks: hooks{}, Tokens: tokensOf(),
		Setup: func(file []byte) (ledger.Setup, error) {
			if bytes.Contains(file, []byte("wrong")) {
				return ledger.Setup{}, errors.New("1:1: wrong; mend it\n2:1: wrong too")
			}
			var regions []string
			for line := range strings.Lines(string(file)) {
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
					regions = append(regions, name)
				}
			}
			return setupOf(regions...), nil
		},
		Feed: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "{\"v\":1}\n") // a test reads it
		}),
	}
	if change != nil {
		change(&c)
	}
	return c
}

// A site is an API that is served, and asked by a test. Each exchange is held against the
// document.
type site struct {
	t     *testing.T
	url   string
	paper *paper
}

func serve(t *testing.T, m *member, change func(*Config)) *site {
	t.Helper()
	h, err := New(m, m, configOf(change))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ReadTimeout = 300 * time.Millisecond
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return &site{t: t, url: s.URL, paper: paperOf(t)}
}

// An asking is what a test asks for.
type asking struct {
	method, path, body string
	token              string // empty: the operator's; "-": none
	kind               string // Content-Type; empty: JSON
	header             map[string]string
}

// ask returns the answer, and its body in into if that is not nil.
func (s *site) ask(q asking, into any) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), q.method, s.url+q.path, strings.NewReader(q.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if q.token == "" {
		q.token = operatorToken
	}
	if q.token != "-" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	if q.kind == "" {
		q.kind = "application/json"
	}
	if q.body != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.paper.exchange(r, []byte(q.body), a, body)
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			s.t.Errorf("%s %s: decode %s: %v", q.method, q.path, body, err)
		}
	}
	return a
}

// refused asks for what must be refused, and returns the problem.
func (s *site) refused(q asking, status int, kind Kind) Problem {
	s.t.Helper()
	var p Problem
	a := s.ask(q, &p)
	if a.StatusCode != status || p.Status != status || p.Type != typeBase+string(kind) || p.Title == "" || p.Detail == "" || p.Next == "" ||
		a.Header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%s %s: status %d, %+v, want %d and a problem of kind %s with what to do", q.method, q.path, a.StatusCode, p, status, kind)
	}
	return p
}
