package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config is what is followed, and how. Deployment apart, each zero value is a default.
type Config struct {
	// URLs are where nodes serve the feed, such as https://10.0.0.1:7440/v1/feed, the
	// nearest first. Default: none, so that what is on the disk stands for good.
	URLs []string
	// HTTP asks them: its certificates, and whom it trusts. No redirect is followed, and
	// its Timeout is not used. Default: a client of the Feed's own.
	HTTP *http.Client
	// Plaintext says that the network may see and change what is sent. Without it URLs
	// are of https, or of this machine. Default false.
	Plaintext bool
	// Path is the file that keeps the last View; "": none does. Two processes that share
	// one do no harm, but may leave the older of two Views in it.
	Path string
	// Deployment is whose Views are believed. Default: of whichever comes first.
	Deployment string
	// Silence is how long a node may say nothing before the next one is asked. Default
	// 3 s, at least 100 ms.
	Silence time.Duration
	// MinBackoff and MaxBackoff bound the wait before the next node is asked: it doubles
	// each time that all have failed, and half of it is jitter. Default 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// ReportEvery is between two reports, give or take a fifth. Default 5 s, at least 100 ms.
	ReportEvery time.Duration
	// Random returns numbers in [0, 1) for jitter. Default math/rand/v2.
	Random func() float64
	// Log hears what nobody asked for. Default: nothing is logged.
	Log *slog.Logger
}

// maxURLs bounds the nodes: three a Region.
const maxURLs = 45

// check returns all that is wrong with c.
func (c Config) check() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(len(c.URLs) > maxURLs, "%d URLs: want %d at most", len(c.URLs), maxURLs)
	fault(len(c.URLs) == 0 && c.Path == "", "neither URLs nor Path: there is nothing to follow")
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
		fault(!ok, "URL %q: want https://host:port/path, without a password", redacted(u, text))
		fault(ok && u.Scheme == "http" && !c.Plaintext && !isLoopback(u.Hostname()),
			"URL %q: want https, or Plaintext if the network is trusted", text)
	}
	fault(c.Deployment != "" && !isName(c.Deployment), "deployment %q: want a to z, 0 to 9 and dashes within, at most %d", c.Deployment, maxName)
	fault(c.Silence < 100*time.Millisecond, "Silence %v: want 100 ms or more", c.Silence)
	fault(c.ReportEvery < 100*time.Millisecond, "ReportEvery %v: want 100 ms or more", c.ReportEvery)
	fault(c.MinBackoff < time.Millisecond || c.MaxBackoff < c.MinBackoff,
		"backoff from %v to %v: want 1 ms or more, and the least first", c.MinBackoff, c.MaxBackoff)
	return errors.Join(faults...)
}

func redacted(u *url.URL, text string) string {
	if u == nil {
		return text
	}
	return u.Redacted()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A Client is a View that is kept up to date. It may be used by many goroutines. Close it.
type Client struct {
	config Config
	stop   context.CancelFunc
	work   sync.WaitGroup
	own    bool // config.HTTP is this client's

	mu      sync.Mutex // guards what follows
	view    View       // the zero View: there is none
	changed chan struct{}
	first   sync.Once
	told    chan struct{} // closed by the first View that a node has told
	heard   time.Time
	at      string // the node that is followed, and has said something; "": none
}

// Follow returns a Client that begins with what is on the disk and follows one node at a
// time. It does not wait for any of them. It fails, naming every fault, if c makes no
// sense; a file that can't be believed is told to the log and replaced by the first View
// that comes. Ctx bounds the following, as Close does.
func Follow(ctx context.Context, c Config) (*Client, error) {
	own := c.HTTP == nil
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("follow the feed: %w", err)
	}
	f := &Client{config: c, own: own, changed: make(chan struct{}), told: make(chan struct{})}
	f.view = f.kept()
	begun := f.view
	ctx, f.stop = context.WithCancel(ctx)
	over := make(chan struct{}) // nothing more will come
	f.work.Go(func() {
		defer close(over)
		f.follow(ctx)
	})
	if c.Path != "" {
		f.work.Go(func() { f.keep(over, begun) })
	}
	return f, nil
}

