//go:build integration

package dynamo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/internal/dynalitetest"
)

// startMoto starts moto, a fake of AWS that others wrote, where scripts/install-moto.sh
// could unpack it; else the test is skipped and says so.
func startMoto(t *testing.T) *server {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "bin", "moto"))
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "complete"))
	}
	if err != nil {
		t.Skipf("NOT TESTED on moto; run ./scripts/install-moto.sh: %v", err)
	}
	env := []string{"PYTHONPATH=" + filepath.Join(dir, "shim") + ":" + filepath.Join(dir, "root/usr/lib/python3/dist-packages")}
	return &server{dynalitetest.Run(t, env, func(port string) []string {
		return []string{
			"/usr/bin/python3", "-S", "-c", "import sys; from moto.server import main; main(sys.argv[1:])", "-H", "127.0.0.1", "-p", port,
		}
	}), t}
}

// moto takes tens of milliseconds for a call: beside a build with the race detector it does
// not keep up.
func TestPromisesOnMoto(t *testing.T) {
	if raceDetector {
		t.Skip("NOT TESTED on moto with the race detector; CI does it without")
	}
	promisesOn(t, startMoto(t), false)
}

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
