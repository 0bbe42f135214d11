package route53

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	// mostChanges and mostValueBytes bound a batch, as Route 53 does: elements of
	// ResourceRecord, and the characters in their values. An UPSERT counts twice.
	mostChanges    = 1000
	mostValueBytes = 32000
	// mostRecords bounds a zone's record sets, as Route 53 does by default.
	mostRecords = 10000
	// mostTTL is 31 bits, by RFC 2181.
	mostTTL = 1<<31 - 1
)

// A recordSet is one resource record set, in the form that the API has.
type recordSet struct {
	Name            string
	Type            string
	SetIdentifier   string `xml:",omitempty"`
	Failover        string `xml:",omitempty"`
	TTL             *int64
	ResourceRecords []value `xml:"ResourceRecords>ResourceRecord,omitempty"`
	HealthCheckId   string  `xml:",omitempty"`
	// What is not known here is refused, and never taken for a simple record.
	Weight                  *int64    `xml:",omitempty"`
	Region                  string    `xml:",omitempty"`
	MultiValueAnswer        *bool     `xml:",omitempty"`
	GeoLocation             *struct{} `xml:",omitempty"`
	GeoProximityLocation    *struct{} `xml:",omitempty"`
	CidrRoutingConfig       *struct{} `xml:",omitempty"`
	AliasTarget             *struct{} `xml:",omitempty"`
	TrafficPolicyInstanceId string    `xml:",omitempty"`
}

// A value is one record's data.
type value struct{ Value string }

// A change is one of a batch.
type change struct {
	Action            string
	ResourceRecordSet recordSet
}

// A batch is what ChangeResourceRecordSets asks for.
type batch struct {
	XMLName xml.Name `xml:"ChangeResourceRecordSetsRequest"`
	Changes []change `xml:"ChangeBatch>Changes>Change"`
	Comment string   `xml:"ChangeBatch>Comment"`
}

// decodeBatch reads a batch, and brings its names into the form that zones have.
func decodeBatch(body []byte) (batch, error) {
	var b batch
	if err := xml.Unmarshal(body, &b); err != nil {
		return b, err
	}
	if len(b.Changes) == 0 {
		return b, errors.New("the batch has no changes")
	}
	for i := range b.Changes {
		r := &b.Changes[i].ResourceRecordSet
		name, ok := normal(r.Name)
		if !ok {
			return b, fmt.Errorf("%.80q is no name", r.Name)
		}
		r.Name = name
	}
	return b, nil
}

// normal brings a name into lower case and ends it with a dot.
func normal(name string) (string, bool) {
	name = strings.ToLower(strings.ReplaceAll(name, `\052`, "*"))
	if _, ok := dns.IsDomainName(name); !ok || name == "" || strings.ContainsAny(name, `\ `) {
		return "", false
	}
	return dns.Fqdn(name), true
}

// A recordKey tells record sets apart.
type recordKey struct{ name, kind, set string }

func (r recordSet) key() recordKey { return recordKey{r.Name, r.Type, r.SetIdentifier} }

// records are those of a zone. They are never changed once made.
type records map[recordKey]recordSet

