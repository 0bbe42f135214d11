package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/steer"
)

const (
	// actTime bounds whatever is asked for but streams and waiting.
	actTime = 10 * time.Second
	// answerTime bounds the writing of an answer. The reading of a request is the server's.
	answerTime = 10 * time.Second
	// maxWait bounds how long a status is waited for.
	maxWait = 30 * time.Second
	// maxWaiting bounds those who wait for a status, and those who read the feed. The next
	// are told to come later.
	maxWaiting = 256
	// maxListing bounds those who read the whole list of a receipt, which keeps a core busy
	// for a second or two. The next are told to come later.
	maxListing = 4
	// listTime bounds the telling of one list: a million items are 100 MB.
	listTime = 30 * time.Minute
)

// A Member is what the API is about: this member of the control plane.
type Member interface {
	// State returns what is agreed, and what is closed when there is something else.
	State() (ledger.State, <-chan struct{})
	// Propose has a command agreed, and returns the state that has it.
	Propose(ctx context.Context, c ledger.Command) (ledger.State, error)
	// Status returns what this member knows.
	Status() control.Status
}

// A Leading answers at the member that leads, and fails with control.ErrNotLeader at others.
type Leading interface {
	// Precheck looks at all that a switchover, or a failover, to a Region needs.
	Precheck(ctx context.Context, to string, planned bool) ([]steer.Check, error)
	// Behind returns how far the server of a Region is behind, and whether that is known.
	Behind(ctx context.Context, region string) (time.Duration, bool, error)
}

// Hooks are the webhooks of this member.
type Hooks interface {
	// Stats returns how they fare.
	Stats() []events.HookStats
	// Test sends one of them a test. It fails with events.ErrUnknown.
	Test(ctx context.Context, name string) (events.Outcome, error)
}

// A Config is what the API is besides its member. All but the first two may be left out.
type Config struct {
	// Deployment is its name.
	Deployment string
	// Setup reads a roam.yaml, and returns what members agree on of it. Its error may
	// unwrap to several, or have Faults() []string; each is told.
	Setup func(file []byte) (ledger.Setup, error)
	// Tokens are those that are let in.
	Tokens []Token
	// Open lets in whoever asks by a name of loopback, as an operator. It is for
	// deployments on one machine, without TLS; never set it where others can connect.
	Open bool
	// Members are the base URLs of all members' APIs by name, for whoever must ask the one
	// that leads.
	Members map[string]string
	// Feed serves what applications follow; nil: nobody does here.
	Feed http.Handler
	// Lists are the whole lists of receipts that this member keeps; nil: none.
	Lists *receipt.Folder
	// Report takes in what an application has counted. Of is the member whose certificate it
	// shows, and must be its Region; "": it may be of any. Its error may be a Problem. nil:
	// nobody takes reports here.
	Report func(of string, body []byte) error
	// Hooks are the webhooks; nil: there are none.
	Hooks Hooks
	// Log is told who changed what, and who was not let in. Default: discarded.
	Log *slog.Logger
}

// errConfig says that a Config makes no sense.
var errConfig = errors.New("admin: bad config")

// An api is what is served.
type api struct {
	Config
	member  Member
	leading Leading
	entry   *entry
	stream  http.Handler  // of events
	seats   chan struct{} // of those who wait
	readers chan struct{} // of those who read whole lists
}

// New returns the API, to be served at /v1/ by a server that has a ReadTimeout and a bound of
// headers, and no WriteTimeout: answers have deadlines of their own, and streams one a line.
// It fails if the Config makes no sense.
func New(m Member, l Leading, c Config) (http.Handler, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if m == nil || l == nil || c.Deployment == "" || c.Setup == nil {
		return nil, fmt.Errorf("%w: want a member, what leads, a name and a reader of roam.yaml", errConfig)
	}
	e, err := newEntry(c.Tokens, c.Open)
	if err != nil {
		return nil, err
	}
	a := &api{Config: c, member: m, leading: l, entry: e, seats: make(chan struct{}, maxWaiting), readers: make(chan struct{}, maxListing)}
	source := func() ([]ledger.Event, <-chan struct{}) {
		s, changed := m.State()
		return s.Events, changed
	}
	a.stream = events.Stream(c.Deployment, source, c.Log)
	mux := http.NewServeMux()
	paths := map[string][]string{}
	for _, r := range a.routes() {
		mux.Handle(r.method+" "+r.path, a.guard(r))
		paths[r.path] = append(paths[r.path], r.method)
	}
	for path, methods := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { a.refuse(w, r, wrongMethod(methods)) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, notFound("there is nothing at "+r.URL.Path))
	})
	return a.outside(mux), nil
}

