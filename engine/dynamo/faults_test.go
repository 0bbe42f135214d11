package dynamo

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now returns what the clocks of tests and engines show.
func now() crdt.Time { return crdt.TimeOf(time.Now()) }

func newKey() crdt.Key {
	v := newVersion()
	return crdt.SessionKey(crdt.NewSessionID(now().Add(time.Hour), 1, crdt.IDEntropy(v[:])))
}

func birthOp(user string) crdt.Op {
	return crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, User: user, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}, At: now()}}
}

func putOp(name, value string) crdt.Op {
	return crdt.Op{ID: 1, Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Put(name, []byte(value))}}
}

// born returns the key of a session that e gave birth to.
func born(t testing.TB, e *Engine) crdt.Key {
	t.Helper()
	k := newKey()
	if _, err := e.Apply(t.Context(), k, birthOp("ann")); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	return k
}

func count(of []string, op string) (n int) {
	for _, o := range of {
		if o == op {
			n++
		}
	}
	return n
}

// What DynamoDB says becomes what the contract says, and is tried again where that helps.
func TestReplies(t *testing.T) {
	for _, c := range []struct {
		status  int
		code    string
		message string
		kind    error
		known   bool
		again   bool
	}{
		{400, "ProvisionedThroughputExceededException", "", engine.ErrUnreachable, true, true},
		{400, "ThrottlingException", "", engine.ErrUnreachable, true, true},
		{400, "RequestLimitExceeded", "", engine.ErrUnreachable, true, true},
		{400, "TransactionConflictException", "", engine.ErrUnreachable, true, true},
		{400, "ReplicatedWriteConflictException", "", engine.ErrUnreachable, true, true},
		{400, "ConditionalCheckFailedException", "", engine.ErrUnreachable, true, true},
		{400, "ItemCollectionSizeLimitExceededException", "", crdt.ErrLimit, true, false},
		{400, "ValidationException", "Item size has exceeded the maximum allowed size", crdt.ErrLimit, true, false},
		{400, "ValidationException", "One or more parameter values were invalid", engine.ErrUnreachable, true, false},
		{400, "ResourceNotFoundException", "", engine.ErrUnreachable, true, false},
		{400, "AccessDeniedException", "", engine.ErrUnreachable, true, false},
		{400, "UnrecognizedClientException", "", engine.ErrUnreachable, true, false},
		{400, "InvalidSignatureException", "", engine.ErrUnreachable, true, false},
		{400, "ExpiredTokenException", "", engine.ErrUnreachable, true, true},
		{500, "InternalServerError", "", engine.ErrUnavailable, false, true},
		{503, "ServiceUnavailable", "", engine.ErrUnavailable, false, true},
		{400, "NeverHeardOfException", "", engine.ErrUnavailable, false, false},
		{413, "", "", engine.ErrUnavailable, false, false},
	} {
		t.Run(c.code+" "+c.message, func(t *testing.T) {
			t.Parallel() // what is tried again takes a while
			s := newService(t)
			e := s.open(t, 1)
			k := born(t, e)
			before := len(s.operations())
			s.breakAt("PutItem", fault{status: c.status, code: c.code, message: c.message}, 0)
			_, err := e.Apply(t.Context(), k, putOp("a", "1"))
			if !errors.Is(err, c.kind) || engine.OutcomeKnown(err) != c.known || errors.Is(err, engine.ErrUnavailable) == c.known {
				t.Errorf("Apply = %v, known %v, want %v, known %v", err, engine.OutcomeKnown(err), c.kind, c.known)
			}
			puts := count(s.operations()[before:], "PutItem")
			if (puts > 1) != c.again || puts > maxTries {
				t.Errorf("Apply tried %d times, want more than once: %v, and at most %d times", puts, c.again, maxTries)
			}
			s.breakAt("PutItem", fault{status: c.status, code: c.code, message: c.message}, 1)
			if _, err := e.Apply(t.Context(), k, putOp("a", "2")); (err == nil) != c.again {
				t.Errorf("Apply after one such reply = %v, want it taken: %v", err, c.again)
			}
		})
	}
}

