package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"

	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/primary"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/topology"
)

// home is where Route 53's control plane is, and what its requests are signed for.
const home = "us-east-1"

// hangUp bounds how long the connection to a service may take, so that an address which
// swallows all is not waited for as long as a whole answer.
const hangUp = 3 * time.Second

// recordTries is how often a change of a record is tried: with their waits they last longer
// than Route 53 takes to be in sync with a change before ours, of another name in the zone, and
// until then it takes none.
const recordTries = 12

// errKind says that something is not kept by the service that was asked for.
var errKind = errors.New("is of another kind")

// A Cloud is what connects to AWS. Goroutines may share it. Close it.
type Cloud struct {
	mu         sync.Mutex // guards what follows
	transports []*http.Transport
}

// Close lets go of connections that nobody uses. Those in use end with what is asked.
func (c *Cloud) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// load returns how a service is asked in a Region.
func (c *Cloud) load(ctx context.Context, region string) (aws.Config, error) {
	a, err := config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the configuration of AWS: %w", err)
	}
	transport := awshttp.NewBuildableClient().GetTransport()
	if client, ok := a.HTTPClient.(*awshttp.BuildableClient); ok {
		transport = client.GetTransport() // with what AWS_CA_BUNDLE says
	}
	transport.TLSHandshakeTimeout, transport.MaxIdleConnsPerHost = hangUp, 2
	a.HTTPClient = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transports = append(c.transports, transport)
	return a, nil
}

// endpoint returns where a service is asked; nil: where AWS says.
func endpoint(url string) *string {
	if url == "" {
		return nil
	}
	return &url
}

// Record returns what keeps a name at Route 53, with the Log, Guard and Tell of its options.
func (c *Cloud) Record(ctx context.Context, p topology.Publish, o route53.Config) (*route53.Publisher, error) {
	if p.Hosted == nil {
		return nil, fmt.Errorf("%s %w", p.Label(), errKind)
	}
	a, err := c.load(ctx, cmp.Or(p.Hosted.Region, home))
	if err != nil {
		return nil, err
	}
	o.TTL, o.Pair, o.Tries = p.TTL, PairOf(p), cmp.Or(o.Tries, recordTries)
	client := sdk.NewFromConfig(a, func(s *sdk.Options) { s.BaseEndpoint = cmp.Or(endpoint(p.Hosted.Endpoint), s.BaseEndpoint) })
	return route53.New(client, p.Hosted.ZoneID, p.Name, o)
}

// PairOf returns the two that failover records of a name lead to; zero: it is a simple one.
func PairOf(p topology.Publish) (out [2]route53.Member) {
	for i, side := range p.Hosted.Pair {
		out[i] = route53.Member{Set: side.Name, Target: side.Target, Health: side.HealthCheck}
	}
	return out
}

// Cluster returns what knows of routing controls, and the ARNs of one Region's and of all
// others'.
func (c *Cloud) Cluster(ctx context.Context, p topology.Publish, self string) (cluster *arc.Cluster, on string, off []string, err error) {
	if p.Switches == nil {
		return nil, "", nil, fmt.Errorf("%s: %w", p.Label(), errKind)
	}
	a, err := c.load(ctx, home) // each request is for its endpoint's Region
	if err != nil {
		return nil, "", nil, err
	}
	var endpoints []arc.Endpoint
	for _, e := range p.Switches.Endpoints {
		endpoints = append(endpoints, arc.Endpoint{URL: e.URL, Region: e.Region})
	}
	for _, region := range slices.Sorted(maps.Keys(p.Switches.Controls)) {
		if region == self {
			on = p.Switches.Controls[region]
			continue
		}
		off = append(off, p.Switches.Controls[region])
	}
	cluster, err = arc.New(route53recoverycluster.NewFromConfig(a), endpoints, arc.Config{})
	return cluster, on, off, err
}

// Keeper returns what keeps a Region's routing control on, and all others off.
func (c *Cloud) Keeper(ctx context.Context, p topology.Publish, self string, o arc.KeeperConfig) (*arc.Keeper, error) {
	cluster, on, off, err := c.Cluster(ctx, p, self)
	if err != nil {
		return nil, err
	}
	return arc.NewKeeper(cluster, on, off, o)
}

// Teller returns what tells CloudWatch whether a Region is the primary of a deployment.
func (c *Cloud) Teller(ctx context.Context, m topology.Metric, deployment, self string, o primary.Config) (*primary.Teller, error) {
	region := m.AWSRegion(self)
	a, err := c.load(ctx, region)
	if err != nil {
		return nil, err
	}
	client := cloudwatch.NewFromConfig(a, func(s *cloudwatch.Options) { s.BaseEndpoint = cmp.Or(endpoint(m.Endpoint), s.BaseEndpoint) })
	return primary.New(client, m.Namespace, region, cmp.Or(m.Global, deployment), o)
}
