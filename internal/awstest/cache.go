package awstest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Cache is ElastiCache with one Global Datastore.
type Cache struct {
	Global  string // its ID
	Status  string // of it; empty: available
	Members []Member
	// Alone are replication groups that are in no Global Datastore, by Region.
	Alone map[string]string
	// Local overrides the role that a Region's own group says it has, by Region.
	Local map[string]string
	// Cluster: the groups are in cluster mode.
	Cluster bool
	// Failovers are the Regions that FailoverGlobalReplicationGroup was called for.
	Failovers []string
}

// A Member is one of a Global Datastore.
type Member struct {
	ID, Region, Role string
	Status           string // of the group in its Region; empty: available
}

// Promote makes a Region's member the primary and all others secondaries.
func (s *Cache) Promote(region string) {
	for i := range s.Members {
		s.Members[i].Role = "SECONDARY"
		if s.Members[i].Region == region {
			s.Members[i].Role = "PRIMARY"
		}
	}
}

func (s *Cache) understand(_ *http.Request, body []byte) (Call, any, error) {
	in, err := url.ParseQuery(string(trim(body)))
	if err != nil {
		return Call{}, nil, err
	}
	if in.Get("Version") != "2015-02-02" {
		return Call{}, nil, fmt.Errorf("version %q", in.Get("Version"))
	}
	c := Call{Action: in.Get("Action")}
	if id := in.Get("GlobalReplicationGroupId"); id != "" && c.Action == "FailoverGlobalReplicationGroup" {
		c.Resource = "arn:aws:elasticache::123456789012:globalreplicationgroup:" + id
		c.Names = []string{in.Get("PrimaryReplicationGroupId")}
	}
	return c, in, nil
}

const cacheSpace = "http://elasticache.amazonaws.com/doc/2015-02-02/"

func (s *Cache) do(c Call, in any, _ time.Time) (any, *failure) {
	q := in.(url.Values)
	status := s.Status
	if status == "" {
		status = "available"
	}
	switch c.Action {
	case "DescribeReplicationGroups":
		return s.group(c.Region, q.Get("ReplicationGroupId"))
	case "DescribeGlobalReplicationGroups":
		if q.Get("GlobalReplicationGroupId") != s.Global || s.Global == "" {
			return nil, &failure{"GlobalReplicationGroupNotFoundFault", http.StatusNotFound, []string{"not found"}}
		}
		var b strings.Builder
		fmt.Fprintf(&b, `<GlobalReplicationGroups><GlobalReplicationGroup><GlobalReplicationGroupId>%s</GlobalReplicationGroupId><Status>%s</Status><Engine>valkey</Engine><EngineVersion>8.2</EngineVersion><ClusterEnabled>%t</ClusterEnabled><ARN>arn:aws:elasticache::123456789012:globalreplicationgroup:%s</ARN>`, s.Global, status, s.Cluster, s.Global)
		if q.Get("ShowMemberInfo") == "true" {
			b.WriteString("<Members>")
			for _, m := range s.Members {
				fmt.Fprintf(&b, `<GlobalReplicationGroupMember><ReplicationGroupId>%s</ReplicationGroupId><ReplicationGroupRegion>%s</ReplicationGroupRegion><Role>%s</Role><AutomaticFailover>enabled</AutomaticFailover><Status>associated</Status></GlobalReplicationGroupMember>`, m.ID, m.Region, m.Role)
			}
			b.WriteString("</Members>")
		}
		b.WriteString("</GlobalReplicationGroup></GlobalReplicationGroups>")
		return b.String(), nil
	case "FailoverGlobalReplicationGroup":
		i := slices.IndexFunc(s.Members, func(m Member) bool {
			return m.Region == q.Get("PrimaryRegion") && m.ID == q.Get("PrimaryReplicationGroupId")
		})
		switch {
		case q.Get("GlobalReplicationGroupId") != s.Global:
			return nil, &failure{"GlobalReplicationGroupNotFoundFault", http.StatusNotFound, []string{"not found"}}
		case status != "available":
			return nil, refuse("InvalidGlobalReplicationGroupState", "not available or in primary-only state")
		case i < 0 || s.Members[i].Role == "PRIMARY":
			return nil, refuse("InvalidParameterValue", "it is no secondary")
		}
		s.Failovers = append(s.Failovers, s.Members[i].Region)
		s.Status = "modifying"
		return "<GlobalReplicationGroup><GlobalReplicationGroupId>" + s.Global + "</GlobalReplicationGroupId><Status>modifying</Status></GlobalReplicationGroup>", nil
	}
	return nil, refuse("InvalidAction", "no action %q", c.Action)
}

// group describes a group of a Region as that Region does.
func (s *Cache) group(region, id string) (any, *failure) {
	var global, status string
	found := s.Alone[region] == id && id != ""
	for _, m := range s.Members {
		if m.Region == region && m.ID == id {
			found, status = true, m.Status
			role := m.Role
			if l, ok := s.Local[region]; ok {
				role = l
			}
			global = fmt.Sprintf(`<GlobalReplicationGroupInfo><GlobalReplicationGroupId>%s</GlobalReplicationGroupId><GlobalReplicationGroupMemberRole>%s</GlobalReplicationGroupMemberRole></GlobalReplicationGroupInfo>`, s.Global, role)
		}
	}
	if !found {
		return nil, &failure{"ReplicationGroupNotFoundFault", http.StatusNotFound, []string{"not found"}}
	}
	if status == "" {
		status = "available"
	}
	return fmt.Sprintf(`<ReplicationGroups><ReplicationGroup><ReplicationGroupId>%s</ReplicationGroupId>%s<Status>%s</Status><ClusterEnabled>%t</ClusterEnabled>%s</ReplicationGroup></ReplicationGroups>`,
		id, global, status, s.Cluster, s.endpoints(id, region)), nil
}

func (s *Cache) endpoints(id, region string) string {
	if s.Cluster {
		return "<ConfigurationEndpoint><Address>" + Endpoint("clustercfg", id, region) + "</Address><Port>6379</Port></ConfigurationEndpoint>"
	}
	return "<NodeGroups><NodeGroup><NodeGroupId>0001</NodeGroupId><Status>available</Status><PrimaryEndpoint><Address>" + Endpoint("master", id, region) +
		"</Address><Port>6379</Port></PrimaryEndpoint><ReaderEndpoint><Address>" + Endpoint("replica", id, region) + "</Address><Port>6379</Port></ReaderEndpoint></NodeGroup></NodeGroups>"
}

// Endpoint returns the name of a group's endpoint of a kind: master, replica or clustercfg.
func Endpoint(kind, id, region string) string {
	short := strings.NewReplacer("us-west-", "usw", "us-east-", "use").Replace(region)
	return fmt.Sprintf("%s.%s.abc.%s.cache.amazonaws.com", kind, id, short)
}

func (s *Cache) write(rw http.ResponseWriter, c Call, out any) {
	rw.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(rw, `<%[1]sResponse xmlns="%[2]s"><%[1]sResult>%[3]s</%[1]sResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></%[1]sResponse>`, c.Action, cacheSpace, out)
}

func (s *Cache) fail(rw http.ResponseWriter, f *failure) { failXML(rw, f, cacheSpace) }
