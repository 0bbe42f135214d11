package alarm

// A Point is the data point of one period.
type Point struct {
	Known bool    // false: the period has no data
	Value float64 // in the unit of the metric
}

// An outcome is what an evaluation makes of the points in an alarm's range.
type outcome struct {
	state  State
	retain bool // the state stays what it is
	real   int  // data points that breach and were measured
	filled int  // data points that were made up for missing ones
}

// evaluate judges the points of the evaluation range, the oldest first.
func (a Alarm) evaluate(points []Point) outcome {
	known, breaching, clean := 0, 0, true
	oldest := 0 // of known points, by age; the newest has age 1
	for i := range points {
		p := points[len(points)-1-i]
		if !p.Known || known == a.Periods {
			continue
		}
		known++
		oldest = i + 1
		if a.breaches(p.Value) {
			breaching++
		} else {
			clean = false
		}
	}
	o := outcome{real: breaching, filled: a.Periods - known}
	switch {
	case o.filled == 0 || breaching >= a.ToAlarm:
		// Enough real data: what missing data counts as is not asked.
	case a.Missing == Breaching:
		breaching += o.filled
	case a.Missing == NotBreaching:
	case known == 0:
		o.state, o.retain = InsufficientData, a.Missing == Ignore
		return o
	case clean && oldest >= a.ToAlarm:
		// The guide's premature alarm: all that is known breaches, and began to as
		// long ago as an alarm takes.
		o.state, o.retain = Alarming, a.Missing == Ignore
		return o
	}
	o.state = OK
	if breaching >= a.ToAlarm {
		o.state = Alarming
	}
	return o
}
