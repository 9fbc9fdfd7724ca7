/* SPDX-License-Identifier: Apache-2.0 */
/* discover.h: which CXL memory devices, CXL regions and DAX devices this machine has. */
#ifndef DM_TRANSPORT_DEVDAX_DISCOVER_H
#define DM_TRANSPORT_DEVDAX_DISCOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DM_FOUND_NAME_BYTES  32
#define DM_FOUND_TARGETS_MAX 16

/* A CXL memory device, as a card or a multi-headed box shows it to this host. */
struct dm_found_memdev {
	char name[DM_FOUND_NAME_BYTES]; /* "mem0" */
	char host[64];                  /* what it hangs on: "0000:35:00.0" */
	uint64_t serial;
	uint64_t volatile_bytes;
	uint64_t persistent_bytes;
	int node; /* NUMA node, -1 when not known */
};

/* Memory of one or more devices that the host decodes as one range of addresses. */
struct dm_found_region {
	char name[DM_FOUND_NAME_BYTES]; /* "region0" */
	uint64_t size_bytes;
	bool enabled;
	unsigned target_count;
	char targets[DM_FOUND_TARGETS_MAX][DM_FOUND_NAME_BYTES]; /* memory devices */
};

enum dm_found_mode {
	DM_FOUND_DISABLED,   /* no driver has it */
	DM_FOUND_DEVDAX,     /* a character device: what a pool needs */
	DM_FOUND_SYSTEM_RAM, /* the kernel uses it as ordinary memory */
};

struct dm_found_dax {
	char name[DM_FOUND_NAME_BYTES];   /* "dax0.0" */
	char path[64];                    /* "/dev/dax0.0" */
	char region[DM_FOUND_NAME_BYTES]; /* the CXL region it lies on; "" for others */
	uint64_t size_bytes;
	uint64_t align_bytes;
	enum dm_found_mode mode;
	int node;              /* NUMA node that its memory is or would be, -1 when not known */
	unsigned major, minor; /* of the character device */
};

/* Start from {0}; each call below adds what it finds. */
struct dm_found {
	struct dm_found_memdev *memdevs;
	struct dm_found_region *regions;
	struct dm_found_dax *daxes;
	size_t memdev_count, region_count, dax_count;
};

#ifdef DM_WITH_DAX

/* What libdaxctl sees.  A machine without such devices has empty lists.  DMEM_E_UNSUPPORTED without the library, -ENOMEM. */
int dm_discover_dax(struct dm_found *found);
/* What libcxl sees: memory devices and regions. */
int dm_discover_cxl(struct dm_found *found);
void dm_discover_free(struct dm_found *found);

/* "devdax", "system-ram" or "disabled", as daxctl says it. */
const char *dm_discover_mode_name(enum dm_found_mode mode);

/*
 * find.c: the DAX device that the word behind "cxl:" means: a region's name, or a memory device's serial number (decimal, or
 * hexadecimal with 0x).  -ENOENT: nothing is; DMEM_E_DEVICE: more than one is.  The message lists what is there.
 */
int dm_discover_find(const struct dm_found *found, const char *word, const struct dm_found_dax **dax);

/* DMEM_E_UNSUPPORTED, with what to do about it, unless the device is a character device of at least 2 MiB alignment. */
int dm_discover_check(const struct dm_found_dax *dax);

/* The names and sizes of what was found, for messages: "dax0.0 (devdax, 4096 MiB), ...", or "none". */
const char *dm_discover_list_daxes(const struct dm_found *found, char *text, size_t bytes);

#endif

#endif
