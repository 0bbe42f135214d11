package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clientDial bounds the dialling of one member, and its handshake; then comes the next.
	clientDial = 3 * time.Second
	// clientTry bounds one request, but for what is waited for.
	clientTry = actTime + 5*time.Second
	// clientPause is before all members are asked once more.
	clientPause = 250 * time.Millisecond
	// clientRounds is how often all of them are asked.
	clientRounds = 3
	// maxURLs bounds the members.
	maxURLs = 64
)

// A ClientConfig is what a Client is.
type ClientConfig struct {
	// URLs are where members' APIs are, such as https://node.us-west-1.example:7103. One is
	// enough, and all are better: the next is asked when one does not answer.
	URLs []string
	// Token is shown; empty: TLS has a certificate, or the deployment is open.
	Token string
	// TLS says whom to believe; nil: the system's authorities.
	TLS *tls.Config
	// Dial opens connections; nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Client asks the members of a deployment. It goes to the one that leads for what only
// that one can do, and to the next when one does not answer. Nothing that may have been
// done is asked for twice: it fails with a *Problem of KindUnknown. Errors of the members
// are a *Problem too. It may be used by many goroutines.
type Client struct {
	config ClientConfig
	http   *http.Client

	mu   sync.Mutex // guards what follows
	last int        // which URL answered last
}

// NewClient returns a Client. It fails if a URL makes no sense.
func NewClient(c ClientConfig) (*Client, error) {
	if len(c.URLs) == 0 || len(c.URLs) > maxURLs {
		return nil, fmt.Errorf("%w: want 1 to %d URLs of members", errConfig, maxURLs)
	}
	c.URLs = slices.Clone(c.URLs)
	for i, raw := range c.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("%w: %q is no URL of a member: write it as https://host:port", errConfig, raw)
		}
		if u.Scheme == "http" && c.Token != "" && !here(u.Host) {
			return nil, fmt.Errorf("%w: a token is not sent to %q without TLS: write https", errConfig, raw)
		}
		c.URLs[i] = u.Scheme + "://" + u.Host
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: clientDial}).DialContext
	}
	return &Client{config: c, http: &http.Client{
		// Whoever answers may not have the token sent elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: c.Dial, TLSClientConfig: c.TLS, TLSHandshakeTimeout: clientDial, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute,
		},
	}}, nil
}

// Close lets go of connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A request is what is asked of whichever member.
type request struct {
	method, path string
	header       map[string]string
	body         []byte
	patience     time.Duration // beside clientTry
}

// ask asks the members in turn, from the one that answered last, until one answers, and
// returns the body and header of what it says.
func (c *Client) ask(ctx context.Context, r request) ([]byte, http.Header, error) {
	var failures []error
	next := c.preferred()
	for n := range clientRounds * len(c.config.URLs) {
		if n > 0 && n%len(c.config.URLs) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(clientPause):
			}
		}
		if ctx.Err() != nil {
			return nil, nil, errors.Join(append(failures, ctx.Err())...)
		}
		body, header, sent, err := c.try(ctx, next, r)
		if err == nil {
			c.prefer(next)
			return body, header, nil
		}
		after, final := c.after(r, next, sent, err)
		if final != nil {
			return nil, nil, final
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.config.URLs[next], err))
		next = after
	}
	return nil, nil, fmt.Errorf("no member could be asked: %w", errors.Join(last(failures, len(c.config.URLs))...))
}

// after returns which member to ask after one that failed, or why none is to be asked.
func (c *Client) after(r request, which int, sent bool, err error) (next int, final error) {
	next = (which + 1) % len(c.config.URLs)
	p, told := errors.AsType[*Problem](err)
	switch {
	case told && p.Kind == KindNotLeader:
		// Where it says that the leader is counts only among those that we know: it is
		// not for a member to say who is shown the token.
		if at := slices.Index(c.config.URLs, strings.TrimRight(p.LeaderURL, "/")); at >= 0 && at != which {
			next = at
		}
	case told && p.Kind == KindUnavailable: // nothing was done
	case told:
		return 0, err
	case sent && r.method != http.MethodGet:
		return 0, &Problem{
			Kind: KindUnknown, Detail: fmt.Sprintf("%s was asked, and did not answer: %v", c.config.URLs[which], err),
			Next: "look at the status before you ask again: it may have been done, or may yet be",
		}
	}
	return next, nil
}

