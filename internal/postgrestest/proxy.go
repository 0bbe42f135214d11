//go:build integration

package postgrestest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A DSQL stands in front of a PostgreSQL server and behaves as Aurora DSQL does towards
// who connects: what DSQL would refuse is a failure of the test, and commits conflict.
// It takes no passwords and speaks no TLS.
type DSQL struct {
	// Conflicts is in how many of a thousand commits another one was first.
	Conflicts atomic.Int64
	// Quiet leaves the answer to a commit that was undone as it is: ROLLBACK, and no error.
	Quiet atomic.Bool
	// Lost is after how many of a thousand commits the connection breaks before the client
	// has the answer; half of those never come to the server.
	Lost atomic.Int64
	// Plain has it check nothing: the client speaks to PostgreSQL.
	Plain atomic.Bool
	// Rows, if not 0, is how many rows a statement that deletes may be about, by the
	// number that is its last argument.
	Rows atomic.Int64
	// Undone, Broken and TooLarge count what was done about it.
	Undone, Broken, TooLarge atomic.Int64

	t      testing.TB
	server *Server
	l      net.Listener
	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]bool
	over   bool
}

// NewDSQL returns a DSQL that ends with t.
func NewDSQL(t testing.TB, s *Server) *DSQL {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	d := &DSQL{t: t, server: s, l: l, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		d.Cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := d.carry(in); err != nil {
					t.Logf("proxy: %v", err)
				}
			})
		}
	})
	return d
}

// DSN returns how to connect, in transactions as DSQL has them unless it is Plain.
func (d *DSQL) DSN() string {
	if d.Plain.Load() {
		return "postgres://roam@" + d.l.Addr().String() + "/postgres?sslmode=disable"
	}
	return "postgres://roam@" + d.l.Addr().String() + "/postgres?sslmode=disable&default_transaction_isolation=repeatable%20read"
}

// Addr returns host:port.
func (d *DSQL) Addr() string { return d.l.Addr().String() }

// Cut ends all connections, for good.
func (d *DSQL) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	for c := range d.conns {
		_ = c.Close() // the test is over
	}
}

func (d *DSQL) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[c] = true
	return !d.over
}

