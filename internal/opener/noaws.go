//go:build noaws

package opener

import (
	"context"
	"errors"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/topology"
)

// errLeftOut: this program was built without the AWS SDK.
var errLeftOut = errors.New("this program was built with -tags noaws, so it has neither Aurora DSQL nor DynamoDB")

func openCluster(context.Context, crdt.Region, *topology.DSQL, postgres.Config) (engine.Engine, error) {
	return nil, errLeftOut
}

func examineCluster(context.Context, *topology.DSQL) (postgres.Server, error) {
	return postgres.Server{}, errLeftOut
}

func openTable(context.Context, crdt.Region, *topology.Dynamo, Config) (engine.Engine, error) {
	return nil, errLeftOut
}

func examineTable(context.Context, *topology.Dynamo) (Store, error) { return Store{}, errLeftOut }
