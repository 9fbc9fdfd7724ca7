/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c: the `file:` backend: handle, mapping, health, and its table of operations.
 *
 * A file only ever gets longer while members use it; one that is shorter than it was is lost memory.  Every operation
 * therefore looks at the file's size first: writing or reserving beyond the end of a file that somebody truncated would
 * bring back zeros where data was.
 */
#include "transport/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/coherent.h"
#include "transport/file/file_device.h"

#define HIGH_FD 512 /* out of the way of programs that expect low numbers */

static bool is_our_file(const struct dm_file *file, int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == file->file_device &&
	       status.st_ino == file->file_inode;
}

int dm_file_fd(struct dm_file *file)
{
	int fd = atomic_load_explicit(&file->fd, memory_order_acquire);
	int again;

	if (atomic_load_explicit(&file->isolated, memory_order_relaxed))
		return dm_fail_quietly(DMEM_E_FENCED, "%s: this member was fenced: detach the pool, and attach it again",
		                       file->path);
	if (is_our_file(file, fd))
		return fd;
	again = open(file->path, O_RDWR | O_CLOEXEC);
	if (!is_our_file(file, again)) {
		if (again >= 0)
			close(again);
		return dm_fail(-EBADF,
		               "this program closed the descriptor of %s, and the file can't be opened again by that name: "
		               "keep descriptors that the program did not open",
		               file->path);
	}
	if (!atomic_compare_exchange_strong(&file->fd, &fd, again)) { /* another thread was faster */
		close(again);
		again = fd;
	}
	return again;
}

void dm_file_close_fd(struct dm_file *file)
{
	int fd = atomic_load(&file->fd);

	if (is_our_file(file, fd))
		close(fd);
}

/* The same file under a number that programs don't use; the low one when there is none. */
static int move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int dm_file_new(const struct dm_uri *uri, int fd, struct dm_file **file)
{
	const char *path = uri->path;
	struct dm_file *made = NULL;
	struct statfs system;
	struct stat status;

	if (fstat(fd, &status) != 0 || fstatfs(fd, &system) != 0)
		return dm_fail(-errno, "%s cannot be examined: %s", path, dmem_strerror(-errno));
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return dm_fail(-ENOMEM, "no memory for a handle of %s", path);
	made->file_device = status.st_dev;
	made->file_inode = status.st_ino;
	atomic_init(&made->fd, move_up(fd));
	made->hugetlbfs = (unsigned long)system.f_type == HUGETLBFS_MAGIC;
	snprintf(made->path, sizeof(made->path), "%s", path);
	/* Cut when longer, as the contract says; the precisions keep the compiler from asking. */
	snprintf(made->device.name, sizeof(made->device.name), "%.8s:%.246s", uri->scheme, path);
	made->device.transport = &dm_transport_file;
	made->device.size_bytes = (uint64_t)status.st_size;
	made->device.align_bytes = 2 * DM_MIB;
	if (made->hugetlbfs && (uint64_t)system.f_bsize > made->device.align_bytes)
		made->device.align_bytes = (uint64_t)system.f_bsize;
	made->device.caps = DM_CAP_ZEROED | DM_CAP_GROWS | DM_CAP_RESERVES | DM_CAP_MAPS;
	made->device.coherence_default = DMEM_COHERENCE_COHERENT;
	made->device.atomics_default = DMEM_ATOMICS_CPU;
	made->device.node = -1;
	*file = made;
	return 0;
}

static void file_close(struct dm_device *device)
{
	struct dm_file *file = dm_file_of(device);

	dm_file_remove_temporary(file);
	dm_file_close_fd(file);
	free(file);
}

static int file_size(struct dm_device *device, uint64_t *bytes)
{
	struct dm_file *file = dm_file_of(device);
	struct stat status;
	int fd = dm_file_fd(file);

	if (fd < 0)
		return fd;
	if (fstat(fd, &status) != 0)
		return dm_fail(-errno, "the size of %s cannot be had: %s", file->path, dmem_strerror(-errno));
	*bytes = (uint64_t)status.st_size;
	return 0;
}

static int say_truncated(struct dm_file *file, uint64_t known, uint64_t now)
{
	static const char sentence[] =
		"%s was truncated from %llu to %llu bytes while in use: what lay behind is lost; stop "
		"its members, then restore the file from a copy, or destroy and create it";
	unsigned long long before = known, after = now;

	/* Asked on every heartbeat: one line in the log is enough. */
	if (atomic_exchange(&file->loss_told, true))
		return dm_fail_quietly(DMEM_E_LOST, sentence, file->path, before, after);
	return dm_fail(DMEM_E_LOST, sentence, file->path, before, after);
}

