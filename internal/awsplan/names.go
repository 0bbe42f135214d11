package awsplan

import "strconv"

// arcRegion is where the control plane of ARC is, and the only Region that its stack can be in.
const arcRegion = "us-west-2"

// names adds the zone, the file that describes the deployment, and what leads to the primary.
func (b *builder) names() {
	b.zone()
	for _, r := range b.s.places() {
		b.config(r)
	}
	if b.s.DNS == DNSARC {
		b.controls()
	}
	for i := range b.s.Regions {
		b.reconciler(i)
	}
	if b.s.DNS == DNSARC {
		b.turnOn()
	}
	if b.s.DNS != DNSRecord {
		b.records()
	}
}

func (b *builder) zone() {
	parameters := map[string]string{"Deployment": b.s.Name, "Domain": b.s.Domain}
	var feeds []Feed
	places := b.s.places()
	for i := range 4 {
		n := strconv.Itoa(i + 1)
		if i >= len(places) {
			parameters["Vpc"+n], parameters["Region"+n] = "", ""
			continue
		}
		parameters["Region"+n] = places[i].Name
		feeds = append(feeds, b.feed("Vpc"+n, "network", places[i].Name, "Vpc"))
	}
	b.add(stack{
		part: "zone", region: b.home().Name, template: "zone.yaml", parameters: parameters, feeds: feeds,
		why: "The private zone " + b.s.Domain + ", seen from all networks.",
	})
}

// config adds roam.yaml in a Region.
func (b *builder) config(r Region) {
	parameters := map[string]string{"Deployment": b.s.Name, "Members": yes(b.s.nodes()), "ClusterMode": yes(b.s.ClusterMode)}
	feeds := b.alone(r, parameters)
	if b.s.nodes() {
		feeds = b.together(parameters)
	}
	b.add(stack{
		part: "config", region: r.Name, template: "config.yaml", parameters: parameters, feeds: feeds,
		why: "roam.yaml, for nodes and applications of " + r.Name + ".",
	})
}

// alone is what a file without members has: the writer's name, and what is read here.
func (b *builder) alone(r Region, parameters map[string]string) []Feed {
	if b.s.nodes() {
		return nil
	}
	feeds := []Feed{b.feed("Name", "zone", b.home().Name, "Name"), b.feed("Reader", "cache", r.Name, "Reader")}
	if b.s.Side {
		return append(feeds, b.feed("Side", "side", r.Name, "Endpoint"))
	}
	parameters["Side"] = ""
	return feeds
}

// together is what a file with members has: all Regions.
func (b *builder) together(parameters map[string]string) []Feed {
	parameters["Domain"], parameters["Witness"] = b.s.Domain, b.s.Witness.Name
	feeds := []Feed{b.feed("Global", "cache", b.home().Name, "Global")}
	for i := range 3 {
		n := strconv.Itoa(i + 1)
		if i >= len(b.s.Regions) {
			for _, name := range []string{"Region", "Cidr", "Endpoint", "Group", "Side"} {
				parameters[name+n] = ""
			}
			continue
		}
		of := b.s.Regions[i]
		parameters["Region"+n], parameters["Cidr"+n] = of.Name, of.CIDR
		feeds = append(feeds, b.feed("Endpoint"+n, "cache", of.Name, "Endpoint"), b.feed("Group"+n, "cache", of.Name, "Group"))
		if b.s.Side {
			feeds = append(feeds, b.feed("Side"+n, "side", of.Name, "Endpoint"))
		} else {
			parameters["Side"+n] = ""
		}
	}
	return feeds
}

// controls adds ARC's, and asks for the endpoints that no stack can tell.
func (b *builder) controls() {
	parameters := map[string]string{"Deployment": b.s.Name, "Region3": ""}
	for i, r := range b.s.Regions {
		parameters["Region"+strconv.Itoa(i+1)] = r.Name
	}
	b.add(stack{
		part: "arc", region: arcRegion, template: "arc.yaml", parameters: parameters,
		why: "A routing control for each Region, and the rule that one is on.",
	})
	b.plan.Steps = append(b.plan.Steps, Step{
		Do: DoReadEndpoints, Stack: b.name("arc"), Region: arcRegion,
		Feeds: []Feed{b.feed("Cluster", "arc", arcRegion, "Cluster")},
		Why:   "The five endpoints of the cluster, which no stack can tell.",
	})
}

