package topology

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/router"
)

// stores has every key there is of the engines that full has not.
const stores = `
version: 1
topology: active-active
regions:
  - name: west
    id: 1
    engine:
      postgres:
        hosts: ["db-1.west:5432", "[2001:db8::1]:5433"]
        database: app
        user: roam
        password_file: secrets/west
        tls: {ca: tls/ca.pem, cert: tls/c.pem, key: /k.pem}
        schema: s_1
        migrate: true
        max_conns: 20
        max_bytes: 1GiB
        log_bytes: 2MiB
        keep_released: 10m
        keep_log: 20m
    node: {links: "127.0.0.1:1", http: "127.0.0.1:11"}
  - name: east
    id: 2
    engine: {postgres: {url: "postgresql://us%40er@db.east/app%2F1?sslmode=verify-full", password_env: PW}}
    side: {postgres: {host: /run/postgresql, database: side, user: roam}}
    node: {links: "127.0.0.1:2", http: "127.0.0.1:12"}
  - name: north
    id: 3
    engine: {postgres: {host: db.north, port: 5433, database: app, user: roam, plaintext: true}}
    side: {postgres: {url: "postgres://roam@[::1]:1/side"}}
    node: {links: "127.0.0.1:3", http: "127.0.0.1:13"}
`

func TestParseReadsEveryKeyOfPostgres(t *testing.T) {
	d, err := Parse([]byte(stores))
	if err != nil {
		t.Fatalf("Parse = %v, want nil", err)
	}
	d = d.Under("/etc/roam")
	for i, want := range []Postgres{
		{
			Hosts: []string{"db-1.west:5432", "[2001:db8::1]:5433"}, Database: "app", User: "roam", PasswordFile: "/etc/roam/secrets/west",
			Schema: "s_1", Migrate: true, MaxConns: 20, MaxBytes: 1 << 30, LogBytes: 2 << 20, KeepReleased: 10 * time.Minute, KeepLog: 20 * time.Minute,
		},
		{Hosts: []string{"db.east:5432"}, Database: "app/1", User: "us@er", PasswordEnv: "PW"},
		{Hosts: []string{"db.north:5433"}, Database: "app", User: "roam", Plaintext: true},
	} {
		got := *d.Regions[i].Engine.Postgres
		tls := got.TLS
		if got.TLS = nil; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("Region %d: %+v, want %+v", i, got, want)
		}
		if wantTLS := []*ServerTLS{{CA: "/etc/roam/tls/ca.pem", Cert: "/etc/roam/tls/c.pem", Key: "/k.pem"}, {}, nil}[i]; fmt.Sprintf("%+v", tls) != fmt.Sprintf("%+v", wantTLS) {
			t.Errorf("Region %d: tls %+v, want %+v", i, tls, wantTLS)
		}
	}
	if got := d.Regions[1].Side.Postgres.Hosts[0]; got != "/run/postgresql:5432" {
		t.Errorf("a socket is %q, want /run/postgresql:5432", got)
	}
	if got := d.Regions[2].Side.Postgres.Hosts[0]; got != "[::1]:1" {
		t.Errorf("an address of IPv6 is %q, want [::1]:1", got)
	}
	if !d.Pushes() || d.OneStore() || d.Timeouts().Local != 0 || d.Timeouts().Remote != 500*time.Millisecond || d.Sweeper() != "" {
		t.Error("on PostgreSQL nodes push, and nothing is otherwise")
	}
}

