package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
)

// listed returns a folder with the whole list of the receipt of failedOver.
func listed(t *testing.T, items int) (*receipt.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	f := receipt.NewFolder(receipt.Config{Dir: dir, Items: 1500})
	d := f.Begin(receipt.Head{Epoch: 7, From: "us-west-1", To: "us-west-2"}, false)
	for n := range items {
		i := ledger.Item{Session: fmt.Sprintf("%010x", n), Kind: "write", At: time.Now(), Fate: ledger.Recovered}
		if n == 0 {
			i.Fate = ledger.Lost
		}
		d.Add(i)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func (m *member) close(t *testing.T) {
	t.Helper()
	m.propose(t, ledger.Command{Salvage: &ledger.Salvage{Epoch: 7, Closed: true, Counts: map[ledger.Fate]uint64{ledger.Recovered: 2000, ledger.Lost: 1, ledger.Unknown: 0}}})
}

// fetch has a client ask for a list, and returns what it is told.
func fetch(t *testing.T, c *Client, epoch uint64) (head ListHead, items []Item, err error) {
	t.Helper()
	err = c.ReceiptItems(t.Context(), epoch, Listing{
		Head: func(h ListHead) error { head = h; return nil },
		Item: func(i Item) error { items = append(items, i); return nil },
	})
	return head, items, err
}

// The whole list is told, line by line, and says what is not named in it.
func TestItems(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 250)
	folder, _ := listed(t, 2001)
	s := serve(t, m, func(c *Config) { c.Lists = folder })
	for _, closed := range []bool{false, true} {
		if closed {
			m.close(t)
		}
		head, items, err := fetch(t, clientOf(t, s.url), 7)
		if err != nil || len(items) != 1500 || head.Named != 1500 || head.More != 501 || head.Counts["recovered"] != 2000 || head.Receipt.From != "us-west-1" {
			t.Errorf("%d items, %+v, %v", len(items), head, err)
		}
		if len(items) > 0 && (items[0].Session != "0000000000" || items[0].Fate != "lost" || items[0].Kind != "write" || items[0].At.IsZero()) {
			t.Errorf("the first is %+v", items[0])
		}
	}
	if a := s.ask(asking{method: "GET", path: "/v1/receipts/7/items", token: viewerToken}, nil); a.Header.Get("Content-Type") != ndjson {
		t.Errorf("a viewer gets %v, %v", a.Status, a.Header)
	}
	s.refused(asking{method: "GET", path: "/v1/receipts/7/items", token: "-"}, 401, KindUnauthorized)
	s.refused(asking{method: "GET", path: "/v1/receipts/8/items"}, 404, KindNotFound)
	s.refused(asking{method: "GET", path: "/v1/receipts/seven/items"}, 404, KindNotFound)
}

// What is no whole list, or of another failover, is not told.
func TestItemsThatAreNone(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 250)
	folder, dir := listed(t, 2001)
	s := serve(t, m, func(c *Config) { c.Lists = folder })
	whole, err := os.ReadFile(filepath.Join(dir, "7.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "7.jsonl"), whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if p := s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound); !strings.Contains(p.Detail, "can't be read") {
		t.Errorf("of half a list it is said %q", p.Detail)
	}
	other := bytes.Replace(whole, []byte("us-west-2"), []byte("us-east-1"), 1)
	if err := os.WriteFile(filepath.Join(dir, "7.jsonl"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound)
}

// A list of fewer writes than a receipt that is closed is not shown as all of them; of one
// that is open it is what is known.
func TestItemsOfAnEarlierLook(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 1)
	folder, dir := listed(t, 20)
	s := serve(t, m, func(c *Config) { c.Lists = folder })
	if _, items, err := fetch(t, clientOf(t, s.url), 7); err != nil || len(items) != 20 {
		t.Errorf("of an open receipt: %d items, %v", len(items), err)
	}
	m.close(t)
	s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound)
	f := receipt.NewFolder(receipt.Config{Dir: dir})
	if err := f.Begin(receipt.Head{Epoch: 7, From: "us-west-1", To: "us-east-1"}, false).Commit(); err != nil {
		t.Fatal(err)
	}
	if p := s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound); !strings.Contains(p.Detail, "another failover") {
		t.Errorf("of another failover's list it is said %q", p.Detail)
	}
}

