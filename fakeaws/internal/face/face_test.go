//go:build integration

package face

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/internal/valkeytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "sesame"

// A small cluster has shards of a primary and a replica.
type small struct {
	Cluster
	faces [][]*Face
}

func begin(t *testing.T, shards int) *small {
	t.Helper()
	c := &small{}
	for i := range shards {
		s := Shard{First: i * Slots / shards, Last: (i+1)*Slots/shards - 1}
		var faces []*Face
		var primary *valkeytest.Server
		for j := range 2 {
			args := []string{"--requirepass", password, "--masterauth", password, "--repl-diskless-sync-delay", "0"}
			if j > 0 {
				args = append(args, "--replicaof", "127.0.0.1 "+primary.Port())
			}
			server := valkeytest.Start(t, args...)
			if j == 0 {
				primary = server
			}
			f, err := Listen(t.Context(), server.Addr, password)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
			_, port, _ := net.SplitHostPort(f.Addr())
			n, _ := strconv.Atoi(port)
			s.Nodes = append(s.Nodes, Node{ID: strings.Repeat(fmt.Sprintf("%d%d", i, j), 20), Name: fmt.Sprintf("node-%d-%d.example", i, j), IP: "127.0.0.1", Port: n})
			faces = append(faces, f)
		}
		c.Shards, c.faces = append(c.Shards, s), append(c.faces, faces)
	}
	c.show()
	return c
}

func (c *small) show() {
	shards := append([]Shard(nil), c.Shards...)
	for i, faces := range c.faces {
		for j, f := range faces {
			f.Show(Cluster{Shards: shards}, c.Shards[i].Nodes[j].ID)
		}
	}
}

// A raw client speaks RESP as it likes.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (c *small) dial(t *testing.T, shard, node int) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", c.faces[shard][node].Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t, conn, bufio.NewReaderSize(conn, mostLine)}
}

