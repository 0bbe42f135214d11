package alarm

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// A State is what an alarm says of its metric, in CloudWatch's words.
type State string

// The states. A new alarm begins with InsufficientData, and so does its zero value.
const (
	OK               State = "OK"
	Alarming         State = "ALARM"
	InsufficientData State = "INSUFFICIENT_DATA"
)

// A Metric is what an alarm watches.
type Metric string

// The metrics. Times are in milliseconds, shares between 0 and 1.
const (
	WriteP99      Metric = "write-p99"      // of writes to the Region, ms
	ErrorRate     Metric = "error-rate"     // share of writes to the Region that failed
	Lag           Metric = "lag"            // replication heartbeat lag of the Region, ms
	DegradedShare Metric = "degraded-share" // of the Region's answers, below the rung normal
)

// A Comparison says which side of the threshold is breaching, in CloudWatch's words.
type Comparison string

// The comparisons.
const (
	GreaterOrEqual Comparison = "GreaterThanOrEqualToThreshold"
	Greater        Comparison = "GreaterThanThreshold"
	Less           Comparison = "LessThanThreshold"
	LessOrEqual    Comparison = "LessThanOrEqualToThreshold"
)

// A Treat says what a period without data counts as, in CloudWatch's words.
type Treat string

// The ways to treat missing data. Missing is the default.
const (
	Missing      Treat = "missing"      // no data at all is INSUFFICIENT_DATA
	Ignore       Treat = "ignore"       // the state stays
	Breaching    Treat = "breaching"    // bad
	NotBreaching Treat = "notBreaching" // good
)

// A Feed says what the judge is to make of an alarm that is alarming.
type Feed string

// What alarms feed. None is the default.
const (
	FeedNone      Feed = ""
	FeedDegrade   Feed = "degrade"    // the Region is told to be degraded
	FeedRouteAway Feed = "route-away" // users are to leave the Region
	FeedFailOver  Feed = "fail-over"  // if the Region is the primary, another is to take over
)

const (
	// rangeExtra is how many periods beyond N are looked at to find N data points:
	// the guide's examples have a range of 5 for N = 3. It depends on the metric there.
	rangeExtra = 2
	// mostPeriods bounds N, and with it what is kept: an hour of minutes.
	mostPeriods = 60
	// mostAlarms bounds a Set; New refuses more.
	mostAlarms = 200
)

// An Alarm says what to watch and when to alarm. It is plain data.
type Alarm struct {
	Name   string
	Metric Metric
	Region string // whose metric; of writes, where they go
	From   string // of writes: only those from this Region; empty: from all

	Comparison Comparison // empty: GreaterOrEqual
	Threshold  float64    // in the unit of the metric

	Period  time.Duration // of one data point; at least a second, zero: a minute
	Periods int           // N, 1 to 60: CloudWatch's EvaluationPeriods
	ToAlarm int           // M, 1 to N: DatapointsToAlarm; zero: N
	Missing Treat         // empty: Missing

	Feed Feed
}

func (a Alarm) withDefaults() Alarm {
	if a.Comparison == "" {
		a.Comparison = GreaterOrEqual
	}
	if a.Period == 0 {
		a.Period = time.Minute
	}
	if a.ToAlarm == 0 {
		a.ToAlarm = a.Periods
	}
	if a.Missing == "" {
		a.Missing = Missing
	}
	return a
}

// check returns every fault of an alarm that has its defaults.
func (a Alarm) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("alarm %q: "+format, append([]any{a.Name}, args...)...))
		}
	}
	writes := a.Metric == WriteP99 || a.Metric == ErrorRate
	fault(a.Name == "", "it has no name")
	fault(!writes && a.Metric != Lag && a.Metric != DegradedShare, "metric %q: there is none of that name", a.Metric)
	fault(a.Region == "", "it names no Region")
	fault(a.From != "" && !writes, "metric %q has no from: only writes do", a.Metric)
	fault(!a.Comparison.valid(), "comparison %q: there is none of that name", a.Comparison)
	fault(math.IsNaN(a.Threshold) || math.IsInf(a.Threshold, 0), "threshold %v: want a number", a.Threshold)
	fault(a.Period < time.Second, "period %v: want at least 1s", a.Period)
	fault(a.Periods < 1 || a.Periods > mostPeriods, "%d periods: want 1 to %d", a.Periods, mostPeriods)
	fault(a.ToAlarm < 1 || a.ToAlarm > a.Periods, "%d of %d data points: want 1 to %d", a.ToAlarm, a.Periods, a.Periods)
	fault(!a.Missing.valid(), "missing data %q: want missing, ignore, breaching or notBreaching", a.Missing)
	fault(!a.Feed.valid(), "feed %q: want degrade, route-away, fail-over or nothing", a.Feed)
	return errors.Join(faults...)
}

func (c Comparison) valid() bool {
	return c == GreaterOrEqual || c == Greater || c == Less || c == LessOrEqual
}

func (t Treat) valid() bool {
	return t == Missing || t == Ignore || t == Breaching || t == NotBreaching
}

func (f Feed) valid() bool {
	return f == FeedNone || f == FeedDegrade || f == FeedRouteAway || f == FeedFailOver
}

// breaches reports whether a value is on the bad side of the threshold.
func (a Alarm) breaches(value float64) bool {
	switch a.Comparison {
	case Greater:
		return value > a.Threshold
	case Less:
		return value < a.Threshold
	case LessOrEqual:
		return value <= a.Threshold
	case GreaterOrEqual:
		return value >= a.Threshold
	}
	return false // check has refused it
}

// worse returns the worse of two values of one period.
func (a Alarm) worse(x, y float64) float64 {
	if a.Comparison == Less || a.Comparison == LessOrEqual {
		return min(x, y)
	}
	return max(x, y)
}

// words says a comparison as a reason does.
func (c Comparison) words() string {
	switch c {
	case Greater:
		return "greater than"
	case Less:
		return "less than"
	case LessOrEqual:
		return "less than or equal to"
	case GreaterOrEqual:
	}
	return "greater than or equal to"
}
