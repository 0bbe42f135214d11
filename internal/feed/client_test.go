package feed

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	near  = "http://127.0.0.1"
	far   = "http://127.0.0.2"
	nearH = "127.0.0.1"
	farH  = "127.0.0.2"
)

// A change is with whoever follows as soon as a node has it.
func TestChangeIsThereAtOnce(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		b := newBoard(View{}) // a node that has not heard of anything yet
		h.up(nearH, Handler(b))
		f := follow(t, Config{URLs: []string{near}, HTTP: h.client()})
		time.Sleep(time.Minute)
		if v, ok := f.Latest(); ok || v.Deployment != "" {
			t.Errorf("Latest before anything was said = %+v, %v", v, ok)
		}
		changed := f.Changed()
		b.put(at(1, 1))
		synctest.Wait()
		f.has(t, at(1, 1))
		select {
		case <-changed:
		default:
			t.Error("Changed is open after the first View")
		}
		begun := time.Now()
		for i := range uint64(20) {
			changed = f.Changed()
			b.put(at(1+i/10, 2+i))
			<-changed
			f.has(t, at(1+i/10, 2+i))
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("20 changes took %v, want no time", took)
		}
		time.Sleep(time.Hour)
		if n := len(h.dials(nearH)); n != 1 {
			t.Errorf("%d connections in an hour in which all is well, want 1", n)
		}
		if since := time.Since(f.Heard()); since > beatEvery {
			t.Errorf("Heard is %v ago, want a beat a second", since)
		}
	}))
}

// What is older than what is known is no news, wherever it comes from.
func TestNeverGoesBack(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		path := filepath.Join(t.TempDir(), "view")
		if err := save(path, at(4, 20)); err != nil {
			t.Fatal(err)
		}
		behind := newBoard(at(3, 90)) // a member that was away has a long log of an old epoch
		h.up(nearH, Handler(behind))
		f := follow(t, Config{URLs: []string{near, far}, HTTP: h.client(), Path: path})
		f.has(t, at(4, 20)) // before anybody has said anything
		synctest.Wait()
		f.has(t, at(4, 20))
		behind.put(at(4, 19))
		synctest.Wait()
		f.has(t, at(4, 20))
		behind.put(at(4, 21))
		synctest.Wait()
		f.has(t, at(4, 21))
		if v, _, err := load(path); err != nil || !equal(v, at(4, 21)) {
			t.Errorf("on the disk: %+v, %v, want the newest", v, err)
		}
	}))
}

// A file comes once; a View that leaves it out leaves it as it was.
func TestFileIsAsBefore(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		with := at(1, 1)
		with.Version, with.File = 7, "version: 1\n"
		b := newBoard(with)
		h.up(nearH, Handler(b))
		f := follow(t, Config{URLs: []string{near}, HTTP: h.client()})
		synctest.Wait()
		next := at(1, 2)
		next.Version = 7
		b.put(next)
		synctest.Wait()
		next.File = with.File
		f.has(t, next)
		other := at(1, 3)
		other.Version = 8
		b.put(other)
		synctest.Wait()
		f.has(t, other) // that of version 7 is not that of version 8
	}))
}

// A node that hangs, or that has lost touch, is left for another within Silence.
func TestSilenceLeadsToTheNext(t *testing.T) {
	for what, silence := range map[string]func(h *hosts, b *board){
		"it never answers": func(h *hosts, _ *board) {
			h.up(nearH, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		},
		"it doubts":  func(_ *hosts, b *board) { b.doubt(true) },
		"it is gone": func(h *hosts, _ *board) { h.up(nearH, nil) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, among(func(t *testing.T, h *hosts) {
				first, second := newBoard(at(1, 1)), newBoard(at(2, 2))
				h.up(nearH, Handler(first))
				h.up(farH, Handler(second))
				silence(h, first)
				f := follow(t, Config{URLs: []string{near, far}, HTTP: h.client()})
				begun := time.Now()
				for changed := f.Changed(); ; changed = f.Changed() {
					if v, _ := f.Latest(); equal(v, at(2, 2)) {
						break
					}
					<-changed
				}
				if took := time.Since(begun); took > 3200*time.Millisecond {
					t.Errorf("the next node's View came after %v, want 3 s and a pause", took)
				}
				time.Sleep(time.Minute)
				if n, m := len(h.dials(nearH)), len(h.dials(farH)); n > 1 || m != 1 {
					t.Errorf("%d and %d connections, want one is followed at a time", n, m)
				}
			}))
		})
	}
}

