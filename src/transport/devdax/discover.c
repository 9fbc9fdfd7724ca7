/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discover.c: see discover.h.
 *
 * Both libraries read sysfs anew for each context, so a list is as old as its call.  They would write to stderr: their log is
 * switched off.  Which CXL region a DAX device lies on is read from where sysfs has it, because versions of libcxl that
 * could say so are newer than those that distributions have.
 */
#include "transport/devdax/discover.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/devdax/library.h"

/* The array with a further entry of zeros at its end; NULL: no memory, described, and the array is as it was. */
static void *grow(void *array, size_t count, size_t each)
{
	char *larger = reallocarray(array, count + 1, each);

	if (larger == NULL) {
		dm_fail(-ENOMEM, "no memory for a list of %zu devices", count + 1);
		return NULL;
	}
	memset(larger + count * each, 0, each);
	return larger;
}

void dm_discover_free(struct dm_found *found)
{
	free(found->memdevs);
	free(found->regions);
	free(found->daxes);
	memset(found, 0, sizeof(*found));
}

const char *dm_discover_mode_name(enum dm_found_mode mode)
{
	static const char *const names[] = {"disabled", "devdax", "system-ram"};

	return names[mode];
}

static void copy_name(char *to, size_t bytes, const char *from)
{
	snprintf(to, bytes, "%s", from != NULL ? from : "");
}

/* "/sys/devices/.../decoder0.0/region0/dax_region0/dax0.0" lies on "region0". */
static void find_region(struct dm_found_dax *dax)
{
	char link[96], path[PATH_MAX];
	char *rest = NULL;

	snprintf(link, sizeof(link), "/sys/bus/dax/devices/%s", dax->name);
	if (realpath(link, path) == NULL)
		return;
	for (char *part = strtok_r(path, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest)) {
		size_t digits = strncmp(part, "region", 6) == 0 ? strspn(part + 6, "0123456789") : 0;

		if (digits > 0 && part[6 + digits] == '\0')
			copy_name(dax->region, sizeof(dax->region), part);
	}
}

static void quiet_daxctl(struct daxctl_ctx *context, int priority, const char *file, int line, const char *function,
                         const char *format, va_list arguments)
{
	(void)context, (void)priority, (void)file, (void)line, (void)function, (void)format, (void)arguments;
}

static int add_dax(struct dm_found *found, const struct dm_daxctl *lib, struct daxctl_region *region,
                   struct daxctl_dev *dev)
{
	struct dm_found_dax *all = grow(found->daxes, found->dax_count, sizeof(*all)), *dax;
	unsigned long align = lib->daxctl_dev_get_align(dev);

	if (all == NULL)
		return -ENOMEM;
	found->daxes = all;
	dax = &all[found->dax_count++];
	copy_name(dax->name, sizeof(dax->name), lib->daxctl_dev_get_devname(dev));
	snprintf(dax->path, sizeof(dax->path), "/dev/%s", dax->name);
	dax->size_bytes = lib->daxctl_dev_get_size(dev);
	dax->align_bytes = align != 0 ? align : lib->daxctl_region_get_align(region);
	dax->node = lib->daxctl_dev_get_target_node(dev);
	dax->major = (unsigned)lib->daxctl_dev_get_major(dev);
	dax->minor = (unsigned)lib->daxctl_dev_get_minor(dev);
	if (lib->daxctl_dev_is_enabled(dev))
		dax->mode = lib->daxctl_dev_get_memory(dev) != NULL ? DM_FOUND_SYSTEM_RAM : DM_FOUND_DEVDAX;
	find_region(dax);
	return 0;
}

int dm_discover_dax(struct dm_found *found)
{
	const struct dm_daxctl *lib;
	struct daxctl_ctx *context;
	int err = dm_library_daxctl(&lib);

	if (err != 0)
		return err;
	err = lib->daxctl_new(&context);
	if (err < 0)
		return dm_fail(err, "libdaxctl can't look for DAX devices: %s", dmem_strerror(err));
	lib->daxctl_set_log_fn(context, quiet_daxctl);
	for (struct daxctl_region *region = lib->daxctl_region_get_first(context); region != NULL && err == 0;
	     region = lib->daxctl_region_get_next(region)) {
		for (struct daxctl_dev *dev = lib->daxctl_dev_get_first(region); dev != NULL && err == 0;
		     dev = lib->daxctl_dev_get_next(dev)) {
			/* a region that has room keeps an empty device as the seed of the next one */
			if (lib->daxctl_dev_get_size(dev) != 0)
				err = add_dax(found, lib, region, dev);
		}
	}
	lib->daxctl_unref(context);
	return err;
}

