package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/admin"
)

// A zoneOf is a zone of the fakes', and a file that has a name in it.
type zoneOf struct {
	*testing.T
	cloud  *fakeaws.Cloud
	client *sdk.Client
	id     string
	checks []string
	dir    string
}

const writeName = "write.session.internal"

func newZoneOf(t *testing.T) *zoneOf {
	t.Helper()
	c, err := fakeaws.Start(t.Context(), fakeaws.Config{Propagation: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	key, secret := c.Credentials()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	z := &zoneOf{T: t, cloud: c, dir: t.TempDir()}
	z.client = sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(c.URL(fakeaws.Route53, "us-east-1")), Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
	made, err := z.client.CreateHostedZone(t.Context(), &sdk.CreateHostedZoneInput{
		Name: aws.String("session.internal"), CallerReference: aws.String("test"),
		VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: types.VPCRegionUsWest2},
	})
	if err != nil {
		t.Fatal(err)
	}
	z.id = strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/")
	for i := range 2 {
		check, err := z.client.CreateHealthCheck(t.Context(), &sdk.CreateHealthCheckInput{
			CallerReference:   aws.String(fmt.Sprint(i)),
			HealthCheckConfig: &types.HealthCheckConfig{Type: types.HealthCheckTypeTcp, IPAddress: aws.String("192.0.2.1"), Port: aws.Int32(1)},
		})
		if err != nil {
			t.Fatal(err)
		}
		z.checks = append(z.checks, *check.HealthCheck.Id)
	}
	return z
}

// put makes a record of the name by hand.
func (z *zoneOf) put(set types.ResourceRecordSet) {
	z.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := z.client.ChangeResourceRecordSets(z.Context(), &sdk.ChangeResourceRecordSetsInput{
			HostedZoneId: &z.id, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: types.ChangeActionUpsert, ResourceRecordSet: &set}}},
		})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			z.Fatal(err)
		}
	}
}

func cname(target string) types.ResourceRecordSet {
	return types.ResourceRecordSet{
		Name: aws.String(writeName), Type: types.RRTypeCname, TTL: aws.Int64(10), ResourceRecords: []types.ResourceRecord{{Value: &target}},
	}
}

// file writes roam.yaml with a variant of the name.
func (z *zoneOf) file(variant string) string {
	z.Helper()
	pair := ""
	if variant == "failover" {
		pair = fmt.Sprintf(", pair: [{region: west, health_check: %s}, {region: east, health_check: %s}]", z.checks[0], z.checks[1])
	}
	text := fmt.Sprintf(`version: 1
name: shop
topology: active-passive
primary: west
regions:
  - {name: west, id: 1, engine: {valkey: {addrs: ["127.0.0.1:6379"]}}, endpoint: {target: w.session.internal}, node: {http: "127.0.0.1:1", control: "127.0.0.1:3", api: "127.0.0.1:4"}}
  - {name: east, id: 2, engine: {valkey: {addrs: ["127.0.0.1:6380"]}}, endpoint: {target: e.session.internal}, node: {http: "127.0.0.1:2", control: "127.0.0.1:5", api: "127.0.0.1:6"}}
control:
  witnesses: [{name: eyes, id: 16, control: "127.0.0.1:7", api: "127.0.0.1:8"}]
  dns:
    publish:
      - {kind: route53, zone_id: %s, name: %s, endpoint: %q, variant: %s%s}
`, z.id, writeName, z.cloud.URL(fakeaws.Route53, "us-east-1"), variant, pair)
	path := filepath.Join(z.dir, variant+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		z.Fatal(err)
	}
	return path
}

// roam runs a command.
func (z *zoneOf) roam(args ...string) (code int, out, talk string) {
	var o, e bytes.Buffer
	code = Run(context.WithoutCancel(z.Context()), append([]string{"aws", "records", "migrate"}, args...), &o, &e)
	return code, o.String(), e.String()
}