// A node that has been well and falls silent is noticed too.
func TestSilenceAfterALongTime(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		first, second := newBoard(at(1, 1)), newBoard(at(1, 1))
		h.up(nearH, Handler(first))
		h.up(farH, Handler(second))
		f := follow(t, Config{URLs: []string{near, far}, HTTP: h.client()})
		time.Sleep(time.Minute)
		second.put(at(2, 2))
		first.doubt(true)
		begun := time.Now()
		<-f.Changed()
		f.has(t, at(2, 2))
		if took := time.Since(begun); took < 2*time.Second || took > 3200*time.Millisecond {
			t.Errorf("it took %v, want Silence since the last beat", took)
		}
	}))
}

// With no node at all the disk's View stands, and they are asked ever more rarely.
func TestAllNodesAreDead(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		path := filepath.Join(t.TempDir(), "view")
		if err := save(path, at(5, 50)); err != nil {
			t.Fatal(err)
		}
		var log told
		f := follow(t, Config{URLs: []string{near, far}, HTTP: h.client(), Path: path, Log: log.log()})
		time.Sleep(10 * time.Minute)
		f.has(t, at(5, 50))
		dials := h.dials(nearH)
		if n := len(dials); n < 600/10 || n > 600/5+10 {
			t.Errorf("%d tries at a node in ten minutes, want one in 5 to 10 s", n)
		}
		if first := dials[1].Sub(dials[0]); first > 300*time.Millisecond {
			t.Errorf("the second try came after %v, want a moment", first)
		}
		if n := len(log.lines()); n != 1 {
			t.Errorf("%d warnings of one outage, want 1: %q", n, log.lines())
		}
		b := newBoard(at(6, 60))
		h.up(farH, Handler(b))
		begun := time.Now()
		<-f.Changed()
		if took := time.Since(begun); took > 11*time.Second {
			t.Errorf("a node that is back was found after %v, want two waits at most", took)
		}
		f.has(t, at(6, 60))
		if !f.Heard().Equal(time.Now()) {
			t.Errorf("Heard = %v, want now", f.Heard())
		}
	}))
}

