package fakeaws

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/arc"
	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/cloudwatch"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/elasticache"
	"github.com/roam-sessions/roam/fakeaws/internal/lambda"
	"github.com/roam-sessions/roam/fakeaws/internal/route53"
	"github.com/roam-sessions/roam/fakeaws/internal/sns"
	"github.com/roam-sessions/roam/fakeaws/internal/ssm"
)

// Names of services, as requests are signed for them.
const (
	ElastiCache = "elasticache"
	Route53     = "route53"
	SNS         = "sns"
	Lambda      = "lambda"
	CloudWatch  = "monitoring"
	ARC         = arc.Name
	SSM         = ssm.Name
)

// headTimeout bounds how long a client may take for the head of a request.
const headTimeout = 10 * time.Second

// An Endpoint is where one service of one Region is.
type Endpoint struct {
	Service string `json:"service"`
	Region  string `json:"region"`
	URL     string `json:"url"`
}

// A server is one endpoint's.
type server struct {
	*http.Server
	listener net.Listener
}

// A Cloud is the fakes together. Goroutines may share it.
type Cloud struct {
	config  Config
	keeper  *door.Keeper
	certs   *authority
	key     Principal // whoever is not said to be somebody else
	servers []server
	served  sync.WaitGroup
	names   *route53.Server
	dir     string

	endpoints []Endpoint
	front     string
	admin     string

	elasticache *elasticache.Fake
	route53     *route53.Fake
	sns         *sns.Fake
	lambda      *lambda.Fake
	cloudwatch  *cloudwatch.Fake
	arc         *arc.Fake
	ssm         *ssm.Fake

	mu         sync.Mutex // guards what follows
	dark       map[string]string
	principals []Principal // that functions may be
}

// Start starts the fakes. Ctx bounds the start alone: end them with Close. If it fails
// nothing is left behind.
func Start(ctx context.Context, config Config) (*Cloud, error) {
	if err := config.fill(ctx); err != nil {
		return nil, err
	}
	c := &Cloud{config: config, keeper: door.NewKeeper(config.Clock, config.Account), dark: map[string]string{}}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start fakeaws: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cloud) start(ctx context.Context) (err error) {
	if c.certs, err = newAuthority(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "fakeaws-"); err != nil {
		return err
	}
	if err := c.admit(); err != nil {
		return err
	}
	// The admin endpoint comes first: links in messages lead there.
	if c.admin, err = c.listen(ctx, c.adminHandler()); err != nil {
		return err
	}
	if c.front, err = c.listen(ctx, c.keeper.Front()); err != nil {
		return err
	}
	if err := c.build(ctx); err != nil {
		return err
	}
	if c.names, err = c.route53.Serve(ctx, c.config.dnsAddr()); err != nil {
		return err
	}
	if err := c.openDoors(ctx); err != nil {
		return err
	}
	for _, s := range c.servers {
		c.served.Go(func() { _ = s.Serve(s.listener) }) // it ends with Close
	}
	return nil
}

// admit lets the principals in.
func (c *Cloud) admit() error {
	c.key = Principal{Key: "AKIAFAKEAWS", Secret: rand.Text(), ARN: "arn:aws:iam::" + c.config.Account + ":user/fakeaws"}
	for _, p := range append(slices.Clone(c.config.Principals), c.key) {
		if err := c.Admit(p); err != nil {
			return err
		}
	}
	return nil
}

// mostPrincipals bounds those that are let in, and mostAtOnce those of a Config.
const mostPrincipals, mostAtOnce = 1000, 100

// Admit lets a principal in, beside those of the Config, so that its policy can name what
// is made by now. It fails if it makes no sense, or there are 1,000.
func (c *Cloud) Admit(p Principal) error {
	caller, err := p.caller()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.principals) >= mostPrincipals {
		return fmt.Errorf("%w: there are %d principals", ErrConfig, mostPrincipals)
	}
	c.principals = append(c.principals, p)
	c.keeper.Admit(p.Key, caller)
	return nil
}

