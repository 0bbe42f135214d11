package arc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster/types"
	"github.com/aws/smithy-go"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/pause"
)

// ErrConflict says that a safety rule forbids the change, or that the controls rest after
// another one. Nothing was changed, and it is not tried again: whoever made the rule wants
// somebody to look.
var ErrConflict = errors.New("a safety rule forbids it")

var errUnverified = errors.New("what was written is not what is read")

// A Client asks one endpoint, which options name. The SDK's does; it should not try again by
// itself.
type Client interface {
	// GetRoutingControlState reads one control.
	GetRoutingControlState(ctx context.Context, in *sdk.GetRoutingControlStateInput, f ...func(*sdk.Options)) (*sdk.GetRoutingControlStateOutput, error)
	// UpdateRoutingControlStates changes all or none.
	UpdateRoutingControlStates(ctx context.Context, in *sdk.UpdateRoutingControlStatesInput, f ...func(*sdk.Options)) (*sdk.UpdateRoutingControlStatesOutput, error)
}

// An Endpoint is one of a cluster's.
type Endpoint struct {
	URL    string
	Region string // for which requests to it are signed
}

// Config is what is optional about a Cluster. Its zero value is good.
type Config struct {
	// Timeout is how long one endpoint may take. Default 2.5 s: a sound one takes far less.
	Timeout time.Duration
	// Rounds is how often all endpoints are asked before a call fails; at most 10. Default 2.
	Rounds int
	// Pause is about how long to wait between two rounds, and between two looks at what was
	// changed. Default 500 ms.
	Pause time.Duration
	// Reads is how often a change is looked for after it was made; at most 10. Default 3.
	Reads int
}

// A Cluster is five endpoints that know of the same controls. It may be used by many
// goroutines.
type Cluster struct {
	client    Client
	endpoints []Endpoint
	config    Config
	start     func(n int) int // dice
}

// mostEndpoints is how many endpoints a cluster has.
const mostEndpoints = 5

