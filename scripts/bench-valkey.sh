#!/usr/bin/env bash
# Runs Roam's Valkey engine side by side with the plain commands that a user would use
# instead, on one server, and prints the ratios. They are kept in bench/results/valkey.json.
# SESSIONS says how many are many; 200,000.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install-test-deps.sh
mkdir -p bench/results
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo 'running the benchmarks of engine/valkey (about four minutes)' >&2
go test -tags integration -run '^$' -bench . -benchtime "${BENCHTIME:-2s}" ./engine/valkey > "$out" || {
	cat "$out" >&2
	exit 1
}

awk -v json=bench/results/valkey.json '
	function row(name, value, unit, baseline, target, most) {
		if (value == "" || baseline == "" || baseline + 0 == 0) {
			print "bench-valkey: no figure for " name > "/dev/stderr"
			failed = 1
			return
		}
		ratio = value / baseline
		ok = most ? ratio <= target : ratio >= target
		printf "| %s | %.0f %s | %.0f | %.2f | %s %.2f | %s |\n", name, value, unit, baseline, ratio, most ? "at most" : "at least", target, ok ? "yes" : "no"
		rows = rows (rows ? ",\n" : "") sprintf("  {\"name\": \"%s\", \"value\": %.1f, \"unit\": \"%s\", \"baseline\": %.1f, \"ratio\": %.3f, \"target\": %.2f, \"ok\": %s}", name, value, unit, baseline, ratio, target, ok ? "true" : "false")
	}
	/^Benchmark/ {
		name = $1
		sub(/^Benchmark/, "", name)
		sub(/-[0-9]+$/, "", name)
		for (i = 3; i < NF; i += 2) v[name, $(i + 1)] = $i
	}
	END {
		print "| what | value | baseline | ratio | target | ok |"
		print "|---|---|---|---|---|---|"
		row("read of a session, to HGETALL, 1 client", v["Read/clients=1", "ns/op"], "ns", v["PlainHgetall/clients=1", "ns/op"], 1.10, 1)
		row("read of a session, to HGETALL, 256 clients", v["Read/clients=256", "ns/op"], "ns", v["PlainHgetall/clients=256", "ns/op"], 1.10, 1)
		row("near read, rate to that of GET, 1 client", 1e9 / v["ReadNear/clients=1", "ns/op"], "/s", 1e9 / v["PlainGet/clients=1", "ns/op"], 8.00, 0)
		row("near read, rate to that of GET, 256 clients", 1e9 / v["ReadNear/clients=256", "ns/op"], "/s", 1e9 / v["PlainGet/clients=256", "ns/op"], 8.00, 0)
		row("read of one of many sessions, rate to that of 10,000", 1e9 / v["ReadOfMany", "ns/op"], "/s", 1e9 / v["ReadOf10k", "ns/op"], 0.90, 0)
		row("put with log, to SET, 1 client", v["Put/clients=1", "ns/op"], "ns", v["PlainSet/clients=1", "ns/op"], 2.50, 1)
		row("put with log, rate to that of SET, 50 connections", 1e9 / v["PutAt50", "ns/op"], "/s", 1e9 / v["PlainSetAt50", "ns/op"], 0.45, 0)
		row("put with log, rate to that of pipelined SET, 16 clients", 1e9 / v["Put/clients=16", "ns/op"], "/s", 1e9 / v["PlainSet/clients=16", "ns/op"], 0.45, 0)
		row("fragments merged, to 100,000 a second", v["Ingest", "fragments/s"], "/s", 100000, 1.00, 0)
		row("memory of a session, to SET of its fields", v["Memory", "B/session"], "B", v["Memory", "B/plain"], 1.35, 1)
		printf "[\n%s\n]\n", rows > json
		exit failed
	}' "$out"
echo 'kept in bench/results/valkey.json' >&2