// build makes the services, each of which knows of the others as much as in AWS.
func (c *Cloud) build(ctx context.Context) error {
	k := c.config
	b := make([]byte, 1)
	_, _ = rand.Read(b) // never fails
	c.sns = sns.New(ctx, sns.Config{
		Clock: k.Clock, Account: k.Account, Regions: k.Regions, Links: c.admin, Scale: k.RetryScale, Seed: k.Seed, Invoke: c.invokeFromTopic,
	})
	c.lambda = lambda.New(ctx, lambda.Config{
		Clock: k.Clock, Account: k.Account, Regions: k.Regions, Dir: c.dir, Environ: c.environ, Print: c.print, Bury: c.bury, Scale: k.RetryScale,
	})
	c.cloudwatch = cloudwatch.New(ctx, cloudwatch.Config{
		Clock: k.Clock, Account: k.Account, Regions: k.Regions, Minute: k.Minute, Publish: c.publishAlarm,
		Invoke: func(function string, payload []byte) error {
			return c.lambda.Invoke("lambda.alarms.cloudwatch.amazonaws.com", function, payload)
		},
		Bury: c.bury,
	})
	c.ssm = ssm.New(ssm.Config{Clock: k.Clock, Account: k.Account, Regions: k.Regions})
	c.arc = arc.New(arc.Config{Clock: k.Clock, Account: k.Account, Rotate: k.RotateEndpoints})
	c.elasticache = elasticache.New(ctx, elasticache.Config{
		Clock: k.Clock, Account: k.Account, Regions: k.Regions, Program: k.program, Times: *k.Times,
		// Of each cloud another one, so that several on a machine don't meet at a port.
		Loopback:       netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 64 + b[0]%180, 0, 0}), 16),
		PlainAddresses: k.PlainAddresses, TLS: &tls.Config{GetCertificate: c.certs.forName, MinVersion: tls.VersionTLS12},
		DeadPrimary: k.DeadPrimary, PromotedEvent: *k.PromotedEvent, Publish: c.publishEvent, Log: k.Log,
	})
	c.route53 = route53.New(ctx, route53.Config{
		Clock: k.Clock, Account: k.Account, Propagation: k.Propagation, Busy: k.ZoneBusy, Throttles: k.Throttles, OldBatchErrors: k.OldBatchErrors,
		Lookup: c.elasticache.Lookup, Alarm: c.cloudwatch.State, Fits: c.cloudwatch.Fits, Control: c.arc.State,
	})
	for _, p := range k.Panels {
		if err := c.arc.Add(p); err != nil {
			return err
		}
	}
	return nil
}

// openDoors serves each service in each of its Regions.
func (c *Cloud) openDoors(ctx context.Context) error {
	for _, s := range []*door.Service{c.elasticache.Service(), c.sns.Service(), c.lambda.Service(), c.cloudwatch.Service(), c.route53.Service(), c.arc.Service(), c.ssm.Service()} {
		for _, region := range s.Regions {
			url, err := c.listen(ctx, c.keeper.Door(s, region))
			if err != nil {
				return err
			}
			c.endpoints = append(c.endpoints, Endpoint{s.Name, region, url})
		}
	}
	return nil
}

// listen listens at the next port and returns the URL. Until all is there it is not served.
func (c *Cloud) listen(ctx context.Context, h http.Handler) (string, error) {
	port := 0
	if c.config.Port != 0 {
		port = c.config.Port + len(c.servers)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	c.servers = append(c.servers, server{
		&http.Server{Handler: h, ReadHeaderTimeout: headTimeout, ErrorLog: slog.NewLogLogger(c.config.Log.Handler(), slog.LevelDebug)}, l,
	})
	return "http://" + l.Addr().String(), nil
}

// Close ends everything, servers and functions among it, and returns when it has ended.
func (c *Cloud) Close() error {
	var err error
	for _, s := range c.servers {
		err = errors.Join(err, s.Close())
		_ = s.listener.Close() // it is closed if it was served
	}
	c.served.Wait()
	if c.names != nil {
		err = errors.Join(err, c.names.Close())
	}
	if c.route53 != nil { // all of them were built
		c.elasticache.Close()
		c.cloudwatch.Close()
		c.sns.Close()
		c.lambda.Close()
		c.route53.Close()
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// Endpoints returns where the services are, in the order of their ports.
func (c *Cloud) Endpoints() []Endpoint { return slices.Clone(c.endpoints) }

// URL returns where a service of a Region is; "" if there is no such one. Route 53's is in
// us-east-1, and ARC's are in the five Regions of its clusters.
func (c *Cloud) URL(service, region string) string {
	for _, e := range c.endpoints {
		if e.Service == service && e.Region == region {
			return e.URL
		}
	}
	return ""
}

// FrontURL returns where all services of all Regions are: what a request is signed for says
// which it means. It is what AWS_ENDPOINT_URL may be.
func (c *Cloud) FrontURL() string { return c.front }

// AdminURL returns where knobs are turned by HTTP. It asks nobody who she is.
func (c *Cloud) AdminURL() string { return c.admin }

// DNSAddr returns host:port of the name server, by UDP and TCP.
func (c *Cloud) DNSAddr() string { return c.names.Addr() }

// Credentials returns the key of somebody who may do everything. Its secret is drawn at
// each start.
func (c *Cloud) Credentials() (key, secret string) { return c.key.Key, c.key.Secret }

// CA returns the certificate, in PEM, of whoever signed those of ElastiCache's endpoints.
func (c *Cloud) CA() []byte { return c.certs.pem }

// Clock is what time it is for the fakes.
type Clock = clock.Clock

// A ManualClock stands until Advance moves it.
type ManualClock = clock.Manual

// NewManualClock returns a clock that stands at now. The minutes of programs that are run,
// and of signatures, are those of the machine all the same.
func NewManualClock(now time.Time) *ManualClock { return clock.NewManual(now) }