func TestItemsBeforeALook(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 1)
	s := serve(t, m, func(c *Config) { c.Lists = receipt.NewFolder(receipt.Config{Dir: t.TempDir()}) })
	if p := s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound); !strings.Contains(p.Detail, "not looked at yet") {
		t.Errorf("it is said %q", p.Detail)
	}
	m.close(t)
	if p := s.refused(asking{method: "GET", path: "/v1/receipts/7/items"}, 404, KindNotFound); !strings.Contains(p.Detail, "is kept") {
		t.Errorf("it is said %q", p.Detail)
	}
}

// Only some read whole lists at a time, and whoever reads too slowly is cut off.
func TestItemsAreBounded(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 1)
	folder, _ := listed(t, 9)
	a := &api{Config: configOf(func(c *Config) { c.Lists = folder }), member: m, readers: make(chan struct{}, 1)}
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.SetPathValue("epoch", "7")
		a.items(w, r)
		return w
	}
	leave, err := take(a.readers, "")
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(); w.Code != http.StatusTooManyRequests {
		t.Errorf("one too many: status %d", w.Code)
	}
	leave()
	for range 2 {
		if w := ask(); w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("with a seat: status %d", w.Code)
		}
	}
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	end := time.Now().Add(answerTime / 2)
	for _, p := range []*patient{{w, http.NewResponseController(w), end}, {w, http.NewResponseController(w), end.Add(time.Hour)}} {
		if _, err := p.Write(nil); err != nil {
			t.Error(err)
		}
	}
	if len(w.deadlines) != 2 || !w.deadlines[0].Equal(end) || !w.deadlines[1].After(end) || w.deadlines[1].After(time.Now().Add(answerTime)) {
		t.Errorf("the deadlines are %v", w.deadlines)
	}
}

// A timed keeps the deadlines that it is given.
type timed struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

// SetWriteDeadline keeps a deadline.
func (w *timed) SetWriteDeadline(at time.Time) error {
	w.deadlines = append(w.deadlines, at)
	return nil
}

// A witness is a member that has no lists.
type witness struct{ *member }

func (w witness) Status() control.Status {
	s := w.member.Status()
	s.Self = "witness"
	return s
}

// Whoever has not the list says who has it, and the client asks that one next, each member
// once.
func TestItemsAreElsewhere(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 250)
	m.close(t)
	folder, _ := listed(t, 2001)
	has := serve(t, m, func(c *Config) { c.Lists = folder })
	handler := func(keeper string) http.HandlerFunc {
		h, err := New(witness{m}, m, configOf(func(c *Config) { c.Members = map[string]string{"us-west-1": keeper} }))
		if err != nil {
			t.Fatal(err)
		}
		return h.ServeHTTP
	}
	lacks, _ := stranger(t, handler(has.url))
	lacks2, asked2 := stranger(t, handler(has.url))
	if _, items, err := fetch(t, clientOf(t, lacks, lacks2, has.url), 7); err != nil || len(items) != 1500 || asked2.Load() != 0 {
		t.Errorf("%d items, %v, and %d others were asked, want it asked for where it is", len(items), err, asked2.Load())
	}
	away := nobody(t)
	unknown, asked := stranger(t, handler(away))
	_, _, err := fetch(t, clientOf(t, unknown, away), 7)
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Kind != KindElsewhere || p.Keeper != "us-west-1" || !strings.Contains(p.Error(), "us-west-1 has the whole list") || len(p.Faults) != 1 ||
		!strings.Contains(p.Faults[0], away) || asked.Load() != 1 {
		t.Errorf("with its keeper away: %v, %d asked, want it named", err, asked.Load())
	}
	if _, _, err := fetch(t, clientOf(t, away), 7); err == nil || kindOf(err) != "" {
		t.Errorf("with all away: %v", err)
	}
	if _, _, err := fetch(t, clientOf(t, unknown), 7); kindOf(err) != KindElsewhere { // the keeper's URL is not among ours
		t.Errorf("from one that has it not: %v", err)
	}
}

