//go:build integration

package console

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserTimeout covers a cold start of Chromium on a busy machine.
const browserTimeout = 90 * time.Second

// tab is a page in a fresh headless Chromium.
type tab struct {
	t          *testing.T
	run        func(...chromedp.Action[chromedp.Void]) error
	eval       func(js string) (string, error)
	complaints chan string
}

// openConsole shows the console of f in a browser.
func openConsole(t *testing.T, f *fake) (*tab, *httptest.Server) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the console is not tested in a browser: %v; install chromium", err)
		}
		t.Skipf("NOT TESTED in a browser: %v; install chromium", err)
	}
	server := httptest.NewServer(Handler(f, quiet()))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // or Close waits for the stream
	ctx, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	p := &tab{t: t, complaints: make(chan string, 100)}
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, browserTimeout)
	t.Cleanup(cancel)
	p.run = func(actions ...chromedp.Action[chromedp.Void]) error { return chromedp.Do(ctx, actions...) }
	p.eval = func(js string) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string](js, chromedp.EvalAwaitPromise))
	}
	p.do("open", chromedp.Navigate(server.URL), chromedp.WaitVisible(chromedp.CSS(".panel")))
	return p, server
}

// listen keeps what the page complains of.
func (p *tab) listen(ev any) {
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.complaints <- ev.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			p.complaints <- string(ev.Args[0].Value)
		}
	case *log.EventEntryAdded: // what the Content-Security-Policy stopped comes so
		if ev.Entry.Source != log.EntrySourceNetwork {
			p.complaints <- ev.Entry.Text
		}
	}
}

// wantNoComplaints is the end of each test.
func (p *tab) wantNoComplaints() {
	p.t.Helper()
	for len(p.complaints) > 0 {
		p.t.Errorf("the page complains: %s", <-p.complaints)
	}
}

