# SPDX-License-Identifier: Apache-2.0
# What the scripts share.  Source it first: . "$(dirname "$(readlink -f "$0")")/lib/common.sh"

DMEM_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
DMEM_SCRIPT=$(basename "$0")

# How many things to do at a time.
jobs_default() {
	nproc
}

say() {
	printf '%s\n' "$*"
}

# A message names the thing and the cure.
die() {
	printf '%s: %s\n' "$DMEM_SCRIPT" "$*" >&2
	exit 2
}

# Print the comment block at the top of a script as its help: from the third line to the first that is no comment.
print_help() {
	awk 'NR > 2 { if ($0 !~ /^#/) exit; sub(/^# ?/, ""); print }' "$1"
}

# Configure and build one preset.  The caller keeps the output.
build_preset() {
	local preset=$1
	shift
	local jobs=${DMEM_JOBS:-$(jobs_default)}
	(cd "$DMEM_ROOT" && cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" "$@")
}
