package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// call sends one request to a console of src, as curl on the same machine would.
func call(t *testing.T, src Source, method, target, body string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:7070"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	Handler(src, quiet()).ServeHTTP(w, r)
	got := w.Result()
	b, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return got, b
}

// wantProblem checks that an answer refuses, and says what is wrong and what next.
func wantProblem(t *testing.T, what string, r *http.Response, body []byte, status int, word string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: body %q: %v", what, body, err)
	}
	if r.StatusCode != status || !strings.Contains(p.Error, word) || p.Next == "" {
		t.Errorf("%s = %d %+v, want %d, an error with %q, and what to do next", what, r.StatusCode, p, status, word)
	}
}

func TestStateIsServed(t *testing.T) {
	f := newFake()
	r, body := call(t, f, "GET", "/api/state", "")
	var got State
	if err := json.Unmarshal(body, &got); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("GET /api/state = %d %q, %v", r.StatusCode, body, err)
	}
	if want := f.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("GET /api/state = %+v, want %+v", got, want)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("GET /api/state: Cache-Control = %q, want no-store", got)
	}
}

func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	link := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from "([^"]+)"`)
	inline := regexp.MustCompile(`(?i)\sstyle="|<style|<script>|\son[a-z]+="|https?://`)
	names := []string{"/"}
	for i := 0; i < len(names); i++ {
		r, body := call(t, newFake(), "GET", names[i], "")
		if r.StatusCode != http.StatusOK {
			t.Errorf("GET %s = %d, want 200", names[i], r.StatusCode)
		}
		// The name of SVG's namespace looks like an address and is none.
		text := strings.ReplaceAll(string(body), "http://www.w3.org/2000/svg", "")
		if bad := inline.FindString(text); bad != "" {
			t.Errorf("GET %s has %q, which the Content-Security-Policy forbids", names[i], bad)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			next := path.Join("/", m[1]+m[2])
			if !strings.HasPrefix(next, "/api/") && !slices.Contains(names, next) {
				names = append(names, next)
			}
		}
	}
	files, err := static.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(files) { // index.html is /
		t.Errorf("the page leads to %v, want each of the %d embedded files", names, len(files))
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	}
	for _, target := range []string{"/", "/main.js", "/api/state", "/api/none", "/none"} {
		r, _ := call(t, newFake(), "GET", target, "")
		for name, value := range want {
			if got := r.Header.Get(name); got != value {
				t.Errorf("GET %s: %s = %q, want %q", target, name, got, value)
			}
		}
		csp := r.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, part) || strings.Contains(csp, "unsafe") {
				t.Errorf("GET %s: Content-Security-Policy = %q, want %s and nothing unsafe", target, csp, part)
			}
		}
	}
}

