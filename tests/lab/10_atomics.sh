#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Atomics between guests are exact: what all tests after this one stand on.
# Lab: short=1 limit=180
. "$(dirname "$0")/lib.sh"

count=1000000
rounds=0
crossings=0

# Until the guests were often enough in each other's way: on a busy machine they may run one after the other for a while.
while [ $crossings -lt 1000 ]; do
	rounds=$((rounds + 1))
	[ $rounds -le 30 ] || fail "the guests never run at the same time ($crossings crossings): a right sum says nothing"
	expect "can't clear the device" guest 1 "lab_dax clear $DEVICE 0 4096"
	added=$(guest_all "lab_dax add $DEVICE 0 $count \$LAB_HOST \$LAB_HOSTS") || fail "the guests can't add: $added"
	sum=$(guest 1 "lab_dax get $DEVICE 0")
	[ "$sum" = $((count * LAB_HOSTS)) ] || fail "the emulation loses atomics: $LAB_HOSTS guests added $count each and \
made $sum; not libdmem's fault (QEMU needs -accel tcg,thread=multi and -smp 2)"
	crossings=$((crossings + $(awk '/^crossings/ { sum += $2 } END { print sum + 0 }' <<<"$added")))
done
remark "$LAB_HOSTS guests added $count each: $sum, $rounds times, $crossings crossings"