int dm_file_check_range(struct dm_file *file, const char *what, uint64_t offset, uint64_t bytes)
{
	uint64_t known = dm_device_bytes(&file->device), now = 0;
	int err = file_size(&file->device, &now);

	if (err != 0)
		return err;
	if (dm_range_inside(offset, bytes, now)) {
		/* Another process may have made it longer: from here on, losing this part is noticed. */
		dm_device_learn_bytes(&file->device, offset + bytes);
		return 0;
	}
	if (dm_range_inside(offset, bytes, known))
		return say_truncated(file, known, now);
	return dm_fail(-EINVAL, "cannot %s %llu bytes at offset %llu of %s: it has %llu bytes", what,
	               (unsigned long long)bytes, (unsigned long long)offset, file->path, (unsigned long long)now);
}

int dm_file_check_limit(const char *path, uint64_t bytes)
{
	struct rlimit limit;

	if (bytes > (uint64_t)INT64_MAX)
		return dm_fail(-EFBIG, "%s cannot have %llu bytes: files end below 2^63", path, (unsigned long long)bytes);
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
		return dm_fail(-EFBIG, "%s cannot have %llu bytes: this process may write files of %llu (see ulimit -f)", path,
		               (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
	return 0;
}

static int file_map(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	struct dm_file *file = dm_file_of(device);
	uint64_t align = device->align_bytes;
	int flags = MAP_SHARED | MAP_FIXED;
	int fd, err;

	if (bytes == 0 || !dm_is_aligned(offset, align) || !dm_is_aligned(bytes, align) ||
	    !dm_is_aligned((uintptr_t)address, align))
		return dm_fail(-EINVAL, "%s cannot be mapped from %#llx, %#llx bytes, at %p: all are multiples of %#llx",
		               file->path, (unsigned long long)offset, (unsigned long long)bytes, address,
		               (unsigned long long)align);
	err = dm_file_check_range(file, "map", offset, bytes);
	if (err != 0)
		return err;
	/* hugetlbfs would take all huge pages now; they are taken by reserve. */
	if (file->hugetlbfs)
		flags |= MAP_NORESERVE;
	fd = dm_file_fd(file);
	if (fd < 0)
		return fd;
	if (mmap(address, bytes, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset) != MAP_FAILED)
		return 0;
	err = -errno;
	if (err == -ENOMEM)
		return dm_fail(err, "%s cannot be mapped: no memory, or a limit is reached (vm.max_map_count, ulimit -v)",
		               file->path);
	if (err == -ENODEV)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s cannot be mapped: its file system has no shared mappings; use another one, "
		               "such as /dev/shm",
		               file->path);
	return dm_fail(err, "%s cannot be mapped at %p: %s", file->path, address, dmem_strerror(err));
}

/*
 * A private view of the same file.  The descriptor becomes one for reading, so that a thread that was about to write through it
 * can't.  In a signal handler: no messages, and nothing of the C library that is not async-signal-safe.
 */
static int file_isolate(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	struct dm_file *file = dm_file_of(device);
	int fd = atomic_load_explicit(&file->fd, memory_order_acquire);
	int reader = -1;

	atomic_store(&file->isolated, true);
	if (is_our_file(file, fd)) {
		reader = open(file->path, O_RDONLY | O_CLOEXEC);
		if (is_our_file(file, reader))
			dup3(reader, fd, O_CLOEXEC);
		if (reader >= 0)
			close(reader);
		if (!file->hugetlbfs && mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		                             fd, (off_t)offset) != MAP_FAILED)
			return 0;
	}
	return mprotect(address, bytes, PROT_READ) == 0 ? 0 : -errno;
}

static int file_probe(struct dm_device *device)
{
	struct dm_file *file = dm_file_of(device);
	uint64_t known = dm_device_bytes(&file->device), now = 0;
	int err = file_size(device, &now);

	if (err == 0 && now < known)
		err = say_truncated(file, known, now);
	return err;
}

const struct dm_transport dm_transport_file = {
	.scheme = "file",
	.region =
		{
			.open = dm_file_open,
			.create = dm_file_create,
			.commit = dm_file_commit,
			.destroy = dm_file_destroy,
			.close = file_close,
			.size = file_size,
			.map = file_map,
			.isolate = file_isolate,
			.grow = dm_file_grow,
			.reserve = dm_file_reserve,
			.release = dm_file_release,
			.exclude = dm_file_exclude,
		},
	.data =
		{
			.read = dm_file_read,
			.write = dm_file_write,
			.publish = dm_coherent_publish,
			.refresh = dm_coherent_refresh,
			.handoff = dm_coherent_publish,
			.publish_all = dm_coherent_publish_all,
			.refresh_all = dm_coherent_refresh_all,
			.load = dm_coherent_load,
			.store = dm_coherent_store,
			.exchange = dm_coherent_exchange,
			.cas = dm_coherent_cas,
			.add = dm_coherent_add,
		},
	.health =
		{
			.probe = file_probe,
		},
};
