package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/topology"
)

// A seat is this process's place among the members of the control plane: the member, and
// the address where it is asked. Without it the process goes on serving.
type seat struct {
	deployment topology.Deployment
	self       string
	log        *slog.Logger
	keeper     *pki.Keeper // nil: no TLS
	views      *views
	apps       *apps

	links, api net.Listener
	mux        *http.ServeMux
	kept       string // path of what members agreed on last, for the next start
	folder     string
	replaced   chan topology.Deployment
	deliverer  *events.Deliverer // nil: there are no webhooks

	tokens []admin.Token
	lists  *receipt.Folder // nil: a witness has none

	mu     sync.Mutex // guards what follows
	asked  http.Handler
	admin  http.Handler
	member *control.Member
	err    error // why there is none; nil: it is being opened, or there is one
}

// A seatConfig is what a seat is made of.
type seatConfig struct {
	deployment topology.Deployment
	self       string
	links, api string // where to listen
	keeper     *pki.Keeper
	server     *control.Server // nil: a witness
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	measure    func() control.Measured // nil: nothing is, as at a witness
	getenv     func(string) string
	folder     string // of the deployment's file
	lists      *receipt.Folder
	log        *slog.Logger
}

// newSeat listens for other members, and for those who ask.
func newSeat(ctx context.Context, c seatConfig) (*seat, error) {
	s := &seat{
		deployment: c.deployment, self: c.self, log: c.log, keeper: c.keeper, mux: http.NewServeMux(), views: newViews(c.deployment.Name),
		apps: newApps(c.deployment.Name, c.deployment.Names()), kept: keptPath(c.deployment, c.self), folder: c.folder, lists: c.lists,
		replaced: make(chan topology.Deployment, 1),
	}
	var listen net.ListenConfig
	var err error
	if s.deliverer, err = newDeliverer(c, s.views); err != nil {
		return nil, err
	}
	if s.links, err = listen.Listen(ctx, "tcp", c.links); err != nil {
		return nil, fmt.Errorf("listen for other members: %w", err)
	}
	if s.api, err = listen.Listen(ctx, "tcp", c.api); err != nil {
		_ = s.links.Close() // nobody has come yet
		return nil, fmt.Errorf("listen for the admin API: %w", err)
	}
	if c.keeper != nil {
		s.api = tls.NewListener(s.api, c.keeper.API())
	}
	s.mux.HandleFunc("/v1/member/", s.serveMember)
	s.mux.HandleFunc("/v1/", s.serveAdmin)
	if s.tokens, err = tokensOf(c); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close lets go of what newSeat listens at, if nothing else is begun.
func (s *seat) close() {
	_, _ = s.links.Close(), s.api.Close() // nobody has come yet
}

// serveMember hands on what other members ask.
func (s *seat) serveMember(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.asked
	s.mu.Unlock()
	if h == nil {
		http.Error(w, "this member begins", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}

// serveAdmin hands on what people and applications ask.
func (s *seat) serveAdmin(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.admin
	s.mu.Unlock()
	if h == nil {
		http.Error(w, "this member begins", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}

// serve answers until ctx ends.
func (s *seat) serve(ctx context.Context) {
	const (
		patience = 10 * time.Second
		header   = 16 << 10
		grace    = time.Second
	)
	server := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: patience, ReadTimeout: patience, IdleTimeout: time.Minute, MaxHeaderBytes: header,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // nobody is left to tell
		}
	})
	defer stop()
	if err := server.Serve(s.api); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("the admin API is not served any more", "err", err)
	}
}

// run is the member until ctx ends.
func (s *seat) run(ctx context.Context, c seatConfig) {
	d := c.deployment
	var members []control.Peer
	for _, v := range d.Voters() {
		members = append(members, control.Peer{Name: v.Name, ID: v.ID, Links: v.Control, API: v.API, Witness: v.Witness})
	}
	m, err := control.Open(ctx, control.Config{
		Deployment: d.Name, Self: c.self, Members: members, Setup: setupOf(d), Dir: d.Control.DirOf(c.self),
		Listener: s.links, Serve: s.setAsked, Keeper: c.keeper, Dial: c.dial, Server: c.server, Measure: func() control.Measured { return s.measured(c.measure) },
		Lease: d.Control.Lease, Judge: d.Control.Judge, Alarms: d.Control.Alarms, Version: version(), Log: c.log,
		Told: s.told, Learn: s.learn, Promotion: d.Control.Promotion(),
	})
	var api http.Handler
	if err == nil {
		if api, err = s.newAdmin(m); err != nil {
			_ = m.Close() // err says more
			m = nil
		}
	}
	s.mu.Lock()
	s.member, s.admin, s.err = m, api, err
	s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			c.log.Error("this member takes no part: sessions are served all the same", "err", err)
		}
		return
	}
	var beside sync.WaitGroup
	if s.deliverer != nil {
		beside.Go(func() { s.deliverer.Run(ctx) })
		beside.Go(func() { deliver(ctx, s.deliverer, m, s.self) })
	}
	s.views.follow(ctx, m, s.changed)
	beside.Wait()
	if err := m.Close(); err != nil {
		c.log.Warn("close the member", "err", err)
	}
}

