//go:build integration

package console

import (
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/roam-sessions/roam/internal/browsertest"
)

// openConsole shows the console of f in a browser.
func openConsole(t *testing.T, f *fake) (*browsertest.Tab, *httptest.Server) {
	t.Helper()
	p := browsertest.Open(t)
	server := httptest.NewServer(Handler(f, quiet()))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // or Close waits for the stream
	p.Go(server.URL)
	p.See(".panel", "us-west-1")
	return p, server
}

func TestBrowserShowsAndBreaks(t *testing.T) {
	f := newFake()
	p, _ := openConsole(t, f)
	for _, name := range []string{"us-west-1", "us-west-2", "eu-central-1"} {
		p.See(`.panel[aria-label="Region `+name+`"]`, "4.2 writes/s")
		p.See("#map", name)
	}
	p.See("#stream", "live")
	const height = `document.documentElement.scrollHeight`
	before := p.Ask(height)

	const row = "#link-us-west-1-us-west-2 "
	p.Click(row + ".cut")
	p.See(row, "✕ cut")
	p.See(row+".cut", "Join")

	// The same by keyboard, for replication alone.
	const replication, back = `#plane input[value="replication"]`, "#link-us-west-2-us-west-1 "
	p.Do("choose", chromedp.Focus(chromedp.CSS(replication)), chromedp.SendKeys(chromedp.CSS(replication), " "))
	p.See(back+".cut", "Cut replication")
	p.Do("press", chromedp.SendKeys(chromedp.CSS(back+".cut"), "\r"))
	p.See(back+"td:nth-of-type(2)", "✕ cut")

	p.Click(`button[aria-label="Kill us-west-2"]`)
	p.See(`.panel[aria-label="Region us-west-2"]`, "✕ dead")
	if after := p.Ask(height); after != before {
		t.Errorf("the page has %s px after cuts and a death, want %s as before: it jumps", after, before)
	}

	p.Do("ask for another topology", chromedp.Click(chromedp.CSS("#restart")), chromedp.WaitVisible(chromedp.CSS("#ask")))
	if did := f.done(); len(did) != 3 {
		t.Errorf("actions before the confirmation = %+v, want 3", did)
	}
	p.Click(`#ask button[value="yes"]`)
	p.See("#topology", ActivePassive)

	want := []Action{
		{Kind: ActLink, From: "us-west-1", To: "us-west-2", Plane: PlaneAll, Cut: new(true)},
		{Kind: ActLink, From: "us-west-2", To: "us-west-1", Plane: PlaneReplication, Cut: new(true)},
		{Kind: ActRegion, Region: "us-west-2", Alive: new(false)},
		{Kind: ActTopology, Topology: ActivePassive},
	}
	if did := f.done(); !reflect.DeepEqual(did, want) {
		t.Errorf("actions done = %+v, want %+v", did, want)
	}
	p.WantNoComplaints()
}

func TestBrowserShowsWhatIsRefused(t *testing.T) {
	f := newFake()
	f.refusal = &Refusal{Problem: "it is being started anew", Next: "wait a moment"}
	p, _ := openConsole(t, f)
	p.Click("#heal")
	p.See("#said", "it is being started anew: wait a moment")
	p.WantNoComplaints()
}

func TestBrowserComesBackByItself(t *testing.T) {
	f := newFake()
	f.tell(KindLogin, "user 3f9a logged in")
	p, server := openConsole(t, f)
	p.See("#events", "user 3f9a logged in")
	server.CloseClientConnections()
	p.See("#stream", "not live")
	p.See("#banner", "Reconnecting")
	p.See("#stream", "✓ live")
	f.tell(KindLogout, "user 3f9a logged out")
	p.See("#events", "user 3f9a logged out")
	if n := p.Ask(`document.querySelectorAll("#events li").length`); n != "2" {
		t.Errorf("%s events shown after reconnecting, want 2, none twice", n)
	}
	p.WantNoComplaints()
}

func TestBrowserFitsEveryWindow(t *testing.T) {
	p, _ := openConsole(t, newControlled())
	for _, width := range []int64{360, 390, 820, 1270, 1600} {
		p.Do("resize", chromedp.EmulateViewport(width, 800))
		const wider = `[...document.querySelectorAll("html, .scroll, .panel, .card, td")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.className || e.tagName).join()`
		if cut := p.Ask(wider); cut != "" {
			t.Errorf("in a window of %d px these are cut off: %s", width, cut)
		}
	}
	p.WantNoComplaints()
}

