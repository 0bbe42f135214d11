package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/quorum"
)

// diff compares but for times.
func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreTypes(time.Time{})); d != "" {
		t.Errorf("%s: want -, got +: %s", what, d)
	}
}

func statusOfSite(t *testing.T, m *member) (s Status) {
	t.Helper()
	serve(t, m, nil).ask(asking{method: "GET", path: "/v1/status", token: viewerToken}, &s)
	return s
}

func TestStatus(t *testing.T) {
	m := founded(t)
	m.propose(t, ledger.Command{Plan: &ledger.Plan{To: "us-west-2", By: "oncall"}})
	s := statusOfSite(t, m)
	diff(t, "lease", &Lease{Epoch: 7, Holder: "us-west-1", Held: 7}, s.Lease)
	diff(t, "handover", &Handover{ID: 3, From: "us-west-1", To: "us-west-2", Epoch: 8, Step: "arming", By: "oncall"}, s.Handover)
	if h := s.Handover; h.Over() || h.Planned.IsZero() || !h.Armed.IsZero() {
		t.Errorf("handover %+v, want it planned and not armed", h)
	}
	none, lag, half := 0.0, 40.0, 0.5
	diff(t, "Regions", []Region{
		{Name: "us-west-1", Role: "primary", Heard: true, Engine: true, Primary: true, LagMS: &none, Away: true, Candidate: true},
		{Name: "us-west-2", Role: "secondary", Heard: true, Engine: true, Follows: "us-west-1", Linked: true, LagMS: &lag, Away: true, DegradedShare: &half},
	}, s.Regions)
	diff(t, "members", []Seen{
		{Name: "us-west-1", ID: 1, Self: true, Leads: true, Hears: []string{"us-west-2", "witness"}, Version: "v1"},
		{Name: "us-west-2", ID: 2, Hears: []string{}, SkewMS: 1},
		{Name: "witness", ID: 16, Witness: true, Hears: []string{}},
	}, s.Members)
	s.Lease, s.Handover, s.Regions, s.Members = nil, nil, nil, nil
	diff(t, "status", Status{
		Deployment: "shop", Self: "us-west-1", Leader: "us-west-1", Index: 3, Topology: 1, Receipts: []Receipt{},
		Alarms: []Alarm{{Name: "new", State: "INSUFFICIENT_DATA"}, {Name: "slow", State: "ALARM", Reason: "slow"}},
		Verdict: &Verdict{
			Epoch: 7, Ruled: true, Kind: "degrade",
			Findings: []Finding{{Kind: "degrade", From: "us-west-2", To: "us-west-2", Rule: "behind", Reason: "it is behind", LagMS: 1000}},
			Held:     []Finding{{Kind: "fail-over", From: "us-west-1", To: "us-west-2", Act: true, Rule: "mode", Reason: "off"}},
		},
		Controls: []Control{
			{Name: "users-us-west-1", Region: "us-west-1"},
			{Name: "write-us-west-1", Region: "us-west-1", Writer: true, On: true},
			{Name: "users-us-west-2", Region: "us-west-2"},
			{Name: "write-us-west-2", Region: "us-west-2", Writer: true},
		},
	}, s)
}

// What the judge found is known to the one that leads. What is old is not heard.
func TestStatusOfOthers(t *testing.T) {
	m := founded(t)
	m.set(func(m *member) {
		m.judged = false
		m.seen[1].Heard = time.Now().Add(-3 * time.Second)
		m.seen[1].Server.Beat.Epoch = 6
	})
	s := statusOfSite(t, m)
	if s.Verdict != nil || len(s.Alarms) != 2 {
		t.Errorf("verdict %+v, alarms %+v, want none and two", s.Verdict, s.Alarms)
	}
	if west := s.Regions[1]; west.Heard || west.LagMS != nil || west.DegradedShare == nil || *west.DegradedShare != 0.25 {
		t.Errorf("Region %+v, want one that is not heard, with no lag, and what others were told of its answers", west)
	}
}

