/* SPDX-License-Identifier: Apache-2.0 */
/* dax_device.h: an open DAX device, and what the files of this folder offer each other. */
#ifndef DM_TRANSPORT_DEVDAX_DAX_DEVICE_H
#define DM_TRANSPORT_DEVDAX_DAX_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "transport/devdax/discover.h"
#include "transport/flush.h"
#include "transport/transport.h"

/* A piece of the device that region.map() has put somewhere.  Notes are only added, at the head, until the handle is closed,
 * so that readers need no lock, and a child that forked meanwhile neither. */
struct dm_dax_mapping {
	struct dm_dax_mapping *next;
	char *address;
	uint64_t bytes;
};

struct dm_dax {
	struct dm_device
		device;        /* first, so that a struct dm_device * is one of this; its size_bytes is what may be touched */
	_Atomic int fd;    /* use dm_dax_fd() */
	dev_t node_device; /* which device node it is */
	ino_t node_inode;
	dev_t node_number;
	bool creating;          /* made by create, which nobody has committed: the descriptor holds flock() */
	_Atomic bool loss_told; /* probe() has logged that the device is gone */
	struct dm_flush_count flushes;
	char path[64];  /* "/dev/dax0.0" */
	char sysfs[96]; /* where the kernel tells its present state: "size", "driver" */
	_Atomic(struct dm_dax_mapping *) mappings;
};

static inline struct dm_dax *dm_dax_of(struct dm_device *device)
{
	return (struct dm_dax *)device;
}

/*
 * devdax.c: a handle for an open device node of which `facts` was found out; takes over `fd` on success.  `name` is for
 * messages and hints ("dax:/dev/dax0.0"), `sysfs` the folder with the device's attributes.
 */
int dm_dax_new(const char *name, const char *sysfs, const struct dm_found_dax *facts, int fd, struct dm_dax **dax);
/*
 * The device's descriptor, after a look that it still is the device's, as dm_file_fd(): a program that closes descriptors it
 * did not open must not find our stores in its own files.  -EBADF when it can't be had again.
 */
int dm_dax_fd(struct dm_dax *dax);
/* 0 when [offset, offset + bytes) lies in what may be touched; else -EINVAL. */
int dm_dax_check_range(const struct dm_dax *dax, const char *what, uint64_t offset, uint64_t bytes);

/* dax_open.c: find, check, open. */
int dm_dax_open(const struct dm_uri *uri, struct dm_device **device);
int dm_dax_capacity(const struct dm_uri *uri, uint64_t *bytes);

/* dax_create.c */
int dm_dax_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device);
int dm_dax_commit(struct dm_device *device);
int dm_dax_destroy(const struct dm_uri *uri);
/* What the two do with a device that is open. */
int dm_dax_claim(struct dm_dax *dax, uint64_t size_bytes);
int dm_dax_unmark(struct dm_dax *dax);

/* dax_data.c */
int dm_dax_read(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes);
int dm_dax_write(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes);
int dm_dax_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_dax_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_dax_handoff(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_dax_publish_all(struct dm_device *device);
int dm_dax_refresh_all(struct dm_device *device);
/* Remember a mapping, which is there, for the two above. */
int dm_dax_note_mapping(struct dm_dax *dax, void *address, uint64_t bytes);
void dm_dax_forget_mappings(struct dm_dax *dax);

#endif