static void quiet_cxl(struct cxl_ctx *context, int priority, const char *file, int line, const char *function,
                      const char *format, va_list arguments)
{
	(void)context, (void)priority, (void)file, (void)line, (void)function, (void)format, (void)arguments;
}

static int add_memdev(struct dm_found *found, const struct dm_cxl *lib, struct cxl_memdev *from)
{
	struct dm_found_memdev *all = grow(found->memdevs, found->memdev_count, sizeof(*all)), *memdev;

	if (all == NULL)
		return -ENOMEM;
	found->memdevs = all;
	memdev = &all[found->memdev_count++];
	copy_name(memdev->name, sizeof(memdev->name), lib->cxl_memdev_get_devname(from));
	copy_name(memdev->host, sizeof(memdev->host), lib->cxl_memdev_get_host(from));
	memdev->serial = lib->cxl_memdev_get_serial(from);
	memdev->volatile_bytes = lib->cxl_memdev_get_ram_size(from);
	memdev->persistent_bytes = lib->cxl_memdev_get_pmem_size(from);
	memdev->node = lib->cxl_memdev_get_numa_node(from);
	return 0;
}

static int add_region(struct dm_found *found, const struct dm_cxl *lib, struct cxl_region *from)
{
	struct dm_found_region *all = grow(found->regions, found->region_count, sizeof(*all)), *region;

	if (all == NULL)
		return -ENOMEM;
	found->regions = all;
	region = &all[found->region_count++];
	copy_name(region->name, sizeof(region->name), lib->cxl_region_get_devname(from));
	region->size_bytes = lib->cxl_region_get_size(from);
	region->enabled = lib->cxl_region_is_enabled(from) > 0;
	for (struct cxl_memdev_mapping *mapping = lib->cxl_mapping_get_first(from);
	     mapping != NULL && region->target_count < DM_FOUND_TARGETS_MAX; mapping = lib->cxl_mapping_get_next(mapping)) {
		struct cxl_decoder *decoder = lib->cxl_mapping_get_decoder(mapping);
		struct cxl_memdev *memdev = decoder != NULL ? lib->cxl_decoder_get_memdev(decoder) : NULL;

		if (memdev != NULL)
			copy_name(region->targets[region->target_count++], DM_FOUND_NAME_BYTES,
			          lib->cxl_memdev_get_devname(memdev));
	}
	return 0;
}

/* Regions hang on the decoders of a bus's root. */
static int add_regions(struct dm_found *found, const struct dm_cxl *lib, struct cxl_bus *bus)
{
	int err = 0;

	for (struct cxl_decoder *decoder = lib->cxl_decoder_get_first(lib->cxl_bus_get_port(bus));
	     decoder != NULL && err == 0; decoder = lib->cxl_decoder_get_next(decoder)) {
		for (struct cxl_region *region = lib->cxl_region_get_first(decoder); region != NULL && err == 0;
		     region = lib->cxl_region_get_next(region))
			err = add_region(found, lib, region);
	}
	return err;
}

int dm_discover_cxl(struct dm_found *found)
{
	const struct dm_cxl *lib;
	struct cxl_ctx *context;
	int err = dm_library_cxl(&lib);

	if (err != 0)
		return err;
	err = lib->cxl_new(&context);
	if (err < 0)
		return dm_fail(err, "libcxl can't look for CXL devices: %s", dmem_strerror(err));
	lib->cxl_set_log_fn(context, quiet_cxl);
	for (struct cxl_memdev *memdev = lib->cxl_memdev_get_first(context); memdev != NULL && err == 0;
	     memdev = lib->cxl_memdev_get_next(memdev))
		err = add_memdev(found, lib, memdev);
	for (struct cxl_bus *bus = lib->cxl_bus_get_first(context); bus != NULL && err == 0;
	     bus = lib->cxl_bus_get_next(bus))
		err = add_regions(found, lib, bus);
	lib->cxl_unref(context);
	return err;
}
