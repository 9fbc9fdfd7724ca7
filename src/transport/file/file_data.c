/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_data.c: bytes of a pool file without its mapping.
 *
 * hugetlbfs reads but does not write (it has no write operation), so there a write goes through a mapping of its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/file/file_device.h"

int dm_file_read(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes)
{
	struct dm_file *file = dm_file_of(device);
	char *to = buffer;
	int err = dm_file_check_range(file, "read", offset, bytes);
	int fd = err != 0 ? err : dm_file_fd(file);

	if (fd < 0)
		return fd;
	while (bytes > 0) {
		ssize_t got = pread(fd, to, bytes, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dm_fail(-errno, "%zu bytes at offset %llu of %s cannot be read: %s", bytes,
			               (unsigned long long)offset, file->path, dmem_strerror(-errno));
		/* The end of the file, which was further away a moment ago. */
		if (got == 0)
			return dm_fail(DMEM_E_LOST, "%s was truncated to %llu bytes while it was read: its data is lost",
			               file->path, (unsigned long long)offset);
		to += got;
		offset += (uint64_t)got;
		bytes -= (size_t)got;
	}
	return 0;
}

static int write_through_mapping(struct dm_file *file, uint64_t offset, const void *buffer, size_t bytes)
{
	uint64_t align = file->device.align_bytes;
	uint64_t first = dm_align_down(offset, align);
	uint64_t span = dm_align_down(offset + bytes - 1, align) + align - first;
	int err = dm_file_reserve(&file->device, first, span);
	int fd = err != 0 ? err : dm_file_fd(file);
	char *mapping;

	if (fd < 0)
		return fd;
	mapping = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)first);
	if (mapping == MAP_FAILED)
		return dm_fail(-errno, "%zu bytes at offset %llu of %s cannot be written: %s", bytes,
		               (unsigned long long)offset, file->path, dmem_strerror(-errno));
	memcpy(mapping + (offset - first), buffer, bytes);
	munmap(mapping, span);
	return 0;
}

static int say_not_written(const struct dm_file *file, uint64_t offset, size_t bytes, int err)
{
	if (err == -ENOSPC || err == -EDQUOT)
		return dm_fail(-ENOSPC, "no space left for %zu bytes at offset %llu of %s: make room on its file system (df)",
		               bytes, (unsigned long long)offset, file->path);
	return dm_fail(err, "%zu bytes at offset %llu of %s cannot be written: %s", bytes, (unsigned long long)offset,
	               file->path, dmem_strerror(err));
}

int dm_file_write(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes)
{
	struct dm_file *file = dm_file_of(device);
	const char *from = buffer;
	int err = dm_file_check_range(file, "write", offset, bytes);
	int fd;

	if (err == 0)
		err = dm_file_check_limit(file->path, offset + bytes);
	if (err != 0 || bytes == 0)
		return err;
	if (file->hugetlbfs)
		return write_through_mapping(file, offset, buffer, bytes);
	fd = dm_file_fd(file);
	if (fd < 0)
		return fd;
	while (bytes > 0) {
		ssize_t put = pwrite(fd, from, bytes, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return say_not_written(file, offset, bytes, put < 0 ? -errno : -EIO);
		from += put;
		offset += (uint64_t)put;
		bytes -= (size_t)put;
	}
	return 0;
}
