package feed

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/tally"
)

// A taker is a node: it tells what was agreed on, and takes reports as it is set to.
type taker struct {
	board *board

	mu      sync.Mutex // guards what follows
	status  int        // what it says
	swallow bool       // it takes reports, and the answer gets lost
	hangs   bool
	mute    bool // it tells nothing of what was agreed on
	got     []Report
	at      []time.Time
}

func newTaker() *taker { return &taker{board: newBoard(at(1, 1)), status: http.StatusOK} }

func (n *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		n.mu.Lock()
		mute := n.mute
		n.mu.Unlock()
		if mute {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		Handler(n.board).ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	report, bad := ParseReport(body)
	n.mu.Lock()
	status, swallow, hangs := n.status, n.swallow, n.hangs
	n.at = append(n.at, time.Now())
	if err != nil || bad != nil || r.URL.String() != "/report" || r.Header.Get("Content-Type") != "application/json" {
		status = http.StatusTeapot
	} else if status == http.StatusOK && !hangs {
		n.got = append(n.got, report)
	}
	n.mu.Unlock()
	switch {
	case hangs:
		<-r.Context().Done()
	case swallow:
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

func (n *taker) set(do func(*taker)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do(n)
}

func (n *taker) reports() ([]Report, []time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got, n.at
}

// An app is one that counts.
type app struct {
	mu  sync.Mutex // guards all
	all tally.Counts
}

func (a *app) counts() tally.Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.Plus(tally.Counts{})
}

func (a *app) answer(rung int, n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Answers[rung] += n
}

// report follows, and reports, until the end of the test.
func (a *app) report(t *testing.T, c Config) *Client {
	t.Helper()
	f := follow(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { f.Report(ctx, "west", a.counts) })
	t.Cleanup(func() { cancel(); work.Wait() })
	synctest.Wait()
	return f
}

// total adds up what a node makes of reports: a later one with the same After has all of
// the one before.
func total(all []Report) (sum tally.Counts) {
	for i, r := range all {
		if i+1 == len(all) || all[i+1].After != r.After {
			sum = sum.Plus(r.Counts)
		}
	}
	return sum
}

// An application reports when something was counted, once in five seconds or so, and each
// answer once.
func TestReports(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		n, a := newTaker(), &app{}
		h.up(nearH, n)
		a.report(t, Config{URLs: []string{near}, HTTP: h.client()})
		time.Sleep(time.Hour)
		if got, _ := n.reports(); len(got) > 0 {
			t.Fatalf("%d reports of nothing", len(got))
		}
		for range 600 {
			a.answer(0, 9)
			a.answer(2, 1)
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		got, at := n.reports()
		if len(got) < 95 || len(got) > 130 {
			t.Errorf("%d reports in ten minutes, want one in five seconds", len(got))
		}
		inOrder(t, got, at)
		if at[1].Sub(at[0]).Round(time.Millisecond) == at[2].Sub(at[1]).Round(time.Millisecond) {
			t.Error("reports come at fixed times: processes that start together would report together")
		}
		if sum := total(got); sum.Answers != [tally.Rungs]uint64{5400, 0, 600} {
			t.Errorf("told of %v, want all 6000 answers", sum.Answers)
		}
	}))
}

// inOrder wants each report to be the next one after the one before, of about 5 s.
func inOrder(t *testing.T, got []Report, at []time.Time) {
	t.Helper()
	for i, r := range got {
		if r.Deployment != "shop" || r.Region != "west" || r.App != got[0].App || r.Seq != uint64(i+1) || r.After != uint64(i) {
			t.Fatalf("report %d: %+v, want the next", i, r)
		}
		if r.Span < 3*time.Second || r.Span > 7*time.Second || i > 0 && (at[i].Sub(at[i-1]) < 4*time.Second || at[i].Sub(at[i-1]) > 6*time.Second) {
			t.Fatalf("report %d at %v is of %v, want 4 to 6 seconds", i, at[i], r.Span)
		}
	}
}

