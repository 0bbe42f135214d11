#!/usr/bin/env bash
# Installs what the integration tests need beside Go: a Chromium for the console, Valkey and
# Redis servers, PostgreSQL and two that speak DynamoDB's protocol (dynalite, by Node, and moto, where
# it can be unpacked) for the engines, BIND with its tools for DNS, AWS's schemas of CloudFormation, and the
# AWS CLI, unpacked as well, for the commands of docs/aws. On Debian it installs them; elsewhere it says what
# to install.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-test-deps: $*" >&2; }

if [ "$(uname -s)" = Darwin ]; then
	say 'macOS: only the Go-only tests run, those tagged integration are left out'
	exit 0
fi

# has reports whether one of some commands is there.
has() {
	for name in "$@"; do
		if command -v "$name" > /dev/null; then
			return 0
		fi
	done
	return 1
}

browser() { has chromium chromium-browser google-chrome google-chrome-stable headless-shell; }
server() { has valkey-server; }
redis() { has redis-server; }
# Debian has the server's programs on no PATH.
database() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null; }
# Debian's users have no sbin on their PATH.
nameserver() { has named /usr/sbin/named && has named-checkzone /usr/sbin/named-checkzone && has dig && has nsupdate; }
nodejs() { has node && has npm; }

# dynalite is installed from npm as the lock file has it, without running any script of it.
dynalite() { cmp -s tools/dynalite/package-lock.json bin/dynalite/package-lock.json; }
install_dynalite() {
	rm -rf bin/dynalite
	mkdir -p bin/dynalite/new
	cp tools/dynalite/package.json tools/dynalite/package-lock.json bin/dynalite/new
	npm ci --prefix bin/dynalite/new --ignore-scripts --no-audit --no-fund --loglevel=error || return 1
	mv bin/dynalite/new/node_modules bin/dynalite/new/package.json bin/dynalite
	mv bin/dynalite/new/package-lock.json bin/dynalite # last: it says that all is there
	rmdir bin/dynalite/new
}
# cfnspec makes bin/cfnspec/spec.json, the slice of AWS's schemas that templates are held against.
cfnspec() {
	cmp -s tools/cfnspec/package-lock.json bin/cfnspec/package-lock.json && cmp -s tools/cfnspec/types.txt bin/cfnspec/types.txt &&
		cmp -s tools/cfnspec/slice.js bin/cfnspec/slice.js
}
make_cfnspec() {
	rm -rf bin/cfnspec
	mkdir -p bin/cfnspec
	cp tools/cfnspec/package.json tools/cfnspec/types.txt tools/cfnspec/slice.js bin/cfnspec
	cp tools/cfnspec/package-lock.json bin/cfnspec/package-lock.new
	mkdir bin/cfnspec/npm
	cp tools/cfnspec/package.json tools/cfnspec/package-lock.json bin/cfnspec/npm
	npm ci --prefix bin/cfnspec/npm --ignore-scripts --no-audit --no-fund --loglevel=error || return 1
	node bin/cfnspec/slice.js bin/cfnspec/npm/node_modules/@aws-cdk/aws-service-spec > bin/cfnspec/spec.json && [ -s bin/cfnspec/spec.json ] || return 1
	rm -rf bin/cfnspec/npm
	mv bin/cfnspec/package-lock.new bin/cfnspec/package-lock.json # last: it says that all is there
}
# fakes are what does not come from Debian as it is. The tests that need one say so without it.
fakes() {
	dynalite || install_dynalite || say 'npm could not install dynalite'
	cfnspec || make_cfnspec || say 'the schemas of CloudFormation could not be had: templates will not be held against them'
	./scripts/install-moto.sh || say 'tests against moto will not be run'
	./scripts/install-awscli.sh || say 'the commands of docs/aws will not be run'
}

