package awsplan

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

var (
	deploymentName = regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9]){0,19}$`)
	regionName     = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}$`)
	domainName     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	engineVersion  = regexp.MustCompile(`^[789]\.[0-9]$`)
	// A Global Datastore takes these families, from large on.
	globalNode = regexp.MustCompile(`^cache\.(m5|m6g|m7g|r5|r6g|r6gd|r7g|c7gn)\.([0-9]*x)?large$`)
	anyNode    = regexp.MustCompile(`^cache\.[a-z0-9]+\.[a-z0-9]+$`)
	folderName = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	mailName   = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
)

// A verdict gathers faults.
type verdict struct{ faults Faults }

func (j *verdict) fault(path, what, mend string) {
	j.faults = append(j.faults, Fault{Path: path, What: what, Mend: mend})
}

// at is the path of a field of a Region.
func at(i int, field string) string { return fmt.Sprintf("regions[%d].%s", i, field) }

// judge finds all that is wrong with settings that have their defaults.
func judge(s Settings) Faults {
	j := &verdict{}
	j.words(s)
	j.regions(s)
	if len(s.Regions) == 0 {
		return j.faults // what follows is about them
	}
	j.witness(s)
	j.ranges(s)
	j.buckets(s)
	j.front(s)
	switch s.Variant {
	case VariantCache:
		j.cache(s)
	case VariantDynamo, VariantDSQL:
		j.strangers(s)
	}
	j.offered(s)
	return j.faults
}

// words judges what is one of a few words, or has a form.
func (j *verdict) words(s Settings) {
	if !deploymentName.MatchString(s.Name) {
		j.fault("name", fmt.Sprintf("%q is no name of a deployment", s.Name), "write 1 to 20 of a to z, 0 to 9 and single dashes within, a letter first: AWS's names are made of it and the Region's")
	}
	for _, w := range []struct {
		path, is string
		may      []string
	}{
		{"variant", s.Variant, []string{VariantCache, VariantDynamo, VariantDSQL}},
		{"retain", s.Retain, []string{RetainData, RetainSnapshots, RetainNothing}},
		{"architecture", s.Architecture, []string{"arm64", "amd64"}},
	} {
		if !slices.Contains(w.may, w.is) {
			j.fault(w.path, fmt.Sprintf("%q is none that there is", w.is), "want "+strings.Join(w.may, ", ")+" or nothing")
		}
	}
	if !folderName.MatchString(s.Release) {
		j.fault("release", fmt.Sprintf("%q is no folder of a bucket", s.Release), "write names of letters, digits, dots, dashes and _ with single slashes between")
	}
	if s.Mail != "" && !mailName.MatchString(s.Mail) {
		j.fault("mail", fmt.Sprintf("%q is no address", s.Mail), "write name@host")
	}
}

// regions judges names and how many there are.
func (j *verdict) regions(s Settings) {
	most, why := 3, "a Global Datastore has one primary and at most two secondaries"
	switch s.Variant {
	case VariantDynamo:
		if most, why = mostTables, "the template has room for so many"; s.Strong {
			most, why = 3, "a strong table is in three Regions, or in two and a witness"
		}
	case VariantDSQL:
		most, why = 2, "DSQL has two clusters, and a witness"
	}
	if n := len(s.Regions); n == 0 || n > most {
		j.fault("regions", fmt.Sprintf("there are %d", n), fmt.Sprintf("want 1 to %d: %s", most, why))
	}
	seen := map[string]bool{}
	for i, r := range s.Regions {
		switch {
		case !regionName.MatchString(r.Name):
			j.fault(at(i, "name"), fmt.Sprintf("%q is no Region of AWS", r.Name), "write it as us-west-2")
		case seen[r.Name]:
			j.fault(at(i, "name"), r.Name+" is there twice", "keep one of them")
		}
		seen[r.Name] = true
		if r.Zones != 2 && r.Zones != 3 {
			j.fault(at(i, "zones"), fmt.Sprintf("%d zones", r.Zones), "want 2 or 3")
		}
	}
}

