package drill

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/deployment"
)

const (
	visits     roam.Counter      = "visits"
	number     roam.Value[int64] = "number"
	_                            = visits
	perSession                   = 60 // visits, and then the session ends
	visitTime                    = 5 * time.Second
)

// cookieKey signs the cookies of all applications.
const cookieKey = "the drill's cookies are signed with this"

// An app is an application in a Region: some stores over one deployment, each with a
// browser that visits it again and again.
type app struct {
	deployment *deployment.Deployment
	stores     []*roam.Store
	stop       context.CancelFunc
	work       sync.WaitGroup

	pace    atomic.Int64 // nanoseconds between two visits
	resting atomic.Bool  // nobody visits
	ending  atomic.Bool  // sessions end when they are due
}

// openApp opens the application of a Region, with some clients that begin at once.
func (w *world) openApp(ctx context.Context, r *region) (err error) {
	feeds := []string{"http://" + r.own.api + "/v1/feed"}
	for _, to := range w.regions {
		if to != r {
			feeds = append(feeds, "http://"+r.seen[to.name].api+"/v1/feed")
		}
	}
	log := slog.New(slog.NewTextHandler(w.log, nil)).With("application", r.name)
	a := &app{}
	a.deployment, err = deployment.Open(ctx, r.path, r.name, deployment.Options{
		Feed: feeds, Topology: filepath.Join(filepath.Dir(r.path), "view"), Log: log, Patience: 2 * time.Second,
	})
	if err != nil {
		return err
	}
	r.app = a
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.ending.Store(true)
	for i := range w.config.Clients {
		who := fmt.Sprintf("client %d of %s", i+1, r.name)
		config := a.deployment.Config()
		config.Observe = func(o roam.Observation) { w.book.heard(who, r.name, nameOf, o) }
		store, err := roam.Open(ctx, config)
		if err != nil {
			return err
		}
		a.stores = append(a.stores, store)
		a.deployment.Attach(store)
		sessions, err := roam.NewManager(store, []byte(cookieKey), roam.Options{})
		if err != nil {
			return err
		}
		c := &client{app: a, book: w.book, who: who}
		c.handler = sessions.Wrap(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) { c.serve(store, out, req) }))
		a.work.Go(func() { c.visitAll(ctx) })
	}
	return nil
}

func (a *app) close() {
	a.stop()
	a.work.Wait()
	for _, s := range a.stores {
		_ = s.Close() // it never fails
	}
	_ = a.deployment.Close() // of servers it never fails
}

// A client has a browser, and another one for when the first can't be served.
type client struct {
	app     *app
	book    *notebook
	who     string
	handler http.Handler
	users   int
	visits  int64
}

// A browser has cookies, and knows what its visits have written.
type browser struct {
	cookies map[string]*http.Cookie
	visits  int
	leaves  bool // it was told to log out, and not whether that was done
}

func newBrowser() *browser { return &browser{cookies: map[string]*http.Cookie{}} }

// visitAll visits until ctx ends.
func (c *client) visitAll(ctx context.Context) {
	first, second := newBrowser(), newBrowser()
	for ctx.Err() == nil {
		if !c.app.resting.Load() {
			if !c.visit(ctx, first) {
				first, second = second, first
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.app.pace.Load())):
		}
	}
}

// visit visits once, and reports whether that was served.
func (c *client) visit(ctx context.Context, b *browser) bool {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	c.visits++
	what := "/visit"
	switch {
	case b.visits == 0:
		what = "/login"
	case b.visits >= perSession && c.app.ending.Load():
		what = "/logout"
		b.leaves = true
	}
	r := (&http.Request{Method: http.MethodGet, URL: &url.URL{Path: what}, Header: http.Header{}, Host: "shop.example"}).WithContext(ctx)
	for _, cookie := range b.cookies {
		r.AddCookie(cookie)
	}
	a := &answer{header: http.Header{}}
	c.handler.ServeHTTP(a, r)
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		if b.cookies[cookie.Name] = cookie; cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	if a.code >= http.StatusBadRequest {
		return false
	}
	b.visits++
	if what == "/visit" && a.stranger && !b.leaves {
		c.book.forgotten(c.who)
	}
	if what == "/logout" || a.stranger {
		*b = *newBrowser()
	}
	if a.session != "" {
		c.book.wrote(a.session, c.visits)
	}
	return true
}

// serve is the application.
func (c *client) serve(store *roam.Store, out http.ResponseWriter, r *http.Request) {
	s := roam.FromContext(r.Context())
	switch r.URL.Path {
	case "/logout":
		if _, err := s.Destroy(r.Context()); err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
			return
		}
		out.WriteHeader(http.StatusOK)
		return
	case "/login":
		c.users++
		auth, err := store.BeginAuth(r.Context(), fmt.Sprintf("user %d of %s", c.users, c.who))
		if err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
			return
		}
		s.Login(auth)
	default:
		if s.User() == "" {
			own(out).stranger = true
			out.WriteHeader(http.StatusOK)
			return
		}
	}
	visits.Add(s, 1)
	if err := number.Set(s, c.visits); err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	own(out).session = s.Fingerprint()
	out.WriteHeader(http.StatusOK)
}

// own returns the browser's end of what a handler writes to.
func own(out http.ResponseWriter) *answer {
	for {
		if a, is := out.(*answer); is {
			return a
		}
		w, is := out.(interface{ Unwrap() http.ResponseWriter })
		if !is {
			return &answer{}
		}
		out = w.Unwrap()
	}
}

// An answer is what a browser gets.
type answer struct {
	header   http.Header
	code     int
	session  string // whose it is, if it had begun before
	stranger bool   // the application knew no user
}

// Header returns the headers.
func (a *answer) Header() http.Header { return a.header }

// Write takes the body, which nobody reads.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(b), nil
}

// WriteHeader keeps the first code.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}