missing=()
browser || missing+=('a Chromium (one of chromium, chromium-browser or google-chrome on the PATH; Debian: apt-get install chromium)')
server || missing+=('a Valkey server (valkey-server on the PATH; Debian: apt-get install valkey-server, from backports on bookworm)')
redis || missing+=('a Redis server, 7 or later (redis-server on the PATH; Debian: apt-get install redis-server)')
database || missing+=('PostgreSQL, 15 or later (postgres and initdb on the PATH or below /usr/lib/postgresql; Debian: apt-get install postgresql)')
nameserver || missing+=('BIND 9 with its tools (named, named-checkzone, dig and nsupdate on the PATH; Debian: apt-get install bind9 bind9-utils bind9-dnsutils)')
nodejs || missing+=('Node 20 or later with npm (node and npm on the PATH; Debian: apt-get install nodejs npm)')
if [ "${#missing[@]}" -eq 0 ]; then
	fakes
	exit 0
fi

give_up() {
	say "$1"
	for what in "${missing[@]}"; do
		say "needed: $what"
	done
	say 'install what is needed yourself, then run make test again'
	exit 1
}

command -v apt-get > /dev/null || give_up 'this is no Debian with apt-get'

root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo > /dev/null || give_up 'installing takes root, and there is no sudo'
	root=(sudo)
	[ -z "${CI:-}" ] || root=(sudo -n)
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

# The lock on the package lists does not wait, whatever DPkg::Lock::Timeout says:
# another apt-get update at this moment is a reason to try again.
update() {
	for try in 1 2 3 4 5 6; do
		if apt update -q; then
			return 0
		fi
		say "apt-get update failed (try $try of 6)"
		sleep $((try * 5))
	done
	say 'going on with the package lists that are there'
}

install() { apt install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"; }

offered() { [ -n "$(apt-cache madison "$1" 2> /dev/null)" ]; }

# add_backports makes valkey, and nothing else, come from the backports of the mirror
# that this machine uses. Debian has it in the suite itself since trixie.
add_backports() {
	local mirror suite
	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" 2> /dev/null | head -1)
	[ -n "$suite" ] && [ -n "$mirror" ] || return 1
	"${root[@]}" tee /etc/apt/sources.list.d/backports-valkey.sources > /dev/null <<- END
		Types: deb
		URIs: $mirror
		Suites: $suite-backports
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	"${root[@]}" tee /etc/apt/preferences.d/backports-valkey > /dev/null <<- END
		Package: *
		Pin: release n=$suite-backports
		Pin-Priority: -1

		Package: valkey valkey-server valkey-tools
		Pin: release n=$suite-backports
		Pin-Priority: 600
	END
}

update
if ! browser; then
	install chromium || give_up 'apt-get could not install chromium'
	browser || give_up 'the package chromium brought no command chromium'
fi
if ! server; then
	if ! offered valkey-server && add_backports; then
		update
	fi
	install valkey-server valkey-tools || give_up 'apt-get could not install valkey-server'
	server || give_up 'the package valkey-server brought no command valkey-server'
fi
if ! redis; then
	install redis-server redis-tools || give_up 'apt-get could not install redis-server'
	redis || give_up 'the package redis-server brought no command redis-server'
fi
if ! database; then
	# What comes with the package would make and start a server; the tests start their own.
	"${root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
	echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.d/roam.conf > /dev/null
	install postgresql || give_up 'apt-get could not install postgresql'
	database || give_up 'the package postgresql brought no program postgres'
fi
if ! nameserver; then
	install bind9 bind9-utils bind9-dnsutils || give_up 'apt-get could not install bind9'
	nameserver || give_up 'the packages of bind9 brought no commands named, named-checkzone, dig and nsupdate'
	"${root[@]}" systemctl disable --now named > /dev/null 2>&1 || true
fi
if ! nodejs; then
	install nodejs npm || give_up 'apt-get could not install nodejs and npm'
	nodejs || give_up 'the packages nodejs and npm brought no commands node and npm'
fi
fakes
# The tests start servers of their own: the services that came with them are not needed.
"${root[@]}" systemctl disable --now valkey-server redis-server > /dev/null 2>&1 || true
