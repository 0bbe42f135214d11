package awsplan

import (
	"fmt"
	"slices"
	"strings"
)

func (b *builder) say(format string, args ...any) {
	b.plan.Advice = append(b.plan.Advice, fmt.Sprintf(format, args...))
}

// advise says what somebody should know before.
func (b *builder) advise() {
	if b.s.Variant == VariantCache {
		b.adviseNetworks()
		b.adviseRoles()
		b.adviseSize()
	}
	b.adviseInstead()
	if b.s.Shop {
		if b.s.Variant == VariantCache {
			b.say("The shop is an application of the deployment: its machines read roam.yaml, the caches' password and the key of cookies, and with nodes the certificate of their Region, by which they follow who takes the writes.")
		} else {
			b.say("The shop is an application of the deployment: its machines read roam.yaml and the key of cookies, and their role may keep sessions, in every Region. They ask those of other Regions by their NAT gateway.")
		}
		if len(b.s.Certificate) == 0 {
			b.say("The shop is served without TLS. Browsers send its demo cookies all the same; name certificates of ACM for anything else.")
		}
	}
}

func (b *builder) adviseNetworks() {
	n := len(b.s.places()) + b.s.Networks
	switch {
	case n < 2:
	case b.s.transit():
		b.say("%d networks meet at Transit Gateways: each attachment and each peering of gateways costs by the hour, and traffic by the gigabyte. Up to %d are peered for less.", n, mostPeered)
	default:
		b.say("%d networks are peered, each with each: %d peerings, which cost nothing but their traffic. Beyond %d networks use Transit Gateways (transit: true).", n, n*(n-1)/2, mostPeered)
	}
	if b.grown() {
		b.say("Security groups let other Regions in by their networks (CIDR): groups of another Region can't be named.")
	}
}

func (b *builder) adviseRoles() {
	switch b.s.DNS {
	case DNSRecord:
		b.say("write.%s is made by the reconciler of the primary's Region within a minute of its stack, and moved by it. That takes Route 53's control plane, which is in us-east-1: while it is down, the record stays as it is. dns: failover and dns: arc don't need it.", b.s.Domain)
	case DNSFailover:
		b.say("write.%s follows the metric IsGlobalPrimary of each Region: two minutes of one-minute data after a promotion, and no control plane on the way.", b.s.Domain)
	case DNSARC:
		b.say("A cluster of ARC is some US$ 2.50 an hour (look it up), US$ 1,800 a month, whether it is used or not. Its stack is in %s, the only Region that has it; its five endpoints are in five Regions.", arcRegion)
	}
	if b.s.DNS != DNSRecord && !b.s.Migrated {
		b.say("If write.%s is in use already as one record, migrate it first (roam aws records migrate --to failover) and write migrated: true.", b.s.Domain)
	}
	if b.grown() {
		b.say("Who is the primary is observed: no stack says it again, and an update after a failover changes nothing. Stacks that keep sessions have a policy that lets no update replace or delete them.")
	}
	switch b.s.Promoter {
	case PromoterNodes:
		b.say("Nodes and witness promote: by their judge when the primary is lost (judge: automatic), and when an operator says so (docs/aws/global-datastore.md). It was never tried at AWS itself: begin with the template's parameter Judge at advise, and see what they say.")
		b.say("Each member waits for its certificate, up to a day, in a secret of its Region: %s, as {\"ca\": …, \"cert\": …, \"key\": …} (docs/aws/templates.md says how).", b.s.certificates("<member>"))
	case PromoterLambda:
		b.say("Promoters begin with their switch at dry-run: turn it on with aws ssm put-parameter --name /roam/%s/switch --value on --overwrite, in each Region. They need the metrics WriteErrors and WriteLatency of applications (docs/aws/templates.md); without them they never promote.", b.s.Name)
	case PromoterNone:
		if b.grown() {
			b.say("Nobody promotes: an operator calls FailoverGlobalReplicationGroup, in the Region that is to become the primary.")
		}
	}
}

