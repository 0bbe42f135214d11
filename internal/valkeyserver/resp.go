package valkeyserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	// replyTimeout bounds an exchange whose context has no end of its own.
	replyTimeout = 20 * time.Second
	// mostReply bounds the text of one reply: INFO has some kilobytes.
	mostReply = 1 << 20
)

// A Refusal is an error that the server replied, as it said it.
type Refusal string

// Error returns what the server said.
func (r Refusal) Error() string { return string(r) }

var errProtocol = errors.New("the reply is none that is known here")

// Do sends a command on a connection of its own and returns the reply: the text of a
// string, the digits of a number, nothing for nil. It fails with a Refusal if the server
// replies with one. Lists can't be read.
func (s *Server) Do(ctx context.Context, args ...string) (string, error) {
	replies, err := s.DoAll(ctx, args)
	if err != nil {
		return "", err
	}
	return replies[0], nil
}

// DoAll sends commands together and returns their replies, as Do does. It fails if one
// of them does; those after it were done all the same.
func (s *Server) DoAll(ctx context.Context, commands ...[]string) ([]string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // what was asked for was read
	deadline := time.Now().Add(replyTimeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	var b strings.Builder
	for _, args := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	replies := make([]string, len(commands))
	for i, args := range commands {
		if replies[i], err = readReply(r); err != nil {
			return nil, fmt.Errorf("%s at %s: %w", args[0], s.Addr(), err)
		}
	}
	return replies, nil
}

// readReply reads one reply.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n') // bounded by the reader's buffer
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || text == "" {
		return "", errProtocol
	}
	kind, text := text[0], text[1:]
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", Refusal(text)
	case '$':
	default:
		return "", errProtocol
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 || n > mostReply {
		return "", errProtocol
	}
	if n == -1 {
		return "", nil
	}
	body := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	bulk, ok := strings.CutSuffix(string(body), "\r\n")
	if !ok {
		return "", errProtocol
	}
	return bulk, nil
}
