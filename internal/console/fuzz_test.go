package console

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// FuzzLoopback: a Host header that is let in names this machine and no other.
func FuzzLoopback(f *testing.F) {
	for _, host := range []string{
		"localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "[::1]", "::1", "example.org", "127.0.0.1.example.org",
		"localhost.", "[::ffff:127.0.0.1]", "[fe80::1%lo]", "", "[", "]", ":", "127.1",
	} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !loopback(host) {
			return
		}
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		if name == "localhost" {
			return
		}
		for _, written := range []string{name, strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")} {
			if addr, err := netip.ParseAddr(written); err == nil && addr.IsLoopback() {
				return
			}
		}
		t.Errorf("loopback(%q) = true, want it for addresses of this machine alone", host)
	})
}

// FuzzResumeAfter: a stream begins with an event that there is, or with the first.
func FuzzResumeAfter(f *testing.F) {
	for _, id := range []string{"", "0", "1", "99", "100", "-1", "1e3", "18446744073709551615", "18446744073709551616", " 1"} {
		f.Add(id, uint64(100))
	}
	f.Fuzz(func(t *testing.T, id string, newest uint64) {
		after, err := resumeAfter(id, newest)
		if n, bad := strconv.ParseUint(id, 10, 64); err == nil && bad == nil && after != n && after != 0 {
			t.Errorf("resumeAfter(%q, %d) = %d, want it or 0", id, newest, after)
		}
		if err == nil && after > newest || err != nil && after != 0 {
			t.Errorf("resumeAfter(%q, %d) = %d, %v", id, newest, after, err)
		}
	})
}
