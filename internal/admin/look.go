package admin

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	// defaultPage and maxPage are how many items or events are told at once.
	defaultPage = 100
	maxPage     = 1000
)

func (a *api) health(*call) (answer, error) { return answer{body: Health{OK: true}}, nil }

func (a *api) document(*call) (answer, error) { return answer{raw: OpenAPI()}, nil }

// status tells what this member knows: at once, or with ?after= as soon as something later
// than that index is agreed, or ?wait_ms= is over.
func (a *api) status(c *call) (answer, error) {
	after, err := c.number("after", 0, math.MaxUint64)
	if err != nil {
		return answer{}, err
	}
	wait, err := c.number("wait_ms", uint64(maxWait.Milliseconds()), uint64(maxWait.Milliseconds()))
	if err != nil {
		return answer{}, err
	}
	if c.URL.Query().Has("after") {
		leave, err := a.sit()
		if err != nil {
			return answer{}, err
		}
		defer leave()
		over := time.NewTimer(time.Duration(wait) * time.Millisecond) //nolint:gosec // at most maxWait
		defer over.Stop()
		for waiting := true; waiting; {
			s, changed := a.member.State()
			if s.Index > after {
				break
			}
			select {
			case <-changed:
			case <-over.C:
				waiting = false
			case <-c.Context().Done():
				return answer{}, c.Context().Err()
			}
		}
	}
	return answer{body: statusOf(a.Deployment, a.known(), time.Now())}, nil
}

func (a *api) receipts(*call) (answer, error) {
	s, _ := a.member.State()
	out := Receipts{Receipts: []Receipt{}}
	for _, r := range s.Receipts {
		out.Receipts = append(out.Receipts, receiptOf(r))
	}
	return answer{body: out}, nil
}

func (a *api) receipt(c *call) (answer, error) {
	offset, err := c.number("offset", 0, math.MaxInt32)
	if err != nil {
		return answer{}, err
	}
	limit, err := c.number("limit", defaultPage, maxPage)
	if err != nil {
		return answer{}, err
	}
	r, err := a.receiptAt(c.Request)
	if err != nil {
		return answer{}, err
	}
	total := uint64(len(r.Items))
	from := min(offset, total)
	out := Detailed{Receipt: receiptOf(r), Items: []Item{}, Total: len(r.Items), Offset: int(from)}
	for _, i := range r.Items[from:min(from+limit, total)] {
		out.Items = append(out.Items, itemOf(i))
	}
	return answer{body: out}, nil
}

// receiptAt returns the receipt that a path names.
func (a *api) receiptAt(r *http.Request) (ledger.Receipt, error) {
	epoch, err := strconv.ParseUint(r.PathValue("epoch"), 10, 64)
	if err != nil {
		return ledger.Receipt{}, &Problem{Kind: KindNotFound, Detail: "epochs are numbers", Next: "see /v1/receipts"}
	}
	s, _ := a.member.State()
	for _, r := range s.Receipts {
		if r.Epoch == epoch {
			return r, nil
		}
	}
	return ledger.Receipt{}, &Problem{Kind: KindNotFound, Detail: fmt.Sprintf("no receipt of epoch %d is kept", epoch), Next: "see /v1/receipts"}
}

func (a *api) events(c *call) (answer, error) {
	after, err := c.number("after", 0, math.MaxUint64)
	if err != nil {
		return answer{}, err
	}
	limit, err := c.number("limit", defaultPage, maxPage)
	if err != nil {
		return answer{}, err
	}
	s, _ := a.member.State()
	out := Events{Events: []events.Message{}, Newest: s.Seq}
	for _, e := range s.Events {
		if e.Seq <= after {
			continue
		}
		if len(out.Events) == 0 {
			out.Missed = e.Seq - after - 1
		}
		if uint64(len(out.Events)) == limit {
			break
		}
		out.Events = append(out.Events, events.MessageOf(a.Deployment, e))
	}
	return answer{body: out}, nil
}

func (a *api) streamEvents(w http.ResponseWriter, r *http.Request) { a.stream.ServeHTTP(w, r) }

func (a *api) controls(*call) (answer, error) {
	s, _ := a.member.State()
	return answer{body: Controls{Index: s.Index, Controls: controlsOf(s), Rules: rulesOf(s)}}, nil
}

// waitOf returns how long controls really rest.
func waitOf(wait time.Duration) time.Duration {
	if wait == 0 {
		return routing.DefaultWait
	}
	return max(wait, 0)
}

// topology tells the file as it is, with its version as a tag.
func (a *api) topology(w http.ResponseWriter, r *http.Request) {
	s, _ := a.member.State()
	if s.Setup.Version == 0 {
		a.refuse(w, r, &Problem{Kind: KindUnavailable, Detail: "nobody has founded the deployment", Next: "wait until a majority of members run", After: time.Second})
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("ETag", tagOf(s.Setup.Version))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)) // whoever serves has deadlines
	_, _ = w.Write([]byte(s.Setup.File))                                           // whoever asked is gone
}

func tagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

func (a *api) webhooks(*call) (answer, error) {
	out := Webhooks{Webhooks: []Webhook{}}
	if a.Hooks != nil {
		for _, h := range a.Hooks.Stats() {
			out.Webhooks = append(out.Webhooks, Webhook{
				Name: h.Name, Told: h.Told, Delivered: h.Delivered, Tries: h.Tries, Dropped: h.Dropped, Status: h.Status, Error: h.Err, At: h.At,
			})
		}
	}
	return answer{body: out}, nil
}

// report takes in what an application that follows the feed has counted.
func (a *api) report(c *call) (answer, error) {
	if a.Report == nil {
		return answer{}, notFound("this member takes no reports")
	}
	body, err := c.text([]string{"application/json"}, maxBody)
	if err != nil {
		return answer{}, err
	}
	of := ""
	if c.who.role == MemberRole {
		of = c.who.name
	}
	return answer{body: Taken{OK: true}}, a.Report(of, body)
}

func (a *api) feed(w http.ResponseWriter, r *http.Request) {
	if a.Feed == nil {
		a.refuse(w, r, notFound("this member has no feed"))
		return
	}
	leave, err := a.sit()
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	defer leave()
	a.Feed.ServeHTTP(w, r)
}