// with returns the records after a batch, or what is wrong with it. Either all of it is
// done or nothing.
func (rs records) with(zone string, b batch) (records, []string) {
	out := maps.Clone(rs)
	var wrong []string
	values, size := 0, 0
	for _, c := range b.Changes {
		for _, v := range c.ResourceRecordSet.ResourceRecords {
			n := 1
			if c.Action == "UPSERT" {
				n = 2
			}
			values, size = values+n, size+n*len(v.Value)
		}
		if m := out.apply(zone, c); m != "" {
			wrong = append(wrong, m)
		}
	}
	if values > mostChanges || size > mostValueBytes {
		wrong = append(wrong, fmt.Sprintf("Number of records limit of %d exceeded, or their values have more than %d characters.", mostChanges, mostValueBytes))
	}
	if len(out) > mostRecords {
		wrong = append(wrong, fmt.Sprintf("A zone has at most %d record sets.", mostRecords))
	}
	if len(wrong) == 0 {
		wrong = out.conflicts(zone, b)
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return out, nil
}

// apply does one change, or says why not.
func (rs records) apply(zone string, c change) string {
	r := c.ResourceRecordSet
	named := fmt.Sprintf("[name='%s', type='%s'%s]", r.Name, r.Type, r.identified())
	if !dns.IsSubDomain(zone, r.Name) {
		return fmt.Sprintf("RRSet with DNS name %s is not permitted in zone %s", r.Name, zone)
	}
	old, there := rs[r.key()]
	switch c.Action {
	case "DELETE":
		if !there {
			return "Tried to delete resource record set " + named + " but it was not found"
		}
		if !old.same(r) {
			return "Tried to delete resource record set " + named + " but the values provided do not match the current values"
		}
		delete(rs, r.key())
		return ""
	case "CREATE":
		if there {
			return "Tried to create resource record set " + named + " but it already exists"
		}
	case "UPSERT":
	default:
		return fmt.Sprintf("Invalid action %.20q", c.Action)
	}
	if m := r.wrong(); m != "" {
		return m
	}
	rs[r.key()] = r
	return ""
}

func (r recordSet) identified() string {
	if r.SetIdentifier == "" {
		return ""
	}
	return fmt.Sprintf(", set-identifier='%s'", r.SetIdentifier)
}

// same compares what a deletion must repeat.
func (r recordSet) same(other recordSet) bool {
	a, b := slices.Clone(r.ResourceRecords), slices.Clone(other.ResourceRecords)
	byValue := func(x, y value) int { return cmp.Compare(x.Value, y.Value) }
	slices.SortFunc(a, byValue)
	slices.SortFunc(b, byValue)
	return slices.Equal(a, b) && r.TTL != nil && other.TTL != nil && *r.TTL == *other.TTL &&
		r.Failover == other.Failover && r.HealthCheckId == other.HealthCheckId
}

// wrong says what is wrong with a record set by itself.
func (r recordSet) wrong() string {
	switch {
	case !slices.Contains([]string{"A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR", "NS", "SOA", "CAA"}, r.Type):
		return fmt.Sprintf("Invalid record type %.20q", r.Type)
	case r.strange():
		return "fakeaws knows simple records and failover records alone"
	case r.TTL == nil || *r.TTL < 0 || *r.TTL > mostTTL:
		return fmt.Sprintf("Invalid TTL for %s", r.Name)
	case len(r.ResourceRecords) == 0:
		return fmt.Sprintf("Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]] for %s", r.Name)
	case r.Type == "CNAME" && len(r.ResourceRecords) > 1:
		return fmt.Sprintf("CNAME %s has more than one value", r.Name)
	case r.Failover != "" && r.Failover != "PRIMARY" && r.Failover != "SECONDARY":
		return fmt.Sprintf("Invalid failover %.20q", r.Failover)
	case (r.Failover == "") != (r.SetIdentifier == ""):
		return fmt.Sprintf("Missing field 'SetIdentifier' or a routing policy in %s", r.Name)
	}
	for _, v := range r.ResourceRecords {
		if _, err := r.wire(v.Value); err != nil {
			return fmt.Sprintf("Invalid Resource Record: FATAL problem: %.200q: %v", v.Value, err)
		}
	}
	return ""
}

// strange reports whether a record set has a policy that is not known here.
func (r recordSet) strange() bool {
	return r.Weight != nil || r.Region != "" || r.MultiValueAnswer != nil || r.GeoLocation != nil || r.GeoProximityLocation != nil ||
		r.CidrRoutingConfig != nil || r.AliasTarget != nil || r.TrafficPolicyInstanceId != ""
}

// wire is a value as DNS has it.
func (r recordSet) wire(v string) (dns.RR, error) {
	if strings.ContainsAny(v, "\n\r") || len(v) > 4000 {
		return nil, errors.New("the value is too long or has more than one line")
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", r.Name, *r.TTL, r.Type, v))
	switch {
	case err != nil:
		return nil, err
	case rr == nil || dns.TypeToString[rr.Header().Rrtype] != r.Type:
		return nil, errors.New("no such data")
	}
	if c, ok := rr.(*dns.CNAME); ok {
		c.Target = dns.Fqdn(c.Target) // relative to the root, as Route 53 takes it
	}
	return rr, nil
}

// conflicts says what can't stand together after a batch.
func (rs records) conflicts(zone string, b batch) []string {
	var wrong []string
	for _, c := range b.Changes {
		r := c.ResourceRecordSet
		if _, there := rs[r.key()]; !there {
			continue
		}
		if m := rs.conflict(zone, r); m != "" {
			wrong = append(wrong, m)
		}
	}
	return wrong
}

func (rs records) conflict(zone string, r recordSet) string {
	if r.Type == "CNAME" && r.Name == zone {
		return fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", r.Name, zone)
	}
	for k, other := range rs {
		switch {
		case k.name != r.Name || k == r.key():
		case (k.kind == "CNAME") != (r.Type == "CNAME"):
			return fmt.Sprintf("RRSet of type %s with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s", r.Type, r.Name, zone)
		case k.kind != r.Type:
		case (other.Failover == "") != (r.Failover == ""):
			return fmt.Sprintf("RRSet with DNS name %s, type %s, SetIdentifier %s cannot be created as other RRSets exist with the same name and type.", r.Name, r.Type, cmp.Or(r.SetIdentifier, "null"))
		case other.Failover == r.Failover:
			return fmt.Sprintf("RRSet with DNS name %s, type %s, SetIdentifier %s cannot be created as another %s exists.", r.Name, r.Type, r.SetIdentifier, r.Failover)
		}
	}
	return ""
}

// sorted returns the record sets as they are listed: by their labels from the last, then
// type, then identifier.
func (rs records) sorted() []recordSet {
	return slices.SortedFunc(maps.Values(rs), func(a, b recordSet) int {
		return cmp.Or(cmp.Compare(backwards(a.Name), backwards(b.Name)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.SetIdentifier, b.SetIdentifier))
	})
}

func backwards(name string) string {
	labels := dns.SplitDomainName(name)
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}
