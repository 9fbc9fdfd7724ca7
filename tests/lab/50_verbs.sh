#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Verbs between guests over soft-RoCE: READ, WRITE, CAS and FAA on memory that a passive server exports.
# Lab: short=1 limit=180
. "$(dirname "$0")/lib.sh"

count=300

# serve PORT [DEVICE OFFSET]: guest 1 serves; every guest is a client, guest 1 too.
serve() {
	local port=$1 server
	shift
	guest_bg 1 "lab_verbs_server 10.77.0.1 $port $LAB_HOSTS $count $*"
	server=$HANDLE
	await "the server does not start" "$server" listening
	expect "a client of the server on ${1:-anonymous memory} failed" \
		guest_all "lab_verbs_client 10.77.0.1 $port \$LAB_HOST \$LAB_HOSTS $count"
	served=$(guest_wait "$server") || fail "the server on ${1:-anonymous memory} finds other than the clients did: $served"
}

need 1 lab_verbs_server
expect_match "the verbs device" "PORT_ACTIVE" "$(guest 1 "ibv_devinfo -d rxe0")"
guest 1 "lab_verbs_client 10.77.0.1 7400 1 1 1" && fail "a client without a server succeeds: it checks nothing"
serve 7401
serve 7402 "$DEVICE" $((512 << 20))
# The served memory is on the shared device: the other hosts' CPUs see what the cards did.
expect_equal "the counter, seen by the last guest's CPU" $((count * LAB_HOSTS)) \
	"$(guest "$LAB_HOSTS" "lab_dax get $DEVICE $((512 << 20))")"
remark "$LAB_HOSTS clients, on anonymous memory and on devdax: $(tail -n 1 <<<"$served")"
