//go:build integration

package console

import (
	"context"
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

// browser returns a context with a fresh headless Chromium, and what the page
// complains of.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the console is not tested in a browser: %v; install chromium", err)
		}
		t.Skipf("NOT TESTED in a browser: %v; install chromium", err)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	complaints := make(chan string, 100)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			complaints <- ev.ExceptionDetails.Text
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
				complaints <- string(ev.Args[0].Value)
			}
		case *log.EventEntryAdded: // what the Content-Security-Policy stopped comes so
			if ev.Entry.Source != log.EntrySourceNetwork {
				complaints <- ev.Entry.Text
			}
		}
	}))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, browserTimeout)
	t.Cleanup(cancel)
	return ctx, func() []string {
		var all []string
		for {
			select {
			case c := <-complaints:
				all = append(all, c)
			default:
				return all
			}
		}
	}
}

func TestBrowserShowsAndBreaks(t *testing.T) {
	f := newFake()
	server := httptest.NewServer(Handler(f, quiet()))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // or Close waits for the stream
	ctx, complaints := browser(t)
	f.tell(KindLogin, "user 3f9a logged in")

	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	see := func(selector, want string) {
		t.Helper()
		const wait = `new Promise((done) => { const look = () => {
			const e = document.querySelector(SEL); const s = e ? e.textContent : "";
			if (s.includes(WANT)) done(s); else setTimeout(look, 20); }; look(); setTimeout(() => done(document.querySelector(SEL)?.textContent ?? "nothing"), 5000); })`
		js := strings.NewReplacer("SEL", quoteJS(selector), "WANT", quoteJS(want)).Replace(wait)
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](js, chromedp.EvalAwaitPromise))
		if err != nil || !strings.Contains(got, want) {
			t.Fatalf("%s shows %q, %v; want %q", selector, got, err, want)
		}
	}

	do("open", chromedp.Navigate(server.URL), chromedp.WaitVisible(chromedp.CSS(".panel")))
	for _, name := range []string{"us-west-1", "us-west-2", "eu-central-1"} {
		see(`.panel[aria-label="Region `+name+`"]`, name)
		see("#map", name)
	}
	see("#stream", "live")
	see("#events", "user 3f9a logged in")

	tall := func() (height int) {
		t.Helper()
		height, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollHeight`))
		if err != nil {
			t.Fatal(err)
		}
		return height
	}
	before := tall()

	const row = "#link-us-west-1-us-west-2 "
	do("cut", chromedp.Click(chromedp.CSS(row+".cut")))
	see(row, "✕ cut")
	see(row+".cut", "Join")
	do("cut replication by keyboard",
		chromedp.Focus(chromedp.CSS(`#plane input[value="replication"]`)), chromedp.SendKeys(chromedp.CSS(`#plane input[value="replication"]`), " "))
	see("#link-us-west-2-us-west-1 .cut", "Cut replication")
	do("press", chromedp.SendKeys(chromedp.CSS("#link-us-west-2-us-west-1 .cut"), "\r"))
	see("#link-us-west-2-us-west-1 td:nth-of-type(2)", "✕ cut")
	do("kill", chromedp.Click(chromedp.CSS(`button[aria-label="Kill us-west-2"]`)))
	see(`.panel[aria-label="Region us-west-2"]`, "✕ dead")
	if after := tall(); after != before {
		t.Errorf("the page has %d px after cuts and a death, want %d as before: it jumps", after, before)
	}
	do("ask for another topology", chromedp.Click(chromedp.CSS("#restart")), chromedp.WaitVisible(chromedp.CSS("#ask")))
	if n := len(f.done()); n != 3 {
		t.Errorf("%d actions before the answer, want 3", n)
	}
	do("confirm", chromedp.Click(chromedp.CSS(`#ask button[value="yes"]`)))
	see("#topology", ActivePassive)

	want := []Action{
		{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Cut: new(true)},
		{Kind: ActLink, From: "us-west-2", To: "us-west-1", Plane: PlaneReplication, Cut: new(true)},
		{Kind: ActRegion, Region: "us-west-2", Alive: new(false)},
		{Kind: ActTopology, Topology: ActivePassive},
	}
	if did := f.done(); !reflect.DeepEqual(did, want) {
		t.Errorf("actions done = %+v, want %+v", did, want)
	}

	server.CloseClientConnections()
	see("#stream", "not live")
	see("#stream", "✓ live") // the browser has come back by itself
	f.tell(KindLogout, "user 3f9a logged out")
	see("#events", "user 3f9a logged out")
	if n, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll("#events li").length`)); err != nil || n != 2 {
		t.Errorf("%d events shown after reconnecting, %v; want 2, none twice", n, err)
	}
	for _, width := range []int64{360, 390, 820, 1280} {
		do("resize", chromedp.EmulateViewport(width, 800))
		if got, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); err != nil || got > width {
			t.Errorf("the page is %d px wide in a window of %d, %v; want no scrolling sideways", got, width, err)
		}
	}
	if all := complaints(); len(all) != 0 {
		t.Errorf("the page complains: %q", all)
	}
}

// quoteJS writes s as a string of JavaScript.
func quoteJS(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
