package face

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// mostDue bounds the commands of a connection whose replies have yet to come; then the client
// waits until it has read some.
const mostDue = 4096

// A due says what becomes of the next reply. Its zero value has it carried as it is.
type due struct {
	edit   func(reply []byte) []byte // nil: as it is
	errors bool                      // errors alone are edited
	fenced bool                      // confirmations come, and at last the reply to a fence
}

// A session is a client's connection and the server's.
type session struct {
	face  *Face
	dues  chan due
	ended chan struct{} // closed when the server says no more

	// What follows is the asking side's.
	fromClient *bufio.Reader
	toServer   *bufio.Writer
	side       *side // opened when it is needed
	readOnly   bool  // replicas are to show what they have
	multi      bool  // a transaction is open
	slots      map[int]bool

	// And this the answering side's.
	fromServer *bufio.Reader
	toClient   *bufio.Writer
	three      bool            // it is RESP3
	heard      map[string]bool // which kinds of channels it is subscribed to
	waiting    *due            // whose reply comes next
	// Of a fenced one: the server has confirmed something, or has refused.
	confirmed, refused bool
}

// A flusher sends what was written on one side before it waits for the other.
type flusher struct {
	io.Reader
	w *bufio.Writer
}

// Read reads, and fails if what was written can't be sent.
func (f flusher) Read(p []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(p)
}

// serve carries a client's connection until either side ends.
func (f *Face) serve(ctx context.Context, client net.Conn) {
	server, err := (&net.Dialer{Timeout: askTimeout}).DialContext(ctx, "tcp", f.server)
	if err != nil {
		return // as a server that is down
	}
	defer f.drop(server)
	if !f.hold(server) {
		return
	}
	s := &session{
		face: f, dues: make(chan due, mostDue), ended: make(chan struct{}), toServer: bufio.NewWriter(server), toClient: bufio.NewWriter(client),
		slots: map[int]bool{}, heard: map[string]bool{},
	}
	s.fromClient = bufio.NewReaderSize(flusher{client, s.toServer}, mostLine)
	s.fromServer = bufio.NewReaderSize(flusher{server, s.toClient}, mostLine)
	var asking sync.WaitGroup
	asking.Go(func() {
		if !errors.Is(s.askAll(ctx), errLast) {
			_ = server.Close() // the answering side notices
		}
	})
	s.answerAll()
	close(s.ended)
	_ = client.Close()
	_ = server.Close()
	asking.Wait()
	if s.side != nil {
		_ = s.side.conn.Close() // all was asked
	}
}

// errLast: the server is to end the connection after what it was sent.
var errLast = errors.New("the last command was sent")

// put sends a command to the server and says what becomes of the reply.
func (s *session) put(d due, args ...[]byte) error {
	select {
	case s.dues <- d:
		writeCommand(s.toServer, args)
		return nil
	case <-s.ended:
		return net.ErrClosed
	}
}

// askAll carries what the client asks, until it ends or says what is no command.
func (s *session) askAll(ctx context.Context) error {
	for {
		args, err := readCommand(s.fromClient)
		if errors.Is(err, errProtocol) {
			text := fmt.Appendf(nil, "-ERR Protocol error: %.200v\r\n", err)
			err = s.put(due{edit: func([]byte) []byte { return text }}, []byte("QUIT"))
			return errors.Join(err, s.toServer.Flush(), errLast)
		}
		if err == nil {
			err = s.route(ctx, args)
		}
		if err != nil {
			return err
		}
	}
}

// A fence is a PING with fenceText, which is answered with fence: what comes before it was asked
// for before.
const fenceText, fence = "fakeaws:fence", "$13\r\nfakeaws:fence\r\n"

// answerAll carries what the server says, until it ends.
func (s *session) answerAll() {
	for s.answer() == nil {
	}
	_ = s.toClient.Flush() // the client may have gone
}

// answer carries one reply, or what comes between replies.
func (s *session) answer() error {
	first, err := s.fromServer.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == '>' { // nobody asked for it
		return copyReply(s.toClient, s.fromServer)
	}
	if s.waiting == nil {
		select {
		case d := <-s.dues: // it was put there before the server was asked
			s.waiting, s.confirmed, s.refused = &d, false, false
		default: // a message, or the server's last word
		}
	}
	d := s.waiting
	if d != nil && d.fenced || !s.three && len(s.heard) > 0 {
		return s.listen(d)
	}
	s.waiting = nil
	if d == nil || d.edit == nil || d.errors && first[0] != '-' {
		return copyReply(s.toClient, s.fromServer)
	}
	held, err := holdReply(s.fromServer)
	if err != nil {
		return err
	}
	_, err = s.toClient.Write(d.edit(held))
	return err
}

// listen carries what may have to do with channels: messages come at any time, and confirmations
// up to the answer to a fence.
func (s *session) listen(d *due) error {
	held, err := holdReply(s.fromServer)
	if err != nil {
		return err
	}
	kind := s.note(held)
	switch {
	case kind == message || d == nil:
	case d.fenced && kind == confirmation:
		s.confirmed = true
	case d.fenced && (s.confirmed || s.refused || isFence(held)):
		s.waiting = nil
		return nil // whatever it is, the fence was answered
	case d.fenced:
		s.refused = true // and the fence is yet to be answered
	default:
		s.waiting = nil
		if d.edit != nil && (!d.errors || held[0] == '-') {
			held = d.edit(held)
		}
	}
	_, err = s.toClient.Write(held)
	return err
}

// What a reply may be that has to do with channels.
const (
	other        = iota
	message      // somebody published it
	confirmation // a channel is subscribed to, or no more
)

// note says what a reply of RESP2 has to do with channels, and notes which kinds of them the
// client is subscribed to.
func (s *session) note(held []byte) int {
	if s.three || held[0] != '*' {
		return other
	}
	got, err := parseReply(bufio.NewReader(bytes.NewReader(held)), mostDepth)
	list, _ := got.([]any)
	if err != nil || len(list) < 3 {
		return other
	}
	kind, _ := list[0].(string)
	switch kind {
	case "message", "pmessage", "smessage":
		if len(s.heard) > 0 {
			return message
		}
	case "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		of := "channels" // counted together with patterns
		if kind == "ssubscribe" || kind == "sunsubscribe" {
			of = "shards"
		}
		if n, ok := list[2].(int64); ok && n > 0 {
			s.heard[of] = true
		} else {
			delete(s.heard, of)
		}
		return confirmation
	}
	return other
}

func isFence(held []byte) bool {
	return string(held) == fence || string(held) == "*2\r\n$4\r\npong\r\n"+fence
}