func (r *raw) send(text string) {
	r.t.Helper()
	if _, err := r.conn.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// hear returns the next reply, or "closed".
func (r *raw) hear() string {
	r.t.Helper()
	_ = r.conn.SetDeadline(time.Now().Add(20 * time.Second))
	var b bytes.Buffer
	if err := copyReply(&b, r.r); err != nil {
		return "closed"
	}
	return b.String()
}

func command(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// ask sends a command whose words are apart, and returns the reply.
func (r *raw) ask(words string) string {
	r.t.Helper()
	r.send(command(strings.Fields(words)...))
	return r.hear()
}

// login says the password.
func (r *raw) login() *raw {
	r.t.Helper()
	if got := r.ask("AUTH " + password); got != "+OK\r\n" {
		r.t.Fatalf("AUTH: %q", got)
	}
	return r
}

// keyIn returns a key of a shard of three.
func (c *small) keyIn(shard int, prefix string) string {
	for i := 0; ; i++ {
		if k := fmt.Sprintf("%s%d", prefix, i); (&view{Cluster: c.Cluster}).owner(Slot([]byte(k))) == shard {
			return k
		}
	}
}

// movedTo is the error that leads to a shard's first node.
func (c *small) movedTo(key string, shard, node int) string {
	return fmt.Sprintf("-MOVED %d 127.0.0.1:%d\r\n", Slot([]byte(key)), c.Shards[shard].Nodes[node].Port)
}

// Replies are as a node of a cluster gives them, one after the other.
func TestNode(t *testing.T) {
	c := begin(t, 3)
	mine, theirs := c.keyIn(0, "k"), c.keyIn(1, "k")
	r := c.dial(t, 0, 0)
	if got := r.ask("CLUSTER SLOTS") + r.ask("GET "+theirs) + r.ask("READONLY"); got != strings.Repeat("-NOAUTH Authentication required.\r\n", 3) {
		t.Errorf("without the password: %q", got)
	}
	r.login()
	for _, one := range []struct{ ask, want string }{
		{"SET " + mine + " 1", "+OK\r\n"},
		{"GET " + theirs, c.movedTo(theirs, 1, 0)},
		{"MGET " + mine + " " + theirs, crossSlot},
		{"MGET {" + mine + "}a {" + mine + "}b", "*2\r\n$-1\r\n$-1\r\n"},
		{"EVAL return(KEYS[1]) 1 " + theirs, c.movedTo(theirs, 1, 0)},
		{"EVAL return(KEYS[1]) 1 " + mine, fmt.Sprintf("$%d\r\n%s\r\n", len(mine), mine)},
		{"FCALL f 1 " + theirs, c.movedTo(theirs, 1, 0)},
		{"FCALL f 1 " + mine, "-ERR Function not found\r\n"},
		{"XREAD COUNT 1 STREAMS " + theirs + " 0", c.movedTo(theirs, 1, 0)},
		{"OBJECT ENCODING " + theirs, c.movedTo(theirs, 1, 0)},
		{"OBJECT ENCODING " + mine, "$3\r\nint\r\n"},
		{"SPUBLISH " + theirs + " x", c.movedTo(theirs, 1, 0)},
		{"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
		{"CLUSTER KEYSLOT {user1000}.following", ":3443\r\n"},
		{"CLUSTER KEYSLOT", "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n"},
		{"CLUSTER MYID", "$40\r\n" + strings.Repeat("00", 20) + "\r\n"},
		{"CLUSTER RESET", "-ERR CLUSTER \"RESET\" is not known to fakeaws\r\n"},
		{"READONLY", "+OK\r\n"},
		{"ASKING", "+OK\r\n"},
		{"READWRITE", "+OK\r\n"},
		{"MONITOR", "-ERR MONITOR is not carried by fakeaws in cluster mode\r\n"},
		{"CLIENT REPLY OFF", "-ERR CLIENT REPLY is not carried by fakeaws in cluster mode\r\n"},
		{"SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n"},
		{"SELECT 0", "+OK\r\n"},
		{"PING", "+PONG\r\n"},
	} {
		if got := r.ask(one.ask); got != one.want {
			t.Errorf("%s: %q, want %q", one.ask, got, one.want)
		}
	}
	for _, hello := range []string{"HELLO 3", "HELLO 2"} {
		if got := r.ask(hello); !strings.Contains(got, "$4\r\nmode\r\n$7\r\ncluster\r\n") {
			t.Errorf("%s: %q", hello, got)
		}
		info := r.ask("INFO")
		if !strings.Contains(info, "\ncluster_enabled:1\r") || !strings.Contains(info, "_mode:cluster\r") || strings.Contains(info, "_mode:standalone\r") {
			t.Errorf("INFO after %s: %q", hello, info)
		}
	}
	r.send("PING\r\n")
	if got := r.hear() + r.hear(); !strings.HasPrefix(got, "-ERR Protocol error") || !strings.HasSuffix(got, "closed") {
		t.Errorf("an inline command: %q", got)
	}
}

// What a node says of its cluster is what real ones say, in form.
func TestCluster(t *testing.T) {
	c := begin(t, 2)
	genuine := valkeytest.StartCluster(t, 2)
	for _, k := range []string{"", "a", "{}a", "{a", "a}b{", "{a}b", "x{y}{z}", "\x00\xff{\x01}", strings.Repeat("long", 100)} {
		if got, want := fmt.Sprint(Slot([]byte(k))), genuine[0].Do("CLUSTER", "KEYSLOT", k); got != want {
			t.Errorf("slot of %q: %s, want %s", k, got, want)
		}
	}
	r := c.dial(t, 1, 1).login()
	for _, proto := range []string{"2", "3"} {
		r.ask("HELLO " + proto)
		for _, sub := range []string{"SLOTS", "SHARDS", "NODES", "INFO"} {
			got := r.ask("CLUSTER " + sub)
			if strings.HasPrefix(got, "-") {
				t.Errorf("RESP%s %s: %q", proto, sub, got)
			}
			if three := strings.HasPrefix(got, "=") || strings.Contains(got, "%"); three != (proto == "3") {
				t.Errorf("RESP%s %s: %q", proto, sub, got)
			}
		}
	}
	id := c.Shards[1].Nodes[0].ID
	if got := r.ask("CLUSTER NODES"); !strings.Contains(got, c.Shards[1].Nodes[1].ID) || !strings.Contains(got, ",node-1-1.example myself,slave "+id+" 0 0 2 connected\n") || !strings.Contains(got, " 8192-16383\n") {
		t.Errorf("nodes: %q", got)
	}
	if got, want := lines(r.ask("CLUSTER INFO")), lines(genuine[0].Do("CLUSTER", "INFO")); !strings.HasPrefix(want, got) {
		t.Errorf("INFO has the lines %q, a real one's begins %q", got, want)
	}
}

// lines are the names of an answer's first lines.
func lines(text string) (names string) {
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "txt:"), ":"); ok && strings.HasPrefix(name, "cluster") {
			names += name + " "
		}
	}
	return names
}

