package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
)

const (
	// maxAsked bounds what a member may ask another: a report of 16 Regions is less.
	maxAsked = 256 << 10
	// The paths of what members ask each other.
	reportPath  = "/v1/member/report"
	consentPath = "/v1/member/consent"
	vouchPath   = "/v1/member/vouch"
	joinedPath  = "/v1/member/joined"
)

// An about says which epoch is asked about, or which member.
type about struct {
	From  string `json:"from"`
	Epoch uint64 `json:"epoch,omitempty"`
	Who   string `json:"who,omitempty"`
}

// A reply is yes or no. Founded: this member knows that something was agreed on.
type reply struct {
	OK      bool `json:"ok"`
	Founded bool `json:"founded"`
}

// rpc returns what other members ask.
func (m *Member) rpc() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+reportPath, func(w http.ResponseWriter, r *http.Request) {
		var news reportBytes
		if m.read(w, r, &news, func() string { return news.From }) {
			m.heard(news)
			answer(w, reply{OK: true})
		}
	})
	yesOrNo := func(path string, decide func(about, ledger.State) bool) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			var a about
			switch proven := m.read(w, r, &a, func() string { return a.From }); {
			case !proven:
			case m.unread.Load(): // to say that nothing was agreed on, or that nobody else holds a lease
				http.Error(w, "this member has begun, and has not read its file yet", http.StatusServiceUnavailable)
			default:
				s, _ := m.machine.look()
				answer(w, reply{decide(a, s), s.Setup.Version > 0})
			}
		})
	}
	yesOrNo(consentPath, func(a about, _ ledger.State) bool {
		ok, err := m.voting.consent(a.Epoch, m.now())
		if err != nil {
			m.config.Log.Error("give a consent", "err", err)
		}
		return ok
	})
	yesOrNo(vouchPath, func(a about, s ledger.State) bool {
		return s.Setup.Version > 0 && m.voting.vouch(a.Epoch, s.Next(), m.now()) // else it knows of no lease at all
	})
	yesOrNo(joinedPath, func(a about, s ledger.State) bool { return s.Joined[a.Who] > 0 })
	return mux
}

// read reads what a member asks, and sees to it that it is that member.
func (m *Member) read(w http.ResponseWriter, r *http.Request, into any, from func() string) bool {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsked))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		http.Error(w, "what is asked can't be read: "+err.Error(), http.StatusBadRequest)
		return false
	}
	if err := m.proven(r, from()); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return false
	}
	return true
}

// proven reports why a request is not by the member that it says; nil: it is.
func (m *Member) proven(r *http.Request, from string) error {
	if p, ok := m.config.peer(from); !ok || p.Name == m.config.Self {
		return fmt.Errorf("%q is no other member", from)
	}
	if m.config.Keeper == nil {
		return nil // on loopback
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return errors.New("members prove who they are with a certificate")
	}
	if is, err := pki.Peer(*r.TLS); err != nil || is != from {
		return fmt.Errorf("%w: %q", pki.ErrIdentity, from)
	}
	return nil
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // who does not read it asks again
}

// A client asks other members.
type client struct {
	self  string
	tls   bool
	https map[string]*http.Client // by member
}

func newClient(c Config) *client {
	out := &client{self: c.Self, tls: c.Keeper != nil, https: map[string]*http.Client{}}
	for _, p := range c.others() {
		t := &http.Transport{
			DialContext: c.Dial, MaxIdleConnsPerHost: 2, MaxConnsPerHost: 8, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: actTime, DisableCompression: true,
		}
		if c.Keeper != nil {
			host, _, _ := net.SplitHostPort(p.API)
			t.TLSClientConfig = c.Keeper.Client(p.Name, host)
		}
		out.https[p.Name] = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	return out
}

func (c *client) close() {
	for _, h := range c.https {
		h.CloseIdleConnections()
	}
}

// ask posts something to a member and reads what it says.
func (c *client) ask(ctx context.Context, p Peer, path string, what, into any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	scheme := "http"
	if c.tls {
		scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+p.API+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.https[p.Name].Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAsked))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s: %.200s", path, p.Name, resp.Status, said)
	}
	return json.Unmarshal(said, into)
}

func (c *client) question(ctx context.Context, p Peer, path string, a about) (reply, error) {
	var r reply
	a.From = c.self
	err := c.ask(ctx, p, path, a, &r)
	return r, err
}

// consent asks a member to consent to an epoch.
func (c *client) consent(ctx context.Context, p Peer, epoch uint64) bool {
	r, err := c.question(ctx, p, consentPath, about{Epoch: epoch})
	return r.OK && err == nil
}

// vouch asks a member for its word.
func (c *client) vouch(ctx context.Context, p Peer, epoch uint64) bool {
	r, err := c.question(ctx, p, vouchPath, about{Epoch: epoch})
	return r.OK && err == nil
}
