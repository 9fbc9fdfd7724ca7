# SPDX-License-Identifier: Apache-2.0
# A look into the backports of the running Debian release without changing what the machine's apt sees.
#
# The machine's own sources are copied into a folder of ours, with one source more: the address, key and signature of
# the machine's main source, and the suite RELEASE-backports.  apt works on that folder and on package lists of ours.
# Source common.sh first.

LAB_CACHE=${DMEM_LAB_CACHE:-/var/cache/dmem-lab}
BACKPORTS_APT="$LAB_CACHE/apt"

# "bookworm-backports"; empty where the release has none that we know of.
backports_suite() {
	local codename=""
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	[ -z "$codename" ] || printf '%s-backports' "$codename"
}

# Options that make apt-get and apt-cache see our folder instead of /etc/apt's.
backports_options() {
	printf '%s\n' -o "Dir::Etc::SourceParts=$BACKPORTS_APT/sources" -o Dir::Etc::SourceList=/dev/null \
		-o "Dir::State::Lists=$BACKPORTS_APT/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o "APT::Default-Release=$(backports_suite)"
}

# The first source that names the release, in either of apt's two forms, once more with the backports' suite.
backports_derive() {
	local codename=$1 file
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -e "$file" ] || continue
		awk -v suite="$codename" 'BEGIN { RS = ""; FS = "\n" }
			$0 ~ "(^|\n)Suites:[^\n]*[ \t]" suite "([ \t\n]|$)" {
				for (i = 1; i <= NF; i++) {
					if ($i ~ /^#/) continue
					print ($i ~ /^Suites:/) ? "Suites: " suite "-backports" : $i
				}
				exit
			}' "$file" >"$BACKPORTS_APT/sources/dmem-backports.sources"
		[ ! -s "$BACKPORTS_APT/sources/dmem-backports.sources" ] || return 0
	done
	rm -f "$BACKPORTS_APT/sources/dmem-backports.sources"
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -e "$file" ] || continue
		sed -nE "s/^(deb( +\[[^]]*\])? +[^ ]+) +$codename +(.*)/\1 $codename-backports \3/p" "$file" | head -n 1 \
			>"$BACKPORTS_APT/sources/dmem-backports.list"
		[ ! -s "$BACKPORTS_APT/sources/dmem-backports.list" ] || return 0
	done
	die "no apt source of this machine names the suite '$codename'; what is needed comes from $codename-backports"
}

# Make our folder and fetch the package lists.
backports_prepare() {
	local suite options
	suite=$(backports_suite)
	[ -n "$suite" ] || die "this is no Debian release that has backports; install the packages by hand"
	mkdir -p "$BACKPORTS_APT/lists/partial" || die "can't write to $LAB_CACHE; DMEM_LAB_CACHE names another folder"
	rm -rf "$BACKPORTS_APT/sources"
	mkdir -p "$BACKPORTS_APT/sources"
	find /etc/apt/sources.list.d -maxdepth 1 \( -name '*.sources' -o -name '*.list' \) \
		-exec cp -t "$BACKPORTS_APT/sources" {} + 2>/dev/null || true
	[ ! -e /etc/apt/sources.list ] || cp /etc/apt/sources.list "$BACKPORTS_APT/sources/machine.list"
	backports_derive "${suite%-backports}"
	mapfile -t options < <(backports_options)
	# Without the suite's lists yet, apt refuses a default release that it does not know.
	apt-get -q "${options[@]}" -o APT::Default-Release= update >"$BACKPORTS_APT/update.log" 2>&1 ||
		{ tail -n 20 "$BACKPORTS_APT/update.log" >&2 && die "apt-get update with $suite failed"; }
}
