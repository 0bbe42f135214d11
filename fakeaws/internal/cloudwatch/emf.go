package cloudwatch

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	// mostEMFValues bounds the values of one metric in a line, and mostEMFMetrics the
	// metrics, as the format says.
	mostEMFValues, mostEMFMetrics = 100, 100
)

// A datum is one metric's values, as somebody sends them.
type datum struct {
	namespace, metric, unit string
	dimensions              []dimension
	at                      time.Time // zero: now
	values                  []float64
	counts                  []float64 // of the values; nil: each once
	set                     *stat     // instead of values
}

// errEMF: a line says that it has metrics, and they can't be read.
var errEMF = errors.New("no metrics in the embedded format")

// decodeEMF reads a line in the embedded metric format. It returns nothing for a line that
// is something else.
func decodeEMF(line string) ([]datum, error) {
	if !strings.HasPrefix(strings.TrimSpace(line), "{") || !strings.Contains(line, `"_aws"`) {
		return nil, nil
	}
	var doc map[string]json.RawMessage
	var head struct {
		AWS struct {
			Timestamp         *int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
	}
	if err := errors.Join(json.Unmarshal([]byte(line), &doc), json.Unmarshal([]byte(line), &head)); err != nil {
		return nil, errors.Join(errEMF, err)
	}
	if head.AWS.Timestamp == nil || math.Abs(float64(*head.AWS.Timestamp)) > 1<<50 {
		return nil, errEMF
	}
	at := time.UnixMilli(*head.AWS.Timestamp)
	var out []datum
	for _, d := range head.AWS.CloudWatchMetrics {
		if d.Namespace == "" || len(d.Metrics) > mostEMFMetrics || len(d.Dimensions) > mostDimensions {
			return nil, errEMF
		}
		sets := d.Dimensions
		if len(sets) == 0 {
			sets = [][]string{nil}
		}
		for _, m := range d.Metrics {
			values, err := emfValues(doc[m.Name])
			if err != nil {
				return nil, err
			}
			for _, set := range sets {
				dims, err := emfDimensions(doc, set)
				if err != nil {
					return nil, err
				}
				out = append(out, datum{namespace: d.Namespace, metric: m.Name, unit: m.Unit, dimensions: dims, at: at, values: values})
			}
		}
	}
	return out, nil
}

func emfValues(text json.RawMessage) ([]float64, error) {
	var one float64
	if json.Unmarshal(text, &one) == nil && string(text) != "null" {
		return []float64{one}, nil
	}
	var all []float64
	if json.Unmarshal(text, &all) != nil || len(all) == 0 || len(all) > mostEMFValues {
		return nil, errEMF
	}
	return all, nil
}

func emfDimensions(doc map[string]json.RawMessage, set []string) ([]dimension, error) {
	if len(set) > mostDimensions {
		return nil, errEMF
	}
	var out []dimension
	for _, n := range set {
		var v string
		if json.Unmarshal(doc[n], &v) != nil || v == "" || strings.ContainsRune(n+v, 0) {
			return nil, errEMF
		}
		if !slices.ContainsFunc(out, func(d dimension) bool { return d.Name == n }) {
			out = append(out, dimension{n, v})
		}
	}
	return out, nil
}
