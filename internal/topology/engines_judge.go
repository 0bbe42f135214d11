package topology

import (
	"fmt"
	"path"
	"strings"
)

// mostStrong is how many Regions a strongly consistent table of DynamoDB has, and mostDSQL
// how many have an endpoint of one cluster of Aurora DSQL.
const (
	mostStrong = 3
	mostDSQL   = 2
)

// engines reports engines that can't be together, or not in this topology.
func (p *parser) engines(regions []cursor, d *Deployment) {
	passive := false // and somebody was told
	for i, c := range regions {
		kind, first, at := d.Regions[i].Engine.Kind(), d.Regions[0].Engine.Kind(), c.find("engine")
		switch {
		case kind == "" || first == "":
		case d.Topology == ActivePassive && kind != kindValkey && kind != kindMemory:
			if !passive {
				passive = true
				at.passive(kind)
			}
		case kind == first:
		case d.Topology == ActivePassive:
			at.fault("use one kind of engine in all Regions", "the primary's log can't reach another kind of engine here")
		case d.Regions[i].Engine.OneStore() || d.Regions[0].Engine.OneStore():
			at.fault("use one kind of engine in all Regions", "%s in %s and %s here are no store of one kind, and no log gets from one to the other",
				first, printable(d.Regions[0].Name), kind)
		}
		if side := d.Regions[i].Side; side != nil && side.OneStore() {
			c.find("side").fault("write valkey:, postgres: or memory: {}", "a side store is this Region's own, and keeps a log: %s does neither", side.Kind())
		}
	}
	p.oneStore(regions, d)
}

// passive reports that no Region alone takes writes on a kind of engine.
func (c cursor) passive(kind string) {
	mend := "write topology: " + ActiveActive + ", and take primary: away"
	if kind == kindPostgres {
		c.fault(mend+": nodes push what each Region's database takes; or write engine: valkey: in all Regions",
			"PostgreSQL is not for %s: nothing measures how old a standby is, and nobody promotes it", ActivePassive)
		return
	}
	c.fault(mend, "every Region takes writes in %s, which replicates itself", kind)
}

// oneStore reports parts of one store that are not parts of one store.
func (p *parser) oneStore(regions []cursor, d *Deployment) {
	seen := unique{}
	for i, c := range regions {
		r := d.Regions[i]
		if e := r.Engine.Dynamo; e != nil {
			at := c.find("engine", kindDynamo)
			seen.once(at.find("aws_region"), "aws ", e.AWSRegion, fmt.Sprintf("AWS Region %q", printable(e.AWSRegion)), "each Region has a copy of the table of its own")
			if one := d.Regions[0].Engine.Dynamo; one != nil {
				if e.Table != "" && tableOf(e.Table) != tableOf(one.Table) {
					at.find("table").fault("name one Global Table in all Regions", "%q is another table than that of %s", printable(e.Table), printable(d.Regions[0].Name))
				}
				if e.Strong != one.Strong {
					at.find("strong").fault("say the same in all Regions", "the table is strongly consistent in all Regions or in none")
				}
			}
			if i == mostStrong && e.Strong {
				at.find("strong").fault("take it away, if the table is eventually consistent, or a Region", "a strongly consistent table is in %d Regions at most", mostStrong)
			}
		}
		if e := r.Engine.DSQL; e != nil {
			at := c.find("engine", kindDSQL)
			seen.once(at.find("endpoint"), "endpoint ", e.Endpoint, fmt.Sprintf("endpoint %q", printable(e.Endpoint)), "each Region has an endpoint of its own")
			if one := d.Regions[0].Engine.DSQL; one != nil && one.Schema != e.Schema {
				at.find("schema").fault("name one schema in all Regions", "%q is another schema than that of %s", printable(e.Schema), printable(d.Regions[0].Name))
			}
			if i == mostDSQL {
				c.find("engine").fault("take a Region away", "a cluster has endpoints in %d Regions, and its witness has none", mostDSQL)
			}
		}
	}
}

// tableOf returns the name of a table, of its name or ARN.
func tableOf(s string) string {
	if strings.HasPrefix(s, "arn:") {
		return path.Base(s)
	}
	return s
}

// replicate returns where servers of other Regions reach the one of an engine.
func replicate(c cursor, e Engine) string {
	if e.Valkey == nil {
		switch {
		case !c.there() || e.Kind() == "":
		case e.Memory != nil:
			c.fault("take it away", "nothing replicates from memory but nodes")
		default:
			c.fault("take it away", "only servers of Valkey follow each other")
		}
		return ""
	}
	if c.there() {
		addr := c.address()
		if wildcard(addr) {
			c.fault("name the host that other Regions' servers reach it by", "%q is everywhere", addr)
		}
		return addr
	}
	if len(e.Valkey.Addrs) > 0 {
		return e.Valkey.Addrs[0]
	}
	return ""
}

// servers looks at those of an engine at a path. Two schemas of one database are two
// engines.
func (u unique) servers(c cursor, e Engine, machine string) {
	if v := e.Valkey; v != nil {
		list := c.find(kindValkey, "addrs")
		for n, addr := range v.Addrs {
			u.address(cursor{p: list.p, node: list.node.Content[n], path: fmt.Sprintf("%s[%d]", list.path, n)}, "engine ", addr, machine)
		}
	}
	v := e.Postgres
	if v == nil {
		return
	}
	for _, addr := range v.Hosts {
		at := c.find(kindPostgres)
		for _, key := range []string{"url", "host", "hosts"} {
			if said := at.find(key); said.there() {
				at = said
				break
			}
		}
		kind := "database "
		if loopback(addr) || strings.HasPrefix(addr, "/") {
			kind += machine
		}
		u.once(at, kind, strings.Join([]string{addr, v.Database, v.Schema}, " "),
			fmt.Sprintf("the schema of database %q at %q", printable(v.Database), printable(addr)), "each Region, engine and side store has its own")
	}
}