// A node that answers and fails at once is not asked in a loop.
func TestWhoFailsAtOnceIsNotAskedInALoop(t *testing.T) {
	for what, handler := range map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"a View":   func(w http.ResponseWriter, _ *http.Request) { b, _ := at(1, 1).Encode(); _, _ = w.Write(b) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\n") },
		"long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", MaxBytes+5))
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, far, http.StatusFound) },
		"another's": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"v":1,"deployment":"bank"}`+"\n")
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, among(func(t *testing.T, h *hosts) {
				h.up(nearH, handler)
				h.up(farH, Handler(newBoard(at(9, 9))))
				f := follow(t, Config{URLs: []string{near}, HTTP: h.client(), Deployment: "shop"})
				time.Sleep(time.Minute)
				if n := len(h.dials(nearH)); n < 10 || n > 30 {
					t.Errorf("%d tries in a minute, want 10 to 30", n)
				}
				if n := len(h.dials(farH)); n != 0 {
					t.Errorf("a redirect was followed")
				}
				if v, ok := f.Latest(); ok != (what == "a View") {
					t.Errorf("Latest = %+v, %v", v, ok)
				}
			}))
		})
	}
}

// A file that is not believed is told once and replaced; until then nothing is known.
func TestBrokenFileIsReplaced(t *testing.T) {
	good, err := at(7, 7).EncodeFile()
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-3], "changed": []byte(strings.Replace(string(good), `"epoch":7`, `"epoch":8`, 1)),
		"another deployment's": []byte(strings.Replace(string(good), "shop", "bank", 1)), "too long": append(good, make([]byte, maxFileBytes)...),
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, among(func(t *testing.T, h *hosts) {
				path := filepath.Join(t.TempDir(), "view")
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				if what == "another deployment's" {
					v := at(7, 7)
					if v.Deployment = "bank"; save(path, v) != nil {
						t.Fatal("it was not saved")
					}
				}
				var log told
				f := follow(t, Config{URLs: []string{near}, HTTP: h.client(), Path: path, Deployment: "shop", Log: log.log()})
				if v, ok := f.Latest(); ok {
					t.Errorf("Latest = %+v of a broken file", v)
				}
				h.up(nearH, Handler(newBoard(at(1, 1))))
				<-f.Changed()
				synctest.Wait()
				if v, ok, err := load(path); err != nil || !ok || !equal(v, at(1, 1)) {
					t.Errorf("on the disk: %+v, %v, %v, want what the node said", v, ok, err)
				}
				said := 0
				for _, line := range log.lines() {
					if strings.Contains(line, "is not believed") {
						said++
					}
				}
				if said != 1 {
					t.Errorf("%d warnings, want 1: %q", said, log.lines())
				}
			}))
		})
	}
}

// What the disk does not take is offered again until it does, and holds up nobody.
func TestDiskThatRefuses(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		dir := filepath.Join(t.TempDir(), "later")
		path := filepath.Join(dir, "view")
		b := newBoard(at(1, 1))
		h.up(nearH, Handler(b))
		var log told
		f := follow(t, Config{URLs: []string{near}, HTTP: h.client(), Path: path, Log: log.log()})
		time.Sleep(time.Minute)
		f.has(t, at(1, 1))
		if n := len(log.lines()); n != 1 || !strings.Contains(log.lines()[0], "is not kept") {
			t.Errorf("the log was told %q, want one warning", log.lines())
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepAgain)
		synctest.Wait()
		if v, _, err := load(path); err != nil || !equal(v, at(1, 1)) {
			t.Errorf("on the disk: %+v, %v", v, err)
		}
	}))
}

// Close leaves the newest View on the disk.
func TestCloseKeepsTheNewest(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		path := filepath.Join(t.TempDir(), "view")
		for i := range uint64(200) {
			f, err := Follow(t.Context(), Config{URLs: []string{near}, HTTP: h.client(), Path: path})
			if err != nil {
				t.Fatal(err)
			}
			_ = f.take(Line{View: at(1, i+1)}) // of one deployment
			_ = f.Close()                      // never fails
			if v, _, err := load(path); err != nil || !equal(v, at(1, i+1)) {
				t.Fatalf("on the disk after Close: %+v, %v, want index %d", v, err, i+1)
			}
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 1 {
			t.Errorf("beside the file: %v, %v", entries, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the file: %v, %v, want 0600", info.Mode(), err)
		}
	}))
}

// Whoever only has a file has what is in it.
func TestWithoutNodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view")
	if err := save(path, full()); err != nil {
		t.Fatal(err)
	}
	follow(t, Config{Path: path}).has(t, full())
}

func TestFollowRefuses(t *testing.T) {
	for what, c := range map[string]Config{
		"neither URLs nor Path": {},
		"want https://":         {URLs: []string{"roam://a"}},
		"https, or Plaintext":   {URLs: []string{"http://10.0.0.1/v1/feed"}},
		"without a password":    {URLs: []string{"https://u:secret@a/"}},
		"46 URLs":               {URLs: strings.Split(strings.Repeat("https://a/ ", 46)[:46*11-1], " ")},
		"Silence":               {Path: "x", Silence: time.Millisecond},
		"backoff":               {Path: "x", MinBackoff: time.Second, MaxBackoff: time.Millisecond},
		`deployment "Shop"`:     {Path: "x", Deployment: "Shop"},
	} {
		f, err := Follow(t.Context(), c)
		if err == nil || f != nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Follow = %v, want an error that says %q", err, what)
		}
	}
	follow(t, Config{URLs: []string{"http://192.0.2.1/"}, Plaintext: true, HTTP: newHosts().client()})
}

// All of it on real sockets.
func TestOnLoopback(t *testing.T) {
	b := newBoard(at(1, 1))
	server := httptest.NewServer(Handler(b))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "view")
	f := follow(t, Config{URLs: []string{server.URL}, Path: path})
	for i := uint64(1); i < 50; i++ {
		changed := f.Changed()
		if v, _ := f.Latest(); !equal(v, at(1, i)) {
			<-changed
		}
		f.has(t, at(1, i))
		b.put(at(1, i+1))
	}
	_ = f.Close() // never fails
	if v, _, err := load(path); err != nil || v.Index < 49 {
		t.Errorf("on the disk: %+v, %v", v, err)
	}
}
