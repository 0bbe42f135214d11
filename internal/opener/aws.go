//go:build !noaws

package opener

import (
	"context"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/dynamo"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/engine/postgres/dsql"
	"github.com/roam-sessions/roam/internal/topology"
)

// What is in this file links the AWS SDK; noaws.go is in its place in programs that are
// built with -tags noaws.

// clusterConfig returns how a cluster of Aurora DSQL is reached.
func clusterConfig(d *topology.DSQL, to postgres.Config) dsql.Config {
	return dsql.Config{Host: d.Endpoint, Region: d.AWSRegion, User: d.User, Engine: to}
}

func openCluster(ctx context.Context, id crdt.Region, d *topology.DSQL, to postgres.Config) (engine.Engine, error) {
	out, err := dsql.Open(ctx, id, clusterConfig(d, to))
	if err != nil {
		return nil, err
	}
	return out, nil
}

func examineCluster(ctx context.Context, d *topology.DSQL) (postgres.Server, error) {
	return dsql.Examine(ctx, clusterConfig(d, dsqlConfig(d)))
}

// tableConfig returns which table of DynamoDB is used.
func tableConfig(d *topology.Dynamo) dynamo.Config {
	return dynamo.Config{Table: d.Table, Region: d.AWSRegion, Strong: d.Strong, Endpoint: d.Endpoint, Connections: d.Connections}
}

func openTable(ctx context.Context, id crdt.Region, d *topology.Dynamo, c Config) (engine.Engine, error) {
	to := tableConfig(d)
	to.Log = c.Log
	out, err := dynamo.Open(ctx, id, to)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func examineTable(ctx context.Context, d *topology.Dynamo) (Store, error) {
	t, err := dynamo.Examine(ctx, tableConfig(d))
	if err != nil {
		return Store{}, err
	}
	out := Store{Took: t.Took, Regions: t.Regions, Seen: "it is " + t.Status}
	switch {
	case t.Regions > 1 && t.Strong:
		out.Seen += ", strongly consistent in all Regions"
	case t.Regions > 1:
		out.Seen += ", eventually consistent between Regions"
	default:
		out.Seen += ", in one Region"
	}
	for _, f := range t.Findings {
		out.Findings = append(out.Findings, Finding(f))
	}
	return out, nil
}
