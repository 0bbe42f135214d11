package awslambda

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/dns/arc"
)

// The functions that one bootstrap can be.
const (
	Reconcile = "reconcile"
	Promote   = "promote"
	Sweep     = "sweep"
)

// What a reconciler can drive.
const (
	DriveRecord  = "record"
	DriveControl = "control"
	DriveMetric  = "metric"
)

// A Config is what a function is told by its environment. docs/aws-lambda.md lists the
// variables.
type Config struct {
	// Function is Reconcile, Promote or Sweep. Default Reconcile.
	Function string
	// Place is where the function runs. It is needed; of a sweeper the Region alone.
	Place Place
	// Namespace is that of the metrics. Default SessionStore.
	Namespace string

	// Drive is what a reconciler moves: DriveRecord, DriveControl, DriveMetric.
	Drive []string
	// Zone is the ID of the zone, Name the record in it.
	Zone, Name string
	// TTL is how long the record may be kept: whole seconds up to a day. Default 10 s.
	TTL time.Duration
	// Control is the ARN of this Region's routing control.
	Control string
	// Off are the ARNs of all other Regions' routing controls.
	Off []string
	// Endpoints are all five of ARC's cluster.
	Endpoints []arc.Endpoint
	// Adopt has a reconciler move what leads to no member of the Global Datastore.
	Adopt bool

	// Rules are a promoter's.
	Rules Rules
	// Switch and Memory are names of parameters of SSM: the promoter's kill switch, which
	// is "on", "dry-run" or anything else, and what it remembers.
	Switch, Memory string
	// CacheCluster and CacheNode are the dimensions of GlobalDatastoreReplicationLag in this
	// Region. Default: <group>-001, and no CacheNodeId.
	CacheCluster, CacheNode string

	// Table is the name of the table that a sweeper sweeps.
	Table string
}

var tableName = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)

// ReadConfig reads a configuration, and names all its faults at once. Get returns a variable of
// the environment.
func ReadConfig(get func(string) string) (Config, error) {
	r := reader{get: get}
	c := Config{
		Function:  r.word("ROAM_FUNCTION", Reconcile),
		Place:     Place{Region: r.need("AWS_REGION")},
		Namespace: r.word("ROAM_NAMESPACE", "SessionStore"),
	}
	switch c.Function {
	case Reconcile:
		r.reconcile(&c)
	case Promote:
		r.promote(&c)
	case Sweep:
		if c.Table = r.need("ROAM_TABLE"); c.Table != "" && !tableName.MatchString(c.Table) {
			r.fault("ROAM_TABLE", "want the name of a table: 3 to 255 of a-z, A-Z, 0-9, _, . and -")
		}
	default:
		r.fault("ROAM_FUNCTION", "want %s, %s or %s", Reconcile, Promote, Sweep)
	}
	if err := errors.Join(r.faults...); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	return c, nil
}

type reader struct {
	get    func(string) string
	faults []error
}

func (r *reader) fault(name, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s=%q: "+format, append([]any{name, r.get(name)}, args...)...))
}

func (r *reader) word(name, standard string) string {
	if v := r.get(name); v != "" {
		return v
	}
	return standard
}

func (r *reader) need(name string) string {
	v := r.get(name)
	if v == "" {
		r.fault(name, "it is needed")
	}
	return v
}

// flag reports whether a variable has the one value that turns it on.
func (r *reader) flag(name, on string) bool {
	v := r.get(name)
	if v != "" && v != on {
		r.fault(name, "want %s or nothing", on)
	}
	return v == on
}

func (r *reader) list(name string) []string {
	var out []string
	for part := range strings.SplitSeq(r.get(name), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (r *reader) span(name string, standard, least, most time.Duration) time.Duration {
	v := r.get(name)
	if v == "" {
		return standard
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most {
		r.fault(name, "want a time from %v to %v, as 30s", least, most)
	}
	return d
}

// place reads which Global Datastore a function is about.
func (r *reader) place(p *Place) {
	p.Group, p.Global, p.Standalone = r.need("ROAM_GROUP"), r.need("ROAM_GLOBAL"), r.flag("ROAM_STANDALONE", "primary")
}

func (r *reader) reconcile(c *Config) {
	r.place(&c.Place)
	c.Drive = r.list("ROAM_DRIVE")
	for _, what := range c.Drive {
		if !slices.Contains([]string{DriveRecord, DriveControl, DriveMetric}, what) {
			r.fault("ROAM_DRIVE", "want some of %s, %s and %s", DriveRecord, DriveControl, DriveMetric)
		}
	}
	if len(c.Drive) == 0 {
		r.fault("ROAM_DRIVE", "it is needed")
	}
	c.Adopt = r.flag("ROAM_ADOPT", "yes")
	if slices.Contains(c.Drive, DriveRecord) {
		c.Zone, c.Name = r.need("ROAM_ZONE"), r.need("ROAM_NAME")
		c.TTL = r.span("ROAM_TTL", 10*time.Second, time.Second, 24*time.Hour)
	}
	if slices.Contains(c.Drive, DriveControl) {
		c.Control, c.Off = r.need("ROAM_CONTROL"), r.list("ROAM_CONTROLS_OFF")
		if len(c.Off) == 0 || slices.Contains(c.Off, c.Control) {
			r.fault("ROAM_CONTROLS_OFF", "want the controls of all other Regions")
		}
		for _, e := range r.list("ROAM_ENDPOINTS") {
			region, url, _ := strings.Cut(e, "=")
			c.Endpoints = append(c.Endpoints, arc.Endpoint{URL: url, Region: region})
		}
		if len(c.Endpoints) == 0 {
			r.fault("ROAM_ENDPOINTS", "want region=url of all five, with commas")
		}
	}
}

func (r *reader) promote(c *Config) {
	r.place(&c.Place)
	c.Switch, c.Memory = r.need("ROAM_SWITCH"), r.need("ROAM_MEMORY")
	c.CacheCluster, c.CacheNode = r.word("ROAM_CACHE_CLUSTER", c.Place.Group+"-001"), r.get("ROAM_CACHE_NODE")
	rules := Rules{
		Alarms: r.list("ROAM_ALARMS"), Need: 2,
		Patience: r.span("ROAM_PATIENCE", 0, 0, time.Hour),
		LagLimit: r.span("ROAM_LAG_LIMIT", 5*time.Second, time.Millisecond, time.Hour),
		LagAge:   r.span("ROAM_LAG_AGE", 10*time.Minute, time.Minute, time.Hour),
		Cooldown: r.span("ROAM_COOLDOWN", 30*time.Minute, 5*time.Minute, 7*24*time.Hour),
		Force:    r.flag("ROAM_FORCE", "yes"),
	}
	if v := r.get("ROAM_NEED"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			r.fault("ROAM_NEED", "want a number")
		}
		rules.Need = n
	}
	if rules.Need < 1 || rules.Need > len(rules.Alarms) || len(rules.Alarms) > mostAlarms {
		r.fault("ROAM_ALARMS", "want at most %d, and at least the %d that must alarm", mostAlarms, rules.Need)
	}
	c.Rules = rules
}

// mostAlarms bounds the alarms of a promoter: as many as one question can name.
const mostAlarms = 100
