/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devdax.c: the `dax:` and `cxl:` backends: handle, mapping, health, and their tables of operations.
 *
 * A DAX device is there before the pool and stays after it, has one size, holds what was in it last, and can only be mapped:
 * shared, and in multiples of its alignment.  It can go away while it is used (its driver unbound, its card removed); its
 * memory then is lost.
 */
#include "transport/devdax/devdax.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/coherent.h"
#include "transport/devdax/dax_device.h"

#define HIGH_FD 512 /* out of the way of programs that expect low numbers */

static bool is_our_node(const struct dm_dax *dax, int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == dax->node_device &&
	       status.st_ino == dax->node_inode && status.st_rdev == dax->node_number;
}

int dm_dax_fd(struct dm_dax *dax)
{
	int fd = atomic_load_explicit(&dax->fd, memory_order_acquire);
	int again;

	if (is_our_node(dax, fd))
		return fd;
	again = open(dax->path, O_RDWR | O_CLOEXEC);
	if (!is_our_node(dax, again)) {
		if (again >= 0)
			close(again);
		return dm_fail(-EBADF,
		               "this program closed the descriptor of %s, and the device can't be opened again by that name: "
		               "keep descriptors that the program did not open",
		               dax->path);
	}
	if (!atomic_compare_exchange_strong(&dax->fd, &fd, again)) { /* another thread was faster */
		close(again);
		again = fd;
	}
	return again;
}

/* The same node under a number that programs don't use; the low one when there is none. */
static int move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int dm_dax_new(const char *name, const char *sysfs, const struct dm_found_dax *facts, int fd, struct dm_dax **dax)
{
	struct dm_dax *made;
	struct stat status;

	if (fstat(fd, &status) != 0)
		return dm_fail(-errno, "%s cannot be examined: %s", facts->path, dmem_strerror(-errno));
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return dm_fail(-ENOMEM, "no memory for a handle of %s", facts->path);
	made->node_device = status.st_dev;
	made->node_inode = status.st_ino;
	made->node_number = status.st_rdev;
	atomic_init(&made->fd, move_up(fd));
	snprintf(made->path, sizeof(made->path), "%s", facts->path);
	snprintf(made->sysfs, sizeof(made->sysfs), "%s", sysfs);
	snprintf(made->device.name, sizeof(made->device.name), "%s", name);
	made->device.transport = &dm_transport_dax;
	made->device.size_bytes = dm_align_down(facts->size_bytes, facts->align_bytes);
	made->device.align_bytes = facts->align_bytes;
	made->device.caps = DM_CAP_MAPS;
	made->device.coherence_default = DMEM_COHERENCE_NONCOHERENT;
	made->device.atomics_default = DMEM_ATOMICS_CPU;
	made->device.node = facts->node;
	*dax = made;
	return 0;
}

static void dax_close(struct dm_device *device)
{
	struct dm_dax *dax = dm_dax_of(device);
	int fd = atomic_load(&dax->fd);

	if (is_our_node(dax, fd))
		close(fd); /* and with it goes the lock of a creation */
	dm_dax_forget_mappings(dax);
	free(dax);
}

int dm_dax_check_range(const struct dm_dax *dax, const char *what, uint64_t offset, uint64_t bytes)
{
	if (dm_range_inside(offset, bytes, dax->device.size_bytes))
		return 0;
	return dm_fail(-EINVAL, "cannot %s %" PRIu64 " bytes at offset %" PRIu64 " of %s: it has %" PRIu64 " bytes", what,
	               bytes, offset, dax->path, dax->device.size_bytes);
}

/* What the kernel says of the device's size now; 0 when the device is gone or has no driver. */
static uint64_t present_bytes(const struct dm_dax *dax)
{
	char path[sizeof(dax->sysfs) + 16], text[32] = "";
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/driver", dax->sysfs);
	if (access(path, F_OK) != 0)
		return 0;
	snprintf(path, sizeof(path), "%s/size", dax->sysfs);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	return got > 0 ? strtoull(text, NULL, 10) : 0;
}

static int dax_size(struct dm_device *device, uint64_t *bytes)
{
	uint64_t now = present_bytes(dm_dax_of(device));

	/* A pool may use less than the device has: what it was opened with is the limit. */
	*bytes = now < device->size_bytes ? now : device->size_bytes;
	return 0;
}

static int dax_probe(struct dm_device *device)
{
	static const char sentence[] =
		"%s has %" PRIu64 " bytes of %" PRIu64 " left: its driver was unbound, or it was made smaller "
		"or removed while in use, and what lay there is lost; see 'dmemctl devices'";
	struct dm_dax *dax = dm_dax_of(device);
	uint64_t now = present_bytes(dax);

	if (now >= device->size_bytes)
		return 0;
	/* Asked on every heartbeat: one line in the log is enough. */
	if (atomic_exchange(&dax->loss_told, true))
		return dm_fail_quietly(DMEM_E_LOST, sentence, dax->path, now, device->size_bytes);
	return dm_fail(DMEM_E_LOST, sentence, dax->path, now, device->size_bytes);
}

static int dax_map(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	struct dm_dax *dax = dm_dax_of(device);
	uint64_t align = device->align_bytes;
	int fd, err;

	if (bytes == 0 || !dm_is_aligned(offset, align) || !dm_is_aligned(bytes, align) ||
	    !dm_is_aligned((uintptr_t)address, align))
		return dm_fail(-EINVAL,
		               "%s cannot be mapped from %#" PRIx64 ", %#" PRIx64 " bytes, at %p: all are multiples of its "
		               "alignment %#" PRIx64,
		               dax->path, offset, bytes, address, align);
	err = dm_dax_check_range(dax, "map", offset, bytes);
	if (err != 0)
		return err;
	fd = dm_dax_fd(dax);
	if (fd < 0)
		return fd;
	if (mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) != MAP_FAILED)
		return dm_dax_note_mapping(dax, address, bytes);
	err = -errno;
	if (err == -ENXIO)
		return dm_fail(DMEM_E_LOST, "%s cannot be mapped: its driver was unbound; see 'dmemctl devices'", dax->path);
	return dm_fail(err, "%s cannot be mapped at %p: %s", dax->path, address, dmem_strerror(err));
}

#define DAX_REGION                                                                                          \
	{                                                                                                       \
		.open = dm_dax_open, .capacity = dm_dax_capacity, .create = dm_dax_create, .commit = dm_dax_commit, \
		.destroy = dm_dax_destroy, .close = dax_close, .size = dax_size, .map = dax_map,                    \
	}

#define DAX_DATA                                                                                          \
	{                                                                                                     \
		.read = dm_dax_read, .write = dm_dax_write, .publish = dm_dax_publish, .refresh = dm_dax_refresh, \
		.handoff = dm_dax_handoff, .publish_all = dm_dax_publish_all, .refresh_all = dm_dax_refresh_all,  \
		.load = dm_coherent_load, .store = dm_coherent_store, .exchange = dm_coherent_exchange,           \
		.cas = dm_coherent_cas, .add = dm_coherent_add,                                                   \
	}

const struct dm_transport dm_transport_dax = {
	.scheme = "dax",
	.region = DAX_REGION,
	.data = DAX_DATA,
	.health = {.probe = dax_probe},
};

/* The same device under another kind of name. */
const struct dm_transport dm_transport_cxl = {
	.scheme = "cxl",
	.region = DAX_REGION,
	.data = DAX_DATA,
	.health = {.probe = dax_probe},
};