// What replicates itself has no links, and the times that it needs.
func TestOneStore(t *testing.T) {
	region := func(i int, engine string) string {
		return fmt.Sprintf("  - {name: r%d, id: %d, engine: {%s}, node: {http: \"127.0.0.1:%d\"}}\n", i, i, engine, i)
	}
	table := func(aws, more string) string { return "dynamo: {table: sessions, aws_region: " + aws + more + "}" }
	for name, c := range map[string]struct {
		engines       []string
		eventually    bool
		sweeper       string
		local, remote time.Duration
	}{
		"one table":       {[]string{table("us-west-2", "")}, false, "", 100 * time.Millisecond, 0},
		"one, and strong": {[]string{table("us-west-2", ", strong: true")}, false, "", 100 * time.Millisecond, 0},
		"MREC":            {[]string{table("us-west-1", ""), table("us-west-2", "")}, true, "", 100 * time.Millisecond, 0},
		"MRSC": {
			[]string{table("us-west-2", ", strong: true"), table("us-east-1", ", strong: true"), table("us-east-2", ", strong: true")},
			false, "r1", 300 * time.Millisecond, 500 * time.Millisecond,
		},
		"ARNs": {[]string{
			"dynamo: {table: \"arn:aws:dynamodb:us-west-2:111122223333:table/sessions\", aws_region: us-west-2}",
			"dynamo: {table: \"arn:aws:dynamodb:us-east-1:111122223333:table/sessions\", aws_region: us-east-1}",
		}, true, "", 100 * time.Millisecond, 0},
		"DSQL": {[]string{
			"dsql: {endpoint: aaaaaaaaaaaaaaaaaaaaaaaaaa.dsql.us-east-1.on.aws, user: shop, migrate: true}",
			"dsql: {endpoint: db.internal, aws_region: us-east-2}",
		}, false, "", 300 * time.Millisecond, 500 * time.Millisecond},
		"one cluster": {[]string{"dsql: {endpoint: \"127.0.0.1:1\"}"}, false, "", 100 * time.Millisecond, 0},
	} {
		var b strings.Builder
		b.WriteString("version: 1\ntopology: active-active\nregions:\n")
		for i, e := range c.engines {
			b.WriteString(region(i+1, e))
		}
		d, err := Parse([]byte(b.String()))
		if err != nil {
			t.Errorf("%s: Parse = %v, want nil", name, err)
			continue
		}
		if d.Pushes() || !d.OneStore() || d.Leases() || d.Eventually() != c.eventually || d.Sweeper() != c.sweeper {
			t.Errorf("%s: pushes %t, one store %t, leases %t, eventually %t, sweeper %q; want one store, eventually %t, sweeper %q",
				name, d.Pushes(), d.OneStore(), d.Leases(), d.Eventually(), d.Sweeper(), c.eventually, c.sweeper)
		}
		if got := d.Timeouts(); got.Local != c.local || got.Remote != c.remote {
			t.Errorf("%s: local %v, remote %v; want %v and %v", name, got.Local, got.Remote, c.local, c.remote)
		}
		d.Policies.Timeouts = Timeouts{Local: time.Second, Remote: 250 * time.Millisecond}
		if got := d.Timeouts(); got.Local != time.Second || got.Remote != 250*time.Millisecond {
			t.Errorf("%s: Timeouts = %+v, want what the file says", name, got)
		}
	}
}

// Copies are looked at often enough for strict routes.
func TestBeatsFitTheStrictBound(t *testing.T) {
	if strictBound != router.DefaultStrictBound {
		t.Errorf("strictBound = %v, and the router's is %v", strictBound, router.DefaultStrictBound)
	}
	text, _ := EngineExample(kindDynamo)
	text, _, _ = strings.Cut(text, "policies:")
	for policies, good := range map[string]bool{
		"":                                   true,
		"{timeouts: {strict_bound: 8s}}":     true,
		"{timeouts: {strict_bound: 7s}}":     false,
		"{replication: {heartbeat: 2500ms}}": true,
		"{replication: {heartbeat: 2501ms}}": false,
		"{replication: {silence: 20ms}}":     true, // there are no links
		"{replication: {heartbeat: 1s}, timeouts: {strict_bound: 4s}}": true,
	} {
		file := text
		if policies != "" {
			file += "policies: " + policies + "\n"
		}
		_, err := Parse([]byte(file))
		if (err == nil) != good {
			t.Errorf("policies: %s = %v, want good: %t", policies, err, good)
		}
		if strong := strings.ReplaceAll(strings.ReplaceAll(file, "strong: false", "strong: true"), "aws_region: us-west-2", "aws_region: us-west-2\n        strong: true"); good != true {
			if _, err := Parse([]byte(strong)); err != nil {
				t.Errorf("policies: %s of a table that shows all at once = %v, want nil", policies, err)
			}
		}
	}
}

// Each kind of engine has an example, and each is good.
func TestEngineExamples(t *testing.T) {
	for _, kind := range Kinds() {
		text, ok := EngineExample(kind)
		d, err := Parse([]byte(text))
		if !ok || err != nil {
			t.Errorf("%s: Parse(EngineExample) = %v, %t; want a good file", kind, err, ok)
			continue
		}
		got := d.Regions[0].Engine.Kind()
		if want := strings.Replace(kind, kindValkey, kindMemory, 1); got != want {
			t.Errorf("%s: the example keeps sessions in %s", kind, got)
		}
		if uncommented := strings.ReplaceAll(text, "# migrate:", "migrate:"); kind == kindDSQL {
			if d, err = Parse([]byte(uncommented)); err != nil || !d.Regions[0].Engine.DSQL.Migrate {
				t.Errorf("%s: with migrate: %v", kind, err)
			}
		}
	}
	if text, ok := EngineExample("mongodb"); ok || text != "" {
		t.Errorf("EngineExample(mongodb) = %q, want none", text)
	}
}

// The times that examples write down are those that a file without them has.
func TestExamplesHaveTheDefaults(t *testing.T) {
	for _, kind := range []string{kindDSQL, kindDynamo} {
		text, _ := EngineExample(kind)
		d, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		said := d.Policies.Timeouts
		d.Policies.Timeouts = Timeouts{}
		if got := d.Timeouts(); got.Local != said.Local || got.Remote != said.Remote {
			t.Errorf("%s: the example says %+v, the default is %+v", kind, said, got)
		}
	}
}
