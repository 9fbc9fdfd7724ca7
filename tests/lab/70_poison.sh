#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Poison is SIGBUS, for others who asked to be told too; it costs the 2 MiB unit of the mapping, and nothing beside it.
# Lab: short=1 limit=120
. "$(dirname "$0")/lib.sh"

# The guest's kernel remembers the poison; the shared bytes themselves stay good for the others.
guest_spoiled 1
offset=$((900 << 20))
guest_bg 1 "lab_dax bystander $DEVICE $offset 30000"
bystander=$HANDLE
await "the bystander does not start" "$bystander" watching
lost=$(guest 1 "lab_dax poison $DEVICE $offset") || fail "the poison can't be shown: $lost"
seen=$(guest_wait "$bystander") || fail "another process of the host heard nothing: $seen"
# BUS_MCEERR_AR for who poisoned it, BUS_MCEERR_AO for others that asked for it; 21 says that 2 MiB are lost.
expect_match "the signal" "^SIGBUS code=4 lsb=21 offset=0" "$lost"
expect_match "another process's signal" "^SIGBUS code=5 lsb=21 offset=0" "$seen"
expect_match "the next unit" "^next unit: readable" "$lost"
expect_match "the unit before" "^unit before: readable" "$lost"
expect "guest 2 lost its memory too" guest 2 "lab_dax get $DEVICE $offset"
remark "$(head -n 1 <<<"$lost"), $(sed -n 2p <<<"$lost"), the units beside it readable; another process: $(tail -n 1 <<<"$seen")"
