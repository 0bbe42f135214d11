package cloudwatch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// mostData bounds one PutMetricData, and mostDatumValues the values of a datum, as
// CloudWatch does.
const mostData, mostDatumValues = 1000, 150

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what periods go by.
	Clock clock.Clock
	// Account is whose metrics they are.
	Account string
	// Regions are those that have metrics.
	Regions []string
	// Minute is how long a minute takes. Default: a minute.
	Minute time.Duration
	// Publish sends an alarm's message to a topic.
	Publish func(alarm, topic, subject, text string) error
	// Invoke has a function handle an alarm's event, later.
	Invoke func(function string, payload []byte) error
	// Bury keeps a message of an alarm that nobody took.
	Bury func(to, alarm, body, why string)
}

// A Fake is CloudWatch in all Regions. Goroutines may share it.
type Fake struct {
	config Config
	agenda *clock.Agenda

	mu     sync.Mutex // guards what follows
	series map[name]*series
	alarms map[alarmKey]*alarm
}

// New returns a fake without metrics that looks at alarms each minute. Close ends that.
func New(ctx context.Context, c Config) *Fake {
	if c.Minute == 0 {
		c.Minute = time.Minute
	}
	f := &Fake{config: c, agenda: clock.NewAgenda(ctx, c.Clock), series: map[name]*series{}, alarms: map[alarmKey]*alarm{}}
	f.tick()
	return f
}

// Close ends the looking at alarms.
func (f *Fake) Close() { f.agenda.Close() }

// tick looks at all alarms once a minute has passed, again and again.
func (f *Fake) tick() {
	now := f.agenda.Now()
	next := time.Unix(0, (f.minute(now)+1)*int64(f.config.Minute))
	f.agenda.After(next.Sub(now), func(context.Context) {
		f.Evaluate()
		f.tick()
	})
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	query := door.Query{Namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/", Version: "2010-08-01"}
	json := door.JSON{Prefix: "GraniteServiceVersion20100801.", Version: "1.0"}
	cbor := door.CBOR{Service: "GraniteServiceVersion20100801"}
	return &door.Service{
		Name: "monitoring", Prefix: "cloudwatch", Regions: f.config.Regions,
		Speaks: func(r *http.Request) door.Protocol {
			switch {
			case strings.HasPrefix(r.URL.Path, "/service/"):
				return cbor
			case r.Header.Get("X-Amz-Target") != "":
				return json
			}
			return query
		},
		Act: f.act,
		Asks: func(c *door.Call) []iam.Request {
			ask := iam.Request{Resource: "*", Context: map[string][]string{}}
			if ns := c.Params.Str("Namespace"); ns != "" {
				ask.Context["cloudwatch:namespace"] = []string{ns}
			}
			if n := c.Params.Str("AlarmName"); n != "" {
				ask.Resource = f.alarmARN(c.Region, n)
			}
			return []iam.Request{ask}
		},
	}
}

func (f *Fake) alarmARN(region, name string) string {
	return fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:%s", region, f.config.Account, name)
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	act := map[string]func(c *door.Call) (any, error){
		"PutMetricData": f.putData, "GetMetricStatistics": f.statistics, "ListMetrics": f.list,
		"PutMetricAlarm": f.putAlarm, "DescribeAlarms": f.describe, "DeleteAlarms": f.remove, "SetAlarmState": f.setState,
		"EnableAlarmActions": f.toggle, "DisableAlarmActions": f.toggle,
	}[c.Action]
	if act == nil {
		return nil, door.ErrUnknownAction
	}
	return act(c)
}

func invalid(format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, "InvalidParameterValue", format, args...)
}

func missing(what string) error {
	return door.Faultf(http.StatusBadRequest, "MissingParameter", "The parameter %s is required.", what)
}

// dimensions reads those of a request.
func dimensions(p door.Params) ([]dimension, error) {
	var out []dimension
	for _, d := range p.Objects("Dimensions") {
		n, v := d.Str("Name"), d.Str("Value")
		if n == "" || v == "" || strings.ContainsRune(n+v, 0) {
			return nil, invalid("The parameter Dimensions has a name or a value that is empty.")
		}
		out = append(out, dimension{n, v})
	}
	if len(out) > mostDimensions {
		return nil, invalid("There are at most %d dimensions.", mostDimensions)
	}
	return out, nil
}