// A status is waited for longer than the server reads, and comes when something is agreed.
func TestStatusIsWaitedFor(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	begun := time.Now()
	var was, is Status
	s.ask(asking{method: "GET", path: fmt.Sprintf("/v1/status?after=%d&wait_ms=600", 2)}, &was)
	if took := time.Since(begun); was.Index != 2 || took < 600*time.Millisecond {
		t.Errorf("index %d after %v, want 2 after 600 ms", was.Index, took)
	}
	go func() {
		<-time.After(50 * time.Millisecond)
		_, _ = m.Propose(context.Background(), ledger.Command{Steer: &ledger.Steer{Mode: "advise"}}) // seen below
	}()
	s.ask(asking{method: "GET", path: fmt.Sprintf("/v1/status?after=%d", was.Index)}, &is)
	if is.Index != 3 || is.Mode != "advise" {
		t.Errorf("index %d, mode %s, want 3 and advise", is.Index, is.Mode)
	}
	for _, query := range []string{"after=-1", "after=x", "after=1&wait_ms=30001"} {
		s.refused(asking{method: "GET", path: "/v1/status?" + query}, 400, KindRequest)
	}
}

func TestSwitchover(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	ask := func(body string) asking { return asking{method: "POST", path: "/v1/switchover", body: body} }
	var dry, begun Moving
	s.ask(ask(`{"to":"us-west-2","dry_run":true}`), &dry)
	checks := []Check{{Name: "lease", OK: true, Detail: "epoch 7 of us-west-1"}, {Name: "lag", OK: true, Detail: "40ms"}}
	diff(t, "dry run", Moving{OK: true, Checks: checks}, dry)
	if state, _ := m.State(); state.Handover.ID != 0 {
		t.Fatal("a dry run has planned it")
	}
	if a := s.ask(ask(`{"to":"us-west-2","by":"alice"}`), &begun); a.StatusCode != http.StatusAccepted {
		t.Errorf("status %d, want 202", a.StatusCode)
	}
	diff(t, "begun", Moving{OK: true, Checks: checks, Begun: true, ID: 3, Epoch: 8}, begun)
	if state, _ := m.State(); state.Handover.By != "oncall (alice)" || state.Handover.To != "us-west-2" {
		t.Errorf("planned %+v", state.Handover)
	}
	s.refused(ask(`{"to":"us-west-2"}`), 409, KindBusy)
	var done Done
	if a := s.ask(asking{method: "DELETE", path: "/v1/switchover"}, &done); a.StatusCode != http.StatusOK || done.Index != 4 {
		t.Errorf("cancel: status %d, %+v", a.StatusCode, done)
	}
	if state, _ := m.State(); state.Handover.Step != ledger.Failed || state.Handover.Why != "cancelled by oncall" {
		t.Errorf("cancelled: %+v", state.Handover)
	}
	s.refused(asking{method: "DELETE", path: "/v1/switchover"}, 409, KindConflict)
	m.set(func(m *member) { m.checks[1].OK = false })
	if p := s.refused(ask(`{"to":"us-west-2"}`), 409, KindChecks); len(p.Checks) != 2 || !strings.Contains(p.Detail, "lag") {
		t.Errorf("checks that fail: %+v", p)
	}
	if slices.Contains(m.planned, false) {
		t.Error("the checks of a failover were asked for")
	}
}

func TestMovesAreReadStrictly(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	ask := func(body string) asking { return asking{method: "POST", path: "/v1/switchover", body: body} }
	s.refused(ask(`{"to":"us-west-2","force":true}`), 422, KindInvalid)
	s.refused(ask(`{}`), 422, KindInvalid)
	s.refused(ask(`{"to":"us-west-2","dryrun":true}`), 400, KindRequest)
	s.refused(ask(`{"to":"us-west-2"}{}`), 400, KindRequest)
	s.refused(ask(`{"to":"us-west-2","by":"`+strings.Repeat("x", 101)+`"}`), 422, KindInvalid)
	s.refused(ask(`{"to":"us-west-2","by":"\n"}`), 422, KindInvalid)
	s.refused(ask(`{"to":"`+strings.Repeat("x", maxBody)+`"}`), 413, KindTooLarge)
	s.refused(asking{method: "POST", path: "/v1/switchover", body: `{"to":"us-west-2"}`, kind: "text/plain"}, 415, KindMedia)
	if state, _ := m.State(); state.Handover.ID != 0 {
		t.Errorf("what was refused has planned %+v", state.Handover)
	}
}

