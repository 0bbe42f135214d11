package check

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestJudgeSeats(t *testing.T) {
	addr := netip.MustParseAddr
	five := strings.Replace(twoAndAWitness, `witnesses: [`, `witnesses: [{name: ears, id: 17, control: "ears:7102", api: "ears:7103"}, {name: nose, id: 18, control: "nose:7102", api: "nose:7103"}, `, 1)
	for name, c := range map[string]struct {
		file  string
		leads map[string]string
		want  []string
	}{
		"apart":                     {twoAndAWitness, nil, nil},
		"a witness in a network":    {twoAndAWitness, map[string]string{"eyes": "10.1.0.9"}, []string{"FAULT  west and eyes are in the networks of west: what takes them takes the majority"}},
		"and at its address":        {twoAndAWitness, map[string]string{"eyes": "10.1.0.2"}, []string{"FAULT  west and eyes are in the networks of west"}},
		"IPv6":                      {twoAndAWitness, map[string]string{"eyes": "2001:db8:2::9"}, []string{"FAULT  east and eyes are in the networks of east"}},
		"a witness at one address":  {strings.Replace(twoAndAWitness, "network: [10.1.0.0/16]", "", 1), map[string]string{"eyes": "10.1.0.2"}, []string{"warn  west and eyes are at one address, 10.1.0.2: what takes them takes the majority"}},
		"of five, one":              {five, map[string]string{"eyes": "10.1.0.9"}, []string{"warn  west and eyes are in the networks of west: what takes the Region takes the witness"}},
		"of five, three":            {five, map[string]string{"eyes": "10.1.0.9", "ears": "10.1.0.10"}, []string{"FAULT  west, ears and eyes are in the networks of west"}},
		"of five, witnesses":        {five, map[string]string{"eyes": "10.9.0.9", "ears": "10.9.0.9"}, nil},
		"of five, all witnesses":    {five, map[string]string{"eyes": "10.9.0.9", "ears": "10.9.0.9", "nose": "10.9.0.9"}, []string{"warn  ears, nose and eyes are at one address, 10.9.0.9"}},
		"on loopback behind a name": {twoAndAWitness, map[string]string{"eyes": "127.0.0.1", "n.east": "127.0.0.1"}, nil},
	} {
		s := sceneOf(t, c.file)
		for host, at := range c.leads {
			s.leads[host] = lookup{addrs: []netip.Addr{addr(at)}}
		}
		rows := judgeSeats(s.d, s.leads)
		for i := range rows {
			rows[i].Part = controlPart
		}
		wantTrouble(t, name, rows, controlPart, c.want...)
	}
	demo := sceneOf(t, `
version: 1
topology: active-active
regions:
  - {name: one, id: 1, engine: {memory: {}}, node: {links: "127.0.0.1:1", http: "127.0.0.1:2", control: "127.0.0.1:3", api: "127.0.0.1:4"}}
  - {name: two, id: 2, engine: {memory: {}}, node: {links: "127.0.0.1:5", http: "127.0.0.1:6", control: "127.0.0.1:7", api: "127.0.0.1:8"}}
control: {witnesses: [{name: eyes, id: 16, control: "localhost:9", api: "127.0.0.1:10"}]}
`)
	wantRows(t, "a demo", judgeSeats(demo.d, demo.leads), "ok  all members are on one machine")
}

