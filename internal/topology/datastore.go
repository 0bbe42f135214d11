package topology

import (
	"cmp"
	"fmt"
	"regexp"
	"time"
)

const (
	// defaultPromotion is for how long ElastiCache may take to make a group the primary: AWS
	// speaks of less than a minute.
	defaultPromotion = 5 * time.Minute
	// mostMembers is how many Regions a Global Datastore can have: a primary and two others.
	mostMembers = 3
)

// A Datastore is a Global Datastore of ElastiCache, whose groups are the Regions' servers. Who
// follows whom is ElastiCache's to change then.
type Datastore struct {
	ID string // such as virxk-sessions: AWS gives it a prefix
	// Promotion is how long ElastiCache may take to make a group the primary.
	Promotion time.Duration
}

// Promotion is how long whoever manages the servers may take to promote one; 0: nodes do that.
func (c Control) Promotion() time.Duration {
	if c.Datastore == nil {
		return 0
	}
	return c.Datastore.Promotion
}

// A Group is a Region's part of a Datastore.
type Group struct {
	ID  string // of the replication group
	AWS string // the Region, as AWS calls it
}

var (
	// awsRegion is what AWS calls Regions.
	awsRegion = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	// cacheID is what ElastiCache calls groups and datastores.
	cacheID = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
)

// datastore reads the section of that name.
func (p *parser) datastore(c cursor) *Datastore {
	f := c.fields("id", "promotion")
	out := &Datastore{
		ID:        f["id"].cacheID("the Global Datastore, with its prefix, as virxk-sessions"),
		Promotion: cmp.Or(f["promotion"].duration(time.Second, mostWait), defaultPromotion),
	}
	return out
}

// group reads what a Region's replication group is called.
func (p *parser) group(c cursor, region string) *Group {
	f := c.fields("group", "region")
	out := &Group{ID: f["group"].cacheID("this Region's replication group"), AWS: region}
	at := c
	if f["region"].there() {
		out.AWS, at = f["region"].text(), f["region"]
	}
	if out.AWS != "" && !awsRegion.MatchString(out.AWS) {
		at.fault("write region: and the one of AWS's, such as us-west-2", "%q is no Region of AWS", printable(out.AWS))
	}
	return out
}

// cacheID is the name of something of ElastiCache's.
func (c cursor) cacheID(what string) string {
	s := c.want("write the ID of " + what)
	if s != "" && !cacheID.MatchString(s) {
		c.fault("use a to z, 0 to 9 and single dashes within", "%q is no ID of ElastiCache", printable(s))
	}
	return s
}

// grouped reports what is wrong between a Datastore and the Regions.
func (p *parser) grouped(c cursor, regions []cursor, d *Deployment) {
	var store *Datastore
	if d.Control != nil {
		store = d.Control.Datastore
	}
	if store == nil {
		for _, r := range regions {
			if at := r.find("elasticache"); at.there() {
				at.fault("add control: {datastore: {id: …}} to the file, or take this away", "is of no use without a Global Datastore")
			}
		}
		return
	}
	at := c.find("datastore")
	if !d.Leases() {
		at.fault("write topology: "+ActivePassive+", and engine: valkey: in all Regions", "one Region of a Global Datastore takes all writes, on servers")
	}
	if len(d.Regions) > mostMembers {
		at.fault("take Regions away", "a Global Datastore has a primary and two others at most, and there are %d Regions", len(d.Regions))
	}
	if w := d.Control.Judge.Cooldown; w > 0 && w < store.Promotion {
		c.find("judge", "cooldown").fault("let it be as long as control.datastore.promotion or longer", "another failover could begin while ElastiCache is at the one before")
	}
	seen := map[Group]string{}
	for i, r := range regions {
		group := r.find("elasticache")
		if at := r.find("replicate"); at.there() {
			at.fault("take it away", "ElastiCache replicates by itself")
		}
		if !group.there() {
			group.fault(`write elasticache: {group: "session-usw1"}`, "no replication group of this Region")
			continue
		}
		g := *d.Regions[i].Group
		if before, twice := seen[g]; twice && g.ID != "" {
			group.fault("name each Region's own", "%s is the group of %s too", fmt.Sprintf("%q in %s", g.ID, g.AWS), before)
		}
		seen[g] = d.Regions[i].Name
	}
}
