package route53

import (
	"crypto/rand"
	"encoding/xml"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// vpcID is what networks are called.
var vpcID = regexp.MustCompile(`^vpc-[0-9a-z]{1,40}$`)

// newID returns the part of an ID that is drawn.
func newID() string {
	return rand.Text()[:14]
}

type zoneShape struct {
	Id              string
	Name            string
	CallerReference string
	Config          struct {
		Comment     string `xml:",omitempty"`
		PrivateZone bool
	}
	ResourceRecordSetCount int
}

func (z *zone) shape() zoneShape {
	s := zoneShape{Id: "/hostedzone/" + z.id, Name: z.name, CallerReference: z.reference, ResourceRecordSetCount: len(z.records)}
	s.Config.Comment, s.Config.PrivateZone = z.comment, z.private
	return s
}

func (f *Fake) createZone(c *door.Call) (any, error) {
	var in struct {
		XMLName          xml.Name `xml:"CreateHostedZoneRequest"`
		Name             string
		VPC              *vpc
		CallerReference  string
		HostedZoneConfig struct {
			Comment     string
			PrivateZone bool
		}
	}
	if err := xml.Unmarshal(c.Body, &in); err != nil {
		return nil, invalid("Unable to read the request: %v", err)
	}
	name, ok := normal(in.Name)
	switch {
	case !ok || name == ".":
		return nil, door.Faultf(http.StatusBadRequest, "InvalidDomainName", "%.80q is no domain name", in.Name)
	case in.CallerReference == "":
		return nil, invalid("CallerReference is required")
	case in.VPC != nil && !vpcID.MatchString(in.VPC.VPCId):
		return nil, door.Faultf(http.StatusBadRequest, "InvalidVPCId", "The VPC ID is invalid.")
	case in.HostedZoneConfig.PrivateZone && in.VPC == nil:
		return nil, invalid("When creating private zone, at least one VPC is required.")
	case len(f.zones) >= mostZones:
		return nil, door.Faultf(http.StatusBadRequest, "TooManyHostedZones", "fakeaws has at most %d zones", mostZones)
	}
	for _, z := range f.zones {
		if z.reference == in.CallerReference {
			return nil, door.Faultf(http.StatusConflict, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.")
		}
	}
	z := &zone{
		id: "Z" + newID(), name: name, comment: in.HostedZoneConfig.Comment, reference: in.CallerReference,
		private: in.VPC != nil, records: apex(name),
	}
	if in.VPC != nil {
		z.vpcs = []vpc{*in.VPC}
	}
	z.served = z.records
	f.zones[z.id] = z
	info := f.submit(z, "", func() {})
	z.busy = f.agenda.Now() // a new zone takes changes at once
	return door.Reply{
		Status: http.StatusCreated, Header: map[string]string{"Location": "https://route53.amazonaws.com/2013-04-01/hostedzone/" + z.id},
		Body: struct {
			HostedZone zoneShape
			ChangeInfo changeInfo
			VPC        *vpc `xml:",omitempty"`
		}{z.shape(), info, in.VPC},
	}, nil
}

// apex are the records that each zone has by itself.
func apex(name string) records {
	soa, ns := int64(900), int64(172800)
	out := records{}
	for _, r := range []recordSet{
		{Name: name, Type: "SOA", TTL: &soa, ResourceRecords: []value{{"ns-1.fakeaws.invalid. hostmaster.fakeaws.invalid. 1 7200 900 1209600 5"}}},
		{Name: name, Type: "NS", TTL: &ns, ResourceRecords: []value{{"ns-1.fakeaws.invalid."}}},
	} {
		out[r.key()] = r
	}
	return out
}

func (f *Fake) listZones(c *door.Call) (any, error) {
	most, err := maxItems(c, 100)
	if err != nil {
		return nil, err
	}
	all := slices.SortedFunc(maps.Values(f.zones), func(a, b *zone) int {
		return strings.Compare(backwards(a.name)+" "+a.id, backwards(b.name)+" "+b.id)
	})
	if from, ok := normal(c.Query.Get("dnsname")); ok {
		all = slices.DeleteFunc(all, func(z *zone) bool { return backwards(z.name) < backwards(from) })
	}
	if marker := c.Query.Get("marker"); marker != "" {
		i := slices.IndexFunc(all, func(z *zone) bool { return z.id == marker })
		if i < 0 {
			return nil, invalid("marker %.40q", marker)
		}
		all = all[i:]
	}
	var out struct {
		HostedZones []zoneShape `xml:"HostedZones>HostedZone"`
		IsTruncated bool
		NextMarker  string `xml:",omitempty"`
		MaxItems    int
	}
	out.MaxItems = most
	for _, z := range all[:min(most, len(all))] {
		out.HostedZones = append(out.HostedZones, z.shape())
	}
	if len(all) > most {
		out.IsTruncated, out.NextMarker = true, all[most].id
	}
	return out, nil
}

func (f *Fake) getZone(c *door.Call) (any, error) {
	z, err := f.zone(c)
	if err != nil {
		return nil, err
	}
	return struct {
		HostedZone zoneShape
		VPCs       []vpc `xml:"VPCs>VPC,omitempty"`
	}{z.shape(), z.vpcs}, nil
}

func (f *Fake) deleteZone(c *door.Call) (any, error) {
	z, err := f.zone(c)
	if err != nil {
		return nil, err
	}
	if len(z.records) > len(apex(z.name)) {
		return nil, door.Faultf(http.StatusBadRequest, "HostedZoneNotEmpty", "The hosted zone contains resource records that are not SOA or NS records.")
	}
	delete(f.zones, z.id)
	return struct{ ChangeInfo changeInfo }{f.submit(z, "", func() {})}, nil
}

// associate adds a network to a private zone, or takes it away.
func (f *Fake) associate(c *door.Call) (any, error) {
	var in struct {
		VPC     vpc
		Comment string
	}
	if err := xml.Unmarshal(c.Body, &in); err != nil {
		return nil, invalid("Unable to read the request: %v", err)
	}
	z, err := f.zone(c)
	if err != nil {
		return nil, err
	}
	i := slices.Index(z.vpcs, in.VPC)
	switch {
	case !vpcID.MatchString(in.VPC.VPCId) || in.VPC.VPCRegion == "":
		return nil, door.Faultf(http.StatusBadRequest, "InvalidVPCId", "The VPC ID is invalid.")
	case !z.private:
		return nil, door.Faultf(http.StatusBadRequest, "PublicZoneVPCAssociation", "You're trying to associate a VPC with a public hosted zone.")
	case c.Action == "AssociateVPCWithHostedZone" && i >= 0:
		return nil, door.Faultf(http.StatusBadRequest, "ConflictingDomainExists", "The VPC %s is associated already.", in.VPC.VPCId)
	case c.Action == "AssociateVPCWithHostedZone":
		z.vpcs = append(z.vpcs, in.VPC)
	case i < 0:
		return nil, door.Faultf(http.StatusNotFound, "VPCAssociationNotFound", "The VPC %s is not associated.", in.VPC.VPCId)
	case len(z.vpcs) == 1:
		return nil, door.Faultf(http.StatusBadRequest, "LastVPCAssociation", "The last VPC of a private zone stays.")
	default:
		z.vpcs = slices.Delete(z.vpcs, i, i+1)
	}
	return struct{ ChangeInfo changeInfo }{f.submit(z, in.Comment, func() {})}, nil
}
