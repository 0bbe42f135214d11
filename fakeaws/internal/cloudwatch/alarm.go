package cloudwatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// States of an alarm.
const (
	OK           = "OK"
	Alarm        = "ALARM"
	Insufficient = "INSUFFICIENT_DATA"
)

// mostAlarms bounds the alarms of all Regions; one more is refused. mostPeriods bounds how
// many periods an alarm looks at, and mostActions what it does.
const mostAlarms, mostPeriods, mostActions = 500, 100, 5

// extra is how many more periods an alarm looks back for data than it wants, where some are
// missing. AWS has two in its examples and says that it differs.
const extra = 2

type alarmKey struct{ region, name string }

// An alarm is a metric alarm.
type alarm struct {
	alarmKey
	description, namespace, metric string
	dimensions                     []dimension
	statistic                      string // or a percentile such as p99
	percent                        float64
	minutes                        int // of a period
	periods, points                int // N and M
	threshold                      float64
	comparison, missing            string
	enabled                        bool
	actions                        map[string][]string // by state

	state, reason string
	changed       time.Time
}

func comparisons() map[string]func(v, t float64) bool {
	return map[string]func(v, t float64) bool{
		"GreaterThanThreshold":          func(v, t float64) bool { return v > t },
		"GreaterThanOrEqualToThreshold": func(v, t float64) bool { return v >= t },
		"LessThanThreshold":             func(v, t float64) bool { return v < t },
		"LessThanOrEqualToThreshold":    func(v, t float64) bool { return v <= t },
	}
}

func (f *Fake) putAlarm(c *door.Call) (any, error) {
	a, err := readAlarm(c)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a.changed = f.agenda.Now()
	if old := f.alarms[a.alarmKey]; old != nil {
		a.state, a.reason, a.changed = old.state, old.reason, old.changed
	} else if len(f.alarms) >= mostAlarms {
		return nil, door.Faultf(http.StatusBadRequest, "LimitExceeded", "fakeaws has at most %d alarms", mostAlarms)
	}
	f.alarms[a.alarmKey] = a
	return nil, nil
}

func readAlarm(c *door.Call) (*alarm, error) {
	p := c.Params
	for _, n := range []string{"AlarmName", "ComparisonOperator", "EvaluationPeriods", "Threshold", "MetricName", "Namespace", "Period"} {
		if p.Has("Metrics") {
			return nil, door.Faultf(http.StatusBadRequest, "InvalidParameterCombination", "fakeaws has no alarms on expressions")
		}
		if p.Str(n) == "" {
			return nil, missing(n)
		}
	}
	a := &alarm{
		alarmKey: alarmKey{c.Region, p.Str("AlarmName")}, description: p.Str("AlarmDescription"), namespace: p.Str("Namespace"), metric: p.Str("MetricName"),
		comparison: p.Str("ComparisonOperator"), missing: p.Str("TreatMissingData"), enabled: !p.Has("ActionsEnabled") || p.Truth("ActionsEnabled"),
		state: Insufficient, reason: "Unchecked: Initial alarm creation",
		actions: map[string][]string{OK: p.Strs("OKActions"), Alarm: p.Strs("AlarmActions"), Insufficient: p.Strs("InsufficientDataActions")},
	}
	var err error
	if a.dimensions, err = dimensions(p); err != nil {
		return nil, err
	}
	if err := a.numbers(p); err != nil {
		return nil, err
	}
	if a.missing == "" {
		a.missing = "missing"
	}
	return a, a.check(p)
}

