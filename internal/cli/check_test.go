package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/check"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/topology"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 5, nil},
		{"  ", 5, nil},
		{"one", 3, []string{"one"}},
		{"one two", 7, []string{"one two"}},
		{"one two", 6, []string{"one", "two"}},
		{"a bb  ccc", 4, []string{"a bb", "ccc"}},
		{"abcdefgh", 3, []string{"abc", "def", "gh"}},
		{"x abcdefgh y", 4, []string{"x", "abcd", "efgh", "y"}},
		{"äöü → ß", 5, []string{"äöü →", "ß"}},
	} {
		if got := wrap(c.text, c.width); !slices.Equal(got, c.want) {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// No line is wider than a hundred letters, and no word is lost.
func TestTableFitsAHundredColumns(t *testing.T) {
	long := strings.Repeat("look at the network between the two, ", 8) + strings.Repeat("x", 150)
	rows := []check.Row{
		{State: check.Good, Region: "us-west-1", Part: "links", Seen: "proves its Region"},
		{State: check.Unknown, Region: "eu-central-1", Part: "side store", Seen: long, Mend: long},
		{State: check.Fault, Part: "engine", Seen: "it does not answer", Mend: "look whether it runs"},
	}
	var out bytes.Buffer
	c := &cobra.Command{}
	c.SetOut(&out)
	if err := printRows(c, rows); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line {
			t.Errorf("a line of %d letters: %q", n, line)
		}
	}
	words := strings.Join(strings.Fields(out.String()), "")
	if want := strings.Join(strings.Fields(long), ""); strings.Count(words, want) != 2 {
		t.Errorf("the table lacks some of what was seen, or of what is to be done:\n%s", &out)
	}
	for _, want := range []string{
		"ok       us-west-1     links       proves its Region\n",
		"FAULT                  engine      it does not answer\n" + strings.Repeat(" ", 35) + "→ look whether it runs\n",
		"\n1 ok, 1 unknown, 0 to look at, 1 faults\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
}

// Who looks at a terminal hears how far it is after a second, and nothing stays of it.
func TestProgressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said talk
		p := &progress{}
		p.start(t.Context(), &said)
		p.set(0, 9)
		time.Sleep(progressAfter - 1)
		synctest.Wait()
		if said.String() != "" {
			t.Errorf("before a second has passed: %q, want nothing", said.String())
		}
		p.set(4, 9)
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		p.set(5, 9)
		time.Sleep(progressEvery)
		synctest.Wait()
		p.end()
		want := clearLine + "looked at 4 of 9 parts" + clearLine + "looked at 5 of 9 parts" + clearLine
		if said.String() != want {
			t.Errorf("said %q, want %q", said.String(), want)
		}

		var quick talk
		p = &progress{}
		p.start(t.Context(), &quick)
		time.Sleep(progressAfter / 2)
		p.end()
		if quick.String() != "" {
			t.Errorf("of what took half a second: %q, want nothing", quick.String())
		}
	})
}

func TestIsTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // nothing was written
	if isTerminal(file) || isTerminal(&bytes.Buffer{}) {
		t.Error("a file or a buffer is a terminal")
	}
	terminal, err := os.Open("/dev/ptmx")
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer func() { _ = terminal.Close() }() // nothing was written
	if !isTerminal(terminal) {
		t.Error("a terminal is none")
	}
	p := newProgress(t.Context(), file)
	p.set(1, 2)
	p.end() // of nobody who looks: nothing runs
}

// On the machine of a Region links are dialled with its certificate, and prove who is
// there; elsewhere that is not known.
func TestCheckRegion(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\nregions:\n")
	for i, name := range []string{"west", "east"} {
		fmt.Fprintf(&b, "  - {name: %s, id: %d, engine: {memory: {}}, node: {links: %q, http: %q}}\n", name, i+1, free(t), free(t))
	}
	b.WriteString("links: {tls: {ca: pki/ca.pem, cert: \"pki/{region}.pem\", key: \"pki/{region}.key\"}}\n")
	path, d := writeConfig(t, b.String())
	dir := filepath.Dir(path)
	var said bytes.Buffer
	if code := Run(t.Context(), []string{"pki", "init", "--config", path, "--dir", filepath.Join(dir, "pki")}, &said, &said); code != exitOK {
		t.Fatalf("roam pki init = %d: %s", code, &said)
	}
	checked := func(flags ...string) (int, string) {
		var said, talked bytes.Buffer
		code := Run(t.Context(), append([]string{"check", path}, flags...), &said, &talked)
		if talked.Len() > 0 {
			t.Errorf("roam check %q talks where nobody looks: %q", flags, &talked)
		}
		return code, said.String()
	}
	startNodes(t, d.Under(dir))
	soon(t, "west knows east by its certificate", func() bool {
		code, out := checked("--region", "west")
		return code == exitOK && strings.Count(out, "proves its Region, until") == 2
	})
	if code, out := checked(); code != exitOK || strings.Count(out, "who is there was not asked") != 2 {
		t.Errorf("on a machine of no Region = %d, want that who is there was not asked:\n%s", code, out)
	}
	if err := os.Remove(filepath.Join(dir, "pki", "east.key")); err != nil {
		t.Fatal(err)
	}
	if code, out := checked("--region", "east"); code != exitOK || !strings.Contains(out, "who is there was not asked") {
		t.Errorf("without the key of east = %d, want that who is there was not asked:\n%s", code, out)
	}
}

// startNodes runs all nodes of a deployment until the test ends.
func startNodes(t *testing.T, d topology.Deployment) {
	t.Helper()
	for _, name := range d.Names() {
		n, err := node.Start(context.WithoutCancel(t.Context()), d, name, node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
	}
}
