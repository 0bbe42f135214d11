package fakeaws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/internal/awslambda"
)

// roamLambda is a function as cmd/roam-lambda is.
func roamLambda() {
	f, err := awslambda.Load(context.Background(), os.Getenv, os.Stdout)
	if err != nil {
		fmt.Println("not begun:", err)
		return
	}
	handle(f.Handle)
}

// reconciler is a function: whatever event comes, it has the record lead to this Region's
// primary endpoint if this Region is the primary.
func reconciler() {
	handle(func(ctx context.Context, _ []byte) error { return reconcile(ctx) })
}

// handle has events handled, one after another.
func handle(do func(ctx context.Context, event []byte) error) {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		resp, err := http.Get(base + "next")
		if err != nil {
			return
		}
		event, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		path, reply := "/response", "null"
		if err := do(context.Background(), event); err != nil {
			path, reply = "/error", fmt.Sprintf(`{"errorType":"Error","errorMessage":%q}`, err)
			fmt.Println("failed:", err)
		}
		answer, err := http.Post(base+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+path, "application/json", strings.NewReader(reply))
		if err != nil {
			return
		}
		_ = answer.Body.Close()
	}
}

func reconcile(ctx context.Context) error {
	keys := credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), "")
	url := aws.String(os.Getenv("AWS_ENDPOINT_URL"))
	cache := elasticache.New(elasticache.Options{Region: os.Getenv("AWS_REGION"), BaseEndpoint: url, Credentials: keys})
	out, err := cache.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String(os.Getenv("GROUP"))})
	if err != nil {
		return err
	}
	g := out.ReplicationGroups[0]
	switch {
	case g.GlobalReplicationGroupInfo == nil || *g.GlobalReplicationGroupInfo.GlobalReplicationGroupMemberRole != "PRIMARY":
		return nil
	case *g.Status != "available":
		return errors.New("it is " + *g.Status)
	}
	records := route53.New(route53.Options{Region: "us-east-1", BaseEndpoint: url, Credentials: keys})
	_, err = records.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: aws.String(os.Getenv("ZONE")), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{
			Action: types.ChangeActionUpsert, ResourceRecordSet: &types.ResourceRecordSet{
				Name: aws.String(os.Getenv("NAME")), Type: types.RRTypeCname, TTL: aws.Int64(1),
				ResourceRecords: []types.ResourceRecord{{Value: g.NodeGroups[0].PrimaryEndpoint.Address}},
			},
		}}},
	})
	return err
}
