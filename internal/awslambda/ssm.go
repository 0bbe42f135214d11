package awslambda

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// parameters asks SSM for two of its calls, by JSON 1.1. The SDK's module for all of SSM would
// be the largest part of the program.
type parameters struct {
	url, region string
	credentials aws.CredentialsProvider
	client      aws.HTTPClient
}

// mostAnswer bounds what is read of an answer: ten parameters of 4 KiB and their names.
const mostAnswer = 1 << 20

// read returns the values of those parameters that there are.
func (p *parameters) read(ctx context.Context, names ...string) (map[string]string, error) {
	var out struct {
		Parameters []struct{ Name, Value string }
	}
	if err := p.call(ctx, "GetParameters", map[string]any{"Names": names}, &out); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, v := range out.Parameters {
		values[v.Name] = v.Value
	}
	return values, nil
}

func (p *parameters) write(ctx context.Context, name, value string) error {
	return p.call(ctx, "PutParameter", map[string]any{"Name": name, "Value": value, "Type": "String", "Overwrite": true}, &struct{}{})
}

func (p *parameters) call(ctx context.Context, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM."+action)
	credentials, err := p.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("%s: credentials: %w", action, err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "ssm", p.region, time.Now()); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	res, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", action, fault(res.StatusCode, raw))
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

// fault reads an error as services of this protocol tell it: its type may have a name in front
// of it, and a # between.
func fault(status int, raw []byte) error {
	var f struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &f) != nil || f.Type == "" {
		return fmt.Errorf("status %d", status)
	}
	return &smithy.GenericAPIError{Code: f.Type[strings.LastIndex(f.Type, "#")+1:], Message: f.Message}
}
