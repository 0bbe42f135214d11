package face

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	// mostLine bounds a line, in bytes: a length, a number, an error. It is the size of the
	// readers' buffers too.
	mostLine = 64 << 10
	// mostCommand bounds a command's arguments together, in bytes, and mostArgs their number.
	mostCommand, mostArgs = 64 << 20, 1 << 20
	// mostHeld bounds a reply that is looked at as a whole, in bytes: INFO has some thousands.
	mostHeld = 4 << 20
	// mostElements bounds what a reply that is carried has in it at all depths.
	mostElements = 1 << 32
	// mostBulk bounds one text of a reply that is carried, in bytes, as servers do.
	mostBulk = 512 << 20
	// mostDepth bounds how deep lists are within lists where their values are wanted.
	mostDepth = 20
)

// errProtocol: somebody says what is no RESP, or more than is carried here.
var errProtocol = errors.New("it is no RESP that is carried here")

// readLine reads a line, of which it returns all and what is between its first byte and its
// end. Both are gone with the next read.
func readLine(r *bufio.Reader) (line, rest []byte, err error) {
	line, err = r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, nil, fmt.Errorf("%w: a line of more than %d bytes", errProtocol, mostLine)
	case err != nil:
		return nil, nil, err
	case len(line) < 3 || line[len(line)-2] != '\r':
		return nil, nil, fmt.Errorf("%w: %.40q", errProtocol, line)
	}
	return line, line[1 : len(line)-2], nil
}

// length reads a length, from least to most.
func length(text []byte, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%w: length %.40q", errProtocol, text)
	}
	return n, nil
}

// readCommand reads a command, of at least one argument: a list of texts. Empty lists are
// passed over, as servers do. It fails with errProtocol, or as the reader does.
func readCommand(r *bufio.Reader) ([][]byte, error) {
	for {
		line, rest, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line[0] != '*' {
			return nil, fmt.Errorf("%w: an inline command", errProtocol)
		}
		count, err := length(rest, -1, mostArgs)
		if err != nil {
			return nil, err
		}
		if count > 0 {
			return readArgs(r, count)
		}
	}
}

func readArgs(r *bufio.Reader, count int64) (args [][]byte, err error) {
	for left := int64(mostCommand); count > 0; count-- {
		line, rest, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line[0] != '$' {
			return nil, fmt.Errorf("%w: an argument begins with %q", errProtocol, line[0])
		}
		n, err := length(rest, 0, left)
		if err != nil {
			return nil, err
		}
		left -= n
		var arg bytes.Buffer // it grows as it comes: whoever says a length has not sent it yet
		if err := copyBulk(&arg, r, n); err != nil {
			return nil, err
		}
		args = append(args, arg.Bytes()[:n])
	}
	return args, nil
}

// copyBulk copies a text and the end of its line.
func copyBulk(w io.Writer, r *bufio.Reader, n int64) error {
	if _, err := io.CopyN(w, r, n); err != nil {
		return err
	}
	end, err := r.Peek(2)
	if err != nil {
		return err
	}
	if string(end) != "\r\n" {
		return fmt.Errorf("%w: a text is longer than it says", errProtocol)
	}
	_, err = io.CopyN(w, r, 2)
	return err
}

// writeCommand writes a command.
func writeCommand(w *bufio.Writer, args [][]byte) {
	// What can't be written is told by Flush.
	_, _ = fmt.Fprintf(w, "*%d\r\n", len(args))
	for _, a := range args {
		_, _ = fmt.Fprintf(w, "$%d\r\n", len(a))
		_, _ = w.Write(a)
		_, _ = w.WriteString("\r\n")
	}
}

// copyReply copies a reply, with the attributes before it, in RESP2 or RESP3. Streamed ones
// are not known, as no server sends them. It fails with errProtocol, or as r and w do.
func copyReply(w io.Writer, r *bufio.Reader) error {
	for need := int64(1); need > 0; need-- {
		line, rest, err := readLine(r)
		if err != nil {
			return err
		}
		kind, n := line[0], int64(0)
		switch kind {
		case '+', '-', ':', '_', '#', ',', '(':
		case '$', '=', '!':
			n, err = length(rest, -1, mostBulk)
		case '*', '~', '>', '%', '|':
			n, err = length(rest, -1, mostElements/2)
		default:
			err = fmt.Errorf("%w: a reply begins with %q", errProtocol, kind)
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		switch kind {
		case '$', '=', '!':
			if n >= 0 {
				err = copyBulk(w, r, n)
			}
		case '*', '~', '>':
			need += max(n, 0)
		case '%':
			need += 2 * max(n, 0)
		case '|':
			need += 2*max(n, 0) + 1 // what it is an attribute of comes after it
		}
		if err == nil && need > mostElements {
			err = fmt.Errorf("%w: a reply of more than %d parts", errProtocol, int64(mostElements))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A bounded buffer holds no more than mostHeld.
type bounded struct{ held []byte } // no bytes.Buffer: io.Copy would fill that without Write

// Write fails with errProtocol if that is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.held)+len(p) > mostHeld {
		return 0, fmt.Errorf("%w: more than %d bytes to look at", errProtocol, mostHeld)
	}
	b.held = append(b.held, p...)
	return len(p), nil
}

// holdReply reads a reply as a whole.
func holdReply(r *bufio.Reader) ([]byte, error) {
	var b bounded
	err := copyReply(&b, r)
	return b.held, err
}

// A refusal is an error that the server replied.
type refusal string

// Error returns what the server said.
func (r refusal) Error() string { return string(r) }

// parseReply reads a reply in RESP2 as text, numbers and lists; nil is nil, and errors within
// it are refusals. It fails with errProtocol, or as the reader does.
func parseReply(r *bufio.Reader, depth int) (any, error) {
	line, rest, err := readLine(r)
	if err != nil {
		return nil, err
	}
	switch line[0] {
	case '+':
		return string(rest), nil
	case '-':
		return refusal(rest), nil
	case ':':
		return length(rest, -1<<62, 1<<62)
	case '$':
		n, err := length(rest, -1, mostCommand)
		if err != nil || n < 0 {
			return nil, err
		}
		var b bytes.Buffer
		if err := copyBulk(&b, r, n); err != nil {
			return nil, err
		}
		return b.String()[:n], nil
	case '*':
		n, err := length(rest, -1, mostArgs)
		if err != nil || n < 0 {
			return nil, err
		}
		if depth == 0 {
			return nil, fmt.Errorf("%w: lists in lists in lists", errProtocol)
		}
		out := []any{}
		for range n {
			one, err := parseReply(r, depth-1)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: a reply begins with %q", errProtocol, line[0])
}
