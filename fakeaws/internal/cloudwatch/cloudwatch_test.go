package cloudwatch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topicARN    = "arn:aws:sns:us-west-2:123456789012:t"
	functionARN = "arn:aws:lambda:us-west-2:123456789012:function:f"
)

// A world is a fake, clients that speak CBOR and JSON, and what alarms did.
type world struct {
	*Fake
	*cloudwatch.Client
	json  *cloudwatch.Client
	url   string
	clock *clock.Manual
	said  []string
}

func begin(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC))}
	w.Fake = New(t.Context(), Config{
		Clock: w.clock, Account: "123456789012", Regions: []string{"us-west-2"},
		Publish: func(_, topic, subject, text string) error {
			w.said = append(w.said, topic+" "+subject+" "+text)
			return nil
		},
		Invoke: func(function string, payload []byte) error {
			w.said = append(w.said, function+" "+string(payload))
			return nil
		},
		Bury: func(string, string, string, string) { t.Error("buried") },
	})
	keeper := door.NewKeeper(w.clock, "123456789012")
	keeper.Admit("AKID", door.Caller{Secret: "secret"})
	server := httptest.NewServer(keeper.Door(w.Service(), "us-west-2"))
	w.url = server.URL
	transport := &http.Transport{}
	options := cloudwatch.Options{
		Region: "us-west-2", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
	}
	w.Client = cloudwatch.New(options)
	w.json = cloudwatch.New(options, func(o *cloudwatch.Options) { o.Protocol = awsjson.New10(schemas.GraniteServiceVersion20100801) })
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.Close()
	})
	return w
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func (w *world) put(t *testing.T, c *cloudwatch.Client, value float64) {
	t.Helper()
	_, err := c.PutMetricData(t.Context(), &cloudwatch.PutMetricDataInput{Namespace: aws.String("SessionStore"), MetricData: []types.MetricDatum{{
		MetricName: aws.String("WriteErrors"), Value: &value, Unit: types.StandardUnitCount, Timestamp: aws.Time(w.clock.Now()),
		Dimensions: []types.Dimension{{Name: aws.String("Region"), Value: aws.String("us-west-2")}, {Name: aws.String("Path"), Value: aws.String("cross")}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

func alarmInput(change func(in *cloudwatch.PutMetricAlarmInput)) *cloudwatch.PutMetricAlarmInput {
	in := &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("errors"), Namespace: aws.String("SessionStore"), MetricName: aws.String("WriteErrors"), Statistic: types.StatisticSum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(3), DatapointsToAlarm: aws.Int32(2), Threshold: aws.Float64(5),
		ComparisonOperator: types.ComparisonOperatorGreaterThanThreshold, AlarmActions: []string{topicARN, functionARN},
		Dimensions: []types.Dimension{{Name: aws.String("Path"), Value: aws.String("cross")}, {Name: aws.String("Region"), Value: aws.String("us-west-2")}},
	}
	if change != nil {
		change(in)
	}
	return in
}

// By both protocols the same metric is meant, whatever the order of its dimensions.
func TestStatistics(t *testing.T) {
	w := begin(t)
	w.put(t, w.Client, 4)
	w.put(t, w.json, 2)
	w.clock.Advance(time.Minute)
	for _, c := range []*cloudwatch.Client{w.Client, w.json} {
		out, err := c.GetMetricStatistics(t.Context(), &cloudwatch.GetMetricStatisticsInput{
			Namespace: aws.String("SessionStore"), MetricName: aws.String("WriteErrors"), Period: aws.Int32(60),
			StartTime: aws.Time(w.clock.Now().Add(-10 * time.Minute)), EndTime: aws.Time(w.clock.Now()),
			Statistics: []types.Statistic{types.StatisticSum, types.StatisticMaximum, types.StatisticMinimum, types.StatisticAverage, types.StatisticSampleCount},
			Dimensions: alarmInput(nil).Dimensions,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Datapoints) != 1 {
			t.Fatalf("%d datapoints, want 1", len(out.Datapoints))
		}
		p := out.Datapoints[0]
		if *p.Sum != 6 || *p.Maximum != 4 || *p.Minimum != 2 || *p.Average != 3 || *p.SampleCount != 2 || p.Unit != types.StandardUnitCount || !p.Timestamp.Equal(w.clock.Now().Add(-time.Minute)) {
			t.Errorf("the datapoint is %+v", p)
		}
	}
	list, err := w.ListMetrics(t.Context(), &cloudwatch.ListMetricsInput{Namespace: aws.String("SessionStore")})
	if err != nil || len(list.Metrics) != 1 || len(list.Metrics[0].Dimensions) != 2 {
		t.Errorf("listed %+v, %v", list, err)
	}
}

// Two of three minutes make an alarm, which tells a topic and a function.
func TestAlarm(t *testing.T) {
	w := begin(t)
	if _, err := w.PutMetricAlarm(t.Context(), alarmInput(nil)); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		out, err := w.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"errors"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(out.MetricAlarms[0].StateValue)
	}
	for i, c := range []struct {
		value float64 // of the minute that ends; below 0: none
		want  string
	}{{-1, Insufficient}, {1, OK}, {6, OK}, {-1, OK}, {6, Alarm}, {1, Alarm}, {5, OK}, {6, OK}, {7, Alarm}, {0, Alarm}, {0, OK}, {-1, OK}, {-1, OK}, {-1, OK}, {-1, OK}, {-1, Insufficient}} {
		if c.value >= 0 {
			w.put(t, w.Client, c.value)
		}
		w.clock.Advance(time.Minute)
		if got := state(); got != c.want {
			t.Errorf("minute %d, with %v: %s, want %s", i, c.value, got, c.want)
		}
	}
	if len(w.said) != 4 || !strings.HasPrefix(w.said[0], topicARN+` ALARM: "errors" in us-west-2 {`) || !strings.HasPrefix(w.said[1], functionARN+` {`) {
		t.Fatalf("it said %q, want a topic and a function, twice", w.said)
	}
	checkMessage(t, strings.TrimPrefix(w.said[0], topicARN+` ALARM: "errors" in us-west-2 `))
}

func checkMessage(t *testing.T, text string) {
	t.Helper()
	var m struct {
		AlarmName, NewStateValue, OldStateValue, AlarmArn string
		Trigger                                           struct {
			Statistic                         string
			Period, EvaluationPeriods         int
			Threshold                         float64
			Dimensions                        []struct{ Name, Value string }
			ComparisonOperator, StatisticType string
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if m.AlarmName != "errors" || m.NewStateValue != Alarm || m.OldStateValue != OK || m.Trigger.Statistic != "SUM" || m.Trigger.Period != 60 ||
		m.Trigger.Threshold != 5 || len(m.Trigger.Dimensions) != 2 || m.AlarmArn != "arn:aws:cloudwatch:us-west-2:123456789012:alarm:errors" {
		t.Errorf("the message is %+v", m)
	}
}

func TestMissingData(t *testing.T) {
	for treat, want := range map[string]string{"missing": Insufficient, "breaching": Alarm, "notBreaching": OK, "ignore": Insufficient} {
		w := begin(t)
		if _, err := w.PutMetricAlarm(t.Context(), alarmInput(func(in *cloudwatch.PutMetricAlarmInput) { in.TreatMissingData = &treat })); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
		out, err := w.json.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{})
		if err != nil || string(out.MetricAlarms[0].StateValue) != want {
			t.Errorf("%s: %s, %v, want %s", treat, out.MetricAlarms[0].StateValue, err, want)
		}
	}
}

// What AWS documents of alarms on three periods of which two or three must be breaching, by the
// five last ones: O is good, X is not, - is missing. A state that stays is the one there was.
func TestSomeDataAreMissing(t *testing.T) {
	const stays = "stays"
	treats := []string{"missing", "ignore", "breaching", "notBreaching"}
	for _, c := range []struct {
		data   string
		points int32
		want   [4]string // in the order of treats
	}{
		{"O-X-X", 3, [4]string{OK, OK, OK, OK}},
		{"O----", 3, [4]string{OK, OK, OK, OK}},
		{"-----", 3, [4]string{Insufficient, stays, Alarm, OK}},
		{"OXX-X", 3, [4]string{Alarm, Alarm, Alarm, Alarm}},
		{"--X--", 3, [4]string{Alarm, stays, Alarm, OK}},
		{"O-X-X", 2, [4]string{Alarm, Alarm, Alarm, Alarm}},
		{"OOXOX", 2, [4]string{Alarm, Alarm, Alarm, Alarm}},
		{"O-X--", 2, [4]string{OK, OK, Alarm, OK}},
		{"----O", 2, [4]string{OK, OK, Alarm, OK}},
		{"---X-", 2, [4]string{Alarm, stays, Alarm, OK}},
		{"----X", 3, [4]string{stays, stays, Alarm, OK}},
		{"---X-", 3, [4]string{stays, stays, Alarm, OK}},
		{"--XO-", 3, [4]string{OK, OK, OK, OK}},
	} {
		for i, treat := range treats {
			for _, was := range []types.StateValue{OK, Alarm} {
				w := begin(t)
				in := alarmInput(func(in *cloudwatch.PutMetricAlarmInput) {
					in.TreatMissingData, in.DatapointsToAlarm = &treat, &c.points
				})
				if _, err := w.PutMetricAlarm(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				for n, is := range c.data {
					if is != '-' {
						w.put(t, w.Client, map[rune]float64{'O': 0, 'X': 9}[is])
					}
					if n < len(c.data)-1 {
						w.clock.Advance(time.Minute)
					}
				}
				_, err := w.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: in.AlarmName, StateValue: was, StateReason: aws.String("it was")})
				if err != nil {
					t.Fatal(err)
				}
				w.clock.Advance(time.Minute)
				want := c.want[i]
				if want == stays {
					want = string(was)
				}
				if got := w.State("us-west-2", "errors"); got != want {
					t.Errorf("%s of which %d, %s, was %s: %s, want %s", c.data, c.points, treat, was, got, want)
				}
			}
		}
	}
}

// SetAlarmState acts at once, holds until the next look, and moves no health check.
func TestSetAlarmState(t *testing.T) {
	w := begin(t)
	if _, err := w.PutMetricAlarm(t.Context(), alarmInput(nil)); err != nil {
		t.Fatal(err)
	}
	w.put(t, w.Client, 1)
	w.clock.Advance(time.Minute)
	_, err := w.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("errors"), StateValue: types.StateValueAlarm, StateReason: aws.String("drill")})
	if err != nil || len(w.said) != 2 {
		t.Errorf("%v, said %q", err, w.said)
	}
	if got := w.State("us-west-2", "errors"); got != OK {
		t.Errorf("its metric makes it %s, want OK", got)
	}
	w.clock.Advance(time.Minute)
	out, err := w.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{StateValue: types.StateValueOk})
	if err != nil || len(out.MetricAlarms) != 1 {
		t.Errorf("a minute later: %+v, %v, want it OK", out, err)
	}
	_, err = w.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("none"), StateValue: types.StateValueAlarm, StateReason: aws.String("drill")})
	if _, ok := errors.AsType[*types.ResourceNotFound](err); !ok {
		t.Errorf("no alarm: %v", err)
	}
}

