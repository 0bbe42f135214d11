package awsdrill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/shop"
)

const (
	// between is how long a visitor waits until the next visit.
	between = 40 * time.Millisecond
	// patience is how long a visitor waits for an answer.
	patience = 3 * time.Second
	// cookieKey signs the cookies of all shops.
	cookieKey = "the drill's cookies are signed with this"
)

// A stand is a shop in a Region that writes to one name and reads from the Region's own
// servers, and a visitor who visits it all the time.
type stand struct {
	name, region string
	engine       *valkey.Engine
	store        *roam.Store
	server       *http.Server
	url          string
	client       *http.Client
	stop         context.CancelFunc
	work         sync.WaitGroup

	mu     sync.Mutex // guards what follows
	writes int        // visits whose write the primary has acknowledged
	taken  bool       // the visit under way was acknowledged
	last   time.Time  // when the last one was
	failed error      // of the last visit; nil: it went well
}

// openStand opens a shop, logs the visitor in and has her visit. Without a reader it is a cluster
// that the name leads to, and its replicas are read from.
func openStand(ctx context.Context, name, region, reader string) (*stand, error) {
	s := &stand{name: name, region: region}
	c := valkey.Config{Addrs: []string{net.JoinHostPort(name, "6379")}, Plaintext: true}
	if c.ClusterReplicas = reader == ""; !c.ClusterReplicas {
		c.Replicas = []string{reader}
	}
	var err error
	if s.engine, err = valkey.Open(ctx, 1, c); err != nil {
		return nil, err
	}
	if err := s.serve(ctx); err != nil {
		return nil, err
	}
	if err := s.post(ctx, "/login", url.Values{"user": {"ann of " + region + " at " + name}, "password": {"any"}}); err != nil {
		return nil, fmt.Errorf("log in at the shop of %s: %w", region, err)
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { s.visitAll(ctx) })
	return s, nil
}

// serve serves the shop.
func (s *stand) serve(ctx context.Context) (err error) {
	s.store, err = roam.Open(ctx, roam.Config{
		Here: roam.Region{ID: 1, Name: s.region, Engine: s.engine},
		Observe: func(o roam.Observation) {
			if o.Act == router.Change && o.Err == nil && o.Answer.Rung == router.Normal {
				s.mu.Lock()
				s.taken = true
				s.mu.Unlock()
			}
		},
	})
	if err != nil {
		return err
	}
	handler, err := shop.New(s.store, []byte(cookieKey), shop.Config{
		Region: s.region, Sessions: roam.Options{Cookie: roam.Cookie{Name: "drill", Plain: true}},
	})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.url = "http://" + l.Addr().String()
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	s.work.Go(func() { _ = s.server.Serve(l) }) // it ends with close
	jar, err := cookiejar.New(nil)
	s.client = &http.Client{
		Jar: jar, Timeout: patience, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return err
}

// close ends the visits and the shop.
func (s *stand) close() {
	if s.stop != nil {
		s.stop()
	}
	if s.server != nil {
		_ = s.server.Close()
	}
	s.work.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	if s.store != nil {
		_ = s.store.Close() // it never fails
	}
	_ = s.engine.Close() // nor does this
}

// visitAll visits until ctx ends.
func (s *stand) visitAll(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		s.taken = false
		s.mu.Unlock()
		err := s.post(ctx, "/visits", nil)
		s.mu.Lock()
		if s.failed = err; err == nil && s.taken {
			s.writes++
			s.last = time.Now()
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(between):
		}
	}
}

// post submits a form.
func (s *stand) post(ctx context.Context, path string, form url.Values) error {
	code, body, err := s.ask(ctx, http.MethodPost, path, strings.NewReader(form.Encode()))
	if err == nil && code >= http.StatusBadRequest {
		err = fmt.Errorf("%s: %s: %.200s", path, http.StatusText(code), body)
	}
	return err
}

func (s *stand) ask(ctx context.Context, method, path string, body io.Reader) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, text, err
}

// wrote returns how many visits were acknowledged, and when the last was.
func (s *stand) wrote() (int, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes, s.last, s.failed
}

// shows returns how many visits the session has, and whether the visitor is logged in.
func (s *stand) shows(ctx context.Context) (visits int, in bool, err error) {
	code, body, err := s.ask(ctx, http.MethodGet, "/api/session", nil)
	var view struct {
		User   string
		Visits int
	}
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/api/session: %s", http.StatusText(code))
	}
	if err == nil {
		err = json.Unmarshal(body, &view)
	}
	return view.Visits, view.User != "", err
}
