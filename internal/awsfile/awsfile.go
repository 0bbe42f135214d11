package awsfile

import (
	_ "embed" // the example
	"errors"
	"regexp"
	"slices"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/yamlfile"
)

const (
	// version is what the file says of itself. Others are refused.
	version = 1
	// mostRegions is what DynamoDB's Global Tables have, the most of all variants.
	mostRegions = 16
	// mostShards is what ElastiCache has at most.
	mostShards = 500
	// mostNetworks bounds what is counted; nobody has more networks to connect.
	mostNetworks = 5000
)

//go:embed example.yaml
var example string

// Example returns a file with comments: a Global Datastore in two Regions.
func Example() string { return example }

// A File is what aws.yaml says.
type File struct {
	// Settings are what is wanted.
	Settings awsplan.Settings
	// Account is the number of the account that all is to be in; empty: whoever's the credentials are.
	Account string
	// Role is the ARN of a role by which CloudFormation makes things; empty: by the rights of who deploys.
	Role string
}

// Parse reads a file and plans what it wants. It fails with yamlfile.Faults: all that is wrong with either, as far as
// it can be told.
func Parse(text []byte) (File, awsplan.Plan, error) {
	in, top := yamlfile.Parse(text, `"roam aws example" prints one to begin with`)
	if err := in.Err(); err != nil {
		return File{}, awsplan.Plan{}, err
	}
	f := read(top)
	plan, err := awsplan.New(f.Settings)
	// What could not be read is not what somebody wanted, so a plan of it would find faults that there are not; those
	// of other places are told all the same.
	broken := in.Err()
	var faults awsplan.Faults
	switch {
	case errors.As(err, &faults):
		for _, fault := range faults {
			at := top.At(fault.Path)
			if !told(broken, fault.Path) {
				in.Add(yamlfile.Fault{Line: at.Line(), Column: at.Column(), Path: fault.Path, What: fault.What, Mend: fault.Mend})
			}
		}
	case err != nil && broken == nil:
		in.Add(yamlfile.Fault{What: err.Error(), Mend: `compare it with what "roam aws example" prints`})
	}
	return f, plan, in.Err()
}

// told reports whether a fault of a place, or of one around it or in it, is told already.
func told(err error, path string) bool {
	var faults yamlfile.Faults
	return errors.As(err, &faults) && slices.ContainsFunc(faults, func(f yamlfile.Fault) bool {
		return yamlfile.Within(f.Path, path) || yamlfile.Within(path, f.Path)
	})
}

// account is how AWS writes the number of an account; role, the ARN of a role.
var (
	account = regexp.MustCompile(`^[0-9]{12}$`)
	role    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
)

func read(c yamlfile.Cursor) File {
	f := c.Fields("version", "name", "account", "role", "variant", "regions", "witness", "strong", "cluster_mode", "dns", "promoter",
		"shop", "edge", "certificate", "transit", "networks", "migrated", "release", "domain", "artifacts", "architecture", "shards", "replicas", "node_type", "engine_version",
		"side", "mail", "retain")
	if f["version"].Want("write version: 1"); f["version"].There() {
		f["version"].Number(version, version)
	}
	out := File{Account: matching(f["account"], account, "write its twelve digits, in quotation marks"), Role: matching(f["role"], role, "write it as arn:aws:iam::ACCOUNT:role/NAME")}
	out.Settings = awsplan.Settings{
		Name:          f["name"].Text(),
		Variant:       f["variant"].OneOf(awsplan.VariantCache, awsplan.VariantDynamo, awsplan.VariantDSQL),
		Strong:        f["strong"].Yes(),
		ClusterMode:   f["cluster_mode"].Yes(),
		DNS:           f["dns"].OneOf(awsplan.DNSRecord, awsplan.DNSFailover, awsplan.DNSARC),
		Promoter:      f["promoter"].OneOf(awsplan.PromoterNodes, awsplan.PromoterLambda, awsplan.PromoterNone),
		Shop:          f["shop"].Yes(),
		Edge:          f["edge"].Yes(),
		Networks:      f["networks"].Number(0, mostNetworks),
		Transit:       f["transit"].Yes(),
		Migrated:      f["migrated"].Yes(),
		Release:       f["release"].Text(),
		Domain:        f["domain"].Text(),
		Architecture:  f["architecture"].OneOf("arm64", "amd64"),
		Shards:        f["shards"].Number(1, mostShards),
		NodeType:      f["node_type"].Text(),
		EngineVersion: f["engine_version"].Text(),
		Side:          f["side"].Yes(),
		Mail:          f["mail"].Text(),
		Retain:        f["retain"].OneOf(awsplan.RetainData, awsplan.RetainSnapshots, awsplan.RetainNothing),
	}
	if f["replicas"].There() {
		n := f["replicas"].Number(0, 5)
		out.Settings.Replicas = &n
	}
	for _, r := range f["regions"].Items(mostRegions) {
		out.Settings.Regions = append(out.Settings.Regions, region(r))
	}
	if f["witness"].There() {
		out.Settings.Witness = region(f["witness"])
	}
	out.Settings.Certificate = byRegion(f["certificate"], out.Settings)
	out.Settings.Artifacts = byRegion(f["artifacts"], out.Settings)
	return out
}

// region is a Region: its name alone, or with its network.
func region(c yamlfile.Cursor) awsplan.Region {
	f := c.Fields("name", "cidr", "zones")
	return awsplan.Region{Name: f["name"].Want("write name: and one of AWS's, such as us-west-2"), CIDR: f["cidr"].Text(), Zones: f["zones"].Number(2, 3)}
}

// byRegion is a mapping with a word for some of the Regions that the file names.
func byRegion(c yamlfile.Cursor, s awsplan.Settings) map[string]string {
	if !c.There() {
		return nil
	}
	var names []string
	for _, r := range append(slices.Clone(s.Regions), s.Witness) {
		if r.Name != "" {
			names = append(names, r.Name)
		}
	}
	out := map[string]string{}
	for name, at := range c.Fields(names...) {
		if at.There() {
			out[name] = at.Text()
		}
	}
	return out
}

// matching is a word of a form.
func matching(c yamlfile.Cursor, form *regexp.Regexp, mend string) string {
	s := c.Text()
	if s == "" || form.MatchString(s) {
		return s
	}
	c.Fault(mend, "%q is none", yamlfile.Printable(s))
	return ""
}
