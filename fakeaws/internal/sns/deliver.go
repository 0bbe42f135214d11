package sns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// endpointTimeout is how long an endpoint may take to answer: 15 s.
const endpointTimeout = 15 * time.Second

// stamp is how SNS writes times.
const stamp = "2006-01-02T15:04:05.000Z"

// A message is what was published, or what asks for a confirmation.
type message struct {
	kind      string // Notification or SubscriptionConfirmation
	id        string
	topic     string
	subject   string
	text      string
	at        time.Time
	token     string
	signature string // SignatureVersion
}

// A Sender is a service that publishes in its own name.
type Sender struct {
	// Principal is such as elasticache.amazonaws.com.
	Principal string
	// Context has the keys that it shows to a topic's policy.
	Context map[string][]string
}

func (f *Fake) publish(c *door.Call) (any, error) {
	p := c.Params
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(c, p.Str("TopicArn"))
	switch {
	case err != nil:
		return nil, err
	case p.Str("MessageStructure") != "" || p.Has("MessageGroupId"):
		return nil, invalid("MessageStructure and MessageGroupId are not known to fakeaws")
	}
	id, err := f.send(t, p.Str("Subject"), p.Str("Message"))
	if err != nil {
		return nil, err
	}
	return struct{ MessageId string }{id}, nil
}

// Publish publishes in the name of a service. It fails if there is no such topic, or if it
// does not let the service.
func (f *Fake) Publish(from Sender, topic, subject, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.topics[topic]
	if !ok {
		return door.Faultf(http.StatusNotFound, "NotFound", "Topic does not exist")
	}
	if err := f.admits(t, from); err != nil {
		return err
	}
	_, err := f.send(t, subject, text)
	return err
}

// Admits reports whether a topic lets a service publish.
func (f *Fake) Admits(from Sender, topic string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.topics[topic]
	if !ok {
		return door.Faultf(http.StatusNotFound, "NotFound", "Topic does not exist")
	}
	return f.admits(t, from)
}

func (f *Fake) admits(t *topic, from Sender) error {
	p := t.policy
	if p == nil {
		read, err := iam.Decode([]byte(f.defaultPolicy(t.arn)))
		if err != nil {
			return err
		}
		p = &read
	}
	if t.attributes["KmsMasterKeyId"] != "" {
		return door.Faultf(http.StatusBadRequest, "KMSAccessDenied", "%s can't use the key of %s", from.Principal, t.arn)
	}
	if !p.Allows(iam.Request{Action: "SNS:Publish", Resource: t.arn, Principal: from.Principal, Context: from.Context}) {
		return door.Faultf(http.StatusForbidden, "AuthorizationError", "%s is not authorized to perform: SNS:Publish on resource: %s", from.Principal, t.arn)
	}
	return nil
}

// send delivers a message to all who have subscribed.
func (f *Fake) send(t *topic, subject, text string) (string, error) {
	switch {
	case text == "":
		return "", invalid("Empty message")
	case len(text) > mostMessage:
		return "", invalid("Message too long")
	case len(subject) >= 100 || strings.ContainsAny(subject, "\r\n"):
		return "", invalid("Subject")
	}
	m := message{
		kind: "Notification", id: newMessageID(), topic: t.arn, subject: subject, text: text,
		at: f.agenda.Now().UTC(), signature: t.signatureVersion(),
	}
	for _, s := range f.subs {
		if s.topic != t.arn || s.token != "" {
			continue
		}
		if f.dice.Float64() < f.mail.Drop {
			continue
		}
		copies := 1
		if f.dice.Float64() < f.mail.Duplicate {
			copies = 2
		}
		for range copies {
			delay := time.Duration(0)
			if f.mail.Delay > 0 {
				delay = time.Duration(f.dice.Int64N(int64(f.mail.Delay)))
			}
			f.post(*s, m, delay)
		}
	}
	return m.id, nil
}

func (t *topic) signatureVersion() string {
	if v := t.attributes["SignatureVersion"]; v != "" {
		return v
	}
	return "1"
}

