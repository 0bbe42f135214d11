#!/usr/bin/env bash
# Unpacks moto, an independent fake of AWS, into bin/moto: what is Python alone comes from
# Debian trixie, the first to have it; what is compiled comes from the Debian of this machine,
# whose mirror is asked. Nothing is installed, and no root is needed. Where this can't be done
# it says so and fails; tests against moto then say that they were not run.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-moto: $*" >&2; }

pure=(moto boto3 botocore s3transfer responses xmltodict antlr4 flask flask-cors werkzeug jinja2 itsdangerous click
	blinker jmespath dateutil six requests urllib3 idna certifi chardet tz docker joserfc)
compiled=(charset-normalizer cryptography cffi-backend markupsafe yaml)

dir=$PWD/bin/moto
wanted=$(cksum < scripts/install-moto.sh)
[ "$(cat "$dir/complete" 2> /dev/null)" != "$wanted" ] || exit 0

for tool in apt-get dpkg-deb /usr/bin/python3; do
	command -v "$tool" > /dev/null || { say "this machine has no $tool"; exit 1; }
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" 2> /dev/null | head -1)
[ -n "$mirror" ] && [ -f "$keyring" ] || { say 'this machine is no Debian with a mirror'; exit 1; }

rm -rf "$dir"
mkdir -p "$dir"/{debs,root,shim/openapi_spec_validator/validation}
# fetch downloads packages of a suite, by lists of our own.
fetch() {
	local from=$1 own=$dir/apt-$1 user
	shift
	mkdir -p "$own"/{lists,cache/archives}/partial
	echo "deb [signed-by=$keyring] $mirror $from main" > "$own/sources.list"
	user=$(id -un)
	local as=(-q -o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$own/lists"
		-o "Dir::Cache=$own/cache" -o "APT::Sandbox::User=$user" -o Debug::NoLocking=1)
	apt-get "${as[@]}" update > /dev/null && (cd "$dir/debs" && apt-get "${as[@]}" download "${@/#/python3-}" > /dev/null)
}
if ! fetch trixie "${pure[@]}" || ! fetch "$suite" "${compiled[@]}"; then
	say 'the packages could not be had'
	exit 1
fi
for deb in "$dir"/debs/*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
rm -rf "$dir"/debs "$dir"/apt-*

# Of this module moto wants three names, for what we don't use; the module itself is compiled.
cat > "$dir/shim/openapi_spec_validator/__init__.py" << 'END'
def validate(*args, **kwargs): pass
def validate_spec(*args, **kwargs): pass
END
touch "$dir/shim/openapi_spec_validator/validation/__init__.py"
echo 'class OpenAPIValidationError(Exception): pass' > "$dir/shim/openapi_spec_validator/validation/exceptions.py"

if ! PYTHONPATH=$dir/shim:$dir/root/usr/lib/python3/dist-packages /usr/bin/python3 -S -c 'import moto.server, moto.dynamodb' 2> "$dir/error"; then
	say "it does not run here: $(tail -1 "$dir/error")"
	exit 1
fi
echo "$wanted" > "$dir/complete"