func TestOnlyLoopbackNamesAreAnswered(t *testing.T) {
	good := []string{"localhost", "localhost:7070", "127.0.0.1:7070", "127.8.9.1", "[::1]:7070", "[::1]", "[::ffff:127.0.0.1]:80"}
	bad := []string{"", "evil.example", "evil.example:7070", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.7:7070", "0.0.0.0:7070", "[::]:7070", "[fe80::1]", "localhost:7070:1"}
	for _, host := range good {
		if r, body := call(t, newFake(), "GET", "/api/state", "", "Host", host); r.StatusCode != http.StatusOK {
			t.Errorf("Host %q = %d %s, want 200", host, r.StatusCode, body)
		}
	}
	for _, host := range bad {
		for _, target := range []string{"/", "/api/state", "/api/events"} {
			r, body := call(t, newFake(), "GET", target, "", "Host", host)
			wantProblem(t, "Host "+host+" GET "+target, r, body, http.StatusForbidden, "does not answer to the name")
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	const heal = `{"kind":"heal"}`
	for _, c := range []struct{ method, target, name, value string }{
		{"POST", "/api/action", "Sec-Fetch-Site", "cross-site"},
		{"POST", "/api/action", "Sec-Fetch-Site", "same-site"}, // the shop, on another port
		{"POST", "/api/action", "Origin", "http://evil.example"},
		{"POST", "/api/action", "Origin", "http://localhost:8081"},
		{"POST", "/api/action", "Origin", "null"},
		{"GET", "/api/events", "Sec-Fetch-Site", "cross-site"},
		{"GET", "/api/state", "Sec-Fetch-Site", "same-site"},
	} {
		f := newFake()
		r, body := call(t, f, c.method, c.target, heal, c.name, c.value)
		what := c.method + " " + c.target + " with " + c.name + " " + c.value
		wantProblem(t, what, r, body, http.StatusForbidden, "another site")
		if did := f.done(); len(did) != 0 {
			t.Errorf("%s did %v, want nothing", what, did)
		}
	}
	f := newFake()
	r, body := call(t, f, "POST", "/api/action", heal, "Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:7070")
	if r.StatusCode != http.StatusOK || len(f.done()) != 1 {
		t.Errorf("POST from the console's own page = %d %s and did %v, want 200 and one action", r.StatusCode, body, f.done())
	}
}

func TestActionIsDoneAndAnsweredWithTheStateAfterIt(t *testing.T) {
	f := newFake()
	r, body := call(t, f, "POST", "/api/action", `{"kind":"link","from":"us-west-1","to":"us-west-2","plane":"replication","cut":true}`)
	var got State
	if err := json.Unmarshal(body, &got); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("POST /api/action = %d %s, %v", r.StatusCode, body, err)
	}
	if l := got.Links[0]; !l.Replication.Cut || l.Calls.Cut {
		t.Errorf("link after the action = %+v, want replication cut, calls not", l)
	}
	want := []Action{{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneReplication, Cut: new(true)}}
	if did := f.done(); !reflect.DeepEqual(did, want) {
		t.Errorf("actions done = %+v, want %+v", did, want)
	}
}

func TestBadActionsAreRefusedAndNotDone(t *testing.T) {
	for _, c := range []struct {
		body   string
		status int
		word   string
	}{
		{``, 400, "EOF"},
		{`[]`, 400, "decode action"},
		{`{"kind":"heal","form":"us-west-1"}`, 400, "form"},
		{`{"kind":"heal"} {"kind":"heal"}`, 400, "follows"},
		{`{"kind":"heal","from":"` + strings.Repeat("x", maxActionBytes) + `"}`, 413, "larger"},
		{`{"kind":"heal","from":"us-west-1","to":"mars"}`, 422, "mars"},
	} {
		f := newFake()
		r, body := call(t, f, "POST", "/api/action", c.body)
		wantProblem(t, "POST "+c.body[:min(len(c.body), 60)], r, body, c.status, c.word)
		if did := f.done(); len(did) != 0 {
			t.Errorf("POST %s did %v, want nothing", c.body, did)
		}
	}
}

func TestRefusalsOfTheSourceReachTheCaller(t *testing.T) {
	for _, err := range []error{errors.New("it is being started anew"), &Refusal{Problem: "it is being started anew", Next: "wait"}} {
		f := newFake()
		f.refusal = err
		r, body := call(t, f, "POST", "/api/action", `{"kind":"heal"}`)
		wantProblem(t, "POST heal", r, body, http.StatusUnprocessableEntity, "started anew")
	}
}

// stuck is a deployment that does not get an action done.
type stuck struct{ *fake }

func (stuck) Do(ctx context.Context, _ Action) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestActionsHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r, body := call(t, stuck{newFake()}, "POST", "/api/action", `{"kind":"heal"}`)
		wantProblem(t, "POST heal", r, body, http.StatusGatewayTimeout, "may be done or not")
		if got := time.Since(start); got != actionTimeout {
			t.Errorf("POST heal took %v, want %v", got, actionTimeout)
		}
	})
}

func TestUnknownCallsSayWhichThereAre(t *testing.T) {
	r, body := call(t, newFake(), "GET", "/api/none", "")
	wantProblem(t, "GET /api/none", r, body, http.StatusNotFound, "no such call")
	r, body = call(t, newFake(), "GET", "/api/action", "")
	wantProblem(t, "GET /api/action", r, body, http.StatusNotFound, "no such call")
}

// TestFormatPage decodes the examples of docs/formats/console.md, and encodes
// them again: a name that changed on either side shows.
func TestFormatPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/formats/console.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range regexp.MustCompile("(?s)<!-- example: (state|event|action|problem) -->\n```json\n(.*?)```").FindAllSubmatch(page, -1) {
		kind := string(m[1])
		seen[kind]++
		v := map[string]any{"state": &State{}, "event": &Event{}, "action": &Action{}, "problem": &problem{}}[kind]
		dec := json.NewDecoder(bytes.NewReader(m[2]))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil {
			t.Errorf("example of a %s: %v", kind, err)
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal(m[2], &want), json.Unmarshal(b, &got)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("example of a %s encodes as %s, want every name that the page has and no other: %s", kind, b, m[2])
		}
		if a, ok := v.(*Action); ok {
			if err := a.Check(newControlled().State()); err != nil {
				t.Errorf("example action %s is refused: %v", b, err)
			}
		}
	}
	for kind, least := range map[string]int{"state": 1, "event": 1, "action": 6, "problem": 1} {
		if seen[kind] < least {
			t.Errorf("docs/formats/console.md has %d examples of a %s, want %d or more", seen[kind], kind, least)
		}
	}
}
