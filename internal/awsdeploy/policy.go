package awsdeploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// A Statement is one of a policy of IAM.
type Statement struct {
	Sid      string   `json:"Sid"`
	Effect   string   `json:"Effect"`
	Action   []string `json:"Action"`
	Resource []string `json:"Resource"`
}

// An Account is where a plan is carried out.
type Account struct {
	ID        string // its number; empty: any
	Partition string // aws, aws-cn or aws-us-gov; empty: aws
	Role      string // the ARN by which CloudFormation makes things; empty: by the rights of who deploys
}

// Policy returns the policy of IAM that whoever carries a plan out needs: the calls that this package makes, as
// narrow as AWS takes them, and what CloudFormation does in her name: all of each service that has something in a
// template. With a role of its own CloudFormation needs the latter, and she passes the role.
func Policy(p awsplan.Plan, templates func(string) (string, error), a Account) ([]byte, error) {
	if a.Partition == "" {
		a.Partition = "aws"
	}
	if a.ID == "" {
		a.ID = "*"
	}
	all := calls(p.Name, a)
	if a.Role != "" {
		all = append(all, Statement{"PassTheRole", "Allow", []string{"iam:PassRole"}, []string{a.Role}})
	} else {
		actions, err := services(p, templates)
		if err != nil {
			return nil, err
		}
		all = append(all, Statement{"WhatCloudFormationMakes", "Allow", actions, []string{"*"}})
	}
	out, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": all}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return out, nil
}

// calls are all calls that this package makes, by what they are for. GetCallerIdentity needs no right.
func calls(name string, a Account) []Statement {
	arn := func(service, resource string) string {
		return "arn:" + a.Partition + ":" + service + ":*:" + a.ID + ":" + resource
	}
	anywhere := []string{"*"}
	return []Statement{
		{"Stacks", "Allow", []string{
			"cloudformation:CreateChangeSet", "cloudformation:CreateStack", "cloudformation:DeleteChangeSet", "cloudformation:DeleteStack",
			"cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet",
			"cloudformation:GetTemplate", "cloudformation:ListStackResources", "cloudformation:SetStackPolicy", "cloudformation:TagResource",
		}, []string{arn("cloudformation", "stack/"+name+"-*/*")}},
		{"FindStacks", "Allow", []string{"cloudformation:DescribeStacks", "cloudformation:ListStacks"}, anywhere},
		{"LookAtCaches", "Allow", []string{
			"elasticache:DescribeCacheClusters", "elasticache:DescribeGlobalReplicationGroups", "elasticache:DescribeReplicationGroups", "elasticache:DescribeSnapshots",
		}, anywhere},
		{"TakeCachesAway", "Allow", []string{
			"elasticache:DeleteGlobalReplicationGroup", "elasticache:DeleteReplicationGroup", "elasticache:DeleteSnapshot", "elasticache:DisassociateGlobalReplicationGroup",
		}, []string{
			"arn:" + a.Partition + ":elasticache::" + a.ID + ":globalreplicationgroup:*-" + name,
			arn("elasticache", "replicationgroup:"+name+"-*"), arn("elasticache", "snapshot:"+name+"-*"), arn("elasticache", "cluster:"+name+"-*"),
		}},
		{"AcceptPeerings", "Allow", []string{"ec2:AcceptTransitGatewayPeeringAttachment", "ec2:DescribeTransitGatewayPeeringAttachments"}, anywhere},
		{"Controls", "Allow", []string{
			"route53-recovery-cluster:GetRoutingControlState", "route53-recovery-cluster:UpdateRoutingControlStates", "route53-recovery-control-config:DescribeCluster",
		}, anywhere},
		{"EmptyTheZone", "Allow", []string{"route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"}, []string{"arn:" + a.Partition + ":route53:::hostedzone/*"}},
		// Cloud Control's calls are named so; what they do needs the rights of each service besides.
		{"WhatRemains", "Allow", []string{
			"cloudformation:DeleteResource", "cloudformation:GetResource", "cloudformation:GetResourceRequestStatus", "cloudformation:UpdateResource",
		}, anywhere},
	}
}

// prefixes are the names of services in policies where they are not those of CloudFormation's types in small letters.
func prefixes() map[string]string {
	return map[string]string{
		"ElasticLoadBalancingV2": "elasticloadbalancing", "Route53RecoveryControl": "route53-recovery-control-config",
	}
}

// services returns all actions of the services that have something in the plan's templates. Lambda and EC2 read their
// programs from a bucket.
func services(p awsplan.Plan, templates func(string) (string, error)) ([]string, error) {
	set := map[string]bool{"s3:GetObject": true}
	for _, s := range p.Steps {
		if s.Do != awsplan.DoStack {
			continue
		}
		text, err := templates(s.Template)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", s.Template, err)
		}
		types, err := typesOf(text)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", s.Template, err)
		}
		for _, kind := range types {
			parts := strings.Split(kind, "::")
			if len(parts) != 3 || parts[0] != "AWS" {
				return nil, fmt.Errorf("template %s: %q is no type of AWS", s.Template, kind)
			}
			if parts[1] == "CloudFormation" {
				continue
			}
			name := prefixes()[parts[1]]
			if name == "" {
				name = strings.ToLower(parts[1])
			}
			set[name+":*"] = true
		}
	}
	return slices.Sorted(maps.Keys(set)), nil
}

// typesOf returns the types of a template's resources.
func typesOf(template string) (out []string, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(template), &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	if all, ok := pairs(doc.Content[0])["Resources"]; ok {
		for _, r := range pairs(all) {
			if kind, ok := pairs(r)["Type"]; ok {
				out = append(out, kind.Value)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
