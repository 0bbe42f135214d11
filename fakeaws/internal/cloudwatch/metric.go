package cloudwatch

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	// mostMetrics bounds the metrics of all Regions; one more is refused.
	mostMetrics = 5000
	// kept is how many minutes of a metric are kept; the oldest is forgotten.
	kept = 1500
	// mostValues bounds the values of a minute that percentiles are made of; more of them
	// count in all else.
	mostValues = 1000
	// mostDimensions bounds a metric's dimensions, as CloudWatch does.
	mostDimensions = 30
)

// A name tells metrics apart.
type name struct{ region, namespace, metric, dimensions string }

// A dimension is one of a metric's.
type dimension struct{ Name, Value string }

// newName returns the name of a metric; the order of dimensions does not matter.
func newName(region, namespace, metric string, ds []dimension) name {
	ds = slices.Clone(ds)
	slices.SortFunc(ds, func(a, b dimension) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) })
	var parts []string
	for _, d := range ds {
		parts = append(parts, d.Name, d.Value)
	}
	return name{region, namespace, metric, strings.Join(parts, "\x00")}
}

// dims are the dimensions in a name.
func (n name) dims() []dimension {
	if n.dimensions == "" {
		return nil
	}
	var out []dimension
	for pair := range slices.Chunk(strings.Split(n.dimensions, "\x00"), 2) {
		out = append(out, dimension{pair[0], pair[1]})
	}
	return out
}

// A stat is what is known of a metric in one minute or more.
type stat struct {
	count, sum, min, max float64
	values               []float64 // some of them, for percentiles
}

// add counts a value, n times.
func (s *stat) add(v, n float64) {
	if s.count == 0 || v < s.min {
		s.min = v
	}
	if s.count == 0 || v > s.max {
		s.max = v
	}
	s.count += n
	s.sum += v * n
	for ; n >= 1 && len(s.values) < mostValues; n-- {
		s.values = append(s.values, v)
	}
}

// join adds what another one knows.
func (s *stat) join(o stat) {
	if o.count == 0 {
		return
	}
	if s.count == 0 || o.min < s.min {
		s.min = o.min
	}
	if s.count == 0 || o.max > s.max {
		s.max = o.max
	}
	s.count += o.count
	s.sum += o.sum
	s.values = append(s.values, o.values...)
}

// of returns a statistic by its name, such as Sum or p99.
func (s stat) of(statistic string, percent float64) float64 {
	switch statistic {
	case "Sum":
		return s.sum
	case "Minimum":
		return s.min
	case "Maximum":
		return s.max
	case "SampleCount":
		return s.count
	case "Average":
		return s.sum / s.count
	}
	if len(s.values) == 0 {
		return s.max // a set of statistics has no values
	}
	sorted := slices.Sorted(slices.Values(s.values))
	return sorted[max(0, int(math.Ceil(percent/100*float64(len(sorted))))-1)]
}

// A series is a metric's minutes.
type series struct {
	unit    string
	minutes map[int64]*stat // by their number since the epoch
}

// at returns the minute to add to.
func (s *series) at(minute int64) *stat {
	if m := s.minutes[minute]; m != nil {
		return m
	}
	if len(s.minutes) >= kept {
		oldest := slices.Min(slices.Collect(maps.Keys(s.minutes)))
		if minute < oldest {
			return &stat{} // too old to be kept
		}
		delete(s.minutes, oldest)
	}
	m := &stat{}
	s.minutes[minute] = m
	return m
}

// span returns what is known of some minutes from one on.
func (s *series) span(from int64, n int) stat {
	var out stat
	for i := range int64(n) {
		if m := s.minutes[from+i]; m != nil {
			out.join(*m)
		}
	}
	return out
}

// minute is the number of the minute that a time is in. A minute is as long as the fakes
// are told: sixty seconds, or less to see alarms sooner.
func (f *Fake) minute(t time.Time) int64 { return t.UnixNano() / int64(f.config.Minute) }
