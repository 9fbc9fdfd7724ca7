#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs in a guest: make a RAM region of its CXL memory device, through sysfs, unless there is one.
#
# Prints "REGION DAXDEVICE" (region1 dax1.0); /dev/DAXDEVICE is a devdax device then.
# `cxl create-region -t ram` of the release's version can't do it yet.
set -euo pipefail

bus=/sys/bus/cxl/devices

region=$(find $bus -maxdepth 1 -name 'region*' -printf '%f\n' | head -n 1)
if [ -z "$region" ]; then
	# The root decoder is the window of the host, the endpoint's decoder the one that shows the device's memory in it.
	root=$bus/decoder0.0
	endpoint=$(grep -lx cxl_decoder_endpoint $bus/decoder*/devtype | head -n 1)
	endpoint=$(basename "$(dirname "$endpoint")")
	memdev=$(find $bus -maxdepth 1 -name 'mem*' -printf '%f\n' | head -n 1)
	size=$(cat "$bus/$memdev/ram/size")
	echo ram >"$bus/$endpoint/mode"
	echo "$size" >"$bus/$endpoint/dpa_size"
	region=$(cat $root/create_ram_region)
	echo "$region" >$root/create_ram_region
	echo 256 >"$bus/$region/interleave_granularity"
	echo 1 >"$bus/$region/interleave_ways"
	echo "$size" >"$bus/$region/size"
	echo "$endpoint" >"$bus/$region/target0"
	echo 1 >"$bus/$region/commit"
	echo "$region" >/sys/bus/cxl/drivers/cxl_region/bind
fi
# dax_cxl names its device after the region: region1, dax1.0.  It has no driver until someone says what it shall be.
dax=dax${region#region}.0
for ((i = 0; i < 50; i++)); do
	[ ! -e "/sys/bus/dax/devices/$dax" ] || break
	sleep 0.1
done
# Its node is there all the same, and can't be opened before.
driver=/sys/bus/dax/devices/$dax/driver
[ "$(readlink "$driver" | sed 's|.*/||')" = device_dax ] || daxctl reconfigure-device -m devdax -f "$dax" >&2
[ "$(readlink "$driver" | sed 's|.*/||')" = device_dax ]
echo "$region $dax"
