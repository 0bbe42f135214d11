package deployment

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/tally"
)

// newReader returns a node that tells a View, and what is reported to it.
func newReader(t *testing.T, v feed.View) (url string, reports <-chan feed.Report) {
	t.Helper()
	got := make(chan feed.Report, 100)
	told := feed.Handler(&teller{view: v, changed: make(chan struct{})})
	n := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			told.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		report, err := feed.ParseReport(body)
		if err != nil || r.URL.Path != "/v1/feed/report" {
			t.Errorf("a report to %s: %v", r.URL, err)
		}
		got <- report
	}))
	t.Cleanup(func() {
		n.CloseClientConnections()
		n.Close()
	})
	return n.URL + "/v1/feed", got
}

// attached opens a Store of d, which is told where to write.
func attached(t *testing.T, d *Deployment) *roam.Store {
	t.Helper()
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	d.Attach(store)
	return store
}

// answers has a store answer n reads.
func answers(t *testing.T, store *roam.Store, n int) {
	t.Helper()
	for range n {
		if _, err := store.BeginAuth(t.Context(), "ann"); err != nil {
			t.Fatalf("BeginAuth = %v, want nil", err)
		}
	}
}

// What attached Stores answer and write is reported by itself, of the Region that they are
// in, and nothing is where that is not wanted.
func TestAnswersAreReported(t *testing.T) {
	path := write(t, three)
	url, reports := newReader(t, view(1, 5, "west"))
	silent, _ := recorders(t)
	silent.Feed, silent.reportEvery, silent.NoReports = []string{url}, 100*time.Millisecond, true
	answers(t, attached(t, open(t, path, "north", silent)), 3)

	o, _ := recorders(t)
	o.Feed, o.reportEvery = []string{url}, 100*time.Millisecond
	d := open(t, path, "east", o)
	one, two := attached(t, d), attached(t, d)
	var sum tally.Counts
	for round := range 3 {
		if round == 1 {
			if _, err := one.RevokeUser(t.Context(), "ann"); err != nil {
				t.Fatalf("RevokeUser = %v, want nil", err)
			}
		}
		answers(t, one, 3)
		answers(t, two, 1)
		want := one.Counts().Plus(two.Counts())
		answered, _ := want.All()
		for all, _ := sum.All(); all < answered; all, _ = sum.All() {
			select {
			case r := <-reports:
				if r.Region != "east" || r.Deployment != "shop" {
					t.Fatalf("a report %+v, want it of east of the shop", r)
				}
				sum = sum.Plus(r.Counts)
			case <-time.After(20 * time.Second):
				t.Fatalf("round %d: %+v were reported, want %+v", round, sum, want)
			}
		}
		// Some are stale, until this Region has been heard to hear of the others.
		if !reflect.DeepEqual(sum.Answers, want.Answers) || !reflect.DeepEqual(sum.Writes["west"], want.Writes["west"]) {
			t.Errorf("round %d: %+v were reported, want %+v", round, sum, want)
		}
	}
	if all, _ := sum.All(); all != 13 || len(sum.Writes) != 1 || sum.Writes["west"].Took.Count() != 1 {
		t.Errorf("%+v were reported, want 13 answers and one write to west", sum)
	}
	_ = d.Close() // of engines in memory, never fails
	answers(t, one, 1)
	select {
	case r := <-reports:
		t.Errorf("a report after Close: %+v", r)
	case <-time.After(300 * time.Millisecond):
	}
}
