# SPDX-License-Identifier: Apache-2.0
# The kernel and the initial file system of the lab's guests.  Source common.sh and backports.sh first.
#
# The kernel is Debian's own package, unpacked and never installed: $LAB_CACHE/kernel/{boot,lib}.  Once it is there no
# network is needed any more; remove the folder to get a newer one.

LAB_KERNEL="$LAB_CACHE/kernel"

# What the initial file system needs to reach the machine's own.
LAB_BOOT_MODULES="virtio_pci virtio_net 9p 9pnet_virtio"

lab_kernel_release() {
	ls "$LAB_KERNEL/lib/modules"
}

# The package that linux-image-amd64 of the backports stands for.
lab_kernel_package() {
	apt-cache "$@" show --no-all-versions linux-image-amd64 |
		sed -nE 's/^Depends: *(linux-image-[^ ,]+).*/\1/p' | head -n 1
}

lab_kernel_fetch() {
	local options package work="$LAB_CACHE/kernel.new"
	[ ! -e "$LAB_KERNEL/complete" ] || return 0
	say "fetching a kernel into $LAB_CACHE ..."
	backports_prepare
	mapfile -t options < <(backports_options)
	package=$(lab_kernel_package "${options[@]}")
	[ -n "$package" ] || die "$(backports_suite) has no linux-image-amd64"
	rm -rf "$work" "$LAB_KERNEL"
	mkdir -p "$work/deb"
	(cd "$work/deb" && apt-get -q "${options[@]}" -o "APT::Sandbox::User=$(id -un)" download "$package")
	dpkg -x "$work"/deb/*.deb "$work"
	rm -rf "$work/deb"
	depmod -b "$work" "$(ls "$work/lib/modules")"
	touch "$work/complete"
	mv "$work" "$LAB_KERNEL"
}

# Print the files of a module and of what it needs, in the order to insert them.
lab_module_files() {
	modprobe -C /dev/null -d "$LAB_KERNEL" -S "$(lab_kernel_release)" --show-depends "$1" |
		sed -n 's/^insmod \([^ ]*\).*/\1/p'
}

# Build the initial file system FILE: busybox, the modules, and the guest's init.
lab_initrd_build() {
	local file=$1 tree="$1.tree" module path name
	rm -rf "$tree"
	mkdir -p "$tree/bin" "$tree/modules" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/machine"
	cp /bin/busybox "$tree/bin/busybox"
	for module in $LAB_BOOT_MODULES; do
		for path in $(lab_module_files "$module"); do
			name=$(basename "$path" .xz)
			[ ! -e "$tree/modules/$name" ] || continue
			xz -dc "$path" >"$tree/modules/$name"
			say "$name" >>"$tree/modules/order"
		done
	done
	install -m 755 "$DMEM_ROOT/scripts/lib/lab_init.sh" "$tree/init"
	(cd "$tree" && find . -print0 | cpio --null --quiet -o -H newc) >"$file"
	rm -rf "$tree"
}
