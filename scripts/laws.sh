#!/usr/bin/env bash
# Lets chance look longer than an ordinary test run does: the laws and models of
# crdt on CHECKS random cases each, and as many seeds of the replicas' exploration,
# in which frames are lost, links cut and engines forget.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=${1:?usage: laws.sh CHECKS}
echo "laws: crdt, $checks cases of each"
go test -count=1 -timeout 60m ./crdt -rapid.checks="$checks"
echo "laws: internal/replica, $checks seeds"
go test -count=1 -timeout 60m ./internal/replica -run '^TestExplore$' -seeds="$checks"
