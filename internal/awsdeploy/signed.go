package awsdeploy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// mostAnswer bounds what is read of an answer.
const mostAnswer = 4 << 20

// A letter is a request that is signed by hand, to a service of which a few calls don't deserve a module.
type letter struct {
	service, region string
	method, path    string
	header          map[string]string
	body            []byte
}

// send signs a letter, and returns what was answered. What is answered with another status than 200 is a
// smithy.APIError if it says what it is.
func (c cloud) send(ctx context.Context, l letter) ([]byte, error) {
	at := strings.TrimSuffix(aws.ToString(c.BaseEndpoint), "/")
	r, err := http.NewRequestWithContext(ctx, l.method, cmp.Or(at, endpoint(l.service, l.region))+l.path, bytes.NewReader(l.body))
	if err != nil {
		return nil, err
	}
	for key, value := range l.header {
		r.Header.Set(key, value)
	}
	credentials, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	sum := sha256.Sum256(l.body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), l.service, l.region, time.Now()); err != nil {
		return nil, err
	}
	res, err := c.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, faultOf(res.StatusCode, res.Header.Get("X-Amzn-Errortype"), raw)
	}
	return raw, nil
}

// endpoint returns where a service answers in a Region.
func endpoint(service, region string) string {
	at := "https://" + service + "." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		at += ".cn"
	}
	return at
}

// faultOf reads an error as JSON's services tell it, or EC2.
func faultOf(status int, kind string, raw []byte) error {
	var asJSON struct {
		Type     string `json:"__type"`
		Message  string `json:"message"`
		Message2 string `json:"Message"`
	}
	var asXML struct {
		Errors []struct{ Code, Message string } `xml:"Errors>Error"`
	}
	fault := smithy.FaultClient
	if status >= http.StatusInternalServerError {
		fault = smithy.FaultServer
	}
	err := &smithy.GenericAPIError{Code: kind, Fault: fault}
	if json.Unmarshal(raw, &asJSON) == nil {
		err.Code, err.Message = cmp.Or(kind, asJSON.Type), cmp.Or(asJSON.Message, asJSON.Message2)
	} else if xml.Unmarshal(raw, &asXML) == nil && len(asXML.Errors) > 0 {
		err.Code, err.Message = asXML.Errors[0].Code, asXML.Errors[0].Message
	}
	// A name may stand in front of the code, and a URL behind it.
	err.Code = err.Code[strings.LastIndex(err.Code, "#")+1:]
	err.Code, _, _ = strings.Cut(err.Code, ":")
	if err.Code == "" {
		err.Code = fmt.Sprintf("Status%d", status)
	}
	return err
}

// attachmentState asks EC2 for the state of a peering of Transit Gateways; empty: it has none of that ID.
func (c cloud) attachmentState(ctx context.Context, region, id string) (string, error) {
	raw, err := c.ec2(ctx, region, "DescribeTransitGatewayPeeringAttachments", "TransitGatewayAttachmentIds.1", id)
	if coded(err, "InvalidTransitGatewayAttachmentID.NotFound") {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return stateOf(raw, id)
}

// stateOf finds the state of an attachment in an answer of EC2.
func stateOf(raw []byte, id string) (string, error) {
	var out struct {
		Items []struct {
			ID    string `xml:"transitGatewayAttachmentId"`
			State string `xml:"state"`
		} `xml:"transitGatewayPeeringAttachments>item"`
	}
	if err := xml.Unmarshal(raw, &out); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	for _, i := range out.Items {
		if i.ID == id {
			return i.State, nil
		}
	}
	return "", nil
}

func (c cloud) accept(ctx context.Context, region, id string) error {
	_, err := c.ec2(ctx, region, "AcceptTransitGatewayPeeringAttachment", "TransitGatewayAttachmentId", id)
	return err
}

func (c cloud) ec2(ctx context.Context, region, action, key, value string) ([]byte, error) {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}, key: {value}}
	return c.send(ctx, letter{
		service: "ec2", region: region, method: http.MethodPost, path: "/",
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, body: []byte(form.Encode()),
	})
}

// controlRegion is where ARC's control plane is.
const controlRegion = "us-west-2"

// endpoints asks ARC for the endpoints of a cluster: region=url of each, in the order of the Regions.
func (c cloud) endpoints(ctx context.Context, arn string) (string, error) {
	raw, err := c.send(ctx, letter{
		service: "route53-recovery-control-config", region: controlRegion, method: http.MethodGet, path: "/cluster/" + url.QueryEscape(arn), // colons too, as the SDK does
	})
	if err != nil {
		return "", err
	}
	return endpointsOf(raw)
}

// A resource is what Cloud Control says of one.
type resource struct {
	properties map[string]any
}

// get asks Cloud Control for a resource; nil: there is none.
func (c cloud) get(ctx context.Context, region, kind, id string) (*resource, error) {
	raw, err := c.control(ctx, region, "GetResource", map[string]string{"TypeName": kind, "Identifier": id})
	if coded(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resourceOf(raw)
}

// resourceOf reads a resource in an answer of Cloud Control. Its properties are JSON in a string.
func resourceOf(raw []byte) (*resource, error) {
	var out struct{ ResourceDescription struct{ Properties string } }
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	r := &resource{}
	if err := json.Unmarshal([]byte(out.ResourceDescription.Properties), &r.properties); err != nil {
		return nil, fmt.Errorf("read the properties: %w", err)
	}
	return r, nil
}

// An operation is how far Cloud Control is with what it was asked for.
type operation struct{ RequestToken, OperationStatus, StatusMessage, ErrorCode string }

// operate asks Cloud Control for a change of a resource, or how far it is.
func (c cloud) operate(ctx context.Context, region, action string, in map[string]string) (operation, error) {
	raw, err := c.control(ctx, region, action, in)
	if err != nil {
		return operation{}, err
	}
	return operationOf(raw)
}

// operationOf reads how far it is in an answer of Cloud Control.
func operationOf(raw []byte) (operation, error) {
	var out struct{ ProgressEvent operation }
	if err := json.Unmarshal(raw, &out); err != nil {
		return operation{}, fmt.Errorf("read the answer: %w", err)
	}
	if out.ProgressEvent.OperationStatus == "" {
		return operation{}, errors.New("the answer has no status")
	}
	return out.ProgressEvent, nil
}

func (c cloud) control(ctx context.Context, region, action string, in map[string]string) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, letter{
		service: "cloudcontrolapi", region: region, method: http.MethodPost, path: "/", body: body,
		header: map[string]string{"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "CloudApiService." + action},
	})
}