func (c Config) withDefaults() Config {
	if c.Silence == 0 {
		c.Silence = 3 * time.Second
	}
	if c.MinBackoff == 0 {
		c.MinBackoff = 100 * time.Millisecond
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = max(5*time.Second, c.MinBackoff)
	}
	if c.ReportEvery == 0 {
		c.ReportEvery = 5 * time.Second
	}
	if c.Random == nil {
		c.Random = random
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	asks := http.Client{}
	if c.HTTP != nil {
		asks = *c.HTTP
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		asks.Transport = t.Clone() // so that Close lets go of its connections
	}
	asks.Timeout = 0 // a stream has no end
	asks.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTP = &asks
	return c
}

// kept returns what is on the disk; the zero View: nothing that is believed.
func (f *Client) kept() View {
	if f.config.Path == "" {
		return View{}
	}
	v, ok, err := load(f.config.Path)
	if ok && f.config.Deployment != "" && v.Deployment != f.config.Deployment {
		err = fmt.Errorf("%w: it is of deployment %q: want %q", ErrView, v.Deployment, f.config.Deployment)
	}
	if err != nil {
		f.config.Log.Warn("the file that keeps the last view is not believed and will be replaced", "path", f.config.Path, "err", err)
		return View{}
	}
	return v
}

// Latest returns the newest View of what the disk and the nodes have said, and whether
// there is one. It must not be changed.
func (f *Client) Latest() (View, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view, f.view.Deployment != ""
}

// Changed returns what is closed when there is a newer View. Whoever wants to miss none
// asks for it before Latest.
func (f *Client) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Told returns what is closed when a node has told its View, be it what the disk had.
func (f *Client) Told() <-chan struct{} { return f.told }

// Heard returns when a node last said something, if only that nothing has changed; zero:
// none has.
func (f *Client) Heard() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard
}

// follows returns the node that is followed, and the deployment that it is of; "": none.
func (f *Client) follows() (at, deployment string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.view.Deployment
}

func (f *Client) setFollows(at string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = at
}

// take takes what a node has said. It fails if that is of another deployment. What is not
// newer is no news: nodes may be behind each other, and a View never goes back.
func (f *Client) take(l Line) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Beat == 0 {
		want := f.config.Deployment
		if want == "" {
			want = f.view.Deployment
		}
		if want != "" && l.View.Deployment != want {
			return fmt.Errorf("%w: it is of deployment %q: want %q", ErrView, l.View.Deployment, want)
		}
		if f.view.Deployment == "" || l.View.Newer(f.view) {
			f.view = l.View.after(f.view)
			close(f.changed)
			f.changed = make(chan struct{})
		}
		f.first.Do(func() { close(f.told) })
	}
	f.heard = time.Now()
	return nil
}

// keepAgain is before a View that the disk did not take is offered it again.
const keepAgain = time.Second

// keep keeps the newest View on the disk until over. It has a goroutine of its own: a disk
// that hangs holds up nobody who needs the View. Last is the one that it has.
func (f *Client) keep(over <-chan struct{}, last View) {
	for said, ended := false, false; ; {
		changed := f.Changed()
		var again <-chan time.Time
		if v, ok := f.Latest(); ok && (last.Deployment == "" || v.Newer(last)) {
			err := save(f.config.Path, v)
			if err == nil {
				last, said = v, false
			} else {
				again = time.After(keepAgain)
			}
			if err != nil && !said {
				said = true
				f.config.Log.Warn("the last view is not kept: a restart would not know it", "path", f.config.Path, "err", err)
			}
		}
		if ended {
			return
		}
		select {
		case <-over:
			ended = true // and once more
		case <-changed:
		case <-again:
		}
	}
}

// Close ends the following and returns when the last goroutine is gone: with the newest
// View on the disk, unless that does not take it. Latest stays as it is. It never fails.
func (f *Client) Close() error {
	f.stop()
	f.work.Wait()
	if f.own {
		f.config.HTTP.CloseIdleConnections()
	}
	return nil
}
