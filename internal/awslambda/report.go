package awslambda

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A report is one line on stdout: a log entry for people, and metrics for CloudWatch, which
// finds them in it by its embedded metric format. So reporting asks no service.
type report struct {
	namespace string
	begun     time.Time
	region    string
	of        dimension // what the function is about
	fields    map[string]any
	metrics   []metric
}

type metric struct{ Name, Unit string }

type dimension struct{ name, value string }

func newReport(region string, of dimension, namespace string, now time.Time) *report {
	return &report{namespace: namespace, begun: now, region: region, of: of, fields: map[string]any{}}
}

// report begins a report about the Global Datastore.
func (p Place) report(namespace string, now time.Time) *report {
	return newReport(p.Region, dimension{"Global", p.Global}, namespace, now)
}

// count adds a metric to the line.
func (r *report) count(name string, n int) { r.measure(name, "Count", n) }

func (r *report) measure(name, unit string, value any) {
	if _, ok := r.fields[name]; !ok {
		r.metrics = append(r.metrics, metric{name, unit})
	}
	r.fields[name] = value
}

// tell adds a fact that is no metric.
func (r *report) tell(name string, value any) { r.fields[name] = value }

// write ends the line. Its metrics have the dimension Region, and Region with another for
// accounts with several deployments.
func (r *report) write(w io.Writer, now time.Time) error {
	r.measure("Duration", "Milliseconds", now.Sub(r.begun).Milliseconds())
	r.fields["Region"], r.fields[r.of.name] = r.region, r.of.value
	r.fields["_aws"] = map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": r.namespace, "Dimensions": [][]string{{"Region"}, {"Region", r.of.name}}, "Metrics": r.metrics,
		}},
	}
	raw, err := json.Marshal(r.fields)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := w.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
