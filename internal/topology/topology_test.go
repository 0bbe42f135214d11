package topology

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/router"
)

// full has every key there is.
const full = `
version: 1
topology: active-passive
primary: west
regions:
  - name: west
    id: 1
    engine:
      valkey:
        addrs: ["db.west:6379", "[2001:db8::1]:6379"]
        username: roam
        password_file: secrets/west
        tls: {ca: tls/ca.pem, server_name: db, cert: tls/c.pem, key: /k.pem}
        log_bytes: 512MiB
        keep_released: 10m
        keep_log: 20m
        replicas: ["db2.west:6379"]
    side:
      memory: {max_bytes: 1GiB, log_bytes: 64KiB, keep_released: 1m}
    node: {links: "0.0.0.0:7100", advertise: "node.west:7100", http: "127.0.0.1:7101"}
  - name: east
    id: 15
    engine: {valkey: {addrs: ["10.0.0.1:6379"], plaintext: true, password_env: PW}}
    node: {links: "10.0.0.2:7100"}
    network: [10.0.0.0/24, "2001:db8:2::/48"]
links:
  tls: {ca: pki/ca.pem, cert: "pki/{region}.pem", key: "/pki/{region}.key"}
policies:
  replication: {heartbeat: 250ms, silence: 2s, window: 8MiB, redeliver: 4s, sweep: 5m, scan_rate: 1000}
  read_after_write: retry
  timeouts: {local: 40ms, remote: 200ms, read_budget: 2s, write_budget: 3s, max_wait: 50ms, strict_bound: 20s, backoff: [50ms, 100ms]}
`

func TestParseReadsEveryKey(t *testing.T) {
	d, err := Parse([]byte(full))
	if err != nil {
		t.Fatalf("Parse = %v, want nil", err)
	}
	got := fmt.Sprintf("%+v\n", d.Under("/etc/roam"))
	for _, r := range d.Under("/etc/roam").Regions {
		got += fmt.Sprintf("%+v", r)
		if v := r.Engine.Valkey; v != nil {
			got += fmt.Sprintf(" %+v", *v)
			if v.TLS != nil {
				got += fmt.Sprintf(" %+v", *v.TLS)
			}
		}
		if r.Side != nil {
			got += fmt.Sprintf(" %+v", *r.Side.Memory)
		}
		got += "\n"
	}
	got += fmt.Sprintf("%+v", d.Under("/etc/roam").Links.TLS.For("west"))
	for _, want := range []string{
		"Topology:active-passive Primary:west", "Name:west ID:1 ", "Name:east ID:15 ",
		"Addrs:[db.west:6379 [2001:db8::1]:6379] Username:roam PasswordFile:/etc/roam/secrets/west PasswordEnv:",
		"CA:/etc/roam/tls/ca.pem ServerName:db Targets:[] Cert:/etc/roam/tls/c.pem Key:/k.pem", "LogBytes:536870912 KeepReleased:10m0s KeepLog:20m0s Replicas:[db2.west:6379] ClusterReplicas:false",
		"MaxBytes:1073741824 LogBytes:65536 KeepReleased:1m0s",
		"Links:0.0.0.0:7100 Advertise:node.west:7100 HTTP:127.0.0.1:7101", "Links:10.0.0.2:7100 Advertise:10.0.0.2:7100 HTTP:127.0.0.1:7101",
		"PasswordEnv:PW", "Plaintext:true", "Networks:[10.0.0.0/24 2001:db8:2::/48]",
		"{CA:/etc/roam/pki/ca.pem Cert:/etc/roam/pki/west.pem Key:/pki/west.key}",
		"Heartbeat:250ms Silence:2s Window:8388608 Redeliver:4s Sweep:5m0s ScanRate:1000", "ReadAfterWrite:retry",
		"Local:40ms Remote:200ms ReadBudget:2s WriteBudget:3s MaxWait:50ms StrictBound:20s Backoff:[50ms 100ms]",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("Parse(full) lacks %q:\n%s", want, got)
		}
	}
	if d.Regions[0].Engine.Valkey.PasswordFile != "secrets/west" {
		t.Error("Under changed the Deployment it was called on")
	}
	if d.Pushes() || !d.TakesWrites("west") || d.TakesWrites("east") {
		t.Error("an active-passive deployment on Valkey: want no links, and writes in west alone")
	}
}

// Every fault is told at once, where it is and what to do about it: a file of
// testdata/faults, whose comments say what is expected of it.
func TestParseTellsAllFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v; want files", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(text)) {
			if _, fault, ok := strings.Cut(line, "#! "); ok {
				want = append(want, strings.TrimSpace(fault))
			}
		}
		_, err = Parse(text)
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: Parse = %v, want Faults", name, err)
			continue
		}
		got := strings.Split(faults.Error(), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		if strings.Contains(faults.Error(), "hunter2") {
			t.Errorf("%s: a fault repeats a secret", name)
		}
	}
}

func TestParseHasBounds(t *testing.T) {
	many := "version: 1\nregions: [" + strings.Repeat("{x: 1}, ", 5000) + "]\n"
	_, err := Parse([]byte(many))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) > maxFaults {
		t.Errorf("Parse of 5,000 bad Regions = %d faults, want 1 to %d", len(faults), maxFaults)
	}
	if _, err := Parse([]byte("#" + strings.Repeat("x", 1<<20))); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("Parse of a file above 1 MiB = %v, want a fault that says so", err)
	}
	begun := time.Now()
	if _, err := Parse([]byte(strings.Repeat("[", 100_000))); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("Parse of 100,000 brackets = %v after %v, want a fault soon", err, time.Since(begun))
	}
}

