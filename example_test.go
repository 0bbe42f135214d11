package roam_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine/memory"
)

// The whole of it: open a store, wrap a handler, log in, log out.
//
//nolint:errcheck,gocritic // an example shows what matters
func Example() {
	sessions, err := memory.New(1, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	store, err := roam.Open(context.Background(), roam.Config{
		Here: roam.Region{ID: 1, Name: "eu-west-1", Engine: sessions},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	key := make([]byte, 32) // the same in every Region, from wherever secrets are kept
	rand.Read(key)
	manager, err := roam.NewManager(store, key, roam.Options{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		auth, err := store.BeginAuth(r.Context(), r.FormValue("user")) // before the password is checked
		if err != nil || r.FormValue("password") != "correct horse" {
			http.Error(w, "No.", http.StatusForbidden)
			return
		}
		roam.FromContext(r.Context()).Login(auth)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		told, err := roam.FromContext(r.Context()).Destroy(r.Context())
		if err != nil {
			http.Error(w, "You are still logged in.", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "logged out in", told.Have)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %q\n", roam.FromContext(r.Context()).User())
	})
	// And then: http.ListenAndServeTLS(":443", cert, certKey, manager.Wrap(mux))

	browser := newClient(manager.Wrap(mux))
	browser.get("/")
	browser.post("/login?user=alice&password=guess")
	browser.post("/login?user=alice&password=correct+horse")
	browser.get("/")
	browser.post("/logout")
	browser.get("/")
	// Output:
	// hello, ""
	// No.
	// hello, "alice"
	// logged out in [eu-west-1]
	// hello, ""
}

// Fields are constants with a type. Each change is written by itself, so two
// requests at the same time, in whatever Regions, don't undo each other.
//
//nolint:errcheck // an example shows what matters
func Example_fields() {
	const (
		theme  roam.Value[string] = "theme"
		visits roam.Counter       = "visits"
		cart   roam.Set           = "cart"
	)
	manager, _, done := start()
	defer done()
	browser := newClient(manager.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := roam.FromContext(r.Context())
		if item := r.FormValue("item"); item != "" {
			cart.Add(s, item)
		}
		visits.Add(s, 1)
		if err := theme.Set(s, "dark"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, theme.Get(s), visits.Get(s), cart.All(s))
	})))
	browser.get("/?item=lamp")
	browser.get("/?item=book")
	browser.get("/")
	// Output:
	// dark 1 [lamp]
	// dark 2 [book lamp]
	// dark 3 [book lamp]
}

// BeginAuth comes before the password. Checking one takes a while; if alice
// presses "log out everywhere" meanwhile, because somebody knows her password,
// that somebody's login must not come after it and stay.
//
//nolint:errcheck // an example shows what matters
func ExampleStore_BeginAuth() {
	manager, store, done := start()
	defer done()
	slowly := func(context.Context) { // what happens while the password is checked
		if _, err := store.RevokeUser(context.Background(), "alice"); err != nil {
			log.Fatal(err)
		}
	}
	browser := newClient(manager.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := roam.FromContext(r.Context())
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, "%s %q\n", s.State(), s.User())
			return
		}
		auth, err := store.BeginAuth(r.Context(), "alice")
		if err != nil {
			http.Error(w, "Try again.", http.StatusServiceUnavailable)
			return
		}
		slowly(r.Context())
		s.Login(auth)
	})))
	browser.post("/login")
	browser.get("/")
	// Output:
	// logged out ""
}

// RevokeUser ends all sessions of a user, in all browsers and Regions.
//
//nolint:errcheck // an example shows what matters
func ExampleStore_RevokeUser() {
	manager, store, done := start()
	defer done()
	app := manager.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := roam.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			auth, err := store.BeginAuth(r.Context(), "alice")
			if err != nil {
				http.Error(w, "Try again.", http.StatusServiceUnavailable)
				return
			}
			s.Login(auth)
		case "/everywhere":
			told, err := store.RevokeUser(r.Context(), s.User())
			if err != nil {
				http.Error(w, "Nobody was logged out.", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "all Regions have it:", told.Everywhere())
		default:
			fmt.Fprintf(w, "%s %q\n", s.State(), s.User())
		}
	}))
	laptop, phone := newClient(app), newClient(app)
	laptop.post("/login")
	phone.post("/login")
	phone.get("/")
	laptop.post("/everywhere")
	phone.get("/")
	// Output:
	// live "alice"
	// all Regions have it: true
	// logged out ""
}

// start returns a manager over one Region in memory, as Example makes it.
func start() (m *roam.Manager, s *roam.Store, done func()) {
	e, err := memory.New(1, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	s, err = roam.Open(context.Background(), roam.Config{Here: roam.Region{ID: 1, Name: "eu-west-1", Engine: e}})
	if err != nil {
		log.Fatal(err)
	}
	m, err = roam.NewManager(s, testKey("examples"), roam.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return m, s, func() { _, _ = s.Close(), e.Close() }
}

// A client is a browser that prints the answers it gets.
type client struct {
	handler http.Handler
	cookies []*http.Cookie
}

func newClient(h http.Handler) *client { return &client{handler: h} }

func (c *client) get(url string)  { c.do(http.MethodGet, url) }
func (c *client) post(url string) { c.do(http.MethodPost, url) }

func (c *client) do(method, url string) {
	r := httptest.NewRequest(method, url, nil)
	for _, cookie := range c.cookies {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		c.cookies = slices.DeleteFunc(c.cookies, func(old *http.Cookie) bool { return old.Name == set.Name })
		if set.MaxAge >= 0 {
			c.cookies = append(c.cookies, set)
		}
	}
	fmt.Print(w.Body)
}
