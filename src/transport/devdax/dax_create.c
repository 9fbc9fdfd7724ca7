/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dax_create.c: taking a DAX device for a pool, and taking the pool off it.
 *
 * There is no temporary name: the pool appears with the write of its superblock, the last write of its creator, and until then
 * the device holds no mark.  Creators of one host exclude each other by flock() on the device; it lasts until commit or
 * close.  Creators on two hosts are not kept apart: the device has no place for a lock before it has a pool.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/devdax/dax_device.h"
#include "transport/pool_mark.h"

/* Whether one of the marks is there. */
static int holds_pool(struct dm_dax *dax, bool *holds)
{
	bool found = false;
	int err = 0;

	for (unsigned i = 0; i < DM_POOL_MARK_PIECES && err == 0; i++) {
		uint64_t mark = 0;

		err = dm_dax_read(&dax->device, (uint64_t)i * DM_POOL_MARK_PIECE_BYTES, &mark, sizeof(mark));
		found = found || mark == DM_POOL_MARK;
	}
	if (err == 0)
		*holds = found;
	return err;
}

static int check_size(const struct dm_dax *dax, uint64_t size_bytes)
{
	const struct dm_device *device = &dax->device;

	if (size_bytes == 0 || !dm_is_aligned(size_bytes, device->align_bytes))
		return dm_fail(DMEM_E_OPTION,
		               "a pool of %" PRIu64
		               " bytes can't be made on %s: give a multiple of the device's alignment, %" PRIu64
		               " MiB, or no size for all of it",
		               size_bytes, dax->path, device->align_bytes / DM_MIB);
	if (size_bytes > device->size_bytes)
		return dm_fail(-ENOSPC,
		               "a pool of %" PRIu64 " MiB is more than %s has: %" PRIu64
		               " MiB; leave the size out to have all of "
		               "it",
		               size_bytes / DM_MIB, dax->path, device->size_bytes / DM_MIB);
	return 0;
}

int dm_dax_claim(struct dm_dax *dax, uint64_t size_bytes)
{
	bool holds = false;
	int err = check_size(dax, size_bytes);
	int fd = err != 0 ? err : dm_dax_fd(dax);

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return dm_fail(errno == EWOULDBLOCK ? -EEXIST : -errno,
		               "%s is being made a pool by another process: wait for it", dax->path);
	err = holds_pool(dax, &holds);
	if (err == 0 && holds)
		err = dm_fail(-EEXIST, "%s holds a pool already: remove it with 'dmemctl destroy %s' if nobody needs it",
		              dax->path, dax->device.name);
	if (err != 0) {
		flock(fd, LOCK_UN);
		return err;
	}
	dax->device.size_bytes = size_bytes;
	dax->creating = true;
	return 0;
}

int dm_dax_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device)
{
	struct dm_device *opened;
	int err = dm_dax_open(uri, &opened);

	(void)mode; /* the node's permissions are the administrator's */
	if (err != 0)
		return err;
	err = dm_dax_claim(dm_dax_of(opened), size_bytes);
	if (err != 0)
		opened->transport->region.close(opened);
	else
		*device = opened;
	return err;
}

int dm_dax_commit(struct dm_device *device)
{
	struct dm_dax *dax = dm_dax_of(device);
	int fd = dm_dax_fd(dax);

	if (fd < 0)
		return fd;
	if (!dax->creating)
		return dm_fail(-EINVAL, "%s is not being created: there is nothing to commit", dax->path);
	dax->creating = false;
	flock(fd, LOCK_UN);
	return 0;
}

int dm_dax_unmark(struct dm_dax *dax)
{
	static const char zeros[DM_POOL_MARK_PIECE_BYTES];
	bool holds = false;
	int err = holds_pool(dax, &holds);

	if (err == 0 && !holds)
		err = dm_fail(-ENOENT, "%s holds no pool: there is nothing to destroy", dax->path);
	for (unsigned i = 0; i < DM_POOL_MARK_PIECES && err == 0; i++)
		err = dm_dax_write(&dax->device, (uint64_t)i * DM_POOL_MARK_PIECE_BYTES, zeros, sizeof(zeros));
	return err;
}

int dm_dax_destroy(const struct dm_uri *uri)
{
	struct dm_device *device;
	int err = dm_dax_open(uri, &device);

	if (err != 0)
		return err;
	err = dm_dax_unmark(dm_dax_of(device));
	device->transport->region.close(device);
	return err;
}
