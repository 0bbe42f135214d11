package topology

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// maxAddrs: some nodes of a cluster are enough to find the others.
	maxAddrs = 64
	// maxReplicas is as many as package valkey reads from.
	maxReplicas = 8
	// maxHosts is far above a server and those that may take its place.
	maxHosts = 16
	// postgresPort is where PostgreSQL listens, if nobody says otherwise.
	postgresPort = "5432"
	// leastDatabase leaves room for one record as large as there may be, below the mark
	// where births are refused.
	leastDatabase = 2 * crdt.MaxRecordBytes
	// mostConns is as package postgres has it.
	mostConns = 10_000
	// anEngine is what a Region wants.
	anEngine = "valkey:, postgres:, dsql:, dynamo: or memory: {}"
)

// What names look like, as the engines have it.
var (
	schemaName   = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)
	dsqlEndpoint = regexp.MustCompile(`^[a-z0-9]{26}\.dsql\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.on\.aws$`)
	dynamoTable  = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)
	dynamoARN    = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):[0-9]{12}:table/([A-Za-z0-9_.-]{3,255})$`)
)

func (p *parser) engine(c cursor) (e Engine) {
	kinds := []string{kindValkey, kindMemory, kindPostgres, kindDSQL, kindDynamo}
	f := c.fields(kinds...)
	for _, kind := range kinds {
		at := f[kind]
		switch {
		case !at.there():
		case e.Kind() != "":
			at.fault("keep one of them", "there are two engines")
		case kind == kindValkey:
			e.Valkey = p.valkey(at)
		case kind == kindMemory:
			m := at.fields("max_bytes", "log_bytes", "keep_released")
			e.Memory = &Memory{
				MaxBytes: m["max_bytes"].size(512<<10, 1<<40), LogBytes: m["log_bytes"].size(64<<10, 1<<40),
				KeepReleased: m["keep_released"].duration(time.Second, 24*time.Hour),
			}
		case kind == kindPostgres:
			e.Postgres = p.postgres(at)
		case kind == kindDSQL:
			e.DSQL = p.dsql(at)
		case kind == kindDynamo:
			e.Dynamo = p.dynamo(at)
		}
	}
	if e.Kind() == "" && (c.null() || c.node.Kind == yaml.MappingNode) { // else fields has said so
		c.fault("write "+anEngine+" below it", "has no engine")
	}
	return e
}

func (p *parser) valkey(c cursor) *Valkey {
	f := c.fields("addrs", "username", "password_file", "password_env", "tls", "plaintext", "log_bytes",
		"keep_released", "keep_log", "replicas", "cluster_replicas")
	v := &Valkey{
		Username: f["username"].text(),
		TLS:      serverTLS(f["tls"], "ca", "server_name", "targets", "cert", "key"), Plaintext: f["plaintext"].yes(),
		LogBytes: f["log_bytes"].size(1<<20, 1<<40), ClusterReplicas: f["cluster_replicas"].yes(),
	}
	v.KeepReleased, v.KeepLog = keeping(f)
	v.PasswordFile, v.PasswordEnv = password(f)
	if v.TLS != nil && v.Plaintext {
		f["plaintext"].fault("keep one of them", "there is TLS, and plaintext too")
	}
	if v.Addrs = v.reachable(f["addrs"].items(maxAddrs)); len(v.Addrs) == 0 {
		f["addrs"].fault(`write addrs: ["host:6379"]`, "no address of a server")
	}
	v.Replicas = v.reachable(f["replicas"].items(maxReplicas))
	if len(v.Replicas) > 0 && v.ClusterReplicas {
		f["cluster_replicas"].fault("keep one of them", "a cluster says itself which replicas it has")
	}
	return v
}

// reachable returns addresses of servers, which beyond this machine are to have TLS.
func (v *Valkey) reachable(addrs []cursor) (out []string) {
	for _, a := range addrs {
		addr := a.address()
		a.guardedServer("addrs", addr, v.TLS, v.Plaintext)
		out = append(out, addr)
	}
	return out
}

// guardedServer reports a server that is not of this machine and is reached without TLS.
func (c cursor) guardedServer(beside, addr string, t *ServerTLS, plaintext bool) {
	if addr != "" && t == nil && !plaintext && !loopback(addr) && !strings.HasPrefix(addr, "/") {
		c.fault(fmt.Sprintf("add tls: {} beside %s, or plaintext: true if the network may see all", beside),
			"%q is not on this machine, and there is no TLS", printable(addr))
	}
}

// serverTLS reads how a server and we prove who we are; nil: we don't.
func serverTLS(c cursor, may ...string) *ServerTLS {
	if !c.there() {
		return nil
	}
	f := c.fields(may...)
	t := &ServerTLS{
		CA: f["ca"].text(), ServerName: f["server_name"].text(), Targets: f["targets"].targets(f["server_name"]),
		Cert: f["cert"].text(), Key: f["key"].text(),
	}
	if (t.Cert == "") != (t.Key == "") {
		c.fault("name both or none", "a certificate and its key belong together")
	}
	return t
}

// keeping reads how long entries of a log stay.
func keeping(f map[string]cursor) (released, all time.Duration) {
	released = f["keep_released"].duration(time.Second, 24*time.Hour)
	all = f["keep_log"].duration(time.Second, 24*time.Hour)
	if all > 0 && all < released {
		f["keep_log"].fault("let it be keep_released or more", "entries that some peer lacks go before those that all have")
	}
	return released, all
}

// password reads where one is; two empty words: there is none.
func password(f map[string]cursor) (file, env string) {
	file, env = f["password_file"].text(), f["password_env"].text()
	if file != "" && env != "" {
		f["password_env"].fault("keep one of them", "there are two places for the password")
	}
	return file, env
}

func (p *parser) postgres(c cursor) *Postgres {
	f := c.fields("url", "host", "port", "hosts", "database", "user", "password_file", "password_env", "tls", "plaintext",
		"schema", "migrate", "max_conns", "max_bytes", "log_bytes", "keep_released", "keep_log")
	v := &Postgres{
		Database: f["database"].text(), User: f["user"].text(),
		TLS: serverTLS(f["tls"], "ca", "cert", "key"), Plaintext: f["plaintext"].yes(),
		Schema: f["schema"].schema(), Migrate: f["migrate"].yes(), MaxConns: f["max_conns"].number(2, mostConns),
		MaxBytes: f["max_bytes"].size(leastDatabase, 1<<50), LogBytes: f["log_bytes"].size(1<<20, 1<<40),
	}
	v.KeepReleased, v.KeepLog = keeping(f)
	v.PasswordFile, v.PasswordEnv = password(f)
	for _, key := range v.where(f) {
		for _, addr := range v.Hosts {
			key.guardedServer(last(key.path), addr, v.TLS, v.Plaintext)
		}
	}
	if v.TLS != nil && v.Plaintext {
		f["plaintext"].fault("keep one of them", "there is TLS, and plaintext too")
	}
	faulty := f["url"].there() && len(v.Hosts) == 0 // which may have had both
	if v.Database == "" && !f["database"].there() && !faulty {
		f["database"].fault("write database: and its name", "is missing")
	}
	if v.User == "" && !f["user"].there() && !faulty {
		f["user"].fault("write user: and the role that owns the schema, or was granted its tables", "is missing")
	}
	return v
}

// where reads which servers there are, and returns the key that says so.
func (v *Postgres) where(f map[string]cursor) (said []cursor) {
	for _, key := range []string{"url", "host", "hosts"} {
		switch at := f[key]; {
		case !at.there():
			continue
		case len(said) > 0:
			at.fault("keep one of url, host and hosts", "there are two places for the server")
			continue
		case key == "url":
			v.url(at, f)
		case key == "host":
			v.host(at, f["port"])
		default:
			for _, item := range at.items(maxHosts) {
				if addr := item.addressLike("10.0.0.1:" + postgresPort); addr != "" {
					v.Hosts = append(v.Hosts, addr)
				}
			}
			if at.node.Kind == yaml.SequenceNode && len(at.node.Content) == 0 {
				at.fault(`write hosts: ["db-1:5432", "db-2:5432"]`, "no address of a server")
			}
		}
		said = append(said, f[key])
	}
	if f["port"].there() && !f["host"].there() {
		f["port"].fault("write it behind the host, after a colon", "belongs to host: alone")
	}
	if len(said) == 0 {
		f["host"].fault("write host: and a name, or url: postgres://user@host:5432/database", "no address of a server")
	}
	return said
}

// host reads a server's name, or the folder of its socket.
func (v *Postgres) host(at, port cursor) {
	number := postgresPort
	if n := port.number(1, 65535); n > 0 {
		number = fmt.Sprint(n)
	}
	s := at.text()
	folder := strings.HasPrefix(s, "/")
	switch {
	case s == "":
	case !folder && strings.ContainsAny(s, ":/@, "), folder && strings.ContainsAny(s, ":,"):
		at.fault("write a name or an address, and port: beside it; hosts: has several", "%q is no host", printable(cutUser(s)))
	default:
		v.Hosts = []string{joined(s, number)}
	}
}

// cutUser returns a word without what stands before its @, which may be a password.
func cutUser(s string) string { return s[strings.LastIndexByte(s, '@')+1:] }

// url reads one; what it says may not be said again. It is never repeated: it may hold
// a password.
func (v *Postgres) url(at cursor, f map[string]cursor) {
	const mend = "write it as postgres://user@host:5432/database"
	s := at.text()
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || u.Fragment != "" {
		at.fault(mend+"; hosts: has several servers", "is no URL of a database")
		return
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") || u.Query().Has("sslpassword") {
		at.fault("put it in a file or a variable, and name that with password_file or password_env",
			"has a password, which all Regions and all who read the file see")
		return
	}
	if host := u.Hostname(); host == "" || strings.Contains(host, ",") {
		at.fault(mend+"; host: may be the folder of a socket, and hosts: has several servers", "has no host, or more than one")
	} else {
		v.Hosts = []string{joined(host, cmp.Or(u.Port(), postgresPort))}
	}
	v.settings(at, u.Query())
	v.Database = either(v.Database, strings.TrimPrefix(u.Path, "/"), f["database"])
	v.User = either(v.User, u.User.Username(), f["user"])
}

// settings reads those of a URL, of which one is known.
func (v *Postgres) settings(at cursor, all url.Values) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if values := all[key]; key == "sslmode" && len(values) == 1 && values[0] == "verify-full" {
			v.TLS = cmp.Or(v.TLS, &ServerTLS{})
			continue
		}
		at.fault("take it away; tls: says how the server is verified, and keys beside url: say the rest", "has the setting %q", printable(key))
	}
}

// either returns what a key says or what a URL does, of which one may.
func either(said, ofURL string, key cursor) string {
	if ofURL != "" && key.there() {
		key.fault("keep one of them", "the URL says it too")
	}
	return cmp.Or(said, ofURL)
}

// joined returns the address of a host and a port.
func joined(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// schema is the name of one; empty if there is none.
func (c cursor) schema() string {
	s := c.text()
	if s != "" && !schemaName.MatchString(s) {
		c.fault("use up to 40 small letters, digits and underscores", "%q is no name of a schema", printable(s))
		return ""
	}
	return s
}

// awsRegion is the name of one of AWS's; empty if there is none.
func (c cursor) awsRegion() string {
	s := c.text()
	if s != "" && !awsRegionForm.MatchString(s) {
		c.fault("write one such as us-west-2", "%q is none of AWS's Regions", printable(s))
		return ""
	}
	return s
}

func (p *parser) dsql(c cursor) *DSQL {
	f := c.fields("endpoint", "aws_region", "user", "schema", "migrate", "max_conns")
	v := &DSQL{
		AWSRegion: f["aws_region"].awsRegion(), User: f["user"].text(), Schema: f["schema"].schema(),
		Migrate: f["migrate"].yes(), MaxConns: f["max_conns"].number(2, mostConns),
	}
	const name = "<identifier>.dsql.<AWS Region>.on.aws"
	at := f["endpoint"]
	s := at.want("write endpoint: " + name + ", the cluster's in this Region")
	m := dsqlEndpoint.FindStringSubmatch(s)
	switch host, port := split(s); {
	case s == "":
	case m != nil && v.AWSRegion != "" && v.AWSRegion != m[1]:
		f["aws_region"].fault("take it away: the endpoint tells", "the endpoint is in %s", m[1])
	case m != nil:
		v.Endpoint, v.AWSRegion = s, m[1]
	case loopback(s) && isPort(port):
		v.Endpoint = s
	case host == "" && v.AWSRegion != "" && !strings.ContainsAny(s, "/@: "):
		v.Endpoint = s // a name of one's own for it
	default:
		at.fault("write "+name+" alone; its port is always "+postgresPort, "%q is no endpoint of a cluster", printable(cutUser(s)))
	}
	return v
}

func (p *parser) dynamo(c cursor) *Dynamo {
	f := c.fields("table", "aws_region", "strong", "endpoint", "connections")
	v := &Dynamo{
		Table: f["table"].want("write table: and its name, the same in all Regions"), Strong: f["strong"].yes(),
		Endpoint: f["endpoint"].service(), Connections: f["connections"].number(1, mostConns),
	}
	if f["aws_region"].want("write aws_region: us-west-2, the one whose copy of the table is this Region's") != "" {
		v.AWSRegion = f["aws_region"].awsRegion()
	}
	switch arn := dynamoARN.FindStringSubmatch(v.Table); {
	case v.Table == "":
	case arn == nil && !dynamoTable.MatchString(v.Table):
		f["table"].fault("use 3 to 255 of a-z, A-Z, 0-9, _, . and -, or the ARN of a table", "%q is no name of a table", printable(v.Table))
	case arn != nil && v.AWSRegion != "" && arn[1] != v.AWSRegion:
		f["table"].fault("name the copy of this Region, or the table without its Region", "the ARN is of %s", arn[1])
	}
	return v
}

// service is the URL of a service; empty if there is none.
func (c cursor) service() string {
	s := c.text()
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		c.fault("write https:// and a host, or take it away for AWS's own", "is no URL of a service")
	case u.Scheme == "http" && !loopback(joined(u.Hostname(), "80")):
		c.fault("write https://", "%q is not on this machine, and http shows all to the network", printable(u.Host))
	default:
		return s
	}
	return ""
}