func TestFailover(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	ask := func(body string) asking { return asking{method: "POST", path: "/v1/failover", body: body} }
	m.set(func(m *member) { m.checks[1].OK = false })
	if p := s.refused(ask(`{"to":"us-west-2"}`), 409, KindChecks); !strings.Contains(p.Next, "force") {
		t.Errorf("a check that can be forced: %+v", p)
	}
	m.set(func(m *member) { m.checks[0].OK = false })
	if p := s.refused(ask(`{"to":"us-west-2","force":true}`), 409, KindChecks); !strings.Contains(p.Next, "can't be forced") {
		t.Errorf("a check that can't be forced: %+v", p)
	}
	m.set(func(m *member) { m.checks[0].OK = true })
	var dry, begun Moving
	if s.ask(ask(`{"to":"us-west-2","force":true,"dry_run":true}`), &dry); dry.OK || dry.Begun {
		t.Errorf("dry run: %+v", dry)
	}
	if state, _ := m.State(); state.Lease.Deposed {
		t.Fatal("a dry run, or what was refused, has deposed the holder")
	}
	if a := s.ask(ask(`{"to":"us-west-2","force":true}`), &begun); a.StatusCode != http.StatusAccepted || !begun.Begun || begun.Epoch != 8 || begun.OK {
		t.Errorf("status %d, %+v", a.StatusCode, begun)
	}
	if l := func() ledger.Lease { state, _ := m.State(); return state.Lease }(); !l.Deposed || l.Wish != "us-west-2" || l.Lag != 0.04 || l.Why != "asked for by oncall" {
		t.Errorf("lease %+v", l)
	}
	if slices.Contains(m.planned, true) {
		t.Error("the checks of a planned switchover were asked for")
	}
}

func TestReceipts(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 250)
	s := serve(t, m, nil)
	var all Receipts
	if s.ask(asking{method: "GET", path: "/v1/receipts"}, &all); len(all.Receipts) != 1 || all.Receipts[0].Counts["recovered"] != 2000 || all.Receipts[0].LagMS != 250 {
		t.Errorf("receipts %+v", all)
	}
	for query, want := range map[string]int{"": 100, "?offset=200": 50, "?limit=1000": 250, "?offset=1000": 0, "?limit=0": 0, "?offset=249&limit=5": 1} {
		var d Detailed
		if s.ask(asking{method: "GET", path: "/v1/receipts/7" + query}, &d); len(d.Items) != want || d.Total != 250 || d.Receipt.Note != "a note" {
			t.Errorf("%q: %d of %d items, want %d of 250", query, len(d.Items), d.Total, want)
		}
	}
	s.refused(asking{method: "GET", path: "/v1/receipts/8"}, 404, KindNotFound)
	s.refused(asking{method: "GET", path: "/v1/receipts/seven"}, 404, KindNotFound)
	s.refused(asking{method: "GET", path: "/v1/receipts/7?limit=1001"}, 400, KindRequest)
	var status Status
	if s.ask(asking{method: "GET", path: "/v1/status"}, &status); len(status.Receipts) != 1 || status.Regions[0].Owes != 7 {
		t.Errorf("open receipts in the status: %+v", status.Receipts)
	}
	s.refused(asking{method: "POST", path: "/v1/regions/us-west-1/readmit"}, 409, KindConflict) // it owes
	m.propose(t, ledger.Command{Salvage: &ledger.Salvage{Epoch: 7, Closed: true}})
	var done Done
	if a := s.ask(asking{method: "POST", path: "/v1/regions/us-west-1/readmit", body: `{"by":"alice"}`}, &done); a.StatusCode != http.StatusOK {
		t.Errorf("readmit: status %d", a.StatusCode)
	}
	s.refused(asking{method: "POST", path: "/v1/regions/nowhere/readmit"}, 404, KindNotFound)
}

