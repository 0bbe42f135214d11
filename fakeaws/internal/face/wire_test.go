package face

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func reader(text string) *bufio.Reader {
	return bufio.NewReaderSize(strings.NewReader(text), mostLine)
}

func TestReadCommand(t *testing.T) {
	for text, want := range map[string]string{
		"*1\r\n$4\r\nPING\r\n":                        "PING",
		"*2\r\n$3\r\nGET\r\n$0\r\n\r\n":               "GET ",
		"*0\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n": "GET a",
		"*1\r\n$4\r\na\r\nb\r\n":                      "a\r\nb",
	} {
		args, err := readCommand(reader(text))
		if got := string(bytes.Join(args, []byte(" "))); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"PING\r\n", "*1\n", "*x\r\n", "*1\r\n:4\r\n", "*1\r\n$-1\r\n", "*1\r\n$1\r\nab\r\n", "*2000000\r\n", "*1\r\n$99999999999\r\n",
		"*1\r\n$" + strings.Repeat("1", mostLine) + "\r\n",
	} {
		if _, err := readCommand(reader(text)); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: %v, want errProtocol", text, err)
		}
	}
	if _, err := readCommand(reader("*1\r\n$60000000\r\nab")); !errors.Is(err, io.EOF) {
		t.Errorf("a command that does not end: %v, want EOF", err)
	}
}

// Each reply ends where the next one begins.
func TestCopyReply(t *testing.T) {
	const next = "+next\r\n"
	for _, text := range []string{
		"+OK\r\n", "-ERR no\r\n", ":12\r\n", "$-1\r\n", "$0\r\n\r\n", "$3\r\na\r\n\r\n", "*-1\r\n", "*0\r\n", "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
		"_\r\n", "#t\r\n", ",1.5\r\n", "(123456789012345678901\r\n", "!3\r\nERR\r\n", "=5\r\ntxt:a\r\n", "~2\r\n:1\r\n:2\r\n",
		"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", ">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n", "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
		"*2\r\n|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n:1\r\n",
	} {
		r := reader(text + next)
		var b bytes.Buffer
		if err := copyReply(&b, r); err != nil || b.String() != text {
			t.Errorf("%q: copied %q, %v", text, b.String(), err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != next {
			t.Errorf("%q: then comes %q", text, rest)
		}
	}
	for _, text := range []string{"", "+\n", "\r\n", "?1\r\n", "$?\r\n", "*x\r\n", "*-2\r\n", "$2\r\nabc\r\n", "%9999999999\r\n"} {
		if err := copyReply(io.Discard, reader(text)); err == nil {
			t.Errorf("%q was copied", text)
		}
	}
	if _, err := holdReply(reader("$5000000\r\n" + strings.Repeat("a", 5000000) + "\r\n")); !errors.Is(err, errProtocol) {
		t.Errorf("held too much: %v", err)
	}
}

// What is copied is what was read, whatever it was, and what is parsed is so the same way.
func FuzzReply(f *testing.F) {
	for _, text := range []string{"+OK\r\n", "*2\r\n:1\r\n*1\r\n$1\r\na\r\n", "%1\r\n+a\r\n#t\r\n", "|1\r\n+a\r\n:1\r\n$-1\r\n", ">1\r\n$3\r\nabc\r\n", "=5\r\ntxt:a\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(text), mostLine)
		var b bytes.Buffer
		if err := copyReply(&b, r); err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(append(b.Bytes(), rest...), text) {
			t.Fatalf("%q became %q and %q", text, b.Bytes(), rest)
		}
		p := bufio.NewReaderSize(bytes.NewReader(text), mostLine)
		if _, err := parseReply(p, mostDepth); err == nil {
			if left, _ := io.ReadAll(p); !bytes.Equal(left, rest) {
				t.Fatalf("%q: parsed up to %q, copied up to %q", text, left, rest)
			}
		}
	})
}

// A command that was read is read again as it was, and no reading panics or takes more than came.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{"*1\r\n$4\r\nPING\r\n", "*0\r\n*1\r\n$0\r\n\r\n", "PING\r\n", "*2\r\n$1\r\na\r\n$-1\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		args, err := readCommand(bufio.NewReaderSize(bytes.NewReader(text), mostLine))
		if err != nil {
			return
		}
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		writeCommand(w, args)
		_ = w.Flush()
		again, err := readCommand(bufio.NewReaderSize(&b, mostLine))
		if err != nil || len(again) != len(args) {
			t.Fatalf("%q read again: %q, %v", args, again, err)
		}
		for i := range args {
			if !bytes.Equal(args[i], again[i]) {
				t.Fatalf("%q read again: %q", args, again)
			}
		}
	})
}
