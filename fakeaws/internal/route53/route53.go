package route53

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

const (
	// Region is where Route 53's only API is, and what its requests are signed for.
	Region = "us-east-1"
	// namespace is that of its XML.
	namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
	// mostZones, mostChecks and mostKept bound what there is: zones and health checks are
	// refused beyond it, of changes the oldest is forgotten.
	mostZones, mostChecks, mostKept = 100, 200, 10000
)

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what changes become INSYNC by.
	Clock clock.Clock
	// Account is whose zones they are.
	Account string
	// Propagation is how long a change is PENDING, and Busy how long its zone takes no
	// other one.
	Propagation, Busy time.Duration
	// OldBatchErrors has a batch refused in the form of the API's reference, with a root of
	// its own. What clients log of late is an ErrorResponse as all others are.
	OldBatchErrors bool
	// Throttles has the API take as many calls as Route 53 does, and no more.
	Throttles bool
	// Lookup finds the addresses of names that are in no zone.
	Lookup func(name string) (netip.Addr, bool)
	// Alarm returns OK, ALARM or INSUFFICIENT_DATA as an alarm's metric makes it; "" if
	// there is no such alarm.
	Alarm func(region, name string) string
	// Fits reports what keeps a health check from having an alarm; nil if nothing does.
	Fits func(region, name string) error
	// Control reports whether a routing control is on, and whether there is one.
	Control func(arn string) (on, there bool)
}

// A Fake is Route 53. Goroutines may share it.
type Fake struct {
	config Config
	agenda *clock.Agenda

	mu      sync.Mutex // guards what follows
	zones   map[string]*zone
	checks  map[string]*check
	changes map[string]*changeInfo
	kept    []string // the IDs of changes, the oldest first
}

// A zone is a hosted zone.
type zone struct {
	id, name, comment, reference string
	private                      bool
	vpcs                         []vpc
	records                      records // as the API tells them
	served                       records // as the name server does
	busy                         time.Time
}

// A vpc is a network that a private zone is for.
type vpc struct{ VPCRegion, VPCId string }

// A changeInfo is a change as the API tells it.
type changeInfo struct {
	Id          string
	Status      string
	SubmittedAt string
	Comment     string `xml:",omitempty"`
}

// New returns a fake without zones. Close ends what it has begun.
func New(ctx context.Context, c Config) *Fake {
	return &Fake{
		config: c, agenda: clock.NewAgenda(ctx, c.Clock),
		zones: map[string]*zone{}, checks: map[string]*check{}, changes: map[string]*changeInfo{},
	}
}

// Close leaves changes that are pending as they are.
func (f *Fake) Close() { f.agenda.Close() }

func routes() []door.Route {
	const at = "/2013-04-01"
	return []door.Route{
		{Action: "CreateHostedZone", Method: http.MethodPost, Path: at + "/hostedzone"},
		{Action: "ListHostedZones", Method: http.MethodGet, Path: at + "/hostedzone"},
		{Action: "ListHostedZonesByName", Method: http.MethodGet, Path: at + "/hostedzonesbyname"},
		{Action: "GetHostedZone", Method: http.MethodGet, Path: at + "/hostedzone/{Id}"},
		{Action: "DeleteHostedZone", Method: http.MethodDelete, Path: at + "/hostedzone/{Id}"},
		{Action: "AssociateVPCWithHostedZone", Method: http.MethodPost, Path: at + "/hostedzone/{Id}/associatevpc"},
		{Action: "DisassociateVPCFromHostedZone", Method: http.MethodPost, Path: at + "/hostedzone/{Id}/disassociatevpc"},
		{Action: "ChangeResourceRecordSets", Method: http.MethodPost, Path: at + "/hostedzone/{Id}/rrset"},
		{Action: "ListResourceRecordSets", Method: http.MethodGet, Path: at + "/hostedzone/{Id}/rrset"},
		{Action: "GetChange", Method: http.MethodGet, Path: at + "/change/{Id}"},
		{Action: "CreateHealthCheck", Method: http.MethodPost, Path: at + "/healthcheck"},
		{Action: "ListHealthChecks", Method: http.MethodGet, Path: at + "/healthcheck"},
		{Action: "GetHealthCheck", Method: http.MethodGet, Path: at + "/healthcheck/{Id}"},
		{Action: "UpdateHealthCheck", Method: http.MethodPost, Path: at + "/healthcheck/{Id}"},
		{Action: "DeleteHealthCheck", Method: http.MethodDelete, Path: at + "/healthcheck/{Id}"},
		{Action: "GetHealthCheckStatus", Method: http.MethodGet, Path: at + "/healthcheck/{Id}/status"},
	}
}