func TestPercentiles(t *testing.T) {
	w := begin(t)
	in := alarmInput(func(in *cloudwatch.PutMetricAlarmInput) {
		in.Statistic, in.ExtendedStatistic, in.EvaluationPeriods, in.DatapointsToAlarm = "", aws.String("p90"), aws.Int32(1), aws.Int32(1)
	})
	if _, err := w.PutMetricAlarm(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float64{1, 2} { // of ten values; at two p90 is one of them
		for i := range 10 {
			v := 1.0
			if float64(i) < bad {
				v = 100
			}
			w.put(t, w.Client, v)
		}
		w.clock.Advance(time.Minute)
		if got, want := w.State("us-west-2", "errors"), map[float64]string{1: OK, 2: Alarm}[bad]; got != want {
			t.Errorf("%v of 10 are bad: %s, want %s", bad, got, want)
		}
	}
	if w.Fits("us-west-2", "errors") == nil || w.Fits("us-west-2", "none") == nil {
		t.Error("a health check may have an alarm on a percentile, or none")
	}
}

func TestFaults(t *testing.T) {
	w := begin(t)
	put := func(ns string, d types.MetricDatum) error {
		_, err := w.PutMetricData(t.Context(), &cloudwatch.PutMetricDataInput{Namespace: &ns, MetricData: []types.MetricDatum{d}})
		return err
	}
	alarm := func(change func(in *cloudwatch.PutMetricAlarmInput)) error {
		_, err := w.json.PutMetricAlarm(t.Context(), alarmInput(change))
		return err
	}
	m := types.MetricDatum{MetricName: aws.String("m"), Value: aws.Float64(1)}
	late := m
	late.Timestamp = aws.Time(w.clock.Now().Add(-15 * 24 * time.Hour))
	none := m
	none.Value = nil
	_, gone := w.DeleteAlarms(t.Context(), &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"none"}})
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"AWS's namespace":   {put("AWS/ElastiCache", m), "InvalidParameterValue"},
		"too late":          {put("n", late), "InvalidParameterValue"},
		"no value":          {put("n", none), "InvalidParameterValue"},
		"no alarm":          {gone, "ResourceNotFound"},
		"a short period":    {alarm(func(in *cloudwatch.PutMetricAlarmInput) { in.Period = aws.Int32(10) }), "InvalidParameterValue"},
		"more M than N":     {alarm(func(in *cloudwatch.PutMetricAlarmInput) { in.DatapointsToAlarm = aws.Int32(4) }), "InvalidParameterValue"},
		"an unknown action": {alarm(func(in *cloudwatch.PutMetricAlarmInput) { in.AlarmActions = []string{"arn:aws:automate:x"} }), "InvalidParameterValue"},
		"an expression": {alarm(func(in *cloudwatch.PutMetricAlarmInput) {
			in.Metrics = []types.MetricDataQuery{{Id: aws.String("a"), Expression: aws.String("1")}}
		}), "InvalidParameterCombination"},
	} {
		if got := code(c.err); got != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
}