// A transaction with a key elsewhere is broken, and so is one over two slots.
func TestTransactions(t *testing.T) {
	c := begin(t, 3)
	mine, theirs, other := c.keyIn(0, "k"), c.keyIn(1, "k"), c.keyIn(0, "other")
	r := c.dial(t, 0, 0).login()
	r.send(command("MULTI") + command("SET", mine, "1") + command("SET", theirs, "2") + command("EXEC"))
	if got, want := r.hear()+r.hear()+r.hear()+r.hear(), "+OK\r\n+QUEUED\r\n"+c.movedTo(theirs, 1, 0)+"-EXECABORT Transaction discarded because of previous errors.\r\n"; got != want {
		t.Errorf("a key elsewhere: %q, want %q", got, want)
	}
	r.send(command("MULTI") + command("SET", mine, "1") + command("SET", other, "2") + command("EXEC") + command("EXEC"))
	if got, want := r.hear()+r.hear()+r.hear()+r.hear()+r.hear(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n"+crossSlot+"-ERR EXEC without MULTI\r\n"; got != want {
		t.Errorf("two slots: %q, want %q", got, want)
	}
	r.send(command("MULTI") + command("MONITOR") + command("EXEC"))
	if got := r.hear() + r.hear() + r.hear(); !strings.HasSuffix(got, "-EXECABORT Transaction discarded because of previous errors.\r\n") {
		t.Errorf("what is refused: %q", got)
	}
	if got := r.ask("MGET {"+mine+"} {"+mine+"}x") + r.ask("GET "+other); got != "*2\r\n$-1\r\n$-1\r\n$-1\r\n" {
		t.Errorf("then there is %q", got)
	}
}

// A replica shows what it has to whoever says READONLY, and leads everybody else away.
func TestReplica(t *testing.T) {
	c := begin(t, 3)
	mine, theirs := c.keyIn(0, "k"), c.keyIn(1, "k")
	if got := c.dial(t, 0, 0).login().ask("SET " + mine + " 1"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	r := c.dial(t, 0, 1).login()
	if got := r.ask("GET " + mine); got != c.movedTo(mine, 0, 0) {
		t.Errorf("without READONLY: %q", got)
	}
	r.ask("READONLY")
	for begun := time.Now(); r.ask("GET "+mine) != "$1\r\n1\r\n"; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("the replica lacks the key")
		}
	}
	if got, want := r.ask("SET "+mine+" 2")+r.ask("GET "+theirs), c.movedTo(mine, 0, 0)+c.movedTo(theirs, 1, 0); got != want {
		t.Errorf("a write, and a key elsewhere: %q, want %q", got, want)
	}
	r.ask("READWRITE")
	if got := r.ask("GET " + mine); got != c.movedTo(mine, 0, 0) {
		t.Errorf("after READWRITE: %q", got)
	}
	// Roles change, and everybody knows at once.
	c.Shards[0].Primary = 1
	c.show()
	if got := c.dial(t, 0, 0).login().ask("GET " + mine); got != c.movedTo(mine, 0, 1) {
		t.Errorf("the old primary: %q", got)
	}
	if got := r.ask("SET " + mine + " 2"); got != readOnlyServer {
		t.Errorf("a primary whose server is none: %q", got)
	}
}

// Messages and confirmations come between replies, and none is taken for the other.
func TestChannels(t *testing.T) {
	c := begin(t, 1)
	for _, proto := range []string{"2", "3"} {
		r, other := c.dial(t, 0, 0).login(), c.dial(t, 0, 0).login()
		r.ask("HELLO " + proto)
		sign := map[string]string{"2": "*", "3": ">"}[proto]
		confirmed := func(kind, channel string, n int) string {
			return fmt.Sprintf("%s3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", sign, len(kind), kind, len(channel), channel, n)
		}
		r.send(command("SUBSCRIBE", "a", "b") + command("PSUBSCRIBE", "c*"))
		if got, want := r.hear()+r.hear()+r.hear(), confirmed("subscribe", "a", 1)+confirmed("subscribe", "b", 2)+confirmed("psubscribe", "c*", 3); got != want {
			t.Errorf("RESP%s: %q, want %q", proto, got, want)
		}
		if got := other.ask("PUBLISH a hello"); got != ":1\r\n" {
			t.Errorf("published: %q", got)
		}
		if got := r.hear(); got != sign+"3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n" {
			t.Errorf("RESP%s: the message is %q", proto, got)
		}
		if got, want := r.ask("PING"), map[string]string{"2": "*2\r\n$4\r\npong\r\n$0\r\n\r\n", "3": "+PONG\r\n"}[proto]; got != want {
			t.Errorf("RESP%s: PING: %q, want %q", proto, got, want)
		}
		r.send(command("UNSUBSCRIBE") + command("PUNSUBSCRIBE") + command("SET", "k", "1") + command("SUBSCRIBE") + command("GET", "k"))
		for range 3 {
			if got := r.hear(); !strings.Contains(got, "unsubscribe\r\n") {
				t.Errorf("RESP%s: unsubscribed: %q", proto, got)
			}
		}
		if got, want := r.hear()+r.hear()+r.hear(), "+OK\r\n-ERR wrong number of arguments for 'subscribe' command\r\n$1\r\n1\r\n"; got != want {
			t.Errorf("RESP%s: afterwards %q, want %q", proto, got, want)
		}
	}
}

