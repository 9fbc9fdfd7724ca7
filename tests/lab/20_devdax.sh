#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# /dev/dax0.0 is one device in all guests: same size, same alignment, same bytes at the same address.
# Lab: short=1 limit=120
. "$(dirname "$0")/lib.sh"

offset=$((64 << 20))
bytes=$((1 << 20))

# field GUEST NAME: what daxctl says of the device.
field() {
	guest "$1" "daxctl list -d dax0.0" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$2"
}

for ((host = 1; host <= LAB_HOSTS; host++)); do
	expect_equal "guest $host: mode" devdax "$(field "$host" mode)"
	expect_equal "guest $host: alignment" $((2 << 20)) "$(field "$host" align)"
	expect_equal "guest $host: size" "$(field 1 size)" "$(field "$host" size)"
done
for ((host = 1; host <= LAB_HOSTS; host++)); do
	written=$(guest "$host" "lab_dax write $DEVICE $offset $host $bytes") || fail "guest $host can't write"
	for ((other = 1; other <= LAB_HOSTS; other++)); do
		read=$(guest "$other" "lab_dax check $DEVICE $offset $host $bytes") ||
			fail "guest $other reads other than guest $host wrote: $read"
		expect_equal "the address in guest $other" "${written##* }" "${read##* }"
	done
	guest 1 "lab_dax check $DEVICE $offset $((host + 1)) $bytes" >/dev/null &&
		fail "the check passes with a wrong seed: it checks nothing"
done
remark "$(field 1 size) bytes, align 2 MiB, written and read by all at ${written##* }"