// Service returns what the door leads to.
func (f *Fake) Service() *door.Service {
	x := door.RESTXML{Namespace: namespace, Routes: routes()}
	s := &door.Service{
		Name: "route53", Regions: []string{Region},
		Speaks: func(*http.Request) door.Protocol { return x },
		Act:    f.act,
		Asks:   asks,
	}
	if f.config.Throttles {
		s.Bucket = bucket
	}
	return s
}

// bucket has the rates and bursts that Route 53 documents, by action and for all.
func bucket(action string) (rate, burst float64) {
	switch action {
	case "AssociateVPCWithHostedZone":
		return 5, 20
	case "CreateHealthCheck":
		return 0.5, 50
	case "CreateHostedZone":
		return 2, 40
	case "DeleteHealthCheck":
		return 3, 15
	case "DisassociateVPCFromHostedZone":
		return 5, 10
	case "GetHealthCheckStatus":
		return 1, 4
	}
	return 10, 50
}

// asks returns what policies must allow. A change of records shows which.
func asks(c *door.Call) []iam.Request {
	id := c.Vars["Id"]
	switch {
	case c.Action == "GetChange":
		return []iam.Request{{Resource: "arn:aws:route53:::change/" + id}}
	case id == "":
		return nil
	case strings.Contains(c.Action, "HealthCheck"):
		return []iam.Request{{Resource: "arn:aws:route53:::healthcheck/" + id}}
	case c.Action != "ChangeResourceRecordSets":
		return []iam.Request{{Resource: "arn:aws:route53:::hostedzone/" + id}}
	}
	b, err := decodeBatch(c.Body)
	context := map[string][]string{}
	if err == nil {
		for _, ch := range b.Changes {
			r := ch.ResourceRecordSet
			for key, v := range map[string]string{
				"route53:ChangeResourceRecordSetsNormalizedRecordNames": strings.TrimSuffix(r.Name, "."),
				"route53:ChangeResourceRecordSetsRecordTypes":           strings.ToUpper(r.Type),
				"route53:ChangeResourceRecordSetsActions":               ch.Action,
			} {
				context[key] = append(context[key], v)
			}
		}
	}
	return []iam.Request{{Resource: "arn:aws:route53:::hostedzone/" + id, Context: context}}
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	act := map[string]func(c *door.Call) (any, error){
		"CreateHostedZone": f.createZone, "ListHostedZones": f.listZones, "ListHostedZonesByName": f.listZones,
		"GetHostedZone": f.getZone, "DeleteHostedZone": f.deleteZone,
		"AssociateVPCWithHostedZone": f.associate, "DisassociateVPCFromHostedZone": f.associate,
		"ChangeResourceRecordSets": f.changeRecords, "ListResourceRecordSets": f.listRecords, "GetChange": f.getChange,
		"CreateHealthCheck": f.createCheck, "ListHealthChecks": f.listChecks, "GetHealthCheck": f.getCheck,
		"UpdateHealthCheck": f.updateCheck, "DeleteHealthCheck": f.deleteCheck, "GetHealthCheckStatus": f.checkStatus,
	}[c.Action]
	if act == nil {
		return nil, door.ErrUnknownAction
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return act(c)
}

func invalid(format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, "InvalidInput", format, args...)
}

func (f *Fake) zone(c *door.Call) (*zone, error) {
	z := f.zones[c.Vars["Id"]]
	if z == nil {
		return nil, door.Faultf(http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: %s", c.Vars["Id"])
	}
	return z, nil
}

// submit keeps a change, has its zone busy, and plans what it does once it is in sync.
func (f *Fake) submit(z *zone, comment string, then func()) changeInfo {
	now := f.agenda.Now()
	info := &changeInfo{Id: "/change/C" + newID(), Status: "PENDING", SubmittedAt: now.UTC().Format("2006-01-02T15:04:05.000Z"), Comment: comment}
	if len(f.kept) >= mostKept {
		delete(f.changes, f.kept[0])
		f.kept = f.kept[1:]
	}
	f.kept = append(f.kept, info.Id)
	f.changes[info.Id] = info
	z.busy = now.Add(f.config.Busy)
	f.agenda.After(f.config.Propagation, func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		info.Status = "INSYNC"
		then()
	})
	return *info
}

