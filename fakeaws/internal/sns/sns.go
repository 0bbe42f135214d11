package sns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

const (
	// mostTopics and mostSubscriptions bound what there is; one more is refused. SNS has
	// 100,000 and 12.5 million a topic.
	mostTopics        = 1000
	mostSubscriptions = 1000
	// mostMessage bounds a message, in bytes, as SNS does.
	mostMessage = 256 << 10
	// mostDead bounds the letters that nobody took; the oldest is forgotten.
	mostDead = 1000
)

// topicName is what topics may be called. FIFO topics are not known here.
var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what deliveries are tried again by.
	Clock clock.Clock
	// Account is whose topics they are.
	Account string
	// Regions are those that have topics.
	Regions []string
	// Invoke has a function handle an event, later. An error means that it was not taken.
	Invoke func(ctx context.Context, function string, payload []byte) error
	// Links is the URL below which people confirm subscriptions and end them.
	Links string
	// Scale is by how much the times between tries are multiplied. Default: 1.
	Scale float64
	// Seed is what Mail's dice begin with.
	Seed uint64
}

// Mail is how deliveries go wrong. Its zero value is a good day.
type Mail struct {
	// Duplicate, from 0 to 1, is how likely a message is delivered twice.
	Duplicate float64 `json:"duplicate"`
	// Drop is how likely it gets lost.
	Drop float64 `json:"drop"`
	// Delay is how much later a delivery begins, at the most: each draws its own, so that
	// they overtake each other.
	Delay time.Duration `json:"delay"`
}

// A Letter is a message that nobody took, or a function's event that failed.
type Letter struct {
	// Time is when it was given up.
	Time time.Time `json:"time"`
	// Queue is the ARN of where it goes; "" if nobody wants it.
	Queue string `json:"queue"`
	// From is the ARN of the subscription or of the function.
	From string `json:"from"`
	// Body is what was to be delivered.
	Body string `json:"body"`
	// Why is what went wrong at last.
	Why string `json:"why"`
}

// A Fake is SNS in all Regions. Goroutines may share it.
type Fake struct {
	config Config
	agenda *clock.Agenda
	client *http.Client

	mu     sync.Mutex // guards what follows
	dice   *mathrand.Rand
	mail   Mail
	topics map[string]*topic        // by ARN
	subs   map[string]*subscription // by ARN
	dead   []Letter
}

// A topic is one topic.
type topic struct {
	arn, region, owner string
	attributes         map[string]string
	policy             *iam.Policy // nil: the default one
}

// A subscription is one of a topic.
type subscription struct {
	arn, topic, protocol, endpoint string
	token                          string // that confirms it; "" once it is
	raw                            bool
	queue                          string // of what can't be delivered
}

// New returns a fake without topics. Close ends what it has begun.
func New(ctx context.Context, c Config) *Fake {
	if c.Scale == 0 {
		c.Scale = 1
	}
	return &Fake{
		config: c, agenda: clock.NewAgenda(ctx, c.Clock), client: &http.Client{Timeout: endpointTimeout},
		dice:   mathrand.New(mathrand.NewPCG(c.Seed, 0)), //nolint:gosec // seeded on purpose
		topics: map[string]*topic{}, subs: map[string]*subscription{},
	}
}

// Close ends all deliveries and returns when they have ended.
func (f *Fake) Close() {
	f.agenda.Close()
	f.client.CloseIdleConnections()
}

// SetMail says how deliveries go wrong from now on.
func (f *Fake) SetMail(m Mail) error {
	for _, p := range []float64{m.Duplicate, m.Drop} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("%w: likelihood %v is not from 0 to 1", door.ErrRule, p)
		}
	}
	if m.Delay < 0 || m.Delay > time.Hour {
		return fmt.Errorf("%w: delay %v is not from 0 to an hour", door.ErrRule, m.Delay)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mail = m
	return nil
}

// Dead returns the letters that nobody took: the last 1,000, the oldest first.
func (f *Fake) Dead() []Letter {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dead)
}

// Bury adds a letter to those that nobody took.
func (f *Fake) Bury(l Letter) {
	l.Time = f.agenda.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.dead) >= mostDead {
		f.dead = slices.Delete(f.dead, 0, 1)
	}
	f.dead = append(f.dead, l)
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	q := door.Query{Namespace: "http://sns.amazonaws.com/doc/2010-03-31/", Version: "2010-03-31"}
	return &door.Service{
		Name: "sns", Prefix: "SNS", Regions: f.config.Regions, Denied: "AuthorizationError",
		Speaks: func(*http.Request) door.Protocol { return q },
		Act:    f.act,
		Asks: func(c *door.Call) []iam.Request {
			return []iam.Request{{Resource: f.about(c)}}
		},
	}
}

// about is the ARN of the topic that a call is about.
func (f *Fake) about(c *door.Call) string {
	switch {
	case c.Action == "CreateTopic":
		return f.arn(c.Region, c.Params.Str("Name"))
	case c.Params.Has("TopicArn"):
		return c.Params.Str("TopicArn")
	case c.Params.Has("SubscriptionArn"):
		arn := c.Params.Str("SubscriptionArn")
		return arn[:max(strings.LastIndexByte(arn, ':'), 0)]
	}
	return "*"
}

