#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The scripts teach, refuse wrong names by naming the right ones, and work from any directory.
set -uo pipefail

root=${DMEM_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
failed=0

# expect NAME WANTED-STATUS PATTERN COMMAND...: its output has to match the pattern.
expect() {
	local name=$1 wanted=$2 pattern=$3 output status=0
	shift 3
	output=$(cd / && "$@" 2>&1 </dev/null) || status=$?
	if [ "$status" = "$wanted" ] && grep -qE -- "$pattern" <<<"$output"; then
		echo "ok $name"
	else
		echo "not ok $name: exit status $status, output: ${output:0:300}"
		failed=1
	fi
}

for script in deps test bench torture lab; do
	expect "$script --help teaches" 0 "^Examples?:" "$root/scripts/$script" --help
	expect "$script --help begins with its name" 0 "^scripts/$script " "$root/scripts/$script" --help
done
expect "deps names its groups" 2 "build, test, bench, demo, lab and full" "$root/scripts/deps" nonsense
expect "deps lists packages" 0 "^libjson-c-dev$" "$root/scripts/deps" --list build
expect "test names its stages" 2 "build-gcc .*conformance" "$root/scripts/test" --only nonsense
expect "test refuses an unknown option" 2 "unknown option --nonsense" "$root/scripts/test" --nonsense
expect "test lists its stages" 0 "^install$" "$root/scripts/test" --list
expect "bench names its benchmarks" 2 "attach" "$root/scripts/bench" nonsense
expect "bench lists its benchmarks" 0 "^attach$" "$root/scripts/bench" --list
expect "torture names its tests" 2 "there are:" "$root/scripts/torture" nonsense
expect "lab names its tests" 2 "10_atomics 20_devdax" "$root/scripts/lab" nonsense
expect "lab lists its tests" 0 "^10_atomics +Atomics" "$root/scripts/lab" --list
expect "lab refuses a wrong number of hosts" 2 "from 2 to 9" "$root/scripts/lab" --hosts 1
expect "torture wants a name" 2 "which one" "$root/scripts/torture"

# deps with a stand-in for apt-get that writes down what it is asked, and a dpkg-query that knows no json-c.
stand_ins=$(mktemp -d)
trap 'rm -rf "$stand_ins"' EXIT
cat >"$stand_ins/dpkg-query" <<'END'
#!/bin/sh
case "$*" in *libjson-c-dev*) exit 1 ;; *) printf installed ;; esac
END
cat >"$stand_ins/apt-get" <<'END'
#!/bin/sh
echo "apt-get $*"
END
printf '#!/bin/sh\nwhile [ "${1#*=}" != "$1" ] || [ "$1" = env ]; do shift; done\nexec "$@"\n' >"$stand_ins/sudo"
chmod +x "$stand_ins"/*
expect "deps installs exactly what is missing" 0 "^apt-get .*install --no-install-recommends libjson-c-dev$" \
	env PATH="$stand_ins:$PATH" "$root/scripts/deps" build
expect "deps updates the index before" 0 "^apt-get .*update$" env PATH="$stand_ins:$PATH" "$root/scripts/deps" build
# An installed package that is too old comes from the backports; here the index of those can't be had.
printf '#!/bin/sh\ncase "$*" in *Version*qemu*) echo 1:7.2 ;; *) printf installed ;; esac\n' >"$stand_ins/dpkg-query"
printf '#!/bin/sh\necho "apt-get $*" && exit 1\n' >"$stand_ins/apt-get"
expect "deps takes what is too old from the backports" 2 "^installing from backports: qemu-system-x86$" \
	env PATH="$stand_ins:$PATH" DMEM_LAB_CACHE="$stand_ins/cache" "$root/scripts/deps" lab
printf '#!/bin/sh\nprintf installed\n' >"$stand_ins/dpkg-query"
printf '#!/bin/sh\necho "apt-get $*"\n' >"$stand_ins/apt-get"
expect "deps is quiet when all is there" 0 "^$" env PATH="$stand_ins:$PATH" "$root/scripts/deps" build
expect "deps does not call apt-get when all is there" 1 "" \
	bash -c "PATH='$stand_ins:$PATH' '$root/scripts/deps' build | grep apt-get"
exit $failed
