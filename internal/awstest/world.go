package awstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// The credentials that requests must be signed with.
const (
	KeyID  = "AKIDROAMTEST"
	Secret = "not a secret" //nolint:gosec // it opens nothing
)

// A Call is a request that was understood.
type Call struct {
	Service string // as it was signed for
	Region  string // as it was signed for
	Host    string
	Action  string // as a policy names it, without the service

	Resource string // its ARN; empty: the action has none
	// Of changes of records, what a policy may ask: normalized names, types and actions.
	// Names are also the controls of an update, the parameters and the alarms asked for.
	Names, Types, Actions []string
}

// A Fate is what becomes of a request. The zero Fate lets it be answered.
type Fate struct {
	Lost    bool   // nobody gets it
	Unheard bool   // it is carried out, and its answer is lost
	Hang    bool   // nothing comes back until the caller gives up
	Code    string // it fails so
	Status  int    // with Code; zero: 400
}

// A World is all of AWS that there is. Its fields may be changed between requests; those of
// its parts too, under Do's lock if requests go on.
type World struct {
	// Fate decides of a request; nil: all are answered. It runs under the lock.
	Fate func(Call) Fate
	// Before is told of a request before it is carried out; nil: nobody is. It runs
	// under the lock.
	Before func(Call)

	Route53  Route53
	Cache    Cache
	Routing  Routing
	Params   map[string]string // of SSM, in all Regions
	Watch    Watch
	Dynamo   Dynamo
	Unsigned int // requests whose signature was wrong

	mu    sync.Mutex // guards all of the above while requests go on
	calls []Call
}

// Calls returns the requests that came so far.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Call(nil), w.calls...)
}

// Forget forgets the requests that came so far.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}

// Lock runs f while no request is answered.
func (w *World) Lock(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

var errLost = errors.New("connection reset by peer")

// Do answers a request as an http.Client would.
func (w *World) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	rec := httptest.NewRecorder()
	fate := w.answer(rec, r, body)
	if fate.Hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if fate.Lost || fate.Unheard {
		return nil, errLost
	}
	res := rec.Result()
	res.Request = r
	return res, nil
}

// ServeHTTP answers a request that came over a socket. What is lost is cut off.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
	if err != nil {
		return
	}
	rec := httptest.NewRecorder()
	fate := w.answer(rec, r, body)
	if fate.Hang {
		<-r.Context().Done()
	}
	if fate.Hang || fate.Lost || fate.Unheard {
		if c, _, err := http.NewResponseController(rw).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	maps.Copy(rw.Header(), rec.Header())
	rw.WriteHeader(rec.Code)
	_, _ = io.Copy(rw, rec.Body)
}

// A service answers one call. It says what call it is before it carries it out.
type service interface {
	understand(r *http.Request, body []byte) (Call, any, error)
	do(c Call, in any, now time.Time) (any, *failure)
	write(rw http.ResponseWriter, c Call, out any)
	fail(rw http.ResponseWriter, f *failure)
}

// A failure is an error as AWS tells it.
type failure struct {
	code     string
	status   int
	messages []string
}

func refuse(code, format string, args ...any) *failure {
	return &failure{code: code, status: http.StatusBadRequest, messages: []string{fmt.Sprintf(format, args...)}}
}

func (w *World) answer(rw http.ResponseWriter, r *http.Request, body []byte) Fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	scope, err := verify(r, body, time.Now())
	s := w.service(scope.service)
	if err == nil && s == nil {
		err = fmt.Errorf("there is no service %q", scope.service)
	}
	if err != nil {
		w.Unsigned++
		http.Error(rw, err.Error(), http.StatusForbidden)
		return Fate{}
	}
	c, in, err := s.understand(r, body)
	if err != nil {
		s.fail(rw, refuse("InvalidInput", "%v", err))
		return Fate{}
	}
	c.Service, c.Region, c.Host = scope.service, scope.region, r.Host
	w.calls = append(w.calls, c)
	if w.Before != nil {
		w.Before(c)
	}
	var fate Fate
	if w.Fate != nil {
		fate = w.Fate(c)
	}
	if fate.Lost || fate.Hang {
		return fate
	}
	if fate.Code != "" {
		f := refuse(fate.Code, "by fate")
		if fate.Status != 0 {
			f.status = fate.Status
		}
		s.fail(rw, f)
		return fate
	}
	out, f := s.do(c, in, time.Now())
	if f != nil {
		s.fail(rw, f)
		return fate
	}
	s.write(rw, c, out)
	return fate
}

func (w *World) service(name string) service {
	switch name {
	case "route53":
		return &w.Route53
	case "elasticache":
		return &w.Cache
	case "route53-recovery-cluster":
		return &w.Routing
	case "ssm":
		return (*params)(w)
	case "monitoring":
		return &w.Watch
	case "dynamodb":
		return &w.Dynamo
	}
	return nil
}

func trim(b []byte) []byte { return bytes.TrimSpace(b) }