// One that knows of no such receipt may lag behind, or be of an earlier version: others are
// asked. Of those that have none the word of whoever should have it counts.
func TestItemsThatSomeDoNotKnow(t *testing.T) {
	m, behind := founded(t), founded(t)
	m.failedOver(t, 250)
	m.close(t)
	folder, _ := listed(t, 2001)
	has, lags := serve(t, m, func(c *Config) { c.Lists = folder }), serve(t, behind, nil)
	if _, items, err := fetch(t, clientOf(t, lags.url, has.url), 7); err != nil || len(items) != 1500 {
		t.Errorf("%d items, %v, want those of the second", len(items), err)
	}
	if _, _, err := fetch(t, clientOf(t, lags.url, nobody(t)), 7); kindOf(err) != KindNotFound {
		t.Errorf("with none that knows it: %v", err)
	}
	lost := serve(t, m, nil) // it should have the list
	h, err := New(witness{m}, m, configOf(func(c *Config) { c.Members = map[string]string{"us-west-1": lost.url} }))
	if err != nil {
		t.Fatal(err)
	}
	points, _ := stranger(t, h.ServeHTTP)
	for _, urls := range [][]string{{points, lost.url}, {lost.url, points}, {lags.url, points, lost.url}} {
		if _, _, err := fetch(t, clientOf(t, urls...), 7); kindOf(err) != KindNotFound || !strings.Contains(err.Error(), "its receipt names the first writes") {
			t.Errorf("of a list that is gone: %v", err)
		}
	}
	away := nobody(t)
	if h, err = New(witness{m}, m, configOf(func(c *Config) { c.Members = map[string]string{"us-west-1": away} })); err != nil {
		t.Fatal(err)
	}
	points, _ = stranger(t, h.ServeHTTP)
	if _, _, err := fetch(t, clientOf(t, lags.url, points, away), 7); kindOf(err) != KindElsewhere {
		t.Errorf("with its keeper away, and one that lags: %v", err)
	}
}

// listLines returns a list as it is told.
func listLines(t *testing.T, lines ...any) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	return b.String()
}

// A list that is cut short, or counts otherwise than it is, is an error, and no other member
// is asked for it when some of it was told.
func TestItemsCutShort(t *testing.T) {
	head := Line{Head: &ListHead{Named: 1}}
	item, end := Line{Item: &Item{Session: "ab"}}, Line{End: &ListEnd{Named: 1}}
	whole := listLines(t, head, item, map[string]any{"later": 1}, end)
	parse := func(text string) error {
		return parseList(strings.NewReader(text), func() {}, Listing{Head: func(ListHead) error { return nil }, Item: func(Item) error { return nil }})
	}
	if err := parse(whole); err != nil {
		t.Errorf("a whole list: %v", err)
	}
	for n := range len(whole) - 2 { // without its last line's end it is whole
		if err := parse(whole[:n]); err == nil {
			t.Errorf("%q is taken for a list", whole[:n])
		}
	}
	for _, text := range []string{listLines(t, head, head, item, end), listLines(t, item, end), listLines(t, head, end), listLines(t, head, item, item, end)} {
		if err := parse(text); err == nil {
			t.Errorf("%q is taken for a list", text)
		}
	}
	cut, _ := stranger(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(listLines(t, head, item))) })
	other, asked := stranger(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole)) })
	if _, items, err := fetch(t, clientOf(t, cut, other), 7); err == nil || len(items) != 1 || asked.Load() != 0 {
		t.Errorf("%d items, %v, and %d others were asked, want it to fail", len(items), err, asked.Load())
	}
	own := errors.New("no room")
	err := clientOf(t, other).ReceiptItems(t.Context(), 7, Listing{Head: func(ListHead) error { return nil }, Item: func(Item) error { return own }})
	if !errors.Is(err, own) {
		t.Errorf("ReceiptItems = %v, want the listing's error", err)
	}
}

// What a member says of a list is read or refused, whatever it is.
func FuzzParseList(f *testing.F) {
	f.Add(`{"head":{"receipt":{},"counts":{},"named":1,"more":0}}` + "\n" + `{"item":{"session":"ab"}}` + "\n" + `{"end":{"named":1}}` + "\n")
	f.Add("{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		var heads, items, named uint64
		err := parseList(strings.NewReader(text), func() {}, Listing{
			Head: func(h ListHead) error { heads++; named = h.Named; return nil },
			Item: func(Item) error { items++; return nil },
		})
		if err == nil && (heads != 1 || items != named) {
			t.Errorf("%q has %d heads and %d items of %d", text, heads, items, named)
		}
	})
}
