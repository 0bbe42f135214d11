//go:build integration

package valkey_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// timed is a library that times what it does, by the server's processor time. Loops are
// part of it, and take 15 ns.
const timed = `#!lua name=timed
local function timed(keys, args)
  local call, n, out = redis.call, 20000, {}
  local s, m, l = keys[1], keys[2], keys[3]
  local head, value = string.rep('x', 92), string.rep('y', 61)
  local function took(name, f)
    local c = os.clock()
    for i = 1, n do f(i) end
    out[#out + 1] = name
    out[#out + 1] = string.format('%.3f', (os.clock() - c) / n * 1e6)
  end
  for f = 0, 7 do call('HSET', s, 'field' .. f, value) end
  call('HSET', s, 'h', head)
  call('SET', m, head)
  took('TIME', function() call('TIME') end)
  took('HMGET', function() call('HMGET', s, 'h', 'field3') end)
  took('GET', function() call('GET', m) end)
  took('HSET', function(i) call('HSET', s, 'h', head, 'field3', i % 2 == 0 and value or value .. 'z') end)
  took('XADD', function() call('XADD', l, '0-*', 'd', head) end)
  return out
end
redis.register_function('timed', timed)
`

// BenchmarkInServer is what a put takes of the server's time, in the script, and what
// the commands of it take that no script could do without.
func BenchmarkInServer(b *testing.B) {
	s := valkeytest.Start(b)
	c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	if err := c.Do(b.Context(), c.B().FunctionLoad().FunctionCode(timed).Build()).Error(); err != nil {
		b.Fatal(err)
	}
	x := newBenchOn(b, s)
	k := x.keys[0]
	putUS := func() float64 {
		const n = 5000
		before := calls(b, s)
		for range n {
			op := crdt.Op{Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))}}
			if _, err := x.e.Apply(b.Context(), k, op); err != nil {
				b.Fatal(err)
			}
		}
		return (calls(b, s) - before) / n
	}
	for b.Loop() {
		parts, err := c.Do(b.Context(), c.B().Fcall().Function("timed").Numkeys(3).Key("t{0}s", "t{0}m", "t{0}l").Build()).AsStrMap()
		if err != nil {
			b.Fatal(err)
		}
		all := 0.0
		for name, text := range parts {
			us, err := strconv.ParseFloat(text, 64)
			if err != nil {
				b.Fatal(err)
			}
			all += us
			b.ReportMetric(us, "us/"+name)
		}
		b.ReportMetric(all, "us/commands")
		b.ReportMetric(putUS(), "us/put")
	}
}

// calls returns how many µs a server has spent in FCALL.
func calls(b *testing.B, s *valkeytest.Server) (us float64) {
	b.Helper()
	_, rest, ok := strings.Cut(s.Do("INFO", "commandstats"), "cmdstat_fcall:")
	if !ok {
		b.Fatal("the server tells nothing of FCALL")
	}
	_, rest, _ = strings.Cut(rest, "usec=")
	text, _, _ := strings.Cut(rest, ",")
	if _, err := fmt.Sscan(text, &us); err != nil {
		b.Fatal(err)
	}
	return us
}
