package shop

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/roam-sessions/roam"
)

//go:embed style.css
var style []byte

// maxFormBytes bounds a posted form. The largest one, a login, has two fields
// of 255 bytes, each byte up to three when encoded.
const maxFormBytes = 4 << 10

// A Door is the address of the same shop in one Region.
type Door struct {
	Region string // its name
	URL    string // http or https, or a path
}

// Config is where a shop stands and how it looks. Zero fields take their
// defaults.
type Config struct {
	// Region is the name of the Region that serves the pages. Required.
	Region string
	// Title is the shop's name. Default "Roam shop".
	Title string
	// Doors lead to the same shop in other Regions, for visitors to walk through.
	Doors []Door
	// Sessions is how sessions behave. Class and OnError are the shop's own.
	Sessions roam.Options
}

// A Shop is an http.Handler. It may be used by many goroutines.
type Shop struct {
	store   *roam.Store
	config  Config
	handler http.Handler
}

// New returns a shop over store, whose cookies are signed with key as
// roam.NewManager says. It fails if the configuration makes no sense.
func New(store *roam.Store, key []byte, c Config) (*Shop, error) {
	if c.Region == "" {
		return nil, errors.New("shop: no Region: name the one that serves")
	}
	if c.Title == "" {
		c.Title = "Roam shop"
	}
	for _, d := range c.Doors {
		if u, err := url.Parse(d.URL); err != nil || !slices.Contains([]string{"", "http", "https"}, u.Scheme) {
			return nil, fmt.Errorf("shop: door to %q: %q is not an address of a page", d.Region, d.URL)
		}
	}
	s := &Shop{store: store, config: c}
	o := c.Sessions
	o.Class, o.OnError = Class, s.failed
	o.Entrance = func(r *http.Request) bool { return r.URL.Path == "/login" }
	sessions, err := roam.NewManager(store, key, o)
	if err != nil {
		return nil, fmt.Errorf("shop: %w", err)
	}
	s.handler = s.guard(sessions.Wrap(s.routes()))
	return s, nil
}

// Class says what the shop's routes may be given: the account is Strict.
func Class(r *http.Request) roam.Class {
	if r.URL.Path == "/account" {
		return roam.Strict
	}
	return roam.Safe
}

// ServeHTTP serves the shop.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if r.URL.Path == "/style.css" { // asks for no session
		h.Set("Content-Type", "text/css; charset=utf-8")
		h.Set("Cache-Control", "max-age=300")
		_, _ = w.Write(style) // the client may be gone
		return
	}
	s.handler.ServeHTTP(w, r)
}

// guard refuses what needs no session to be refused: forms posted by other
// sites, and bodies without end.
func (s *Shop) guard(next http.Handler) http.Handler {
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		next.ServeHTTP(w, r)
	})
	csrf := http.NewCrossOriginProtection()
	csrf.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusForbidden, "Not from here",
			"This form was sent by another site, so nothing was done.")
	}))
	return csrf.Handler(limited)
}

// methods are the handlers of one path.
type methods map[string]http.HandlerFunc

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	for path, m := range map[string]methods{
		"/{$}":               {"GET": s.showCatalogue},
		"/cart":              {"GET": s.showCart},
		"/cart/add":          {"POST": s.add},
		"/cart/remove":       {"POST": s.remove},
		"/login":             {"GET": s.showLogin, "POST": s.login},
		"/logout":            {"POST": s.logout},
		"/logout/everywhere": {"POST": s.logoutEverywhere},
		"/account":           {"GET": s.showAccount},
		"/visits":            {"POST": s.visit},
		"/theme":             {"POST": s.setTheme},
		"/api/session":       {"GET": s.apiSession},
	} {
		mux.HandleFunc(path, s.byMethod(m))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusNotFound, "Not here", "There is no such page in this shop.")
	})
	return mux
}

// byMethod serves one path: the method's handler, once the form is read.
func (s *Shop) byMethod(m methods) http.HandlerFunc {
	allow := slices.Sorted(maps.Keys(m))
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handler, ok := m[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			s.refuse(w, r, http.StatusMethodNotAllowed, "Not that way",
				"This page can't be used with "+r.Method+". Try "+strings.Join(allow, " or ")+".")
			return
		}
		if err := r.ParseForm(); err != nil {
			s.badForm(w, r, err)
			return
		}
		handler(w, r)
	}
}
