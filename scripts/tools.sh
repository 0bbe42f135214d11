#!/usr/bin/env bash
# Builds the tools that tools/go.mod pins into a folder. A stamp with the pins and
# the Go version says what is there, so that the second call costs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:?usage: tools.sh FOLDER}
want=$({ cat tools/go.mod tools/go.sum; go env GOVERSION GOOS GOARCH; } | cksum)
stamp=$bin/.tools

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
	complete=yes
	for tool in $(cd tools && go list tool); do
		# gofumpt's command is its module, benchstat's is a folder: the last part names both.
		[ -x "$bin/$(basename "$tool")" ] || complete=no
	done
	[ "$complete" = no ] || exit 0
fi

echo "building the tools of tools/go.mod into $(basename "$bin") (about a minute and a half on two cores)"
mkdir -p "$bin"
rm -f "$stamp"
GOBIN=$bin GOFLAGS='' go install -C tools tool
printf '%s\n' "$want" > "$stamp"
