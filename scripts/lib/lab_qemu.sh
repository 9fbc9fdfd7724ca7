# SPDX-License-Identifier: Apache-2.0
# Switching guests of the lab on and off.  Source common.sh, backports.sh, lab_kernel.sh and lab_guest.sh first.
#
# Every guest has two processors, because with one QEMU translates locked instructions to plain ones; the device that
# all share as an NVDIMM; a CXL memory device of its own; and a network card on the segment that all share.  A guest
# never outlives this script, even when that is killed: setpriv has the kernel see to it.

LAB_RAM=1G
LAB_POOL_MB=1024
LAB_LABEL_MB=2
LAB_CXL_MEMORY=512M
LAB_BOOT_SECONDS=180

# Remove what runs left that were killed hard: the number in a name is the run's process.
lab_sweep() {
	local path pid
	for path in /dev/shm/dmem-lab.* "${TMPDIR:-/tmp}"/dmem-lab.*; do
		pid=${path##*/dmem-lab.}
		pid=${pid%%.*}
		[ -e "$path" ] && [[ $pid =~ ^[0-9]+$ ]] && [ ! -e "/proc/$pid" ] && rm -rf "$path"
	done
	return 0
}

lab_device_create() {
	LAB_DEVICE=$(mktemp "/dev/shm/dmem-lab.$$.XXXXXX")
	truncate -s $((LAB_POOL_MB + LAB_LABEL_MB))M "$LAB_DEVICE"
}

# Fill LAB_QEMU with the command line of guest N.
lab_qemu_command() {
	local host=$1 keep="$LAB_BUILD:$DMEM_ROOT"
	LAB_QEMU=(nice -n 5 setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot
		-accel tcg,thread=multi -smp 2 -cpu max,-hypervisor -m "$LAB_RAM,slots=4,maxmem=16G"
		-machine q35,nvdimm=on,cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G
		-kernel "$LAB_KERNEL/boot/vmlinuz-$(lab_kernel_release)" -initrd "$LAB_STATE/initrd"
		-append "console=ttyS0 panic=-1 quiet loglevel=5 lab.host=$host lab.kernel=$LAB_KERNEL lab.keep=$keep"
		-serial "file:$LAB_LOGS/guest$host.console"
		-object "memory-backend-file,id=pool,mem-path=$LAB_DEVICE,size=$((LAB_POOL_MB + LAB_LABEL_MB))M,share=on"
		-device "nvdimm,id=nvdimm0,memdev=pool,label-size=${LAB_LABEL_MB}M"
		-fsdev local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap
		-device virtio-9p-pci,bus=pcie.0,fsdev=machine,mount_tag=machine
		-fsdev "local,id=lab,path=$LAB_STATE/share,security_model=none"
		-device virtio-9p-pci,bus=pcie.0,fsdev=lab,mount_tag=lab
		-netdev "socket,id=net0,mcast=230.0.0.1:$LAB_PORT,localaddr=127.0.0.1"
		-device "virtio-net-pci,bus=pcie.0,netdev=net0,mac=52:54:00:77:00:0$host"
		-object "memory-backend-ram,id=cxl-memory,size=$LAB_CXL_MEMORY"
		-device pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1 -device cxl-rp,port=0,bus=cxl.1,id=cxl-port,chassis=0,slot=2
		-device "cxl-type3,bus=cxl-port,volatile-memdev=cxl-memory,id=cxl-mem0,sn=$((LAB_CXL_SERIAL_BASE + host))")
}

# Switch guest N on; does not wait.  Has to be called in the main shell: it is the parent that QEMU dies with.
lab_power_on() {
	local host=$1 folder
	folder=$(lab_host_folder "$host")
	rm -rf "$folder"
	mkdir -p "$folder"
	echo 0 >"$LAB_STATE/host$host.sequence"
	[ ! -e "$LAB_LOGS/guest$host.console" ] ||
		cat "$LAB_LOGS/guest$host.console" >>"$LAB_LOGS/guest$host.console.before"
	lab_qemu_command "$host"
	"${LAB_QEMU[@]}" >"$LAB_LOGS/guest$host.qemu" 2>&1 </dev/null &
	echo $! >"$LAB_STATE/host$host.pid"
	disown $! # the shell shall not comment on its end
}

# Wait until guest N takes commands.
lab_wait_ready() {
	local host=$1 deadline=$((SECONDS + LAB_BOOT_SECONDS)) folder
	folder=$(lab_host_folder "$host")
	while [ ! -e "$folder/ready" ]; do
		if ! lab_host_lives "$host" || [ $SECONDS -ge $deadline ]; then
			say "guest $host did not start; the end of its console and of QEMU's messages:"
			tail -n 20 "$LAB_LOGS/guest$host.console" "$LAB_LOGS/guest$host.qemu" 2>/dev/null || true
			return 1
		fi
		sleep 0.1
	done
}

lab_power_off() {
	local host=$1 pid i
	pid=$(lab_host_pid "$host") || return 0
	rm -f "$LAB_STATE/host$host.pid"
	# SIGKILL: nothing in a guest is worth saving, and a stopped one hears nothing else.
	kill -KILL "$pid" 2>/dev/null || true
	for ((i = 0; i < 100; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
}

lab_restart() {
	lab_power_off "$1"
	lab_power_on "$1"
	lab_wait_ready "$1"
}

# The namespace is made once, by guest 1; its label lies in the shared file, so the others find it when they start.
lab_make_namespace() {
	lab_run 1 60 "ndctl create-namespace -f -m devdax -e namespace0.0 -a 2M -M mem && test -c /dev/dax0.0"
}

lab_start_all() {
	local host
	lab_power_on 1
	lab_wait_ready 1 || return 1
	if ! lab_make_namespace >"$LAB_LOGS/namespace.log" 2>&1; then
		say "guest 1 can't make the devdax namespace:"
		cat "$LAB_LOGS/namespace.log"
		return 1
	fi
	for ((host = 2; host <= LAB_HOSTS; host++)); do
		lab_power_on "$host"
	done
	for ((host = 2; host <= LAB_HOSTS; host++)); do
		lab_wait_ready "$host" || return 1
	done
}

lab_stop_all() {
	local host
	for ((host = 1; host <= LAB_HOSTS; host++)); do
		lab_power_off "$host"
	done
}
