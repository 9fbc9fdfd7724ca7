#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Atomics between guests are exact: what all tests after this one stand on.
# Lab: short=1 limit=120
. "$(dirname "$0")/lib.sh"

count=1000000
expect "can't clear the device" guest 1 "lab_dax clear $DEVICE 0 4096"
expect "the guests can't add" guest_all "lab_dax add $DEVICE 0 $count \$LAB_HOST \$LAB_HOSTS"
sum=$(guest 1 "lab_dax get $DEVICE 0")
[ "$sum" = $((count * LAB_HOSTS)) ] || fail "the emulation loses atomics: $LAB_HOSTS guests added $count each and made \
$sum; not libdmem's fault (QEMU needs -accel tcg,thread=multi and -smp 2)"
remark "$LAB_HOSTS guests added $count each: $sum"
