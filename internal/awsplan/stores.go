package awsplan

import "strconv"

// mostTables is how many Regions a table can be in, by the template.
const mostTables = 16

// table adds a Global Table.
func (b *builder) table() {
	parameters := map[string]string{"Deployment": b.s.Name, "Strong": yes(b.s.Strong), "Witness": ""}
	if b.s.Strong {
		parameters["Witness"] = b.s.Witness.Name
	}
	for i := 1; i < mostTables; i++ {
		n := strconv.Itoa(i + 1)
		parameters["Region"+n] = ""
		if i < len(b.s.Regions) {
			parameters["Region"+n] = b.s.Regions[i].Name
		}
	}
	b.add(stack{
		part: "table", region: b.home().Name, template: "dynamodb.yaml", parameters: parameters, policy: policyFile, iam: true,
		why: "The table, with a copy in each Region.",
	})
}

// sweeper adds the function that sweeps a strong table, which has no time to live: in one Region that has a copy.
func (b *builder) sweeper() {
	if !b.s.sweeps() {
		return
	}
	home := b.home().Name
	b.add(stack{
		part: "sweeper", region: home, template: "sweep.yaml", iam: true,
		parameters: map[string]string{
			"Deployment": b.s.Name, "Bucket": b.s.Artifacts[home], "Archive": b.s.archive(), "Architecture": b.s.lambdaArchitecture(), "Mail": b.s.Mail,
		},
		feeds: []Feed{b.feed("Table", "table", home, "Table")},
		why:   "The function that deletes what is past its time, which the table does not do by itself.",
	})
}

// clusters adds DSQL's, in two passes: neither can know the other before it is there.
func (b *builder) clusters() {
	for _, r := range b.s.Regions {
		b.add(stack{
			part: "cluster", region: r.Name, template: "dsql.yaml", policy: policyFile, iam: true,
			parameters: map[string]string{"Deployment": b.s.Name, "Witness": b.s.Witness.Name},
			why:        "The cluster of " + r.Name + ".",
		})
	}
	if !b.grown() {
		return
	}
	for i, r := range b.s.Regions {
		peer := b.s.Regions[1-i]
		b.add(stack{
			part: "cluster", region: r.Name, template: "dsql.yaml", policy: policyFile, iam: true,
			parameters: map[string]string{"Deployment": b.s.Name, "Witness": b.s.Witness.Name},
			feeds:      []Feed{b.feed("Own", "cluster", r.Name, "Arn"), b.feed("Peer", "cluster", peer.Name, "Arn")},
			why:        "The cluster of " + r.Name + " hears of " + peer.Name + "'s.",
		})
	}
}

// mostInFile is how many Regions roam.yaml can have.
const mostInFile = 7

// described adds what applications go by where there are no caches: roam.yaml and the key of cookies.
func (b *builder) described() {
	if !b.s.Shop {
		return
	}
	b.secret("The key of cookies, with a copy in each Region.")
	parameters := map[string]string{"Deployment": b.s.Name, "Kind": b.s.Variant, "Strong": strconv.FormatBool(b.s.Strong), "Endpoint1": "", "Endpoint2": ""}
	var feeds []Feed
	for i := range mostInFile {
		n := strconv.Itoa(i + 1)
		if i >= len(b.s.Regions) {
			parameters["Region"+n] = ""
			continue
		}
		parameters["Region"+n] = b.s.Regions[i].Name
		if b.s.Variant == VariantDSQL {
			delete(parameters, "Endpoint"+n)
			feeds = append(feeds, b.feed("Endpoint"+n, "cluster", b.s.Regions[i].Name, "Endpoint"))
		}
	}
	for _, r := range b.s.Regions {
		b.add(stack{
			part: "config", region: r.Name, template: "config-store.yaml", parameters: parameters, feeds: feeds,
			why: "roam.yaml, for applications of " + r.Name + ".",
		})
	}
}

// access are the policies that let applications keep sessions.
func (b *builder) access() (out []Feed) {
	switch b.s.Variant {
	case VariantDynamo:
		out = append(out, b.feed("Access", "table", b.home().Name, "Access"))
	case VariantDSQL:
		for _, r := range b.s.Regions {
			out = append(out, b.feed("Access", "cluster", r.Name, "Access"))
		}
	}
	return out
}

// front adds the shop, and what sends users to it.
func (b *builder) front() {
	if !b.s.Shop {
		return
	}
	scheme := "internet-facing"
	if b.s.Edge {
		scheme = "internal"
	}
	for _, r := range b.s.Regions {
		parameters := map[string]string{
			"Deployment": b.s.Name, "Cidr": r.CIDR, "Bucket": b.s.Artifacts[r.Name], "Program": b.s.program(),
			"Image": b.image(), "MachineType": b.machine(), "Certificate": b.s.Certificate[r.Name], "Scheme": scheme,
		}
		feeds := []Feed{
			b.feed("Vpc", "network", r.Name, "Vpc"), b.feed("PublicSubnets", "network", r.Name, "PublicSubnets"),
			b.feed("PrivateSubnets", "network", r.Name, "PrivateSubnets"),
		}
		feeds = append(feeds, b.feed("File", "config", r.Name, "File"), b.feed("Place", "config", r.Name, "Region"))
		if b.s.Variant == VariantCache {
			feeds = append(feeds, b.feed("Secret", "secret", b.home().Name, "Name"))
		}
		feeds = append(feeds, b.feed("Cookies", "secret", b.home().Name, "Cookies"))
		feeds = append(feeds, b.access()...)
		if b.s.nodes() {
			parameters["Feed"] = "https://node." + r.Name + "." + b.s.Domain + ":7103/v1/feed"
			parameters["Certificates"] = b.s.certificates(r.Name)
		}
		b.add(stack{
			part: "shop", region: r.Name, template: "shop.yaml", iam: true, parameters: parameters, feeds: feeds,
			why: "The demo shop in " + r.Name + ".",
		})
	}
	if b.s.Edge {
		b.edge()
	}
}

func (b *builder) edge() {
	parameters := map[string]string{"Deployment": b.s.Name, "Port": "80"}
	if len(b.s.Certificate) > 0 {
		parameters["Port"] = "443"
	}
	var feeds []Feed
	for i := range mostTables {
		n := strconv.Itoa(i + 1)
		if i >= len(b.s.Regions) {
			parameters["Region"+n], parameters["Balancer"+n] = "", ""
			continue
		}
		parameters["Region"+n] = b.s.Regions[i].Name
		feeds = append(feeds, b.feed("Balancer"+n, "shop", b.s.Regions[i].Name, "Balancer"))
	}
	b.add(stack{
		part: "edge", region: b.home().Name, template: "edge.yaml", parameters: parameters, feeds: feeds,
		why: "A Global Accelerator, which sends users to the nearest Region.",
	})
}
