package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const function = "arn:aws:lambda:us-west-2:123456789012:function:dns"

// A world is a fake, a client of it, a clock that stands, and a function that fails as
// often as it is told to.
type world struct {
	*Fake
	*sns.Client
	clock *clock.Manual

	mu    sync.Mutex
	fails int
	got   []string // messages that the function took
	tries []time.Duration
}

func begin(t *testing.T) *world {
	t.Helper()
	start := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	w := &world{clock: clock.NewManual(start)}
	w.Fake = New(t.Context(), Config{
		Clock: w.clock, Account: "123456789012", Regions: []string{"us-west-2"}, Links: "http://admin", Seed: 1,
		Invoke: func(_ context.Context, arn string, payload []byte) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.tries = append(w.tries, w.clock.Now().Sub(start))
			if w.fails--; w.fails >= 0 {
				return errors.New("throttled")
			}
			w.got = append(w.got, arn+" "+string(payload))
			return nil
		},
	})
	keeper := door.NewKeeper(w.clock, "123456789012")
	keeper.Admit("AKID", door.Caller{Secret: "secret"})
	server := httptest.NewServer(keeper.Door(w.Service(), "us-west-2"))
	transport := &http.Transport{}
	w.Client = sns.New(sns.Options{
		Region: "us-west-2", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.Close()
	})
	return w
}

func (w *world) topic(t *testing.T) string {
	t.Helper()
	out, err := w.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	return *out.TopicArn
}

func (w *world) subscribe(t *testing.T, topic, protocol, endpoint string, attributes map[string]string) string {
	t.Helper()
	out, err := w.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, ReturnSubscriptionArn: true, Attributes: attributes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func (w *world) say(t *testing.T, topic, text string) {
	t.Helper()
	if _, err := w.Client.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: &text}); err != nil {
		t.Fatal(err)
	}
}

func TestFunctionGetsTheEvent(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	sub := w.subscribe(t, topic, "lambda", function, nil)
	if again := w.subscribe(t, topic, "lambda", function, nil); again != sub {
		t.Errorf("subscribed again: %s, want %s", again, sub)
	}
	w.say(t, topic, `{"ElastiCache:FailoverComplete":"session-usw2"}`)
	w.clock.Advance(0)
	if len(w.got) != 1 {
		t.Fatalf("the function got %q, want one event", w.got)
	}
	var event struct {
		Records []struct {
			EventSource, EventSubscriptionArn string
			Sns                               map[string]any
		}
	}
	name, payload, _ := strings.Cut(w.got[0], " ")
	if err := json.Unmarshal([]byte(payload), &event); err != nil || name != function {
		t.Fatal(name, err)
	}
	r := event.Records[0]
	if r.EventSource != "aws:sns" || r.EventSubscriptionArn != sub || r.Sns["TopicArn"] != topic ||
		r.Sns["Message"] != `{"ElastiCache:FailoverComplete":"session-usw2"}` || r.Sns["Timestamp"] != "2026-06-01T10:00:00.000Z" ||
		r.Sns["Signature"] != "" || r.Sns["SignatureVersion"] != "1" {
		t.Errorf("the event is %+v", r)
	}
	for _, key := range []string{"SigningCertUrl", "UnsubscribeUrl", "Subject", "MessageAttributes", "MessageId"} {
		if _, ok := r.Sns[key]; !ok {
			t.Errorf("the event lacks %s", key)
		}
	}
}

// Tries to reach a function come at once, then each second, then slower and slower.
func TestTriesOfFunctions(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	w.subscribe(t, topic, "lambda", function, nil)
	w.fails = 17
	w.say(t, topic, "m")
	w.clock.Advance(10 * time.Minute)
	var got []string
	for i := 1; i < len(w.tries); i++ {
		got = append(got, fmt.Sprintf("%.0f", (w.tries[i]-w.tries[i-1]).Seconds()))
	}
	want := "0 0 0 1 1 1 3 5 7 9 12 14 16 18 20 20 20"
	if strings.Join(got, " ") != want || len(w.got) != 1 {
		t.Errorf("waited %s s and delivered %d, want %s and 1", strings.Join(got, " "), len(w.got), want)
	}
}