// measured returns what this process measured, if it is a node, and what applications told.
// The alarms have both: what users see, and the canary each second, which is there when
// nobody writes. Of Writes, by which the judge may fail over by itself, there is the canary's
// alone: its periods are a second, and whoever reports can't lie there.
func (s *seat) measured(own func() control.Measured) (m control.Measured) {
	if own != nil {
		m = own()
	}
	m.Data = append(m.Data, s.apps.figures(time.Now())...)
	return m
}

// changed keeps what members agreed on, and tells of another file than the one that this
// process runs by.
func (s *seat) changed(view feed.View) {
	if err := keep(s.kept, view); err != nil {
		s.log.Warn("keep what members agreed on", "err", err)
	}
	if view.Version <= 1 || view.File == "" || view.File == s.deployment.Text {
		return
	}
	d, err := topology.Parse([]byte(view.File))
	if err != nil {
		s.log.Error("members agreed on a file that this version can't read: run the version of the others", "err", err)
		return
	}
	select {
	case s.replaced <- d.Under(s.folder):
	default: // there is one already, and the newest is kept
	}
}

// told returns how far webhooks were told of events, for other members.
func (s *seat) told() map[string]uint64 {
	if s.deliverer == nil {
		return nil
	}
	return s.deliverer.Cursors()
}

// learn takes in how far the member that leads has told them.
func (s *seat) learn(told map[string]uint64) {
	if s.deliverer != nil {
		s.deliverer.Learn(told)
	}
}

// newAdmin returns the admin API of a member. Without certificates it is open to whoever is
// on this machine: a deployment that has none is on loopback.
func (s *seat) newAdmin(m *control.Member) (http.Handler, error) {
	scheme := "https://"
	if s.keeper == nil {
		scheme = "http://"
	}
	c := admin.Config{
		Deployment: s.deployment.Name, Setup: readSetup, Tokens: s.tokens, Open: s.keeper == nil, Members: map[string]string{},
		Feed: feed.Handler(s.views), Lists: s.lists, Log: s.log,
		Report: func(of string, body []byte) error { return s.apps.take(of, body, time.Now()) },
	}
	for _, v := range s.deployment.Voters() {
		c.Members[v.Name] = scheme + v.API
	}
	if s.deliverer != nil {
		c.Hooks = s.deliverer
	}
	return admin.New(m, m, c)
}

// readSetup returns what members agree on of a file.
func readSetup(file []byte) (ledger.Setup, error) {
	d, err := topology.Parse(file)
	if err != nil {
		return ledger.Setup{}, err
	}
	if d.Control == nil {
		return ledger.Setup{}, errors.New("it has no control section: its members would be none")
	}
	return setupOf(d), nil
}

