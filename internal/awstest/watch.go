package awstest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Watch is CloudWatch, with alarms and one metric.
type Watch struct {
	Alarms []Alarm
	// Points are the data points of the one metric there is, by moment.
	Points map[time.Time]float64
}

// An Alarm is one of CloudWatch.
type Alarm struct {
	Name, State string
	Since       time.Time
}

type watchRequest struct {
	AlarmNames []string
	StartTime  time.Time
	EndTime    time.Time
}

func (s *Watch) understand(r *http.Request, body []byte) (Call, any, error) {
	action, ok := strings.CutPrefix(r.URL.Path, "/service/GraniteServiceVersion20100801/operation/")
	if !ok || r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		return Call{}, nil, fmt.Errorf("%s %s is nothing", r.Method, r.URL.Path)
	}
	var in watchRequest
	if err := cbor.Unmarshal(body, &in); err != nil {
		return Call{}, nil, err
	}
	return Call{Action: action, Names: in.AlarmNames}, in, nil
}

// epoch writes a moment as the protocol has it: tag 1, seconds.
func epoch(t time.Time) cbor.Tag {
	return cbor.Tag{Number: 1, Content: float64(t.UnixMilli()) / 1000}
}

func (s *Watch) do(c Call, in any, _ time.Time) (any, *failure) {
	q := in.(watchRequest)
	switch c.Action {
	case "DescribeAlarms":
		alarms := []map[string]any{}
		for _, a := range s.Alarms {
			if slices.Contains(q.AlarmNames, a.Name) {
				alarms = append(alarms, map[string]any{"AlarmName": a.Name, "StateValue": a.State, "StateTransitionedTimestamp": epoch(a.Since)})
			}
		}
		return map[string]any{"MetricAlarms": alarms}, nil
	case "GetMetricStatistics":
		points := []map[string]any{}
		for at, v := range s.Points {
			if !at.Before(q.StartTime) && at.Before(q.EndTime) {
				points = append(points, map[string]any{"Timestamp": epoch(at), "Maximum": v, "Unit": "Seconds"})
			}
		}
		return map[string]any{"Label": "lag", "Datapoints": points}, nil
	}
	return nil, refuse("InvalidAction", "no operation %q", c.Action)
}

func (s *Watch) write(rw http.ResponseWriter, _ Call, out any) { writeCBOR(rw, out) }

func (s *Watch) fail(rw http.ResponseWriter, f *failure) {
	rw.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	rw.Header().Set("Content-Type", "application/cbor")
	rw.WriteHeader(f.status)
	writeCBOR(rw, map[string]string{"__type": f.code, "message": strings.Join(f.messages, "; ")})
}

func writeCBOR(rw http.ResponseWriter, v any) {
	rw.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	rw.Header().Set("Content-Type", "application/cbor")
	raw, err := cbor.Marshal(v)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = rw.Write(raw)
}
