//go:build integration

package awslambda

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/mototest"
)

// motoZone makes a private zone with records of others in it.
func motoZone(t *testing.T, at string) (*sdk.Client, string) {
	t.Helper()
	client := sdk.New(sdk.Options{
		Region: west2, BaseEndpoint: &at, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""), Retryer: aws.NopRetryer{},
	})
	out, err := client.CreateHostedZone(t.Context(), &sdk.CreateHostedZoneInput{
		Name: aws.String("session.internal."), CallerReference: aws.String(t.Name()),
		HostedZoneConfig: &types.HostedZoneConfig{PrivateZone: true, Comment: aws.String("roam")},
		VPC:              &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: types.VPCRegionUsWest2},
	})
	if err != nil {
		t.Fatal(err)
	}
	zone := strings.TrimPrefix(*out.HostedZone.Id, "/hostedzone/")
	var changes []types.Change
	for _, n := range []string{"read", "a.write", "writer"} {
		changes = append(changes, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{
			Name: aws.String(n + ".session.internal."), Type: types.RRTypeCname, TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String("else.example")}},
		}})
	}
	if _, err := client.ChangeResourceRecordSets(t.Context(), &sdk.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &types.ChangeBatch{Changes: changes}}); err != nil {
		t.Fatal(err)
	}
	return client, zone
}

// motoPublishers return publishers of a simple record, and of a pair.
func motoPublishers(t *testing.T, client *sdk.Client, zone string) (simple, pair *route53.Publisher) {
	t.Helper()
	check, err := client.CreateHealthCheck(t.Context(), &sdk.CreateHealthCheckInput{
		CallerReference: aws.String("1"), HealthCheckConfig: &types.HealthCheckConfig{Type: types.HealthCheckTypeTcp, IPAddress: aws.String("192.0.2.1"), Port: aws.Int32(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	quick := route53.Config{BackoffMin: 10 * time.Millisecond, Poll: 10 * time.Millisecond, Tries: 2}
	if simple, err = route53.New(client, zone, name, quick); err != nil {
		t.Fatal(err)
	}
	quick.Pair = [2]route53.Member{
		{Set: west1, Target: endpointOf(west1), Health: *check.HealthCheck.Id}, {Set: west2, Target: endpointOf(west2), Health: *check.HealthCheck.Id},
	}
	if pair, err = route53.New(client, zone, name, quick); err != nil {
		t.Fatal(err)
	}
	return simple, pair
}

// others counts the records of others that are as they were.
func others(t *testing.T, client *sdk.Client, zone string) (n int) {
	t.Helper()
	out, err := client.ListResourceRecordSets(t.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &zone})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.ResourceRecordSets {
		if r.Type == types.RRTypeCname && *r.TTL == 60 && *r.ResourceRecords[0].Value == "else.example" {
			n++
		}
	}
	return n
}

// The publisher against another's idea of Route 53: made, moved, to failover records and back,
// and never anything of another name.
func TestSettleOnMoto(t *testing.T) {
	client, zone := motoZone(t, mototest.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	simple, pair := motoPublishers(t, client, zone)
	for i, step := range []struct {
		p       *route53.Publisher
		to      string
		changed bool
		records int
	}{
		{simple, west1, true, 1},
		{simple, west1, false, 1},
		{simple, west2, true, 1},
		{pair, west2, true, 2},
		{pair, west2, false, 2},
		{pair, west1, true, 2},
		{simple, west1, true, 1},
	} {
		o, err := step.p.Settle(ctx, endpointOf(step.to), nil)
		is, lookErr := step.p.Look(ctx)
		first := slices.IndexFunc(is, func(r route53.Record) bool { return r.Role != route53.Secondary && r.Target == endpointOf(step.to) })
		if err != nil || lookErr != nil || o.Changed != step.changed || len(is) != step.records || first < 0 {
			t.Fatalf("step %d: Settle = %+v, %v; there is %+v, %v", i, o, err, is, lookErr)
		}
	}
	if n := others(t, client, zone); n != 3 {
		t.Errorf("%d records of others are as they were", n)
	}
}

// And with marks: what is older does not replace what is newer, whoever tries.
func TestPublishOnMoto(t *testing.T) {
	client, zone := motoZone(t, mototest.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	one, _ := motoPublishers(t, client, zone)
	other, _ := motoPublishers(t, client, zone)
	for i, step := range []struct {
		p     *route53.Publisher
		epoch uint64
		to    string
		err   error
	}{
		{one, 7, west2, nil},
		{other, 7, west2, nil},
		{other, 6, west1, dns.ErrStale},
		{other, 7, west1, dns.ErrStale},
		{other, 8, west1, nil},
		{one, 7, west2, dns.ErrStale},
		{one, 9, west2, nil},
	} {
		if err := step.p.Publish(ctx, dns.Publication{Epoch: step.epoch, Target: endpointOf(step.to)}); !errors.Is(err, step.err) {
			t.Fatalf("step %d: Publish = %v, want %v", i, err, step.err)
		}
	}
	if _, err := one.Settle(ctx, endpointOf(west1), nil); !errors.Is(err, dns.ErrOccupied) {
		t.Errorf("Settle of a marked name = %v", err)
	}
	if n := others(t, client, zone); n != 3 {
		t.Errorf("%d records of others are as they were", n)
	}
}

// An event by way of another's SNS, a function, and the record at another's Route 53.
func TestReconcileOnMoto(t *testing.T) {
	at := mototest.Start(t)
	client, zone := motoZone(t, at)
	bodies := make(chan []byte, 1)
	inbox := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var note struct{ Type string }
		if body, err := io.ReadAll(r.Body); err == nil && json.Unmarshal(body, &note) == nil && note.Type == "Notification" {
			bodies <- body
		}
	}))
	defer inbox.Close()
	topic := sns(t, at, "CreateTopic", "Name", "roam")
	sns(t, at, "Subscribe", "TopicArn", topic, "Protocol", "http", "Endpoint", inbox.URL)
	sns(t, at, "Publish", "TopicArn", topic, "Message", `{"ElastiCache:ReplicationGroupPromotedAsPrimary":"session-usw2"}`)
	var body []byte
	select {
	case body = <-bodies:
	case <-time.After(20 * time.Second):
		t.Fatal("no notification came")
	}
	event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"EventSource": "aws:sns", "Sns": json.RawMessage(body)}}})
	if err != nil {
		t.Fatal(err)
	}

	w := newWorld(west2, "")
	c := setup(west2, DriveRecord)
	c.Zone = zone
	f, out := function(t, w, c)
	p, err := route53.New(client, zone, name, route53.Config{Poll: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	f.(*Reconciler).drivers = []driver{&record{publisher: p}}
	if err := f.Handle(t.Context(), event); err != nil {
		t.Fatalf("Handle = %v, %s", err, out)
	}
	fields := reported(t, out)
	if is, err := p.Look(t.Context()); err != nil || len(is) != 1 || is[0].Target != endpointOf(west2) || fields["DnsUpdated"] != 1.0 {
		t.Errorf("there is %+v, %v, %v", is, err, fields)
	}
}

// sns asks moto's SNS something and returns the ARN that it answers.
func sns(t *testing.T, at, action string, pairs ...string) string {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-03-31"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=key/20260601/us-west-2/sns/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", action, res.Status, err, raw)
	}
	var answer struct {
		Topic string `xml:"CreateTopicResult>TopicArn"`
	}
	if err := xml.Unmarshal(raw, &answer); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", action, err))
	}
	return answer.Topic
}
