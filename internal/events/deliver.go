package events

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	// maxHooks bounds the hooks; each has a goroutine and a connection. New refuses more.
	maxHooks = 64
	// maxName bounds the name of a hook.
	maxName = 64
	// tryTime bounds one request, from dialling to the end of the answer's header.
	tryTime = 10 * time.Second
	// dialTime bounds the dialling and the handshake of TLS each.
	dialTime = 5 * time.Second
	// maxHeader bounds the header of an answer.
	maxHeader = 16 << 10
)

var (
	errConfig = errors.New("events: bad config")
	// ErrUnknown says that there is no hook of that name.
	ErrUnknown = errors.New("no webhook is called that")
)

// A Hook is somebody who is told of events by HTTP.
type Hook struct {
	Name string
	// URL is where to post to. It may be a secret, and is not logged.
	URL string
	// Secret signs what is sent; at least LeastSecret bytes.
	Secret []byte
	// Kinds are those that it is told of; none: all.
	Kinds []ledger.Kind
	// SNS: in the shape of SNS, as if from TopicARN.
	SNS      bool
	TopicARN string
}

// A Config is what a Deliverer is.
type Config struct {
	// Deployment is whose events they are.
	Deployment string
	// Hooks are who is told.
	Hooks []Hook
	// Dir is the member's folder, in which there is a file of how far each hook was told.
	// It goes with the ledger: who begins that anew begins with an empty folder.
	Dir string
	// Source is where the events are from. Required.
	Source Source
	// Roots vouch for the hooks' certificates; nil: those of the system.
	Roots *x509.CertPool
	// Log is told what could not be delivered. Default: discarded.
	Log *slog.Logger
}

// A Deliverer tells hooks of events. Each hook is told of each event at least once, in
// order, and of no event before the one before it was taken or given up. The ring of the
// source is the queue: what a hook has not taken when it leaves the ring, or a day after
// it happened, is given up, counted and logged.
//
// All members have one, and the one of the leader is active. It may be used by many
// goroutines.
type Deliverer struct {
	config  Config
	client  *http.Client
	cursors *cursors
	broken  bool // the file of the cursors could not be believed
	hooks   []*hook

	mu      sync.Mutex // guards what follows
	active  bool
	changed chan struct{} // closed when active does
}

// New returns a Deliverer that is not active. It fails if the Config makes no sense. A
// file of cursors that can't be believed is logged, and all that the ring has is sent.
func New(c Config) (*Deliverer, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Source == nil || c.Deployment == "" || len(c.Hooks) > maxHooks {
		return nil, fmt.Errorf("%w: want a source, a name, and at most %d hooks", errConfig, maxHooks)
	}
	d := &Deliverer{config: c, client: newClient(c.Roots), changed: make(chan struct{})}
	names := map[string]bool{}
	for _, h := range c.Hooks {
		if err := h.check(); err != nil {
			return nil, err
		}
		if names[h.Name] {
			return nil, fmt.Errorf("%w: two webhooks are called %q", errConfig, h.Name)
		}
		names[h.Name] = true
		h.Kinds = slices.Clone(h.Kinds)
		d.hooks = append(d.hooks, &hook{Hook: h, d: d, first: firstWait})
	}
	var err error
	if d.cursors, err = openCursors(c.Dir); err != nil {
		d.broken = true
		c.Log.Warn("how far webhooks were told can't be read: they are told again", "err", err)
	}
	d.cursors.keep(names)
	return d, nil
}

// check says what is wrong with a hook. Its URL is not repeated.
func (h Hook) check() error {
	u, err := url.Parse(h.URL)
	switch {
	case h.Name == "" || len(h.Name) > maxName:
		return fmt.Errorf("%w: a webhook has no name, or one of more than %d letters", errConfig, maxName)
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fmt.Errorf("%w: webhook %s has no URL of http or https", errConfig, h.Name)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("%w: webhook %s is neither on loopback nor reached by https", errConfig, h.Name)
	case len(h.Secret) < LeastSecret:
		return fmt.Errorf("%w: the secret of webhook %s has fewer than %d bytes", errConfig, h.Name, LeastSecret)
	case h.SNS && h.TopicARN == "":
		return fmt.Errorf("%w: webhook %s is in the shape of SNS and names no topic", errConfig, h.Name)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newClient returns a client that follows nobody elsewhere, and waits for nobody for long.
func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: tryTime,
		// Whoever answers may not send what is signed for it to others.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, TLSHandshakeTimeout: dialTime,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxResponseHeaderBytes: maxHeader, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: true,
		},
	}
}

// Run delivers until ctx ends.
func (d *Deliverer) Run(ctx context.Context) {
	defer d.client.CloseIdleConnections()
	var wg sync.WaitGroup
	for _, h := range d.hooks {
		wg.Go(func() { h.run(ctx) })
	}
	wg.Wait()
}

// Active has this member deliver from now on, or not. What is on its way may still arrive.
func (d *Deliverer) Active(is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active != is {
		d.active = is
		close(d.changed)
		d.changed = make(chan struct{})
	}
}

func (d *Deliverer) activity() (bool, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active, d.changed
}

// Cursors returns the last event that each hook was told of, for other members.
func (d *Deliverer) Cursors() map[string]uint64 { return d.cursors.all() }

// Learn takes in the Cursors of the member that is active, so that this one goes on from
// there when its turn comes. Without it hooks are told again what they were told since
// this one was active.
func (d *Deliverer) Learn(cursors map[string]uint64) {
	for _, h := range d.hooks {
		if seq, ok := cursors[h.Name]; ok {
			h.move(seq)
		}
	}
}

// An Outcome is what became of a test.
type Outcome struct {
	Status int           // of the answer; zero: there was none
	Took   time.Duration // until the answer, or the error
	Err    error         // nil: it was taken
}

// Test sends a hook an event of KindTest at once, whether this member is active or not. It
// fails with ErrUnknown.
func (d *Deliverer) Test(ctx context.Context, name string) (Outcome, error) {
	for _, h := range d.hooks {
		if h.Name == name {
			now := time.Now()
			m := MessageOf(d.config.Deployment, ledger.Event{At: now, Kind: KindTest, Text: "a test of webhook " + name})
			m.ID += "-" + fmt.Sprint(now.UnixNano()) // tests are not one event
			status, _, err := h.post(ctx, m)
			return Outcome{Status: status, Took: time.Since(now), Err: err}, nil
		}
	}
	return Outcome{}, fmt.Errorf("%w: %q", ErrUnknown, name)
}