func (f *Fake) putData(c *door.Call) (any, error) {
	ns := c.Params.Str("Namespace")
	data := c.Params.Objects("MetricData")
	switch {
	case ns == "":
		return nil, missing("Namespace")
	case strings.HasPrefix(ns, "AWS/"):
		return nil, invalid("The value AWS/ for parameter Namespace is invalid.")
	case len(data) == 0:
		return nil, missing("MetricData")
	case len(data) > mostData:
		return nil, invalid("The collection MetricData must not have a size greater than %d.", mostData)
	}
	var all []datum
	for _, p := range data {
		d, err := f.datum(ns, p)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return nil, f.put(c.Region, all)
}

// datum reads one of PutMetricData.
func (f *Fake) datum(ns string, p door.Params) (datum, error) {
	d := datum{namespace: ns, metric: p.Str("MetricName"), unit: p.Str("Unit")}
	var err error
	if d.dimensions, err = dimensions(p); err != nil {
		return d, err
	}
	if d.metric == "" {
		return d, missing("MetricName")
	}
	if p.Has("Timestamp") {
		at, ok := p.Time("Timestamp")
		now := f.agenda.Now()
		if !ok || at.Before(now.Add(-14*24*time.Hour)) || at.After(now.Add(2*time.Hour)) {
			return d, invalid("The Timestamp must be from two weeks ago to two hours from now.")
		}
		d.at = at
	}
	if s := p.Object("StatisticValues"); s != nil {
		set := stat{}
		for n, v := range map[string]*float64{"SampleCount": &set.count, "Sum": &set.sum, "Minimum": &set.min, "Maximum": &set.max} {
			got, ok := s.Float(n)
			if !ok {
				return d, missing("StatisticValues." + n)
			}
			*v = got
		}
		d.set = &set
		return d, nil
	}
	return d, d.readValues(p)
}

// readValues reads a value, or several with their counts.
func (d *datum) readValues(p door.Params) (err error) {
	if v, ok := p.Float("Value"); ok {
		d.values = []float64{v}
		return nil
	}
	if d.values, err = floats(p, "Values"); err != nil {
		return err
	}
	if d.counts, err = floats(p, "Counts"); err != nil {
		return err
	}
	if len(d.values) == 0 || len(d.values) > mostDatumValues || d.counts != nil && len(d.counts) != len(d.values) {
		return invalid("A datum has a Value, StatisticValues, or up to %d Values with as many Counts.", mostDatumValues)
	}
	return nil
}

func floats(p door.Params, name string) ([]float64, error) {
	var out []float64
	for _, v := range p.List(name) {
		one, ok := door.Params{"v": v}.Float("v")
		if !ok {
			return nil, invalid("The parameter %s has what is no number.", name)
		}
		out = append(out, one)
	}
	return out, nil
}

// put adds data. It fails if there are too many metrics.
func (f *Fake) put(region string, all []datum) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.agenda.Now()
	for _, d := range all {
		n := newName(region, d.namespace, d.metric, d.dimensions)
		s := f.series[n]
		if s == nil {
			if len(f.series) >= mostMetrics {
				return door.Faultf(http.StatusBadRequest, "LimitExceeded", "fakeaws has at most %d metrics", mostMetrics)
			}
			s = &series{minutes: map[int64]*stat{}}
			f.series[n] = s
		}
		s.unit = cmp.Or(d.unit, "None")
		at := d.at
		if at.IsZero() {
			at = now
		}
		m := s.at(f.minute(at))
		if d.set != nil {
			m.join(*d.set)
		}
		for i, v := range d.values {
			count := 1.0
			if d.counts != nil {
				count = d.counts[i]
			}
			m.add(v, count)
		}
	}
	return nil
}

// Print takes a line that a function printed, and the metrics in it if it has any. A line
// that says so, and can't be read, is an error.
func (f *Fake) Print(region, line string) error {
	all, err := decodeEMF(line)
	if err != nil {
		return err
	}
	return f.put(region, all)
}

// Put adds a value to a metric, as AWS's own services do. Pairs are names and values of
// dimensions.
func (f *Fake) Put(region, namespace, metric string, value float64, pairs ...string) error {
	d := datum{namespace: namespace, metric: metric, values: []float64{value}}
	for pair := range slices.Chunk(pairs, 2) {
		d.dimensions = append(d.dimensions, dimension{pair[0], pair[len(pair)-1]})
	}
	return f.put(region, []datum{d})
}

func (f *Fake) statistics(c *door.Call) (any, error) {
	p := c.Params
	dims, err := dimensions(p)
	if err != nil {
		return nil, err
	}
	begin, ok := p.Time("StartTime")
	end, ok2 := p.Time("EndTime")
	period, ok3 := p.Int("Period")
	if !ok || !ok2 || !ok3 || period < 60 || period%60 != 0 || !begin.Before(end) {
		return nil, invalid("StartTime comes before EndTime, and Period is a multiple of 60.")
	}
	n := period / 60
	f.mu.Lock()
	defer f.mu.Unlock()
	points := []any{}
	s := f.series[newName(c.Region, p.Str("Namespace"), p.Str("MetricName"), dims)]
	first, last := f.minute(begin), f.minute(end)
	if s != nil && last-first <= kept {
		for at := first; at < last; at += int64(n) {
			sum := s.span(at, n)
			if sum.count == 0 {
				continue
			}
			point := map[string]any{"Timestamp": time.Unix(0, at*int64(f.config.Minute)).UTC(), "Unit": s.unit}
			for _, name := range p.Strs("Statistics") {
				point[name] = sum.of(name, 0)
			}
			points = append(points, point)
		}
	}
	return map[string]any{"Label": p.Str("MetricName"), "Datapoints": points}, nil
}

func (f *Fake) list(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.SortedFunc(maps.Keys(f.series), func(a, b name) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.metric, b.metric), cmp.Compare(a.dimensions, b.dimensions))
	})
	out := []any{}
	for _, n := range names {
		ns, metric := c.Params.Str("Namespace"), c.Params.Str("MetricName")
		if n.region != c.Region || ns != "" && ns != n.namespace || metric != "" && metric != n.metric || len(out) >= 500 {
			continue
		}
		out = append(out, map[string]any{"Namespace": n.namespace, "MetricName": n.metric, "Dimensions": tellDimensions(n.dims())})
	}
	return map[string]any{"Metrics": out}, nil
}

func tellDimensions(ds []dimension) []any {
	out := []any{}
	for _, d := range ds {
		out = append(out, map[string]any{"Name": d.Name, "Value": d.Value})
	}
	return out
}
