package awsplan

import "strconv"

// networks adds each Region's network, and connects them.
func (b *builder) networks() {
	if !b.s.networked() {
		return
	}
	places := b.s.places()
	for i, r := range places {
		parameters := map[string]string{
			"Deployment": b.s.Name, "Cidr": r.CIDR, "Zones": strconv.Itoa(r.Zones), "Outbound": yes(b.s.Shop || b.s.nodes()),
		}
		if b.s.Variant == VariantCache {
			b.peers(parameters, i)
		}
		b.add(stack{
			part: "network", region: r.Name, template: "network.yaml", parameters: parameters,
			why: "The network of " + r.Name + ": subnets, routes, and who is let in.",
		})
	}
	if b.s.Variant != VariantCache {
		return // a store that replicates itself needs no way between networks
	}
	if b.s.transit() {
		b.meet()
		return
	}
	for i := range places {
		for _, peer := range places[i+1:] {
			b.peer(places[i], peer)
		}
	}
}

// peers are the networks of all others, as parameters.
func (b *builder) peers(parameters map[string]string, self int) {
	n := 0
	for i, r := range b.s.places() {
		if i != self {
			n++
			parameters["Peer"+strconv.Itoa(n)+"Cidr"] = r.CIDR
		}
	}
	for n++; n <= 3; n++ {
		parameters["Peer"+strconv.Itoa(n)+"Cidr"] = ""
	}
}

// peer connects two networks by a peering.
func (b *builder) peer(a, z Region) {
	b.add(stack{
		part: "peering-" + z.Name, region: a.Name, template: "peering.yaml",
		parameters: map[string]string{"Deployment": b.s.Name, "PeerRegion": z.Name, "PeerCidr": z.CIDR},
		feeds: []Feed{
			b.feed("Vpc", "network", a.Name, "Vpc"), b.feed("PrivateRoutes", "network", a.Name, "PrivateRoutes"),
			b.feed("PublicRoutes", "network", a.Name, "PublicRoutes"), b.feed("PeerVpc", "network", z.Name, "Vpc"),
		},
		why: a.Name + " is peered with " + z.Name + ", and finds its way there.",
	})
	b.add(stack{
		part: "routes-" + a.Name, region: z.Name, template: "routes.yaml",
		parameters: map[string]string{"PeerCidr": a.CIDR},
		feeds: []Feed{
			b.feed("PrivateRoutes", "network", z.Name, "PrivateRoutes"), b.feed("PublicRoutes", "network", z.Name, "PublicRoutes"),
			b.feed("Peering", "peering-"+z.Name, a.Name, "Peering"),
		},
		why: z.Name + " finds its way back to " + a.Name + ".",
	})
}

// firstASN is the first of the private numbers that gateways call themselves by.
const firstASN = 64512

// meet connects all networks by a Transit Gateway each.
func (b *builder) meet() {
	places := b.s.places()
	for i, r := range places {
		parameters := map[string]string{"Deployment": b.s.Name, "Asn": strconv.Itoa(firstASN + i)}
		b.peers(parameters, i)
		b.add(stack{
			part: "transit", region: r.Name, template: "transit.yaml", parameters: parameters,
			feeds: []Feed{
				b.feed("Vpc", "network", r.Name, "Vpc"), b.feed("Subnets", "network", r.Name, "PrivateSubnets"),
				b.feed("PrivateRoutes", "network", r.Name, "PrivateRoutes"), b.feed("PublicRoutes", "network", r.Name, "PublicRoutes"),
			},
			why: "The gateway by which " + r.Name + " reaches all others.",
		})
	}
	for i, a := range places {
		for _, z := range places[i+1:] {
			b.cross(a, z)
		}
	}
}

// cross peers two gateways. No stack can accept a peering.
func (b *builder) cross(a, z Region) {
	part := "transit-peering-" + z.Name
	b.add(stack{
		part: part, region: a.Name, template: "transit-peering.yaml",
		parameters: map[string]string{"Deployment": b.s.Name, "PeerRegion": z.Name},
		feeds:      []Feed{b.feed("Gateway", "transit", a.Name, "Gateway"), b.feed("PeerGateway", "transit", z.Name, "Gateway")},
		why:        "The gateway of " + a.Name + " asks that of " + z.Name + " for a peering.",
	})
	b.plan.Steps = append(b.plan.Steps, Step{
		Do: DoAccept, Stack: b.name(part), Region: z.Name, Feeds: []Feed{b.feed("Attachment", part, a.Name, "Attachment")},
		Why: z.Name + " accepts, which no stack can do.",
	})
	for _, side := range []struct{ here, there Region }{{a, z}, {z, a}} {
		b.add(stack{
			part: "transit-routes-" + side.there.Name, region: side.here.Name, template: "transit-routes.yaml",
			parameters: map[string]string{"PeerCidr": side.there.CIDR},
			feeds:      []Feed{b.feed("Routes", "transit", side.here.Name, "Routes"), b.feed("Attachment", part, a.Name, "Attachment")},
			why:        "The gateway of " + side.here.Name + " finds its way to " + side.there.Name + ".",
		})
	}
}