// Whatever becomes of a report, what it had comes with the next one, and none is tried
// twice.
func TestReportsThatFail(t *testing.T) {
	for what, trouble := range map[string]func(*taker){
		"it is refused for a while":  func(n *taker) { n.status = http.StatusServiceUnavailable },
		"too many report":            func(n *taker) { n.status = http.StatusTooManyRequests },
		"it leads elsewhere":         func(n *taker) { n.status = http.StatusTemporaryRedirect },
		"its answer is lost":         func(n *taker) { n.swallow = true },
		"it gets nothing for a time": func(n *taker) { n.hangs = true },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, among(func(t *testing.T, h *hosts) {
				n, a, log := newTaker(), &app{}, &told{}
				h.up(nearH, n)
				n.set(trouble)
				f := a.report(t, Config{URLs: []string{near}, HTTP: h.client(), Log: log.log()})
				for range 60 {
					a.answer(1, 1)
					time.Sleep(time.Second)
				}
				_, at := n.reports()
				if len(at) < 7 || len(at) > 14 {
					t.Errorf("%d tries in a minute, want one in five seconds", len(at))
				}
				n.set(func(n *taker) { n.status, n.swallow, n.hangs = http.StatusOK, false, false })
				time.Sleep(10 * time.Second)
				got, _ := n.reports()
				if sum := total(got); sum.Answers != [tally.Rungs]uint64{0, 60} {
					t.Errorf("told of %v, want all 60 answers, once", sum.Answers)
				}
				if last := got[len(got)-1]; last.After != 0 || last.Span < 50*time.Second {
					t.Errorf("the first that was known to come is %+v, want all since the beginning", last)
				}
				if f.Heard().Before(time.Now().Add(-2*time.Second)) || len(log.lines()) > 0 {
					t.Errorf("the feed was disturbed: %q", log.lines())
				}
			}))
		})
	}
}

// A node of an older version, or one that says no, is left alone for ten minutes.
func TestReportsThatNobodyTakes(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusUnprocessableEntity} {
		synctest.Test(t, among(func(t *testing.T, h *hosts) {
			n, a := newTaker(), &app{}
			h.up(nearH, n)
			n.set(func(n *taker) { n.status = status })
			a.report(t, Config{URLs: []string{near}, HTTP: h.client()})
			for range 30 * 60 {
				a.answer(0, 1)
				time.Sleep(time.Second)
			}
			if _, at := n.reports(); len(at) != 3 {
				t.Errorf("status %d: %d tries in half an hour, want 3", status, len(at))
			}
			n.set(func(n *taker) { n.status = http.StatusOK })
			time.Sleep(11 * time.Minute)
			if got, _ := n.reports(); len(got) != 1 || got[0].Counts.Answers[0] != 30*60 {
				t.Errorf("status %d: then it gets %+v, want all that was counted", status, got)
			}
		}))
	}
}

// The node that is followed gets the reports, which is the next one when the first is gone;
// where none is followed nobody is asked.
func TestReportsGoWhereTheFeedComesFrom(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		first, second, a := newTaker(), newTaker(), &app{}
		h.up(nearH, first)
		a.report(t, Config{URLs: []string{near, far + "/?x=1"}, HTTP: h.client()})
		a.answer(0, 1)
		time.Sleep(10 * time.Second)
		first.set(func(n *taker) { n.mute = true })
		h.up(nearH, nil)
		h.up(nearH, first)
		time.Sleep(10 * time.Second)
		a.answer(0, 2)
		time.Sleep(30 * time.Second)
		if one, at := first.reports(); len(one) != 1 || len(at) != 1 {
			t.Errorf("%d reports in %d tries at a node that is not followed any more, want those of before: 1", len(one), len(at))
		}
		h.up(farH, second)
		time.Sleep(20 * time.Second)
		two, _ := second.reports()
		if len(two) != 1 || two[0].Counts.Answers[0] != 2 || two[0].After != 1 {
			t.Errorf("the second node got %+v, want the two answers that the first did not", two)
		}
	}))
}

// It ends with its context, though a node hangs, and follows a Client that is closed.
func TestReportEnds(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		n, a, log := newTaker(), &app{}, &told{}
		n.hangs = true
		h.up(nearH, n)
		f := follow(t, Config{URLs: []string{near}, HTTP: h.client(), ReportEvery: time.Second, Log: slog.New(slog.NewTextHandler(log, nil))})
		a.answer(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Report(ctx, "west", a.counts) }()
		time.Sleep(1500 * time.Millisecond)
		begun := time.Now()
		cancel()
		<-ended
		if _, at := n.reports(); time.Since(begun) != 0 || len(at) != 1 {
			t.Errorf("it ended after %v, and %d tries; want at once, of 1", time.Since(begun), len(at))
		}
		if len(log.lines()) > 0 {
			t.Errorf("that it ends is no failure: %q", log.lines())
		}
	}))
	if _, err := Follow(t.Context(), Config{Path: "x", ReportEvery: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "ReportEvery") {
		t.Errorf("Follow with a report a millisecond = %v, want an error", err)
	}
}
