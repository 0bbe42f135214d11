# Sourced by scripts that unpack Debian's packages into a folder, where nothing is installed and no root
# is needed. They set dir, the folder, and say, which tells people what goes wrong.

debs_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debs_refuse ends the script of a machine that can't have what it wants. Tests read why in $dir/refused.
debs_refuse() {
	say "$1"
	mkdir -p "$dir"
	echo "$1" > "$dir/refused"
	exit 1
}

# debs_ready sets suite and mirror to those of this machine.
debs_ready() {
	for tool in apt-get dpkg-deb /usr/bin/python3; do
		command -v "$tool" > /dev/null || debs_refuse "this machine has no $tool"
	done
	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" 2> /dev/null | head -1)
	[ -n "$mirror" ] && [ -f "$debs_keyring" ] || debs_refuse 'this machine is no Debian with a mirror'
}

# debs_fetch downloads packages of a suite, by lists of our own.
debs_fetch() {
	local from=$1 own=$dir/apt-$1 user
	shift
	mkdir -p "$dir/debs" "$own"/{lists,cache/archives}/partial
	echo "deb [signed-by=$debs_keyring] $mirror $from main" > "$own/sources.list"
	user=$(id -un)
	local as=(-q -o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$own/lists"
		-o "Dir::Cache=$own/cache" -o "APT::Sandbox::User=$user" -o Debug::NoLocking=1)
	apt-get "${as[@]}" update > /dev/null && (cd "$dir/debs" && apt-get "${as[@]}" download "$@" > /dev/null)
}

# debs_unpack unpacks what was downloaded into $dir/root.
debs_unpack() {
	mkdir -p "$dir/root"
	for deb in "$dir"/debs/*.deb; do
		dpkg-deb -x "$deb" "$dir/root"
	done
	rm -rf "$dir"/debs "$dir"/apt-*
}