// whose says what a witness would be for; empty: nobody needs one.
func (s Settings) whose() string {
	switch {
	case len(s.Regions) != 2:
	case s.Variant == VariantDSQL:
		return "two clusters of DSQL"
	case s.Variant == VariantDynamo && s.Strong:
		return "a strong table in two Regions"
	case s.nodes():
		return "the nodes of two Regions"
	}
	return ""
}

// witness judges whether there is one where it must be, and none elsewhere.
func (j *verdict) witness(s Settings) {
	w, whose := s.Witness, s.whose()
	switch {
	case whose != "" && w.Name == "":
		j.fault("witness.name", "there is none, and "+whose+" need one", "name a third Region: with two, losing either leaves no majority")
	case whose == "" && w.Name != "":
		j.fault("witness.name", "there is nobody whom it would be a witness for", "take it away")
	case w.Name != "" && !regionName.MatchString(w.Name):
		j.fault("witness.name", fmt.Sprintf("%q is no Region of AWS", w.Name), "write it as us-west-2")
	case w.Name != "" && slices.ContainsFunc(s.Regions, func(r Region) bool { return r.Name == w.Name }):
		j.fault("witness.name", w.Name+" keeps sessions already", "name a third Region: who is lost with another is no witness")
	case w.Name != "" && w.Zones != 2 && w.Zones != 3:
		j.fault("witness.zones", fmt.Sprintf("%d zones", w.Zones), "want 2 or 3")
	}
	if s.Variant == VariantDynamo && s.Strong && len(s.Regions) == 1 {
		j.fault("strong", "a table in one Region is strong by itself, and can't become it later", "take strong away, or name three Regions or two and a witness")
	}
}

