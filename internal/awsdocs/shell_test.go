//go:build integration

package awsdocs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// most bounds how long one block may take.
const most = time.Minute

// preamble has a minute be as long as the fakes', and waits between two looks be short. What is to
// be checked alone gets no answer that is of use, so nobody waits for one.
const preamble = `sleep() { if [ $1 -lt 60 ]; then command sleep 0.1; else command sleep $(($1 * MINUTE_MS / 60000)); fi; }
checked() ( AWSDOCS_CHECK=1; export AWSDOCS_CHECK; until_is() { shift; "$@" > /dev/null; }; . "$1" )
`

// A shell is a Bash that a page's reader types into.
type shell struct {
	t     *testing.T
	dir   string
	in    io.WriteCloser
	out   *bufio.Reader
	count int
}

func startShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile")
	cmd.Dir, cmd.Env = dir, env
	s := &shell{t: t, dir: dir}
	if s.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.in.Close() // it ends then
		_ = cmd.Wait()
	})
	if printed, complaint, ok := s.type_(preamble, false); !ok {
		t.Fatalf("the shell does not begin: %s%s", printed, complaint)
	}
	return s
}

// type_ types commands and returns what they print, and whether the shell has survived them.
func (s *shell) type_(commands string, check bool) (printed, complaint string, ok bool) {
	s.t.Helper()
	s.count++
	at := filepath.Join(s.dir, fmt.Sprintf(".typed-%d", s.count))
	if err := os.WriteFile(at, []byte(commands), 0o600); err != nil {
		s.t.Fatal(err)
	}
	how := "."
	if check {
		how = "checked"
	}
	if _, err := fmt.Fprintf(s.in, "%s %s > %s.out 2> %s.err < /dev/null\necho done\n", how, at, at, at); err != nil {
		s.t.Fatal(err)
	}
	read := func(name string) string {
		raw, err := os.ReadFile(at + name) //nolint:gosec // a file of this test
		if err != nil {
			s.t.Fatal(err)
		}
		return string(raw)
	}
	came := make(chan bool, 1)
	go func() {
		line, err := s.out.ReadString('\n')
		came <- err == nil && line == "done\n"
	}()
	select {
	case ok = <-came:
	case <-time.After(most):
		s.t.Fatalf("it takes more than %v: %s\n%s%s", most, commands, read(".out"), read(".err"))
	}
	return read(".out"), read(".err"), ok
}

// value returns what the shell makes of an expression.
func (s *shell) value(expression string) string {
	s.t.Helper()
	printed, complaint, ok := s.type_("printf %s \""+expression+"\"\n", false)
	if !ok || printed == "" {
		s.t.Fatalf("%s is nothing: %s", expression, complaint)
	}
	return printed
}

// do does a block as it stands in its page, with some words replaced.
func (s *shell) do(page string, b Block, replace *strings.Replacer) {
	s.t.Helper()
	began := time.Now()
	printed, complaint, ok := s.type_(replace.Replace(b.Commands), b.Do == Check)
	s.t.Logf("%s:%d %s %s: %v", page, b.Line, b.Do, b.Name, time.Since(began).Round(10*time.Millisecond))
	if !ok {
		s.t.Fatalf("%s:%d %s fails: %s%s", page, b.Line, b.Name, printed, complaint)
	}
	if !b.Says(printed) {
		s.t.Fatalf("%s:%d %s prints\n%s%s\nand the page says\n%s", page, b.Line, b.Name, printed, complaint, *b.Prints)
	}
}
