package awsplan

import (
	"slices"
	"strings"
)

// What AWS offers where is what its schemas and pages say; what none of them says is refused rather than tried.
//
//   - ARC's control plane is in us-west-2 alone, and so is its stack; controls are about any Region.
//   - Clusters of DSQL that are peers, and tables of DynamoDB that are strongly consistent, are within one set
//     of Regions. us-west-1 has neither.
//   - Other partitions than aws have neither ARC as it is used here nor Global Accelerator.

// A set are Regions that may be together.
type set []string

func (s set) String() string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// together returns the set of Regions that DSQL's clusters and strong tables can span.
func together() set { return set{"us-east-1", "us-east-2", "us-west-2"} }

// lacksDSQL are Regions that have no DSQL at all, not even a cluster alone.
func lacksDSQL() []string {
	return []string{
		"af-south-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
		"cn-north-1", "cn-northwest-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1",
		"me-south-1", "mx-central-1", "us-gov-east-1", "us-gov-west-1", "us-west-1",
	}
}

// partition returns which of AWS's worlds a Region is in. They have no accounts, networks or names in common.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "us-iso"), strings.HasPrefix(region, "eu-iso"), strings.HasPrefix(region, "eusc-"):
		return "another"
	}
	return "aws"
}

// offered finds what is wanted where it is not.
func (j *verdict) offered(s Settings) {
	for i, r := range s.Regions {
		if partition(r.Name) != partition(s.Regions[0].Name) {
			j.fault(at(i, "name"), r.Name+" is in another partition than "+s.Regions[0].Name, "deploy there on its own: partitions share no accounts and no networks")
		}
		if partition(r.Name) == "another" {
			j.fault(at(i, "name"), "what is offered in "+r.Name+" is not known here", "use a Region of the partitions aws, aws-cn or aws-us-gov")
		}
	}
	if w := s.Witness.Name; w != "" && partition(w) != partition(s.Regions[0].Name) {
		j.fault("witness.name", w+" is in another partition than "+s.Regions[0].Name, "name a Region of the same: partitions share no networks")
	}
	foreign := partition(s.Regions[0].Name) != "aws"
	if s.DNS == DNSARC && foreign {
		j.fault("dns", "routing controls of ARC are not offered in this partition", "use dns: failover or dns: record")
	}
	if s.Edge && foreign {
		j.fault("edge", "Global Accelerator is not offered in this partition", "take edge away")
	}
	switch {
	case s.Variant == VariantDSQL && len(s.Regions) == 1:
		if slices.Contains(lacksDSQL(), s.Regions[0].Name) {
			j.lacks("regions[0].name", "Aurora DSQL", s.Regions[0].Name, "variant: cache, or variant: dynamodb")
		}
	case s.Variant == VariantDSQL:
		j.within(s, "Aurora DSQL in several Regions", "variant: cache, or variant: dynamodb")
	case s.Variant == VariantDynamo && s.Strong:
		j.within(s, "a Global Table of strong consistency", "take strong away, or use variant: cache")
	}
}

func (j *verdict) lacks(path, what, region, instead string) {
	j.fault(path, what+" is not offered in "+region, "use "+together().String()+", which have it; or "+instead)
}

// within finds Regions outside of the set that may be together.
func (j *verdict) within(s Settings, what, instead string) {
	for i, r := range s.Regions {
		if !slices.Contains(together(), r.Name) {
			j.lacks(at(i, "name"), what, r.Name, instead)
		}
	}
	if w := s.Witness.Name; w != "" && !slices.Contains(together(), w) {
		j.lacks("witness.name", what, w, instead)
	}
}

// Offered reports whether a Region has a type of CloudFormation's. Types that nobody says anything of are everywhere.
func Offered(kind, region string) bool {
	service := strings.Join(strings.Split(kind+"::", "::")[:2], "::")
	switch service {
	case "AWS::Route53RecoveryControl":
		return region == arcRegion
	case "AWS::DSQL":
		return !slices.Contains(lacksDSQL(), region)
	case "AWS::GlobalAccelerator":
		return partition(region) == "aws"
	}
	return true
}
