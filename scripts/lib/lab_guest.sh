# SPDX-License-Identifier: Apache-2.0
# How the machine talks to the guests of the lab: used by scripts/lab and by the tests (tests/lab/lib.sh).
#
# LAB_STATE is a folder of this run.  LAB_STATE/share is visible in every guest as /run/lab.  A command for guest N is
# a file share/hostN/cmd.SEQUENCE; the guest's agent (lab_init.sh) runs it with bash in the machine's root, its output
# goes to out.SEQUENCE, its exit status to rc.SEQUENCE when it has ended.  LAB_STATE/hostN.pid is the guest's QEMU.

LAB_ANSWER_SECONDS=20

# Guest N's CXL device has the serial number base + N.
LAB_CXL_SERIAL_BASE=$((0xd3e30000))

lab_host_folder() {
	printf '%s' "$LAB_STATE/share/host$1"
}

lab_host_pid() {
	cat "$LAB_STATE/host$1.pid" 2>/dev/null
}

lab_host_lives() {
	local pid
	pid=$(lab_host_pid "$1") && kill -0 "$pid" 2>/dev/null
}

# Take the next number of guest N.
lab_next_sequence() {
	local file="$LAB_STATE/host$1.sequence"
	(
		flock 9
		sequence=$(($(cat "$file") + 1))
		echo "$sequence" >"$file"
		echo "$sequence"
	) 9>"$file.lock"
}

# lab_send HOST SECONDS COMMAND: prints the command's number.
lab_send() {
	local host=$1 seconds=$2 command=$3 sequence folder
	folder=$(lab_host_folder "$host")
	sequence=$(lab_next_sequence "$host")
	{
		printf 'cd /run && echo $$ >/run/lab/host%s/pid.%s\n' "$host" "$sequence"
		printf 'export LAB_HOST=%q LAB_HOSTS=%q LAB_BUILD=%q HOME=/root\n' "$host" "$LAB_HOSTS" "$LAB_BUILD"
		printf 'export LAB_KERNEL=%q LAB_SOURCE=%q\n' "$LAB_KERNEL" "$DMEM_ROOT"
		printf 'export PATH=%q:/usr/sbin:/usr/bin:/sbin:/bin DMEM_REGISTRY=/run/dmem-registry\n' \
			"$LAB_BUILD:$LAB_BUILD/tests"
		printf 'load_module() { /sbin/modprobe -C /dev/null -d "$LAB_KERNEL" -a "$@"; }; export -f load_module\n'
		printf 'exec setsid -w timeout -k 5 %s bash -c %q\n' "$seconds" "$command"
	} >"$folder/new.$sequence"
	mv "$folder/new.$sequence" "$folder/cmd.$sequence"
	echo "$sequence"
}

# lab_receive HOST SEQUENCE SECONDS: wait for the end, print the output; the status is the command's, 125 without one.
lab_receive() {
	local host=$1 sequence=$2 deadline=$((SECONDS + $3)) folder
	folder=$(lab_host_folder "$host")
	while [ ! -e "$folder/rc.$sequence" ]; do
		if [ $SECONDS -ge $deadline ] || ! lab_host_lives "$host"; then
			[ ! -e "$folder/out.$sequence" ] || cat "$folder/out.$sequence"
			echo "guest $host did not answer" >&2
			return 125
		fi
		sleep 0.05
	done
	cat "$folder/out.$sequence"
	return "$(cat "$folder/rc.$sequence")"
}

# lab_run HOST SECONDS COMMAND: run it, print its output, return its status.
lab_run() {
	local sequence
	sequence=$(lab_send "$@")
	lab_receive "$1" "$sequence" $(($2 + LAB_ANSWER_SECONDS))
}

# Kill what still runs in guest N of the commands sent so far.
lab_kill_commands() {
	local folder sequence file groups=""
	folder=$(lab_host_folder "$1")
	for file in "$folder"/pid.*; do
		sequence=${file##*.}
		[ -e "$file" ] && [ ! -e "$folder/rc.$sequence" ] || continue
		groups+=",$(cat "$file")"
	done
	[ -z "$groups" ] || lab_run "$1" 10 "pkill -KILL -s ${groups#,}; true" >/dev/null
}
