package face

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// disabled is what servers that stand alone say of what clusters alone have.
const disabled = "-ERR This instance has cluster support disabled\r\n"

// readOnlyServer is what a replica says of a command that would write. Of a script that finds
// out while it runs it says more.
const readOnlyServer = "-READONLY You can't write against a read only replica.\r\n"

// route sends a client's command to the server, or what is in its place.
func (s *session) route(ctx context.Context, args [][]byte) error {
	switch name := strings.ToUpper(string(args[0])); name {
	case "CLUSTER":
		return s.put(whereDisabled(func() []byte { return s.face.view.Load().tell(args, s.three) }), args...)
	case "READONLY", "READWRITE", "ASKING":
		s.readOnly = name == "READONLY" || name == "ASKING" && s.readOnly
		return s.put(whereDisabled(func() []byte { return []byte("+OK\r\n") }), args...)
	case "INFO", "HELLO", "RESET":
		if name == "RESET" {
			s.readOnly = false
			s.begin(false)
		}
		return s.put(due{edit: s.retell}, args...)
	case "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE":
		return s.subscribe(ctx, args)
	case "MULTI", "DISCARD":
		if name == "DISCARD" || !s.multi { // a second MULTI is refused, and changes nothing
			s.begin(name == "MULTI")
		}
		return s.put(due{}, args...)
	case "EXEC":
		crossed := len(s.slots) > 1
		s.begin(false)
		if crossed {
			return s.put(due{edit: func(reply []byte) []byte { return unless(reply, "-", crossSlot) }}, []byte("DISCARD"))
		}
		return s.put(due{}, args...)
	case "MONITOR", "SYNC", "PSYNC", "REPLCONF":
		return s.refuse(fmt.Sprintf("-ERR %s is not carried by fakeaws in cluster mode\r\n", name))
	}
	if text := refused(args); text != "" {
		return s.refuse(text)
	}
	_, err := s.byKeys(ctx, args, due{})
	return err
}

// refused says why a command is not carried; "" if it is.
func refused(args [][]byte) string {
	is := func(i int, word string) bool { return len(args) > i && strings.EqualFold(string(args[i]), word) }
	switch {
	case is(0, "CLIENT") && is(1, "REPLY"):
		return "-ERR CLIENT REPLY is not carried by fakeaws in cluster mode\r\n"
	case is(0, "SELECT") && !is(1, "0"):
		return "-ERR SELECT is not allowed in cluster mode\r\n"
	}
	return ""
}

// begin begins a transaction, or ends it.
func (s *session) begin(multi bool) {
	s.multi = multi
	clear(s.slots)
}

// whereDisabled has an answer take the place of the server's word that it is no cluster.
func whereDisabled(answer func() []byte) due {
	return due{errors: true, edit: func(reply []byte) []byte {
		if string(reply) == disabled {
			return answer()
		}
		return reply
	}}
}

// unless returns a text in the place of a reply, unless that begins with something.
func unless(reply []byte, prefix, text string) []byte {
	if bytes.HasPrefix(reply, []byte(prefix)) {
		return reply
	}
	return []byte(text)
}

// unknown is a command that no server has: it breaks a transaction.
const unknown = "FAKEAWS.NONE"

// refuse has the server refuse a command that it does not see.
func (s *session) refuse(text string) error {
	return s.put(due{edit: func([]byte) []byte { return []byte(text) }}, []byte(unknown))
}

// redirect has an error in the place of what the server would do. It says first whether it
// knows the client, and has its transaction broken.
func (s *session) redirect(text string) error {
	if err := s.put(due{edit: func(reply []byte) []byte { return unless(reply, "-NOAUTH", text) }}, []byte("PING")); err != nil {
		return err
	}
	return s.put(due{edit: func([]byte) []byte { return nil }}, []byte(unknown))
}

// retell has a server's word of itself be a node's, and knows by it which protocol is spoken.
func (s *session) retell(reply []byte) []byte {
	switch {
	case bytes.HasPrefix(reply, []byte("+RESET")):
		s.three = false
		clear(s.heard)
		return reply
	case reply[0] == '%' || reply[0] == '*':
		s.three = reply[0] == '%'
		return bytes.Replace(reply, []byte("$4\r\nmode\r\n$10\r\nstandalone\r\n"), []byte("$4\r\nmode\r\n$7\r\ncluster\r\n"), 1)
	case reply[0] == '$' || reply[0] == '=':
		_, text, _ := bytes.Cut(reply, []byte("\r\n"))
		text = bytes.TrimSuffix(text, []byte("\r\n"))
		for _, mode := range []string{"redis_mode:", "server_mode:"} {
			text = bytes.ReplaceAll(text, []byte("\r\n"+mode+"standalone\r\n"), []byte("\r\n"+mode+"cluster\r\n"))
		}
		text = bytes.ReplaceAll(text, []byte("\r\ncluster_enabled:0\r\n"), []byte("\r\ncluster_enabled:1\r\n"))
		return fmt.Appendf(nil, "%c%d\r\n%s\r\n", reply[0], len(text), text)
	}
	return reply
}

// subscribe has confirmations carried, however many come, up to the answer to a fence.
func (s *session) subscribe(ctx context.Context, args [][]byte) error {
	// In a transaction the server confirms after EXEC, and one reply comes now.
	sent, err := s.byKeys(ctx, args, due{fenced: !s.multi})
	if sent && !s.multi {
		writeCommand(s.toServer, [][]byte{[]byte("PING"), []byte(fenceText)}) // of the same due
	}
	return err
}

// crossSlot is what a command gets whose keys are in several slots.
const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"

// byKeys sends a command to the server if the node has its keys, and reports whether it did:
// else it tells who has.
func (s *session) byKeys(ctx context.Context, args [][]byte, d due) (sent bool, err error) {
	keys, err := s.keys(ctx, args)
	if err != nil {
		return false, err
	}
	if len(keys) == 0 {
		return true, s.put(d, args...)
	}
	slot := Slot(keys[0])
	v := s.face.view.Load()
	switch {
	case slices.ContainsFunc(keys, func(k []byte) bool { return Slot(k) != slot }):
		return false, s.redirect(crossSlot)
	case v.shard < 0 || v.owner(slot) != v.shard || v.replica() && !s.readOnly:
		return false, s.redirect(v.moved(slot))
	}
	if s.multi {
		s.slots[slot] = true
	}
	if v.replica() {
		d.errors, d.edit = true, func(reply []byte) []byte {
			if string(reply) == readOnlyServer {
				return []byte(s.face.view.Load().moved(slot))
			}
			return reply
		}
	}
	return true, s.put(d, args...)
}

// keys returns a command's keys; of one that the server does not know, none.
func (s *session) keys(ctx context.Context, args [][]byte) ([][]byte, error) {
	p := s.face.places[strings.ToLower(string(args[0]))]
	if len(args) > 1 {
		if below, ok := s.face.places[strings.ToLower(string(args[0])+"|"+string(args[1]))]; ok {
			p = below
		}
	}
	if !p.movable {
		return p.keys(args), nil
	}
	if s.side == nil {
		opened, err := dialSide(ctx, s.face.server, s.face.password)
		if err != nil {
			return nil, err
		}
		s.side = opened
	}
	return s.side.movable(args)
}
