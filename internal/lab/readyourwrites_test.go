package lab

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
)

// A visitor asks the edge without a network between, so that she can live in a
// bubble.
type visitor struct {
	edge    http.Handler
	cookies map[string]string
}

func (v *visitor) ask(t *testing.T, method, region, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set(RegionHeader, region)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.edge.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		v.cookies[c.Name] = c.Value
	}
	if w.Code >= http.StatusBadRequest {
		t.Fatalf("%s %s in %s = %d: %s", method, path, region, w.Code, w.Body)
	}
	return w
}

var rounds = flag.Int("rounds", 1000, "how often TestReadYourWrites writes and reads; `make ryw` says 10000")

// A user who writes in one Region and reads in another 5 ms later sees her
// write, each time, in both topologies.
func TestReadYourWrites(t *testing.T) {
	for _, topology := range []string{console.ActiveActive, console.ActivePassive} {
		for _, loss := range []float64{0, 0.02} {
			t.Run(fmt.Sprintf("%s, %.0f %% of replication lost", topology, 100*loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { readYourWrites(t, topology, loss, *rounds) })
			})
		}
	}
}

func readYourWrites(t *testing.T, topology string, loss float64, rounds int) {
	// A bubble begins in the year 2000, before the first stamp there is.
	<-time.After(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	l, err := New(t.Context(), Config{Topology: topology})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, from := range l.current.regions {
		for _, to := range l.current.byDistance(from) {
			link := l.current.net.Link(from.name, to.name, fault.Replication)
			link.Loss = loss
			l.current.net.SetLink(from.name, to.name, fault.Replication, link)
		}
	}
	v := &visitor{edge: l.Handler(), cookies: map[string]string{}}
	at := places()
	left, waited := 0, time.Duration(0)
	for i := range rounds {
		writeAt, readAt := at[i%3].name, at[(i+1+i/3%2)%3].name
		v.ask(t, http.MethodPost, writeAt, "/visits", nil)
		<-time.After(5 * time.Millisecond)
		begun := time.Now()
		var got view
		if err := json.Unmarshal(v.ask(t, http.MethodGet, readAt, "/api/session", nil).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		waited += time.Since(begun)
		if got.Visits != int64(i+1) {
			t.Fatalf("write %d in %s, read in %s: %d visits, %s", i+1, writeAt, readAt, got.Visits, got.Rung)
		}
		if got.Left {
			left++
		}
	}
	t.Logf("%d of %d writes seen in another Region 5 ms later; %.2f %% of the reads left their Region; a read took %v on average",
		rounds, rounds, 100*float64(left)/float64(rounds), (waited / time.Duration(rounds)).Round(time.Millisecond/10))
}
