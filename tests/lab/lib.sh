# SPDX-License-Identifier: Apache-2.0
# What the tests of the lab use.  Source it first: . "$(dirname "$0")/lib.sh"
#
# A test runs on the real machine and ends with 0 when it passed; the first thing that does not hold ends it.
#
#   guest N COMMAND           run COMMAND with bash in guest N; prints its output, returns its status (timeout 124)
#   GUEST_SECONDS=120         how long a command may take (default 60)
#   guest_all COMMAND         in every guest, at the same time; output of each under its name; fails when one fails
#   guest_bg N COMMAND        start it; its handle is in $HANDLE
#   guest_wait HANDLE         as guest, for a started one; guest_output HANDLE prints what it has said so far
#   await WHY HANDLE RE       wait up to 20 s until a line of its output matches, else fail with WHY
#   guest_stop N, guest_go N  SIGSTOP and SIGCONT to the guest's QEMU: the host freezes, and goes on
#   guest_kill N              SIGKILL to the guest's QEMU: the host is gone; it boots anew before the next test
#   guest_spoiled N           this guest shall boot anew before the next test
#   expect WHAT COMMAND...    the test ends as failed unless COMMAND succeeds
#   expect_equal WHAT A B     ... unless A is B (A: wanted, B: found)
#   expect_match WHAT RE TEXT ... unless a line of TEXT matches the extended regular expression
#   fail WHY, skip WHY        end the test; a skip counts as failed unless scripts/lab --allow-skip
#   cxl_region N              make guest N's CXL region unless it is there: sets REGION (region1) and CXL_DAX (dax1.0)
#   need N COMMAND            skip unless guest N finds COMMAND
#   remark TEXT               what stands in the table beside the result (the last one counts)
#
# In a guest: LAB_HOST (its number), LAB_HOSTS, LAB_BUILD, LAB_SOURCE, LAB_KERNEL; the build tree and its tests are in
# PATH; "load_module NAME" is modprobe of the guest's kernel; the machine's file system is there, read-only, with /tmp,
# /run and /dev/shm of the guest's own; /run/lab/files is shared by all guests and is $FILES here.  /dev/dax0.0 is
# shared; its bytes are what the test before left.  Guest N has the address 10.77.0.N.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/lab_guest.sh"

FILES="$LAB_STATE/share/files"
DEVICE=/dev/dax0.0
HANDLE=""
REGION=""
CXL_DAX=""

remark() {
	echo "REMARK: $*"
}

fail() {
	remark "$*"
	exit 1
}

skip() {
	remark "$*"
	exit 77
}

guest() {
	local status=0
	echo "guest $1: $2" >&2
	lab_run "$1" "${GUEST_SECONDS:-60}" "$2" || status=$?
	[ $status = 0 ] || echo "guest $1: exit status $status" >&2
	return $status
}

guest_bg() {
	echo "guest $1 in the background: $2" >&2
	HANDLE="$1 $(lab_send "$1" "${GUEST_SECONDS:-60}" "$2")"
}

guest_wait() {
	local host sequence
	read -r host sequence <<<"$1"
	lab_receive "$host" "$sequence" $((${GUEST_SECONDS:-60} + LAB_ANSWER_SECONDS))
}

guest_output() {
	local host sequence
	read -r host sequence <<<"$1"
	cat "$(lab_host_folder "$host")/out.$sequence" 2>/dev/null
}

await() {
	local i
	for ((i = 0; i < 200; i++)); do
		! guest_output "$2" | grep -qE -- "$3" || return 0
		sleep 0.1
	done
	fail "$1: $(guest_output "$2" | head -c 300)"
}

guest_all() {
	local host handles=() status=0
	for ((host = 1; host <= LAB_HOSTS; host++)); do
		guest_bg "$host" "$1"
		handles+=("$HANDLE")
	done
	for HANDLE in "${handles[@]}"; do
		echo "guest ${HANDLE% *}:"
		guest_wait "$HANDLE" || status=$?
	done
	return $status
}

guest_stop() {
	echo "guest $1 is stopped" >&2
	kill -STOP "$(lab_host_pid "$1")"
}

guest_go() {
	echo "guest $1 goes on" >&2
	kill -CONT "$(lab_host_pid "$1")"
}

guest_spoiled() {
	touch "$LAB_STATE/host$1.spoiled"
}

guest_kill() {
	echo "guest $1 is killed" >&2
	guest_spoiled "$1"
	kill -KILL "$(lab_host_pid "$1")"
}

expect() {
	local what=$1
	shift
	"$@" || fail "$what"
}

expect_equal() {
	[ "$2" = "$3" ] || fail "$1: wanted '$2', found '$3'"
}

expect_match() {
	grep -qE -- "$2" <<<"$3" || fail "$1: nothing matches '$2' in: $(head -c 300 <<<"$3")"
}

cxl_region() {
	local made
	made=$(guest "$1" "bash \$LAB_SOURCE/tests/lab/guest/cxl_region.sh") || return 1
	read -r REGION CXL_DAX <<<"$(tail -n 1 <<<"$made")"
}

need() {
	guest "$1" "command -v '$2' >/dev/null" || skip "guest $1 has no $2"
}
