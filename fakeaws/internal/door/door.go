package door

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

const (
	// mostBody bounds a request unless its service says otherwise: SNS takes 256 KB, a
	// PutMetricData 1 MB.
	mostBody = 4 << 20
	// mostRecords bounds the journal of calls; the oldest is forgotten.
	mostRecords = 10000
)

// A Call is a request that was let in.
type Call struct {
	// Service, Region and Action say what is asked of whom.
	Service, Region, Action string
	// Params are those of the query protocol, JSON and CBOR.
	Params Params
	// Vars and Query are those of a REST path.
	Vars  map[string]string
	Query url.Values
	// Header is that of a request in REST-JSON.
	Header http.Header
	// Body is that of a request in REST.
	Body []byte
	// Caller is who asks.
	Caller Caller
	// ID is the request's.
	ID string
}

// A Caller is who signs with a key.
type Caller struct {
	// ARN is what policies and logs call it.
	ARN string
	// Secret is what it signs with.
	Secret string
	// Policy says what it may do; nil: everything.
	Policy *iam.Policy
}

// A Service is what a Door leads to.
type Service struct {
	// Name is what is signed.
	Name string
	// Prefix is what stands before actions in policies. Default: Name.
	Prefix string
	// Regions are those of its endpoints.
	Regions []string
	// Speaks returns the protocol of a request.
	Speaks func(r *http.Request) Protocol
	// Act does what is asked, and returns what Protocol.Write takes.
	Act func(ctx context.Context, c *Call) (any, error)
	// Asks returns what a policy must allow for a call. Default: the action on *.
	Asks func(c *Call) []iam.Request
	// Denied is what it calls a call that no policy allows. Default: the protocol's word.
	Denied string
	// MostBody bounds a request's body, in bytes. Default: 4 MiB.
	MostBody int64
	// Bucket returns the calls a second, and the burst, that an action may have by itself;
	// the action "" is all of them together. Default, and for 0: no bound.
	Bucket func(action string) (rate, burst float64)
}

// A Record is a call as the journal keeps it.
type Record struct {
	Time            time.Time
	Service, Region string
	Action          string
	Resources       []string
	Caller          string
	// Code is that of the fault; "" if there was none.
	Code string
}

// A Keeper knows what all doors share. Goroutines may share it.
type Keeper struct {
	// Rules are those in force.
	Rules Rules

	clock   clock.Clock
	account string

	mu       sync.Mutex // guards what follows
	services []*Service
	callers  map[string]Caller // by access key
	buckets  map[string]*bucket
	records  []Record // a ring once it is full
	next     int      // where the oldest of a full ring is
}

// NewKeeper returns a keeper that knows no service and no caller.
func NewKeeper(c clock.Clock, account string) *Keeper {
	return &Keeper{clock: c, account: account, callers: map[string]Caller{}, buckets: map[string]*bucket{}}
}

// Admit lets a caller sign with a key from now on.
func (k *Keeper) Admit(key string, c Caller) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.callers[key] = c
}

// Door returns the door to a service in a Region.
func (k *Keeper) Door(s *Service, region string) http.Handler {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.services, s) {
		k.services = append(k.services, s)
	}
	return &Door{keeper: k, service: s, region: region}
}

// Front returns the door to all services that were opened; the signature says which.
func (k *Keeper) Front() http.Handler { return &Door{keeper: k} }

// Records returns the calls of late, the oldest first: at most 10,000.
func (k *Keeper) Records() []Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(slices.Clone(k.records[k.next:]), k.records[:k.next]...)
}

func (k *Keeper) note(r Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.records) < mostRecords {
		k.records = append(k.records, r)
		return
	}
	k.records[k.next] = r
	k.next = (k.next + 1) % mostRecords
}

func (k *Keeper) caller(key string) (Caller, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.callers[key]
	return c, ok
}

