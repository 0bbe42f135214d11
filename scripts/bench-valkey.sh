#!/usr/bin/env bash
# Runs Roam on Valkey side by side with what a user would use instead, and prints the
# ratios. They are kept in bench/results/valkey.json. Fails if a figure is missing, not if
# one misses its target.
#
# SESSIONS says how many are many; 200,000. ROUNDS is how often both sides run in turn; 9.
# SLICE is how long each has in a round; 300 ms.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install-test-deps.sh
mkdir -p bench/results
measured=$(mktemp)
trap 'rm -f "$measured"' EXIT
sessions=${SESSIONS:-200000}
echo "bench-valkey: about five minutes, and as long as ${sessions} sessions take to load" >&2
# A benchmark that fails leaves the others' figures: the sheet says what is missing.
go test -tags integration -run '^$' -bench . -benchtime "${ROUNDS:-9}x" -timeout 2h ./internal/sidebyside \
	-args -measured "$measured" -slice "${SLICE:-300ms}" -sessions "$sessions" 1>&2 || true
go run ./internal/sidebyside/sheet -measured "$measured" -sessions "$sessions"
echo 'kept in bench/results/valkey.json; make bench-docs makes the page of it' >&2
