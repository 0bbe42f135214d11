#!/usr/bin/env bash
# Runs the tests named Law, Sim or Seed of some rooms, with more random cases than
# an ordinary test run takes.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=${1:?usage: sim.sh CHECKS ROOM...}
shift
for room in "$@"; do
	if [ ! -d "$room" ]; then
		echo "sim: there is no $room yet"
		continue
	fi
	flags=()
	# Only test programs that link rapid know its flag.
	if go list -f '{{join .TestImports " "}} {{join .XTestImports " "}}' "./$room" | grep -q 'pgregory.net/rapid'; then
		flags=("-rapid.checks=$checks")
	fi
	echo "sim: $room ${flags[*]:-(its tests are not random)}"
	go test -count=1 -timeout 30m "./$room" -run 'Law|Sim|Seed' ${flags[@]+"${flags[@]}"}
done
