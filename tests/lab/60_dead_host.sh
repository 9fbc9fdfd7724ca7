#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A host is stopped and goes on, another is killed: who watches its heartbeat word sees both, and what it wrote stays.
# Lab: short=1 limit=240
. "$(dirname "$0")/lib.sh"

offset=$((96 << 20))
victim=$LAB_HOSTS

# watch SECONDS: guest 1 waits until the word stands still for three seconds, so that a busy machine is no dead host.
watch() {
	guest_bg 1 "lab_dax still $DEVICE $offset 3000 ${1}000"
	watcher=$HANDLE
	await "guest 1 does not watch" "$watcher" watching
}

beat() {
	GUEST_SECONDS=200 guest_bg "$victim" "lab_dax beat $DEVICE $offset 190000"
	expect "the heartbeat of guest $victim does not move" guest 1 "lab_dax moving $DEVICE $offset 20000"
}

expect "can't clear the device" guest 1 "lab_dax clear $DEVICE $offset 4096"
beat
watch 6
guest_wait "$watcher" && fail "the word was seen standing still while guest $victim was well"

watch 20
guest_stop "$victim"
stopped=$(guest_wait "$watcher") || fail "nobody noticed that guest $victim was stopped: $stopped"
guest_go "$victim"
expect "guest $victim does not go on" guest 1 "lab_dax moving $DEVICE $offset 20000"

watch 20
guest_kill "$victim"
killed=$(guest_wait "$watcher") || fail "nobody noticed that guest $victim was killed: $killed"
last=$(guest 1 "lab_dax get $DEVICE $offset")
expect_match "where the word stands" "stands still at $last after [1-9]" "$killed"
expect "guest 1 can't go on adding" guest 1 "lab_dax beat $DEVICE $offset 100"
remark "stopped: $(tail -n 1 <<<"$stopped"); killed: $(tail -n 1 <<<"$killed")"