// byName returns the service that is signed for.
func (k *Keeper) byName(name string) *Service {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// throttle takes a call out of its service's buckets.
func (k *Keeper) throttle(s *Service, c *Call) error {
	if s.Bucket == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, action := range []string{"", c.Action} {
		name := strings.Join([]string{s.Name, c.Region, action}, "/")
		b := k.buckets[name]
		if b == nil {
			rate, burst := s.Bucket(action)
			b = &bucket{rate: rate, burst: burst}
			k.buckets[name] = b // bounded: it was one of the service's actions
		}
		if !b.take(k.clock.Now()) {
			return refusal{throttled, "Rate exceeded"}
		}
	}
	return nil
}

// A Door is one endpoint.
type Door struct {
	keeper  *Keeper
	service *Service // nil: all of them
	region  string
}

// ServeHTTP lets a request in, or says why not.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sig, sigErr := ParseSignature(r.Header.Get("Authorization"))
	service, region := d.service, d.region
	if service == nil {
		if service = d.keeper.byName(sig.Service); service == nil {
			d.stranger(w, r, sigErr, sig.Service)
			return
		}
		// Of a service with one Region: SDKs that are given another endpoint no longer know
		// that, and sign for their own.
		if region = sig.Region; len(service.Regions) == 1 {
			region = service.Regions[0]
		}
	}
	v := &visit{keeper: d.keeper, service: service, protocol: service.Speaks(r), call: &Call{}, anyRegion: d.service == nil && len(service.Regions) == 1}
	v.read(r)
	v.call.Service, v.call.Region, v.call.ID = service.Name, region, newID()
	w.Header().Set("X-Amzn-Requestid", v.call.ID)
	v.serve(w, r, sig, sigErr)
}

// stranger answers at the front door to somebody of whom it is not known what she wants.
func (d *Door) stranger(w http.ResponseWriter, r *http.Request, err error, service string) {
	out := refusal{noToken, "Request is missing Authentication Token"}
	if r.Header.Get("Authorization") != "" {
		out = refusal{badSignature, fmt.Sprintf("Credential should be scoped to a service that is here: not %q", service)}
		if err != nil {
			out = refusal{badHeader, err.Error()}
		}
	}
	failXML(w, &Call{ID: newID()}, out.asXML(), "https://aws.amazon.com/")
}

// newID returns the form of ID that requests have.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// A visit is one request at a door.
type visit struct {
	keeper   *Keeper
	service  *Service
	protocol Protocol
	call     *Call
	body     []byte
	readErr  error // what is wrong with the body or with what it asks for
	asked    []iam.Request
	// anyRegion: the signature may be scoped to another Region.
	anyRegion bool
}

// read reads the request. What is wrong with it is told after the caller is known.
func (v *visit) read(r *http.Request) {
	most := v.service.MostBody
	if most == 0 {
		most = mostBody
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("the body has more than %d bytes", most)
	}
	if err != nil {
		v.readErr = refusal{unreadable, err.Error()}
		return
	}
	v.body = body
	plain, err := unzip(r, body, most)
	if err != nil {
		v.readErr = err
		return
	}
	call, err := v.protocol.Read(r, plain)
	v.readErr = err
	if call != nil {
		v.call = call
	}
}

// serve goes through all that may stop a call.
func (v *visit) serve(w http.ResponseWriter, r *http.Request, sig Signature, sigErr error) {
	lose := false
	for _, rule := range v.keeper.Rules.apply(v.call.Service, v.call.Region, v.call.Action, v.keeper.clock.Now()) {
		switch rule.Effect {
		case Lose:
			lose = true
		case Slow:
			if !v.wait(r.Context(), rule.Delay) {
				return
			}
		case Hang:
			v.note("(hangs)")
			<-r.Context().Done()
			return
		case Refuse:
			v.note("(refused)")
			hangUp(w)
			return
		case Throttle:
			v.fail(w, refusal{throttled, "Rate exceeded"})
			return
		default:
			v.fail(w, outage(rule, v.call))
			return
		}
	}
	result, err := v.act(r, sig, sigErr)
	switch {
	case lose:
		v.note("(lost)")
		hangUp(w)
	case err != nil:
		v.fail(w, err)
	default:
		v.note("")
		if err := v.protocol.Write(w, v.call, result); err != nil {
			v.fail(w, err) // in vain if the head was sent
		}
	}
}

// outage is what a rule says that callers get.
func outage(rule Rule, c *Call) error {
	message := fmt.Sprintf("%s in %s is not available", c.Service, c.Region)
	if rule.Code == "" && rule.Status == 0 {
		return refusal{away, message}
	}
	f := &Fault{Code: rule.Code, Status: rule.Status, Message: message}
	if f.Code == "" {
		f.Code = "ServiceUnavailable"
	}
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	return f
}