func (b *builder) adviseSize() {
	if !b.grown() {
		if globalNode.MatchString(b.s.NodeType) && *b.s.Replicas > 0 {
			b.say("One Region can grow: name another one behind it and deploy again. The cache is not touched by that.")
		} else {
			b.say("One Region grows into others only with a replica, and nodes from large on of M5, M6g, M7g, R5, R6g, R6gd, R7g or C7gn: change %s first.", b.s.NodeType)
		}
	}
	if b.s.ClusterMode {
		b.say("In cluster mode the names lead to the configuration endpoint; clients then talk to every node of the cluster, so all networks must reach all nodes. Replicas can't be changed by a stack, and alarms look at the first shard.")
	}
	if b.s.ClusterMode && b.s.nodes() {
		b.say("To nodes all shards are one server: one that starts anew, joins or leaves costs the primary's Region an epoch of its lease, and a second without writes. Begin no switchover while shards are changed.")
	}
	if b.grown() {
		b.say("Versions, node types and shards of a Global Datastore are changed at the Global Datastore, and not by stacks: ElastiCache refuses it at a member.")
	}
}

// adviseInstead says what the Regions could have instead, and what they lack.
func (b *builder) adviseInstead() {
	var lacking []string
	for _, r := range b.s.Regions {
		if !slices.Contains(together(), r.Name) {
			lacking = append(lacking, r.Name)
		}
	}
	switch {
	case b.s.Variant == VariantCache && b.grown() && len(lacking) > 0:
		b.say("Several Regions that all take writes: variant: dynamodb. Aurora DSQL and strong tables of DynamoDB are not offered in %s, but in %s.", strings.Join(lacking, " and "), together())
	case b.s.Variant == VariantCache && b.grown():
		b.say("Several Regions that all take writes: variant: dynamodb, or variant: dsql with two Regions and a witness.")
	case b.s.Variant == VariantDynamo && b.s.Strong:
		b.say("A strong table has no time to live: a function in %s deletes what is past its time. It reads the whole table three times a day, and pays for that and for each deletion. Regions can't be added to it later.", b.home().Name)
	case b.s.Variant == VariantDSQL && b.grown():
		b.say("Each stack of DSQL is made in two passes. Applications connect as %q: make that role in the database, and grant it to theirs (docs/aws/templates.md).", "roam")
	}
}

// sweeping says what it costs that a table deletes nothing by itself.
func (s Settings) sweeping() string {
	if !s.sweeps() {
		return ""
	}
	return "; a function reads all of it three times a day, half a read unit for 4 KiB, and deletes what is past its time, a write for each item"
}

// bill says what costs while it is there.
func (b *builder) bill() {
	per := func(format string, args ...any) {
		b.plan.Billable = append(b.plan.Billable, fmt.Sprintf(format, args...))
	}
	n := len(b.s.Regions)
	switch b.s.Variant {
	case VariantCache:
		per("%d nodes %s, by the hour, and replication between Regions by the gigabyte", n*b.s.Shards*(*b.s.Replicas+1), b.s.NodeType)
		if b.s.Side {
			per("%d nodes cache.t4g.small of side stores, by the hour", 2*n)
		}
		per("%d keys of KMS, a secret and its copies, a private zone, %d alarms and a dashboard, by the month", n, 14*n)
	case VariantDynamo:
		per("the table: requests, storage and point-in-time recovery in %d Regions, and replicated writes%s", n, b.s.sweeping())
	case VariantDSQL:
		per("DSQL in %d Regions: what is done, and storage", n)
	}
	if b.s.networked() && (b.s.Shop || b.s.nodes()) {
		per("%d NAT gateways, by the hour and the gigabyte", len(b.s.places()))
	}
	if b.s.transit() {
		k := len(b.s.places())
		per("%d Transit Gateways: %d attachments by the hour, and traffic by the gigabyte", k, k+k*(k-1))
	}
	if b.s.DNS == DNSARC {
		per("a cluster of ARC, by the hour, and %d health checks", n)
	}
	if b.s.DNS == DNSFailover {
		per("%d health checks, by the month", n)
	}
	if b.s.nodes() {
		per("%d machines %s with disks of 8 GiB", len(b.s.places()), b.machine())
	}
	if b.s.Shop && b.s.Variant != VariantCache {
		per("a secret and its copies, by the month")
	}
	if b.s.Shop {
		per("%d load balancers and %d machines %s", n, 2*n, b.machine())
	}
	if b.s.Edge {
		per("a Global Accelerator, by the hour and the gigabyte")
	}
}