func (f *Fake) getChange(c *door.Call) (any, error) {
	info := f.changes["/change/"+c.Vars["Id"]]
	if info == nil {
		return nil, door.Faultf(http.StatusNotFound, "NoSuchChange", "Could not find resource with ID: %s", c.Vars["Id"])
	}
	return struct{ ChangeInfo changeInfo }{*info}, nil
}

func (f *Fake) changeRecords(c *door.Call) (any, error) {
	z, err := f.zone(c)
	if err != nil {
		return nil, err
	}
	b, err := decodeBatch(c.Body)
	if err != nil {
		return nil, invalid("Unable to read the change batch: %v", err)
	}
	if f.agenda.Now().Before(z.busy) {
		return nil, door.Faultf(http.StatusBadRequest, "PriorRequestNotComplete", "The request was rejected because Route 53 was still processing a prior request.")
	}
	for _, ch := range b.Changes {
		id := ch.ResourceRecordSet.HealthCheckId
		if id != "" && ch.Action != "DELETE" && f.checks[id] == nil {
			return nil, noCheck(id)
		}
	}
	next, wrong := z.records.with(z.name, b)
	if wrong != nil {
		refused := &door.Fault{Code: "InvalidChangeBatch", Message: "[" + strings.Join(wrong, ", ") + "]"}
		if f.config.OldBatchErrors {
			refused.Messages = wrong
		}
		return nil, refused
	}
	z.records = next
	info := f.submit(z, b.Comment, func() { z.served = next })
	return struct{ ChangeInfo changeInfo }{info}, nil
}

// A listing is what ListResourceRecordSets tells.
type listing struct {
	ResourceRecordSets   []recordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated          bool
	NextRecordName       string `xml:",omitempty"`
	NextRecordType       string `xml:",omitempty"`
	NextRecordIdentifier string `xml:",omitempty"`
	MaxItems             int
}

func (f *Fake) listRecords(c *door.Call) (any, error) {
	z, err := f.zone(c)
	if err != nil {
		return nil, err
	}
	most, err := maxItems(c, 300)
	if err != nil {
		return nil, err
	}
	name, kind, id := c.Query.Get("name"), c.Query.Get("type"), c.Query.Get("identifier")
	if name == "" && kind != "" || kind == "" && id != "" {
		return nil, invalid("A type needs a name, and an identifier a type")
	}
	all := z.records.sorted()
	if name != "" {
		from, ok := normal(name)
		if !ok {
			return nil, invalid("%.80q is no name", name)
		}
		start := recordSet{Name: from, Type: kind, SetIdentifier: id}
		all = slices.DeleteFunc(all, func(r recordSet) bool { return before(r, start) })
	}
	out := listing{MaxItems: most, ResourceRecordSets: all[:min(most, len(all))]}
	if len(all) > most {
		next := all[most]
		out.IsTruncated, out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier = true, next.Name, next.Type, next.SetIdentifier
	}
	for i := range out.ResourceRecordSets {
		r := &out.ResourceRecordSets[i]
		r.Name = strings.ReplaceAll(r.Name, "*", `\052`)
	}
	return out, nil
}

// before reports whether a record set is listed before another one.
func before(a, b recordSet) bool {
	if x, y := backwards(a.Name), backwards(b.Name); x != y {
		return x < y
	}
	if a.Type != b.Type {
		return a.Type < b.Type
	}
	return a.SetIdentifier < b.SetIdentifier
}

// maxItems is how much a list has at once.
func maxItems(c *door.Call, most int) (int, error) {
	text := c.Query.Get("maxitems")
	if text == "" {
		return most, nil
	}
	n := 0
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil || n < 1 || fmt.Sprint(n) != text {
		return 0, invalid("maxitems %.20q", text)
	}
	return min(n, most), nil
}

// SetHealth says how the endpoint of a health check is. It fails for checks that look at
// something else.
func (f *Fake) SetHealth(id string, healthy bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.checks[id]
	if c == nil {
		return noCheck(id)
	}
	if !endpointType(c.HealthCheckConfig.Type) {
		return errors.New("what a health check of type " + c.HealthCheckConfig.Type + " looks at is set elsewhere")
	}
	c.down = !healthy
	return nil
}

// Zones returns the IDs of the zones, by their names.
func (f *Fake) Zones() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]string{}
	for id := range maps.Keys(f.zones) {
		out[f.zones[id].name] = id
	}
	return out
}
