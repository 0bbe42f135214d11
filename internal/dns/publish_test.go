package dns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

const (
	foreignZone = "corp.example."
	published   = "write.corp.example."
)

func publisher(t *testing.T, f *foreign, c PublisherConfig) *Publisher {
	t.Helper()
	p, err := NewPublisher("127.0.0.1:1", foreignZone, published, c)
	if err != nil {
		t.Fatal(err)
	}
	p.ask = f.ask
	return p
}

// is7 is what there is after epoch 7.
const is7 = "write.corp.example. 10 IN CNAME east.example.\n" + `_roam.write.corp.example. 10 IN TXT "roam1" "7" "east.example."`

func TestPublish(t *testing.T) {
	seven := Publication{Epoch: 7, Target: "East.example"}
	for _, c := range []struct {
		name string
		has  []string
		want string
		err  error
	}{
		{"nothing is there", nil, is7, nil},
		{"it is so", strings.Split(is7, "\n"), is7, nil},
		{"an older epoch", []string{"write.corp.example. 10 CNAME west.example.", `_roam.write.corp.example. 10 TXT roam1 6 west.example.`}, is7, nil},
		{"somebody moved it", []string{"write.corp.example. 10 CNAME west.example.", `_roam.write.corp.example. 10 TXT roam1 7 east.example.`}, is7, nil},
		{"somebody deleted it", []string{`_roam.write.corp.example. 10 TXT roam1 7 east.example.`}, is7, nil},
		{"another TTL", []string{"write.corp.example. 300 CNAME east.example.", `_roam.write.corp.example. 10 TXT roam1 7 east.example.`}, is7, nil},
		{"it was made by hand", []string{"write.corp.example. 300 CNAME west.example."}, is7, nil},
		{"a newer epoch", []string{"write.corp.example. 10 CNAME west.example.", `_roam.write.corp.example. 10 TXT roam1 8 west.example.`}, "", ErrStale},
		{"a newer epoch, and the name moved", []string{"write.corp.example. 10 CNAME east.example.", `_roam.write.corp.example. 10 TXT roam1 8 west.example.`}, "", ErrStale},
		{"another target in this epoch", []string{"write.corp.example. 10 CNAME west.example.", `_roam.write.corp.example. 10 TXT roam1 7 west.example.`}, "", ErrStale},
		{"an address", []string{"write.corp.example. 10 A 10.0.0.1"}, "", ErrOccupied},
		{"a text beside it", []string{`_roam.write.corp.example. 10 TXT "v=spf1 -all"`}, "", ErrOccupied},
		{"an alias beside it", []string{`_roam.write.corp.example. 10 CNAME else.corp.example.`, `else.corp.example. 10 TXT roam1 6 west.example.`}, "", ErrOccupied},
		{"two marks", []string{`_roam.write.corp.example. 10 TXT roam1 6 west.example.`, `_roam.write.corp.example. 10 TXT roam1 7 east.example.`}, "", ErrOccupied},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &foreign{zone: foreignZone}
				f.put(t, c.has...)
				before := f.text()
				p := publisher(t, f, PublisherConfig{})
				err := p.Publish(t.Context(), seven)
				want := c.want
				if c.err != nil {
					want = before
				}
				if !errors.Is(err, c.err) || f.text() != want {
					t.Errorf("Publish = %v, the server has\n%s\nwant %v\n%s", err, f.text(), c.err, want)
				}
				if c.err == nil {
					taken := f.updates
					if err := p.Publish(t.Context(), seven); err != nil || f.updates != taken {
						t.Errorf("again: %v, %d updates, want %d", err, f.updates, taken)
					}
				}
			})
		})
	}
}