func newMessageID() string {
	id := newToken()
	return fmt.Sprintf("%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:32])
}

// confirmation is the message that asks an endpoint whether it wants more.
func (f *Fake) confirmation(s subscription) message {
	return message{
		kind: "SubscriptionConfirmation", id: newMessageID(), topic: s.topic, at: f.agenda.Now().UTC(), token: s.token, signature: "1",
		text: fmt.Sprintf("You have chosen to subscribe to the topic %s.\nTo confirm the subscription, visit the SubscribeURL included in this message.", s.topic),
	}
}

// post plans the first try. What no longer fits on the agenda is dead at once.
func (f *Fake) post(s subscription, m message, delay time.Duration) {
	f.plan(s, m, 0, delay)
}

func (f *Fake) plan(s subscription, m message, try int, delay time.Duration) {
	ok := f.agenda.After(delay, func(ctx context.Context) {
		err := f.deliver(ctx, s, m)
		if err == nil || ctx.Err() != nil {
			return
		}
		wait, again := pause(s.protocol, try)
		if !again || permanent(err) {
			f.Bury(Letter{Queue: s.queue, From: s.arn, Body: string(f.envelope(s, m)), Why: err.Error()})
			return
		}
		f.plan(s, m, try+1, time.Duration(float64(wait)*f.config.Scale))
	})
	if !ok {
		// Elsewhere, as send holds the lock.
		f.agenda.Go(func(context.Context) {
			f.Bury(Letter{Queue: s.queue, From: s.arn, Body: string(f.envelope(s, m)), Why: "fakeaws has too many deliveries to come"})
		})
	}
}

// pause is how long a subscription's delivery waits after a try, counted from 0, and
// whether there is another one. To functions: 3 at once, 2 a second apart, 10 that back off
// from 1 s to 20 s, then 100,000 every 20 s. To endpoints: 3 that are 20 s apart.
func pause(protocol string, try int) (time.Duration, bool) {
	if protocol != "lambda" {
		return 20 * time.Second, try < 3
	}
	switch {
	case try < 3:
		return 0, true
	case try < 5:
		return time.Second, true
	case try < 15:
		const steps = 9
		return time.Second + time.Duration(try-5)*(19*time.Second)/steps, true
	}
	return 20 * time.Second, try < 15+100_000
}

// errGone: no later try would do better.
var errGone = errors.New("the endpoint does not want it")

func permanent(err error) bool { return errors.Is(err, errGone) }

// deliver tries once.
func (f *Fake) deliver(ctx context.Context, s subscription, m message) error {
	body := f.envelope(s, m)
	if s.protocol == "lambda" {
		return f.config.Invoke(ctx, s.endpoint, body)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	r.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	r.Header.Set("User-Agent", "Amazon Simple Notification Service Agent")
	r.Header.Set("X-Amz-Sns-Message-Type", m.kind)
	r.Header.Set("X-Amz-Sns-Message-Id", m.id)
	r.Header.Set("X-Amz-Sns-Topic-Arn", m.topic)
	if m.kind == "Notification" {
		r.Header.Set("X-Amz-Sns-Subscription-Arn", s.arn)
	}
	if s.raw {
		r.Header.Set("X-Amz-Sns-Rawdelivery", "true")
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // nobody reads it
	switch code := resp.StatusCode; {
	case code < 300:
		return nil
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests:
		return fmt.Errorf("%w: it answers %s", errGone, resp.Status)
	default:
		return fmt.Errorf("the endpoint answers %s", resp.Status)
	}
}

// envelope is what is delivered.
func (f *Fake) envelope(s subscription, m message) []byte {
	var out any
	switch {
	case s.protocol == "lambda":
		out = map[string]any{"Records": []any{map[string]any{
			"EventVersion": "1.0", "EventSource": "aws:sns", "EventSubscriptionArn": s.arn, "Sns": f.notification(s, m, "Url"),
		}}}
	case s.raw && m.kind == "Notification":
		return []byte(m.text)
	default:
		out = f.notification(s, m, "URL")
	}
	text, _ := json.Marshal(out) // texts alone
	return text
}

// notification is a message in JSON. Functions and endpoints spell URL differently.
func (f *Fake) notification(s subscription, m message, spelled string) map[string]any {
	out := map[string]any{
		"Type": m.kind, "MessageId": m.id, "TopicArn": m.topic, "Message": m.text, "Timestamp": m.at.Format(stamp),
		// Nothing is signed: see docs/fakeaws.md.
		"SignatureVersion": m.signature, "Signature": "", "SigningCert" + spelled: "",
	}
	if m.subject != "" {
		out["Subject"] = m.subject
	}
	if m.kind == "SubscriptionConfirmation" {
		out["Token"] = m.token
		out["SubscribeURL"] = f.config.Links + "/sns/confirm?" + url.Values{"TopicArn": {m.topic}, "Token": {m.token}}.Encode()
		return out
	}
	out["Unsubscribe"+spelled] = f.config.Links + "/sns/unsubscribe?" + url.Values{"SubscriptionArn": {s.arn}}.Encode()
	if s.protocol == "lambda" {
		out["MessageAttributes"] = map[string]any{}
		if m.subject == "" {
			out["Subject"] = nil
		}
	}
	return out
}
