package awsdeploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// callTimeout is how long one answer of AWS may take.
	callTimeout = 30 * time.Second
	// callTries is how often one thing is asked. CloudFormation throttles whoever asks for many stacks.
	callTries = 8
	// callPause is about how long to wait after the first try; it doubles, up to maxPause.
	callPause = time.Second
	maxPause  = 20 * time.Second
)

// A cloud is all of AWS, as one configuration reaches it. Its clients try nothing again by themselves.
type cloud struct {
	aws.Config
	tries   int           // how often one thing is asked
	timeout time.Duration // how long one answer may take
	// formations and caches are the clients that there are so far, by Region.
	formations map[string]*cloudformation.Client
	caches     map[string]*elasticache.Client
}

func newCloud(a aws.Config) cloud {
	return cloud{Config: a, tries: callTries, timeout: callTimeout, formations: map[string]*cloudformation.Client{}, caches: map[string]*elasticache.Client{}}
}

func (c cloud) formation(region string) *cloudformation.Client {
	if c.formations[region] == nil {
		c.formations[region] = cloudformation.NewFromConfig(c.Config, func(o *cloudformation.Options) { o.Region, o.Retryer = region, aws.NopRetryer{} })
	}
	return c.formations[region]
}

func (c cloud) cache(region string) *elasticache.Client {
	if c.caches[region] == nil {
		c.caches[region] = elasticache.NewFromConfig(c.Config, func(o *elasticache.Options) { o.Region, o.Retryer = region, aws.NopRetryer{} })
	}
	return c.caches[region]
}

func (c cloud) identity(region string) *sts.Client {
	return sts.NewFromConfig(c.Config, func(o *sts.Options) { o.Region, o.Retryer = region, aws.NopRetryer{} })
}

// again asks several times, within ctx. What is refused is not asked again. Whoever asks for a
// change looks before each try whether it came about: see settle.
func (c cloud) again(ctx context.Context, ask func(context.Context) error) error {
	for try, rest := 1, callPause; ; try, rest = try+1, min(2*rest, maxPause) {
		once, cancel := context.WithTimeout(ctx, c.timeout)
		err := ask(once)
		cancel()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		if try == c.tries {
			return fmt.Errorf("after %d tries: %w", try, err)
		}
		if !pause.About(ctx, rest) {
			return err
		}
	}
}

// throttles are the codes by which services say that they were asked too often.
func throttles() []string {
	return []string{
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "PriorRequestNotComplete",
	}
}

// passing reports whether an error may be gone when the same is asked again: a throttle, what is AWS's own
// fault, and what was not answered.
func passing(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return true
	}
	if slices.Contains(throttles(), api.ErrorCode()) || api.ErrorFault() == smithy.FaultServer {
		return true
	}
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError
}

// coded reports whether an error of AWS has one of some codes.
func coded(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}
