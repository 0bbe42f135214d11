package elasticache

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

const (
	// mostSettings bounds the parameter groups and the subnet groups of all Regions, each.
	mostSettings = 100
	// mostParameters bounds the parameters of one group that differ from the family's.
	mostParameters = 20
)

// settingName is what parameter and subnet groups may be called.
var settingName = regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9]){0,254}$`)

// family is how families of parameters are called.
var family = regexp.MustCompile(`^(valkey|redis)[0-9]+(\.x|\.[0-9]+)?$`)

// A parameterGroup is what servers are told. Servers here are not: docs/fakeaws.md says so.
type parameterGroup struct {
	name, family, description string
	values                    map[string]string
}

// A subnetGroup says where nodes are.
type subnetGroup struct {
	name, description string
	subnets           []string
}

type parameterGroupShape struct {
	CacheParameterGroupName   string
	CacheParameterGroupFamily string
	Description               string
	IsGlobal                  bool
	ARN                       string
}

func (f *Fake) createParameters(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "CacheParameterGroupName", "CacheParameterGroupFamily", "Description"); err != nil {
		return nil, err
	}
	g := &parameterGroup{
		name: strings.ToLower(p.Str("CacheParameterGroupName")), family: p.Str("CacheParameterGroupFamily"), description: p.Str("Description"),
		values: map[string]string{},
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := groupKey{c.Region, g.name}
	switch {
	case !settingName.MatchString(g.name):
		return nil, invalidValue("The parameter CacheParameterGroupName is not a valid identifier.")
	case !family.MatchString(g.family):
		return nil, invalidValue("CacheParameterGroupFamily %.40s is not a valid parameter group family", g.family)
	case f.parameters[key] != nil:
		return nil, fault("CacheParameterGroupAlreadyExists", "A CacheParameterGroup with name %s already exists.", g.name)
	case len(f.parameters) >= mostSettings:
		return nil, fault("CacheParameterGroupQuotaExceeded", "fakeaws has at most %d parameter groups", mostSettings)
	}
	f.parameters[key] = g
	return struct{ CacheParameterGroup parameterGroupShape }{f.tellParameters(c.Region, g)}, nil
}

func (f *Fake) tellParameters(region string, g *parameterGroup) parameterGroupShape {
	return parameterGroupShape{
		CacheParameterGroupName: g.name, CacheParameterGroupFamily: g.family, Description: g.description,
		ARN: fmt.Sprintf("arn:aws:elasticache:%s:%s:parametergroup:%s", region, f.config.Account, g.name),
	}
}

// parametersOf finds a parameter group of the Region that is asked.
func (f *Fake) parametersOf(c *door.Call) (*parameterGroup, error) {
	name := strings.ToLower(c.Params.Str("CacheParameterGroupName"))
	g := f.parameters[groupKey{c.Region, name}]
	if g == nil {
		return nil, door.Faultf(404, "CacheParameterGroupNotFound", "CacheParameterGroup not found: %.80s", name)
	}
	return g, nil
}

func (f *Fake) modifyParameters(c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.parametersOf(c)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(g.values)
	for _, v := range c.Params.Objects("ParameterNameValues") {
		if v.Str("ParameterName") == "" {
			return nil, invalidValue("A parameter has no name.")
		}
		next[v.Str("ParameterName")] = v.Str("ParameterValue")
	}
	if len(next) > mostParameters {
		return nil, invalidValue("fakeaws keeps at most %d parameters of a group", mostParameters)
	}
	g.values = next
	return struct{ CacheParameterGroupName string }{g.name}, nil
}

type parameterShape struct {
	ParameterName  string
	ParameterValue string
	Source         string
}

// describeParameters tells what was set; of what families say, fakeaws knows nothing.
func (f *Fake) describeParameters(c *door.Call) (any, error) {
	var out struct {
		Parameters []parameterShape `xml:"Parameters>Parameter"`
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.parametersOf(c)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(g.values)) {
		if source := c.Params.Str("Source"); source == "" || source == "user" {
			out.Parameters = append(out.Parameters, parameterShape{name, g.values[name], "user"})
		}
	}
	return out, nil
}

type subnetShape struct{ SubnetIdentifier string }

type subnetGroupShape struct {
	CacheSubnetGroupName        string
	CacheSubnetGroupDescription string
	Subnets                     []subnetShape `xml:"Subnets>Subnet"`
	ARN                         string
}

func (f *Fake) createSubnets(c *door.Call) (any, error) {
	p := c.Params
	if err := required(p, "CacheSubnetGroupName", "CacheSubnetGroupDescription"); err != nil {
		return nil, err
	}
	g := &subnetGroup{name: strings.ToLower(p.Str("CacheSubnetGroupName")), description: p.Str("CacheSubnetGroupDescription"), subnets: p.Strs("SubnetIds")}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := groupKey{c.Region, g.name}
	switch {
	case !settingName.MatchString(g.name):
		return nil, invalidValue("The parameter CacheSubnetGroupName is not a valid identifier.")
	case len(g.subnets) == 0 || len(g.subnets) > mostParameters:
		return nil, invalidValue("SubnetIds: from one to %d", mostParameters)
	case f.subnets[key] != nil:
		return nil, fault("CacheSubnetGroupAlreadyExists", "CacheSubnetGroup %s already exists.", g.name)
	case len(f.subnets) >= mostSettings:
		return nil, fault("CacheSubnetGroupQuotaExceeded", "fakeaws has at most %d subnet groups", mostSettings)
	}
	f.subnets[key] = g
	out := subnetGroupShape{
		CacheSubnetGroupName: g.name, CacheSubnetGroupDescription: g.description,
		ARN: fmt.Sprintf("arn:aws:elasticache:%s:%s:subnetgroup:%s", c.Region, f.config.Account, g.name),
	}
	for _, s := range g.subnets {
		out.Subnets = append(out.Subnets, subnetShape{s})
	}
	return struct{ CacheSubnetGroup subnetGroupShape }{out}, nil
}
