package elasticache

import (
	"net/http"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func fault(code, format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, code, format, args...)
}

func invalidValue(format string, args ...any) error {
	return fault("InvalidParameterValue", format, args...)
}

func invalidCombination(format string, args ...any) error {
	return fault("InvalidParameterCombination", format, args...)
}

func groupState(format string, args ...any) error {
	return fault("InvalidReplicationGroupState", format, args...)
}

func globalState(format string, args ...any) error {
	return fault("InvalidGlobalReplicationGroupState", format, args...)
}

func noGroup(id string) error {
	return door.Faultf(http.StatusNotFound, "ReplicationGroupNotFoundFault", "ReplicationGroup %s not found.", id)
}

func noGlobal(id string) error {
	return door.Faultf(http.StatusNotFound, "GlobalReplicationGroupNotFoundFault", "Global replication group %s not found.", id)
}

// required fails if a parameter is not there.
func required(p door.Params, names ...string) error {
	for _, n := range names {
		if p.Str(n) == "" {
			return door.Faultf(http.StatusBadRequest, "MissingParameter", "The request must contain the parameter %s.", n)
		}
	}
	return nil
}
