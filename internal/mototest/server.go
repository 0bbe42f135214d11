//go:build integration

package mototest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// startMost is how long moto may take to listen: beside a build it takes its time.
const startMost = time.Minute

// Unpacked returns the folder into which scripts/install-WHAT.sh has unpacked something, for a
// test of a package two folders below the root. Where it is missing the test is skipped; in CI
// it fails, unless the script has written down why the machine can't have it.
func Unpacked(t testing.TB, what string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "bin", what))
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "complete"))
	}
	if err == nil {
		return dir
	}
	why, unsaid := os.ReadFile(filepath.Join(dir, "refused")) //nolint:gosec // a file of this repository's folder
	if os.Getenv("CI") == "true" && unsaid != nil {
		t.Fatalf("run ./scripts/install-%s.sh: %v", what, err)
	}
	t.Skipf("NOT TESTED with %s; run ./scripts/install-%s.sh: %v %s", what, what, err, why)
	return ""
}

// Command returns moto's environment, and what starts it at a port of loopback.
func Command(t testing.TB) (env []string, at func(port string) []string) {
	t.Helper()
	dir := Unpacked(t, "moto")
	env = []string{"PYTHONPATH=" + filepath.Join(dir, "shim") + ":" + filepath.Join(dir, "root/usr/lib/python3/dist-packages")}
	return env, func(port string) []string {
		return []string{"/usr/bin/python3", "-S", "-c", "import sys; from moto.server import main; main(sys.argv[1:])", "-H", "127.0.0.1", "-p", port}
	}
}

// Start starts moto, and returns its URL. It ends with the test, and what it said last is told
// if that has failed.
func Start(t testing.TB) string {
	t.Helper()
	env, at := Command(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends at once
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	words := at(port)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...) //nolint:gosec // this command alone
	cmd.Env = append(os.Environ(), env...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // it ends with the test's context
		if said := log.Bytes(); t.Failed() {
			t.Logf("moto said last: %s", said[max(0, len(said)-4000):])
		}
	})
	addr := net.JoinHostPort("127.0.0.1", port)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil { //nolint:noctx // this machine's
			_ = c.Close()
			return "http://" + addr
		}
		if time.Since(began) > startMost {
			t.Fatalf("moto does not listen after %v", startMost)
		}
	}
}
