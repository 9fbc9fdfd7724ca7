#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pool on /dev/dax0.0: made once, looked at and checked by all guests, removed; the conformance suite on the device.
# Lab: short=1 limit=300
. "$(dirname "$0")/lib.sh"

uri=dax:$DEVICE
mib=$((1 << 20))

# info GUEST EXPRESSION: a Python expression over what dmemctl info says (in `info`).
info() {
	guest "$1" "dmemctl info --json $uri" |
		python3 -c 'import json, sys; info = json.load(sys.stdin); print(eval(sys.argv[1]))' "$2"
}

# What stands there may be anything, also a pool of a test that was cut short.
guest 1 "lab_dax write $DEVICE 0 9 $((16 << 20))" >/dev/null || fail "can't fill the start of the device"

listed=$(guest 1 "dmemctl devices --json") || fail "dmemctl devices: $listed"
size=$(python3 -c 'import json, sys
dax, = [dax for dax in json.load(sys.stdin)["dax"] if dax["name"] == "dax0.0"]
assert dax["mode"] == "devdax" and dax["align_bytes"] == 2 << 20 and dax["path"] == "/dev/dax0.0", dax
print(dax["size_bytes"])' <<<"$listed") || fail "dmemctl devices says other than it should: $listed"
expect_equal "the device's size in dmemctl and daxctl" "$size" \
	"$(guest 1 "daxctl list -d dax0.0" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["size"])')"

expect "no pool is made" guest 1 "dmemctl create '$uri?size=512M&coherence=coherent'"
refused=$(guest 1 "dmemctl create $uri 2>&1") && fail "a second pool is made over the first"
expect_match "why it is refused" "holds a pool already.*dmemctl destroy" "$refused"
refused=$(guest 2 "dmemctl create '$uri?size=64M' 2>&1") && fail "another guest makes a pool over the first"
expect_match "why guest 2 is refused" "holds a pool already" "$refused"
uuid=$(info 1 'info["uuid"]')
for ((host = 1; host <= LAB_HOSTS; host++)); do
	expect_equal "guest $host: what the pool is" "$uuid coherent $((512 * mib)) $((2 * mib))" \
		"$(info "$host" '" ".join(str(info[key]) for key in ("uuid", "coherence", "size_bytes", "unit_bytes"))')"
	expect "guest $host: the pool is not in order" guest "$host" "dmemctl fsck $uri"
done
expect "the pool is not removed" guest 2 "dmemctl destroy $uri"
gone=$(guest 1 "dmemctl info $uri 2>&1") && fail "the pool is there after its end"
expect_match "what is said of a device without a pool" "no dmem pool" "$gone"

# Sizes that do not go with the device, and all of it, over what the last pool left there.
refused=$(guest 1 "dmemctl create '$uri?size=1T' 2>&1") && fail "a pool is made that is larger than the device"
expect_match "why it is too large" "more than /dev/dax0.0 has" "$refused"
expect "no pool is made on the whole device" guest 1 "dmemctl create $uri"
expect_equal "the whole device" "$size noncoherent" "$(info 2 'str(info["size_bytes"]) + " " + info["coherence"]')"
expect "the pool on the whole device is not in order" guest 2 "dmemctl fsck $uri"

# The shim loads libdaxctl from inside the first malloc that is for the pool.
shim=$(guest 1 "DMEM_STATS=1 DMEM_LOCAL_MAX=1M DMEM_POOL=$uri LD_PRELOAD=\$LAB_BUILD/libdmem_preload.so \
	/usr/bin/python3 -c 'print(sum(map(len, [str(i) * 9 for i in range(100000)])))' 2>&1") || fail "python3 under the shim: $shim"
expect_match "what python3 counts under the shim" "^4400010$" "$shim"
expect_match "how much of python3 was in the pool" "pool [0-9]+ KiB .peak [0-9]{4,} KiB" "$shim"
expect "the pool is not in order after the shim" guest 2 "dmemctl fsck $uri"
expect "the pool is not removed again" guest 1 "dmemctl destroy $uri"

GUEST_SECONDS=240
suite=$(guest 1 "DMEM_TEST_BACKEND=dax DMEM_TEST_DAX=$DEVICE conformance --jobs 2 --timeout=120 2>&1") ||
	fail "the conformance suite: $(tail -n 5 <<<"$suite")"
passed=$(sed -n 's/.*Tested: *.*Passing: *.\{0,12\}\b\([0-9]\+\).*/\1/p' <<<"$suite" | tail -n 1)
[ "${passed:-0}" -ge 20 ] || fail "the conformance suite ran ${passed:-no} tests: $(tail -n 3 <<<"$suite")"
remark "pools of 512 MiB and $((size / mib)) MiB, seen by all guests; $passed conformance tests on $DEVICE"