// last returns the last n of some errors: those of the last round.
func last(all []error, n int) []error { return all[max(0, len(all)-n):] }

func (c *Client) preferred() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *Client) prefer(which int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = which
}

// try asks one member. Sent: the request may have come to it.
func (c *Client) try(ctx context.Context, which int, r request) (body []byte, header http.Header, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientTry+r.patience)
	defer cancel()
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	a, err := c.open(ctx, which, r)
	if err != nil {
		return nil, nil, wrote.Load(), err
	}
	defer func() { _ = a.Body.Close() }() // it was read only
	body, err = io.ReadAll(io.LimitReader(a.Body, 4*maxFile+1))
	switch {
	case err != nil:
		return nil, nil, true, fmt.Errorf("read an answer: %w", err)
	case len(body) > 4*maxFile:
		return nil, nil, true, errors.New("read an answer: it is too long")
	case a.StatusCode >= 200 && a.StatusCode < 300:
		return body, a.Header, true, nil
	}
	p, err := parseProblem(a.StatusCode, body)
	if err != nil {
		return nil, nil, true, err
	}
	return nil, nil, true, p
}

// open sends a request to one member.
func (c *Client) open(ctx context.Context, which int, r request) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, r.method, c.config.URLs[which]+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for name, value := range r.header {
		q.Header.Set(name, value)
	}
	q.Header.Set("User-Agent", "roam-admin/1")
	if c.config.Token != "" {
		q.Header.Set("Authorization", "Bearer "+c.config.Token)
	}
	return c.http.Do(q)
}

// parseProblem reads a problem of a member, or whatever else answers there.
func parseProblem(status int, body []byte) (*Problem, error) {
	var p Problem
	kind, ours := "", false
	if json.Unmarshal(body, &p) == nil {
		kind, ours = strings.CutPrefix(p.Type, typeBase)
	}
	if !ours {
		return nil, fmt.Errorf("what answers is no admin API: status %d", status)
	}
	p.Kind = Kind(kind)
	return &p, nil
}

// askJSON asks with a value and reads one.
func (c *Client) askJSON(ctx context.Context, method, path string, in, out any) error {
	r := request{method: method, path: path}
	if in != nil {
		var err error
		if r.body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		r.header = map[string]string{"Content-Type": "application/json"}
	}
	body, _, err := c.ask(ctx, r)
	if err != nil {
		return err
	}
	return read(body, out)
}

// read reads an answer. It may have names that are of a later version.
func read(body []byte, out any) error {
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode an answer: %w", err)
	}
	return nil
}

// Status returns what some member knows.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.askJSON(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Watch returns a status as soon as something later than an index is agreed on, or after
// wait, which is at most 30 s.
func (c *Client) Watch(ctx context.Context, after uint64, wait time.Duration) (s Status, err error) {
	wait = min(max(wait, 0), maxWait)
	body, _, err := c.ask(ctx, request{
		method: http.MethodGet, path: fmt.Sprintf("/v1/status?after=%d&wait_ms=%d", after, wait.Milliseconds()), patience: wait,
	})
	if err != nil {
		return s, err
	}
	return s, read(body, &s)
}

// Switchover plans one, or only looks at what it needs. With checks that fail it fails with
// a Problem of KindChecks, which has them.
func (c *Client) Switchover(ctx context.Context, m Move) (out Moving, err error) {
	return out, c.askJSON(ctx, http.MethodPost, "/v1/switchover", m, &out)
}

// CancelSwitchover ends one that is arming.
func (c *Client) CancelSwitchover(ctx context.Context, by string) (d Done, err error) {
	return d, c.askJSON(ctx, http.MethodDelete, "/v1/switchover", By{by}, &d)
}