// numbers reads what is a number.
func (a *alarm) numbers(p door.Params) error {
	period, ok := p.Int("Period")
	if !ok || period < 60 || period%60 != 0 || period > 86400 {
		return invalid("Period is a multiple of 60; fakeaws has no alarms of high resolution")
	}
	a.minutes = period / 60
	n, ok := p.Int("EvaluationPeriods")
	if !ok || n < 1 || n > mostPeriods || n*a.minutes > kept {
		return invalid("EvaluationPeriods is from 1 to %d, and a day altogether", mostPeriods)
	}
	a.periods, a.points = n, n
	if p.Has("DatapointsToAlarm") {
		m, ok := p.Int("DatapointsToAlarm")
		if !ok || m < 1 || m > n {
			return invalid("DatapointsToAlarm is from 1 to EvaluationPeriods")
		}
		a.points = m
	}
	if a.threshold, ok = p.Float("Threshold"); !ok {
		return invalid("Threshold is a number")
	}
	return nil
}

// check judges the rest.
func (a *alarm) check(p door.Params) error {
	a.statistic = p.Str("Statistic")
	if ext := p.Str("ExtendedStatistic"); ext != "" {
		percent, err := strconv.ParseFloat(strings.TrimPrefix(ext, "p"), 64)
		if a.statistic != "" || !strings.HasPrefix(ext, "p") || err != nil || !(percent >= 0 && percent <= 100) {
			return invalid("ExtendedStatistic is from p0 to p100, without Statistic")
		}
		a.statistic, a.percent = ext, percent
	} else if !slices.Contains([]string{"Sum", "Minimum", "Maximum", "SampleCount", "Average"}, a.statistic) {
		return invalid("Statistic %.20q", a.statistic)
	}
	if comparisons()[a.comparison] == nil {
		return invalid("ComparisonOperator %.40q", a.comparison)
	}
	if !slices.Contains([]string{"missing", "ignore", "breaching", "notBreaching"}, a.missing) {
		return invalid("TreatMissingData %.20q", a.missing)
	}
	for _, all := range a.actions {
		if len(all) > mostActions {
			return invalid("There are at most %d actions.", mostActions)
		}
		for _, arn := range all {
			if !strings.HasPrefix(arn, "arn:aws:sns:") && !strings.HasPrefix(arn, "arn:aws:lambda:") {
				return invalid("Invalid action %.80q: fakeaws has topics and functions", arn)
			}
		}
	}
	return nil
}

// A look is what an alarm finds.
type look struct {
	found     int // periods that have data
	breaching int // of them
	oldest    int // how many periods ago the oldest breaching one was
}

// look looks at the newest periods that have ended and have data, as many as an alarm wants,
// within extra more.
func (f *Fake) look(a *alarm, now time.Time) (l look) {
	s := f.series[newName(a.region, a.namespace, a.metric, a.dimensions)]
	end := f.minute(now) / int64(a.minutes) * int64(a.minutes)
	for i := 1; i <= a.periods+extra && l.found < a.periods && s != nil; i++ {
		sum := s.span(end-int64(i*a.minutes), a.minutes)
		if sum.count == 0 {
			continue
		}
		l.found++
		if comparisons()[a.comparison](sum.of(a.statistic, a.percent), a.threshold) {
			l.breaching++
			l.oldest = i
		}
	}
	return l
}

// judge says what an alarm's metric makes of it at a time. What is missing counts as the
// alarm says. Some breaching data and nothing else make no alarm before they are as old as
// it takes: the next word may be a good one.
func (f *Fake) judge(a *alarm, now time.Time) (state, reason string) {
	l := f.look(a, now)
	lacking, bad := a.periods-l.found, l.breaching
	if a.missing == "breaching" {
		bad += lacking
	}
	reason = fmt.Sprintf("%d of the last %d datapoints were breaching, %d were missing (minimum %d datapoints for OK -> ALARM transition).", bad, a.periods, lacking, a.points)
	counted := a.missing == "breaching" || a.missing == "notBreaching"
	switch {
	case bad >= a.points:
		return Alarm, reason
	case lacking == 0 || l.breaching < l.found || counted:
		return OK, reason
	case a.missing == "ignore":
		return a.state, a.reason
	case l.found == 0:
		return Insufficient, reason
	case l.oldest >= a.points:
		return Alarm, reason
	}
	return a.state, a.reason
}