// A read that fails is no write, whatever is said of it; and asking again is harmless.
func TestReadsThatFail(t *testing.T) {
	for name, f := range map[string]fault{
		"status 500": {status: 500, code: "InternalServerError"}, "cut": {}, "throttled": {status: 400, code: "ThrottlingException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is tried for a while
			s := newService(t)
			e := s.open(t, 1)
			k := born(t, e)
			s.breakAt("Query", f, 0)
			if _, err := e.Apply(t.Context(), k, putOp("a", "1")); !errors.Is(err, engine.ErrUnreachable) || !engine.OutcomeKnown(err) {
				t.Errorf("Apply = %v, want ErrUnreachable: nothing was written", err)
			}
			if r, err := e.Read(t.Context(), k, crdt.Token{}); err == nil || engine.IsRefusal(err) || engine.Answered(err) {
				t.Errorf("Read = %+v, %v, want a failure", r, err)
			}
			s.breakAt("Query", f, 1, 2)
			if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.User != "ann" {
				t.Errorf("Read after two failures = %+v, %v, want the record", r, err)
			}
		})
	}
}

// A write that was taken, and of which nobody said so, is known again by its version.
func TestWriteWhoseAnswerIsLost(t *testing.T) {
	for name, f := range map[string]fault{"status 500": {status: 500, code: "InternalServerError", done: true}, "cut": {done: true}} {
		s := newService(t)
		e := s.open(t, 1)
		k := born(t, e)
		before := len(s.operations())
		s.breakAt("PutItem", f, 1)
		op := crdt.Op{ID: 7, Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Add("n", 1)}}
		dot, err := e.Apply(t.Context(), k, op)
		r, _ := e.Read(t.Context(), k, crdt.Token{})
		if err != nil || !r.VV.Has(dot) || r.Count("n") != 1 {
			t.Errorf("%s: Apply = %v, %v, record %+v, want it there once", name, dot, err, r)
		}
		if puts := count(s.operations()[before:], "PutItem"); puts != 1 {
			t.Errorf("%s: %d writes, want 1: it was taken", name, puts)
		}
		s.breakAt("PutItem", fault{status: f.status, code: f.code}, 1) // not taken: written again
		if dot, err := e.Apply(t.Context(), k, putOp("a", "1")); err != nil || dot.IsZero() {
			t.Errorf("%s: Apply = %v, %v, want it written at the second try", name, dot, err)
		}
	}
}

// What is refused after a write whose outcome is unknown is not "nothing was written": it
// may have been, and somebody may have ended the session since.
func TestRefusalAfterAnUnknownWrite(t *testing.T) {
	s := newService(t)
	e, other := s.open(t, 1), s.open(t, 1)
	k := born(t, e)
	hold, puts, queries := make(chan struct{}), 0, 0
	s.mu.Lock()
	s.fault = func(op string, _ int) *fault {
		switch op {
		case "PutItem":
			if puts++; puts == 1 {
				return &fault{done: true}
			}
		case "Query":
			if queries++; queries == 2 { // of the second try
				return &fault{hold: hold, done: true, status: 500, code: "InternalServerError"}
			}
		}
		return nil
	}
	s.mu.Unlock()
	answer := make(chan error, 1)
	go func() {
		_, err := e.Apply(context.Background(), k, putOp("a", "1"))
		answer <- err
	}()
	s.await("PutItem", 2)
	s.await("Query", 3)
	if _, err := other.Apply(t.Context(), k, crdt.Op{Destroy: true}); err != nil {
		t.Errorf("Apply(destroy) = %v", err)
	}
	close(hold)
	if err := <-answer; !errors.Is(err, engine.ErrUnavailable) || engine.OutcomeKnown(err) || engine.IsRefusal(err) {
		t.Errorf("Apply = %v, want ErrUnavailable: it was written, and the session ended", err)
	}
}