// Failover has another Region take the writes, and may lose what that one does not have.
func (c *Client) Failover(ctx context.Context, m Move) (out Moving, err error) {
	return out, c.askJSON(ctx, http.MethodPost, "/v1/failover", m, &out)
}

// Readmit lets a Region that lost the lease be promoted again.
func (c *Client) Readmit(ctx context.Context, region, by string) (d Done, err error) {
	return d, c.askJSON(ctx, http.MethodPost, "/v1/regions/"+url.PathEscape(region)+"/readmit", By{by}, &d)
}

// SetMode says what the judge may do: automatic, advise or off.
func (c *Client) SetMode(ctx context.Context, m Mode) (d Done, err error) {
	return d, c.askJSON(ctx, http.MethodPut, "/v1/mode", m, &d)
}

// Receipts returns all that are kept, without items.
func (c *Client) Receipts(ctx context.Context) (r Receipts, err error) {
	return r, c.askJSON(ctx, http.MethodGet, "/v1/receipts", nil, &r)
}

// Receipt returns one, with up to 1000 items from an offset on.
func (c *Client) Receipt(ctx context.Context, epoch uint64, offset, limit int) (d Detailed, err error) {
	return d, c.askJSON(ctx, http.MethodGet, fmt.Sprintf("/v1/receipts/%d?offset=%d&limit=%d", epoch, offset, limit), nil, &d)
}

// Events returns up to 1000 events that are newer than one.
func (c *Client) Events(ctx context.Context, after uint64, limit int) (e Events, err error) {
	return e, c.askJSON(ctx, http.MethodGet, fmt.Sprintf("/v1/events?after=%d&limit=%d", after, limit), nil, &e)
}

// Controls returns the routing controls and safety rules.
func (c *Client) Controls(ctx context.Context) (out Controls, err error) {
	return out, c.askJSON(ctx, http.MethodGet, "/v1/controls", nil, &out)
}

// SetControls makes all of some changes, or none: it fails with a Problem of KindRules or
// KindLease.
func (c *Client) SetControls(ctx context.Context, all Changes) (out Controls, err error) {
	return out, c.askJSON(ctx, http.MethodPut, "/v1/controls", all, &out)
}

// Topology returns roam.yaml and its version.
func (c *Client) Topology(ctx context.Context) (file []byte, version uint64, err error) {
	file, header, err := c.ask(ctx, request{method: http.MethodGet, path: "/v1/topology"})
	if err != nil {
		return nil, 0, err
	}
	version, err = strconv.ParseUint(strings.Trim(header.Get("ETag"), `"`), 10, 64)
	if err != nil {
		return nil, 0, errors.New("decode an answer: it has no version")
	}
	return file, version, nil
}

// SetTopology has another roam.yaml take the place of a version, or only sees whether it
// could. It fails with a Problem of KindFaults or KindVersion.
func (c *Client) SetTopology(ctx context.Context, file []byte, version uint64, dryRun bool, by string) (t Topology, err error) {
	body, _, err := c.ask(ctx, request{
		method: http.MethodPut, path: fmt.Sprintf("/v1/topology?dry_run=%t&by=%s", dryRun, url.QueryEscape(by)), body: file,
		header: map[string]string{"Content-Type": "application/yaml", "If-Match": tagOf(version)},
	})
	if err != nil {
		return t, err
	}
	return t, read(body, &t)
}

// Webhooks returns how those of some member fare.
func (c *Client) Webhooks(ctx context.Context) (w Webhooks, err error) {
	return w, c.askJSON(ctx, http.MethodGet, "/v1/webhooks", nil, &w)
}

// TestWebhook sends one a test.
func (c *Client) TestWebhook(ctx context.Context, name string) (t Tested, err error) {
	return t, c.askJSON(ctx, http.MethodPost, "/v1/webhooks/"+url.PathEscape(name)+"/test", nil, &t)
}
