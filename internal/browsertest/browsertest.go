//go:build integration

package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	// browserTimeout covers a cold start of Chromium on a busy machine and the
	// longest story that is told in one.
	browserTimeout = 2 * time.Minute
	// seeTimeout is how long something may take to appear: the demo's longest
	// wait, a write budget of 2 s and what follows it, several times over.
	seeTimeout = 15 * time.Second
	// seePeriod is between two looks.
	seePeriod = 20 * time.Millisecond
	// maxComplaints bounds what is kept of a page's complaints; more are dropped.
	maxComplaints = 100
)

// A Tab is a page of a headless Chromium that ends with the test. Its methods
// end the test where they fail, so only the test's goroutine may call them.
type Tab struct {
	t          testing.TB
	do         func(...chromedp.Action[chromedp.Void]) error
	follow     func(...chromedp.Action[chromedp.Void]) (*network.Response, error)
	eval       func(js string) (string, error)
	cookies    func(url string) ([]*network.Cookie, error)
	another    func(...chromedp.ContextOption) *Tab
	complaints chan string
}

// Open starts a browser and returns its first tab. Without a Chromium the test
// fails where CI=true, and is skipped elsewhere.
func Open(t testing.TB) *Tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), browserTimeout)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(program(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	return newTab(ctx, t)
}

// program returns the path of a Chromium, by the names that
// scripts/install-test-deps.sh knows.
func program(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium on the PATH: run ./scripts/install-test-deps.sh")
	}
	t.Skip("NOT TESTED in a browser: no Chromium on the PATH; run ./scripts/install-test-deps.sh")
	return ""
}

func newTab(parent context.Context, t testing.TB, options ...chromedp.ContextOption) *Tab {
	t.Helper()
	p := &Tab{t: t, complaints: make(chan string, maxComplaints)}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	t.Cleanup(cancel)
	p.do = func(steps ...chromedp.Action[chromedp.Void]) error { return chromedp.Do(ctx, steps...) }
	p.follow = func(steps ...chromedp.Action[chromedp.Void]) (*network.Response, error) {
		return chromedp.RunResponse(ctx, steps...)
	}
	p.eval = func(js string) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string](js, chromedp.EvalAwaitPromise))
	}
	p.cookies = func(url string) ([]*network.Cookie, error) {
		return chromedp.Run(ctx, func(ctx context.Context, at *chromedp.Target) ([]*network.Cookie, error) {
			got, err := cdp.Call(ctx, at, network.GetCookies, network.GetCookiesParams{URLs: []string{url}})
			return got.Cookies, err
		})
	}
	p.another = func(options ...chromedp.ContextOption) *Tab { return newTab(ctx, t, options...) }
	p.Do("start Chromium") // a tab's browser lives as long as its first action's context
	return p
}

// Beside opens another tab, with the same cookies.
func (p *Tab) Beside() *Tab {
	p.t.Helper()
	return p.another()
}

// Stranger opens a tab that shares nothing with the others, as another person's
// browser would.
func (p *Tab) Stranger() *Tab {
	p.t.Helper()
	return p.another(chromedp.WithNewBrowserContext())
}

// Do does steps in turn; what names them if one fails.
func (p *Tab) Do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := p.do(steps...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// Go opens the page at url.
func (p *Tab) Go(url string) {
	p.t.Helper()
	p.Do("open "+url, chromedp.Navigate(url))
}

// Click presses what selector names, once it can be seen.
func (p *Tab) Click(selector string) {
	p.t.Helper()
	p.Do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Follow clicks on what leads to another page, waits for that and returns its
// status.
func (p *Tab) Follow(selector string) (status int64) {
	p.t.Helper()
	res, err := p.follow(chromedp.Click(chromedp.CSS(selector)))
	if err != nil {
		p.t.Fatalf("follow %s: %v", selector, err)
	}
	return res.Status
}

// Ask returns what a JavaScript expression, or what it promises, is as text.
func (p *Tab) Ask(js string) string {
	p.t.Helper()
	v, err := p.eval("Promise.resolve(" + js + ").then(String)")
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// Text returns the text of the first element that selector names; "nothing" if
// there is none.
func (p *Tab) Text(selector string) string {
	p.t.Helper()
	return strings.TrimSpace(p.Ask(textOf(selector)))
}

func textOf(selector string) string {
	return fmt.Sprintf(`document.querySelector(%q)?.textContent ?? "nothing"`, selector)
}

// See waits until the text of what selector names has want in it.
func (p *Tab) See(selector, want string) {
	p.t.Helper()
	p.wait(selector, want, strings.Contains)
}

// SeeExactly waits until the text of what selector names is want.
func (p *Tab) SeeExactly(selector, want string) {
	p.t.Helper()
	p.wait(selector, want, func(got, want string) bool { return got == want })
}

func (p *Tab) wait(selector, want string, like func(got, want string) bool) {
	p.t.Helper()
	got, err := "", error(nil)
	for end := time.Now().Add(seeTimeout); time.Now().Before(end); time.Sleep(seePeriod) {
		got, err = p.eval("Promise.resolve(" + textOf(selector) + ")") // fails while pages change
		if got = strings.TrimSpace(got); err == nil && like(got, want) {
			return
		}
	}
	p.t.Fatalf("%s shows %q, want %q (%v)", selector, got, want, err)
}

// Cookies returns what the browser would send to url.
func (p *Tab) Cookies(url string) map[string]string {
	p.t.Helper()
	got, err := p.cookies(url)
	if err != nil {
		p.t.Fatalf("cookies of %s: %v", url, err)
	}
	all := map[string]string{}
	for _, c := range got {
		all[c.Name] = c.Value
	}
	return all
}

// Plant puts cookies into the browser, as if url had set them.
func (p *Tab) Plant(url string, cookies map[string]string) {
	p.t.Helper()
	var all []*network.CookieParam
	for name, value := range cookies {
		all = append(all, &network.CookieParam{Name: name, Value: value, URL: url, HTTPOnly: true})
	}
	p.Do("plant cookies", chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
		_, err := cdp.Call(ctx, at, network.SetCookies, network.SetCookiesParams{Cookies: all})
		return err
	}))
}

// listen keeps what the page complains of.
func (p *Tab) listen(event any) {
	what := ""
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		what = event.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
			what = string(event.Args[0].Value)
		}
	case *log.EventEntryAdded: // what the Content-Security-Policy stopped comes so
		if event.Entry.Source != log.EntrySourceNetwork {
			what = event.Entry.Text
		}
	}
	if what == "" {
		return
	}
	select {
	case p.complaints <- what:
	default: // enough is known
	}
}

// WantNoComplaints fails the test if the page threw, warned, or tried what its
// Content-Security-Policy forbids.
func (p *Tab) WantNoComplaints() {
	p.t.Helper()
	for len(p.complaints) > 0 {
		p.t.Errorf("the page complains: %s", <-p.complaints)
	}
}