func TestJudgeNetworks(t *testing.T) {
	silent := strings.NewReplacer("    network: [10.1.0.0/16]\n", "", "    network: [10.2.0.0/16, \"2001:db8:2::/48\"]\n", "").Replace(twoAndAWitness)
	half := strings.Replace(twoAndAWitness, "    network: [10.1.0.0/16]\n", "", 1)
	broken := lookup{err: errors.New("no such host")}
	at := func(addrs ...string) (out lookup) {
		for _, a := range addrs {
			out.addrs = append(out.addrs, netip.MustParseAddr(a))
		}
		return out
	}
	for name, c := range map[string]struct {
		file  string
		leads map[string]lookup
		want  []string
	}{
		"well":                     {twoAndAWitness, nil, []string{"ok west 2 of 2 addresses lead into its networks, and none elsewhere", "ok east 2 of 2"}},
		"another's":                {twoAndAWitness, map[string]lookup{"db.east": at("10.1.7.7")}, []string{"ok west ", "FAULT east engine db.east:6379: 10.1.7.7 is in 10.1.0.0/16, a network of west"}},
		"another's, of two":        {twoAndAWitness, map[string]lookup{"db.east": at("10.2.0.3", "10.1.7.7", "10.9.0.1")}, []string{"ok west ", "FAULT east engine db.east:6379: 10.1.7.7"}},
		"another's, it alone says": {half, map[string]lookup{"n.west": at("10.2.9.9")}, []string{"FAULT west control n.west:7102: 10.2.9.9 is in 10.2.0.0/16, a network of east", "ok east "}},
		"another's machine":        {twoAndAWitness, map[string]lookup{"db.east": at("10.1.0.1")}, []string{"ok west ", "FAULT east engine db.east:6379: 10.1.0.1"}},
		"outside":                  {twoAndAWitness, map[string]lookup{"n.west": at("10.9.0.1")}, []string{"warn west control n.west:7102: 10.9.0.1 is in none of its networks", "ok east "}},
		"beside it":                {twoAndAWitness, map[string]lookup{"n.west": at("127.0.0.1"), "n.east": at("::1")}, []string{"ok west 1 of 2", "ok east 1 of 2"}},
		"not found out":            {twoAndAWitness, map[string]lookup{"n.west": broken}, []string{"unknown west control n.west:7102: where it leads to was not found out: no such host", "ok east "}},
		"nothing is said":          {silent, map[string]lookup{"n.west": broken}, nil},
		"one machine":              {silent, map[string]lookup{"db.east": at("10.1.0.1"), "n.east": at("10.1.0.1")}, []string{"warn east engine db.east:6379 leads to 10.1.0.1, and so does engine db.west:6379 of west"}},
		"one machine, a demo":      {silent, map[string]lookup{"db.west": at("127.0.0.1"), "db.east": at("127.0.0.1")}, nil},
	} {
		s := sceneOf(t, c.file)
		maps.Copy(s.leads, c.leads)
		rows := judgeNetworks(s.d, s.leads)
		for i := range rows {
			if rows[i].Part != networkPart {
				t.Errorf("%s: %+v, want part %q", name, rows[i], networkPart)
			}
			if rows[i].State == Unknown {
				rows[i].Mend = ""
			}
		}
		wantRows(t, name, rows, c.want...)
	}
}

// All addresses of a file are looked at, each host once.
func TestUses(t *testing.T) {
	d := sceneOf(t, strings.Replace(twoAndAWitness, `{valkey: {addrs: ["db.west:6379"], tls: {}}}
    node: {`, `{valkey: {addrs: ["db.west:6379", "db2.west:6379"], replicas: ["r.west:1", "db2.west:6380"], tls: {}}}
    side: {valkey: {addrs: ["s.west:6379"], replicas: ["sr.west:1"], tls: {}}}
    replicate: "rep.west:6379"
    node: {links: "0.0.0.0:7100", advertise: "l.west:7100", `, 1)).d
	d.Regions[0].Node.APIAdvertise = "a.west:7103"
	var got []string
	for _, u := range usesOf(d.Regions[0]) {
		got = append(got, u.String())
	}
	want := []string{"engine db.west:6379", "engine db2.west:6379", "replica r.west:1", "side store s.west:6379", "replica sr.west:1", "replicate rep.west:6379", "node l.west:7100", "control n.west:7102", "api a.west:7103"}
	if !slices.Equal(got, want) {
		t.Errorf("usesOf = %q, want %q", got, want)
	}
	hosts := hostsOf(d)
	if want := []string{"a.west", "db.east", "db.west", "db2.west", "eyes", "l.west", "n.east", "n.west", "r.west", "rep.west", "s.west", "sr.west"}; !slices.Equal(hosts, want) {
		t.Errorf("hostsOf = %q, want %q", hosts, want)
	}
}
