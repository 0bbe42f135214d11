package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Dynamo is DynamoDB as who sweeps a table knows it: one that is strongly consistent in
// several Regions.
type Dynamo struct {
	Table string
	// Items are when each may be deleted, Unix seconds, by a name.
	Items map[string]int64
}

// value is one of an item.
type value map[string]any

type dynamoRequest struct {
	TableName                 string
	Segment, TotalSegments    uint64
	Key                       map[string]value
	ConditionExpression       string
	FilterExpression          string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]value
}

func (s *Dynamo) understand(r *http.Request, body []byte) (Call, any, error) {
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.")
	if !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.0" {
		return Call{}, nil, fmt.Errorf("%s with target %q is nothing", r.Method, r.Header.Get("X-Amz-Target"))
	}
	var in dynamoRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return Call{}, nil, err
	}
	return Call{Action: action, Names: []string{in.TableName}}, in, nil
}

func (s *Dynamo) do(c Call, in any, _ time.Time) (any, *failure) {
	q := in.(dynamoRequest)
	if q.TableName != s.Table {
		return nil, refuse("ResourceNotFoundException", "no table %q", q.TableName)
	}
	switch c.Action {
	case "DescribeTable":
		return s.describe(), nil
	case "Scan":
		before, err := strconv.ParseInt(fmt.Sprint(q.ExpressionAttributeValues[":t"]["N"]), 10, 64)
		if err != nil || q.FilterExpression != "#e < :t" || q.ExpressionAttributeNames["#e"] != "exp" || q.Segment >= q.TotalSegments {
			return nil, refuse("ValidationException", "%+v", q)
		}
		items := []map[string]value{}
		for name, expires := range s.Items {
			if sum := sha256.Sum256([]byte(name)); expires < before && uint64(sum[0])*q.TotalSegments>>8 == q.Segment {
				items = append(items, item(name, expires))
			}
		}
		return map[string]any{"Items": items}, nil
	case "DeleteItem":
		for name, expires := range s.Items {
			if it := item(name, expires); it["pk"]["S"] == q.Key["pk"]["S"] {
				if q.ConditionExpression != "v = :v" || q.ExpressionAttributeValues[":v"]["B"] != it["v"]["B"] {
					return nil, refuse("ConditionalCheckFailedException", "it has changed")
				}
				delete(s.Items, name)
				return map[string]any{}, nil
			}
		}
		return nil, refuse("ConditionalCheckFailedException", "it is not there")
	}
	return nil, refuse("UnknownOperationException", "no operation %q", c.Action)
}

func (s *Dynamo) describe() any {
	key := func(name, kind string) any { return map[string]string{"AttributeName": name, "KeyType": kind} }
	attribute := func(name, kind string) any { return map[string]string{"AttributeName": name, "AttributeType": kind} }
	return map[string]any{"Table": map[string]any{
		"TableName": s.Table, "TableStatus": "ACTIVE", "MultiRegionConsistency": "STRONG",
		"KeySchema":            []any{key("pk", "HASH"), key("wr", "RANGE")},
		"AttributeDefinitions": []any{attribute("pk", "S"), attribute("wr", "N")},
		"Replicas":             []any{map[string]string{"RegionName": "us-east-1"}, map[string]string{"RegionName": "us-west-2"}},
	}}
}

// item returns an item as docs/formats/dynamo.md has it, of a record that says nothing.
func item(name string, expires int64) map[string]value {
	sum := sha256.Sum256([]byte(name))
	return map[string]value{
		"pk": {"S": hex.EncodeToString(sum[:])}, "wr": {"N": "0"}, "v": {"B": base64.StdEncoding.EncodeToString(sum[:16])},
		"inc": {"N": "1"}, "aws": {"S": "us-west-2"}, "data": {"B": "AQ=="}, "exp": {"N": strconv.FormatInt(expires, 10)},
	}
}

func (s *Dynamo) write(rw http.ResponseWriter, _ Call, out any) { writeJSON(rw, "1.0", out) }

func (s *Dynamo) fail(rw http.ResponseWriter, f *failure) { failJSON(rw, "1.0", f) }