// A route is one thing that can be asked.
type route struct {
	method, path string
	needs        need
	// do answers; or serve does, by itself, for as long as it takes.
	do    func(*call) (answer, error)
	serve http.Handler
}

// routes are all there are. The document at /v1/openapi.json has the same.
func (a *api) routes() []route {
	return []route{
		{"GET", "/v1/health", nothing, a.health, nil},
		{"GET", "/v1/openapi.json", nothing, a.document, nil},
		{"GET", "/v1/status", toLook, a.status, nil},
		{"POST", "/v1/switchover", toAct, a.switchover, nil},
		{"DELETE", "/v1/switchover", toAct, a.cancelSwitchover, nil},
		{"POST", "/v1/failover", toAct, a.failover, nil},
		{"POST", "/v1/regions/{region}/readmit", toAct, a.readmit, nil},
		{"PUT", "/v1/mode", toAct, a.setMode, nil},
		{"GET", "/v1/receipts", toLook, a.receipts, nil},
		{"GET", "/v1/receipts/{epoch}", toLook, a.receipt, nil},
		{"GET", "/v1/receipts/{epoch}/items", toLook, nil, http.HandlerFunc(a.items)},
		{"GET", "/v1/events", toLook, a.events, nil},
		{"GET", "/v1/events/stream", toLook, nil, http.HandlerFunc(a.streamEvents)},
		{"GET", "/v1/controls", toLook, a.controls, nil},
		{"PUT", "/v1/controls", toAct, a.setControls, nil},
		{"GET", "/v1/topology", toRead, nil, http.HandlerFunc(a.topology)},
		{"PUT", "/v1/topology", toAct, a.setTopology, nil},
		{"GET", "/v1/webhooks", toLook, a.webhooks, nil},
		{"POST", "/v1/webhooks/{name}/test", toAct, a.testWebhook, nil},
		{"GET", "/v1/feed", toRead, nil, http.HandlerFunc(a.feed)},
		{"POST", "/v1/feed/report", toRead, a.report, nil},
	}
}

// outside does what all answers have in common, and lets no page of another site ask.
func (a *api) outside(next http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if err := sites.Check(r); err != nil {
			a.refuse(w, r, &Problem{
				Kind: KindForbidden, Detail: "a page of another site asks", Next: "ask from outside a browser",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets those ask who may, in the time that there is.
func (a *api) guard(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.entry.admit(r, a.members(), time.Now())
		if err == nil {
			err = who.may(to)
		}
		if to.needs != nothing && err != nil {
			if r.TLS != nil { // by the next handshake there may be a better certificate
				w.Header().Set("Connection", "close")
			}
			a.refuse(w, r, err)
			return
		}
		if who.ending(to, time.Now()) {
			w.Header().Set("Connection", "close")
		}
		if to.serve != nil {
			who.serve(to.serve, w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), actTime+maxWait)
		defer cancel()
		if to.method != http.MethodGet {
			ctx, cancel = context.WithTimeout(ctx, actTime)
			defer cancel()
		}
		out, err := to.do(&call{Request: r.WithContext(ctx), w: w, who: who})
		if to.needs == toAct {
			a.Log.Info("asked by an operator", "who", who.name, "method", to.method, "path", to.path, "err", err)
		}
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		a.answer(w, out)
	})
}

// members returns the names of those whose certificates are a member's.
func (a *api) members() []string {
	var out []string
	for _, m := range a.member.Status().Members {
		out = append(out, m.Member)
	}
	return out
}

// sit takes a seat of those who wait.
func (a *api) sit() (leave func(), err error) { return take(a.seats, "too many wait here") }

// take takes a seat, or says that there are none.
func take(seats chan struct{}, none string) (leave func(), err error) {
	select {
	case seats <- struct{}{}:
		return func() { <-seats }, nil
	default:
		return nil, &Problem{Kind: KindTooMany, Detail: none, Next: "ask again in a moment, or ask another member", After: 5 * time.Second}
	}
}