// records lists the name's as Route 53 has them.
func (z *zoneOf) records() string {
	z.Helper()
	out, err := z.client.ListResourceRecordSets(z.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &z.id, StartRecordName: aws.String(writeName)})
	if err != nil {
		z.Fatal(err)
	}
	var lines []string
	for _, r := range out.ResourceRecordSets {
		if strings.HasPrefix(*r.Name, writeName) {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", *r.ResourceRecords[0].Value, r.Failover, aws.ToString(r.HealthCheckId))))
		}
	}
	return strings.Join(lines, "\n")
}

// A live name passes from a simple record to failover records and back; what is shown first is
// what is done, and --dry-run does nothing.
func TestMigrateRecords(t *testing.T) {
	z := newZoneOf(t)
	z.put(cname("e.session.internal"))
	failover, record := z.file("failover"), z.file("record")
	z.dry(failover)
	code, out, talk := z.roam("--config", failover, "--to", "failover")
	if want := "e.session.internal PRIMARY " + z.checks[1] + "\nw.session.internal SECONDARY " + z.checks[0]; code != exitOK || z.records() != want ||
		!strings.Contains(out, "sent: change") || !strings.Contains(out, "done: in sync") {
		t.Fatalf("it ended with %d, %s\n%s; there is\n%s\nwant\n%s", code, out, talk, z.records(), want)
	}
	code, out, talk = z.roam("--config", failover, "--to", "failover", "--primary", "east")
	if code != exitOK || !strings.Contains(out, "has that form already") {
		t.Errorf("again it ended with %d: %s%s", code, out, talk)
	}
	code, _, talk = z.roam("--config", record, "--to", "record")
	if code != exitFailed || !strings.Contains(talk, "say which Region is the primary") {
		t.Errorf("without --primary it ended with %d: %s", code, talk)
	}
	code, out, talk = z.roam("--config", record, "--to", "record", "--primary", "east", "--json")
	if code != exitOK || z.records() != "e.session.internal" {
		t.Fatalf("back: it ended with %d, %s; there is\n%s", code, talk, z.records())
	}
	z.told(out)
}

// dry has the batch be shown, and wants that nothing is changed.
func (z *zoneOf) dry(failover string) {
	z.Helper()
	code, out, talk := z.roam("--config", failover, "--to", "failover", "--dry-run")
	for _, want := range []string{"DELETE", "CREATE  east", "PRIMARY", "SECONDARY", z.checks[1], "nobody's mark"} {
		if !strings.Contains(out, want) {
			z.Errorf("the dry run lacks %q:\n%s", want, out)
		}
	}
	if code != exitOK || z.records() != "e.session.internal" {
		z.Fatalf("the dry run ended with %d, %s; there is\n%s", code, talk, z.records())
	}
}

// told wants the lines of a migration in JSON.
func (z *zoneOf) told(out string) {
	z.Helper()
	var steps []string
	for line := range strings.Lines(out) {
		var l migrateLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			z.Fatalf("%q: %v", line, err)
		}
		if l.Step != "waiting" {
			steps = append(steps, l.Step)
		}
		if l.Step == "planned" && (len(l.Changes) != 3 || l.Target != "e.session.internal" || l.Name != writeName) {
			z.Errorf("the plan is %+v", l)
		}
	}
	if strings.Join(steps, " ") != "planned sent done" {
		z.Errorf("the steps are %q", steps)
	}
}