// ranges judges networks: each from /16 to /20, and none a part of another.
func (j *verdict) ranges(s Settings) {
	if !s.networked() {
		return
	}
	type taken struct {
		path   string
		prefix netip.Prefix
	}
	var all []taken
	for i, r := range s.places() {
		path := at(i, "cidr")
		if i >= len(s.Regions) {
			path = "witness.cidr"
		}
		p, err := netip.ParsePrefix(r.CIDR)
		switch {
		case err != nil || !p.Addr().Is4() || p != p.Masked():
			j.fault(path, fmt.Sprintf("%q is no network", r.CIDR), "write it as 10.1.0.0/16, with zeros behind the network's part")
			continue
		case p.Bits() < 16 || p.Bits() > 20:
			j.fault(path, r.CIDR+" has the wrong size", "want /16 to /20")
			continue
		case !p.Addr().IsPrivate():
			j.fault(path, r.CIDR+" is not private", "take a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
		}
		for _, t := range all {
			if t.prefix.Overlaps(p) {
				j.fault(path, r.CIDR+" and "+t.path+" "+t.prefix.String()+" have a part in common", "give each Region a network of its own: between networks that overlap there is no way")
			}
		}
		all = append(all, taken{path, p})
	}
}

// buckets judges where programs come from.
func (j *verdict) buckets(s Settings) {
	for _, r := range s.places() {
		needs := Artifacts(s)[r.Name]
		if len(needs) == 0 {
			continue
		}
		bucket := s.Artifacts[r.Name]
		switch {
		case bucket == "":
			j.fault("artifacts."+r.Name, "there is no bucket", "name one that is in "+r.Name+" and has "+strings.Join(needs, " and ")+": Lambda takes archives of its own Region only")
		case !bucketName.MatchString(bucket):
			j.fault("artifacts."+r.Name, fmt.Sprintf("%q is no name of a bucket", bucket), "write the name alone, without s3:// and folders")
		}
	}
}

// front judges the shop and what is before it.
func (j *verdict) front(s Settings) {
	if s.Edge && !s.Shop {
		j.fault("edge", "there is no shop that it could send users to", "write shop: true, or take edge away")
	}
	if s.Shop && len(s.Regions) > mostInFile {
		j.fault("shop", fmt.Sprintf("there are %d Regions, and a roam.yaml has %d at most", len(s.Regions), mostInFile), "take shop away, or Regions")
	}
	for _, r := range s.Regions {
		arn, ok := s.Certificate[r.Name]
		if len(s.Certificate) > 0 && !ok && s.Edge {
			j.fault("certificate."+r.Name, "is missing", "with edge: all Regions speak HTTPS, or none does")
		}
		if ok && !strings.HasPrefix(arn, "arn:"+partition(r.Name)+":acm:"+r.Name+":") {
			j.fault("certificate."+r.Name, fmt.Sprintf("%q is no certificate of ACM in %s", arn, r.Name), "load balancers take those of their own Region")
		}
	}
}

// cache judges a cache's settings.
func (j *verdict) cache(s Settings) {
	for path, w := range map[string][]string{"dns": {s.DNS, DNSRecord, DNSFailover, DNSARC}, "promoter": {s.Promoter, PromoterNodes, PromoterLambda, PromoterNone}} {
		if !slices.Contains(w[1:], w[0]) {
			j.fault(path, fmt.Sprintf("%q is none that there is", w[0]), "want "+strings.Join(w[1:], ", ")+" or nothing")
		}
	}
	n := len(s.Regions)
	if n == 1 && (s.DNS == DNSFailover || s.DNS == DNSARC) {
		j.fault("dns", s.DNS+" has nothing to choose from with one Region", "use dns: record, and migrate when a Region joins")
	}
	if s.Promoter == PromoterNodes && n == 1 {
		j.fault("promoter", "with one Region there is nobody to promote", "take it away until another Region joins")
	}
	if s.Migrated && s.DNS == DNSRecord {
		j.fault("migrated", "a record is not a failover record", "take it away, or use dns: failover or arc")
	}
	if !domainName.MatchString(s.Domain) || len(s.Domain) > 200 {
		j.fault("domain", fmt.Sprintf("%q is no name of a zone", s.Domain), "write it as session.internal, in lower case and without a dot at its end")
	}
	if s.Networks < 0 {
		j.fault("networks", "less than none", "want 0 or more")
	}
	j.size(s)
}

// size judges nodes, shards and versions.
func (j *verdict) size(s Settings) {
	if s.Shards < 1 || s.Shards > 500 {
		j.fault("shards", fmt.Sprintf("%d", s.Shards), "want 1 to 500")
	} else if s.Shards > 1 && !s.ClusterMode {
		j.fault("shards", "several take cluster mode", "write cluster_mode: true: it can't be changed later")
	}
	switch n := *s.Replicas; {
	case n < 0 || n > 5:
		j.fault("replicas", fmt.Sprintf("%d", n), "want 0 to 5")
	case n == 0 && len(s.Regions) > 1:
		j.fault("replicas", "a Global Datastore wants several zones, and so a replica", "want 1 to 5")
	case n == 0 && s.ClusterMode:
		j.fault("replicas", "in cluster mode one that fails has nobody to replace it", "want 1 to 5")
	}
	switch {
	case len(s.Regions) > 1 && !globalNode.MatchString(s.NodeType):
		j.fault("node_type", fmt.Sprintf("%q can't be in a Global Datastore", s.NodeType), "want large or more of M5, M6g, M7g, R5, R6g, R6gd, R7g or C7gn, such as cache.r7g.large")
	case !anyNode.MatchString(s.NodeType):
		j.fault("node_type", fmt.Sprintf("%q is no node type", s.NodeType), "write it as cache.r7g.large")
	}
	if !engineVersion.MatchString(s.EngineVersion) || s.EngineVersion < "7.2" {
		j.fault("engine_version", fmt.Sprintf("%q is no version of Valkey that ElastiCache has", s.EngineVersion), "write two parts, from 7.2 to 9.1: 8.2")
	}
}

// strangers finds settings that are a cache's in a deployment without one.
func (j *verdict) strangers(s Settings) {
	for path, there := range map[string]bool{
		"cluster_mode": s.ClusterMode, "dns": s.DNS != "", "promoter": s.Promoter != "", "side": s.Side, "transit": s.Transit,
		"node_type": s.NodeType != "", "engine_version": s.EngineVersion != "", "domain": s.Domain != "", "mail": s.Mail != "" && !s.sweeps(),
		"migrated": s.Migrated, "networks": s.Networks != 0,
	} {
		if there {
			j.fault(path, "is a cache's, and there is none", "take it away, or use variant: cache")
		}
	}
	if s.Strong && s.Variant != VariantDynamo {
		j.fault("strong", "is DynamoDB's", "take it away: DSQL is strong by itself")
	}
}
