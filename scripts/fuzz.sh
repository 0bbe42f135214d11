#!/usr/bin/env bash
# Runs every Fuzz test of the module for the same time, one after the other: the
# go command fuzzes one at a time. A crasher ends its test and not the run; it is
# left in the package's testdata/fuzz, to be mended and committed, and the exit
# code is 1. With KEEP, up to so many of the inputs that were found are kept
# beside each test, those of at most 4 KiB: every ordinary test run tries them.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:?usage: fuzz.sh TIME [KEEP], such as 10s 40}
keep=${2:-0}
log=$(mktemp)
summary=$(mktemp)
trap 'rm -f "$log" "$summary"' EXIT

# go test -list prints the names found in a package, then "ok package seconds".
list=$(go test -run '^$' -list '^Fuzz' ./... | awk '
	/^Fuzz/ { names[n++] = $1 }
	/^(ok|\?)/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }')

if [ -z "$list" ]; then
	echo 'fuzz: there is no Fuzz test yet'
	exit 0
fi

# keep_inputs copies what the go command has found of a test, evenly by size.
keep_inputs() {
	local package=$1 name=$2 cache into have
	cache=$(go env GOCACHE)/fuzz/$package/$name
	into=$(go list -f '{{.Dir}}' "$package")/testdata/fuzz/$name
	[ -d "$cache" ] || return 0
	mkdir -p "$into"
	have=$(find "$into" -type f | wc -l)
	find "$cache" -type f -size -4097c -printf '%s %p\n' | sort -n | cut -d' ' -f2 |
		awk -v want=$((keep - have)) '
			{ file[n++] = $0 }
			END { for (i = 0; i < want && i < n; i++) print file[int(i * (n > want ? n / want : 1))] }' |
		while read -r file; do cp -n "$file" "$into/"; done
	rmdir --ignore-fail-on-non-empty "$into"
}

total=$(wc -l <<< "$list")
number=0
failed=0
while read -r package name; do
	number=$((number + 1))
	echo "fuzz: $number of $total: $name in $package for $time"
	crashed=0
	# Minimizing takes a minute an input by default, and is not what is asked for.
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 200x "$package" < /dev/null 2>&1 |
		tee "$log" | sed -u 's/^/  /' || crashed=1
	awk -v name="$name" -v package="$package" -v crashers="$crashed" '
		/execs: [0-9]/ { sub(/,$/, ""); for (i = 1; i <= NF; i++) {
			if ($i == "execs:") execs = $(i + 1)
			if ($i == "interesting:") found = $(i + 1) } }
		END { printf "%-18s %12d execs %6d new inputs %3d crashers  %s\n", name, execs, found, crashers, package }
	' "$log" >> "$summary"
	[ "$crashed" -eq 0 ] || failed=1
	[ "$keep" -eq 0 ] || keep_inputs "$package" "$name"
done <<< "$list"
echo "fuzz: $total tests, $time each"
cat "$summary"
exit "$failed"
