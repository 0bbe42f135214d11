package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// maxAnswerBytes is more than any page of the shop has.
const maxAnswerBytes = 1 << 20

// A browser is one visitor of the shop with her cookies.
type browser struct {
	client *http.Client
	url    string // of the edge
}

func (t *tour) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		// An invariant: New fails for its options, and there are none.
		panic(err)
	}
	return &browser{url: t.url, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A view is what the shop tells a script of its visitor's session.
type view struct {
	Region string `json:"region"`
	Rung   string `json:"rung"`
	State  string `json:"state"`
	User   string `json:"user"`
	Left   bool   `json:"left"`
	Visits int64  `json:"visits"`
	Theme  string `json:"theme"`
	Cart   []struct {
		Item     string `json:"item"`
		Quantity int    `json:"quantity"`
	} `json:"cart"`
	Waiting int `json:"revocations_waiting"`
}

func (v view) who() string {
	if v.User == "" {
		return "nobody"
	}
	return v.User
}

func (v view) cart() string {
	var out []string
	for _, l := range v.Cart {
		out = append(out, fmt.Sprintf("%d %s", l.Quantity, l.Item))
	}
	if out == nil {
		return "empty cart"
	}
	return strings.Join(out, ", ")
}

// look returns what a Region shows of the visitor's session.
func (b *browser) look(ctx context.Context, region string) (v view, err error) {
	body, code, err := b.ask(ctx, http.MethodGet, region, "/api/session", nil)
	if err != nil {
		return v, err
	}
	if code != http.StatusOK {
		return view{Region: region, Rung: "refused", State: http.StatusText(code)}, nil
	}
	return v, json.Unmarshal(body, &v)
}

// post submits a form in a Region and returns the answer's status.
func (b *browser) post(ctx context.Context, region, path string, form ...string) (code int, body []byte, err error) {
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	body, code, err = b.ask(ctx, http.MethodPost, region, path, values)
	return code, body, err
}

// must is post for forms that the shop answers with a redirect or a page.
func (b *browser) must(ctx context.Context, region, path string, form ...string) error {
	code, _, err := b.post(ctx, region, path, form...)
	if err == nil && code >= http.StatusBadRequest {
		err = fmt.Errorf("POST %s in %s: %s", path, region, http.StatusText(code))
	}
	return err
}

func (b *browser) login(ctx context.Context, region, user string) error {
	return b.must(ctx, region, "/login", "user", user, "password", "any")
}

// told is what a logout answers a script.
type told struct {
	Have    []string `json:"have"`
	Waiting []string `json:"waiting"`
}

func (t told) String() string {
	waiting := "none"
	if len(t.Waiting) > 0 {
		waiting = strings.Join(t.Waiting, ", ")
	}
	return fmt.Sprintf("%s have it; waiting: %s", strings.Join(t.Have, ", "), waiting)
}

// logout logs out at path and returns which Regions have it.
func (b *browser) logout(ctx context.Context, region, path string) (string, error) {
	code, body, err := b.post(ctx, region, path)
	if err != nil {
		return "", err
	}
	var has told
	if err := json.Unmarshal(body, &has); err != nil {
		return fmt.Sprintf("%s: not logged out", http.StatusText(code)), nil //nolint:nilerr // the step differs
	}
	return has.String(), nil
}

// copyCookies returns a browser with the same cookies, as a thief or a delayed
// request has them.
func (b *browser) copyCookies(t *tour) *browser {
	out := t.browser()
	u, err := url.Parse(b.url)
	if err != nil {
		// An invariant: requests were sent there.
		panic(err)
	}
	out.client.Jar.SetCookies(u, b.client.Jar.Cookies(u))
	return out
}

func (b *browser) ask(ctx context.Context, method, region, path string, form url.Values) ([]byte, int, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, body)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set(RegionHeader, region)
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	return out, res.StatusCode, err
}
