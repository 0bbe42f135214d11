#!/usr/bin/env bash
# Breaks one rule of the code at a time and lets the simulator find it: builds
# bin/roam-sim-mutants with all mutants of internal/mutant in it, asleep, and wakes
# them in turn. Prints the table of docs/invariants.md; exits 1 if one survives.
# Arguments are names of mutants, or flags of "roam-sim mutants".
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p bin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
overlay=$(go run ./cmd/roam-sim overlay "$dir")
go build -overlay "$overlay" -o bin/roam-sim-mutants ./cmd/roam-sim
bin/roam-sim-mutants mutants "$@"