func TestPublishTriesAgain(t *testing.T) {
	w := Publication{Epoch: 7, Target: "east.example."}
	update := func(m *wire.Msg) bool { return m.Opcode == wire.OpcodeUpdate }
	for _, c := range []struct {
		name    string
		fate    func(n int, m *wire.Msg) fate // of the n-th request
		updates int
		tries   uint64
	}{
		{"the first question is lost", func(n int, _ *wire.Msg) fate { return fate{lost: n == 1} }, 1, 2},
		{"the update is lost", func(n int, m *wire.Msg) fate { return fate{lost: n == 3 && update(m)} }, 1, 2},
		{"its answer is", func(n int, m *wire.Msg) fate { return fate{unheard: n == 3 && update(m)} }, 1, 2},
		{"what verifies is", func(n int, _ *wire.Msg) fate { return fate{lost: n == 4} }, 1, 2},
		{"the server fails", func(n int, m *wire.Msg) fate { return fate{rcode: failing(n < 9 && update(m))} }, 1, 3},
		{"somebody was first", func(n int, m *wire.Msg) fate { return fate{rcode: racing(n == 3 && update(m))} }, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &foreign{zone: foreignZone}
				n := 0
				f.fate = func(m *wire.Msg) fate { n++; return c.fate(n, m) }
				p := publisher(t, f, PublisherConfig{})
				if err := p.Publish(t.Context(), w); err != nil || f.text() != is7 || f.updates != c.updates || p.Stats().Tries != c.tries {
					t.Errorf("Publish = %v, %d updates, %+v, want %d and %d tries; the server has\n%s", err, f.updates, p.Stats(), c.updates, c.tries, f.text())
				}
			})
		})
	}
}

func failing(yes bool) int {
	if yes {
		return wire.RcodeServerFailure
	}
	return 0
}

func racing(yes bool) int {
	if yes {
		return wire.RcodeNXRrset
	}
	return 0
}

func TestPublishGivesUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		fate  fate
		want  error
		tries uint64
		least time.Duration
	}{
		{"nobody answers", fate{lost: true}, errLost, 6, 2 * time.Second},
		{"the server refuses", fate{rcode: wire.RcodeRefused}, ErrRefused, 1, 0},
		{"the key is wrong", fate{rcode: wire.RcodeNotAuth}, ErrRefused, 1, 0},
		{"another zone", fate{rcode: wire.RcodeNotZone}, ErrRefused, 1, 0},
		{"it takes no updates", fate{rcode: wire.RcodeNotImplemented}, ErrRefused, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &foreign{zone: foreignZone, fate: func(*wire.Msg) fate { return c.fate }}
				p := publisher(t, f, PublisherConfig{})
				began := time.Now()
				err := p.Publish(t.Context(), Publication{Epoch: 7, Target: "east.example."})
				took := time.Since(began)
				if !errors.Is(err, c.want) || p.Stats().Tries != c.tries || p.Stats().Failed != 1 || took < c.least || took > time.Minute {
					t.Errorf("Publish = %v after %v, %+v, want %v after %d tries", err, took, p.Stats(), c.want, c.tries)
				}
			})
		})
	}
}

// Whoever has a name kept hears of each try, and whether there is another.
func TestKeepTells(t *testing.T) {
	for _, c := range []struct {
		name  string
		fate  func(n int) fate
		again []bool
		err   error
	}{
		{"it is so at once", func(int) fate { return fate{} }, []bool{false}, nil},
		{"the server fails twice", func(n int) fate { return fate{rcode: failing(n <= 2)} }, []bool{true, true, false}, nil},
		{"the server refuses", func(int) fate { return fate{rcode: wire.RcodeRefused} }, []bool{false}, ErrRefused},
		{"nobody answers", func(int) fate { return fate{lost: true} }, []bool{true, true, true, true, true, false}, errLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &foreign{zone: foreignZone, fate: func(*wire.Msg) fate { n++; return c.fate(n) }}
				var mu sync.Mutex
				var again []bool
				var last Report
				p := publisher(t, f, PublisherConfig{Every: time.Hour, Tell: func(r Report) {
					mu.Lock()
					defer mu.Unlock()
					again, last = append(again, r.Again), r
				}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				w := Publication{Epoch: 7, Target: "east.example."}
				p.Keep(ctx, func() (Publication, bool) { return w, true }, nil)
				if !slices.Equal(again, c.again) || !errors.Is(last.Err, c.err) || last.Publication != w {
					t.Errorf("told %v, at last %+v; want %v, %v", again, last, c.again, c.err)
				}
			})
		})
	}
}

func TestMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{zone: foreignZone}
		p := publisher(t, f, PublisherConfig{})
		if target, _, marked, err := p.Marked(t.Context()); target != "" || marked || err != nil {
			t.Errorf("Marked of nothing = %q, %v, %v", target, marked, err)
		}
		f.put(t, "write.corp.example. 10 CNAME west.example.", "_roam.write.corp.example. 10 TXT roam1 6 east.example.")
		target, w, marked, err := p.Marked(t.Context())
		if target != "west.example." || w != (Publication{Epoch: 6, Target: "east.example."}) || !marked || err != nil || f.updates != 0 {
			t.Errorf("Marked = %q, %+v, %v, %v after %d updates", target, w, marked, err, f.updates)
		}
		f.put(t, "_roam.write.corp.example. 10 TXT v=spf1")
		if _, _, _, err := p.Marked(t.Context()); !errors.Is(err, ErrOccupied) {
			t.Errorf("Marked of what is not ours = %v", err)
		}
	})
}

func TestPublishIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{zone: foreignZone}
		p := publisher(t, f, PublisherConfig{Tries: 2})
		p.ask = func(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
			if m.Opcode == wire.OpcodeUpdate { // a server that says it did
				return new(wire.Msg).SetReply(m), nil
			}
			return f.ask(ctx, m)
		}
		if err := p.Publish(t.Context(), Publication{Epoch: 7, Target: "east.example."}); !errors.Is(err, errUnverified) {
			t.Errorf("Publish = %v, want that it is not so", err)
		}
	})
}

func TestPublishAsksAnAuthority(t *testing.T) {
	p := publisher(t, &foreign{}, PublisherConfig{})
	p.ask = func(_ context.Context, m *wire.Msg) (*wire.Msg, error) { return new(wire.Msg).SetReply(m), nil }
	if err := p.Publish(t.Context(), Publication{Epoch: 7, Target: "east.example."}); !errors.Is(err, ErrRefused) {
		t.Errorf("Publish at a resolver = %v, want ErrRefused", err)
	}
}

func TestPublishRemembers(t *testing.T) {
	f := &foreign{zone: foreignZone}
	p := publisher(t, f, PublisherConfig{})
	if err := p.Publish(t.Context(), Publication{Epoch: 7, Target: "east.example."}); err != nil {
		t.Fatal(err)
	}
	f.rrs = nil // as when an old zone is put back
	if err := p.Publish(t.Context(), Publication{Epoch: 6, Target: "west.example."}); !errors.Is(err, ErrStale) || f.alias() != "" {
		t.Errorf("Publish of an older epoch = %v, the name leads to %q", err, f.alias())
	}
	if err := p.Publish(t.Context(), Publication{Epoch: 8}); !errors.Is(err, errNoTarget) {
		t.Errorf("Publish of nothing = %v", err)
	}
}

func TestPublishEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{zone: foreignZone, fate: func(*wire.Msg) fate { return fate{lost: true} }}
		p := publisher(t, f, PublisherConfig{BackoffMin: time.Minute, BackoffMax: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := p.Publish(ctx, Publication{Epoch: 7, Target: "east.example."}); err == nil || time.Since(began) != time.Second {
			t.Errorf("Publish = %v after %v", err, time.Since(began))
		}
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards what follows
		var w Publication
		down := true
		f := &foreign{zone: foreignZone, fate: func(*wire.Msg) fate { return fate{lost: down} }}
		p := publisher(t, f, PublisherConfig{})
		p.ask = func(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
			mu.Lock()
			defer mu.Unlock()
			return f.ask(ctx, m)
		}
		latest := func() (Publication, bool) {
			mu.Lock()
			defer mu.Unlock()
			return w, w.Epoch > 0
		}
		changed := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Keep(ctx, latest, changed) }()
		step := func(d time.Duration, want, what string, change func()) {
			t.Helper()
			mu.Lock()
			change()
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if f.alias() != want {
				t.Errorf("%s: the name leads to %q, want %q", what, f.alias(), want)
			}
		}
		news := func() { changed <- struct{}{} }
		step(time.Hour, "", "nothing is known", func() {})
		step(300*time.Millisecond, "", "the server is away", func() { w = Publication{7, "east.example."}; news() })
		step(time.Second, "west.example.", "it is back, and there is news", func() { w, down = Publication{8, "west.example."}, false; news() })
		if strings.Contains(strings.Join(f.seen, " "), "east") {
			t.Errorf("what was old already was published: %v", f.seen)
		}
		step(time.Minute, "west.example.", "a minute after the server lost it", func() { f.rrs = nil })
		cancel()
		<-done
	})
}

// News cuts the wait short to its least, 10 s here, and is tried as often as anything.
func TestKeepTakesNewsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{zone: foreignZone}
		p := publisher(t, f, PublisherConfig{Tries: 2, BackoffMin: 20 * time.Second, BackoffMax: 20 * time.Second, Every: 24 * time.Hour})
		began := time.Now()
		var tried []time.Duration
		f.fate = func(*wire.Msg) fate {
			tried = append(tried, time.Since(began).Round(time.Second))
			return fate{lost: time.Since(began) < 15*time.Second}
		}
		changed := make(chan struct{}, 1)
		time.AfterFunc(5*time.Second, func() { changed <- struct{}{} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p.Keep(ctx, func() (Publication, bool) { return Publication{7, "east.example."}, true }, changed)
		if f.alias() != "east.example." || len(tried) < 3 || tried[1] != 10*time.Second || tried[2] < 20*time.Second || tried[2] > 30*time.Second {
			t.Errorf("tried at %v, the name leads to %q", tried, f.alias())
		}
	})
}

// An update that comes late finds the name as it was when it was sent, and newer all the same.
func TestLateUpdate(t *testing.T) {
	for name, has := range map[string][]string{
		"a mark":  {published + " 10 CNAME " + target(6), markOf + published + " 10 TXT roam1 6 " + target(6)},
		"no mark": {published + " 10 CNAME " + target(6)},
		"nothing": nil,
	} {
		f := &foreign{zone: foreignZone, fate: func(m *wire.Msg) fate { return fate{late: m.Opcode == wire.OpcodeUpdate} }}
		f.put(t, has...)
		p := publisher(t, f, PublisherConfig{Tries: 1})
		if err := p.Publish(t.Context(), Publication{7, target(7)}); !errors.Is(err, errLost) || len(f.late) != 1 {
			t.Fatalf("%s: Publish = %v, %d updates are on their way", name, err, len(f.late))
		}
		f.fate = nil
		if err := p.Publish(t.Context(), Publication{8, target(8)}); err != nil {
			t.Fatalf("%s: Publish of what is newer = %v", name, err)
		}
		want := f.text()
		if r := f.take(f.late[0]); r.Rcode == wire.RcodeSuccess || f.text() != want {
			t.Errorf("%s: the late update is answered %s, and there is\n%s\nwant\n%s", name, wire.RcodeToString[r.Rcode], f.text(), want)
		}
	}
}

