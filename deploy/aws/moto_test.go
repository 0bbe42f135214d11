//go:build integration

package aws

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/mototest"
)

// moto is a fake of AWS that others wrote: an independent opinion of what templates mean.
type moto struct {
	t   *testing.T
	url string
}

// put makes a bucket with objects.
func (m *moto) put(region, bucket string, keys []string) {
	m.t.Helper()
	for _, key := range append([]string{""}, keys...) {
		path, body := strings.TrimSuffix(bucket+"/"+key, "/"), ""
		if key == "" && region != "us-east-1" {
			body = "<CreateBucketConfiguration><LocationConstraint>" + region + "</LocationConstraint></CreateBucketConfiguration>"
		}
		r, err := http.NewRequestWithContext(m.t.Context(), http.MethodPut, m.url+"/"+path, strings.NewReader(body))
		if err != nil {
			m.t.Fatal(err)
		}
		sign(r, "s3", region)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			m.t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			m.t.Fatalf("put %s: %d", path, answer.StatusCode)
		}
	}
}

// sign says which service is meant; moto believes whoever asks.
func sign(r *http.Request, service, region string) {
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/"+region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
}

// call asks a service by the query protocol.
func (m *moto) call(service, region string, form url.Values, out any) error {
	r, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url+"/", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sign(r, service, region)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", form.Get("Action"), answer.StatusCode, raw)
	}
	return xml.Unmarshal(raw, out)
}

// untaken are templates that moto does not take, with what it lacks. All others it must.
func untaken() map[string]string {
	return map[string]string{
		"cache-primary.yaml":   "replication groups",
		"cache-secondary.yaml": "replication groups",
		"side.yaml":            "replication groups",
		"arc.yaml":             "ARC",
		"edge.yaml":            "Global Accelerator",
		"dsql.yaml":            "DSQL",
		"peering.yaml":         "peerings with another Region",
		"routes.yaml":          "peerings with another Region",
		"transit-peering.yaml": "peerings of Transit Gateways",
		"dynamodb.yaml":        "Global Tables",
	}
}

// made are outputs that stacks would have that moto does not make.
func made(f awsplan.Feed) string {
	switch f.Output {
	case "Group":
		return "sessions-" + f.Region
	case "Global":
		return "virxk-sessions"
	case "Endpoint":
		return "master.sessions-" + f.Region + ".abc123.usw2.cache.amazonaws.com"
	case "Endpoints":
		return "us-east-1=https://a.example/v1,us-west-2=https://b.example/v1"
	}
	return "arn:aws:" + strings.ToLower(f.Output) + ":" + f.Region + ":123456789012:made"
}

var subnet = regexp.MustCompile(`!Select \[(\d), !Cidr \[!Ref Cidr, 6, 8\]\]`)

// writtenOut returns a template without what moto does not know: Fn::Cidr, and which zones a Region has.
func writtenOut(body []byte, region, cidr string) string {
	head := strings.Join(strings.Split(cidr+"..", ".")[:2], ".")
	text := subnet.ReplaceAllString(string(body), head+".$1.0/24")
	return strings.ReplaceAll(text, `!GetAZs ""`, "!GetAZs "+region)
}

// stack makes one, and returns what it puts out.
func (m *moto) stack(s awsplan.Step, parameters map[string]string) (map[string]string, error) {
	body, err := Files.ReadFile(s.Template)
	if err != nil {
		return nil, err
	}
	form := url.Values{"Action": {"CreateStack"}, "Version": {"2010-05-15"}, "StackName": {s.Stack}, "TemplateBody": {writtenOut(body, s.Region, parameters["Cidr"])}}
	for i, c := range s.Capabilities {
		form.Set("Capabilities.member."+strconv.Itoa(i+1), c)
	}
	for i, k := range slices.Sorted(maps.Keys(parameters)) {
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterKey", i+1), k)
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterValue", i+1), parameters[k])
	}
	if err := m.call("cloudformation", s.Region, form, &struct{}{}); err != nil {
		return nil, err
	}
	var out struct {
		Stacks []struct {
			StackStatus string
			Reason      string `xml:"StackStatusReason"`
			Outputs     []struct {
				Key   string `xml:"OutputKey"`
				Value string `xml:"OutputValue"`
			} `xml:"Outputs>member"`
		} `xml:"DescribeStacksResult>Stacks>member"`
	}
	if err := m.call("cloudformation", s.Region, url.Values{"Action": {"DescribeStacks"}, "Version": {"2010-05-15"}, "StackName": {s.Stack}}, &out); err != nil {
		return nil, err
	}
	if len(out.Stacks) != 1 || out.Stacks[0].StackStatus != "CREATE_COMPLETE" {
		return nil, fmt.Errorf("the stack is %+v", out.Stacks)
	}
	outputs := map[string]string{}
	for _, o := range out.Stacks[0].Outputs {
		outputs[o.Key] = strings.ReplaceAll(o.Value, ",None", "") // what a condition took out of a list
	}
	return outputs, nil
}

// moto makes all stacks of plans, in their order and fed with what came before, but those that it can't.
func TestStacksOnMoto(t *testing.T) {
	m := &moto{t: t, url: mototest.Start(t)}
	taken := map[string]bool{}
	for i, settings := range samples() {
		settings.Name = "sessions" + strconv.Itoa(i) // moto is one account
		for region, keys := range awsplan.Artifacts(settings) {
			settings.Artifacts[region] = settings.Name + "-" + region
			m.put(region, settings.Artifacts[region], keys)
		}
		plan, err := awsplan.New(settings)
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[[2]string]map[string]string{}
		for _, s := range plan.Steps {
			if s.Do != awsplan.DoStack || untaken()[s.Template] != "" || outputs[[2]string{s.Stack, s.Region}] != nil {
				continue
			}
			parameters := maps.Clone(s.Parameters)
			for _, f := range s.Feeds {
				value, ok := outputs[[2]string{f.Stack, f.Region}][f.Output]
				if !ok {
					value = made(f)
				}
				parameters[f.Parameter] = value
			}
			got, err := m.stack(s, parameters)
			if err != nil {
				t.Errorf("%s in %s (%s): %v", s.Stack, s.Region, s.Template, err)
				continue
			}
			outputs[[2]string{s.Stack, s.Region}] = got
			taken[s.Template] = true
		}
	}
	for name := range templates(t) {
		if !taken[name] && untaken()[name] == "" {
			t.Errorf("moto was not asked about %s", name)
		}
	}
}
