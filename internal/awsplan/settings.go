package awsplan

// What keeps the sessions.
const (
	VariantCache  = "cache"    // ElastiCache for Valkey: one Region alone, or a Global Datastore of two or three
	VariantDynamo = "dynamodb" // a Global Table of DynamoDB
	VariantDSQL   = "dsql"     // two clusters of Aurora DSQL and a witness
)

// What a name of the private zone leads by to the Region that takes the writes.
const (
	DNSRecord   = "record"   // one record, which the reconciler of the primary's Region moves
	DNSFailover = "failover" // failover records whose health checks follow the metric IsGlobalPrimary
	DNSARC      = "arc"      // failover records whose health checks follow ARC's routing controls
)

// Who promotes a Region.
const (
	PromoterNodes  = "nodes"  // a node in each Region, and a witness where that leaves them even
	PromoterLambda = "lambda" // a function in each Region, woken by alarms
	PromoterNone   = "none"   // an operator
)

// What becomes of sessions when a deployment is destroyed.
const (
	RetainData      = "data"      // what keeps them stays as it is, with the networks that it is in
	RetainSnapshots = "snapshots" // a snapshot of the primary's stays; of DynamoDB and DSQL as RetainData
	RetainNothing   = "nothing"   // nothing stays that costs anything, but keys that wait for their deletion
)

// Settings are what somebody wants deployed. Zero values are defaults.
type Settings struct {
	// Name of the deployment, from a to z, 0 to 9 and dashes within, at most 20. All stacks and what is in them
	// is called by it. It is needed.
	Name string
	// Regions that keep sessions; the first is the primary when the deployment is made, and nowhere else is it
	// said that it is. One alone can grow later. A cache has up to three, DynamoDB sixteen, DSQL
	// two. At least one is needed. Append the Regions that join; the order of the others is to stay.
	Regions []Region
	// Witness is a Region that votes and keeps no sessions: for DSQL, for a Global Table of strong consistency in
	// two Regions, and for nodes where they are even.
	Witness Region
	// Variant is VariantCache, the default, or another.
	Variant string
	// Strong has DynamoDB's Global Table keep all Regions alike at every moment, in three Regions or two and a
	// witness.
	Strong bool
	// ClusterMode has a cache several shards, or one that can become several. Never to be changed.
	ClusterMode bool
	// DNS is DNSRecord, the default, or another. Of a cache only.
	DNS string
	// Promoter is PromoterLambda, the default of a cache, or another. Of a cache only.
	Promoter string
	// Shop has the demo shop run in each Region, behind a load balancer.
	Shop bool
	// Edge puts a Global Accelerator in front of the shop.
	Edge bool
	// Certificate by Region is the ARN of a certificate of ACM, for the shop's load balancer. Without one
	// the shop is served without TLS.
	Certificate map[string]string
	// Networks are how many VPCs of applications are to reach the caches besides the Regions' own. They are
	// only counted: connecting them is their owners'.
	Networks int
	// Transit has the networks meet at Transit Gateways. Default: they are peered while there are at most ten.
	Transit bool
	// Migrated says that the writer's name has failover records that "roam aws records migrate" made of a record in
	// use: they are left to it, and only their health checks are made here.
	Migrated bool
	// Domain is the name of the private zone, such as session.internal. A cache needs it.
	Domain string
	// Artifacts are the buckets that programs come from, by Region. They are the user's; Artifacts of the package
	// says what must be in them.
	Artifacts map[string]string
	// Release is the folder in the buckets that the programs are in. Default roam. A stack sees only by
	// another name that there is another program.
	Release string
	// Architecture is arm64, the default, or amd64.
	Architecture string
	// Shards of a cache, up to 500: 1, the default, unless ClusterMode.
	Shards int
	// Replicas of each shard, in each Region: 0 to 5. Default, nil: 1. None only in one Region, without ClusterMode.
	Replicas *int
	// NodeType of a cache. Default cache.r7g.large, the least that a Global Datastore takes of its family.
	NodeType string
	// EngineVersion of Valkey, in two parts: 8.2, the default.
	EngineVersion string
	// Side has each Region a small cache of its own besides, for writes that can't get where they belong.
	Side bool
	// Mail is told of alarms.
	Mail string
	// Retain is RetainSnapshots, the default, or another.
	Retain string
}

// A Region is one of AWS's.
type Region struct {
	// Name is AWS's: us-west-2.
	Name string
	// CIDR of its network, from /16 to /20, such as 10.1.0.0/16. No two share a part. It is needed where there is
	// a network: for caches, nodes and the shop.
	CIDR string
	// Zones are how many availability zones the network spans: 2, the default, or 3.
	Zones int
}