// TestBrowserReadsNamesAsText has a Region, an event and an error that would be
// markup if the page took them for it.
func TestBrowserReadsNamesAsText(t *testing.T) {
	const markup = `<img src=x onerror="document.title='broken'">`
	f := newFake()
	f.now.Regions[0].OpenBreakers = []string{markup}
	f.now.Links[0].LastError = markup
	f.now.Control = newControlled().now.Control
	f.now.Control.Ending, f.now.Control.Notes[0].Text, f.now.Control.Receipts[0].Note = markup, markup, markup
	f.tell(markup, markup)
	p, _ := openConsole(t, f)
	p.See("#events", markup)
	p.See("#regions", markup)
	p.See("#control", markup)
	if n := p.Ask(`document.querySelectorAll("img").length`); n != "0" {
		t.Errorf("%s images on the page, want none", n)
	}
	p.WantNoComplaints()
}

func TestBrowserKeepsUpWithEvents(t *testing.T) {
	f := newFake()
	p, _ := openConsole(t, f)
	for range 50 {
		f.tell(KindWrite, make([]string, 100)...)
	}
	f.tell(KindWrite, "the last")
	p.See("#events li:first-child", "the last")
	if n := p.Ask(`document.querySelectorAll("#events li").length`); n != "300" {
		t.Errorf("%s events kept after 5001, want 300", n)
	}
	if n := p.Ask(`document.querySelectorAll("#events .gap").length`); n != "0" {
		t.Errorf("%s gaps, want none: no event was left out", n)
	}
	p.WantNoComplaints()
}

// TestBrowserShowsTheControlPlane sees who holds the lease, what names answer, a switchover's
// steps, receipts and decisions, and asks for a switchover and a readmission.
func TestBrowserShowsTheControlPlane(t *testing.T) {
	f := newControlled()
	p, _ := openConsole(t, f)
	for selector, words := range map[string][]string{
		"#control": {
			"us-west-1", "✓ holds the lease", "3.4 s", "us-west-2", "write.session.internal", "→ us-west-1 (TTL 10)", "✕ it is dead",
			"us-west-2 → us-west-1, epoch 3: done", "+812 ms", "+191 ms", "+477 ms", "epoch 2, us-west-2 → us-west-1", "▲ open",
			"3 recovered, 1 superseded, 0 lost, 0 unknown", "promoted us-west-1", "it takes all writes: a planned switchover",
		},
		"#regions": {"Switch over to here", "Readmit"},
	} {
		for _, word := range words {
			p.See(selector, word)
		}
	}
	for js, want := range map[string]string{
		`document.querySelector("button[aria-label='Switch over to us-west-1']").disabled`: "true", // it has it
		`document.querySelector("button[aria-label='Readmit us-west-1']").disabled`:        "true", // it lost nothing
		`document.querySelectorAll(".steps [data-state='ok']").length`:                     "3",
	} {
		if got := p.Ask(js); got != want {
			t.Errorf("%s = %s, want %s", js, got, want)
		}
	}
	const height = `document.documentElement.scrollHeight`
	before := p.Ask(height)
	p.Click(`button[aria-label="Switch over to eu-central-1"]`)
	p.See("#control", "us-west-1 → eu-central-1, epoch 4: arming")
	p.Click(`button[aria-label="Readmit us-west-2"]`)
	p.See("#said", "us-west-2 may be promoted again")
	f.set(func(s *State) {
		now := *s.Control
		now.Held, now.LastsMs, now.Leader, now.Ending = false, 0, "", "it is over: us-west-1 is lost to 2 of 3 members (2 are a majority)"
		s.Control = &now
	})
	p.See("#control", "✕ holds no lease")
	p.See("#control", "over: us-west-1 is lost")
	if after := p.Ask(height); after != before {
		t.Errorf("the page has %s px after all that, want %s as before: it jumps", after, before)
	}
	want := []Action{{Kind: ActSwitchover, Region: "eu-central-1"}, {Kind: ActReadmit, Region: "us-west-2"}}
	if did := f.done(); !reflect.DeepEqual(did, want) {
		t.Errorf("actions done = %+v, want %+v", did, want)
	}
	f.set(func(s *State) { s.Control = nil })
	p.Do("wait until it is gone", chromedp.WaitNotVisible(chromedp.CSS("#control")))
	p.WantNoComplaints()
}