// Where nodes keep the name, its mark says which Region is the primary, and stays; and if they
// go by another form nothing is done, for they would put it back.
func TestMigrateWhatNodesKeep(t *testing.T) {
	z := newZoneOf(t)
	mark := "roam1 7 e.session.internal."
	text := `"` + strings.ReplaceAll(mark, " ", `" "`) + `"`
	z.put(cname("e.session.internal"))
	z.put(types.ResourceRecordSet{
		Name: aws.String("_roam." + writeName), Type: types.RRTypeTxt, TTL: aws.Int64(10), ResourceRecords: []types.ResourceRecord{{Value: &text}},
	})
	failover, record := z.file("failover"), z.file("record")
	agreed, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	member := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("ETag", `"3"`)
		_, _ = w.Write(agreed)
	})}
	go func() { _ = member.Serve(l) }()
	t.Cleanup(func() { _ = member.Close() })
	z.api(failover, l.Addr().String())
	code, _, talk := z.roam("--config", failover, "--to", "failover")
	if code != exitFailed || !strings.Contains(talk, "version 3 of the file, which says variant: record") || z.records() != "e.session.internal" {
		t.Fatalf("while nodes go by another form it ended with %d: %s; there is\n%s", code, talk, z.records())
	}
	if agreed, err = os.ReadFile(failover); err != nil {
		t.Fatal(err)
	}
	code, out, talk := z.roam("--config", failover, "--to", "failover")
	if want := "e.session.internal PRIMARY " + z.checks[1] + "\nw.session.internal SECONDARY " + z.checks[0]; code != exitOK || z.records() != want || !strings.Contains(out, "in epoch 7") {
		t.Errorf("it ended with %d, %s%s; there is\n%s\nwant\n%s", code, out, talk, z.records(), want)
	}
	_ = member.Close()
	code, _, talk = z.roam("--config", record, "--to", "record")
	if code != exitOK || !strings.Contains(talk, "was not asked") || z.records() != "e.session.internal" {
		t.Errorf("without members it ended with %d: %s; there is\n%s", code, talk, z.records())
	}
}

// api has all members of a file be asked at one address.
func (z *zoneOf) api(path, addr string) {
	z.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		z.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `api: "127.0.0.1:4"`, fmt.Sprintf("api: %q", addr), 1)), 0o600); err != nil {
		z.Fatal(err)
	}
}

func TestMigrateRefuses(t *testing.T) {
	z := newZoneOf(t)
	z.put(cname("elsewhere.session.internal"))
	failover := z.file("failover")
	for _, c := range []struct {
		args []string
		code int
		talk string
	}{
		{[]string{"--config", failover, "--to", "failover"}, exitFailed, "where no Region is"},
		{[]string{"--config", failover, "--to", "record"}, exitUsage, "write variant: record first"},
		{[]string{"--config", failover}, exitUsage, "--to"},
		{[]string{"--config", failover, "--to", "failover", "--name", "read.session.internal"}, exitUsage, "no such name"},
		{[]string{"--config", failover, "--to", "failover", "--primary", "north"}, exitUsage, "no such Region"},
	} {
		code, _, talk := z.roam(c.args...)
		if code != c.code || !strings.Contains(talk, c.talk) {
			t.Errorf("%q ended with %d: %s; want %d and %q", c.args, code, talk, c.code, c.talk)
		}
	}
	if got := z.records(); got != "elsewhere.session.internal" {
		t.Errorf("somebody else's name is changed: %s", got)
	}
}

// A status shows how what is kept outside of Roam fares, and what somebody does about it.
func TestStatusShowsNames(t *testing.T) {
	now := time.Now()
	s := admin.Status{Deployment: "shop", Self: "west", At: now, Names: []admin.Name{
		{Region: "west", Kind: "route53", Name: "write.x at Route 53", State: "published", Epoch: 7, Target: "w.example.", Since: now.Add(-time.Minute)},
		{Region: "west", Kind: "arc", Name: "routing controls", State: "refused", Epoch: 7, Target: "west", Why: "a safety rule", Next: "look at it"},
		{Region: "east", Kind: "arc", Name: "routing controls", State: "idle"},
	}}
	var text bytes.Buffer
	if err := printStatus(&text, s, false, false); err != nil {
		t.Fatal(err)
	}
	rows := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{"NAME BY STATE EPOCH SINCE LEADS TO", "write.x at Route 53 west published 7 1 min ago w.example", "routing controls is refused in west: a safety rule → look at it"} {
		if !strings.Contains(rows, want) {
			t.Errorf("the status lacks %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(rows, "east") {
		t.Errorf("the status tells of what is not kept:\n%s", text.String())
	}
}