// An endpoint confirms before it is told anything, and is tried four times.
func TestEndpoints(t *testing.T) {
	w := begin(t)
	var mu sync.Mutex
	var got []map[string]any
	var kinds []string
	answer := http.StatusOK
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		var m map[string]any
		_ = json.Unmarshal(body, &m)
		got, kinds = append(got, m), append(kinds, r.Header.Get("X-Amz-Sns-Message-Type"))
		rw.WriteHeader(answer)
	}))
	defer endpoint.Close()
	topic := w.topic(t)
	arn := w.subscribe(t, topic, "http", endpoint.URL, map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-west-2:123456789012:dead"}`})
	w.say(t, topic, "too early")
	w.clock.Advance(time.Second)
	if !slices.Equal(kinds, []string{"SubscriptionConfirmation"}) || !strings.HasPrefix(got[0]["SubscribeURL"].(string), "http://admin/sns/confirm?") {
		t.Fatalf("unconfirmed, it got %v %v", kinds, got)
	}
	token := got[0]["Token"].(string)
	if _, err := w.ConfirmSubscription(t.Context(), &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: aws.String("wrong")}); code(err) != "InvalidParameter" {
		t.Errorf("a wrong token: %v", err)
	}
	out, err := w.ConfirmSubscription(t.Context(), &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token})
	if err != nil || *out.SubscriptionArn != arn {
		t.Fatal(out, err)
	}
	w.say(t, topic, "hello")
	w.clock.Advance(time.Second)
	if len(got) != 2 || got[1]["Message"] != "hello" || got[1]["Type"] != "Notification" {
		t.Fatalf("confirmed, it got %v", got[1:])
	}
	answer = http.StatusInternalServerError
	w.say(t, topic, "fails")
	w.clock.Advance(time.Hour)
	if dead := w.Dead(); len(got) != 6 || len(dead) != 1 || dead[0].Queue != "arn:aws:sqs:us-west-2:123456789012:dead" || !strings.Contains(dead[0].Body, "fails") {
		t.Errorf("tried %d times, then %+v, want 4 and its letter in the queue", len(got)-2, dead)
	}
	answer = http.StatusForbidden
	w.say(t, topic, "unwanted")
	w.clock.Advance(time.Hour)
	if dead := w.Dead(); len(got) != 7 || len(dead) != 2 {
		t.Errorf("what the endpoint does not want was tried %d times, want 1", len(got)-6)
	}
}

func TestMail(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	w.subscribe(t, topic, "lambda", function, nil)
	send := func(m Mail) (texts []string) {
		t.Helper()
		if err := w.SetMail(m); err != nil {
			t.Fatal(err)
		}
		w.got = nil
		for i := range 20 {
			w.say(t, topic, fmt.Sprintf("m%02d", i))
		}
		w.clock.Advance(time.Hour)
		for _, g := range w.got {
			at := strings.Index(g, `"Message":"m`)
			texts = append(texts, g[at+11:at+14])
		}
		return texts
	}
	if got := send(Mail{Duplicate: 1}); len(got) != 40 {
		t.Errorf("each twice: %d deliveries, want 40", len(got))
	}
	if got := send(Mail{Drop: 1}); len(got) != 0 {
		t.Errorf("all lost: %d deliveries", len(got))
	}
	got := send(Mail{Delay: time.Minute})
	if slices.IsSorted(got) || len(got) != 20 {
		t.Errorf("late, by as much as they like: %d in the order %q, want 20 in another one", len(got), got)
	}
	if got := send(Mail{}); !slices.IsSorted(got) || len(got) != 20 {
		t.Errorf("a good day: %q", got)
	}
	for _, bad := range []Mail{{Drop: 1.1}, {Duplicate: -1}, {Delay: -1}} {
		if err := w.SetMail(bad); err == nil {
			t.Errorf("SetMail(%+v) is taken", bad)
		}
	}
}

