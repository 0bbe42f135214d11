package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/lab"
)

func TestDemoServesUntilInterrupted(t *testing.T) {
	demo := start(t)
	for what, url := range map[string]string{"shop": demo.Shop, "console": demo.Console} {
		if !strings.HasPrefix(url, "http://127.0.0.1:") {
			t.Errorf("%s is at %q, want an address on 127.0.0.1", what, url)
		}
		if code := status(t, url); code != http.StatusOK {
			t.Errorf("GET %s of the %s = %d, want 200", url, what, code)
		}
	}
	demo.end(t)
}

func status(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no connection is left to outlive the test
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestDemoListensOnLoopbackAlone looks at all TCP ports that this process
// listens on, not at those that the demo says it does.
func TestDemoListensOnLoopbackAlone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: the ports of a process are read from /proc, which Linux alone has")
	}
	before := listening(t)
	demo := start(t)
	var opened []string
	for _, addr := range listening(t) {
		if slices.Contains(before, addr) {
			continue
		}
		opened = append(opened, addr)
		if host, _, err := net.SplitHostPort(addr); err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("the demo listens on %s, want loopback alone", addr)
		}
	}
	if len(opened) != 2 {
		t.Errorf("the demo opened %q, want 2 ports: %s and %s", opened, demo.Shop, demo.Console)
	}
	demo.end(t)
}

// listening returns the addresses on which this process accepts TCP connections.
func listening(t *testing.T) []string {
	t.Helper()
	mine := map[string]bool{} // inodes of its sockets
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var out []string
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		raw, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range strings.Split(string(raw), "\n")[1:] {
			const state, inode, accepts = 3, 9, "0A" // proc_pid_net(5)
			if f := strings.Fields(row); len(f) > inode && f[state] == accepts && mine[f[inode]] {
				out = append(out, address(t, f[1]))
			}
		}
	}
	return out
}

// address reads an address of the kernel's tables: hexadecimal words of four
// bytes, the last byte of each first, then the port.
func address(t *testing.T, text string) string {
	t.Helper()
	words, port, _ := strings.Cut(text, ":")
	var ip net.IP
	for ; len(words) >= 8; words = words[8:] {
		w, err := strconv.ParseUint(words[:8], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		ip = append(ip, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(ip.String(), strconv.FormatUint(p, 10))
}

func TestTourSeesWhatItExpects(t *testing.T) {
	for _, topology := range []string{console.ActiveActive, console.ActivePassive} {
		t.Run(topology, func(t *testing.T) {
			if testing.Short() {
				t.Skip("NOT TESTED: a tour takes some 20 seconds, and -short was asked for")
			}
			t.Parallel() // a tour mostly waits
			var out, talk bytes.Buffer
			code := Run(t.Context(), []string{"demo", "--tour", "--json", "--topology", topology}, &out, &talk)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var last struct {
				Topology       string
				Steps, Differs int
			}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatalf("the last line %q is no JSON: %v", lines[len(lines)-1], err)
			}
			if code != exitOK || last.Differs != 0 || last.Topology != topology || last.Steps < 20 || talk.Len() > 0 {
				t.Errorf("tour = %d and %+v, want %d, %s, over 20 steps and none that differs; it said %q and printed:\n%s",
					code, last, exitOK, topology, &talk, &out)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	full := errors.New("no space left")
	for name, c := range map[string]struct {
		p       printer
		differs int
		want    error
	}{
		"all as expected":     {printer{}, 0, nil},
		"something differs":   {printer{}, 1, errDiffers},
		"it can't be printed": {printer{err: full}, 0, full},
		"both":                {printer{err: full}, 2, errDiffers},
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			p := c.p
			p.out, p.json = &out, asJSON
			p.step(lab.Step{Chapter: "One", Did: "look", Expected: "alice", Seen: "nobody", OK: c.differs == 0})
			p.step(lab.Step{Chapter: "One", Did: "a remark", OK: true})
			if err := p.verdict(demoFlags{topology: "active-active", engine: "memory"}, c.differs); !errors.Is(err, c.want) {
				t.Errorf("%s: verdict(%d) = %v, want %v", name, c.differs, err, c.want)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			want := "active-active on memory: 1 steps, " + strconv.Itoa(c.differs) + " differ"
			if asJSON {
				want = `{"differs":` + strconv.Itoa(c.differs) + `,"engine":"memory","steps":1,"topology":"active-active"}`
			}
			if got := lines[len(lines)-1]; got != want {
				t.Errorf("%s: the last line is %s, want %s", name, got, want)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want int
		said string
	}{
		"nothing":          {nil, exitOK, ""},
		"a tour differs":   {errDiffers, exitFailed, ""},
		"tried and failed": {errors.New("no luck"), exitFailed, "roam: no luck\n"},
		"asked wrongly":    {usagef("not so"), exitUsage, "roam: not so\n"},
	} {
		var talk bytes.Buffer
		if code := exitCode(c.err, &talk); code != c.want || talk.String() != c.said {
			t.Errorf("%s: exitCode = %d, said %q; want %d, %q", name, code, &talk, c.want, c.said)
		}
	}
}