// New returns a cluster of up to five endpoints. It asks none yet.
func New(client Client, endpoints []Endpoint, c Config) (*Cluster, error) {
	c.Timeout = cmp.Or(c.Timeout, 2500*time.Millisecond)
	c.Rounds = cmp.Or(c.Rounds, 2)
	c.Pause = cmp.Or(c.Pause, 500*time.Millisecond)
	c.Reads = cmp.Or(c.Reads, 3)
	var faults []error
	if len(endpoints) == 0 || len(endpoints) > mostEndpoints {
		faults = append(faults, fmt.Errorf("%d endpoints: a cluster has five", len(endpoints)))
	}
	for _, e := range endpoints {
		if u, err := url.Parse(e.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || e.Region == "" {
			faults = append(faults, fmt.Errorf("endpoint %q in Region %q: want a URL and a Region", e.URL, e.Region))
		}
	}
	if min(c.Timeout, c.Pause) <= 0 || min(c.Rounds, c.Reads) < 1 || max(c.Rounds, c.Reads) > 10 {
		faults = append(faults, errors.New("times are above zero, rounds and reads from 1 to 10"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("routing controls: %w", err)
	}
	return &Cluster{client: client, endpoints: slices.Clone(endpoints), config: c, start: rand.IntN}, nil
}

// States returns which of some controls are on, by ARN. It fails with dns.ErrRefused if
// somebody has to look, or with what the last endpoint failed with.
func (c *Cluster) States(ctx context.Context, controls []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, arn := range controls {
		err := c.each(ctx, nil, func(ctx context.Context, o func(*sdk.Options)) error {
			got, err := c.client.GetRoutingControlState(ctx, &sdk.GetRoutingControlStateInput{RoutingControlArn: &arn}, o)
			if err != nil {
				return err
			}
			out[arn] = got.RoutingControlState == types.RoutingControlStateOn
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read routing control %s: %w", arn, err)
		}
	}
	return out, nil
}

// Turn turns one control on and others off, in one call of which all is done or nothing, and
// reads them again. It does nothing, and returns false, if they are so already. Guard is asked
// after they were read, and again before each endpoint is told: the one before may have been
// silent for seconds. Nil: nobody is asked. No safety rule is overridden.
//
// It fails with ErrConflict, with dns.ErrRefused, with what guard says, or with what the last
// endpoint failed with. After the last the change may have been made or not, and Turn may be
// called again: a call has no token, for it says what is to be and not what is to be done.
func (c *Cluster) Turn(ctx context.Context, on string, off []string, guard func(context.Context) error) (bool, error) {
	all := append([]string{on}, off...)
	states, err := c.States(ctx, all)
	if err != nil || settled(states, on) {
		return false, err
	}
	refused := false
	err = c.each(ctx, func(ctx context.Context) error {
		if guard == nil {
			return nil
		}
		err := guard(ctx)
		refused = err != nil
		return err
	}, func(ctx context.Context, o func(*sdk.Options)) error {
		_, err := c.client.UpdateRoutingControlStates(ctx, &sdk.UpdateRoutingControlStatesInput{UpdateRoutingControlStateEntries: entries(on, off)}, o)
		return err
	})
	if refused {
		return false, err
	}
	if err != nil && !errors.Is(err, ErrConflict) {
		return false, fmt.Errorf("turn on %s: %w", on, err)
	}
	// After a call whose answer was lost, the next one may be refused because the controls
	// rest: so a conflict is what they say it is.
	reads := c.config.Reads
	if err != nil {
		reads = 1
	}
	for try := 1; ; try++ {
		states, readErr := c.States(ctx, all)
		switch {
		case readErr == nil && settled(states, on):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("turn on %s: %w", on, err)
		case readErr != nil:
			return true, readErr
		case try == reads || !pause.About(ctx, c.config.Pause):
			return true, fmt.Errorf("turn on %s: %w", on, errUnverified)
		}
	}
}

// settled reports whether one control is on and all others are off.
func settled(states map[string]bool, on string) bool {
	for arn, is := range states {
		if is != (arn == on) {
			return false
		}
	}
	return true
}

func entries(on string, off []string) []types.UpdateRoutingControlStateEntry {
	out := []types.UpdateRoutingControlStateEntry{{RoutingControlArn: &on, RoutingControlState: types.RoutingControlStateOn}}
	for _, arn := range off {
		out = append(out, types.UpdateRoutingControlStateEntry{RoutingControlArn: &arn, RoutingControlState: types.RoutingControlStateOff})
	}
	return out
}

// each asks one endpoint after another, from any of them on, until one answers, or until
// before fails, which is asked each time; nil: it is not.
func (c *Cluster) each(ctx context.Context, before func(context.Context) error, ask func(context.Context, func(*sdk.Options)) error) error {
	n := len(c.endpoints)
	begin := c.start(n)
	var err error
	for i := range n * c.config.Rounds {
		if i > 0 && i%n == 0 && !pause.About(ctx, c.config.Pause) {
			break
		}
		if before != nil {
			if err := before(ctx); err != nil {
				return err
			}
		}
		e := c.endpoints[(begin+i)%n]
		if err = c.one(ctx, e, ask); err == nil || errors.Is(err, ErrConflict) || errors.Is(err, dns.ErrRefused) {
			return err
		}
		err = fmt.Errorf("endpoint in %s: %w", e.Region, err)
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

func (c *Cluster) one(ctx context.Context, e Endpoint, ask func(context.Context, func(*sdk.Options)) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return told(ask(ctx, func(o *sdk.Options) {
		o.BaseEndpoint, o.Region, o.Retryer = &e.URL, e.Region, aws.NopRetryer{}
	}))
}

// told returns what an error means to whoever asked. What is neither a conflict nor refused
// may be better at the next endpoint: EndpointTemporarilyUnavailableException, throttles, what
// is an endpoint's own fault, and silence.
func told(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch code := api.ErrorCode(); {
	case code == "ConflictException":
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case slices.Contains([]string{
		"ValidationException", "AccessDeniedException", "ResourceNotFoundException", "ServiceLimitExceededException",
		"UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignatureException",
	}, code), strings.HasPrefix(code, "InvalidClientToken"):
		return fmt.Errorf("%w: %w", dns.ErrRefused, err)
	}
	return err
}