func TestEvents(t *testing.T) {
	m := founded(t)
	for range 4 {
		m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
	}
	s := serve(t, m, nil)
	for query, want := range map[string]string{"": "1-6", "?after=4": "5-6", "?after=6": "none", "?limit=2": "1-2", "?after=2&limit=1": "3-3", "?after=99": "none"} {
		var e Events
		s.ask(asking{method: "GET", path: "/v1/events" + query}, &e)
		got := "none"
		if n := len(e.Events); n > 0 {
			got = fmt.Sprintf("%d-%d", e.Events[0].Seq, e.Events[n-1].Seq)
		}
		if got != want || e.Newest != 6 || e.Missed != 0 {
			t.Errorf("%q: events %s, newest %d, missed %d, want %s", query, got, e.Newest, e.Missed, want)
		}
	}
	for range ledger.MaxEvents {
		m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
	}
	var e Events
	if s.ask(asking{method: "GET", path: "/v1/events?after=3&limit=1"}, &e); e.Missed != 3 || e.Events[0].Seq != 7 {
		t.Errorf("events %+v, want 3 missed and the 7th", e)
	}
	s.refused(asking{method: "GET", path: "/v1/events?after=x"}, 400, KindRequest)
}

// A stream outlives the time that the server has for a request.
func TestEventsAreStreamed(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/events/stream?after=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+viewerToken)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	if a.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || a.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("header %v", a.Header)
	}
	lines := bufio.NewScanner(a.Body)
	ids := func(n int) (out []string) {
		for len(out) < n && lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				out = append(out, id)
			}
		}
		return out
	}
	if got := ids(1); !slices.Equal(got, []string{"2"}) {
		t.Fatalf("ids %v, want 2", got)
	}
	<-time.After(600 * time.Millisecond)
	m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
	if got := ids(1); !slices.Equal(got, []string{"3"}) {
		t.Errorf("ids %v, want 3; %v", got, lines.Err())
	}
}

func TestControls(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	put := func(body string) asking { return asking{method: "PUT", path: "/v1/controls", body: body} }
	var c Controls
	if a := s.ask(put(`{"changes":[{"control":"users-us-west-1","on":true}]}`), &c); a.StatusCode != http.StatusOK || !c.Controls[0].On || c.Index != 3 {
		t.Errorf("status %d, %+v", a.StatusCode, c)
	}
	before := time.Now()
	a := s.ask(put(`{"changes":[{"control":"users-us-west-1","on":true}]}`), nil)
	p := s.refused(put(`{"changes":[{"control":"users-us-west-1","on":true}]}`), 409, KindRules)
	diff(t, "rules", []string{"somewhere"}, p.Rules)
	if wait := p.RetryAt.Sub(before); wait < 4*time.Second || wait > 6*time.Second {
		t.Errorf("within the wait: retry in %v, want 5 s", wait)
	}
	if h := a.Header.Get("Retry-After"); h != "5" {
		t.Errorf("Retry-After %q, want 5", h)
	}
	off := `{"changes":[{"control":"users-us-west-1","on":false}]`
	if p := s.refused(put(off+`}`), 409, KindRules); !p.RetryAt.IsZero() || !slices.Equal(p.Rules, []string{"somewhere"}) {
		t.Errorf("what never may be: %+v, want no time to wait for", p)
	}
	if a := s.ask(put(off+`,"override":["somewhere"]}`), &c); a.StatusCode != http.StatusOK || c.Controls[0].On {
		t.Errorf("overridden: status %d, %+v", a.StatusCode, c)
	}
	s.refused(put(off+`,"override":["nowhere"]}`), 404, KindNotFound)
	s.refused(put(`{"changes":[{"control":"write-us-west-2","on":true}]}`), 409, KindLease)
	s.refused(put(`{"changes":[{"control":"nothing","on":true}]}`), 404, KindNotFound)
	s.refused(put(`{"changes":[]}`), 422, KindInvalid)
	var again Controls
	s.ask(asking{method: "GET", path: "/v1/controls", token: viewerToken}, &again)
	diff(t, "rules", []Rule{
		{Name: "somewhere", Controls: []string{"users-us-west-1", "users-us-west-2"}, Type: "ATLEAST", Threshold: 1, WaitMS: 5000},
		{Name: "gate", Controls: []string{"users-us-west-2"}, Gates: []string{"users-us-west-1"}, Type: "OR"},
	}, again.Rules)
}

func putTopology(file, tag, query string) asking {
	q := asking{method: "PUT", path: "/v1/topology" + query, body: file, kind: "application/yaml", header: map[string]string{}}
	if tag != "" {
		q.header["If-Match"] = tag
	}
	return q
}

