package sns

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// pending is what a subscription is called until somebody confirms it.
const pending = "PendingConfirmation"

func (f *Fake) subscribe(c *door.Call) (any, error) {
	p := c.Params
	s := &subscription{topic: p.Str("TopicArn"), protocol: p.Str("Protocol"), endpoint: p.Str("Endpoint")}
	if err := s.check(); err != nil {
		return nil, err
	}
	for k, v := range entries(p, "Attributes") {
		if err := s.set(k, v); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.topic(c, s.topic); err != nil {
		return nil, err
	}
	for _, old := range f.subs {
		if old.topic == s.topic && old.protocol == s.protocol && old.endpoint == s.endpoint {
			return struct{ SubscriptionArn string }{old.shown(p.Truth("ReturnSubscriptionArn"))}, nil
		}
	}
	if len(f.subs) >= mostSubscriptions {
		return nil, door.Faultf(http.StatusForbidden, "SubscriptionLimitExceeded", "fakeaws has at most %d subscriptions", mostSubscriptions)
	}
	id := newToken()
	s.arn = fmt.Sprintf("%s:%s-%s-%s-%s-%s", s.topic, id[:8], id[8:12], id[12:16], id[16:20], id[20:32])
	f.subs[s.arn] = s
	if s.protocol != "lambda" {
		s.token = newToken()
		f.post(*s, f.confirmation(*s), 0)
	}
	return struct{ SubscriptionArn string }{s.shown(p.Truth("ReturnSubscriptionArn"))}, nil
}

// shown is the ARN as Subscribe tells it.
func (s *subscription) shown(always bool) string {
	if s.token != "" && !always {
		return "pending confirmation"
	}
	return s.arn
}

func (s *subscription) check() error {
	switch s.protocol {
	case "http", "https":
		u, err := url.Parse(s.endpoint)
		if err != nil || u.Scheme != s.protocol || u.Host == "" {
			return invalid("Endpoint must match the specified protocol")
		}
	case "lambda":
		if parts := strings.Split(s.endpoint, ":"); len(parts) < 7 || parts[2] != "lambda" || parts[5] != "function" {
			return invalid("Lambda endpoint ARN")
		}
	default:
		return invalid("fakeaws delivers by http, https and lambda, and not by %.20s", s.protocol)
	}
	return nil
}

// set sets an attribute of a subscription.
func (s *subscription) set(name, value string) error {
	switch name {
	case "RawMessageDelivery":
		if s.protocol == "lambda" && value == "true" {
			return invalid("Attributes Reason: Delivery protocol [lambda] does not support raw message delivery.")
		}
		s.raw = value == "true"
	case "RedrivePolicy":
		var in struct {
			Target string `json:"deadLetterTargetArn"`
		}
		if value != "" && (json.Unmarshal([]byte(value), &in) != nil || !strings.HasPrefix(in.Target, "arn:aws:sqs:")) {
			return invalid("RedrivePolicy: deadLetterTargetArn is an invalid ARN")
		}
		s.queue = in.Target
	default:
		return invalid("AttributeName %s is not known to fakeaws", name)
	}
	return nil
}

func (f *Fake) confirm(c *door.Call) (any, error) {
	arn, err := f.Confirm(c.Params.Str("TopicArn"), c.Params.Str("Token"))
	if err != nil {
		return nil, err
	}
	return struct{ SubscriptionArn string }{arn}, nil
}

// Confirm has a topic deliver to the subscription whose token it is, and returns its ARN.
func (f *Fake) Confirm(topic, token string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subs {
		if s.topic == topic && s.token == token && token != "" {
			s.token = ""
			return s.arn, nil
		}
	}
	return "", invalid("Token")
}

// Unsubscribe ends a subscription, if there is one.
func (f *Fake) Unsubscribe(arn string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, arn)
}

func (f *Fake) unsubscribe(c *door.Call) (any, error) {
	f.Unsubscribe(c.Params.Str("SubscriptionArn"))
	return nil, nil
}

// A listed is a subscription in a list.
type listed struct {
	SubscriptionArn, Owner, Protocol, Endpoint, TopicArn string
}

func (f *Fake) listSubscriptions(c *door.Call) (any, error) {
	var out struct {
		Subscriptions []listed `xml:"Subscriptions>member"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	only := c.Params.Str("TopicArn")
	if c.Action == "ListSubscriptionsByTopic" {
		if _, err := f.topic(c, only); err != nil {
			return nil, err
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(f.subs)) {
		s := f.subs[arn]
		t := f.topics[s.topic]
		if t == nil || t.region != c.Region || only != "" && s.topic != only {
			continue
		}
		if s.token != "" {
			arn = pending
		}
		out.Subscriptions = append(out.Subscriptions, listed{arn, f.config.Account, s.protocol, s.endpoint, s.topic})
	}
	return out, nil
}

func (f *Fake) subscription(c *door.Call) (*subscription, error) {
	s, ok := f.subs[c.Params.Str("SubscriptionArn")]
	if !ok {
		return nil, door.Faultf(http.StatusNotFound, "NotFound", "Subscription does not exist")
	}
	return s, nil
}

func (f *Fake) getSubscription(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.subscription(c)
	if err != nil {
		return nil, err
	}
	out := map[string]string{
		"SubscriptionArn": s.arn, "TopicArn": s.topic, "Protocol": s.protocol, "Endpoint": s.endpoint, "Owner": f.config.Account,
		"PendingConfirmation": fmt.Sprint(s.token != ""), "RawMessageDelivery": fmt.Sprint(s.raw),
	}
	if s.queue != "" {
		out["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q}`, s.queue)
	}
	return newAttributes(out), nil
}

func (f *Fake) setSubscription(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.subscription(c)
	if err != nil {
		return nil, err
	}
	return nil, s.set(c.Params.Str("AttributeName"), c.Params.Str("AttributeValue"))
}