// Clients of a cluster work with it as they are.
func TestClient(t *testing.T) {
	c := begin(t, 3)
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("RESP2=%v", two), func(t *testing.T) {
			client, err := valkey.NewClient(valkey.ClientOption{
				InitAddress: []string{c.faces[2][1].Addr()}, Password: password, AlwaysRESP2: two, DisableCache: two,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if client.Mode() != valkey.ClientModeCluster {
				t.Fatalf("it is %v", client.Mode())
			}
			pipelined(t, client)
			functions(t, client)
			err = client.Dedicated(func(d valkey.DedicatedClient) error {
				for _, r := range d.DoMulti(t.Context(), d.B().Multi().Build(), d.B().Incr().Key("{n}1").Build(), d.B().Incr().Key("{n}2").Build(), d.B().Exec().Build()) {
					if r.Error() != nil {
						return r.Error()
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("a transaction: %v", err)
			}
		})
	}
}

// pipelined writes many keys, of all shards and many sizes, and reads them.
func pipelined(t *testing.T, client valkey.Client) {
	t.Helper()
	var sets []valkey.Completed
	for i := range 300 {
		sets = append(sets, client.B().Set().Key(fmt.Sprintf("key-%d", i)).Value(strings.Repeat("x", i*100)).Build())
	}
	for _, r := range client.DoMulti(t.Context(), sets...) {
		if r.Error() != nil {
			t.Fatal(r.Error())
		}
	}
	for i := range 300 {
		if s, err := client.Do(t.Context(), client.B().Get().Key(fmt.Sprintf("key-%d", i)).Build()).ToString(); err != nil || len(s) != i*100 {
			t.Fatalf("key %d: %d bytes, %v", i, len(s), err)
		}
	}
}

// functions calls a function at all shards.
func functions(t *testing.T, client valkey.Client) {
	t.Helper()
	for addr, node := range client.Nodes() {
		err := node.Do(t.Context(), node.B().FunctionLoad().Replace().FunctionCode("#!lua name=l\nredis.register_function('echo', function(k, a) return {k[1], a[1]} end)").Build()).Error()
		if err != nil && !strings.HasPrefix(err.Error(), "READONLY") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for i := range 20 {
		k := fmt.Sprintf("f%d", i)
		got, err := client.Do(t.Context(), client.B().Fcall().Function("echo").Numkeys(1).Key(k).Arg("x").Build()).AsStrSlice()
		if err != nil || len(got) != 2 || got[0] != k {
			t.Errorf("FCALL: %q, %v", got, err)
		}
	}
}

// Who tracks what others change is told so by each node.
func TestTracking(t *testing.T) {
	c, told := begin(t, 3), make(chan string, 100)
	client, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{c.faces[0][0].Addr()}, Password: password, ClientTrackingOptions: []string{"PREFIX", "t:", "BCAST"}, DisableCache: false,
		OnInvalidations: func(m []valkey.ValkeyMessage) {
			for _, one := range m {
				k, _ := one.ToString()
				told <- k
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 10 { // of several shards, whose connections are there once they were asked
		if err := client.Do(t.Context(), client.B().Set().Key(fmt.Sprintf("t:%d", i)).Value("1").Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		k := fmt.Sprintf("t:%d", i)
		shard := (&view{Cluster: c.Cluster}).owner(Slot([]byte(k)))
		if got := c.dial(t, shard, 0).login().ask("SET " + k + " 2"); got != "+OK\r\n" {
			t.Fatal(got)
		}
		for end := time.After(20 * time.Second); ; {
			select {
			case got := <-told:
				if got != k {
					continue
				}
			case <-end:
				t.Fatalf("not told of %s", k)
			}
			break
		}
	}
}
