package awstest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A RecordSet is one of a zone, by the wire's names.
type RecordSet struct {
	Name          string
	Type          string
	SetIdentifier string   `xml:",omitempty"`
	Weight        *int64   `xml:",omitempty"`
	Failover      string   `xml:",omitempty"`
	TTL           int64    `xml:",omitempty"`
	Values        []string `xml:"ResourceRecords>ResourceRecord>Value"`
	HealthCheckID string   `xml:"HealthCheckId,omitempty"`
}

// Route53 is the service of that name, with one zone.
type Route53 struct {
	Zone     string // its ID
	Records  []RecordSet
	Sync     time.Duration // how long a change is pending
	OneByOne bool          // while one is, another is refused with PriorRequestNotComplete
	Batches  [][]Change    // that were taken

	changes map[string]time.Time // when each is in sync
	last    time.Time            // the latest of them
}

// A Change is one of a batch, by the wire's names.
type Change struct {
	Action string
	Set    RecordSet `xml:"ResourceRecordSet"`
}

type changeRequest struct {
	Changes []Change `xml:"ChangeBatch>Changes>Change"`
}

type listRequest struct {
	zone, name, kind string
	most             int
}

func (s *Route53) understand(r *http.Request, body []byte) (Call, any, error) {
	path, ok := strings.CutPrefix(r.URL.Path, "/2013-04-01/")
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	switch {
	case ok && len(parts) == 3 && parts[0] == "hostedzone" && parts[2] == "rrset":
		return records(r, body, parts[1])
	case ok && len(parts) == 2 && parts[0] == "change" && r.Method == http.MethodGet:
		return Call{Action: "GetChange", Resource: "arn:aws:route53:::change/" + parts[1]}, parts[1], nil
	}
	return Call{}, nil, fmt.Errorf("%s %s is nothing", r.Method, r.URL.Path)
}

// records reads a question for, or a change of, the records of a zone.
func records(r *http.Request, body []byte, zone string) (Call, any, error) {
	c := Call{Action: "ListResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/" + zone}
	if r.Method == http.MethodGet {
		q := r.URL.Query()
		most, err := strconv.Atoi(q.Get("maxitems"))
		if err != nil {
			most = 300
		}
		return c, listRequest{zone, q.Get("name"), q.Get("type"), most}, nil
	}
	var in changeRequest
	if err := xml.Unmarshal(body, &in); err != nil {
		return Call{}, nil, err
	}
	c.Action = "ChangeResourceRecordSets"
	for _, change := range in.Changes {
		c.Names = append(c.Names, strings.ToLower(strings.TrimSuffix(change.Set.Name, ".")))
		c.Types = append(c.Types, strings.ToUpper(change.Set.Type))
		c.Actions = append(c.Actions, change.Action)
	}
	return c, in, nil
}

type listResult struct {
	XMLName     xml.Name    `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ListResourceRecordSetsResponse"`
	Sets        []RecordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated bool
	MaxItems    int
	NextName    string `xml:"NextRecordName,omitempty"`
	NextType    string `xml:"NextRecordType,omitempty"`
}

type changeInfo struct {
	ID          string `xml:"Id"`
	Status      string
	SubmittedAt string
}

func (s *Route53) do(c Call, in any, now time.Time) (any, *failure) {
	if c.Action == "GetChange" {
		at, ok := s.changes[in.(string)]
		if !ok {
			return nil, &failure{"NoSuchChange", http.StatusNotFound, []string{"no such change"}}
		}
		return s.info(in.(string), at, now), nil
	}
	if !strings.HasSuffix(c.Resource, "/"+s.Zone) {
		return nil, &failure{"NoSuchHostedZone", http.StatusNotFound, []string{"no such zone"}}
	}
	if l, ok := in.(listRequest); ok {
		return s.list(l), nil
	}
	if s.OneByOne && now.Before(s.last) {
		return nil, refuse("PriorRequestNotComplete", "the request was rejected because Route 53 was still processing a prior request")
	}
	next := slices.Clone(s.Records)
	var faults []string
	for _, change := range in.(changeRequest).Changes {
		var fault string
		if next, fault = apply(next, change); fault != "" {
			faults = append(faults, fault)
		}
	}
	faults = append(faults, mixed(next)...)
	if len(faults) > 0 {
		return nil, &failure{"InvalidChangeBatch", http.StatusBadRequest, faults}
	}
	s.Records = next
	s.Batches = append(s.Batches, in.(changeRequest).Changes)
	if s.changes == nil {
		s.changes = map[string]time.Time{}
	}
	id := fmt.Sprintf("C%09d", len(s.changes)+1)
	s.last = now.Add(s.Sync)
	s.changes[id] = s.last
	return s.info(id, s.last, now), nil
}

func (s *Route53) info(id string, at, now time.Time) changeInfo {
	i := changeInfo{ID: "/change/" + id, Status: "PENDING", SubmittedAt: now.UTC().Format(time.RFC3339)}
	if !now.Before(at) {
		i.Status = "INSYNC"
	}
	return i
}

