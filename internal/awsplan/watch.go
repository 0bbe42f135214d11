package awsplan

import "strconv"

// watchers adds alarms, who is woken by them, and the dashboard.
func (b *builder) watchers() {
	for _, r := range b.s.Regions {
		b.alarms(r)
	}
	if b.s.Promoter == PromoterLambda {
		for i, r := range b.s.Regions {
			b.promoter(r, i)
		}
	}
	parameters := map[string]string{
		"Deployment": b.s.Name, "Region2": "", "Node2": "", "Region3": "", "Node3": "",
	}
	for i, r := range b.s.Regions {
		n := strconv.Itoa(i + 1)
		parameters["Region"+n], parameters["Node"+n] = r.Name, b.s.cacheNode(r.Name, "001")
	}
	b.add(stack{
		part: "dashboard", region: b.home().Name, template: "dashboard.yaml", parameters: parameters,
		feeds: []Feed{b.feed("Global", "cache", b.home().Name, "Global")},
		why:   "One dashboard of all Regions.",
	})
}

func (b *builder) alarms(r Region) {
	parameters := map[string]string{"Deployment": b.s.Name, "Node1": b.s.cacheNode(r.Name, "001"), "Node2": "", "Mail": b.s.Mail}
	if *b.s.Replicas > 0 {
		parameters["Node2"] = b.s.cacheNode(r.Name, "002")
	}
	b.add(stack{
		part: "alarms", region: r.Name, template: "alarms.yaml", parameters: parameters,
		feeds: []Feed{
			b.feed("Global", "cache", b.home().Name, "Global"), b.feed("DeadLetters", "reconciler", r.Name, "DeadLetters"),
		},
		why: "The alarms of " + r.Name + ".",
	})
}

// patience is how much longer than the one before it each Region waits: the promoters of several Regions don't
// know of each other.
const patienceMinutes = 3

func (b *builder) promoter(r Region, i int) {
	parameters := map[string]string{
		"Deployment": b.s.Name, "Bucket": b.s.Artifacts[r.Name], "Archive": b.s.archive(), "Architecture": b.s.lambdaArchitecture(),
		"CacheCluster": b.s.cacheNode(r.Name, "001"), "Patience": strconv.Itoa(max(0, i-1)*patienceMinutes) + "m",
	}
	b.add(stack{
		part: "promoter", region: r.Name, template: "promoter.yaml", parameters: parameters, iam: true,
		feeds: []Feed{
			b.feed("Topic", "alarms", r.Name, "Topic"), b.feed("Alarms", "alarms", r.Name, "Signals"),
			b.feed("Group", "cache", r.Name, "Group"), b.feed("Global", "cache", b.home().Name, "Global"),
		},
		why: "The function that promotes " + r.Name + ". It only says what it would do until its switch is turned on.",
	})
}

// members adds nodes, and a witness.
func (b *builder) members() {
	if !b.s.nodes() {
		return
	}
	for _, r := range b.s.Regions {
		b.member("node", "nodes.yaml", r, r.Name, []Feed{
			b.feed("Secret", "secret", b.home().Name, "Name"), b.feed("Group", "cache", r.Name, "Group"),
			b.feed("Global", "cache", b.home().Name, "Global"),
		})
	}
	if b.s.Witness.Name != "" {
		b.member("witness", "witness.yaml", b.s.Witness, "witness", nil)
	}
}

// member adds one machine of the control plane.
func (b *builder) member(part, template string, r Region, name string, feeds []Feed) {
	parameters := map[string]string{
		"Deployment": b.s.Name, "Domain": b.s.Domain, "Bucket": b.s.Artifacts[r.Name], "Program": b.s.program(),
		"Image": b.image(), "MachineType": b.machine(), "Certificates": b.s.certificates(name),
	}
	b.add(stack{
		part: part, region: r.Name, template: template, parameters: parameters, iam: true,
		feeds: append([]Feed{
			b.feed("Zone", "zone", b.home().Name, "Zone"), b.feed("Subnet", "network", r.Name, "FirstSubnet"),
			b.feed("AvailabilityZone", "network", r.Name, "FirstZone"), b.feed("SecurityGroup", "network", r.Name, "NodeSecurityGroup"),
		}, feeds...),
		why: "The " + part + " in " + r.Name + ".",
	})
}

// certificates is the name of the secret that has a member's certificate.
func (s Settings) certificates(member string) string { return s.Name + "/pki/" + member }

// image is the parameter of AWS's that has the newest image of a machine.
func (b *builder) image() string {
	return "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-" + b.s.lambdaArchitecture()
}

func (b *builder) machine() string {
	if b.s.Architecture == "amd64" {
		return "t3a.small"
	}
	return "t4g.small"
}