func TestExampleIsGood(t *testing.T) {
	d, err := Parse([]byte(Example()))
	if err != nil {
		t.Fatalf("Parse(Example()) = %v, want nil", err)
	}
	if len(d.Regions) != 3 || !d.Pushes() {
		t.Errorf("the example has %d Regions, links %t; want 3 and links", len(d.Regions), d.Pushes())
	}
	uncommented := strings.NewReplacer("# links:", "links:", "#   tls:", "  tls:", "#     ca:", "    ca:",
		"#     cert:", "    cert:", "#     key:", "    key:").Replace(Example())
	if d, err = Parse([]byte(uncommented)); err != nil || d.Links.TLS == nil {
		t.Errorf("the example with its links uncommented: %v, want TLS", err)
	}
}

// The router's words and the file's are the same.
func TestReadAfterWriteIsTheRouters(t *testing.T) {
	for m := router.ByToken; m <= router.Accept; m++ {
		if _, err := Parse([]byte(strings.Replace(Example(), "read_after_write: token", "read_after_write: "+m.String(), 1))); err != nil {
			t.Errorf("read_after_write: %v = %v, want nil", m, err)
		}
	}
}

// What the file leaves out of a link's times is what the link goes by.
func TestSilenceIsJudgedByTheLinksDefaults(t *testing.T) {
	for times, good := range map[string]bool{
		fmt.Sprintf("heartbeat: %v", replica.DefaultSilence/2):                    true,
		fmt.Sprintf("heartbeat: %v", replica.DefaultSilence/2+time.Millisecond):   false,
		fmt.Sprintf("silence: %v", 2*replica.DefaultHeartbeat):                    true,
		fmt.Sprintf("silence: %v", 2*replica.DefaultHeartbeat-1*time.Millisecond): false,
	} {
		_, err := Parse([]byte(strings.Replace(Example(), "    heartbeat: 500ms # what is known of other Regions is at best this old\n    silence: 3s      # a link that says nothing for so long is given up\n", "    "+times+"\n", 1)))
		if (err == nil) != good {
			t.Errorf("replication: {%s} = %v, want good: %t", times, err, good)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(everything))
	f.Add([]byte(Example()))
	f.Add([]byte(ControlExample()))
	f.Add([]byte(stores))
	for _, kind := range Kinds() {
		text, _ := EngineExample(kind)
		f.Add([]byte(text))
	}
	f.Add([]byte(aws))
	f.Add([]byte(DatastoreExample()))
	files, _ := filepath.Glob("testdata/faults/*.yaml") // another test wants some
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := Parse(file)
		if err != nil {
			toldWell(t, err)
			return
		}
		sound(t, d)
	})
}

// toldWell wants faults that are bounded, and each a line that says what to do.
func toldWell(t *testing.T, err error) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 || len(faults) > maxFaults {
		t.Fatalf("Parse = %v, want 1 to %d Faults", err, maxFaults)
	}
	for _, fault := range faults {
		if strings.ContainsAny(fault.String(), "\n\r\x1b") || fault.Mend == "" {
			t.Fatalf("fault %q: want one line that says what to do", fault)
		}
	}
}

// sound wants what every part relies on.
func sound(t *testing.T, d Deployment) {
	t.Helper()
	ids := map[any]bool{}
	for _, r := range d.Regions {
		if !r.ID.Valid() || !isName(r.Name) || ids[r.ID] || ids[r.Name] || r.Engine.Kind() == "" {
			t.Fatalf("Parse took Region %+v", r)
		}
		if d.Pushes() && d.Links.TLS == nil && !loopback(r.Node.Links) {
			t.Fatalf("Parse took links without TLS at %q", r.Node.Links)
		}
		ids[r.ID], ids[r.Name] = true, true
		for _, n := range r.Networks {
			if !n.IsValid() || n != n.Masked() {
				t.Fatalf("Parse took network %v of %s", n, r.Name)
			}
		}
	}
	soundStore(t, d)
	if len(d.Regions) == 0 || d.Topology == ActivePassive && !slices.Contains(d.Names(), d.Primary) {
		t.Fatalf("Parse took %+v", d)
	}
	soundControl(t, d)
}

// soundStore wants what who opens engines relies on.
func soundStore(t *testing.T, d Deployment) {
	t.Helper()
	for _, r := range d.Regions {
		if r.Engine.OneStore() != d.OneStore() || d.OneStore() && (r.Engine.Kind() != d.Regions[0].Engine.Kind() || r.Node.Links != "") {
			t.Fatalf("Parse took %+v in a store that is not all Regions'", r)
		}
		for _, e := range []*Engine{&r.Engine, r.Side} {
			if e == nil {
				continue
			}
			own := e == &r.Engine
			if !own && e.OneStore() || own && d.Topology == ActivePassive && e.Valkey == nil && e.Memory == nil {
				t.Fatalf("Parse took %+v of %s in %s", *e, r.Name, d.Topology)
			}
			soundDatabase(t, e.Postgres)
		}
	}
}

// soundDatabase wants nobody to listen on the way to one.
func soundDatabase(t *testing.T, p *Postgres) {
	t.Helper()
	if p == nil {
		return
	}
	if len(p.Hosts) == 0 || p.Database == "" || p.User == "" {
		t.Fatalf("Parse took %+v", p)
	}
	for _, addr := range p.Hosts {
		if p.TLS == nil && !p.Plaintext && !loopback(addr) && !strings.HasPrefix(addr, "/") {
			t.Fatalf("Parse took %q without TLS", addr)
		}
	}
}
