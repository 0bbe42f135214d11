#!/usr/bin/env bash
# Runs every Fuzz test of the module for the same time, one after the other: the
# go command fuzzes one at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:?usage: fuzz.sh TIME, such as 10s}

# go test -list prints the names found in a package, then "ok package seconds".
list=$(go test -run '^$' -list '^Fuzz' ./... | awk '
	/^Fuzz/ { names[n++] = $1 }
	/^(ok|\?)/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }')

if [ -z "$list" ]; then
	echo 'fuzz: there is no Fuzz test yet'
	exit 0
fi
while read -r package name; do
	echo "fuzz: $name in $package for $time"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" < /dev/null
done <<< "$list"
