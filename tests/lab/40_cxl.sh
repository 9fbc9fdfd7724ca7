#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CXL bus: memory device by serial number, a RAM region of it, its devdax node.
# Lab: short=1 limit=120
. "$(dirname "$0")/lib.sh"

# json GUEST COMMAND EXPRESSION: a Python expression over what the command prints as JSON (in `found`).
json() {
	guest "$1" "$2" | python3 -c 'import json, sys; found = json.load(sys.stdin); print(eval(sys.argv[1]))' "$3"
}

need 1 cxl
for ((host = 1; host <= LAB_HOSTS; host++)); do
	guest "$host" "cat /sys/bus/cxl/devices/root0/uport/firmware_node/hid" | grep -qx ACPI0017 ||
		fail "guest $host: the CXL root is not ACPI's"
	expect_equal "guest $host: serial number" "$((LAB_CXL_SERIAL_BASE + host))" \
		"$(json "$host" "cxl list -M" "found[0]['serial']")"
	cxl_region "$host" || fail "guest $host: no RAM region can be made"
	expect_equal "guest $host: the region's decode state" commit \
		"$(json "$host" "cxl list -R -r $REGION" "found[0]['decode_state']")"
	size=$(json "$host" "cxl list -M" "found[0]['ram_size']")
	expect_equal "guest $host: the region's size" "$size" "$(json "$host" "cxl list -R -r $REGION" "found[0]['size']")"
	node="daxctl list -d $CXL_DAX"
	expect_equal "guest $host: the devdax node's size" "$size" "$(json "$host" "$node" "found[0]['size']")"
	expect_equal "guest $host: the devdax node's mode" devdax "$(json "$host" "$node" "found[0]['mode']")"
	# Each guest has a device of its own; the seed is its number.
	expect "guest $host can't write to /dev/$CXL_DAX" guest "$host" "lab_dax write /dev/$CXL_DAX 0 $host 65536"
done
for ((host = 1; host <= LAB_HOSTS; host++)); do
	expect "guest $host: /dev/$CXL_DAX lost what was written" guest "$host" "lab_dax check /dev/$CXL_DAX 0 $host 65536"
done
remark "serial $(printf '0x%x' $((LAB_CXL_SERIAL_BASE + 1))), $REGION of $((size >> 20)) MiB, /dev/$CXL_DAX written and read"
