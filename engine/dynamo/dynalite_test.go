//go:build integration

package dynamo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
)

// A server is a process that speaks DynamoDB's protocol, which ends with its test.
type server struct {
	t       testing.TB
	command []string
	env     []string
	port    string
	running *exec.Cmd
}

// startDynalite starts dynalite, which checks requests as strictly as DynamoDB. It keeps
// its tables on disk if dir is not empty. Where it is missing, the test fails in CI and is
// skipped elsewhere.
func startDynalite(t testing.TB, dir string) *server {
	t.Helper()
	cli := filepath.Join("..", "..", "bin", "dynalite", "node_modules", "dynalite", "cli.js")
	_, err := os.Stat(cli)
	if err == nil {
		_, err = exec.LookPath("node")
	}
	need(t, "dynalite", err)
	s := &server{t: t, port: freePort(t)}
	s.command = []string{"node", cli, "--host", "127.0.0.1", "--port", s.port, "--createTableMs", "0"}
	if dir != "" {
		s.command = append(s.command, "--path", dir)
	}
	s.start()
	return s
}

// need ends the test unless what it needs is there.
func need(t testing.TB, what string, err error) {
	t.Helper()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("run ./scripts/install-test-deps.sh: %s: %v", what, err)
	case err != nil:
		t.Skipf("NOT TESTED on %s; run ./scripts/install-test-deps.sh: %v", what, err)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was sent
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start starts the process and waits until it listens.
func (s *server) start() {
	s.t.Helper()
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // it ends when we do
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.running = cmd
	s.t.Cleanup(func() {
		if s.running == cmd {
			s.kill()
		}
	})
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			_ = c.Close() // it was only to see
			return
		}
		if time.Since(begun) > 60*time.Second {
			s.t.Fatalf("%v does not listen: %v", s.command, err)
		}
	}
}

// kill ends the process at once, as a crash does.
func (s *server) kill() {
	_ = s.running.Process.Kill() // it may be gone
	_ = s.running.Wait()         // its error is that it was killed
}

func (s *server) config(table string) Config {
	return Config{Table: table, Region: testRegion, Endpoint: "http://127.0.0.1:" + s.port, Credentials: testCredentials()}
}

// table makes a table and returns the configuration for it.
func (s *server) table() Config {
	s.t.Helper()
	v := newVersion()
	c := s.config(fmt.Sprintf("sessions-%x", v[:6]))
	admin := dynamodb.New(dynamodb.Options{Region: c.Region, Credentials: c.Credentials, BaseEndpoint: aws.String(c.Endpoint)})
	_, err := admin.CreateTable(s.t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(c.Table), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("wr"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("wr"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		s.t.Fatalf("CreateTable: %v", err)
	}
	return c
}

func openAt(t testing.TB, here crdt.Region, c Config) *Engine {
	t.Helper()
	var e *Engine
	var err error
	for range 100 { // it is being made for a moment
		if e, err = Open(t.Context(), here, c); !errors.Is(err, engine.ErrUnreachable) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("Open(%d, %s) = %v, want an engine", here, c.Table, err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

func TestPromisesOnDynalite(t *testing.T) {
	s := startDynalite(t, "")
	for name, strong := range map[string]bool{"each Region an item": false, "one item": true} {
		t.Run(name, func(t *testing.T) { promisesOn(t, s, strong) })
	}
}

func promisesOn(t *testing.T, s *server, strong bool) {
	t.Helper()
	var c clock
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		config := s.table()
		config.Strong, config.Clock = strong, c.now
		return openAt(t, here, config)
	}, enginetest.Options{Now: c.now, Advance: c.advance})
}

// Random operations have the same answers as in engine/memory, on a table too.
func TestEqualsMemoryOnDynalite(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	t.Logf("seed %d", seed)
	var at atomic.Int64
	at.Store(int64(testNow))
	c := startDynalite(t, "").table()
	c.Clock = func() time.Time { return crdt.Time(at.Load()).Std() }
	newDiffer(t, seed, openAt(t, 1, c), func(now crdt.Time) { at.Store(int64(now)) }).run(*differences / 10)
}

// A server that is killed under load and comes back loses nothing that was acknowledged,
// counts nothing twice, and what is said not to be written is not.
func TestServerKilledUnderLoad(t *testing.T) {
	s := startDynalite(t, t.TempDir())
	e := openAt(t, 1, s.table())
	k := born(t, e)
	stop := make(chan struct{})
	var acknowledged, unknown, refused atomic.Int64
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				op := crdt.Op{ID: uint64(w*1_000_000 + n), Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Add("n", 1)}}
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				_, err := e.Apply(ctx, k, op)
				cancel()
				switch {
				case err == nil:
					acknowledged.Add(1)
				case engine.OutcomeKnown(err):
					refused.Add(1)
				default:
					unknown.Add(1)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(400 * time.Millisecond)
		s.kill()
		time.Sleep(200 * time.Millisecond)
		s.start()
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	work.Wait()
	var r crdt.Record
	for begun := time.Now(); ; {
		var err error
		if r, err = e.Read(t.Context(), k, crdt.Token{}); err == nil {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("Read = %v, long after the server is back", err)
		}
	}
	n := r.Count("n")
	t.Logf("count %d: %d acknowledged, %d unknown, %d known not to be", n, acknowledged.Load(), unknown.Load(), refused.Load())
	if n < acknowledged.Load() || n > acknowledged.Load()+unknown.Load() {
		t.Errorf("count = %d, want from %d, which were acknowledged, to %d more", n, acknowledged.Load(), unknown.Load())
	}
	if acknowledged.Load() < 50 || unknown.Load()+refused.Load() == 0 {
		t.Error("the server was not killed under load")
	}
}

// Calls at a server that is killed and comes back can be put in one order.
func TestLinearizableWhileKilled(t *testing.T) {
	s := startDynalite(t, t.TempDir())
	e := openAt(t, 1, s.table())
	done := make(chan error)
	go func() {
		defer close(done)
		for seed := range uint64(6) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := enginetest.Linearizable(ctx, e, newKey(), now(), seed); err != nil {
				done <- fmt.Errorf("seed %d: %w", seed, err)
			}
			cancel()
		}
	}()
	kills := 0
	for {
		select {
		case err, more := <-done:
			if err != nil {
				t.Error(err)
			}
			if !more {
				t.Logf("killed %d times", kills)
				return
			}
		case <-time.After(150 * time.Millisecond):
			s.kill()
			s.start()
			kills++
		}
	}
}
