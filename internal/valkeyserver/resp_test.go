package valkeyserver

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	for wire, want := range map[string]struct {
		text string
		err  error
	}{
		"+PONG\r\n":                {"PONG", nil},
		":42\r\n":                  {"42", nil},
		"$5\r\na\r\nbc\r\n":        {"a\r\nbc", nil},
		"$0\r\n\r\n":               {"", nil},
		"$-1\r\n":                  {"", nil},
		"-ERR no\r\n":              {"", Refusal("ERR no")},
		"*1\r\n:1\r\n":             {"", errProtocol},
		"+PONG\n":                  {"", errProtocol},
		"\r\n":                     {"", errProtocol},
		"$x\r\n":                   {"", errProtocol},
		"$-2\r\n":                  {"", errProtocol},
		"$99999999\r\n":            {"", errProtocol},
		"$2\r\nabcd":               {"", errProtocol},
		"$5\r\nab":                 {"", io.ErrUnexpectedEOF},
		"+PONG":                    {"", io.EOF},
		strings.Repeat("+", 1<<16): {"", bufio.ErrBufferFull},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(wire)))
		if got != want.text || !errors.Is(err, want.err) {
			t.Errorf("readReply(%.20q) = %q, %v, want %q, %v", wire, got, err, want.text, want.err)
		}
	}
}

// What a reply is read from is never read beyond it.
func FuzzReadReply(f *testing.F) {
	for _, wire := range []string{"+OK\r\n", ":7\r\n", "$3\r\nabc\r\n", "$-1\r\n", "-ERR\r\n", "*0\r\n", "$1\r\n", "\r\n"} {
		f.Add([]byte(wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		const next = "+next\r\n"
		text, err := readReply(bufio.NewReader(strings.NewReader(string(wire))))
		if len(text) > len(wire) {
			t.Errorf("a reply of %d bytes out of %d", len(text), len(wire))
		}
		if err != nil {
			return
		}
		r := bufio.NewReader(strings.NewReader(string(wire) + next))
		if again, err := readReply(r); err != nil || again != text {
			t.Errorf("with more behind it: %q, %v, want %q", again, err, text)
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	f.Add("Valkey server v=8.0.1 sha=0")
	f.Add("Redis server v=")
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := parseVersion(text); ok && (p.Version == "" || !strings.HasPrefix(text, p.Name+" server v=") || strings.ContainsAny(p.Version, " \n")) {
			t.Errorf("parseVersion(%q) = %+v", text, p)
		}
	})
}
