package lambda

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// mostPending bounds what is on its way to a function through the agenda: see clock.Agenda.
// mostSchedules bounds the rules that invoke functions by the clock.
const mostSchedules = 100

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Invoke has a function handle an event later, in the name of a service. An error says
// that it was not taken.
func (f *Fake) Invoke(service, arn string, payload []byte) error {
	fn, err := f.find("", arn)
	if err != nil {
		return err
	}
	f.mu.Lock()
	may := slices.Contains(fn.Invokers, service)
	f.mu.Unlock()
	if !may {
		return door.Faultf(http.StatusForbidden, "AccessDeniedException", "User: %s is not authorized to perform: lambda:InvokeFunction on resource: %s", service, arn)
	}
	return f.later(fn, newID(), payload)
}

// later plans an event's first try.
func (f *Fake) later(fn *function, id string, payload []byte) error {
	e := &event{fn: fn, id: id, payload: payload, begun: f.agenda.Now()}
	if !f.agenda.After(0, func(ctx context.Context) { f.try(ctx, e) }) {
		return door.Faultf(http.StatusTooManyRequests, "TooManyRequestsException", "fakeaws has too many events to come, or ends")
	}
	return nil
}

// An event is what a function is to handle later.
type event struct {
	fn       *function
	id       string
	payload  []byte
	begun    time.Time
	failures int // of the function itself
	refusals int // as there was no program for it
}

// try has a function handle an event, or plans when to try again.
func (f *Fake) try(ctx context.Context, e *event) {
	r, err := f.run(ctx, e.fn, e.id, e.payload)
	if ctx.Err() != nil {
		return // the fakes end
	}
	if err == nil && r.failure == "" {
		return
	}
	f.mu.Lock()
	spec := e.fn.Function
	f.mu.Unlock()
	var wait time.Duration
	exhausted := false
	condition, why := "EventAgeExceeded", string(r.payload)
	if err != nil {
		// Throttles are tried again a second later, then ever slower, up to 5 minutes.
		wait, why = min(time.Second<<min(e.refusals, 10), 5*time.Minute), err.Error()
		e.refusals++
		if !errors.Is(err, errThrottled) {
			exhausted = true
		}
	} else {
		// A failure is tried again a minute later, and the second one two minutes later.
		e.failures++
		wait = time.Duration(e.failures) * time.Minute
		exhausted = e.failures > spec.Retries
	}
	if exhausted {
		condition = "RetriesExhausted"
	}
	wait = time.Duration(float64(wait) * f.config.Scale)
	if exhausted || f.agenda.Now().Add(wait).Sub(e.begun) > spec.MaxAge || !f.agenda.After(wait, func(ctx context.Context) { f.try(ctx, e) }) {
		f.config.Bury(spec.Queue, e.fn.arn, e.destined(condition, r, f.agenda.Now()), why)
	}
}

// destined is what a destination gets of an event that failed for good.
func (e *event) destined(condition string, r result, now time.Time) string {
	raw := func(b []byte) any {
		if json.Valid(b) {
			return json.RawMessage(b)
		}
		return string(b)
	}
	text, _ := json.Marshal(map[string]any{ // texts and what is valid alone
		"version": "1.0", "timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"),
		"requestContext": map[string]any{
			"requestId": e.id, "functionArn": e.fn.arn + ":$LATEST", "condition": condition, "approximateInvokeCount": e.failures,
		},
		"requestPayload":  raw(e.payload),
		"responseContext": map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": r.failure},
		"responsePayload": raw(r.payload),
	})
	return string(text)
}

// Schedule has a function invoked again and again, as a rule of EventBridge does. It ends
// with Close.
func (f *Fake) Schedule(arn string, every time.Duration) error {
	fn, err := f.find("", arn)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if every < time.Second || f.schedules >= mostSchedules {
		return badParameter("a schedule is every second at the most, and there are at most %d", mostSchedules)
	}
	f.schedules++
	rule := fmt.Sprintf("arn:aws:events:%s:%s:rule/fakeaws-%d", fn.Region, f.config.Account, f.schedules)
	f.tick(arn, fn.Region, rule, every)
	return nil
}

func (f *Fake) tick(arn, region, rule string, every time.Duration) {
	f.agenda.After(every, func(context.Context) {
		text, _ := json.Marshal(map[string]any{ // texts alone
			"version": "0", "id": newID(), "detail-type": "Scheduled Event", "source": "aws.events", "account": f.config.Account,
			"time": f.agenda.Now().UTC().Format(time.RFC3339), "region": region, "resources": []string{rule}, "detail": struct{}{},
		})
		if err := f.Invoke("events.amazonaws.com", arn, text); err != nil {
			f.config.Bury("", arn, string(text), err.Error())
		}
		f.tick(arn, region, rule, every)
	})
}