func (d *DSQL) drop(c net.Conn) {
	_ = c.Close() // either side ended
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// What a connection has at the server beside what its client prepares.
const (
	undoStatement  = "proxy_undo"
	largeStatement = "proxy_large"
)

// A carried is one connection.
type carried struct {
	d      *DSQL
	client *pgproto3.Backend
	server *pgproto3.Frontend

	checks   Session           // of the client's side, as what follows
	prepared map[string]string // text by name
	undone   atomic.Int64      // commits that the server is to undo and has not answered
	lose     atomic.Bool       // the answer of the next commit
}

func (d *DSQL) carry(in net.Conn) error {
	defer d.drop(in)
	out, err := net.Dial("tcp", d.server.Addr()) //nolint:noctx // on loopback
	if err != nil {
		return err
	}
	defer d.drop(out)
	if !d.keep(in) || !d.keep(out) {
		return nil
	}
	c := &carried{d: d, client: pgproto3.NewBackend(in, in), server: pgproto3.NewFrontend(out, out), prepared: map[string]string{}}
	if going, err := c.start(out); err != nil || !going {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := c.backward()
		_ = in.Close() // ends forward
		done <- err
	}()
	forward := c.forward()
	_ = out.Close() // ends backward
	for _, err := range []error{forward, <-done} {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// start carries the first words, and prepares what is put in place of other statements.
func (c *carried) start(out net.Conn) (going bool, err error) {
	first, err := c.client.ReceiveStartupMessage()
	if err != nil {
		return false, err
	}
	switch m := first.(type) {
	case *pgproto3.CancelRequest:
		b, err := m.Encode(nil)
		if err == nil {
			_, err = out.Write(b)
		}
		return false, err
	case *pgproto3.StartupMessage:
		c.server.Send(m)
	default:
		return false, fmt.Errorf("first message %T", first)
	}
	if err := c.server.Flush(); err != nil {
		return false, err
	}
	for {
		m, err := c.server.Receive()
		if err != nil {
			return false, err
		}
		if ready, ok := m.(*pgproto3.ReadyForQuery); ok {
			status := ready.TxStatus
			if err := c.prepare(); err != nil {
				return false, err
			}
			c.client.Send(&pgproto3.ReadyForQuery{TxStatus: status})
			return true, c.client.Flush()
		}
		c.client.Send(m)
		if err := c.client.Flush(); err != nil {
			return false, err
		}
	}
}

func (c *carried) prepare() error {
	c.server.Send(&pgproto3.Parse{Name: undoStatement, Query: "ROLLBACK"})
	c.server.Send(&pgproto3.Parse{Name: largeStatement, Query: "SELECT repeat('x', 2000000000)"}) // too large, too
	c.server.Send(&pgproto3.Sync{})
	if err := c.server.Flush(); err != nil {
		return err
	}
	for {
		m, err := c.server.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("prepare: %s", m.Message)
		case *pgproto3.ReadyForQuery:
			return nil
		}
	}
}

// forward carries what the client sends, until it or the server has left.
func (c *carried) forward() (err error) {
	for err == nil {
		var m pgproto3.FrontendMessage
		if m, err = c.client.Receive(); err != nil {
			break
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			c.prepared[m.Name] = m.Query
			m.Query = withoutAsync(m.Query)
		case *pgproto3.Query:
			c.check(m.String)
			m.String = withoutAsync(m.String)
		case *pgproto3.Bind:
			text := c.prepared[m.PreparedStatement]
			c.check(text)
			switch {
			case text == "COMMIT" && rand.Int64N(1000) < c.d.Lost.Load(): //nolint:gosec // a test
				c.d.Broken.Add(1)
				if rand.IntN(2) == 0 { //nolint:gosec // a test
					return nil // it does not come to the server
				}
				c.lose.Store(true)
			case text == "COMMIT" && rand.Int64N(1000) < c.d.Conflicts.Load(): //nolint:gosec // a test
				m.PreparedStatement = undoStatement
				c.undone.Add(1)
				c.d.Undone.Add(1)
			case strings.HasPrefix(text, "DELETE") && c.d.Rows.Load() != 0 && lastNumber(m) > c.d.Rows.Load():
				m.PreparedStatement, m.Parameters, m.ParameterFormatCodes = largeStatement, nil, nil
				c.d.TooLarge.Add(1)
			}
		}
		c.server.Send(m)
		err = c.server.Flush()
	}
	return err
}

func (c *carried) check(sql string) {
	if c.d.Plain.Load() {
		return
	}
	if err := c.checks.Statement(sql); err != nil {
		c.d.t.Errorf("DSQL would refuse: %v", err)
	}
}

// withoutAsync takes out the one word that PostgreSQL does not know.
func withoutAsync(sql string) string { return strings.Replace(sql, "INDEX ASYNC", "INDEX", 1) }

// lastNumber returns the last argument of a statement.
func lastNumber(m *pgproto3.Bind) (n int64) {
	if len(m.Parameters) == 0 {
		return 0
	}
	for _, b := range m.Parameters[len(m.Parameters)-1] {
		n = n<<8 | int64(b)
	}
	return n
}

// backward carries what the server answers, until it or the client has left.
func (c *carried) backward() (err error) {
	for err == nil {
		var m pgproto3.BackendMessage
		if m, err = c.server.Receive(); err != nil {
			break
		}
		switch m := m.(type) {
		case *pgproto3.CommandComplete:
			if string(m.CommandTag) == "COMMIT" && c.lose.Load() {
				return nil // it was done, and nobody hears of it
			}
			if string(m.CommandTag) == "ROLLBACK" && c.undone.Load() > 0 && !c.d.Quiet.Load() {
				c.undone.Add(-1)
				c.client.Send(&pgproto3.ErrorResponse{
					Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "40001",
					Message: "change conflicts with another transaction, please retry: (OC000)",
				})
				break
			}
			c.client.Send(m)
		case *pgproto3.ReadyForQuery:
			c.undone.Store(0) // one that the server passed over
			c.client.Send(m)
		default:
			c.client.Send(m)
		}
		err = c.client.Flush()
	}
	return err
}
