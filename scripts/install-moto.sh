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
wanted=$(cat scripts/install-moto.sh scripts/debs.sh | cksum)
[ "$(cat "$dir/complete" 2> /dev/null)" != "$wanted" ] || exit 0

# shellcheck source=scripts/debs.sh
. scripts/debs.sh
rm -rf "$dir"
debs_ready
mkdir -p "$dir"/shim/openapi_spec_validator/validation
{ debs_fetch trixie "${pure[@]/#/python3-}" && debs_fetch "$suite" "${compiled[@]/#/python3-}"; } || debs_refuse 'the packages could not be had'
debs_unpack

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
