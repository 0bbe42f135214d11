#!/usr/bin/env bash
# Installs what the integration tests need beside Go: a Chromium for the console.
# On Debian it installs it; elsewhere it says what to install.
set -euo pipefail

say() { echo "install-test-deps: $*" >&2; }

if [ "$(uname -s)" = Darwin ]; then
	say 'macOS: only the Go-only tests run, those tagged integration are left out'
	exit 0
fi

for name in chromium chromium-browser google-chrome google-chrome-stable headless-shell; do
	if command -v "$name" > /dev/null; then
		exit 0
	fi
done

give_up() {
	say "$1"
	say 'install Chromium yourself (Debian: apt-get install chromium) so that one of chromium, chromium-browser or google-chrome is on the PATH, then run make test again'
	exit 1
}

command -v apt-get > /dev/null || give_up 'no browser found, and this is no Debian with apt-get'

root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo > /dev/null || give_up 'no browser found; installing one takes root, and there is no sudo'
	root=(sudo)
	[ -z "${CI:-}" ] || root=(sudo -n)
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

# The lock on the package lists does not wait, whatever DPkg::Lock::Timeout says:
# another apt-get update at this moment is a reason to try again.
updated=no
for try in 1 2 3 4 5 6; do
	if apt update -q; then
		updated=yes
		break
	fi
	say "apt-get update failed (try $try of 6)"
	sleep $((try * 5))
done
[ "$updated" = yes ] || say 'going on with the package lists that are there'

apt install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 chromium ||
	give_up 'apt-get could not install chromium'
command -v chromium > /dev/null || give_up 'the package chromium brought no command chromium'