// act admits the caller and has the service do what she asks for.
func (v *visit) act(r *http.Request, sig Signature, sigErr error) (any, error) {
	if err := v.admit(r, sig, sigErr); err != nil {
		return nil, err
	}
	if v.readErr != nil {
		return nil, v.readErr
	}
	if err := v.judge(); err != nil {
		return nil, err
	}
	result, err := v.service.Act(r.Context(), v.call)
	if errors.Is(err, ErrUnknownAction) {
		return nil, refusal{unknownCall, fmt.Sprintf("Could not find operation %s; docs/fakeaws.md lists what there is", v.call.Action)}
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// ErrUnknownAction is what Service.Act returns for an action that it does not know.
var ErrUnknownAction = errors.New("unknown action")

// admit checks the signature and its scope.
func (v *visit) admit(r *http.Request, sig Signature, sigErr error) error {
	switch {
	case r.Header.Get("Authorization") == "":
		return refusal{noToken, "Request is missing Authentication Token"}
	case sigErr != nil:
		return refusal{badHeader, sigErr.Error()}
	case sig.Service != v.service.Name:
		return refusal{badSignature, fmt.Sprintf("Credential should be scoped to correct service: '%s'.", v.service.Name)}
	case v.anyRegion:
	case sig.Region != v.call.Region || !slices.Contains(v.service.Regions, sig.Region):
		return refusal{badSignature, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'.", sig.Region)}
	}
	caller, ok := v.keeper.caller(sig.Key)
	if !ok {
		return refusal{unknownKey, "The security token included in the request is invalid."}
	}
	// Whoever signs has the machine's clock, whatever clock the fakes have.
	if err := sig.checkTime(r, time.Now()); err != nil {
		return err
	}
	v.call.Caller = caller
	return sig.verify(r, v.body, caller.Secret)
}

// judge asks the caller's policy and the service's buckets.
func (v *visit) judge() error {
	if v.service.Asks != nil {
		v.asked = v.service.Asks(v.call)
	}
	prefix := v.service.Prefix
	if prefix == "" {
		prefix = v.service.Name
	}
	if len(v.asked) == 0 {
		v.asked = []iam.Request{{Resource: "*"}}
	}
	for _, ask := range v.asked {
		if ask.Action == "" {
			ask.Action = prefix + ":" + v.call.Action
		}
		ask.Principal = v.call.Caller.ARN
		if p := v.call.Caller.Policy; p != nil && !p.Allows(ask) {
			message := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
				ask.Principal, ask.Action, ask.Resource, ask.Action)
			if v.service.Denied != "" {
				return Faultf(http.StatusForbidden, v.service.Denied, "%s", message)
			}
			return refusal{denied, message}
		}
	}
	return v.keeper.throttle(v.service, v.call)
}

// fail tells the caller, in the words of her protocol.
func (v *visit) fail(w http.ResponseWriter, err error) {
	var f *Fault
	if r, ok := errors.AsType[refusal](err); ok {
		f = r.asXML()
		if v.protocol.JSON() {
			f = r.asJSON()
		}
	} else {
		f = asFault(err)
	}
	v.note(f.Code)
	v.protocol.Fail(w, v.call, f)
}

func (v *visit) note(code string) {
	r := Record{
		Time: v.keeper.clock.Now(), Service: v.call.Service, Region: v.call.Region, Action: v.call.Action,
		Caller: v.call.Caller.ARN, Code: code,
	}
	for _, ask := range v.asked {
		r.Resources = append(r.Resources, ask.Resource)
	}
	v.keeper.note(r)
}

// wait returns when a delay has passed; false if the caller went before.
func (v *visit) wait(ctx context.Context, d time.Duration) bool {
	passed := make(chan struct{})
	stop := v.keeper.clock.AfterFunc(d, func() { close(passed) })
	select {
	case <-passed:
		return true
	case <-ctx.Done():
		stop()
		return false
	}
}

// hangUp closes a connection without an answer.
func hangUp(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return // HTTP/2 is not served here
	}
	if conn, _, err := h.Hijack(); err == nil {
		_ = conn.Close() // that is all
	}
}
