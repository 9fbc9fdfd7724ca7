#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest of the lab, run by busybox out of the initial file system (lab_kernel.sh).
#
# It makes the machine's own root visible under /machine, read-only through 9p, puts fresh tmpfs over the places that
# must be writable, loads the drivers, brings up network and verbs, and then is the agent: it runs the commands that the
# machine leaves in the shared folder (lab_guest.sh says how they are written) until the machine switches the guest off.
#
# Kernel parameters: lab.host=N lab.share=TAG lab.kernel=FOLDER lab.keep=FOLDER:FOLDER... (folders of the machine that
# stay visible when they lie in a place that is covered).

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

parameter() {
	sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

stop() {
	echo "lab: $*" >/dev/kmsg
	poweroff -f
}

HOST=$(parameter lab.host)
KERNEL=$(parameter lab.kernel)
ROOT=/machine
SHARE=$ROOT/run/lab
MINE=$SHARE/host$HOST

while read -r module; do
	insmod "/modules/$module"
done </modules/order

mount_machine() {
	local options=trans=virtio,version=9p2000.L,msize=512000 folder kept=0
	mount -t 9p -o "ro,cache=loose,$options" machine $ROOT || stop "no root"
	for folder in $(parameter lab.keep | tr : ' ') "$KERNEL"; do
		kept=$((kept + 1))
		mkdir -p /kept/$kept
		mount --bind "$ROOT$folder" /kept/$kept || stop "no folder $folder"
	done
	for folder in /tmp /run /var/tmp /root; do
		mount -t tmpfs -o mode=1777 tmpfs $ROOT$folder
	done
	kept=0
	for folder in $(parameter lab.keep | tr : ' ') "$KERNEL"; do
		kept=$((kept + 1))
		mkdir -p "$ROOT$folder" 2>/dev/null
		mount --bind /kept/$kept "$ROOT$folder"
	done
	mount -t proc proc $ROOT/proc
	mount -t sysfs sysfs $ROOT/sys
	mount -t debugfs debugfs $ROOT/sys/kernel/debug
	mount --bind /dev $ROOT/dev
	mkdir -p /dev/shm /dev/pts $ROOT/run/lock
	mount -t tmpfs -o mode=1777 tmpfs $ROOT/dev/shm
	mount -t devpts devpts $ROOT/dev/pts
	mkdir -p $SHARE
	mount -t 9p -o "cache=none,$options" lab $SHARE || stop "no shared folder"
}

# No configuration for modprobe: rules that packages of the machine install for its own drivers fail in here.  Its full
# path, because busybox takes a bare name for one of its own commands.
load() {
	chroot $ROOT /sbin/modprobe -C /dev/null -d "$KERNEL" -a "$@" || echo "lab: can't load all of $*" >/dev/kmsg
}

# nfit first: it takes the number 0 for its region, so that the shared device is /dev/dax0.0.  Not kmem: it would take a
# CXL region for the kernel's own memory before anyone could ask for a device.
load_drivers() {
	load nfit nd_pmem dax_pmem device_dax
	load crc32_generic rdma_rxe rdma_ucm ib_uverbs
	load hwpoison_inject
	load cxl_acpi cxl_pci cxl_mem cxl_port dax_hmem dax_cxl
}

start_network() {
	ip link set lo up
	ip link set eth0 up
	ip addr add "10.77.0.$HOST/24" dev eth0
	chroot $ROOT /usr/bin/rdma link add rxe0 type rxe netdev eth0
}

run_command() {
	chroot $ROOT /bin/bash "/run/lab/host$HOST/cmd.$1" >"$MINE/out.$1" 2>&1 </dev/null
	echo $? >"$MINE/rc.$1.new"
	mv "$MINE/rc.$1.new" "$MINE/rc.$1"
}

agent() {
	local sequence=1
	cat /proc/sys/kernel/random/boot_id >"$MINE/ready.new"
	mv "$MINE/ready.new" "$MINE/ready"
	while :; do
		if [ -e "$MINE/cmd.$sequence" ]; then
			run_command $sequence &
			sequence=$((sequence + 1))
		else
			sleep 0.1
		fi
	done
}

mount_machine
echo "dmem-host$HOST" >/proc/sys/kernel/hostname
load_drivers
start_network
agent
