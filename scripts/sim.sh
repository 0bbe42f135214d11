#!/usr/bin/env bash
# Simulates deployments, one a seed, and checks that sessions survive. What it
# takes comes in the environment, as make sim has it: SEEDS, START, REGIONS, SEED
# for one seed alone with its story, MUTANT to have a rule of the code broken (names
# of internal/mutant, commas between them), ARGS for roam-sim. The last line is the
# summary; the exit code is 1 if an invariant was broken.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:?usage: sim.sh FOLDER}
args=()
[ -z "${SEEDS:-}" ] || args+=(--seeds "$SEEDS")
[ -z "${START:-}" ] || args+=(--start "$START")
[ -z "${REGIONS:-}" ] || args+=(--regions "$REGIONS")
[ -z "${SEED:-}" ] || args+=(--seed "$SEED")

mkdir -p "$bin"
go build -o "$bin/roam-sim" ./cmd/roam-sim
program=$bin/roam-sim
if [ -n "${MUTANT:-}" ]; then
	overlay=$(mktemp -d)
	trap 'rm -rf "$overlay"' EXIT
	file=$("$program" overlay "$overlay")
	go build -overlay "$file" -o "$bin/roam-sim-mutants" ./cmd/roam-sim
	program=$bin/roam-sim-mutants
	export ROAM_MUTANT=$MUTANT
	echo "sim: awake is the mutant $MUTANT" >&2
fi
# shellcheck disable=SC2086 # ARGS are words
"$program" "${args[@]}" ${ARGS:-}
