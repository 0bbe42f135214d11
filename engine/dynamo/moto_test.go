//go:build integration

package dynamo

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/internal/dynalitetest"
	"github.com/roam-sessions/roam/internal/mototest"
)

// startMoto starts moto with this package's table.
func startMoto(t *testing.T) *server {
	t.Helper()
	env, at := mototest.Command(t)
	return &server{dynalitetest.Run(t, env, at), t}
}

// moto takes tens of milliseconds for a call: beside a build with the race detector it does
// not keep up.
func TestPromisesOnMoto(t *testing.T) {
	if raceDetector {
		t.Skip("NOT TESTED on moto with the race detector; CI does it without")
	}
	promisesOn(t, startMoto(t), false)
}

func TestSweepOnMoto(t *testing.T) { sweepOn(t, startMoto(t)) }

// The table that docs/formats/dynamo.md has is one that can be made, time to live and all.
func TestTimeToLiveOnMoto(t *testing.T) {
	c := startMoto(t).table()
	admin := dynamodb.New(dynamodb.Options{Region: c.Region, Credentials: c.Credentials, BaseEndpoint: aws.String(c.Endpoint)})
	if _, err := admin.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName:               aws.String(c.Table),
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrExpiry), Enabled: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	e := openAt(t, 1, c)
	k := born(t, e)
	out, err := admin.Query(t.Context(), &dynamodb.QueryInput{
		TableName: aws.String(c.Table), KeyConditionExpression: aws.String("pk = :k"), ProjectionExpression: aws.String("#e"),
		ExpressionAttributeNames:  map[string]string{"#e": attrExpiry},
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": &types.AttributeValueMemberS{Value: keyOf(k)}},
	})
	if err != nil || len(out.Items) != 1 {
		t.Fatalf("Query = %+v, %v, want one item", out, err)
	}
	end, _ := k.Deadline()
	if n, ok := out.Items[0][attrExpiry].(*types.AttributeValueMemberN); !ok || n.Value != number(end.Add(2*time.Minute).Std().Unix()).Value {
		t.Errorf("exp = %+v, want the session's deadline and two minutes", out.Items[0][attrExpiry])
	}
}