func TestTopology(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	a := s.ask(asking{method: "GET", path: "/v1/topology"}, nil)
	tag := a.Header.Get("ETag")
	if a.StatusCode != http.StatusOK || tag != `"1"` || a.Header.Get("Content-Type") != "application/yaml" {
		t.Fatalf("status %d, header %v", a.StatusCode, a.Header)
	}
	put := putTopology
	const file = "regions:\n- us-west-1\n- us-east-1\n"
	var dry, done Topology
	a = s.ask(put(file, tag, "?dry_run=true"), &dry)
	want := Topology{Version: 2, Regions: []string{"us-west-1", "us-east-1"}, Added: []string{"us-east-1"}, Removed: []string{"us-west-2"}, DryRun: true}
	diff(t, "dry run", want, dry)
	diff(t, "its tag", tag, a.Header.Get("ETag"))
	if state, _ := m.State(); state.Setup.Version != 1 {
		t.Fatal("a dry run has changed it")
	}
	a = s.ask(put(file, tag, "?by=alice"), &done)
	state, _ := m.State()
	want.DryRun = false
	diff(t, "done", want, done)
	diff(t, "its tag", `"2"`, a.Header.Get("ETag"))
	diff(t, "agreed on", file, state.Setup.File)
	if text := state.Events[len(state.Events)-1].Text; !strings.Contains(text, "by oncall (alice)") {
		t.Errorf("the event says %q", text)
	}
}

func TestTopologyRefuses(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	m.propose(t, ledger.Command{Describe: &ledger.Describe{Setup: func() ledger.Setup { n := setupOf("us-west-1", "us-west-2"); n.Version = 2; return n }()}})
	const file = "regions:\n- us-west-1\n- us-east-1\n"
	put := putTopology
	s.refused(put(file, `"1"`, ""), 412, KindVersion)
	s.refused(put(file, "*", ""), 412, KindVersion)
	s.refused(put(file, "", ""), 428, KindNoVersion)
	if p := s.refused(put("wrong", `"2"`, ""), 422, KindFaults); !slices.Equal(p.Faults, []string{"1:1: wrong; mend it", "2:1: wrong too"}) {
		t.Errorf("faults %q", p.Faults)
	}
	s.refused(put("- us-east-1\n", `"2"`, ""), 422, KindInvalid) // the holder would be gone
	s.refused(put("- us-east-1\n", `"2"`, "?dry_run=true"), 422, KindInvalid)
	s.refused(put(file, `"2"`, "?dry_run=perhaps"), 400, KindRequest)
	s.refused(put(strings.Repeat("#", maxFile+1), `"2"`, ""), 413, KindTooLarge)
	s.refused(asking{method: "PUT", path: "/v1/topology", body: "{}", header: map[string]string{"If-Match": `"2"`}}, 415, KindMedia)
	empty := &member{changed: make(chan struct{})}
	serve(t, empty, nil).refused(asking{method: "GET", path: "/v1/topology"}, 503, KindUnavailable)
}

func TestModeAndWebhooks(t *testing.T) {
	m := founded(t)
	s := serve(t, m, nil)
	var done Done
	if a := s.ask(asking{method: "PUT", path: "/v1/mode", body: `{"mode":"off"}`}, &done); a.StatusCode != http.StatusOK || done.Index != 3 {
		t.Errorf("status %d, %+v", a.StatusCode, done)
	}
	s.refused(asking{method: "PUT", path: "/v1/mode", body: `{"mode":"on"}`}, 422, KindInvalid)
	s.refused(asking{method: "PUT", path: "/v1/mode"}, 422, KindInvalid)
	var w Webhooks
	if s.ask(asking{method: "GET", path: "/v1/webhooks", token: viewerToken}, &w); len(w.Webhooks) != 2 || w.Webhooks[0].Dropped != 1 || w.Webhooks[1].Error == "" {
		t.Errorf("webhooks %+v", w)
	}
	var good, bad Tested
	s.ask(asking{method: "POST", path: "/v1/webhooks/pager/test"}, &good)
	s.ask(asking{method: "POST", path: "/v1/webhooks/gone/test"}, &bad)
	if !good.OK || good.Status != 204 || good.TookMS != 1 || bad.OK || bad.Error == "" {
		t.Errorf("tests %+v, %+v", good, bad)
	}
	s.refused(asking{method: "POST", path: "/v1/webhooks/nobody/test"}, 404, KindNotFound)
	none := serve(t, m, func(c *Config) { c.Hooks, c.Feed = nil, nil })
	none.refused(asking{method: "POST", path: "/v1/webhooks/pager/test"}, 404, KindNotFound)
	none.refused(asking{method: "GET", path: "/v1/feed"}, 404, KindNotFound)
	if none.ask(asking{method: "GET", path: "/v1/webhooks"}, &w); len(w.Webhooks) != 0 {
		t.Errorf("webhooks %+v, want none", w)
	}
	if a := s.ask(asking{method: "GET", path: "/v1/feed"}, nil); a.StatusCode != http.StatusOK {
		t.Errorf("feed: status %d", a.StatusCode)
	}
}

