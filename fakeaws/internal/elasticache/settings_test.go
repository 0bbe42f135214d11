//go:build integration

package elasticache

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// Parameter groups are each Region's, keep what is set, and have a bound.
func TestParameterGroups(t *testing.T) {
	w := begin(t, nil)
	create := func(region, name, family string) error {
		_, err := w.clients[region].CreateCacheParameterGroup(t.Context(), &elasticache.CreateCacheParameterGroupInput{
			CacheParameterGroupName: &name, CacheParameterGroupFamily: &family, Description: aws.String("x"),
		})
		return err
	}
	modify := func(region, group string, pairs ...string) error {
		in := &elasticache.ModifyCacheParameterGroupInput{CacheParameterGroupName: &group}
		for i := 0; i < len(pairs); i += 2 {
			in.ParameterNameValues = append(in.ParameterNameValues, types.ParameterNameValue{ParameterName: &pairs[i], ParameterValue: &pairs[i+1]})
		}
		_, err := w.clients[region].ModifyCacheParameterGroup(t.Context(), in)
		return err
	}
	for _, c := range []struct {
		what string
		err  error
		want string
	}{
		{"made", create(west1, "session", "valkey8"), "<nil>"},
		{"made again", create(west1, "Session", "valkey8"), "CacheParameterGroupAlreadyExists"},
		{"in another Region", create(west2, "session", "redis7.x"), "<nil>"},
		{"no family", create(west1, "other", "valkey"), "InvalidParameterValue"},
		{"no name", create(west1, "9", "valkey8"), "InvalidParameterValue"},
		{"set", modify(west1, "session", "maxmemory-policy", "noeviction", "b", "1"), "<nil>"},
		{"set more", modify(west1, "SESSION", "b", "2"), "<nil>"},
		{"of nobody", modify(west1, "nobody", "b", "2"), "CacheParameterGroupNotFound"},
		{"nameless", modify(west1, "session", "", "2"), "InvalidParameterValue"},
	} {
		if got := code(c.err); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	var many []string
	for i := range mostParameters {
		many = append(many, fmt.Sprintf("p%d", i), "1")
	}
	if got := code(modify(west1, "session", many...)); got != "InvalidParameterValue" {
		t.Errorf("more than %d parameters: %s", mostParameters, got)
	}
	describe := func(source string) string {
		out, err := w.clients[west1].DescribeCacheParameters(t.Context(), &elasticache.DescribeCacheParametersInput{CacheParameterGroupName: aws.String("session"), Source: &source})
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, p := range out.Parameters {
			said += *p.ParameterName + "=" + *p.ParameterValue + " "
		}
		return said
	}
	if got := describe("user"); got != "b=2 maxmemory-policy=noeviction " {
		t.Errorf("it has %q", got)
	}
	if got := describe("system"); got != "" {
		t.Errorf("of the system it has %q", got)
	}
}

func TestSubnetGroups(t *testing.T) {
	w := begin(t, nil)
	create := func(name string, subnets ...string) (string, error) {
		out, err := w.clients[west1].CreateCacheSubnetGroup(t.Context(), &elasticache.CreateCacheSubnetGroupInput{
			CacheSubnetGroupName: &name, CacheSubnetGroupDescription: aws.String("x"), SubnetIds: subnets,
		})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(*out.CacheSubnetGroup.CacheSubnetGroupName, len(out.CacheSubnetGroup.Subnets)), nil
	}
	if got, err := create("session", "subnet-1", "subnet-2"); err != nil || got != "session2" {
		t.Errorf("made: %s, %v", got, err)
	}
	if _, err := create("session", "subnet-1"); code(err) != "CacheSubnetGroupAlreadyExists" {
		t.Errorf("made again: %v", err)
	}
	if _, err := create("none"); err == nil {
		t.Error("made of no subnets")
	}
}
