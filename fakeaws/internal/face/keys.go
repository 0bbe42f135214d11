package face

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// askTimeout bounds a question of the face's own to its server.
const askTimeout = 10 * time.Second

// A place is where a command has its keys.
type place struct {
	first, last, step int
	movable           bool // that depends on its arguments
}

// keys returns the keys of a command that has them where places say.
func (p place) keys(args [][]byte) (out [][]byte) {
	last := p.last
	if last < 0 {
		last += len(args)
	}
	for i := p.first; p.step > 0 && i > 0 && i <= last && i < len(args); i += p.step {
		out = append(out, args[i])
	}
	return out
}

// A side is a connection of the face's own to its server.
type side struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

func dialSide(ctx context.Context, server, password string) (*side, error) {
	conn, err := (&net.Dialer{Timeout: askTimeout}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	s := &side{conn, bufio.NewReaderSize(conn, mostLine), bufio.NewWriter(conn)}
	if password == "" {
		return s, nil
	}
	got, err := s.ask([][]byte{[]byte("AUTH"), []byte(password)})
	if r, ok := got.(refusal); ok {
		err = r
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// ask asks the server, which may refuse.
func (s *side) ask(args [][]byte) (any, error) {
	_ = s.conn.SetDeadline(time.Now().Add(askTimeout))
	writeCommand(s.w, args)
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	return parseReply(s.r, mostDepth)
}

// places asks where all commands have their keys.
func (s *side) places() (map[string]place, error) {
	got, err := s.ask([][]byte{[]byte("COMMAND")})
	if err != nil {
		return nil, err
	}
	all, _ := got.([]any)
	out := map[string]place{}
	gather(all, out)
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: COMMAND says %.80q", errProtocol, fmt.Sprint(got))
	}
	return out, nil
}

// gather reads commands, and those below them: name, arity, flags, the first key, the last one
// and the step between them, categories, tips, specifications, and subcommands.
func gather(all []any, out map[string]place) {
	for _, one := range all {
		c, _ := one.([]any)
		if len(c) < 6 {
			continue
		}
		name, _ := c[0].(string)
		flags, _ := c[2].([]any)
		first, _ := c[3].(int64)
		last, _ := c[4].(int64)
		step, _ := c[5].(int64)
		p := place{first: int(first), last: int(last), step: int(step)}
		for _, f := range flags {
			p.movable = p.movable || f == "movablekeys"
		}
		out[strings.ToLower(name)] = p
		if len(c) >= 10 {
			below, _ := c[9].([]any)
			gather(below, out)
		}
	}
}

// movable asks the server for the keys of a command that has them somewhere. What it does not
// understand has none: it will say so to the client too.
func (s *side) movable(args [][]byte) (out [][]byte, err error) {
	got, err := s.ask(append([][]byte{[]byte("COMMAND"), []byte("GETKEYS")}, args...))
	if err != nil {
		return nil, err
	}
	list, _ := got.([]any)
	for _, k := range list {
		if text, ok := k.(string); ok {
			out = append(out, []byte(text))
		}
	}
	return out, nil
}
