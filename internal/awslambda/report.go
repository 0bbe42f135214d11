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
	global    string
	fields    map[string]any
	metrics   []metric
}

type metric struct{ Name, Unit string }

func newReport(p Place, namespace string, now time.Time) *report {
	return &report{namespace: namespace, begun: now, region: p.Region, global: p.Global, fields: map[string]any{}}
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

// write ends the line. Its metrics have the dimension Region, and Region with Global for
// accounts with several deployments.
func (r *report) write(w io.Writer, now time.Time) error {
	r.measure("Duration", "Milliseconds", now.Sub(r.begun).Milliseconds())
	r.fields["Region"], r.fields["Global"] = r.region, r.global
	r.fields["_aws"] = map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": r.namespace, "Dimensions": [][]string{{"Region"}, {"Region", "Global"}}, "Metrics": r.metrics,
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
