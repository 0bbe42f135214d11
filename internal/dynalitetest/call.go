//go:build integration

package dynalitetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswerBytes is above a page of DynamoDB's.
const maxAnswerBytes = 4 << 20

// Call makes one request and decodes its answer into out, if that is not nil. The signature
// is none: nobody here looks at more than its form.
func (s *Server) Call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint()+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/%s/%s/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=%064d",
		now.Format("20060102"), Region, 0))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read only
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", operation, res.Status, answer)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Copy puts all items of a table that one Region writes into the table of that name of
// another server, as a Global Table does some time later.
func (s *Server) Copy(ctx context.Context, to *Server, table string, writer int) error {
	in := map[string]any{
		"TableName": table, "FilterExpression": "wr = :w", "ConsistentRead": true,
		"ExpressionAttributeValues": map[string]any{":w": map[string]string{"N": strconv.Itoa(writer)}},
	}
	for {
		var page struct{ Items, LastEvaluatedKey json.RawMessage }
		if err := s.Call(ctx, "Scan", in, &page); err != nil {
			return err
		}
		var items []json.RawMessage
		if err := json.Unmarshal(page.Items, &items); err != nil {
			return err
		}
		for _, item := range items {
			if err := to.Call(ctx, "PutItem", map[string]any{"TableName": table, "Item": item}, nil); err != nil {
				return err
			}
		}
		if len(page.LastEvaluatedKey) == 0 {
			return nil
		}
		in["ExclusiveStartKey"] = page.LastEvaluatedKey
	}
}
