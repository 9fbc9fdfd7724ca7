#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An index of pointers, built by one guest in a pool on the shared device, walked by the others through the same addresses.
# Lab: short=1 limit=240
. "$(dirname "$0")/lib.sh"

uri=dax:$DEVICE
words=3000
GUEST_SECONDS=120

# share MODE: all of it in a pool of that coherence mode.
share() {
	local built read host
	guest 1 "lab_dax clear $DEVICE 0 65536" || fail "can't clear the start of the device"
	expect "no pool is made ($1)" guest 1 "dmemctl create '$uri?size=256M&coherence=$1'"
	built=$(guest 1 "lab_share build $uri $words") || fail "guest 1 can't build ($1): $built"
	expect_match "what was built ($1)" "^$words words in [0-9]+ places" "$built"
	for ((host = 1; host <= LAB_HOSTS; host++)); do
		read=$(guest "$host" "lab_share read $uri") || fail "guest $host can't follow the pointers ($1): $read"
		expect_equal "guest $host: contents and addresses ($1)" "$built" "$(tail -n 1 <<<"$read")"
	done
	# The way back: every guest hangs on something of its own, which all read.
	for ((host = 1; host <= LAB_HOSTS; host++)); do
		expect "guest $host can't add to the index ($1)" guest "$host" "lab_share note $uri 'by guest $host'"
	done
	for ((host = 1; host <= LAB_HOSTS; host++)); do
		read=$(guest "$host" "lab_share read $uri") || fail "guest $host can't follow the pointers of others ($1): $read"
		expect_equal "guest $host: notes of all ($1)" "$LAB_HOSTS" "$(grep -c '^note: by guest' <<<"$read")"
		expect_equal "guest $host: the index after the notes ($1)" "$built" "$(tail -n 1 <<<"$read")"
	done
	expect "the pool is not in order ($1)" guest 2 "dmemctl fsck $uri"
	expect "the pool is not removed ($1)" guest 2 "dmemctl destroy $uri"
	remark "$1: $built in all guests"
}

share noncoherent
share coherent
