/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_space.c: growing a pool file, and taking and giving back space inside it.
 *
 * A pool file is sparse.  A store to a hole takes space when it happens, and when there is none the process gets SIGBUS;
 * so space is taken with fallocate() before memory is handed out, and "full" is an error code.
 *
 * Sources: fallocate(2), ftruncate(2), flock(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "base/error.h"
#include "transport/file/file_device.h"

#define STEP_BYTES_MAX (32 * DM_MIB)
#define STEP_BYTES_MIN (64 * DM_KIB)
#define BLOCK_BYTES    UINT64_C(4096)
#define GROW_WAIT_NS   (2 * DM_NS_PER_S)

/*
 * fallocate() in steps, because a signal interrupts it and undoes the step: a process with a busy timer would never get
 * through a large range at once.  0 or -errno.
 */
static int allocate(int fd, int mode, uint64_t offset, uint64_t bytes)
{
	uint64_t step = STEP_BYTES_MAX;

	while (bytes > 0) {
		uint64_t now = bytes < step ? bytes : step;

		if (fallocate(fd, mode, (off_t)offset, (off_t)now) == 0) {
			offset += now;
			bytes -= now;
		} else if (errno != EINTR) {
			return -errno;
		} else if (step > STEP_BYTES_MIN) {
			step /= 2;
		}
	}
	return 0;
}

static int say_no_space(const struct dm_file *file, uint64_t bytes, int err)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
		if (file->hugetlbfs)
			return dm_fail(-ENOSPC,
			               "no huge pages left for %llu bytes of %s: raise vm.nr_hugepages, or free memory of the "
			               "pool",
			               (unsigned long long)bytes, file->path);
		return dm_fail(-ENOSPC,
		               "no space left for %llu bytes of %s: free memory of the pool, or make room on its file system "
		               "(df; a tmpfs grows with mount -o remount,size=)",
		               (unsigned long long)bytes, file->path);
	default:
		return dm_fail(err, "%llu bytes of %s cannot be reserved: %s", (unsigned long long)bytes, file->path,
		               dmem_strerror(err));
	}
}

/* One byte of each block, read and written back: that gives the block space and leaves what it holds.  The caller owns the
 * range, so nobody changes the byte in between. */
int dm_file_reserve_by_writing(struct dm_file *file, uint64_t offset, uint64_t bytes)
{
	uint64_t end = offset + bytes;

	for (uint64_t at = offset; at < end; at = dm_align_down(at, BLOCK_BYTES) + BLOCK_BYTES) {
		char byte;
		int err = dm_file_read(&file->device, at, &byte, 1);

		if (err == 0)
			err = dm_file_write(&file->device, at, &byte, 1);
		if (err == -ENOSPC)
			return say_no_space(file, bytes, err);
		if (err != 0)
			return err;
	}
	return 0;
}

int dm_file_release_by_writing(struct dm_file *file, uint64_t offset, uint64_t bytes)
{
	static const char zeros[64 * 1024];
	int err = 0;

	while (bytes > 0 && err == 0) {
		size_t now = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);

		err = dm_file_write(&file->device, offset, zeros, now);
		offset += now;
		bytes -= now;
	}
	return err;
}

int dm_file_reserve(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	struct dm_file *file = dm_file_of(device);
	int err = dm_file_check_range(file, "reserve", offset, bytes);
	int fd;

	if (err != 0)
		return err;
	fd = dm_file_fd(file);
	if (fd < 0)
		return fd;
	/* KEEP_SIZE, so that a file which is truncated at this moment does not become longer again; NFS only knows 0. */
	err = allocate(fd, FALLOC_FL_KEEP_SIZE, offset, bytes);
	if (err == -EOPNOTSUPP)
		err = allocate(fd, 0, offset, bytes);
	if (err == -EOPNOTSUPP || err == -ENOSYS)
		return dm_file_reserve_by_writing(file, offset, bytes);
	return err != 0 ? say_no_space(file, bytes, err) : 0;
}

int dm_file_release(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	struct dm_file *file = dm_file_of(device);
	int err = dm_file_check_range(file, "release", offset, bytes);
	int fd;

	if (err != 0)
		return err;
	fd = dm_file_fd(file);
	if (fd < 0)
		return fd;
	err = allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
	if (err == -EOPNOTSUPP || err == -ENOSYS)
		return dm_file_release_by_writing(file, offset, bytes);
	if (err != 0)
		return dm_fail(err, "%llu bytes of %s cannot be given back: %s", (unsigned long long)bytes, file->path,
		               dmem_strerror(err));
	return 0;
}

/*
 * Two members that grow a file at the same time must not make it shorter: between the question how long it is and
 * ftruncate(), one holds flock() on an open file description of its own (threads and forked children share the device's).
 */
static int lock_size(struct dm_file *file, int *lock_fd)
{
	uint64_t deadline = dm_clock_now_ns() + GROW_WAIT_NS;
	char link[64];
	int fd = dm_file_fd(file);

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	*lock_fd = open(link, O_RDWR | O_CLOEXEC);
	if (*lock_fd < 0)
		return dm_fail(-errno, "%s cannot be locked through %s: %s", file->path, link, dmem_strerror(-errno));
	while (flock(*lock_fd, LOCK_EX | LOCK_NB) != 0) {
		int err = -errno;

		/* A file system without locks: then only members of one process can be kept apart, by the pool. */
		if (err != -EWOULDBLOCK && err != -EINTR)
			return 0;
		if (dm_clock_now_ns() > deadline) {
			close(*lock_fd);
			return dm_fail(-EBUSY, "%s is locked by another process (see lslocks): try again when it has finished",
			               file->path);
		}
		dm_clock_sleep_ns(DM_NS_PER_MS);
	}
	return 0;
}

static int extend(struct dm_file *file, int fd, uint64_t size_bytes)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return dm_fail(-errno, "the size of %s cannot be had: %s", file->path, dmem_strerror(-errno));
	if ((uint64_t)status.st_size < size_bytes && ftruncate(fd, (off_t)size_bytes) != 0)
		return dm_fail(-errno, "%s cannot grow to %llu bytes: %s", file->path, (unsigned long long)size_bytes,
		               dmem_strerror(-errno));
	dm_device_learn_bytes(&file->device, size_bytes);
	return 0;
}

int dm_file_grow(struct dm_device *device, uint64_t size_bytes)
{
	struct dm_file *file = dm_file_of(device);
	int lock_fd, err;

	if (!dm_is_aligned(size_bytes, device->align_bytes))
		return dm_fail(DMEM_E_OPTION, "%s cannot grow to %llu bytes: sizes are multiples of %llu", file->path,
		               (unsigned long long)size_bytes, (unsigned long long)device->align_bytes);
	err = dm_file_check_limit(file->path, size_bytes);
	if (err == 0)
		err = device->transport->health.probe(device); /* a truncated file is lost, not short */
	if (err == 0 && file->temporary)
		return extend(file, file->fd, size_bytes); /* nobody else has it, and the lock is the creator's */
	if (err == 0)
		err = lock_size(file, &lock_fd);
	if (err != 0)
		return err;
	err = extend(file, lock_fd, size_bytes);
	close(lock_fd);
	return err;
}