func (f *Fake) arn(region, name string) string {
	return "arn:aws:sns:" + region + ":" + f.config.Account + ":" + name
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	act := map[string]func(c *door.Call) (any, error){
		"CreateTopic": f.createTopic, "DeleteTopic": f.deleteTopic, "ListTopics": f.listTopics,
		"GetTopicAttributes": f.getTopic, "SetTopicAttributes": f.setTopic,
		"Subscribe": f.subscribe, "ConfirmSubscription": f.confirm, "Unsubscribe": f.unsubscribe,
		"ListSubscriptions": f.listSubscriptions, "ListSubscriptionsByTopic": f.listSubscriptions,
		"GetSubscriptionAttributes": f.getSubscription, "SetSubscriptionAttributes": f.setSubscription,
		"Publish": f.publish,
	}[c.Action]
	if act == nil {
		return nil, door.ErrUnknownAction
	}
	return act(c)
}

func invalid(format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, "InvalidParameter", "Invalid parameter: "+format, args...)
}

// entries are the pairs of a map of the query protocol.
func entries(p door.Params, name string) map[string]string {
	out := map[string]string{}
	for _, e := range p.Objects(name) {
		out[e.Str("key")] = e.Str("value")
	}
	return out
}

// An attributeMap is a map as SNS writes it.
type attributeMap struct {
	Entries []attribute `xml:"Attributes>entry"`
}

type attribute struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func newAttributes(m map[string]string) attributeMap {
	var out attributeMap
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out.Entries = append(out.Entries, attribute{k, m[k]})
	}
	return out
}

func (f *Fake) createTopic(c *door.Call) (any, error) {
	name := c.Params.Str("Name")
	if !topicName.MatchString(name) {
		return nil, invalid("Topic Name")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	arn := f.arn(c.Region, name)
	t, ok := f.topics[arn]
	if !ok {
		t = &topic{arn: arn, region: c.Region, owner: f.config.Account, attributes: map[string]string{}}
	}
	for k, v := range entries(c.Params, "Attributes") {
		if err := t.set(k, v); err != nil {
			return nil, err
		}
	}
	if !ok && len(f.topics) >= mostTopics {
		return nil, door.Faultf(http.StatusForbidden, "TopicLimitExceeded", "fakeaws has at most %d topics", mostTopics)
	}
	f.topics[arn] = t
	return struct{ TopicArn string }{arn}, nil
}

// set sets an attribute of a topic.
func (t *topic) set(name, value string) error {
	switch name {
	case "Policy":
		p, err := iam.Decode([]byte(value))
		if err != nil {
			return invalid("Policy Error: %v", err)
		}
		t.policy = &p
	case "DisplayName", "KmsMasterKeyId":
	case "SignatureVersion":
		if value != "1" && value != "2" {
			return invalid("SignatureVersion")
		}
	default:
		return invalid("AttributeName %s is not known to fakeaws", name)
	}
	t.attributes[name] = value
	return nil
}

// topic finds a topic of the Region that is asked.
func (f *Fake) topic(c *door.Call, arn string) (*topic, error) {
	t, ok := f.topics[arn]
	switch {
	case !strings.HasPrefix(arn, "arn:aws:sns:") || strings.Count(arn, ":") < 5:
		return nil, invalid("TopicArn Reason: An ARN must have at least 6 elements")
	case strings.SplitN(arn, ":", 5)[3] != c.Region:
		return nil, invalid("TopicArn") // as SNS says it of a topic in another Region
	case !ok:
		return nil, door.Faultf(http.StatusNotFound, "NotFound", "Topic does not exist")
	}
	return t, nil
}

func (f *Fake) deleteTopic(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	arn := c.Params.Str("TopicArn")
	if t, err := f.topic(c, arn); err == nil {
		delete(f.topics, t.arn)
		maps.DeleteFunc(f.subs, func(_ string, s *subscription) bool { return s.topic == arn })
	}
	return nil, nil // as often as one likes
}

func (f *Fake) listTopics(c *door.Call) (any, error) {
	type member struct{ TopicArn string }
	var out struct {
		Topics []member `xml:"Topics>member"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, arn := range slices.Sorted(maps.Keys(f.topics)) {
		if f.topics[arn].region == c.Region {
			out.Topics = append(out.Topics, member{arn})
		}
	}
	return out, nil
}

func (f *Fake) getTopic(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(c, c.Params.Str("TopicArn"))
	if err != nil {
		return nil, err
	}
	out := maps.Clone(t.attributes)
	out["TopicArn"], out["Owner"] = t.arn, t.owner
	if t.policy == nil {
		out["Policy"] = f.defaultPolicy(t.arn)
	}
	confirmed, pending := 0, 0
	for _, s := range f.subs {
		switch {
		case s.topic != t.arn:
		case s.token == "":
			confirmed++
		default:
			pending++
		}
	}
	out["SubscriptionsConfirmed"], out["SubscriptionsPending"] = fmt.Sprint(confirmed), fmt.Sprint(pending)
	return newAttributes(out), nil
}

// defaultPolicy lets whatever belongs to the topic's owner use it.
func (f *Fake) defaultPolicy(arn string) string {
	return fmt.Sprintf(`{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},`+
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe",`+
		`"SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"%s","Condition":{"StringEquals":{"AWS:SourceOwner":"%s"}}}]}`, arn, f.config.Account)
}

func (f *Fake) setTopic(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(c, c.Params.Str("TopicArn"))
	if err != nil {
		return nil, err
	}
	return nil, t.set(c.Params.Str("AttributeName"), c.Params.Str("AttributeValue"))
}

// newToken returns what confirms a subscription.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
