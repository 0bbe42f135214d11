package awsdeploy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
)

func TestFaultOf(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, body string
		code, says string
		passing    bool
	}{
		{400, "", `{"__type":"com.amazonaws.cloudcontrol#ResourceNotFoundException","Message":"gone"}`, "ResourceNotFoundException", "gone", false},
		{400, "ThrottlingException:http://internal.amazon.com/", `{"message":"slow"}`, "ThrottlingException", "slow", true},
		{400, "", `<Response><Errors><Error><Code>IncorrectState</Code><Message>it is pending</Message></Error></Errors><RequestID>r</RequestID></Response>`, "IncorrectState", "it is pending", false},
		{503, "", "<html>", "Status503", "", true},
		{403, "", "", "Status403", "", false},
	} {
		err := faultOf(c.status, c.kind, []byte(c.body))
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != c.code || api.ErrorMessage() != c.says || passing(err) != c.passing {
			t.Errorf("faultOf(%d, %q) = %v, passing %t; want %s: %s", c.status, c.body, err, passing(err), c.code, c.says)
		}
	}
}

func TestUnprotect(t *testing.T) {
	for properties, want := range map[string]string{
		`{}`:                                   "",
		`{"DeletionProtectionEnabled": false}`: "",
		`{"DeletionProtectionEnabled": true}`:  `[{"op":"replace","path":"/DeletionProtectionEnabled","value":false}]`,
		`{"Replicas": [{}, {"DeletionProtectionEnabled": true}, 7]}`: `[{"op":"replace","path":"/Replicas/1/DeletionProtectionEnabled","value":false}]`,
	} {
		var p map[string]any
		if err := json.Unmarshal([]byte(properties), &p); err != nil {
			t.Fatal(err)
		}
		if got := unprotect(p); got != want {
			t.Errorf("unprotect(%s) = %s, want %s", properties, got, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	const good = `{"Cluster":{"ClusterEndpoints":[{"Endpoint":"https://b/v1","Region":"us-west-2"},{"Endpoint":"https://a/v1","Region":"eu-west-1"}]}}`
	text, err := endpointsOf([]byte(good))
	if err != nil || text != "eu-west-1=https://a/v1,us-west-2=https://b/v1" {
		t.Errorf("endpointsOf = %q, %v", text, err)
	}
	if list, err := endpointList(text); err != nil || len(list) != 2 || list[1].URL != "https://b/v1" || list[1].Region != "us-west-2" {
		t.Errorf("endpointList = %v, %v", list, err)
	}
	for _, bad := range []string{"", "{}", `{"Cluster":{"ClusterEndpoints":[{"Endpoint":"http://b","Region":"x"}]}}`, `{"Cluster":{"ClusterEndpoints":[{"Endpoint":"https://b,c","Region":"x"}]}}`} {
		if text, err := endpointsOf([]byte(bad)); err == nil {
			t.Errorf("endpointsOf(%s) = %q, want an error", bad, text)
		}
	}
	if _, err := endpointList("x"); err == nil {
		t.Error("endpointList(x) = nil, want an error")
	}
}

// Answers come from outside: none of them may do more than fail.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"Cluster":{"ClusterEndpoints":[{"Endpoint":"https://b/v1","Region":"us-west-2"}]}}`))
	f.Add([]byte(`{"ResourceDescription":{"Identifier":"x","Properties":"{\"Replicas\":[{\"DeletionProtectionEnabled\":true}]}"}}`))
	f.Add([]byte(`{"ProgressEvent":{"OperationStatus":"SUCCESS","RequestToken":"t"}}`))
	f.Add([]byte(`<DescribeTransitGatewayPeeringAttachmentsResponse><transitGatewayPeeringAttachments><item><transitGatewayAttachmentId>tgw-attach-1</transitGatewayAttachmentId><state>available</state></item></transitGatewayPeeringAttachments></DescribeTransitGatewayPeeringAttachmentsResponse>`))
	f.Add([]byte(`<Response><Errors><Error><Code>X</Code></Error></Errors></Response>`))
	f.Add([]byte("Parameters: {A: {Type: String, Default: x}}\nResources: {R: {Type: AWS::SNS::Topic}}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if text, err := endpointsOf(raw); err == nil {
			if list, err := endpointList(text); err != nil || len(list) != strings.Count(text, "=https://") {
				t.Errorf("endpointList(%q) = %v, %v", text, list, err)
			}
		}
		if r, err := resourceOf(raw); err == nil && r != nil {
			if patch := unprotect(r.properties); patch != "" && !json.Valid([]byte(patch)) {
				t.Errorf("patch %q", patch)
			}
		}
		if op, err := operationOf(raw); err == nil && op.OperationStatus == "" {
			t.Error("an operation without a status")
		}
		_, _ = stateOf(raw, "tgw-attach-1")
		if err := faultOf(400, "", raw); err == nil {
			t.Error("a fault is none")
		}
		_, _ = parametersOf(string(raw))
		_, _ = typesOf(string(raw))
	})
}
