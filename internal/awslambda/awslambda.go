package awslambda

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"

	"github.com/roam-sessions/roam/engine/dynamo"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/route53"
)

// A Function handles the events of one Lambda function.
type Function interface {
	// Handle handles one event. It fails only if coming again with it may help.
	Handle(ctx context.Context, event []byte) error
}

// Load returns the function that the environment describes. Reports go to out.
func Load(ctx context.Context, get func(string) string, out io.Writer) (Function, error) {
	c, err := ReadConfig(get)
	if err != nil {
		return nil, err
	}
	a, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.Place.Region), config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return nil, fmt.Errorf("load the configuration of AWS: %w", err)
	}
	return New(c, a, cmp.Or(get("AWS_ENDPOINT_URL_SSM"), get("AWS_ENDPOINT_URL")), out)
}

// New returns the function of a configuration. Ssm is where SSM answers; empty: where it does
// in the Region.
func New(c Config, a aws.Config, ssm string, out io.Writer) (Function, error) {
	if out == nil {
		out = os.Stdout
	}
	if c.Function == Sweep {
		return &Sweeper{
			table:     dynamo.Config{Table: c.Table, Region: c.Place.Region, Strong: true, Credentials: a.Credentials},
			namespace: c.Namespace, out: out,
		}, nil
	}
	cache := elasticache.NewFromConfig(a)
	if c.Function == Promote {
		if ssm == "" {
			ssm = "https://ssm." + c.Place.Region + ".amazonaws.com"
			if strings.HasPrefix(c.Place.Region, "cn-") {
				ssm += ".cn"
			}
		}
		client := a.HTTPClient
		if client == nil {
			client = awshttp.NewBuildableClient()
		}
		return &Promoter{
			config: c, cache: cache, watch: cloudwatch.NewFromConfig(a), out: out,
			store: &parameters{url: ssm, region: c.Place.Region, credentials: a.Credentials, client: client},
		}, nil
	}
	r := &Reconciler{
		place: c.Place, namespace: c.Namespace, cache: cache, out: out,
		metric: slices.Contains(c.Drive, DriveMetric),
	}
	if slices.Contains(c.Drive, DriveRecord) {
		p, err := route53.New(sdk.NewFromConfig(a), c.Zone, c.Name, route53.Config{TTL: c.TTL, SyncWithin: Timeout}) // moveBudget ends it before
		if err != nil {
			return nil, err
		}
		r.drivers = append(r.drivers, &record{publisher: p, adopt: c.Adopt})
	}
	if slices.Contains(c.Drive, DriveControl) {
		cluster, err := arc.New(route53recoverycluster.NewFromConfig(a), c.Endpoints, arc.Config{})
		if err != nil {
			return nil, err
		}
		r.drivers = append(r.drivers, &control{cluster: cluster, on: c.Control, off: c.Off, adopt: c.Adopt})
	}
	return r, nil
}
