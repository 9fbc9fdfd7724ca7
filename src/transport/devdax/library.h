/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library.h: libdaxctl and libcxl, loaded when a pool or a list first needs them: linked in, they and what they bring cost
 * every program that uses libdmem two milliseconds at its start.
 *
 * A table holds what is called, under the function's own name and typed by the library's own header.
 */
#ifndef DM_TRANSPORT_DEVDAX_LIBRARY_H
#define DM_TRANSPORT_DEVDAX_LIBRARY_H

#include <cxl/libcxl.h>
#include <daxctl/libdaxctl.h>

#define DM_DAXCTL_FUNCTIONS(X)                                                                                        \
	X(daxctl_new)                                                                                                     \
	X(daxctl_unref) X(daxctl_set_log_fn) X(daxctl_region_get_first) X(daxctl_region_get_next) X(daxctl_dev_get_first) \
		X(daxctl_dev_get_next) X(daxctl_dev_get_devname) X(daxctl_dev_get_major) X(daxctl_dev_get_minor)              \
			X(daxctl_dev_get_size) X(daxctl_dev_get_align) X(daxctl_dev_get_target_node) X(daxctl_dev_is_enabled)     \
				X(daxctl_dev_get_memory) X(daxctl_region_get_align)

#define DM_CXL_FUNCTIONS(X)                                                                                            \
	X(cxl_new)                                                                                                         \
	X(cxl_unref) X(cxl_set_log_fn) X(cxl_memdev_get_first) X(cxl_memdev_get_next) X(cxl_memdev_get_devname)            \
		X(cxl_memdev_get_serial) X(cxl_memdev_get_numa_node) X(cxl_memdev_get_host) X(cxl_memdev_get_ram_size)         \
			X(cxl_memdev_get_pmem_size) X(cxl_bus_get_first) X(cxl_bus_get_next) X(cxl_bus_get_port)                   \
				X(cxl_decoder_get_first) X(cxl_decoder_get_next) X(cxl_region_get_first) X(cxl_region_get_next)        \
					X(cxl_region_get_devname) X(cxl_region_get_size) X(cxl_region_is_enabled) X(cxl_mapping_get_first) \
						X(cxl_mapping_get_next) X(cxl_mapping_get_decoder) X(cxl_decoder_get_memdev)

#define DM_LIBRARY_MEMBER(function) __typeof__(&function) function;

struct dm_daxctl {
	DM_DAXCTL_FUNCTIONS(DM_LIBRARY_MEMBER)
};

struct dm_cxl {
	DM_CXL_FUNCTIONS(DM_LIBRARY_MEMBER)
};

/* The library's functions, for the rest of the process.  DMEM_E_UNSUPPORTED, with the package to install, when the library
 * can't be loaded or is too old. */
int dm_library_daxctl(const struct dm_daxctl **library);
int dm_library_cxl(const struct dm_cxl **library);

/* The part that both share: `table` is filled with the addresses of `names`. */
int dm_library_load(const char *file, const char *package, const char *const *names, size_t count, void **table);

#endif
