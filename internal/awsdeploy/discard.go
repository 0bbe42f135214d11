package awsdeploy

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53 "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/internal/pause"
)

// discard takes the protection of a resource of any type away, deletes it, and waits until it is gone.
func (d *Deployer) discard(ctx context.Context, region, kind, id string) (string, error) {
	var is *resource
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		is, err = d.cloud.get(ctx, region, kind, id)
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("look at %s %s in %s: %w", kind, id, region, err)
	case is == nil:
		return "nothing is there", nil
	}
	if patch := unprotect(is.properties); patch != "" {
		err := d.carried(ctx, region, "UpdateResource", map[string]string{"TypeName": kind, "Identifier": id, "PatchDocument": patch})
		if err != nil {
			return "", fmt.Errorf("take the protection of %s %s in %s away: %w", kind, id, region, err)
		}
	}
	if err := d.carried(ctx, region, "DeleteResource", map[string]string{"TypeName": kind, "Identifier": id}); err != nil {
		return "", fmt.Errorf("delete %s %s in %s: %w", kind, id, region, err)
	}
	return "deleted", nil
}

// unprotect returns the patch that takes the protection of a resource, and of its replicas, away; empty: it has none.
func unprotect(properties map[string]any) string {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value bool   `json:"value"`
	}
	const key = "DeletionProtectionEnabled"
	var patch []operation
	add := func(of map[string]any, path string) {
		if on, _ := of[key].(bool); on {
			patch = append(patch, operation{"replace", path + "/" + key, false})
		}
	}
	add(properties, "")
	replicas, _ := properties["Replicas"].([]any)
	for i, r := range replicas {
		if r, ok := r.(map[string]any); ok {
			add(r, fmt.Sprintf("/Replicas/%d", i))
		}
	}
	if len(patch) == 0 {
		return ""
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return ""
	}
	return string(raw)
}

// carried has Cloud Control carry something out, and waits until it has. That a resource is gone already is no error.
func (d *Deployer) carried(ctx context.Context, region, action string, in map[string]string) error {
	var is operation
	ask := func(action string, in map[string]string) error {
		return d.cloud.again(ctx, func(ctx context.Context) (err error) {
			is, err = d.cloud.operate(ctx, region, action, in)
			return err
		})
	}
	if err := ask(action, in); err != nil {
		if coded(err, "ResourceNotFoundException") {
			return nil
		}
		return err
	}
	token := is.RequestToken
	return d.until(ctx, action, func() (bool, error) {
		switch is.OperationStatus {
		case "SUCCESS":
			return true, nil
		case "FAILED", "CANCEL_COMPLETE":
			if is.ErrorCode == "NotFound" {
				return true, nil
			}
			return false, fmt.Errorf("%s: %s", is.ErrorCode, is.StatusMessage)
		}
		return false, ask("GetResourceRequestStatus", map[string]string{"RequestToken": token})
	})
}

// zonePages bounds how many pages of a zone's records are read, of a hundred each.
const zonePages = 100

// emptyZone deletes all records of a zone but those that it must have. Route 53 takes one change of a zone at a time.
func (d *Deployer) emptyZone(ctx context.Context, zone string) (string, error) {
	region := "us-east-1" // where Route 53 is
	client := route53.NewFromConfig(d.cloud.Config, func(o *route53.Options) { o.Region, o.Retryer = region, aws.NopRetryer{} })
	gone := 0
	for range zonePages {
		var out *route53.ListResourceRecordSetsOutput
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			out, err = client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone, MaxItems: aws.Int32(100)})
			return err
		})
		if coded(err, "NoSuchHostedZone") {
			return "nothing is there", nil
		}
		if err != nil {
			return "", fmt.Errorf("list the records of zone %s: %w", zone, err)
		}
		var changes []r53.Change
		for i := range out.ResourceRecordSets {
			r := &out.ResourceRecordSets[i]
			if r.Type != r53.RRTypeSoa && r.Type != r53.RRTypeNs {
				changes = append(changes, r53.Change{Action: r53.ChangeActionDelete, ResourceRecordSet: r})
			}
		}
		if len(changes) == 0 {
			return fmt.Sprintf("%d records deleted", gone), nil
		}
		err = d.cloud.again(ctx, func(ctx context.Context) error {
			_, err := client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &r53.ChangeBatch{Changes: changes}})
			return err
		})
		if err != nil && !coded(err, "InvalidChangeBatch") { // that they were gone already, or are others by now: looked at again
			return "", fmt.Errorf("delete the records of zone %s: %w", zone, err)
		}
		gone += len(changes)
		if !pause.About(ctx, d.c.Poll) {
			return "", ctx.Err()
		}
	}
	return "", fmt.Errorf("zone %s is not empty after %d batches: somebody else writes to it", zone, zonePages)
}
