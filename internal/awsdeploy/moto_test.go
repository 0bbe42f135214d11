//go:build integration

package awsdeploy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/mototest"
)

const (
	topicTemplate = `AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Name: {Type: String}
  Other: {Type: String, Default: none}
Resources:
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: !Ref Name, DisplayName: !Ref Other}}
Outputs:
  Topic: {Value: !Ref Topic}
`
	queueTemplate = `AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Topics: {Type: String}
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: shop}}
Outputs:
  Queue: {Value: !Ref Queue}
`
)

func motoTemplate(name string) (string, error) {
	return map[string]string{"topic.yaml": topicTemplate, "queue.yaml": queueTemplate}[name], nil
}

// motoPlan is of two Regions; the first stack is given more in a second pass.
func motoPlan(other string) awsplan.Plan {
	topic := func(region string, given map[string]string, feeds ...awsplan.Feed) awsplan.Step {
		given["Name"] = "shop"
		return stackStep("topic", region, "topic.yaml", given, feeds...)
	}
	feed := func(parameter, region string) awsplan.Feed {
		return awsplan.Feed{Parameter: parameter, Stack: "shop-topic", Region: region, Output: "Topic"}
	}
	return awsplan.Plan{Name: "shop", Steps: []awsplan.Step{
		topic(west1, map[string]string{}), topic(west2, map[string]string{"Other": other}), topic(west1, map[string]string{}, feed("Other", west2)),
		stackStep("queue", west1, "queue.yaml", nil, feed("Topics", west1), feed("Topics", west2)),
	}}
}

// The order, outputs of other Regions, updates by change sets, nothing to do, and the way back, against another's
// idea of CloudFormation.
func TestDeployOnMoto(t *testing.T) {
	at := mototest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deployer := func(other string) (*Deployer, *[]Event) {
		var told []Event
		d := New(aws.Config{Region: west1, BaseEndpoint: &at, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", "")}, motoPlan(other), motoTemplate,
			Config{Poll: 50 * time.Millisecond, Within: 20 * time.Second, Tell: func(e Event) { told = append(told, e) }})
		return d, &told
	}
	for _, c := range []struct{ other, said string }{
		{"a", "created, created, updated, created"},
		{"a", "nothing to do, nothing to do, nothing to do, nothing to do"},
		{"b", "nothing to do, updated, nothing to do, nothing to do"},
	} {
		d, told := deployer(c.other)
		if id, _, err := d.Caller(ctx); err != nil || id != account {
			t.Fatalf("Caller = %s, %v", id, err)
		}
		if err := d.Deploy(ctx); err != nil {
			t.Fatalf("Deploy(%s) = %v\n%s", c.other, err, text(*told))
		}
		if said := strings.Join(texts(*told, Done), ", "); said != c.said {
			t.Errorf("Deploy(%s): %s, want %s\n%s", c.other, said, c.said, text(*told))
		}
	}
	d, _ := deployer("b")
	rows, err := d.Status(ctx)
	if err != nil || len(rows) != 3 {
		t.Fatalf("Status = %+v, %v, want three rows", rows, err)
	}
	for _, r := range rows {
		if r.Health != Well {
			t.Errorf("Status says %+v", r)
		}
	}
	motoEnds(ctx, t, d)
}

// motoEnds looks at what was made, and takes it away, twice.
func motoEnds(ctx context.Context, t *testing.T, d *Deployer) {
	t.Helper()
	s, err := d.look(ctx, west1, "shop-queue")
	if err != nil || s == nil || s.parameters["Topics"] != "arn:aws:sns:us-west-1:123456789012:shop,arn:aws:sns:us-west-2:123456789012:shop" {
		t.Errorf("the queue's stack is %+v, %v", s, err)
	}
	for _, step := range []struct{ region, stack string }{{west1, "shop-queue"}, {west2, "shop-topic"}, {west1, "shop-topic"}} {
		d.undo = append(d.undo, awsplan.Step{Do: awsplan.DoDelete, Stack: step.stack, Region: step.region})
	}
	for range 2 {
		if remains, err := d.Destroy(ctx); err != nil || len(remains) > 0 {
			t.Errorf("Destroy = %v, %v", remains, err)
		}
	}
	if s, err := d.look(ctx, west1, "shop-topic"); err != nil || s != nil {
		t.Errorf("after Destroy there is %+v, %v", s, err)
	}
}
