#!/usr/bin/env bash
# Unpacks the AWS CLI of this machine's Debian into bin/awscli. Nothing is installed, and no root is
# needed. Where this can't be done it says so and fails; the commands of docs/aws are then not run.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-awscli: $*" >&2; }

# What Debian's awscli 2 depends on, and what that needs in turn.
modules=(pyasn1 awscrt colorama cryptography cffi-backend dateutil six distro docutils roman jmespath prompt-toolkit wcwidth
	ruamel.yaml ruamel.yaml.clib urllib3)

dir=$PWD/bin/awscli
wanted=$(cat scripts/install-awscli.sh scripts/debs.sh | cksum)
[ "$(cat "$dir/complete" 2> /dev/null)" != "$wanted" ] || exit 0

# shellcheck source=scripts/debs.sh
. scripts/debs.sh
rm -rf "$dir"
debs_ready
mkdir -p "$dir"
debs_fetch "$suite" awscli "${modules[@]/#/python3-}" || debs_refuse 'the packages could not be had'
debs_unpack

cat > "$dir/aws" << 'END'
#!/bin/sh
# The AWS CLI, from Debian's packages beside this file.
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH=$here/root/usr/lib/python3/dist-packages exec /usr/bin/python3 -S -c 'import sys
from awscli.clidriver import main
sys.argv[0] = "aws"
sys.exit(main())' "$@"
END
chmod 755 "$dir/aws"
if ! "$dir/aws" --version > "$dir/version" 2> "$dir/error"; then
	say "it does not run here: $(tail -1 "$dir/error")"
	exit 1
fi
echo "$wanted" > "$dir/complete"
