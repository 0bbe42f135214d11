package opener

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/topology"
)

// A database is connected to as the file says, and a name in it is no setting.
func TestDSN(t *testing.T) {
	for _, c := range []struct {
		p    topology.Postgres
		want string
	}{
		{
			topology.Postgres{Hosts: []string{"127.0.0.1:5432"}, Database: "app", User: "roam"},
			`host='127.0.0.1' port='5432' dbname='app' user='roam' sslmode='disable'`,
		},
		{
			topology.Postgres{Hosts: []string{"/run/postgresql:5432"}, Database: "app", User: "roam"},
			`host='/run/postgresql' port='5432' dbname='app' user='roam' sslmode='disable'`,
		},
		{
			topology.Postgres{Hosts: []string{"a:1", "[2001:db8::1]:2"}, Database: `it's \ one sslmode=disable`, User: "u", TLS: &topology.ServerTLS{CA: "/a b", Cert: "c", Key: "k"}},
			`host='a,2001:db8::1' port='1,2' dbname='it\'s \\ one sslmode=disable' user='u' sslmode='verify-full' sslrootcert='/a b' sslcert='c' sslkey='k' target_session_attrs='read-write'`,
		},
		{
			topology.Postgres{Hosts: []string{"localhost:1", "db:1"}, Database: "d", User: "u", Plaintext: true},
			`host='localhost,db' port='1,1' dbname='d' user='u' sslmode='prefer' target_session_attrs='read-write'`,
		},
	} {
		if got := dsnOf(&c.p); got != c.want {
			t.Errorf("dsnOf(%+v) =\n%s, want\n%s", c.p, got, c.want)
		}
	}
	got := localDSN(&topology.DSQL{Endpoint: "127.0.0.1:1"})
	if want := `host='127.0.0.1' port='1' dbname='postgres' user='admin' sslmode='disable' default_transaction_isolation='repeatable read'`; got != want {
		t.Errorf("localDSN = %s, want %s", got, want)
	}
}

// All that the file says gets to the engine.
func TestPostgresConfig(t *testing.T) {
	full := topology.Postgres{
		Hosts: []string{"localhost:1"}, Schema: "s", Migrate: true, MaxConns: 7, MaxBytes: 1 << 30, LogBytes: 1 << 20,
		KeepReleased: time.Minute, KeepLog: time.Hour, Plaintext: true,
	}
	c, err := PostgresConfig(&full, os.Getenv)
	if err != nil || c.Password != nil {
		t.Fatalf("PostgresConfig = %+v, %v; want no password", c, err)
	}
	want := postgres.Config{
		DSN: dsnOf(&full), Schema: "s", Migrate: true, MaxConns: 7, MaxBytes: 1 << 30, LogBytes: 1 << 20,
		KeepReleased: time.Minute, KeepLog: time.Hour, Plaintext: true,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("PostgresConfig = %+v, want %+v", c, want)
	}
}

// A password is read anew each time, and an error has no part of it.
func TestPasswordOfADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pw")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) string { return map[string]string{"PW": "hunter2"}[name] }
	write("hunter2\r\n")
	c, err := PostgresConfig(&topology.Postgres{PasswordFile: path}, env)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Password(t.Context()); got != "hunter2" || err != nil {
		t.Errorf("Password = %q, %v; want hunter2", got, err)
	}
	write("hunter3")
	if got, err := c.Password(t.Context()); got != "hunter3" || err != nil {
		t.Errorf("Password of a file that has changed = %q, %v; want hunter3", got, err)
	}
	for name, p := range map[string]topology.Postgres{
		"no file": {PasswordFile: path + "none"}, "no variable": {PasswordEnv: "NONE"},
	} {
		if _, err := PostgresConfig(&p, env); err == nil || !strings.Contains(err.Error(), "password of the database") {
			t.Errorf("%s: PostgresConfig = %v, want an error that says what is missing", name, err)
		}
	}
	if c, err = PostgresConfig(&topology.Postgres{PasswordEnv: "PW"}, env); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Password(t.Context()); got != "hunter2" || err != nil {
		t.Errorf("Password of a variable = %q, %v; want hunter2", got, err)
	}
}
