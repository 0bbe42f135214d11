package console

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// maxActionBytes bounds the body of an action; the largest sensible one has
	// about 300 bytes.
	maxActionBytes = 4 << 10

	// actionTimeout is how long an action may take. The longest one starts the
	// whole deployment anew.
	actionTimeout = 30 * time.Second
)

// A Source is the deployment that the console shows. Many goroutines use it at
// once.
type Source interface {
	// State returns a snapshot. It is called twice a second for each watcher,
	// so it must not wait for anything.
	State() State
	// Events waits for events whose Seq is greater than after, and returns at
	// least one of them, in order, at most a few hundred at once. Where it no
	// longer has the oldest of them, it begins with the oldest it has. It
	// returns an error when ctx is done or no more events can come.
	Events(ctx context.Context, after uint64) ([]Event, error)
	// Do does what a wants, which Action.Check has passed. An error tells what
	// was wrong with a, and then nothing has changed; a *Refusal also says what
	// to do instead.
	Do(ctx context.Context, a Action) error
}

//go:embed static
var static embed.FS

// Handler returns the console of src: the page at /, and its API below /api/.
// Requests whose Host is not a loopback address or localhost are refused, as
// are those that another site's page makes. A stream of events ends when its
// request's context does or when Source.Events fails, so that a server which
// shuts down must see to one of them.
func Handler(src Source, log *slog.Logger) http.Handler {
	c := &console{src: src, log: log, seats: make(chan struct{}, maxStreams)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/state", c.state)
	mux.HandleFunc("GET /api/events", c.events)
	mux.HandleFunc("POST /api/action", c.action)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		c.refuse(w, http.StatusNotFound, "the API has no such call", "see GET /api/state, GET /api/events and POST /api/action")
	})
	mux.Handle("/", http.FileServerFS(page()))

	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(c.foreign))
	return c.guard(origin.Handler(mux))
}

type console struct {
	src   Source
	log   *slog.Logger
	seats chan struct{} // one for each open stream
}

// page returns the static files.
func page() fs.FS {
	sub, err := fs.Sub(static, "static")
	if err != nil {
		// An invariant: the name is a constant, and it is valid.
		panic(err)
	}
	return sub
}

// guard lets through only what comes from this machine and from the console's
// own page. A foreign name as Host means that somebody's DNS leads here: the
// browser takes that page and the console for one site, so no check of origins
// would help.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // the files change with the program, under the same names
		if !loopback(r.Host) {
			c.log.Warn("console refused a foreign host", "host", r.Host)
			c.refuse(w, http.StatusForbidden, "the console does not answer to the name "+strconv.Quote(r.Host),
				"open it as http://localhost or http://127.0.0.1, with its port, on the machine it runs on")
			return
		}
		// CrossOriginProtection lets every GET pass. Another site could not read
		// the answers, but it could take all seats of the event stream.
		if site := r.Header.Get("Sec-Fetch-Site"); strings.HasPrefix(r.URL.Path, "/api/") && site != "" && site != "same-origin" && site != "none" {
			c.foreign(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback tells whether a Host header means this machine and cannot mean
// another one.
func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host // no port
	}
	if name == "localhost" {
		return true
	}
	if n := len(name); n > 1 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}

func (c *console) foreign(w http.ResponseWriter, r *http.Request) {
	c.log.Warn("console refused another site", "origin", r.Header.Get("Origin"), "site", r.Header.Get("Sec-Fetch-Site"))
	c.refuse(w, http.StatusForbidden, "the request comes from another site's page", "use the console's own page, or a command such as curl")
}

func (c *console) state(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, c.src.State())
}

// action does one action and answers with the state after it, so that the page
// need not wait for the next one to come by.
func (c *console) action(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxActionBytes))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		c.refuse(w, http.StatusRequestEntityTooLarge, "the action is larger than "+strconv.Itoa(maxActionBytes)+" bytes", "send one action, as docs/formats/console.md shows")
		return
	}
	if err != nil {
		c.refuse(w, http.StatusBadRequest, "the action did not arrive whole", "send it again")
		return
	}
	a, err := decodeAction(body)
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error(), "send one JSON object, as docs/formats/console.md shows")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	if err = a.Check(c.src.State()); err == nil {
		err = c.src.Do(ctx, a)
	}
	if err == nil {
		c.log.Info("console action", "kind", a.Kind, "from", a.From, "to", a.To, "plane", a.Plane, "region", a.Region, "topology", a.Topology)
		c.answer(w, http.StatusOK, c.src.State())
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		c.refuse(w, http.StatusGatewayTimeout, "the action took longer than "+actionTimeout.String()+" and may be done or not", "look at GET /api/state")
		return
	}
	next := "compare with GET /api/state"
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		next = refusal.Next
	}
	c.refuse(w, http.StatusUnprocessableEntity, err.Error(), next)
}

// problem is the body of every answer that is not what was asked for.
type problem struct {
	Error string `json:"error"`
	Next  string `json:"next"`
}

func (c *console) refuse(w http.ResponseWriter, status int, what, next string) {
	c.answer(w, status, problem{Error: what, Next: next})
}

func (c *console) answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a figure of the Source that is not a number
		c.log.Error("console answer", "err", err)
		http.Error(w, `{"error":"the state cannot be shown","next":"see the log"}`, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		c.log.Debug("console answer", "err", err)
	}
}
