package fakeaws

import (
	"context"
	"errors"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/sns"
)

// errAway: a service of a Region can't be reached from within the cloud.
var errAway = errors.New("the service is not available")

// regionOf is the Region in an ARN.
func regionOf(arn string) string {
	parts := strings.SplitN(arn, ":", 5)
	if len(parts) < 5 {
		return ""
	}
	return parts[3]
}

// invokeFromTopic has a function handle what a topic delivers, unless Lambda is away there.
func (c *Cloud) invokeFromTopic(_ context.Context, function string, payload []byte) error {
	if c.keeper.Rules.Away(Lambda, regionOf(function), "Invoke") {
		return errAway
	}
	return c.lambda.Invoke("sns.amazonaws.com", function, payload)
}

// publishEvent publishes for ElastiCache, which shows topics whose it is.
func (c *Cloud) publishEvent(topic, subject, text string) error {
	return c.sns.Publish(sns.Sender{
		Principal: "elasticache.amazonaws.com", Context: map[string][]string{"aws:SourceOwner": {c.config.Account}},
	}, topic, subject, text)
}

// publishAlarm publishes for an alarm, which shows topics its account and itself too.
func (c *Cloud) publishAlarm(alarm, topic, subject, text string) error {
	return c.sns.Publish(sns.Sender{Principal: "cloudwatch.amazonaws.com", Context: map[string][]string{
		"aws:SourceOwner": {c.config.Account}, "aws:SourceAccount": {c.config.Account}, "aws:SourceArn": {alarm},
	}}, topic, subject, text)
}

// bury keeps what nobody took.
func (c *Cloud) bury(queue, from, body, why string) {
	c.sns.Bury(sns.Letter{Queue: queue, From: from, Body: body, Why: why})
}

// print takes a line that a function printed.
func (c *Cloud) print(region, function, line string) {
	c.config.Log.Info("function prints", "region", region, "function", function, "line", line)
	if err := c.cloudwatch.Print(region, line); err != nil {
		c.config.Log.Warn("metrics in the embedded format", "region", region, "function", function, "err", err)
	}
}

// environ is what a function's SDK finds the fakes by, and signs with.
func (c *Cloud) environ(_, role string) []string {
	p := c.key
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.principals {
		if other.ARN == role {
			p = other
		}
	}
	return []string{
		"AWS_ENDPOINT_URL=" + c.front, "AWS_ACCESS_KEY_ID=" + p.Key, "AWS_SECRET_ACCESS_KEY=" + p.Secret,
		"FAKEAWS_DNS=" + c.names.Addr(),
	}
}