// What becomes of errors: whether something was done is never left open.
func TestErrors(t *testing.T) {
	m := founded(t)
	s := serve(t, m, func(c *Config) { c.Members = map[string]string{"us-west-2": "https://two.example:7103"} })
	mode := asking{method: "PUT", path: "/v1/mode", body: `{"mode":"off"}`}
	for _, c := range []struct {
		err    error
		status int
		kind   Kind
	}{
		{quorum.ErrUnknown, 504, KindUnknown},
		{fmt.Errorf("propose: %w", context.DeadlineExceeded), 504, KindUnknown},
		{quorum.ErrFull, 503, KindUnavailable},
		{quorum.ErrStopped, 503, KindUnavailable},
		{quorum.ErrTooLarge, 413, KindTooLarge},
		{ledger.ErrStale, 409, KindConflict},
		{ledger.ErrBusy, 409, KindBusy},
		{errors.New("token hunter2 is wrong"), 500, KindInternal},
	} {
		m.set(func(m *member) { m.fails = c.err })
		if p := s.refused(mode, c.status, c.kind); strings.Contains(p.Detail, "hunter2") {
			t.Errorf("it tells %q", p.Detail)
		}
	}
	m.set(func(m *member) { m.fails, m.leader = nil, "us-west-2" })
	if p := s.refused(asking{method: "POST", path: "/v1/switchover", body: `{"to":"us-west-2"}`}, 421, KindNotLeader); p.Leader != "us-west-2" || p.LeaderURL != "https://two.example:7103" {
		t.Errorf("elsewhere: %+v", p)
	}
	m.set(func(m *member) { m.leader = ""; m.fails = control.ErrNotLeader })
	s.refused(mode, 503, KindUnavailable)
	if p := s.refused(asking{method: "DELETE", path: "/v1/mode"}, 405, KindMethod); !strings.Contains(p.Detail, "PUT") {
		t.Errorf("another method: %+v", p)
	}
	s.refused(asking{method: "GET", path: "/v2/status"}, 404, KindNotFound)
}

func TestNewRefuses(t *testing.T) {
	m := founded(t)
	for name, change := range map[string]func(*Config){
		"no name":       func(c *Config) { c.Deployment = "" },
		"no reader":     func(c *Config) { c.Setup = nil },
		"nameless":      func(c *Config) { c.Tokens[0].Name = "" },
		"twins":         func(c *Config) { c.Tokens[0].Name = c.Tokens[1].Name },
		"no role":       func(c *Config) { c.Tokens[0].Role = "" },
		"member's role": func(c *Config) { c.Tokens[0].Role = MemberRole },
		"no hash":       func(c *Config) { c.Tokens[0].SHA256 = [32]byte{} },
		"too many": func(c *Config) {
			for i := range maxTokens {
				c.Tokens = append(c.Tokens, Token{Name: fmt.Sprint(i), Role: Viewer, SHA256: [32]byte{1, byte(i)}})
			}
		},
	} {
		if _, err := New(m, m, configOf(change)); !errors.Is(err, errConfig) {
			t.Errorf("%s: New = %v, want errConfig", name, err)
		}
	}
}

// Whatever is sent as JSON is taken whole or refused.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"to":"us-west-2","dry_run":true}`, `{"to":1}`, `{}{}`, `[]`, `null`, `{"TO":"x"}`, `{"changes":[{"control":"a","on":true}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Move
		var c Changes
		for _, err := range []error{decode(b, &m), decode(b, &c)} {
			if p, ok := errors.AsType[*Problem](err); err != nil && (!ok || p.Kind != KindRequest) {
				t.Errorf("decode(%q) = %v, want a problem with the request", b, err)
			}
		}
	})
}
