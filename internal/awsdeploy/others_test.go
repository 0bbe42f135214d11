package awsdeploy

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ec2 has peerings of Transit Gateways.
func (w *world) ec2(c call, form url.Values) (string, *refusal) {
	if form.Get("Version") != "2016-11-15" {
		return "", refuse("InvalidAction", "version %q", form.Get("Version"))
	}
	id := form.Get("TransitGatewayAttachmentId")
	if c.action == "DescribeTransitGatewayPeeringAttachments" {
		id = form.Get("TransitGatewayAttachmentIds.1")
	}
	state, ok := w.peerings[id]
	if !ok {
		return "", refuse("InvalidTransitGatewayAttachmentID.NotFound", "%s", id)
	}
	if c.action == "AcceptTransitGatewayPeeringAttachment" {
		if state != "pendingAcceptance" {
			return "", refuse("IncorrectState", "it is %s", state)
		}
		w.peerings[id] = "pending"
		return in("AcceptTransitGatewayPeeringAttachmentResponse", el("requestId", "r")), nil
	}
	switch state { // it goes on while it is looked at
	case "initiatingRequest":
		w.peerings[id] = "pendingAcceptance"
	case "pending":
		w.peerings[id] = "available"
	}
	return in("DescribeTransitGatewayPeeringAttachmentsResponse", el("requestId", "r"),
		in("transitGatewayPeeringAttachments", in("item", el("transitGatewayAttachmentId", id), el("state", state)))), nil
}

// route53 has one zone.
func (w *world) route53(c call, body []byte) (string, *refusal) {
	if c.action == "ListResourceRecordSets" {
		var all []string
		for _, r := range w.zone {
			kind, name, _ := strings.Cut(r, " ")
			all = append(all, in("ResourceRecordSet", el("Name", name), el("Type", kind), el("TTL", "10"), in("ResourceRecords", in("ResourceRecord", el("Value", "x.example")))))
		}
		return in("ListResourceRecordSetsResponse", in("ResourceRecordSets", all...), el("IsTruncated", "false"), el("MaxItems", "100")), nil
	}
	var batch struct {
		Changes []struct {
			Action string
			Set    struct{ Name, Type string } `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.Unmarshal(body, &batch); err != nil {
		return "", refuse("InvalidInput", "%v", err)
	}
	for _, ch := range batch.Changes {
		record := ch.Set.Type + " " + ch.Set.Name
		if ch.Action != "DELETE" || !slices.Contains(w.zone, record) {
			return "", refuse("InvalidChangeBatch", "%s %s", ch.Action, record)
		}
		w.zone = slices.DeleteFunc(w.zone, func(r string) bool { return r == record })
	}
	return in("ChangeResourceRecordSetsResponse", in("ChangeInfo", el("Id", "/change/C1"), el("Status", "PENDING"), el("SubmittedAt", "2026-01-01T00:00:00.000Z"))), nil
}

// arc has one cluster, and its routing controls.
func (w *world) arc(c call, r *http.Request, body []byte) (string, *refusal) {
	var q struct {
		RoutingControlArn                string
		UpdateRoutingControlStateEntries []struct{ RoutingControlArn, RoutingControlState string }
		SafetyRulesToOverride            []string
	}
	if c.action == "DescribeCluster" {
		arn, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/cluster/"))
		if err != nil || c.region != controlRegion || arn != clusterARN && !strings.HasSuffix(arn, ".ClusterArn") || strings.ContainsAny(r.URL.EscapedPath()[len("/cluster/"):], ":/") {
			return "", &refusal{"ResourceNotFoundException", r.URL.EscapedPath(), http.StatusNotFound}
		}
		var all []string
		for _, region := range []string{"us-west-2", "us-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2"} {
			all = append(all, fmt.Sprintf(`{"Endpoint":"https://abc.route53-recovery-cluster.%s.amazonaws.com/v1","Region":%q}`, region, region))
		}
		return `{"Cluster":{"ClusterArn":"` + clusterARN + `","ClusterEndpoints":[` + strings.Join(all, ",") + `],"Status":"DEPLOYED"}}`, nil
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return "", refuse("ValidationException", "%v", err)
	}
	if c.action == "GetRoutingControlState" {
		on, ok := w.controls[q.RoutingControlArn]
		if !ok {
			return "", refuse("ResourceNotFoundException", "%s", q.RoutingControlArn)
		}
		return fmt.Sprintf(`{"RoutingControlArn":%q,"RoutingControlState":%q}`, q.RoutingControlArn, map[bool]string{true: "On", false: "Off"}[on]), nil
	}
	on := 0
	for _, e := range q.UpdateRoutingControlStateEntries {
		if e.RoutingControlState == "On" {
			on++
		}
	}
	if on == 0 && len(q.SafetyRulesToOverride) == 0 {
		return "", refuse("ConflictException", "a safety rule wants one on")
	}
	for _, e := range q.UpdateRoutingControlStateEntries {
		w.controls[e.RoutingControlArn] = e.RoutingControlState == "On"
	}
	return "{}", nil
}

const clusterARN = "arn:aws:route53-recovery-control::123456789012:cluster/0123456789abcdef"

// control is Cloud Control. What it is asked for is done when somebody asks how far it is.
func (w *world) control(c call, body []byte) (string, *refusal) {
	var q struct{ TypeName, Identifier, PatchDocument, RequestToken string }
	if err := json.Unmarshal(body, &q); err != nil {
		return "", refuse("ValidationException", "%v", err)
	}
	key := c.region + " " + q.TypeName + " " + q.Identifier
	progress := func(status, token string) string {
		return fmt.Sprintf(`{"ProgressEvent":{"OperationStatus":%q,"RequestToken":%q}}`, status, token)
	}
	if c.action == "GetResourceRequestStatus" {
		key, ok := w.pending[q.RequestToken]
		if !ok {
			return "", refuse("RequestTokenNotFoundException", "%s", q.RequestToken)
		}
		delete(w.resources, key)
		return progress("SUCCESS", q.RequestToken), nil
	}
	properties, ok := w.resources[key]
	if !ok {
		return "", refuse("ResourceNotFoundException", "%s", key)
	}
	switch c.action {
	case "GetResource":
		return fmt.Sprintf(`{"TypeName":%q,"ResourceDescription":{"Identifier":%q,"Properties":%q}}`, q.TypeName, q.Identifier, properties), nil
	case "UpdateResource":
		w.resources[key] = strings.ReplaceAll(properties, `"DeletionProtectionEnabled":true`, `"DeletionProtectionEnabled":false`)
		return progress("SUCCESS", "t0"), nil
	case "DeleteResource":
		if strings.Contains(properties, `"DeletionProtectionEnabled":true`) {
			return `{"ProgressEvent":{"OperationStatus":"FAILED","ErrorCode":"InvalidRequest","StatusMessage":"it is protected"}}`, nil
		}
		w.tokens++
		token := fmt.Sprintf("t%d", w.tokens)
		w.pending[token] = key
		return progress("IN_PROGRESS", token), nil
	}
	return "", refuse("UnsupportedActionException", "%s", c.action)
}
