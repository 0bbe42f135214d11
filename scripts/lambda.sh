#!/usr/bin/env bash
# Builds the archives of the Lambda functions, dist/lambda-arm64.zip and dist/lambda-amd64.zip.
# The same source and Go make the same bytes. An argument names another folder.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=${1:-dist}
mkdir -p "$dist"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for arch in arm64 amd64; do
	GOOS=linux GOARCH=$arch CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid=' \
		-o "$work/bootstrap" ./cmd/roam-lambda
	go run ./internal/awslambda/pack "$work/bootstrap" "$dist/lambda-$arch.zip"
	echo "$dist/lambda-$arch.zip: $(wc -c < "$work/bootstrap") bytes of bootstrap, $(wc -c < "$dist/lambda-$arch.zip") packed"
done