// Where nobody answers, calls end when their contexts do, and say what is known.
func TestSilence(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k := born(t, e)
	hold := make(chan struct{})
	defer close(hold)
	for op, known := range map[string]bool{"PutItem": false, "Query": true} {
		s.breakAt(op, fault{hold: hold}, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		begun := time.Now()
		_, err := e.Apply(ctx, k, putOp("a", "1"))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || engine.OutcomeKnown(err) != known || time.Since(begun) > 2*time.Second {
			t.Errorf("Apply with a silent %s = %v after %v, known %v, want its deadline, known %v", op, err, time.Since(begun), engine.OutcomeKnown(err), known)
		}
	}
	s.breakAt("Query", fault{hold: hold}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := e.Read(ctx, k, crdt.Token{}); !errors.Is(err, context.DeadlineExceeded) || engine.Answered(err) {
		t.Errorf("Read = %v, want its deadline", err)
	}
}

// Who waits for another writer of the record in this process ends with its context, too.
func TestLineEnds(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k := born(t, e)
	hold := make(chan struct{})
	s.breakAt("PutItem", fault{hold: hold, done: true, status: 200}, 1)
	first := make(chan error, 1)
	go func() {
		_, err := e.Apply(context.Background(), k, putOp("a", "1"))
		first <- err
	}()
	s.await("PutItem", 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.Apply(ctx, k, putOp("b", "1")); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, engine.ErrUnreachable) || !engine.OutcomeKnown(err) {
		t.Errorf("Apply behind another = %v, want its deadline, and nothing written", err)
	}
	other := newKey() // nobody waits for another record's writer
	if _, err := e.Apply(t.Context(), other, birthOp("")); err != nil {
		t.Errorf("Apply to another record = %v", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Errorf("Apply = %v", err)
	}
	e.lines.mu.Lock()
	defer e.lines.mu.Unlock()
	if len(e.lines.all) != 0 {
		t.Errorf("%d lines are left, want none", len(e.lines.all))
	}
}

// Close ends calls that are under way; whether they were done is not known.
func TestCloseEndsCalls(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k := born(t, e)
	hold := make(chan struct{})
	defer close(hold)
	s.breakAt("PutItem", fault{hold: hold}, 0)
	answer := make(chan error, 1)
	go func() {
		_, err := e.Apply(context.Background(), k, putOp("a", "1"))
		answer <- err
	}()
	s.await("PutItem", 2)
	if err := e.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := <-answer; !errors.Is(err, engine.ErrClosed) || engine.OutcomeKnown(err) {
		t.Errorf("Apply under way = %v, known %v, want ErrClosed and not known", err, engine.OutcomeKnown(err))
	}
	if err := e.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

// What was never sent has not happened: no server, no trust, no credentials.
func TestNeverSent(t *testing.T) {
	s := newService(t)
	secure := httptest.NewTLSServer(s)
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	role := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(role.Close)
	noCredentials := aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, role.URL, http.NoBody)
		if err != nil {
			return aws.Credentials{}, err
		}
		res, err := role.Client().Do(req) // what is sent to ask for them is not sent to the table
		if err != nil {
			return aws.Credentials{}, err
		}
		return aws.Credentials{}, errors.Join(errors.New("the role was taken away"), res.Body.Close())
	})
	for name, edit := range map[string]func(*Config){
		"no server":      func(c *Config) { c.Endpoint = gone.URL },
		"no trust":       func(c *Config) { c.Endpoint, c.TLS = secure.URL, &tls.Config{MinVersion: tls.VersionTLS12} },
		"no credentials": func(c *Config) { c.Credentials = noCredentials },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is tried for a while
			c := s.config()
			edit(&c)
			if _, err := Open(t.Context(), 1, c); !errors.Is(err, engine.ErrUnreachable) {
				t.Errorf("Open = %v, want ErrUnreachable", err)
			}
			table, err := connect(t.Context(), c.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			e := newEngine(1, c, table)
			defer func() { _ = e.Close() }() // never fails
			_, err = e.Apply(t.Context(), newKey(), birthOp(""))
			if !errors.Is(err, engine.ErrUnreachable) || !engine.OutcomeKnown(err) {
				t.Errorf("Apply = %v, want ErrUnreachable", err)
			}
			err = table.put(t.Context(), testItems(t)[0], version{})
			if !engine.OutcomeKnown(err) {
				t.Errorf("put = %v, want it known that nothing was sent", err)
			}
		})
	}
}