// Evaluate looks at all alarms now, and has those act that change. It is called each
// minute.
func (f *Fake) Evaluate() {
	f.mu.Lock()
	var acts []func()
	for _, a := range f.alarms {
		state, reason := f.judge(a, f.agenda.Now())
		acts = append(acts, f.become(a, state, reason)...)
	}
	f.mu.Unlock()
	for _, act := range acts {
		act()
	}
}

// State is what an alarm's metric makes of it now, whatever its state was set to; "" if
// there is no such alarm.
func (f *Fake) State(region, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.alarms[alarmKey{region, name}]
	if a == nil {
		return ""
	}
	state, _ := f.judge(a, f.agenda.Now())
	return state
}

// Fits reports what keeps a health check of Route 53 from having an alarm: it takes
// statistics that are no percentiles.
func (f *Fake) Fits(region, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.alarms[alarmKey{region, name}]
	switch {
	case a == nil:
		return fmt.Errorf("the alarm %s does not exist in %s", name, region)
	case strings.HasPrefix(a.statistic, "p"):
		return errors.New("health checks take no alarms on percentiles")
	}
	return nil
}

// become changes an alarm's state and returns what is to be done then, without the lock.
func (f *Fake) become(a *alarm, state, reason string) []func() {
	if a.state == state {
		return nil
	}
	old := a.state
	a.state, a.reason, a.changed = state, reason, f.agenda.Now()
	if !a.enabled {
		return nil
	}
	var out []func()
	arn := f.alarmARN(a.region, a.name)
	for _, to := range a.actions[state] {
		if strings.HasPrefix(to, "arn:aws:lambda:") {
			body := f.event(a, old)
			out = append(out, func() {
				if err := f.config.Invoke(to, body); err != nil {
					f.config.Bury(to, arn, string(body), err.Error())
				}
			})
			continue
		}
		subject, body := fmt.Sprintf("%s: %q in %s", state, a.name, a.region), f.message(a, old)
		out = append(out, func() {
			if err := f.config.Publish(arn, to, subject[:min(len(subject), 99)], string(body)); err != nil {
				f.config.Bury(to, arn, string(body), err.Error())
			}
		})
	}
	return out
}

// stamp is how alarms write times.
const stamp = "2006-01-02T15:04:05.000-0700"

// message is what a topic gets.
func (f *Fake) message(a *alarm, old string) []byte {
	trigger := map[string]any{
		"MetricName": a.metric, "Namespace": a.namespace, "Unit": nil, "Period": a.minutes * 60, "EvaluationPeriods": a.periods, "DatapointsToAlarm": a.points,
		"ComparisonOperator": a.comparison, "Threshold": a.threshold, "TreatMissingData": a.missing, "EvaluateLowSampleCountPercentile": "",
	}
	if strings.HasPrefix(a.statistic, "p") {
		trigger["StatisticType"], trigger["ExtendedStatistic"] = "ExtendedStatistic", a.statistic
	} else {
		trigger["StatisticType"], trigger["Statistic"] = "Statistic", strings.ToUpper(a.statistic)
	}
	dims := []map[string]string{}
	for _, d := range a.dimensions {
		dims = append(dims, map[string]string{"name": d.Name, "value": d.Value})
	}
	trigger["Dimensions"] = dims
	text, _ := json.Marshal(map[string]any{ // texts and finite numbers alone
		"AlarmName": a.name, "AlarmDescription": a.description, "AWSAccountId": f.config.Account, "NewStateValue": a.state, "OldStateValue": old,
		"NewStateReason": a.reason, "StateChangeTime": a.changed.UTC().Format(stamp), "Region": a.region, "AlarmArn": f.alarmARN(a.region, a.name),
		"OKActions": a.actions[OK], "AlarmActions": a.actions[Alarm], "InsufficientDataActions": a.actions[Insufficient], "Trigger": trigger,
	})
	return text
}

