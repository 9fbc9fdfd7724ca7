#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pool on a CXL memory device, named by its serial number and by its region; dmemctl devices says what cxl list says.
# Lab: short=1 limit=180
. "$(dirname "$0")/lib.sh"

need 1 cxl
cxl_region 1 || fail "no RAM region can be made"
serial=$((LAB_CXL_SERIAL_BASE + 1))

ours=$(guest 1 "dmemctl devices --json") || fail "dmemctl devices: $ours"
theirs=$(guest 1 "cxl list -M -R") || fail "cxl list: $theirs"
python3 - "$ours" "$theirs" "$REGION" "$CXL_DAX" <<'PYTHON' || fail "dmemctl devices and cxl list differ: $ours"
import json, sys
ours, theirs = (json.loads(text) for text in sys.argv[1:3])
region, dax = sys.argv[3:]
entries = [entry for group in theirs for entry in (next(iter(group.values())) if len(group) == 1 else [group])]
memdevs = {entry["memdev"]: entry for entry in entries if "memdev" in entry}
regions = {entry["region"]: entry for entry in entries if "region" in entry}
assert memdevs and regions, theirs
assert {m["name"]: (m["serial"], m["volatile_bytes"], m["host"]) for m in ours["memdevs"]} == \
    {name: (m["serial"], m["ram_size"], m["host"]) for name, m in memdevs.items()}
assert {r["name"]: r["size_bytes"] for r in ours["regions"]} == {name: r["size"] for name, r in regions.items()}
assert all(r["enabled"] and r["devices"] == [next(iter(memdevs))] for r in ours["regions"])
on_region, = [d for d in ours["dax"] if d["region"] == region]
assert on_region["name"] == dax and on_region["mode"] == "devdax", on_region
PYTHON

# Three names of one device.
by_region=cxl:$REGION
by_serial=cxl:$serial
by_hexadecimal=$(printf 'cxl:0x%x' "$serial")
GUEST_SECONDS=120
guest 1 "lab_dax clear /dev/$CXL_DAX 0 65536" || fail "can't clear the start of the device"
expect "no pool is made by serial number" guest 1 "dmemctl create '$by_serial?size=32M&members=16&coherence=coherent'"
uuid=$(guest 1 "dmemctl info --json $by_serial" | python3 -c 'import json, sys; print(json.load(sys.stdin)["uuid"])')
for name in "$by_region" "$by_hexadecimal" "dax:/dev/$CXL_DAX"; do
	expect_equal "the pool by $name" "$uuid" \
		"$(guest 1 "dmemctl info --json $name" | python3 -c 'import json, sys; print(json.load(sys.stdin)["uuid"])')"
done
built=$(guest 1 "lab_share build $by_region 100") || fail "can't build on CXL memory: $built"
expect_equal "what is read by another name" "$built" "$(guest 1 "lab_share read $by_hexadecimal")"
expect "the pool is not in order" guest 1 "dmemctl fsck $by_serial"
expect "the pool is not removed" guest 1 "dmemctl destroy $by_region"
expect "no pool is made by region" guest 1 "dmemctl create '$by_region?size=32M&members=16'"
expect "the pool is not removed by its serial number" guest 1 "dmemctl destroy $by_serial"

# As a further device of a pool in a file: cleared before it is used, found again by its name.
guest 1 "lab_dax write /dev/$CXL_DAX 0 7 $((4 << 20))" >/dev/null || fail "can't fill the start of the device"
file=file:/dev/shm/lab-with-cxl
expect "no pool in a file" guest 1 "dmemctl create '$file?size=32M'"
expect "the device is not added" guest 1 "dmemctl add $file '$by_serial?size=32M'"
expect "the pool of two devices is not in order" guest 1 "dmemctl fsck $file"
devices=$(guest 1 "dmemctl info --json $file" |
	python3 -c 'import json, sys; print(*[device["name"] for device in json.load(sys.stdin)["devices"]])')
expect_equal "the devices of the pool" "$file $by_serial" "$devices"
refused=$(guest 1 "dmemctl create $by_region 2>&1") && fail "a pool is made over a device of another"
expect_match "what is said of a device of another pool" "holds a pool already" "$refused"
expect "the pool of two devices is not removed" guest 1 "dmemctl destroy $file"
expect "the device is not free again" guest 1 "dmemctl create '$by_region?size=32M&members=16' && dmemctl destroy $by_region"

# What is not there, and what is there instead.
refused=$(guest 1 "dmemctl info cxl:0x123 2>&1") && fail "a serial number that nobody has is found"
expect_match "what is said of a wrong serial number" "$(printf 'mem[0-9]+ .serial 0x%x' "$serial")" "$refused"
refused=$(guest 1 "dmemctl info cxl:region77 2>&1") && fail "a region that is not there is found"
expect_match "what is said of a wrong region" "$REGION" "$refused"

# As ordinary memory it can't hold a pool, and the cure is named; then the cure.
expect "no change to system-ram" guest 1 "load_module kmem && daxctl reconfigure-device -m system-ram -f -N $CXL_DAX"
refused=$(guest 1 "dmemctl create $by_region 2>&1") && fail "a pool is made on ordinary memory"
expect_match "what is said of ordinary memory" "system-ram.*daxctl reconfigure-device -m devdax -f $CXL_DAX" "$refused"
guest_spoiled 1
remark "$by_serial, $by_hexadecimal and $by_region are one pool; $built"