// Credentials that have expired are asked for anew.
func TestExpiredCredentials(t *testing.T) {
	s := newService(t)
	var asked atomic.Int32
	e := s.open(t, 1, func(c *Config) {
		c.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			asked.Add(1)
			return testCredentials().Retrieve(ctx)
		}))
	})
	before := asked.Load()
	s.breakAt("PutItem", fault{status: 400, code: "ExpiredTokenException"}, 1)
	if _, err := e.Apply(t.Context(), newKey(), birthOp("")); err != nil {
		t.Errorf("Apply = %v, want it taken at the second try", err)
	}
	if got := asked.Load() - before; got != 1 {
		t.Errorf("credentials were asked for %d times, want once, after they had expired", got)
	}
}

// What can't be read is left as it is, and no error says that it is not there.
func TestCorrupt(t *testing.T) {
	for name, change := range map[string]func(map[string]map[string]string){
		"bytes":          func(row map[string]map[string]string) { row["data"] = map[string]string{"B": "AQE="} },
		"version":        func(row map[string]map[string]string) { row["v"] = map[string]string{"B": "AQE="} },
		"another record": func(row map[string]map[string]string) { row["data"] = testItemsData(t) },
		"no writer":      func(row map[string]map[string]string) { delete(row, "inc") },
	} {
		s := newService(t)
		e := s.open(t, 1)
		k := born(t, e)
		s.edit(k, 1, change)
		before := s.sorted("")
		_, readErr := e.Read(t.Context(), k, crdt.Token{})
		_, applyErr := e.Apply(t.Context(), k, putOp("a", "1"))
		_, endErr := e.Apply(t.Context(), k, crdt.Op{Destroy: true})
		joinErr := e.Join(t.Context(), crdt.Record{Key: k, Dead: true})
		scanErr := e.Scan(t.Context(), engine.EveryPartition, func(crdt.Record) bool { return true })
		for i, err := range []error{readErr, applyErr, endErr, joinErr, scanErr} {
			if !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("%s: call %d = %v, want ErrCorrupt", name, i, err)
			}
		}
		if after := s.sorted(""); !slices.EqualFunc(before, after, func(a, b map[string]map[string]string) bool { return a["v"]["B"] == b["v"]["B"] }) {
			t.Errorf("%s: the item was written", name)
		}
	}
}

func testItemsData(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"B": encode64(testItems(t)[0].data)}
}

// Two AWS Regions with one number would lose each other's writes.
func TestTwoRegionsWithOneNumber(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k := born(t, e)
	s.edit(k, 1, func(row map[string]map[string]string) { row["aws"] = map[string]string{"S": "eu-west-1"} })
	for _, op := range []crdt.Op{putOp("a", "1"), {Destroy: true}} {
		if _, err := e.Apply(t.Context(), k, op); !errors.Is(err, engine.ErrNotPrimary) || !engine.OutcomeKnown(err) {
			t.Errorf("Apply to what another AWS Region wrote as 1 = %v, want ErrNotPrimary", err)
		}
	}
	if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.User != "ann" {
		t.Errorf("Read = %+v, %v, want the record", r, err)
	}
	strong := s.open(t, 1, func(c *Config) { c.Strong = true })
	if _, err := strong.Apply(t.Context(), k, putOp("a", "1")); err != nil {
		t.Errorf("Apply to an item of all Regions = %v", err)
	}
}