// event is what a function gets.
func (f *Fake) event(a *alarm, old string) []byte {
	at := a.changed.UTC().Format(stamp)
	text, _ := json.Marshal(map[string]any{ // texts alone
		"source": "aws.cloudwatch", "alarmArn": f.alarmARN(a.region, a.name), "accountId": f.config.Account, "time": at, "region": a.region,
		"alarmData": map[string]any{
			"alarmName": a.name, "state": map[string]any{"value": a.state, "reason": a.reason, "timestamp": at},
			"previousState": map[string]any{"value": old}, "configuration": map[string]any{"metrics": []any{}},
		},
	})
	return text
}

func (f *Fake) describe(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	only, prefix, state := c.Params.Strs("AlarmNames"), c.Params.Str("AlarmNamePrefix"), c.Params.Str("StateValue")
	keys := slices.SortedFunc(maps.Keys(f.alarms), func(a, b alarmKey) int { return strings.Compare(a.name, b.name) })
	out := []any{}
	for _, k := range keys {
		a := f.alarms[k]
		if k.region != c.Region || len(only) > 0 && !slices.Contains(only, k.name) || !strings.HasPrefix(k.name, prefix) || state != "" && state != a.state {
			continue
		}
		out = append(out, f.tell(a))
	}
	return map[string]any{"MetricAlarms": out, "CompositeAlarms": []any{}}, nil
}

// tell tells an alarm as the API does.
func (f *Fake) tell(a *alarm) map[string]any {
	m := map[string]any{
		"AlarmName": a.name, "AlarmArn": f.alarmARN(a.region, a.name), "AlarmDescription": a.description, "ActionsEnabled": a.enabled,
		"OKActions": list(a.actions[OK]), "AlarmActions": list(a.actions[Alarm]), "InsufficientDataActions": list(a.actions[Insufficient]),
		"StateValue": a.state, "StateReason": a.reason, "StateUpdatedTimestamp": a.changed.UTC(), "StateTransitionedTimestamp": a.changed.UTC(), "MetricName": a.metric, "Namespace": a.namespace,
		"Dimensions": tellDimensions(a.dimensions), "Period": a.minutes * 60, "EvaluationPeriods": a.periods, "DatapointsToAlarm": a.points,
		"Threshold": a.threshold, "ComparisonOperator": a.comparison, "TreatMissingData": a.missing,
	}
	if strings.HasPrefix(a.statistic, "p") {
		m["ExtendedStatistic"] = a.statistic
	} else {
		m["Statistic"] = a.statistic
	}
	return m
}

func list(s []string) []any {
	out := []any{}
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

func noAlarm(name string) error {
	return door.Faultf(http.StatusNotFound, "ResourceNotFound", "Unknown alarm %s", name)
}

func (f *Fake) remove(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range c.Params.Strs("AlarmNames") {
		if f.alarms[alarmKey{c.Region, n}] == nil {
			return nil, noAlarm(n)
		}
	}
	for _, n := range c.Params.Strs("AlarmNames") {
		delete(f.alarms, alarmKey{c.Region, n})
	}
	return nil, nil
}

func (f *Fake) setState(c *door.Call) (any, error) {
	p := c.Params
	state := p.Str("StateValue")
	if !slices.Contains([]string{OK, Alarm, Insufficient}, state) {
		return nil, invalid("StateValue %.20q", state)
	}
	f.mu.Lock()
	a := f.alarms[alarmKey{c.Region, p.Str("AlarmName")}]
	if a == nil {
		f.mu.Unlock()
		return nil, noAlarm(p.Str("AlarmName"))
	}
	acts := f.become(a, state, p.Str("StateReason"))
	f.mu.Unlock()
	for _, act := range acts {
		act()
	}
	return nil, nil
}

func (f *Fake) toggle(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range c.Params.Strs("AlarmNames") {
		if a := f.alarms[alarmKey{c.Region, n}]; a != nil {
			a.enabled = c.Action == "EnableAlarmActions"
		}
	}
	return nil, nil
}
