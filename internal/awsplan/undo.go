package awsplan

import "slices"

// undo turns the plan's steps round.
func (b *builder) undo() {
	seen := map[[2]string]bool{}
	apart := false
	for _, step := range slices.Backward(b.plan.Steps) {
		id := [2]string{step.Stack, step.Region}
		if step.Do != DoStack || seen[id] || b.stays(step) {
			continue
		}
		seen[id] = true
		switch step.Template {
		case "zone.yaml":
			b.back(Step{
				Do: DoEmptyZone, Stack: step.Stack, Region: step.Region, Feeds: []Feed{{"Zone", step.Stack, step.Region, "Zone"}},
				Why: "The reconcilers' record is no stack's, and a zone that has one can't be deleted.",
			})
		case "cache-primary.yaml", "cache-secondary.yaml":
			if !apart {
				b.part()
				apart = true
			}
		case "dynamodb.yaml":
			b.back(Step{
				Do: DoDeleteTable, Stack: step.Stack, Region: step.Region, Feeds: []Feed{{"Table", step.Stack, step.Region, "Table"}},
				Why: "The table and all its copies go.",
			})
		case "dsql.yaml":
			b.back(Step{
				Do: DoDeleteCluster, Stack: step.Stack, Region: step.Region, Feeds: []Feed{{"Cluster", step.Stack, step.Region, "Cluster"}},
				Why: "The cluster of " + step.Region + " goes.",
			})
		}
		b.back(Step{Do: DoDelete, Stack: step.Stack, Region: step.Region, Template: step.Template, Why: "What made it is in " + step.Template + "."})
	}
	b.remain()
}

func (b *builder) back(s Step) { b.plan.undo = append(b.plan.undo, s) }

// stays reports whether a stack is left because sessions are kept in it, or in what it has.
func (b *builder) stays(s Step) bool {
	switch s.Template {
	case "dynamodb.yaml", "dsql.yaml":
		return b.s.Retain != RetainNothing
	case "cache-primary.yaml", "cache-secondary.yaml":
		return b.s.Retain == RetainData
	case "secret.yaml":
		return b.s.Retain == RetainData || b.s.Variant != VariantCache && b.s.Retain != RetainNothing
	case "network.yaml":
		return b.s.Retain == RetainData && b.s.Variant == VariantCache
	}
	return false
}

// part takes a Global Datastore apart, and its groups away.
func (b *builder) part() {
	home := b.home()
	if b.grown() {
		global := []Feed{b.feed("Global", "cache", home.Name, "Global")}
		b.back(Step{
			Do: DoDisassociate, Stack: b.name("cache"), Region: home.Name, Feeds: global,
			Why: "Secondaries leave the Global Datastore: while it has any it can't be deleted.",
		})
		b.back(Step{
			Do: DoDeleteGlobal, Stack: b.name("cache"), Region: home.Name, Feeds: global,
			Why: "The Global Datastore goes; the groups stay.",
		})
	}
	for _, r := range slices.Backward(b.s.Regions) {
		step := Step{
			Do: DoDeleteGroup, Stack: b.name("cache"), Region: r.Name,
			Parameters: map[string]string{"Group": b.s.group(r.Name)}, Why: "The group of " + r.Name + " goes.",
		}
		if b.s.Retain == RetainSnapshots {
			step.Parameters["Snapshot"] = b.s.group(r.Name) + "-final"
			step.Why = "The group of " + r.Name + " goes, and leaves a snapshot."
		}
		b.back(step)
	}
}

// left adds what is there after all.
func (b *builder) left(kind, region, id, why string) {
	b.plan.remains = append(b.plan.remains, Remain{Type: kind, Region: region, ID: id, Why: why})
}

// remain says what undo leaves.
func (b *builder) remain() {
	switch b.s.Variant {
	case VariantCache:
		b.remainOfCaches()
	case VariantDynamo:
		if b.s.Retain != RetainNothing {
			why := "; retain: nothing deletes it"
			if b.s.sweeps() {
				why += ". Nobody deletes what is past its time any more"
			}
			for _, r := range b.s.Regions {
				b.left("AWS::DynamoDB::GlobalTable", r.Name, b.s.Name+"-sessions", "the copy of the table in "+r.Name+why)
			}
			b.leftKey()
		}
	case VariantDSQL:
		if b.s.Retain != RetainNothing {
			for _, r := range b.s.Regions {
				b.plan.remains = append(b.plan.remains, Remain{
					Type: "AWS::DSQL::Cluster", Region: r.Name, Feed: b.feed("Cluster", "cluster", r.Name, "Cluster"),
					Why: "the cluster; retain: nothing deletes it",
				})
			}
			b.leftKey()
		}
	}
}

// leftKey adds the key of cookies, which stays where sessions do.
func (b *builder) leftKey() {
	if b.s.Variant == VariantCache || b.s.Shop {
		b.left("AWS::SecretsManager::Secret", b.home().Name, b.s.Name+"/cookies", "the key of cookies, without which nobody finds her session again, with its copies")
	}
}

func (b *builder) remainOfCaches() {
	for _, r := range b.s.Regions {
		switch b.s.Retain {
		case RetainData:
			b.left("AWS::ElastiCache::ReplicationGroup", r.Name, b.s.group(r.Name), "it keeps the sessions; retain: snapshots or nothing deletes it, and its network")
			b.left("AWS::EC2::VPC", r.Name, b.s.Name, "the network that the group is in, in stack "+b.name("network")+"; its NAT gateway costs, if it has one")
		case RetainSnapshots:
			b.left("AWS::ElastiCache::Snapshot", r.Name, b.s.group(r.Name)+"-final", "the last snapshot of the group")
		}
		b.plan.remains = append(b.plan.remains, Remain{
			Type: "AWS::KMS::Key", Region: r.Name, Feed: b.feed("Key", "cache", r.Name, "Key"),
			Why: "without it snapshots can't be read; aws kms schedule-key-deletion ends what it costs",
		})
		if b.s.Side {
			b.left("AWS::ElastiCache::Snapshot", r.Name, b.s.Name+"-side-"+r.Name, "the snapshot that the side store's stack took; AWS's name of it begins so")
		}
		if b.s.Promoter == PromoterLambda {
			b.left("AWS::SSM::Parameter", r.Name, "/roam/"+b.s.Name+"/memory", "what the promoter remembers. It costs nothing, but a deployment of the same name would remember it, too")
		}
		if b.s.nodes() {
			b.left("AWS::EC2::Snapshot", r.Name, b.s.Name, "the snapshot of the node's disk, which its stack took")
			b.left("AWS::SecretsManager::Secret", r.Name, b.s.certificates(r.Name), "the node's certificate, which you made")
		}
	}
	if b.s.Retain == RetainData {
		b.left("AWS::SecretsManager::Secret", b.home().Name, b.s.Name+"/cache", "the groups' password, with its copies")
		b.leftKey()
	}
	if w := b.s.Witness; b.s.nodes() && w.Name != "" {
		b.left("AWS::EC2::Snapshot", w.Name, b.s.Name, "the snapshot of the witness's disk, which its stack took")
		b.left("AWS::SecretsManager::Secret", w.Name, b.s.certificates("witness"), "the witness's certificate, which you made")
	}
}
