#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CXL region as a NUMA node of the kernel: pages are taken there, moved away and back; then it is devdax again.
# Lab: short=1 limit=180
. "$(dirname "$0")/lib.sh"

cxl_region 1 || fail "no RAM region can be made"
# Debian's kernel brings new memory online by itself, where it could not be taken away any more.
expect "can't load kmem" guest 1 "echo offline >/sys/devices/system/memory/auto_online_blocks && load_module kmem"
count_nodes() {
	guest 1 "numactl -H | sed -n 's/^available: \([0-9]*\).*/\1/p'"
}

nodes_before=$(count_nodes)
expect "daxctl can't make it system-ram" guest 1 "daxctl reconfigure-device -m system-ram $CXL_DAX"
node=$(guest 1 "cat /sys/bus/dax/devices/$CXL_DAX/target_node")
expect_match "the node has memory" "^node $node size: [1-9][0-9]+ MB" "$(guest 1 "numactl -H")"
expect_equal "number of nodes" $((nodes_before + 1)) "$(count_nodes)"
moved=$(guest 1 "lab_numa $node") || fail "pages do not lie where the kernel was told: $moved"
guest 1 "lab_numa 9" >/dev/null && fail "lab_numa is content with a node that is not there: it checks nothing"
expect "daxctl can't make it devdax again" guest 1 "daxctl reconfigure-device -m devdax -f $CXL_DAX"
expect_match "the node is gone" "^available: $nodes_before nodes" "$(guest 1 "numactl -H")"
expect "no devdax node" guest 1 "test -c /dev/$CXL_DAX"
remark "node $node: $moved"