// Facts of topic policies: SourceOwner is what services show, and a key of one's own
// keeps them out.
func TestServicesNeedSourceOwner(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	from := Sender{Principal: "elasticache.amazonaws.com", Context: map[string][]string{"aws:SourceOwner": {"123456789012"}}}
	allow := func(key string) string {
		return fmt.Sprintf(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"SNS:Publish","Resource":%q,"Condition":{"StringEquals":{%q:"123456789012"}}}}`, topic, key)
	}
	set := func(name, value string) {
		t.Helper()
		_, err := w.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: &name, AttributeValue: &value})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Fake.Publish(from, topic, "s", "m"); err != nil {
		t.Errorf("by the default policy: %v", err)
	}
	set("Policy", allow("aws:SourceAccount"))
	if err := w.Admits(from, topic); code(err) != "AuthorizationError" {
		t.Errorf("a policy of SourceAccount alone: %v, want AuthorizationError", err)
	}
	set("Policy", allow("aws:SourceOwner"))
	if err := w.Admits(from, topic); err != nil {
		t.Errorf("a policy of SourceOwner: %v", err)
	}
	set("KmsMasterKeyId", "alias/mine")
	if err := w.Fake.Publish(from, topic, "s", "m"); code(err) != "KMSAccessDenied" {
		t.Errorf("with a key of one's own: %v, want KMSAccessDenied", err)
	}
}

// code is an error's code, be it of the wire or of ours.
func code(err error) string {
	if f, ok := errors.AsType[*door.Fault](err); ok {
		return f.Code
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func TestFaults(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	ctx := t.Context()
	_, err := w.Client.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(topic + "x"), Message: aws.String("m")})
	if _, ok := errors.AsType[*types.NotFoundException](err); !ok {
		t.Errorf("publish to no topic: %v", err)
	}
	_, err = w.Client.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(strings.Replace(topic, "us-west-2", "us-west-1", 1)), Message: aws.String("m")})
	if _, ok := errors.AsType[*types.InvalidParameterException](err); !ok {
		t.Errorf("publish to a topic elsewhere: %v", err)
	}
	_, err = w.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("a b")})
	if _, ok := errors.AsType[*types.InvalidParameterException](err); !ok {
		t.Errorf("a name that is none: %v", err)
	}
	for _, c := range [][2]string{{"sqs", "arn:aws:sqs:x"}, {"https", "http://x"}, {"lambda", "arn:aws:lambda:x"}} {
		_, err := w.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: &c[0], Endpoint: &c[1]})
		if code(err) != "InvalidParameter" {
			t.Errorf("subscribe %v: %v", c, err)
		}
	}
	_, err = w.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("lambda"), Endpoint: aws.String(function), Attributes: map[string]string{"FilterPolicy": "{}"}})
	if code(err) != "InvalidParameter" {
		t.Errorf("a filter: %v, want that it is not known", err)
	}
}

func TestLists(t *testing.T) {
	w := begin(t)
	topic := w.topic(t)
	ctx := t.Context()
	sub := w.subscribe(t, topic, "lambda", function, nil)
	subs, err := w.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil || len(subs.Subscriptions) != 1 || *subs.Subscriptions[0].SubscriptionArn != sub || *subs.Subscriptions[0].Endpoint != function {
		t.Errorf("subscriptions: %+v, %v", subs, err)
	}
	got, err := w.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &topic})
	if err != nil || got.Attributes["SubscriptionsConfirmed"] != "1" || !strings.Contains(got.Attributes["Policy"], "SourceOwner") {
		t.Errorf("attributes: %+v, %v", got, err)
	}
	attributes, err := w.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	if err != nil || attributes.Attributes["Protocol"] != "lambda" || attributes.Attributes["PendingConfirmation"] != "false" {
		t.Errorf("attributes: %+v, %v", attributes, err)
	}
	topics, err := w.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil || len(topics.Topics) != 1 {
		t.Errorf("topics: %+v, %v", topics, err)
	}
	if _, err := w.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
		t.Error(err)
	}
	if subs, err := w.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{}); err != nil || len(subs.Subscriptions) != 0 {
		t.Errorf("a topic that is gone has %+v, %v", subs, err)
	}
}
