package check

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

const named = `version: 1
name: shop
topology: active-passive
primary: west
regions:
  - {name: west, id: 1, engine: {valkey: {addrs: ["127.0.0.1:6379"]}}, endpoint: {target: w.example}, node: {http: "127.0.0.1:1", control: "127.0.0.1:3", api: "127.0.0.1:4"}}
  - {name: east, id: 2, engine: {valkey: {addrs: ["127.0.0.1:6380"]}}, endpoint: {target: e.example}, node: {http: "127.0.0.1:2", control: "127.0.0.1:5", api: "127.0.0.1:6"}}
control:
  witnesses: [{name: eyes, id: 16, control: "127.0.0.1:7", api: "127.0.0.1:8"}]
  dns:
    zone: z.example
    nameservers: [{name: ns.example}]
    publish:
      - {server: "127.0.0.1:53", zone: corp.example, name: write.corp.example}
      - {kind: route53, zone_id: Z1, name: write.session.internal}
      - {kind: route53, zone_id: Z1, name: both.session.internal, variant: failover, pair: [{region: west, health_check: c1}, {region: east, health_check: c2}]}
      - kind: arc
        controls:
          west: arn:aws:route53-recovery-control::123456789012:controlpanel/0f/routingcontrol/01
          east: arn:aws:route53-recovery-control::123456789012:controlpanel/0f/routingcontrol/02
        endpoints:
          - {region: us-east-1, url: "http://127.0.0.1:11"}
          - {region: us-west-2, url: "http://127.0.0.1:12"}
          - {region: eu-west-1, url: "http://127.0.0.1:13"}
          - {region: ap-northeast-1, url: "http://127.0.0.1:14"}
          - {region: ap-southeast-2, url: "http://127.0.0.1:15"}
`

func TestSigns(t *testing.T) {
	d, err := topology.Parse([]byte(named))
	if err != nil {
		t.Fatal(err)
	}
	all := d.Control.DNS.Publish
	server, simple, both, switches := all[0], all[1], all[2], all[3]
	seven := &admin.Lease{Epoch: 7, Holder: "west"}
	pair := []record{{"west", "w.example", "c1"}, {"east", "e.example", "c2"}}
	for _, c := range []struct {
		name  string
		lease *admin.Lease
		sign  sign
		state State
		seen  string
		mend  string
	}{
		{"it agrees", seven, sign{publish: simple, asked: true, target: "W.example.", marked: true, epoch: 7}, Good, "leads to W.example, as the lease of epoch 7 says", ""},
		{"it leads elsewhere", seven, sign{publish: simple, asked: true, target: "e.example", marked: true, epoch: 6}, Fault, "leads to e.example, and west holds the lease of epoch 7", "node of west"},
		{"it leads nowhere", seven, sign{publish: simple, asked: true}, Fault, "leads nowhere", "node of west"},
		{"an old mark", seven, sign{publish: simple, asked: true, target: "w.example", marked: true, epoch: 6}, Warning, "by epoch 6, and the lease is of 7", "node of west"},
		{"no mark", seven, sign{publish: simple, asked: true, target: "w.example"}, Warning, "no mark", "node of west"},
		{"a mark of another life", seven, sign{publish: simple, asked: true, target: "w.example", marked: true, epoch: 70}, Fault, "of epoch 70, and the lease is of 7", "_roam.write.session.internal"},
		{"not asked", seven, sign{publish: simple, err: errors.New("no credentials")}, Unknown, "no credentials", "where a node runs"},
		{"nobody holds the lease", nil, sign{publish: simple, asked: true, target: "w.example"}, Unknown, "is not known", "members"},
		{"a server's name", seven, sign{publish: server, asked: true, target: "west.z.example.", marked: true, epoch: 7}, Good, "leads to west.z.example", ""},
		{"a server's name elsewhere", seven, sign{publish: server, asked: true, target: "east.z.example.", marked: true, epoch: 7}, Fault, "leads to east.z.example", "node of west"},
		{"a pair", seven, sign{publish: both, asked: true, target: "w.example", marked: true, epoch: 7, records: pair}, Good, "leads to w.example", ""},
		{"a pair the other way round", seven, sign{publish: both, asked: true, target: "e.example", marked: true, epoch: 6, records: pair}, Warning, "health checks alone", "node of west"},
		{"half a pair", seven, sign{publish: both, asked: true, target: "w.example", marked: true, epoch: 7, records: pair[:1]}, Warning, "its record of east", "migrate --to failover"},
		{"a pair with another check", seven, sign{publish: both, asked: true, target: "w.example", marked: true, epoch: 7, records: []record{pair[0], {"east", "e.example", "c1"}}}, Warning, "its record of east", "migrate"},
		{"controls", seven, sign{publish: switches, asked: true, on: map[string]bool{"west": true, "east": false}}, Good, "that of west alone is on", ""},
		{"the wrong control", seven, sign{publish: switches, asked: true, on: map[string]bool{"west": false, "east": true}}, Fault, "east is on, and west holds", "safety rules"},
		{"both controls", seven, sign{publish: switches, asked: true, on: map[string]bool{"west": true, "east": true}}, Fault, "east and west is on", "safety rules"},
		{"no control", seven, sign{publish: switches, asked: true, on: map[string]bool{"west": false, "east": false}}, Fault, "none is on", "safety rules"},
	} {
		w := words{{member: topology.Member{Name: "west"}, status: &admin.Status{Self: "west", Lease: c.lease}}}
		rows := judgeSigns(d, w, []sign{c.sign})
		if len(rows) != 1 || rows[0].State != c.state || rows[0].Part != namesPart || !strings.Contains(rows[0].Seen, c.seen) ||
			!strings.Contains(rows[0].Mend, c.mend) || (c.state == Good) != (rows[0].Mend == "") || !strings.Contains(rows[0].Seen, c.sign.publish.Label()) {
			t.Errorf("%s: %+v, want %s with %q and %q", c.name, rows, c.state, c.seen, c.mend)
		}
	}
}

// What nodes say of what they keep is a row where somebody has to look.
func TestFaresOfNames(t *testing.T) {
	d, err := topology.Parse([]byte(named))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	names := []admin.Name{
		{Region: "west", Name: "a", State: "published"},
		{Region: "west", Name: "b", State: "pending", Since: now.Add(-time.Minute), Why: "no route", Next: "wait"},
		{Region: "west", Name: "c", State: "refused", Why: "no right", Next: "look"},
		{Region: "east", Name: "b", State: "pending", Since: now, Why: "begins"},
		{Region: "east", Name: "d", State: "idle"},
		{Region: "east", Name: "e", State: "refused", Why: "no key", Next: "look there"},
	}
	w := words{{member: topology.Member{Name: "west"}, status: &admin.Status{Self: "west", At: now, Lease: &admin.Lease{Epoch: 7, Holder: "west"}, Names: names}}}
	var got []string
	for _, r := range judgeSigns(d, w, nil) {
		got = append(got, string(r.State)+" "+r.Region+" "+r.Seen+" / "+r.Mend)
	}
	want := []string{"warn west b is pending for 1m0s: no route / wait", "FAULT west c is refused: no right / look", "FAULT east e is refused: no key / look there"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
