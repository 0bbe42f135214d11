package primary

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/pause"
)

// Metric is what the metric is called.
const Metric = "IsGlobalPrimary"

// Namespace is where it is if nobody says otherwise.
const Namespace = "SessionStore"

// A Client tells CloudWatch. The SDK's does; it should not try again by itself.
type Client interface {
	// PutMetricData adds data to metrics.
	PutMetricData(ctx context.Context, in *sdk.PutMetricDataInput, f ...func(*sdk.Options)) (*sdk.PutMetricDataOutput, error)
}

// A Role is what a Region is.
type Role struct {
	Epoch   uint64
	Primary bool
}

// A Report is what came of one try to tell a Role.
type Report struct {
	Role
	Err   error // nil: it was taken
	Again bool  // it is told again in a moment, and not only when it would be in any case
}

// Config is what is optional about a Teller. Its zero value is good.
type Config struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Timeout is how long one answer may take. Default 5 s.
	Timeout time.Duration
	// Tries is how often one value is told until it is taken; at most 10. Default 4.
	Tries int
	// Backoff is about how long is waited between two tries; it doubles. Default 1 s.
	Backoff time.Duration
	// Every is how often the value is told if it stays. Default 30 s: told once a minute, one
	// that is a moment late would leave a minute of CloudWatch's without any.
	Every time.Duration
	// Tell is told what came of each try; nil: nobody is. It must not block.
	Tell func(Report)
}

// A Teller tells of one Region.
type Teller struct {
	client            Client
	namespace         string
	region, global    string
	config            Config
	told, failed, all atomic.Uint64
}

// New tells of a Region, in a namespace; empty: Namespace. Global tells deployments of one
// account apart. It asks nobody yet.
func New(client Client, namespace, region, global string, c Config) (*Teller, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tell == nil {
		c.Tell = func(Report) {}
	}
	c.Timeout, c.Tries = cmp.Or(c.Timeout, 5*time.Second), cmp.Or(c.Tries, 4)
	c.Backoff, c.Every = cmp.Or(c.Backoff, time.Second), cmp.Or(c.Every, 30*time.Second)
	t := &Teller{client: client, namespace: cmp.Or(namespace, Namespace), region: region, global: global, config: c}
	var faults []error
	if region == "" || global == "" || max(len(region), len(global), len(t.namespace)) > 255 {
		faults = append(faults, errors.New("the Region and the deployment need names, of 255 bytes at the most"))
	}
	if min(c.Timeout, c.Backoff, c.Every) <= 0 || c.Tries < 1 || c.Tries > 10 || c.Backoff > time.Minute {
		faults = append(faults, errors.New("tries are from 1 to 10, times above zero, and Backoff up to a minute"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("tell CloudWatch who is the primary: %w", err)
	}
	return t, nil
}

// Stats returns what the Teller has done: Published is how often it was taken.
func (t *Teller) Stats() dns.PublisherStats {
	return dns.PublisherStats{Published: t.told.Load(), Failed: t.failed.Load(), Tries: t.all.Load()}
}

// Keep tells what latest says, at once whenever changed says so and that differs from what was
// taken last, and every so often, until ctx ends. Latest says false if it is not known.
func (t *Teller) Keep(ctx context.Context, latest func() (Role, bool), changed <-chan struct{}) {
	tick := time.NewTicker(t.config.Every)
	defer tick.Stop()
	var last *Role // that was taken; nil: the next is told whatever it is
	for {
		if role, ok := latest(); ok && (last == nil || *last != role) {
			if last = t.tell(ctx, latest, changed); last == nil && ctx.Err() == nil {
				t.config.Log.Warn("CloudWatch was not told who is the primary")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
			last = nil
		}
	}
}

// tell tries to tell what latest says, and returns what was taken; nil: nothing was.
func (t *Teller) tell(ctx context.Context, latest func() (Role, bool), changed <-chan struct{}) *Role {
	for try := 1; try <= t.config.Tries; try++ {
		role, ok := latest()
		if !ok {
			return nil
		}
		t.all.Add(1)
		err := t.put(ctx, role.Primary)
		final := errors.Is(err, dns.ErrRefused) || ctx.Err() != nil || try == t.config.Tries
		t.config.Tell(Report{Role: role, Err: err, Again: err != nil && !final})
		if err == nil {
			t.told.Add(1)
			return &role
		}
		if final {
			break
		}
		d := t.config.Backoff << (try - 1)
		pause.Or(ctx, d/2+pause.Upto(d), changed)
	}
	t.failed.Add(1)
	return nil
}

// put tells one value, with the dimension Region, and Region with Global, as roam-lambda does.
func (t *Teller) put(ctx context.Context, is bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.config.Timeout)
	defer cancel()
	value := 0.0
	if is {
		value = 1
	}
	now := time.Now()
	region := types.Dimension{Name: aws.String("Region"), Value: &t.region}
	datum := func(dimensions ...types.Dimension) types.MetricDatum {
		return types.MetricDatum{MetricName: aws.String(Metric), Dimensions: dimensions, Timestamp: &now, Unit: types.StandardUnitNone, Value: &value}
	}
	_, err := t.client.PutMetricData(ctx, &sdk.PutMetricDataInput{
		Namespace:  &t.namespace,
		MetricData: []types.MetricDatum{datum(region), datum(region, types.Dimension{Name: aws.String("Global"), Value: &t.global})},
	})
	if err != nil {
		return fmt.Errorf("tell CloudWatch that %s is %g: %w", Metric, value, told(err))
	}
	return nil
}

// told returns what an error means to whoever told. What is not refused may pass.
func told(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	if slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "InvalidParameterValue", "InvalidParameterValueException", "InvalidParameterCombination",
		"InvalidParameterCombinationException", "MissingRequiredParameterException", "MissingParameter", "InvalidClientTokenId",
		"UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
		"OptInRequired", "ValidationError",
	}, api.ErrorCode()) {
		return fmt.Errorf("%w: %w", dns.ErrRefused, err)
	}
	return err
}

//go:embed policy.json
var policy string

// Policy returns the IAM policy that a Teller of a namespace needs.
func Policy(namespace string) string {
	return strings.ReplaceAll(policy, "${Namespace}", cmp.Or(namespace, Namespace))
}
