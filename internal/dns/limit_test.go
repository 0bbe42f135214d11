package dns

import (
	"hash/maphash"
	"net/netip"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	l := newLimiter(10, 3, maphash.MakeSeed())
	now := born()
	count := func(from string, n int) (got [3]int) {
		for range n {
			got[l.take(now, netip.MustParseAddr(from))]++
		}
		return got
	}
	if got := count("10.0.0.1", 16); got != [3]int{admit: 10, slip: 2, drop: 4} {
		t.Errorf("16 at once: %v admitted, slipped, dropped", got)
	}
	if got := count("10.0.0.200", 3); got[admit] != 0 {
		t.Errorf("the same network: %v", got)
	}
	now = now.Add(100 * time.Millisecond)
	if got := count("10.0.0.1", 2); got[admit] != 1 {
		t.Errorf("a tenth of a second later: %v", got)
	}
	now = now.Add(time.Hour)
	if got := count("10.0.0.1", 20); got[admit] != 10 {
		t.Errorf("an hour later: %v, want no more than the burst", got)
	}
	now = now.Add(-time.Minute)
	if got := count("10.0.0.1", 3); got[admit] != 0 {
		t.Errorf("a clock that steps back: %v", got)
	}
}

func TestLimitNetworks(t *testing.T) {
	l := newLimiter(1, 1, maphash.MakeSeed())
	slot := func(a string) uint64 { return l.slot(netip.MustParseAddr(a)) }
	for _, pair := range [][2]string{
		{"10.0.0.1", "10.0.0.254"},
		{"10.0.0.1", "::ffff:10.0.0.9"},
		{"fd00:1:2:300::1", "fd00:1:2:3ff:ffff::9"},
	} {
		if slot(pair[0]) != slot(pair[1]) {
			t.Errorf("%v are not of one network", pair)
		}
	}
	// Two networks may share a slot; that many in a row do not.
	same := 0
	for _, pair := range [][2]string{
		{"10.0.0.1", "10.0.1.1"}, {"10.0.1.1", "10.0.2.1"}, {"fd00:1:2:300::1", "fd00:1:2:400::1"}, {"10.0.0.1", "fd00::1"},
	} {
		if slot(pair[0]) == slot(pair[1]) {
			same++
		}
	}
	if same == 4 {
		t.Error("all networks are one")
	}
	if got := l.take(born(), netip.Addr{}); got != admit {
		t.Errorf("no address: %v", got)
	}
}

func TestLimitSpreads(t *testing.T) {
	l := newLimiter(1, 1, maphash.MakeSeed())
	used := map[uint64]bool{}
	for i := range 4096 {
		used[l.slot(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))] = true
	}
	if len(used) < 3000 {
		t.Errorf("4096 networks use %d slots", len(used))
	}
}
