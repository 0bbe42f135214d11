package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A position is where a scan goes on.
type position map[string]types.AttributeValue

// The names by which expressions speak of values.
const (
	valueKey     = ":k"
	valueVersion = ":v"
	valueTime    = ":t"
	nameExpiry   = "#e"
)

func (t *remote) items(ctx context.Context, key string) ([]item, error) {
	var out []item
	in := &dynamodb.QueryInput{
		TableName: t.name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String(attrKey + " = " + valueKey),
		ExpressionAttributeValues: map[string]types.AttributeValue{valueKey: &types.AttributeValueMemberS{Value: key}},
	}
	for { // a page holds 1 MiB, and 16 Regions' items at most 6.25: each takes one in
		var page *dynamodb.QueryOutput
		err := t.ask(ctx, func(ctx context.Context) (err error) {
			page, err = t.client.Query(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		if out, err = appendItems(out, page.Items); err != nil {
			return nil, err
		}
		if in.ExclusiveStartKey = page.LastEvaluatedKey; len(in.ExclusiveStartKey) == 0 {
			return out, nil
		}
	}
}

func (t *remote) put(ctx context.Context, it item, was version) error {
	in := &dynamodb.PutItemInput{
		TableName: t.name, Item: it.attributes(), ConditionExpression: aws.String("attribute_not_exists(" + attrKey + ")"),
	}
	if was != (version{}) {
		in.ConditionExpression, in.ExpressionAttributeValues = unchanged(was)
	}
	return t.ask(ctx, func(ctx context.Context) error {
		_, err := t.client.PutItem(ctx, in)
		return err
	})
}

func (t *remote) remove(ctx context.Context, it item) error {
	in := &dynamodb.DeleteItemInput{TableName: t.name, Key: it.primary()}
	in.ConditionExpression, in.ExpressionAttributeValues = unchanged(it.version)
	return t.ask(ctx, func(ctx context.Context) error {
		_, err := t.client.DeleteItem(ctx, in)
		return err
	})
}

// unchanged returns the condition that an item has the version was.
func unchanged(was version) (*string, map[string]types.AttributeValue) {
	return aws.String(attrVersion + " = " + valueVersion),
		map[string]types.AttributeValue{valueVersion: &types.AttributeValueMemberB{Value: was[:]}}
}

func (t *remote) scan(ctx context.Context, from position) ([]item, position, error) {
	return t.page(ctx, &dynamodb.ScanInput{TableName: t.name, ConsistentRead: aws.Bool(true), ExclusiveStartKey: from})
}

// past asks for no consistency, which is half the price: what was written since has another
// version, and stays.
func (t *remote) past(ctx context.Context, of segment, from position) ([]item, position, error) {
	return t.page(ctx, &dynamodb.ScanInput{
		TableName: t.name, Segment: aws.Int32(of.n), TotalSegments: aws.Int32(sweepSegments), ExclusiveStartKey: from,
		FilterExpression:          aws.String(nameExpiry + " < " + valueTime),
		ExpressionAttributeNames:  map[string]string{nameExpiry: attrExpiry},
		ExpressionAttributeValues: map[string]types.AttributeValue{valueTime: number(of.before)},
	})
}

// page makes one request of a scan.
func (t *remote) page(ctx context.Context, in *dynamodb.ScanInput) ([]item, position, error) {
	var page *dynamodb.ScanOutput
	err := t.ask(ctx, func(ctx context.Context) (err error) {
		page, err = t.client.Scan(ctx, in)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	out, err := appendItems(nil, page.Items)
	return out, page.LastEvaluatedKey, err
}

func appendItems(out []item, rows []map[string]types.AttributeValue) ([]item, error) {
	for _, attrs := range rows {
		it, err := decodeItem(attrs)
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}
