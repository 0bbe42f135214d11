package awslambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/internal/awstest"
)

// postsFunction does what the post describes: it takes the first key of the first Record's
// message, and if that is the promotion's, it writes the endpoint that its environment names.
type postsFunction struct {
	region, endpoint string
	world            *awstest.World
	// python3 has it written as it is printed: a view of keys has no first one there.
	python3 bool
}

func (p postsFunction) handle(ctx context.Context, raw []byte) error {
	var event struct {
		Records []struct {
			SNS struct{ Message string } `json:"Sns"`
		}
	}
	if err := json.Unmarshal(raw, &event); err != nil {
		return err
	}
	if len(event.Records) == 0 {
		return errors.New("IndexError: list index out of range")
	}
	key, err := firstKey(event.Records[0].SNS.Message)
	if err != nil {
		return err
	}
	if p.python3 {
		return errors.New("TypeError: 'dict_keys' object is not subscriptable")
	}
	if key != "ElastiCache:ReplicationGroupPromotedAsPrimary" {
		return nil
	}
	client := sdk.New(sdk.Options{
		Region: p.region, HTTPClient: p.world, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, ""),
	})
	_, err = client.ChangeResourceRecordSets(ctx, &sdk.ChangeResourceRecordSetsInput{
		HostedZoneId: aws.String(zone), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{
			Action: types.ChangeActionUpsert, ResourceRecordSet: &types.ResourceRecordSet{
				Name: aws.String(name), Type: types.RRTypeCname, TTL: aws.Int64(10), ResourceRecords: []types.ResourceRecord{{Value: &p.endpoint}},
			},
		}}},
	})
	return err
}

// firstKey returns the first key of an object, in the order of its text.
func firstKey(text string) (string, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') {
		return "", errors.New("AttributeError or JSONDecodeError")
	}
	key, err := d.Token()
	if s, ok := key.(string); ok && err == nil {
		return s, nil
	}
	return "", errors.New("JSONDecodeError")
}