// The query protocol, which older clients speak, does the same.
func TestQuery(t *testing.T) {
	w := begin(t)
	ask := func(body string) string {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, w.url, strings.NewReader(body+"&Version=2010-08-01"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sum := sha256.Sum256([]byte(body + "&Version=2010-08-01"))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, r, hex.EncodeToString(sum[:]), "monitoring", "us-west-2", time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	}
	got := ask("Action=PutMetricData&Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value=7&MetricData.member.1.Dimensions.member.1.Name=a&MetricData.member.1.Dimensions.member.1.Value=b")
	if !strings.HasPrefix(got, "200 ") || !strings.Contains(got, "<PutMetricDataResponse") {
		t.Errorf("put: %s", got)
	}
	if got := ask("Action=ListMetrics"); !strings.Contains(got, "<ListMetricsResult><Metrics><member><Dimensions><member><Name>a</Name><Value>b</Value></member></Dimensions><MetricName>m</MetricName><Namespace>n</Namespace></member></Metrics></ListMetricsResult>") {
		t.Errorf("list: %s", got)
	}
	if got := ask("Action=DeleteAlarms&AlarmNames.member.1=x"); !strings.Contains(got, "404 ") || !strings.Contains(got, "<Code>ResourceNotFound</Code>") {
		t.Errorf("delete: %s", got)
	}
}

// What a function prints is a metric if it says so.
func TestPrint(t *testing.T) {
	w := begin(t)
	line := fmt.Sprintf(`{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"SessionStore","Dimensions":[["Region","Path"],["Region"]],"Metrics":[{"Name":"WriteErrors","Unit":"Count"},{"Name":"Latency"}]}]},"Region":"us-west-2","Path":"cross","WriteErrors":9,"Latency":[1,2,3]}`, w.clock.Now().UnixMilli())
	if err := w.Print("us-west-2", line); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"hello", `{"level":"info"}`, ""} {
		if err := w.Print("us-west-2", other); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
	if err := w.Print("us-west-2", strings.Replace(line, `"Path":"cross",`, "", 1)); !errors.Is(err, errEMF) {
		t.Errorf("a dimension is lacking: %v", err)
	}
	list, err := w.ListMetrics(t.Context(), &cloudwatch.ListMetricsInput{})
	if err != nil || len(list.Metrics) != 4 {
		t.Errorf("%d metrics, %v, want 2 names with 2 sets of dimensions", len(list.Metrics), err)
	}
	if _, err := w.PutMetricAlarm(t.Context(), alarmInput(func(in *cloudwatch.PutMetricAlarmInput) {
		in.EvaluationPeriods, in.DatapointsToAlarm = aws.Int32(1), nil
	})); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	if got := w.State("us-west-2", "errors"); got != Alarm {
		t.Errorf("with 9 errors it is %s", got)
	}
}

func TestMinutesAreForgotten(t *testing.T) {
	s := series{minutes: map[int64]*stat{}}
	for m := range int64(kept + 10) {
		s.at(m).add(1, 1)
	}
	s.at(3).add(1, 1) // too old
	if len(s.minutes) != kept || s.minutes[9] != nil || s.minutes[10] == nil {
		t.Errorf("%d minutes are kept", len(s.minutes))
	}
}

func FuzzDecodeEMF(f *testing.F) {
	f.Add(`{"_aws":{"Timestamp":1780000000000,"CloudWatchMetrics":[{"Namespace":"S","Dimensions":[["R"]],"Metrics":[{"Name":"E","Unit":"Count"}]}]},"R":"u","E":1}`)
	f.Add(`{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"S","Metrics":[{"Name":"E"}]}]},"E":[1,2]}`)
	f.Add(`{"_aws":null}`)
	f.Fuzz(func(t *testing.T, line string) {
		all, err := decodeEMF(line)
		if err != nil {
			return
		}
		for _, d := range all {
			if d.namespace == "" || len(d.values) == 0 || len(d.dimensions) > mostDimensions {
				t.Errorf("decodeEMF(%q) has %+v", line, d)
			}
			n := newName("r", d.namespace, d.metric, d.dimensions)
			if len(n.dims()) != len(d.dimensions) {
				t.Errorf("%+v has the dimensions %v", d, n.dims())
			}
		}
	})
}