// tokensOf reads the hashes of the tokens that are let in.
func tokensOf(c seatConfig) (tokens []admin.Token, err error) {
	for _, t := range c.deployment.Control.Tokens {
		text, err := secretOf(t.SHA256, c.getenv)
		if err != nil {
			return nil, fmt.Errorf("hash of the token %s: %w", t.Name, err)
		}
		hash, err := hex.DecodeString(text)
		if err != nil || len(hash) != sha256.Size {
			return nil, fmt.Errorf("hash of the token %s: want %d hexadecimal digits", t.Name, 2*sha256.Size)
		}
		tokens = append(tokens, admin.Token{Name: t.Name, Role: admin.Role(t.Role), SHA256: [sha256.Size]byte(hash)})
	}
	return tokens, nil
}

func (s *seat) setAsked(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = h
}

// seated returns the member; nil if there is none, and why.
func (s *seat) seated() (*control.Member, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.member, s.err
}

// setupOf returns what members agree on first.
func setupOf(d topology.Deployment) ledger.Setup {
	return ledger.Setup{
		File: d.Text, Regions: d.Names(), Leases: d.Leases(), Primary: d.Primary,
		Controls: d.Control.Controls, Rules: d.Control.Rules,
	}
}

// A views is what is agreed on, for those who serve sessions. It is fed from one
// goroutine and asked by many.
type views struct {
	name string

	mu      sync.Mutex // guards what follows
	view    feed.View  // none: its Deployment is empty
	state   ledger.State
	current bool // this member hears a leader
	changed chan struct{}
	more    chan struct{} // closed when there is another event
}

func newViews(name string) *views {
	return &views{name: name, changed: make(chan struct{}), more: make(chan struct{})}
}

// events returns the last events, and what is closed when there are more.
func (v *views) events() ([]ledger.Event, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.Events, v.more
}

// Latest returns the View, and what is closed when there is another.
func (v *views) Latest() (feed.View, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.view, v.changed
}

// agreed returns what is agreed on, and what is closed when those who serve sessions, or
// ask for names, must know of something else.
func (v *views) agreed() (ledger.State, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state, v.changed
}

// notify has a channel say that something has changed, until ctx ends.
func (v *views) notify(ctx context.Context, into chan<- struct{}) {
	for {
		_, changed := v.agreed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		select {
		case into <- struct{}{}:
		default: // it says so already
		}
	}
}

// Current reports whether there is somebody to hear of changes from.
func (v *views) Current() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current
}

// follow takes in what a member knows, until ctx ends, and tells of what those who serve
// sessions must know.
func (v *views) follow(ctx context.Context, m *control.Member, tell func(feed.View)) {
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		s, changed := m.State()
		if view, is := v.take(s, m.Leader() != ""); is {
			tell(view)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-looks.C:
		}
	}
}

// take keeps a state, and reports whether those who serve sessions must know.
func (v *views) take(s ledger.State, current bool) (feed.View, bool) {
	view := viewOf(v.name, s)
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Seq != v.state.Seq {
		close(v.more)
		v.more = make(chan struct{})
	}
	v.current, v.state = current, s
	was := v.view
	was.Index = view.Index
	if s.Setup.Version == 0 || equal(was, view) {
		return feed.View{}, false
	}
	v.view = view
	close(v.changed)
	v.changed = make(chan struct{})
	return view, true
}

// viewOf returns what those who serve sessions must know of a state.
func viewOf(name string, s ledger.State) feed.View {
	view := feed.View{
		Deployment: name, Index: s.Index, Epoch: s.Lease.Epoch, Primary: s.Lease.Holder, Away: s.Away(),
		Version: s.Setup.Version, File: s.Setup.File,
	}
	if h := s.Handover; h.Pending() {
		view.Next, view.NextEpoch = h.To, h.Epoch
	}
	return view
}

// version returns what runs here.
func version() string { return cmp.Or(buildVersion(), "unknown") }