func (p *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := p.run(actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// ask returns what a JavaScript expression, or what it promises, is as text.
func (p *tab) ask(js string) string {
	p.t.Helper()
	v, err := p.eval("Promise.resolve(" + js + ").then(String)")
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// see waits until an element's text has want in it.
func (p *tab) see(selector, want string) {
	p.t.Helper()
	const wait = `new Promise((done) => {
		const end = Date.now() + 5000;
		const look = () => {
			const text = document.querySelector(%q)?.textContent ?? "nothing";
			if (text.includes(%q) || Date.now() > end) done(text); else setTimeout(look, 20);
		};
		look();
	})`
	if got := p.ask(fmt.Sprintf(wait, selector, want)); !strings.Contains(got, want) {
		p.t.Fatalf("%s shows %q, want %q", selector, got, want)
	}
}

func TestBrowserShowsAndBreaks(t *testing.T) {
	f := newFake()
	p, _ := openConsole(t, f)
	for _, name := range []string{"us-west-1", "us-west-2", "eu-central-1"} {
		p.see(`.panel[aria-label="Region `+name+`"]`, "4.2 writes/s")
		p.see("#map", name)
	}
	p.see("#stream", "live")
	const height = `document.documentElement.scrollHeight`
	before := p.ask(height)

	const row = "#link-us-west-1-us-west-2 "
	p.do("cut", chromedp.Click(chromedp.CSS(row+".cut")))
	p.see(row, "✕ cut")
	p.see(row+".cut", "Join")

	// The same by keyboard, for replication alone.
	const replication, back = `#plane input[value="replication"]`, "#link-us-west-2-us-west-1 "
	p.do("choose", chromedp.Focus(chromedp.CSS(replication)), chromedp.SendKeys(chromedp.CSS(replication), " "))
	p.see(back+".cut", "Cut replication")
	p.do("press", chromedp.SendKeys(chromedp.CSS(back+".cut"), "\r"))
	p.see(back+"td:nth-of-type(2)", "✕ cut")

	p.do("kill", chromedp.Click(chromedp.CSS(`button[aria-label="Kill us-west-2"]`)))
	p.see(`.panel[aria-label="Region us-west-2"]`, "✕ dead")
	if after := p.ask(height); after != before {
		t.Errorf("the page has %s px after cuts and a death, want %s as before: it jumps", after, before)
	}

	p.do("ask for another topology", chromedp.Click(chromedp.CSS("#restart")), chromedp.WaitVisible(chromedp.CSS("#ask")))
	if did := f.done(); len(did) != 3 {
		t.Errorf("actions before the confirmation = %+v, want 3", did)
	}
	p.do("confirm", chromedp.Click(chromedp.CSS(`#ask button[value="yes"]`)))
	p.see("#topology", ActivePassive)

	want := []Action{
		{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Cut: new(true)},
		{Kind: ActLink, From: "us-west-2", To: "us-west-1", Plane: PlaneReplication, Cut: new(true)},
		{Kind: ActRegion, Region: "us-west-2", Alive: new(false)},
		{Kind: ActTopology, Topology: ActivePassive},
	}
	if did := f.done(); !reflect.DeepEqual(did, want) {
		t.Errorf("actions done = %+v, want %+v", did, want)
	}
	p.wantNoComplaints()
}

func TestBrowserShowsWhatIsRefused(t *testing.T) {
	f := newFake()
	f.refusal = &Refusal{Problem: "it is being started anew", Next: "wait a moment"}
	p, _ := openConsole(t, f)
	p.do("heal", chromedp.Click(chromedp.CSS("#heal")))
	p.see("#said", "it is being started anew: wait a moment")
	p.wantNoComplaints()
}

func TestBrowserComesBackByItself(t *testing.T) {
	f := newFake()
	f.tell(KindLogin, "user 3f9a logged in")
	p, server := openConsole(t, f)
	p.see("#events", "user 3f9a logged in")
	server.CloseClientConnections()
	p.see("#stream", "not live")
	p.see("#banner", "Reconnecting")
	p.see("#stream", "✓ live")
	f.tell(KindLogout, "user 3f9a logged out")
	p.see("#events", "user 3f9a logged out")
	if n := p.ask(`document.querySelectorAll("#events li").length`); n != "2" {
		t.Errorf("%s events shown after reconnecting, want 2, none twice", n)
	}
	p.wantNoComplaints()
}

func TestBrowserFitsEveryWindow(t *testing.T) {
	p, _ := openConsole(t, newFake())
	for _, width := range []int64{360, 390, 820, 1270, 1600} {
		p.do("resize", chromedp.EmulateViewport(width, 800))
		const wider = `[...document.querySelectorAll("html, .scroll, .panel, td")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.className || e.tagName).join()`
		if cut := p.ask(wider); cut != "" {
			t.Errorf("in a window of %d px these are cut off: %s", width, cut)
		}
	}
	p.wantNoComplaints()
}

// TestBrowserReadsNamesAsText has a Region, an event and an error that would be
// markup if the page took them for it.
func TestBrowserReadsNamesAsText(t *testing.T) {
	const markup = `<img src=x onerror="document.title='broken'">`
	f := newFake()
	f.now.Regions[0].OpenBreakers = []string{markup}
	f.now.Links[0].LastError = markup
	f.tell(markup, markup)
	p, _ := openConsole(t, f)
	p.see("#events", markup)
	p.see("#regions", markup)
	if n := p.ask(`document.querySelectorAll("img").length`); n != "0" {
		t.Errorf("%s images on the page, want none", n)
	}
	p.wantNoComplaints()
}

func TestBrowserKeepsUpWithEvents(t *testing.T) {
	f := newFake()
	p, _ := openConsole(t, f)
	for range 50 {
		f.tell(KindWrite, make([]string, 100)...)
	}
	f.tell(KindWrite, "the last")
	p.see("#events li:first-child", "the last")
	if n := p.ask(`document.querySelectorAll("#events li").length`); n != "300" {
		t.Errorf("%s events kept after 5001, want 300", n)
	}
	if n := p.ask(`document.querySelectorAll("#events .gap").length`); n != "0" {
		t.Errorf("%s gaps, want none: no event was left out", n)
	}
	p.wantNoComplaints()
}
