package route53

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// A role that may change one record changes no other one.
func TestPolicyOfOneRecord(t *testing.T) {
	w := begin(t, false)
	p, err := iam.Decode([]byte(`{"Statement":{"Effect":"Allow","Action":"route53:ChangeResourceRecordSets","Resource":"arn:aws:route53:::hostedzone/` + w.zone + `",
	 "Condition":{"ForAllValues:StringEquals":{"route53:ChangeResourceRecordSetsNormalizedRecordNames":["write.session.internal"],
	 "route53:ChangeResourceRecordSetsRecordTypes":["CNAME"],"route53:ChangeResourceRecordSetsActions":["UPSERT"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	w.keeper.Admit("AKID", door.Caller{ARN: "arn:aws:iam::123456789012:role/dns", Secret: "secret", Policy: &p})
	w.must(t, act("UPSERT", cname("WRITE.session.internal", usw1)))
	for what, changes := range map[string][]types.Change{
		"another name":     {act("UPSERT", cname("read.session.internal", usw1))},
		"one of two names": {act("UPSERT", cname(write, usw1)), act("UPSERT", cname("read.session.internal", usw1))},
		"another action":   {act("DELETE", cname(write, usw1))},
	} {
		if _, err := w.change(t, changes...); code(err) != "AccessDenied" {
			t.Errorf("%s: %v, want AccessDenied", what, err)
		}
	}
	if _, err := w.ListHostedZones(t.Context(), &route53.ListHostedZonesInput{}); code(err) != "AccessDenied" {
		t.Errorf("another call: %v, want AccessDenied", err)
	}
}

func TestThrottles(t *testing.T) {
	w := begin(t, true)
	w.must(t, act("UPSERT", cname(write, usw1)))
	w.clock.Advance(time.Minute)
	var ok int
	var err error
	for range 60 {
		_, e := w.ListHostedZones(t.Context(), &route53.ListHostedZonesInput{})
		if e == nil {
			ok++
		} else {
			err = e
		}
	}
	if ok != 50 || code(err) != "Throttling" || !strings.Contains(err.Error(), "Rate exceeded") {
		t.Errorf("%d of 60 at once, then %v, want 50 and Throttling", ok, err)
	}
}

func TestZones(t *testing.T) {
	w := begin(t, false)
	ctx := t.Context()
	got, err := w.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: &w.zone})
	if err != nil || *got.HostedZone.Name != "session.internal." || !got.HostedZone.Config.PrivateZone || len(got.VPCs) != 1 || *got.HostedZone.ResourceRecordSetCount != 2 {
		t.Errorf("the zone is %+v, %v", got, err)
	}
	associate := func(id string) error {
		_, err := w.AssociateVPCWithHostedZone(ctx, &route53.AssociateVPCWithHostedZoneInput{HostedZoneId: &w.zone, VPC: &types.VPC{VPCId: &id, VPCRegion: types.VPCRegionUsWest2}})
		return err
	}
	if err := associate("vpc-2"); err != nil {
		t.Error(err)
	}
	if err := associate("vpc-2"); code(err) != "ConflictingDomainExists" {
		t.Errorf("associated again: %v", err)
	}
	if err := associate("2"); code(err) != "InvalidVPCId" {
		t.Errorf("no VPC: %v", err)
	}
}

func TestZonesAreListed(t *testing.T) {
	w := begin(t, false)
	ctx := t.Context()
	_, err := w.CreateHostedZone(ctx, &route53.CreateHostedZoneInput{Name: aws.String("a.example"), CallerReference: aws.String("1")})
	if code(err) != "HostedZoneAlreadyExists" {
		t.Errorf("a reference again: %v", err)
	}
	if _, err := w.CreateHostedZone(ctx, &route53.CreateHostedZoneInput{Name: aws.String("a.example"), CallerReference: aws.String("2")}); err != nil {
		t.Fatal(err)
	}
	list, err := w.ListHostedZones(ctx, &route53.ListHostedZonesInput{MaxItems: aws.Int32(1)})
	if err != nil || !list.IsTruncated || *list.HostedZones[0].Name != "a.example." {
		t.Errorf("one of two: %+v, %v", list, err)
	}
	list, err = w.ListHostedZones(ctx, &route53.ListHostedZonesInput{Marker: list.NextMarker})
	if err != nil || len(list.HostedZones) != 1 || *list.HostedZones[0].Name != "session.internal." {
		t.Errorf("the rest: %+v, %v", list, err)
	}
}

func TestZonesGoEmpty(t *testing.T) {
	w := begin(t, false)
	ctx := t.Context()
	w.must(t, act("UPSERT", cname("*.session.internal", usw1)))
	records, err := w.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: &w.zone})
	if err != nil || len(records.ResourceRecordSets) != 3 || *records.ResourceRecordSets[2].Name != `\052.session.internal.` {
		t.Errorf("records: %+v, %v", records, err)
	}
	if _, err := w.DeleteHostedZone(ctx, &route53.DeleteHostedZoneInput{Id: &w.zone}); code(err) != "HostedZoneNotEmpty" {
		t.Errorf("deleted with a record: %v", err)
	}
	w.must(t, act("DELETE", cname("*.session.internal", usw1)))
	if _, err := w.DeleteHostedZone(ctx, &route53.DeleteHostedZoneInput{Id: &w.zone}); err != nil {
		t.Error(err)
	}
	if _, err := w.change(t, act("UPSERT", cname(write, usw1))); code(err) != "NoSuchHostedZone" {
		t.Errorf("a zone that is gone: %v", err)
	}
}

// In the form of the API's reference a refused batch has a list of messages.
func TestOldBatchErrors(t *testing.T) {
	w := begin(t, false)
	w.config.OldBatchErrors = true
	_, err := w.change(t, act("DELETE", cname(write, usw1)), act("CREATE", cname("session.internal", usw1)), act("DELETE", cname("x.session.internal", usw1)))
	e, ok := errors.AsType[*types.InvalidChangeBatch](err)
	if !ok || len(e.Messages) != 2 || !strings.Contains(e.Messages[1], "x.session.internal.") {
		t.Errorf("%v, want two messages", err)
	}
}
