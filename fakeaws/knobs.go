package fakeaws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/lambda"
	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/fakeaws/internal/sns"
)

// A Rule makes calls go wrong. Goroutines may share it.
type Rule = door.Rule

// What a Rule may do.
const (
	Outage   = door.Outage   // calls fail with ServiceUnavailable, or as Rule.Code says
	Refuse   = door.Refuse   // connections are closed, and nothing is done
	Hang     = door.Hang     // calls are never answered, and nothing is done
	Lose     = door.Lose     // calls are done, and their answer is lost
	Throttle = door.Throttle // calls beyond Rate and Burst are throttled; without Rate, all are
	Slow     = door.Slow     // calls are done and answered Delay later
)

// ErrRule: a knob is turned further than it goes.
var ErrRule = door.ErrRule

// ErrRegion: there is no such Region.
var ErrRegion = errors.New("no such Region")

// A Call is one that somebody made, as Calls tells it.
type Call = door.Record

// Mail is how deliveries of SNS go wrong.
type Mail = sns.Mail

// A Letter is a message that nobody took, or a function's event that failed for good.
type Letter = sns.Letter

// A Path is how the network is between two Regions.
type Path = relay.Path

// A Function is a program that Lambda runs.
type Function = lambda.Function

// AddRule puts a rule in force and returns its ID. It fails with ErrRule.
func (c *Cloud) AddRule(r Rule) (string, error) { return c.keeper.Rules.Add(r) }

// RemoveRule takes a rule away and reports whether it was there.
func (c *Cloud) RemoveRule(id string) bool { return c.keeper.Rules.Remove(id) }

// Rules returns those in force.
func (c *Cloud) Rules() []Rule { return c.keeper.Rules.List() }

// Calls returns the calls of late, refused ones among them, the oldest first: at most 10,000.
func (c *Cloud) Calls() []Call { return c.keeper.Records() }

// SetDark takes a Region off the network, or puts it back: calls to its endpoints hang,
// ElastiCache's endpoints fall silent, nothing is replicated from there or to it, and its
// functions are not invoked. With us-east-1 goes Route 53's API; its name server goes on.
func (c *Cloud) SetDark(region string, dark bool) error {
	if !slices.Contains(c.config.Regions, region) {
		return fmt.Errorf("%w: %.40q", ErrRegion, region)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, was := c.dark[region]
	if was == dark {
		return nil
	}
	if dark {
		id, err := c.keeper.Rules.Add(Rule{Region: region, Effect: Hang})
		if err != nil {
			return err
		}
		c.dark[region] = id
	} else {
		c.keeper.Rules.Remove(id)
		delete(c.dark, region)
	}
	c.elasticache.SetDark(region, dark)
	return nil
}

// SetLink says how the path is by which a secondary follows its primary.
func (c *Cloud) SetLink(from, to string, p Path) error {
	for _, r := range []string{from, to} {
		if !slices.Contains(c.config.Regions, r) {
			return fmt.Errorf("%w: %.40q", ErrRegion, r)
		}
	}
	if p.Delay < 0 || p.Delay > time.Minute {
		return fmt.Errorf("%w: delay %v is not from 0 to a minute", ErrRule, p.Delay)
	}
	c.elasticache.SetLink(from, to, p)
	return nil
}

// SetMail says how deliveries of SNS go wrong from now on. It fails with ErrRule.
func (c *Cloud) SetMail(m Mail) error { return c.sns.SetMail(m) }

// SetHealth says how the endpoint is that a health check of Route 53 looks at.
func (c *Cloud) SetHealth(check string, healthy bool) error {
	return c.route53.SetHealth(check, healthy)
}

// PutMetric adds a value to a metric, also to those of AWS's own namespaces. Pairs are names
// and values of dimensions.
func (c *Cloud) PutMetric(region, namespace, metric string, value float64, pairs ...string) error {
	return c.cloudwatch.Put(region, namespace, metric, value, pairs...)
}

// PutParameter has the Parameter Store of a Region have a text.
func (c *Cloud) PutParameter(region, name, value string) error { return c.ssm.Put(region, name, value) }

// AddPanel adds a control panel to ARC's cluster.
func (c *Cloud) AddPanel(p Panel) error { return c.arc.Add(p) }

// ControlARN returns the ARN of a routing control, by the names of its panel and itself.
func (c *Cloud) ControlARN(panel, control string) string { return c.arc.ControlARN(panel, control) }

// SafetyRuleARN returns the ARN of a safety rule, by the names of its panel and itself.
func (c *Cloud) SafetyRuleARN(panel, rule string) string { return c.arc.RuleARN(panel, rule) }

// PutFunction makes a function of a program on this machine and returns its ARN.
func (c *Cloud) PutFunction(f Function) (string, error) {
	if !slices.Contains(c.config.Regions, f.Region) {
		return "", fmt.Errorf("%w: %.40q", ErrRegion, f.Region)
	}
	return c.lambda.Put(f)
}

// FunctionLog returns the last lines that a function printed, at most 1,000.
func (c *Cloud) FunctionLog(arn string) []string { return c.lambda.Log(arn) }

// Schedule has a function invoked again and again.
func (c *Cloud) Schedule(arn string, every time.Duration) error { return c.lambda.Schedule(arn, every) }

// DeadLetters returns what nobody took, at most 1,000, the oldest first.
func (c *Cloud) DeadLetters() []Letter { return c.sns.Dead() }

// Resolver returns a resolver that asks the fakes' name server.
func (c *Cloud) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, c.names.Addr())
	}}
}

// DialContext connects to a host and port; the host's name is what the fakes' name server
// says, aliases in zones among it.
func (c *Cloud) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{Resolver: c.Resolver()}).DialContext(ctx, network, addr)
}

// Lookup returns the address of an ElastiCache endpoint's name, if there is one.
func (c *Cloud) Lookup(name string) (netip.Addr, bool) { return c.elasticache.Lookup(name) }
