package route53

import (
	"encoding/xml"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// mostNested bounds how deep health checks look at each other.
const mostNested = 8

// A check is a health check.
type check struct {
	Id                 string
	CallerReference    string
	HealthCheckConfig  checkConfig
	HealthCheckVersion int64

	down bool // the endpoint, as SetHealth said
	last bool // the alarm was bad when it was last known
}

type alarmName struct{ Region, Name string }

// A checkConfig is what a health check looks at.
type checkConfig struct {
	Type                         string
	IPAddress                    string     `xml:",omitempty"`
	Port                         *int       `xml:",omitempty"`
	ResourcePath                 string     `xml:",omitempty"`
	FullyQualifiedDomainName     string     `xml:",omitempty"`
	SearchString                 string     `xml:",omitempty"`
	RequestInterval              *int       `xml:",omitempty"`
	FailureThreshold             *int       `xml:",omitempty"`
	MeasureLatency               *bool      `xml:",omitempty"`
	Inverted                     bool       `xml:",omitempty"`
	Disabled                     bool       `xml:",omitempty"`
	HealthThreshold              *int       `xml:",omitempty"`
	ChildHealthChecks            []string   `xml:"ChildHealthChecks>ChildHealthCheck,omitempty"`
	AlarmIdentifier              *alarmName `xml:",omitempty"`
	InsufficientDataHealthStatus string     `xml:",omitempty"`
	RoutingControlArn            string     `xml:",omitempty"`
}

func noCheck(id string) error {
	return door.Faultf(http.StatusNotFound, "NoSuchHealthCheck", "A health check with id %s does not exist.", id)
}

// endpointType tells the types that probe something.
func endpointType(kind string) bool {
	return slices.Contains([]string{"HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH", "TCP"}, kind)
}

// judge says what is wrong with a configuration.
func (f *Fake) judge(c checkConfig) error {
	if t := c.FailureThreshold; t != nil && (*t < 1 || *t > 10) {
		return invalid("FailureThreshold is from 1 to 10")
	}
	if c.Type != "RECOVERY_CONTROL" && c.RoutingControlArn != "" {
		return invalid("RoutingControlArn is for RECOVERY_CONTROL")
	}
	switch {
	case endpointType(c.Type):
		return judgeEndpoint(c)
	case c.Type == "CLOUDWATCH_METRIC":
		return f.judgeAlarm(c)
	case c.Type == "CALCULATED":
		return f.judgeCalculated(c)
	case c.Type == "RECOVERY_CONTROL":
		return f.judgeControl(c)
	}
	return invalid("Invalid type %.40q", c.Type)
}

func judgeEndpoint(c checkConfig) error {
	if c.IPAddress == "" && c.FullyQualifiedDomainName == "" {
		return invalid("IPAddress or FullyQualifiedDomainName is required")
	}
	if i := c.RequestInterval; i != nil && *i != 10 && *i != 30 {
		return invalid("RequestInterval is 10 or 30")
	}
	return nil
}

func (f *Fake) judgeCalculated(c checkConfig) error {
	if t := c.HealthThreshold; t == nil || *t < 0 || *t > 256 || len(c.ChildHealthChecks) > 256 {
		return invalid("HealthThreshold is from 0 to 256, with up to 256 children")
	}
	for _, id := range c.ChildHealthChecks {
		if f.checks[id] == nil {
			return invalid("The child health check %s does not exist", id)
		}
	}
	return nil
}

func (f *Fake) judgeControl(c checkConfig) error {
	if c.RoutingControlArn == "" || c.RequestInterval != nil || c.FailureThreshold != nil || c.MeasureLatency != nil {
		return invalid("RECOVERY_CONTROL has a RoutingControlArn, and no RequestInterval, FailureThreshold or MeasureLatency")
	}
	if _, there := f.config.Control(c.RoutingControlArn); !there {
		return invalid("The routing control %s does not exist", c.RoutingControlArn)
	}
	return nil
}

func (f *Fake) judgeAlarm(c checkConfig) error {
	switch {
	case c.AlarmIdentifier == nil || c.AlarmIdentifier.Name == "" || c.AlarmIdentifier.Region == "":
		return invalid("AlarmIdentifier is required")
	case !slices.Contains([]string{"Healthy", "Unhealthy", "LastKnownStatus"}, c.InsufficientDataHealthStatus):
		return invalid("InsufficientDataHealthStatus %.20q", c.InsufficientDataHealthStatus)
	}
	if err := f.config.Fits(c.AlarmIdentifier.Region, c.AlarmIdentifier.Name); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// healthy reports how a health check is now.
func (f *Fake) healthy(id string, depth int) bool {
	c := f.checks[id]
	if c == nil || depth > mostNested {
		return true // Route 53 takes a check that is gone for healthy
	}
	cfg := c.HealthCheckConfig
	good := true
	switch {
	case cfg.Disabled:
	case endpointType(cfg.Type):
		good = !c.down
	case cfg.Type == "RECOVERY_CONTROL":
		good, _ = f.config.Control(cfg.RoutingControlArn)
	case cfg.Type == "CLOUDWATCH_METRIC":
		good = c.alarmGood(f.config.Alarm(cfg.AlarmIdentifier.Region, cfg.AlarmIdentifier.Name))
	case cfg.Type == "CALCULATED":
		n := 0
		for _, child := range cfg.ChildHealthChecks {
			if f.healthy(child, depth+1) {
				n++
			}
		}
		good = n >= *cfg.HealthThreshold
	}
	return good != cfg.Inverted
}

func (c *check) alarmGood(state string) bool {
	switch state {
	case "OK":
		c.last = false
		return true
	case "ALARM":
		c.last = true
		return false
	}
	switch c.HealthCheckConfig.InsufficientDataHealthStatus {
	case "Healthy":
		return true
	case "Unhealthy":
		return false
	}
	return !c.last
}

// A checkAnswer is a health check in an answer.
type checkAnswer struct{ HealthCheck check }

func (f *Fake) createCheck(c *door.Call) (any, error) {
	var in struct {
		XMLName           xml.Name `xml:"CreateHealthCheckRequest"`
		CallerReference   string
		HealthCheckConfig checkConfig
	}
	if err := xml.Unmarshal(c.Body, &in); err != nil {
		return nil, invalid("Unable to read the request: %v", err)
	}
	if in.CallerReference == "" {
		return nil, invalid("CallerReference is required")
	}
	if err := f.judge(in.HealthCheckConfig); err != nil {
		return nil, err
	}
	made := (*check)(nil)
	for _, old := range f.checks {
		if old.CallerReference != in.CallerReference {
			continue
		}
		if !reflect.DeepEqual(old.HealthCheckConfig, in.HealthCheckConfig) {
			return nil, door.Faultf(http.StatusConflict, "HealthCheckAlreadyExists", "The health check with that caller reference has other settings.")
		}
		made = old
	}
	if made == nil {
		if len(f.checks) >= mostChecks {
			return nil, door.Faultf(http.StatusBadRequest, "TooManyHealthChecks", "There are at most %d health checks.", mostChecks)
		}
		id := strings.ToLower(newID())
		made = &check{Id: id[:8] + "-0000-4000-8000-" + id[8:] + "000000", CallerReference: in.CallerReference, HealthCheckConfig: in.HealthCheckConfig, HealthCheckVersion: 1}
		f.checks[made.Id] = made
	}
	return door.Reply{
		Status: http.StatusCreated, Header: map[string]string{"Location": "https://route53.amazonaws.com/2013-04-01/healthcheck/" + made.Id},
		Body: checkAnswer{*made},
	}, nil
}

func (f *Fake) check(c *door.Call) (*check, error) {
	if found := f.checks[c.Vars["Id"]]; found != nil {
		return found, nil
	}
	return nil, noCheck(c.Vars["Id"])
}

func (f *Fake) getCheck(c *door.Call) (any, error) {
	found, err := f.check(c)
	if err != nil {
		return nil, err
	}
	return checkAnswer{*found}, nil
}

func (f *Fake) listChecks(*door.Call) (any, error) {
	var out struct {
		HealthChecks []check `xml:"HealthChecks>HealthCheck"`
		IsTruncated  bool
		MaxItems     int
	}
	out.MaxItems = mostChecks
	for _, id := range slices.Sorted(maps.Keys(f.checks)) {
		out.HealthChecks = append(out.HealthChecks, *f.checks[id])
	}
	return out, nil
}

func (f *Fake) updateCheck(c *door.Call) (any, error) {
	found, err := f.check(c)
	if err != nil {
		return nil, err
	}
	// What is not said stays as it is: decoding goes on top of what there is.
	in := struct {
		XMLName            xml.Name `xml:"UpdateHealthCheckRequest"`
		HealthCheckVersion *int64
		checkConfig
	}{checkConfig: found.HealthCheckConfig}
	in.ChildHealthChecks = nil // a list would be appended to
	if err := xml.Unmarshal(c.Body, &in); err != nil {
		return nil, invalid("Unable to read the request: %v", err)
	}
	if in.ChildHealthChecks == nil {
		in.ChildHealthChecks = found.HealthCheckConfig.ChildHealthChecks
	}
	switch {
	case in.HealthCheckVersion != nil && *in.HealthCheckVersion != found.HealthCheckVersion:
		return nil, door.Faultf(http.StatusConflict, "HealthCheckVersionMismatch", "The version is %d.", found.HealthCheckVersion)
	case in.Type != found.HealthCheckConfig.Type:
		return nil, invalid("The type can't be changed")
	}
	if err := f.judge(in.checkConfig); err != nil {
		return nil, err
	}
	found.HealthCheckConfig = in.checkConfig
	found.HealthCheckVersion++
	return checkAnswer{*found}, nil
}

func (f *Fake) deleteCheck(c *door.Call) (any, error) {
	found, err := f.check(c)
	if err != nil {
		return nil, err
	}
	delete(f.checks, found.Id)
	return struct{}{}, nil
}

func (f *Fake) checkStatus(c *door.Call) (any, error) {
	found, err := f.check(c)
	if err != nil {
		return nil, err
	}
	type report struct {
		Status      string
		CheckedTime string
	}
	type observation struct {
		Region       string
		IPAddress    string
		StatusReport report
	}
	var out struct {
		HealthCheckObservations []observation `xml:"HealthCheckObservations>HealthCheckObservation"`
	}
	status := "Failure: fakeaws"
	if f.healthy(found.Id, 0) {
		status = "Success: fakeaws"
	}
	out.HealthCheckObservations = []observation{{"us-east-1", "192.0.2.1", report{status, f.agenda.Now().UTC().Format("2006-01-02T15:04:05.000Z")}}}
	return out, nil
}