// What somebody does between a look and the update is seen, and not undone.
func TestPublishMindsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{zone: foreignZone}
		f.put(t, "write.corp.example. 10 CNAME west.example.", "_roam.write.corp.example. 10 TXT roam1 6 west.example.")
		want := ""
		f.fate = func(m *wire.Msg) fate {
			if m.Opcode == wire.OpcodeUpdate && f.updates == 0 {
				f.rrs = f.rrs[1:]
				f.put(t, "write.corp.example. 10 A 10.0.0.1")
				want = f.text()
			}
			return fate{}
		}
		p := publisher(t, f, PublisherConfig{})
		if err := p.Publish(t.Context(), Publication{7, "east.example."}); !errors.Is(err, ErrOccupied) || f.text() != want {
			t.Errorf("Publish = %v, and there is\n%s\nwant ErrOccupied and\n%s", err, f.text(), want)
		}
	})
}

func TestNewPublisherFaults(t *testing.T) {
	long := strings.Repeat("abcdefghi.", 23) + "abcdefghij." // 241 characters
	for _, c := range []struct {
		name, server, zone, host string
		config                   PublisherConfig
		want                     string
	}{
		{"no port", "10.0.0.1", foreignZone, published, PublisherConfig{}, "missing port"},
		{"no zone", "a:53", "", published, PublisherConfig{}, "it is empty"},
		{"no name", "a:53", foreignZone, "", PublisherConfig{}, "it is empty"},
		{"the zone itself", "a:53", foreignZone, foreignZone, PublisherConfig{}, "no name below"},
		{"another zone", "a:53", foreignZone, "write.other.example.", PublisherConfig{}, "no name below"},
		{"a long name", "a:53", "example.", long + "example.", PublisherConfig{}, "too long"},
		{"a short key", "a:53", foreignZone, published, PublisherConfig{Key: &Key{Name: "k"}}, "0 bytes, at least 16"},
		{"half a second", "a:53", foreignZone, published, PublisherConfig{TTL: time.Second / 2}, "no whole number"},
		{"many tries", "a:53", foreignZone, published, PublisherConfig{Tries: 101}, "from 1 to 100"},
		{"no tries", "a:53", foreignZone, published, PublisherConfig{Tries: -1}, "from 1 to 100"},
		{"waits that shrink", "a:53", foreignZone, published, PublisherConfig{BackoffMin: time.Minute}, "BackoffMax from"},
		{"waits of days", "a:53", foreignZone, published, PublisherConfig{BackoffMax: 2 * time.Hour}, "to an hour"},
	} {
		if _, err := NewPublisher(c.server, c.zone, c.host, c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestMark(t *testing.T) {
	w := Publication{1<<64 - 1, "east.example."}
	if got, err := parseMark(w.text()); err != nil || got != w {
		t.Errorf("parseMark(%q) = %v, %v", w.text(), got, err)
	}
	for _, text := range [][]string{
		nil,
		{""},
		{"roam1"},
		{"roam1", "7"},
		{"roam2", "7", "east.example."},
		{"roam1", "07", "east.example."},
		{"roam1", "-7", "east.example."},
		{"roam1", "+7", "east.example."},
		{"roam1", "18446744073709551616", "east.example."},
		{"roam1", "7", "east.example"},
		{"roam1", "7", "East.example."},
		{"roam1", "7", ""},
		{"roam1", "7", "east.example.", ""},
	} {
		if got, err := parseMark(text); !errors.Is(err, ErrOccupied) {
			t.Errorf("parseMark(%q) = %v, %v, want ErrOccupied", text, got, err)
		}
	}
}

// What a server says of other names is nothing of ours.
func TestHear(t *testing.T) {
	r := new(wire.Msg).SetReply(question(published, wire.TypeCNAME))
	r.Authoritative = true
	for _, line := range []string{"Write.corp.example. 10 CNAME a.example.", "a.example. 10 CNAME b.example."} {
		rr, err := wire.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		r.Answer = append(r.Answer, rr)
	}
	var h holding
	if err := h.hear(published, wire.TypeCNAME, r); err != nil || h.alias == nil || h.alias.Target != "a.example." {
		t.Errorf("hear = %v, %+v", err, h)
	}
}
