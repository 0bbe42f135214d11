package dynamo

import (
	"context"
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
	d, err := t.describe(ctx)
	if err != nil {
		return err
	}
	if err := fitDescription(d, c.Strong); err != nil {
		return err
	}
	if isStrong(d) { // it has no time to live
		return nil
	}
	switch ttl, err := t.describeTTL(ctx); { // it is advice: who may not ask goes without
	case err != nil:
		c.Log.Info("time to live of table not looked at", "table", c.Table, "err", err)
	case !deletes(ttl):
		c.Log.Warn("table deletes nothing: turn on time to live", "table", c.Table, "attribute", attrExpiry)
	}
	return nil
}

// describe asks what the table is, as often as it takes.
func (t *remote) describe(ctx context.Context) (*types.TableDescription, error) {
	var out *dynamodb.DescribeTableOutput
	for tries := newTries(); ; {
		err := t.ask(ctx, func(ctx context.Context) (err error) {
			out, err = t.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: t.name})
			return err
		})
		if err == nil {
			return out.Table, nil
		}
		if !isWorthATry(err) || !tries.again(ctx) {
			return nil, ended(ctx, notWritten(err))
		}
	}
}

// describeTTL asks, once, whether the table deletes what is past its time.
func (t *remote) describeTTL(ctx context.Context) (d *types.TimeToLiveDescription, err error) {
	err = t.ask(ctx, func(ctx context.Context) error {
		out, err := t.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: t.name})
		if err == nil {
			d = out.TimeToLiveDescription
		}
		return err
	})
	return d, err
}

func deletes(d *types.TimeToLiveDescription) bool {
	return d != nil && aws.ToString(d.AttributeName) == attrExpiry &&
		(d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling)
}

func (t *remote) close() { t.transport.CloseIdleConnections() }
