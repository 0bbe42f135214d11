//go:build integration

package dynalitetest

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Region is the one of AWS that a Server is asked as.
const Region = "us-west-2"

// startMost is how long a server may take to listen: beside a build it takes its time.
const startMost = time.Minute

// A Server is a process that speaks DynamoDB's protocol on loopback, which ends with its
// test.
type Server struct {
	t       testing.TB
	command []string
	env     []string
	port    string
	running *exec.Cmd
}

// Start starts dynalite, which checks requests as strictly as DynamoDB. It keeps its tables
// on disk if dir is not empty. Where it is missing, the test fails if CI=true, and is
// skipped elsewhere.
func Start(t testing.TB, dir string) *Server {
	t.Helper()
	root, err := root()
	cli := filepath.Join(root, "bin", "dynalite", "node_modules", "dynalite", "cli.js")
	if err == nil {
		_, err = os.Stat(cli)
	}
	if err == nil {
		_, err = exec.LookPath("node")
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("run ./scripts/install-test-deps.sh: dynalite: %v", err)
	case err != nil:
		t.Skipf("NOT TESTED on dynalite; run ./scripts/install-test-deps.sh: %v", err)
	}
	return Run(t, nil, func(port string) []string {
		command := []string{"node", cli, "--host", "127.0.0.1", "--port", port, "--createTableMs", "0"}
		if dir != "" {
			command = append(command, "--path", dir)
		}
		return command
	})
}

// root returns the folder of the module that a test is in.
func root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			err = errors.New("no go.mod in this folder or above it")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// Run runs another program that speaks the protocol at a port.
func Run(t testing.TB, env []string, command func(port string) []string) *Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, env: env, port: strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	_ = l.Close() // nothing was sent
	s.command = command(s.port)
	s.Restart()
	return s
}

// Restart starts the process again after Kill, and returns when it listens.
func (s *Server) Restart() {
	s.t.Helper()
	cmd := exec.Command(s.command[0], s.command[1:]...) //nolint:gosec,noctx // a program of the tests
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // it ends when we do
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.running = cmd
	s.t.Cleanup(func() {
		if s.running == cmd {
			s.Kill()
		}
	})
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", "127.0.0.1:"+s.port)
		if err == nil {
			_ = c.Close() // it was only to see
			return
		}
		if time.Since(begun) > startMost {
			s.t.Fatalf("%v does not listen: %v", s.command, err)
		}
	}
}

// Kill ends the process at once, as a crash does.
func (s *Server) Kill() {
	if s.running == nil {
		return
	}
	_ = s.running.Process.Kill() // it may be gone
	_ = s.running.Wait()         // its error is that it was killed
	s.running = nil
}

// Endpoint returns the server's URL.
func (s *Server) Endpoint() string { return "http://127.0.0.1:" + s.port }

// NewName returns a name that no table has.
func NewName() string { return "sessions-" + strings.ToLower(rand.Text()) }

// Sign has the AWS SDK sign with some keys, for as long as the test takes. Servers take any.
func Sign(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{ //nolint:gosec // of AWS's examples
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG", "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_DYNAMODB": "",
	} {
		t.Setenv(name, value)
	}
}

// Table makes a table as engine/dynamo wants it, and returns when it is there.
func (s *Server) Table(name string) {
	s.t.Helper()
	attribute := func(name, kind string) map[string]any {
		return map[string]any{"AttributeName": name, "AttributeType": kind}
	}
	part := func(name, kind string) map[string]any { return map[string]any{"AttributeName": name, "KeyType": kind} }
	ctx, cancel := context.WithTimeout(s.t.Context(), startMost)
	defer cancel()
	err := s.Call(ctx, "CreateTable", map[string]any{
		"TableName": name, "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []any{attribute("pk", "S"), attribute("wr", "N")},
		"KeySchema":            []any{part("pk", "HASH"), part("wr", "RANGE")},
	}, nil)
	var out struct{ Table struct{ TableStatus string } }
	for err == nil && out.Table.TableStatus != "ACTIVE" {
		time.Sleep(10 * time.Millisecond)
		err = s.Call(ctx, "DescribeTable", map[string]any{"TableName": name}, &out)
	}
	if err != nil {
		s.t.Fatalf("make table %s: %v", name, err)
	}
}