// order is how a zone is listed: by labels from the right, then by type and set.
func order(r RecordSet) string {
	labels := strings.Split(strings.TrimSuffix(r.Name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + " " + r.Type + " " + r.SetIdentifier
}

func (s *Route53) list(l listRequest) listResult {
	sets := slices.Clone(s.Records)
	slices.SortFunc(sets, func(a, b RecordSet) int { return strings.Compare(order(a), order(b)) })
	from := order(RecordSet{Name: l.name, Type: l.kind})
	sets = slices.DeleteFunc(sets, func(r RecordSet) bool { return order(r) < strings.TrimSpace(from) })
	out := listResult{Sets: sets, MaxItems: l.most}
	if len(sets) > l.most {
		out.IsTruncated, out.Sets = true, sets[:l.most]
		out.NextName, out.NextType = sets[l.most].Name, sets[l.most].Type
	}
	return out
}

// apply carries out one change, or says what is wrong with it.
func apply(records []RecordSet, c Change) ([]RecordSet, string) {
	r := c.Set
	r.Name = strings.ToLower(strings.TrimSuffix(r.Name, ".")) + "."
	at := slices.IndexFunc(records, func(o RecordSet) bool {
		return o.Name == r.Name && o.Type == r.Type && o.SetIdentifier == r.SetIdentifier
	})
	if r.TTL == 0 || len(r.Values) == 0 {
		return records, "it has no TTL or no value"
	}
	switch c.Action {
	case "DELETE":
		if at < 0 || !reflect.DeepEqual(records[at], r) {
			return records, fmt.Sprintf("Tried to delete resource record set [name='%s', type='%s'] but it was not found", r.Name, r.Type)
		}
		return slices.Delete(slices.Clone(records), at, at+1), ""
	case "CREATE":
		if at >= 0 {
			return records, fmt.Sprintf("Tried to create resource record set [name='%s', type='%s'] but it already exists", r.Name, r.Type)
		}
		return append(records, r), ""
	case "UPSERT":
		if at < 0 {
			return append(records, r), ""
		}
		out := slices.Clone(records)
		out[at] = r
		return out, ""
	}
	return records, fmt.Sprintf("no action %q", c.Action)
}

// mixed says what must not stand side by side.
func mixed(records []RecordSet) (faults []string) {
	for i, a := range records {
		if (a.SetIdentifier == "") != (a.Failover == "" && a.Weight == nil) {
			faults = append(faults, a.Name+" has a set identifier without a policy, or the other way round")
		}
		for _, b := range records[:i] {
			switch {
			case a.Name != b.Name:
			case a.Type != b.Type:
				if a.Type == "CNAME" || b.Type == "CNAME" {
					faults = append(faults, a.Name+" has a CNAME beside another type")
				}
			case (a.Failover == "") != (b.Failover == "") || (a.Weight == nil) != (b.Weight == nil):
				faults = append(faults, a.Name+" mixes policies")
			case a.Failover != "" && a.Failover == b.Failover:
				faults = append(faults, a.Name+" has two records of role "+a.Failover)
			}
		}
	}
	return faults
}

func (s *Route53) write(rw http.ResponseWriter, c Call, out any) {
	rw.Header().Set("Content-Type", "text/xml")
	if i, ok := out.(changeInfo); ok {
		out = struct {
			XMLName xml.Name
			Info    changeInfo `xml:"ChangeInfo"`
		}{xml.Name{Space: "https://route53.amazonaws.com/doc/2013-04-01/", Local: c.Action + "Response"}, i}
	}
	writeXML(rw, out)
}

func (s *Route53) fail(rw http.ResponseWriter, f *failure) {
	if f.code == "InvalidChangeBatch" {
		rw.WriteHeader(f.status)
		writeXML(rw, struct {
			XMLName   xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ InvalidChangeBatch"`
			Messages  []string `xml:"Messages>Message"`
			RequestID string   `xml:"RequestId"`
		}{Messages: f.messages, RequestID: "r"})
		return
	}
	failXML(rw, f, "https://route53.amazonaws.com/doc/2013-04-01/")
}

func writeXML(rw http.ResponseWriter, v any) {
	raw, err := xml.Marshal(v)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = rw.Write(append([]byte(xml.Header), raw...))
}

func failXML(rw http.ResponseWriter, f *failure, space string) {
	rw.Header().Set("Content-Type", "text/xml")
	rw.WriteHeader(f.status)
	type fault struct {
		Type    string
		Code    string
		Message string
	}
	writeXML(rw, struct {
		XMLName   xml.Name
		Error     fault
		RequestID string `xml:"RequestId"`
	}{xml.Name{Space: space, Local: "ErrorResponse"}, fault{"Sender", f.code, strings.Join(f.messages, "; ")}, "r"})
}
