package awsdeploy

import (
	"fmt"
	"os"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// testTemplates are small, and have what matters: data that stays, outputs that feed others, roles.
func testTemplates() map[string]string {
	return map[string]string{
		"stack-policy.json": `{"Statement": []}`,
		"network.yaml": `Parameters:
  Deployment: {Type: String}
  Cidr: {Type: String}
  Peers: {Type: String, Default: ""}
Resources:
  Vpc: {Type: AWS::EC2::VPC}
  Routes: {Type: AWS::EC2::RouteTable}
Outputs:
  Vpc: {Value: !Sub "${AWS::Region}-${Vpc}"}
`,
		"cache-primary.yaml": `Parameters:
  Deployment: {Type: String}
Resources:
  Key: {Type: AWS::KMS::Key, DeletionPolicy: Retain}
  Cache:
    Type: AWS::ElastiCache::ReplicationGroup
    DeletionPolicy: Retain
    Properties: {ReplicationGroupId: !Sub "${Deployment}-${AWS::Region}"}
  Datastore:
    Type: AWS::ElastiCache::GlobalReplicationGroup
    DeletionPolicy: Retain
    Properties:
      GlobalReplicationGroupIdSuffix: !Ref Deployment
      Members: [{ReplicationGroupId: !Ref Cache, ReplicationGroupRegion: !Ref AWS::Region, Role: PRIMARY}]
Outputs:
  Group: {Value: !Ref Cache}
  Key: {Value: !Ref Key}
  Global: {Value: !GetAtt Datastore.GlobalReplicationGroupId}
`,
		"cache-secondary.yaml": `Parameters:
  Deployment: {Type: String}
  Global: {Type: String}
Resources:
  Cache:
    Type: AWS::ElastiCache::ReplicationGroup
    DeletionPolicy: Retain
    Properties: {ReplicationGroupId: !Sub "${Deployment}-${AWS::Region}", GlobalReplicationGroupId: !Ref Global}
Outputs:
  Group: {Value: !Ref Cache}
`,
		"arc.yaml": `Resources:
  Cluster: {Type: AWS::Route53RecoveryControl::Cluster}
Outputs:
  Cluster: {Value: "` + clusterARN + `"}
`,
		"zone.yaml": `Parameters:
  Vpcs: {Type: String}
Resources:
  Zone: {Type: AWS::Route53::HostedZone}
  Log: {Type: AWS::Logs::LogGroup, DeletionPolicy: Retain}
Outputs:
  Zone: {Value: Z1}
`,
	}
}

func testTemplate(name string) (string, error) {
	text, ok := testTemplates()[name]
	if !ok {
		return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	return text, nil
}

// changed returns templates of which one has something in the place of something else.
func changed(name, text string) func(string) (string, error) {
	return func(n string) (string, error) {
		if n == name {
			return text, nil
		}
		return testTemplate(n)
	}
}

const (
	controlA = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef0123456789abcdef/routingcontrol/a"
	controlB = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef0123456789abcdef/routingcontrol/b"
)

func stackStep(part, region, template string, given map[string]string, feeds ...awsplan.Feed) awsplan.Step {
	return awsplan.Step{Do: awsplan.DoStack, Stack: "shop-" + part, Region: region, Template: template, Parameters: given, Feeds: feeds, Why: "it is wanted"}
}

// testPlan is of two Regions, with one of everything.
func testPlan() awsplan.Plan {
	name := map[string]string{"Deployment": "shop"}
	network := func(cidr string) map[string]string { return map[string]string{"Deployment": "shop", "Cidr": cidr} }
	primary := stackStep("cache", west1, "cache-primary.yaml", name)
	primary.Roles, primary.Policy = true, "stack-policy.json"
	secondary := stackStep("cache", west2, "cache-secondary.yaml", name, awsplan.Feed{Parameter: "Global", Stack: "shop-cache", Region: west1, Output: "Global"})
	secondary.Roles, secondary.Policy = true, "stack-policy.json"
	vpc := func(region string) awsplan.Feed {
		return awsplan.Feed{Parameter: "Vpcs", Stack: "shop-network", Region: region, Output: "Vpc"}
	}
	return awsplan.Plan{Name: "shop", Steps: []awsplan.Step{
		stackStep("network", west1, "network.yaml", network("10.1.0.0/16")),
		stackStep("network", west2, "network.yaml", network("10.2.0.0/16")),
		stackStep("network", west1, "network.yaml", network("10.1.0.0/16"), awsplan.Feed{Parameter: "Peers", Stack: "shop-network", Region: west2, Output: "Vpc"}),
		{Do: awsplan.DoAccept, Stack: "shop-network", Region: west2, Parameters: map[string]string{"Attachment": "tgw-attach-1"}, Why: "networks meet"},
		primary,
		{Do: awsplan.DoWaitGlobal, Stack: "shop-cache", Region: west1, Feeds: []awsplan.Feed{{Parameter: "Global", Stack: "shop-cache", Region: west1, Output: "Global"}}, Why: "others join"},
		secondary,
		stackStep("arc", west2, "arc.yaml", nil),
		{Do: awsplan.DoReadEndpoints, Stack: "shop-arc", Region: west2, Feeds: []awsplan.Feed{{Parameter: "Cluster", Stack: "shop-arc", Region: west2, Output: "Cluster"}}, Why: "to turn one on"},
		{
			Do: awsplan.DoTurnOn, Stack: "shop-arc", Region: west2, Parameters: map[string]string{"Control": controlA, "Controls": controlA + "," + controlB},
			Feeds: []awsplan.Feed{{Parameter: "Endpoints", Stack: "shop-arc", Region: west2, Output: "Endpoints"}}, Why: "one is on",
		},
		stackStep("zone", west1, "zone.yaml", nil, vpc(west1), vpc(west2)),
	}}
}

// testUndo is the way back of testPlan.
func testUndo() []awsplan.Step {
	global := []awsplan.Feed{{Parameter: "Global", Stack: "shop-cache", Region: west1, Output: "Global"}}
	del := func(part, region string) awsplan.Step {
		return awsplan.Step{Do: awsplan.DoDelete, Stack: "shop-" + part, Region: region}
	}
	group := func(region string) awsplan.Step {
		return awsplan.Step{
			Do: awsplan.DoDeleteGroup, Stack: "shop-cache", Region: region, Parameters: map[string]string{"Group": "shop-" + region, "Snapshot": "shop-last"},
		}
	}
	return []awsplan.Step{
		{Do: awsplan.DoEmptyZone, Stack: "shop-zone", Region: west1, Feeds: []awsplan.Feed{{Parameter: "Zone", Stack: "shop-zone", Region: west1, Output: "Zone"}}},
		{Do: awsplan.DoDisassociate, Stack: "shop-cache", Region: west1, Feeds: global},
		{Do: awsplan.DoDeleteGlobal, Stack: "shop-cache", Region: west1, Feeds: global},
		group(west1), group(west2),
		del("zone", west1), del("arc", west2), del("cache", west2), del("cache", west1), del("network", west2), del("network", west1),
	}
}

// testRemains is what remains of testPlan.
func testRemains() []awsplan.Remain {
	return []awsplan.Remain{
		{Type: "AWS::KMS::Key", Region: west1, Feed: awsplan.Feed{Stack: "shop-cache", Region: west1, Output: "Key"}, Why: "snapshots need it"},
		{Type: snapshotType, Region: west1, ID: "shop-last", Why: "a last one"},
		{Type: snapshotType, Region: west2, ID: "shop-last", Why: "a last one"},
	}
}

// newTestWorld has what testPlan needs that no template makes.
func newTestWorld() *world {
	w := newWorld()
	w.peerings["tgw-attach-1"] = "initiatingRequest"
	w.controls = map[string]bool{controlA: false, controlB: false}
	w.zone = []string{"NS session.internal.", "SOA session.internal.", "CNAME write.session.internal.", "TXT _roam.write.session.internal."}
	return w
}

// undoer takes testPlan's deployment away.
func (w *world) undoer(c Config) (*Deployer, *[]Event) {
	d, told := w.deployer(testPlan(), c)
	d.undo, d.remain = testUndo(), testRemains()
	return d, told
}