func (b *builder) turnOn() {
	step := Step{
		Do: DoTurnOn, Stack: b.name("arc"), Region: arcRegion,
		Feeds: []Feed{b.feed("Control", "arc", arcRegion, "Control1"), b.feed("Endpoints", "arc", arcRegion, "Endpoints")},
		Why:   "All controls are off when they are made: that of " + b.home().Name + " is turned on, if no other is.",
	}
	for i := range b.s.Regions {
		step.Feeds = append(step.Feeds, b.feed("Controls", "arc", arcRegion, "Control"+strconv.Itoa(i+1)))
	}
	b.plan.Steps = append(b.plan.Steps, step)
}

// reconciler adds the function that follows the primary, in one Region.
func (b *builder) reconciler(i int) {
	r := b.s.Regions[i]
	parameters := map[string]string{
		"Deployment": b.s.Name, "Bucket": b.s.Artifacts[r.Name], "Archive": b.s.archive(), "Architecture": b.s.lambdaArchitecture(),
		"Drive": map[string]string{DNSRecord: "record,metric", DNSFailover: "metric", DNSARC: "control,metric"}[b.s.DNS],
		"Off2":  "",
	}
	feeds := []Feed{
		b.feed("Topic", "cache", r.Name, "Events"), b.feed("Group", "cache", r.Name, "Group"),
		b.feed("Global", "cache", b.home().Name, "Global"),
		b.feed("Zone", "zone", b.home().Name, "Zone"), b.feed("Name", "zone", b.home().Name, "Name"),
	}
	if b.s.DNS == DNSARC {
		feeds = append(feeds, b.feed("Control", "arc", arcRegion, "Control"+strconv.Itoa(i+1)), b.feed("Endpoints", "arc", arcRegion, "Endpoints"))
		off := 0
		for j := range b.s.Regions {
			if j != i {
				off++
				feeds = append(feeds, b.feed("Off"+strconv.Itoa(off), "arc", arcRegion, "Control"+strconv.Itoa(j+1)))
			}
		}
		if off == 2 {
			delete(parameters, "Off2")
		}
	} else {
		parameters["Control"], parameters["Off1"], parameters["Endpoints"] = "", "", ""
	}
	b.add(stack{
		part: "reconciler", region: r.Name, template: "lambda.yaml", parameters: parameters, feeds: feeds, iam: true,
		why: "The function of " + r.Name + " that has names follow the primary.",
	})
}

// records adds failover records and their health checks.
func (b *builder) records() {
	parameters := map[string]string{
		"Deployment": b.s.Name, "Domain": b.s.Domain, "By": "metric", "Records": yes(!b.s.Migrated),
		"Region3": "", "Endpoint3": "", "Alarm": "", "Control1": "", "Control2": "", "Control3": "",
	}
	feeds := []Feed{b.feed("Zone", "zone", b.home().Name, "Zone")}
	if b.s.DNS == DNSFailover {
		delete(parameters, "Alarm")
		feeds = append(feeds, b.feed("Alarm", "reconciler", b.home().Name, "Alarm"))
	} else {
		parameters["By"] = "control"
	}
	for i, r := range b.s.Regions {
		n := strconv.Itoa(i + 1)
		parameters["Region"+n] = r.Name
		delete(parameters, "Endpoint"+n)
		feeds = append(feeds, b.feed("Endpoint"+n, "cache", r.Name, "Endpoint"))
		if b.s.DNS == DNSARC {
			delete(parameters, "Control"+n)
			feeds = append(feeds, b.feed("Control"+n, "arc", arcRegion, "Control"+n))
		}
	}
	b.add(stack{
		part: "records", region: b.home().Name, template: "records.yaml", parameters: parameters, feeds: feeds,
		why: "The writer's name, which leads to the Region whose health check is good.",
	})
}
