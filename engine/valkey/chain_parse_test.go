package valkey

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func TestParseRole(t *testing.T) {
	const of = "run_id:r\r\nmaster_replid:h\r\nmaster_repl_offset:7\r\nconnected_slaves:2\r\nloading:0\r\n"
	const replica = "role:slave\r\nmaster_host:::1\r\nmaster_port:6379\r\nslave_repl_offset:5\r\n"
	for name, c := range map[string]struct {
		info string
		want Role
	}{
		"primary": {"role:master\r\n", Role{Primary: true, Offset: 7}},
		"primary with keys in two databases": {
			"role:master\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb9:keys=40\r\n", Role{Primary: true, Offset: 7, Keys: 43},
		},
		"replica": {
			replica + "master_link_status:up\r\nmaster_last_io_seconds_ago:3\r\nmaster_sync_in_progress:0\r\nmaster_link_down_since_seconds:9\r\n",
			Role{Follows: "[::1]:6379", LinkUp: true, Silent: 3 * time.Second, Offset: 5},
		},
		"replica that was cut off": {
			replica + "master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\nmaster_link_down_since_seconds:9\r\n",
			Role{Follows: "[::1]:6379", Silent: 9 * time.Second, Offset: 5},
		},
		"replica that never heard": {
			replica + "master_link_status:down\r\nmaster_sync_in_progress:1\r\nmaster_last_io_seconds_ago:-1\r\nmaster_link_down_since_seconds:-1\r\n",
			Role{Follows: "[::1]:6379", Syncing: true, Silent: math.MaxInt64, Offset: 5},
		},
	} {
		c.want.RunID, c.want.Replid, c.want.Replicas = "r", "h", 2
		if got, err := parseRole(of + c.info); err != nil || got != c.want {
			t.Errorf("%s: parseRole = %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if r, err := parseRole("role:master\r\nloading:1\r\n"); err != nil || !r.Loading {
		t.Errorf("parseRole of a server that loads = %+v, %v", r, err)
	}
}

// FuzzParseRole: what a server says of itself is read or refused.
func FuzzParseRole(f *testing.F) {
	f.Add("role:master\r\nmaster_repl_offset:1\r\n")
	f.Add("role:slave\r\nmaster_host:a\r\nmaster_port:1\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:9223372036854775807\r\n")
	f.Fuzz(func(t *testing.T, info string) {
		r, err := parseRole(info)
		if err == nil && (r.Primary != (r.Follows == "") || r.Silent < 0 || r.Keys < 0 || r.Primary && (r.LinkUp || r.Silent != 0)) {
			t.Errorf("parseRole = %+v", r)
		}
	})
}

// FuzzParseBeat: what a server holds of beats and marks is read or refused.
func FuzzParseBeat(f *testing.F) {
	for _, text := range []string{"1 2 1764000000000", "1", "281474976710655 9007199254740991 4503599627370495", "01 2 3", "1 2 3 4", "1 0 3", "0 1 3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBeat(text)
		switch {
		case err != nil && (!errors.Is(err, engine.ErrCorrupt) || b != Beat{}):
			t.Errorf("parseBeat(%q) = %+v, %v, want ErrCorrupt", text, b, err)
		case err == nil && (b.Epoch == 0 || b.Epoch > maxEpoch || b.N == 0):
			t.Errorf("parseBeat(%q) = %+v", text, b)
		}
		if e, err := parseEpoch(text); err != nil && !errors.Is(err, engine.ErrCorrupt) || err == nil && (e == 0 || e > maxEpoch) {
			t.Errorf("parseEpoch(%q) = %d, %v", text, e, err)
		}
	})
}

func TestParseBeat(t *testing.T) {
	want := Beat{Epoch: 3, N: 7, At: crdt.TimeOf(time.UnixMilli(1764000000123))}
	if got, err := parseBeat("3 7 1764000000123"); err != nil || got != want {
		t.Errorf("parseBeat = %+v, %v, want %+v", got, err, want)
	}
}
