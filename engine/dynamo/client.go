package dynamo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/logging"

	"github.com/roam-sessions/roam/engine"
)

const (
	// callTimeout bounds one request, whatever its context allows: DynamoDB answers in
	// some 10 ms, from another continent in a second.
	callTimeout = 5 * time.Second
	// dialTimeout is for three round trips to the far side of the earth; as long again is
	// for TLS.
	dialTimeout = 1500 * time.Millisecond
	keepAlive   = 5 * time.Second
	// idleTimeout is how long a connection is kept that nobody uses. The service ends
	// them some time later.
	idleTimeout = time.Minute
)

// A remote is a table of DynamoDB.
type remote struct {
	name        *string
	client      *dynamodb.Client
	transport   *http.Transport
	credentials aws.CredentialsProvider
}

// connect makes what asks the table. Nothing is sent, unless to find the credentials.
func connect(ctx context.Context, c Config) (*remote, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(c.Region), config.WithAppID("roam"), config.WithLogger(sdkLog(c.Log))}
	if c.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(c.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("settings of the AWS SDK: %w", err)
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext,
		TLSClientConfig:       c.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: callTimeout,
		MaxConnsPerHost:       c.Connections,
		MaxIdleConns:          c.Connections,
		MaxIdleConnsPerHost:   c.Connections,
		IdleConnTimeout:       idleTimeout,
	}
	client := dynamodb.NewFromConfig(loaded, func(o *dynamodb.Options) {
		o.HTTPClient = &tracer{http.Client{Transport: transport, CheckRedirect: stay}}
		o.Retryer = aws.NopRetryer{} // tries are counted in retry.go, and nowhere else
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	if at := client.Options().BaseEndpoint; at != nil { // of the environment, it may be
		c.Endpoint = *at
		if err := c.checkEndpoint(); err != nil {
			return nil, err
		}
	}
	return &remote{name: aws.String(c.Table), client: client, transport: transport, credentials: client.Options().Credentials}, nil
}

// sdkLog passes on what the SDK has to say, which is of connections and settings.
func sdkLog(l *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(kind logging.Classification, format string, args ...any) {
		l.Debug("said by the AWS SDK", "kind", string(kind), "text", fmt.Sprintf(format, args...))
	})
}

// stay follows no redirection: a signature is for one host.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// sentKey is the key of a request's context under which is noted whether it was sent.
type sentKey struct{}

// A tracer notes whether requests are sent. It is below what finds credentials, which
// sends requests of its own.
type tracer struct{ http.Client }

// Do sends r.
func (t *tracer) Do(r *http.Request) (*http.Response, error) {
	if sent, ok := r.Context().Value(sentKey{}).(*atomic.Bool); ok {
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			WroteHeaders: func() { sent.Store(true) }, // what is not begun can't be done
		}))
	}
	return t.Client.Do(r)
}

// ask makes one request and returns what became of it.
func (t *remote) ask(ctx context.Context, do func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sent := new(atomic.Bool)
	err := do(context.WithValue(inner, sentKey{}, sent))
	if cache, ok := t.credentials.(*aws.CredentialsCache); ok && isExpired(err) {
		cache.Invalidate() // the next try finds new ones, or the same
	}
	return classify(ctx, sent.Load(), err)
}

// fit returns ErrUnfit if records can't be kept in the table, and tells c.Log what could
// be better.
func (t *remote) fit(ctx context.Context, c Config) error {
	var out *dynamodb.DescribeTableOutput
	for tries := newTries(); ; {
		err := t.ask(ctx, func(ctx context.Context) (err error) {
			out, err = t.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: t.name})
			return err
		})
		if err == nil {
			break
		}
		if !isWorthATry(err) || !tries.again(ctx) {
			return ended(ctx, notWritten(err))
		}
	}
	if err := fitDescription(out.Table, c.Strong); err != nil {
		return err
	}
	if out.Table.MultiRegionConsistency != types.MultiRegionConsistencyStrong { // which has no TTL
		t.lookAtTTL(ctx, c)
	}
	return nil
}

func fitDescription(d *types.TableDescription, strong bool) error {
	if d == nil {
		return fmt.Errorf("%w: an answer without a table", engine.ErrUnreachable)
	}
	if s := d.TableStatus; s != types.TableStatusActive && s != types.TableStatusUpdating {
		return fmt.Errorf("%w: it is %s", engine.ErrUnreachable, s)
	}
	var faults []error
	want := []types.KeySchemaElement{
		{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(attrWriter), KeyType: types.KeyTypeRange},
	}
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	keyed := len(d.KeySchema) == len(want)
	for i := 0; keyed && i < len(want); i++ {
		keyed = aws.ToString(d.KeySchema[i].AttributeName) == *want[i].AttributeName && d.KeySchema[i].KeyType == want[i].KeyType
	}
	if !keyed || kinds[attrKey] != types.ScalarAttributeTypeS || kinds[attrWriter] != types.ScalarAttributeTypeN {
		faults = append(faults, fmt.Errorf("%w: want partition key %s of type S, sort key %s of type N", ErrUnfit, attrKey, attrWriter))
	}
	if aws.ToString(d.GlobalTableVersion) == "2017.11.29" {
		faults = append(faults, fmt.Errorf("%w: a Global Table of version 2017.11.29: update it to 2019.11.21", ErrUnfit))
	}
	if strong && len(d.Replicas) > 0 && d.MultiRegionConsistency != types.MultiRegionConsistencyStrong {
		faults = append(faults, fmt.Errorf("%w: Strong is set, and the table is eventually consistent: of two Regions' writes one would be lost", ErrUnfit))
	}
	return errors.Join(faults...)
}

// lookAtTTL says so if nobody deletes what is past its time. It is advice: who may not
// ask goes without.
func (t *remote) lookAtTTL(ctx context.Context, c Config) {
	err := t.ask(ctx, func(ctx context.Context) error {
		out, err := t.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: t.name})
		if err == nil && !deletes(out.TimeToLiveDescription) {
			c.Log.Warn("table deletes nothing: turn on time to live", "table", c.Table, "attribute", attrExpiry)
		}
		return err
	})
	if err != nil {
		c.Log.Info("time to live of table not looked at", "table", c.Table, "err", err)
	}
}

func deletes(d *types.TimeToLiveDescription) bool {
	return d != nil && aws.ToString(d.AttributeName) == attrExpiry &&
		(d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling)
}

func (t *remote) close() { t.transport.CloseIdleConnections() }
