/* SPDX-License-Identifier: Apache-2.0 */
/* file_device.h: an open pool file, and what the files of this folder offer each other. */
#ifndef DM_TRANSPORT_FILE_FILE_DEVICE_H
#define DM_TRANSPORT_FILE_FILE_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "transport/transport.h"

/* ".new.PID.N" with its final zero */
#define DM_FILE_SUFFIX_BYTES 32

struct dm_file {
	struct dm_device device; /* first, so that a struct dm_device * is one of this */
	_Atomic int fd;          /* use dm_file_fd() */
	dev_t file_device;       /* which file it is */
	ino_t file_inode;
	bool hugetlbfs;
	_Atomic bool isolated;  /* nothing of this process may reach the file any more */
	_Atomic bool loss_told; /* probe() has logged that the file became shorter */
	bool temporary;         /* created and not committed: `new_path` exists and goes with close() */
	pid_t creator;          /* only this process removes `new_path`, not a child that forked in between */
	char path[DM_URI_PATH_BYTES];
	char new_path[DM_URI_PATH_BYTES + DM_FILE_SUFFIX_BYTES];
};

static inline struct dm_file *dm_file_of(struct dm_device *device)
{
	return (struct dm_file *)device;
}

/* file.c: a handle for an open file; takes over `fd` on success. */
int dm_file_new(const struct dm_uri *uri, int fd, struct dm_file **file);
/*
 * The file's descriptor, after a look that it still is the pool file's: a program that closes descriptors it did not open
 * (daemons do) and opens its own files under the same numbers must not find our stores in them.  When it is not, the file is
 * opened again by its path.  -EBADF when that is not this file any more.
 */
int dm_file_fd(struct dm_file *file);
/* Close the descriptor if it is ours. */
void dm_file_close_fd(struct dm_file *file);
/* 0 when the file has all of the range now.  DMEM_E_LOST when it had it once; -EINVAL when it never did. */
int dm_file_check_range(struct dm_file *file, const char *what, uint64_t offset, uint64_t bytes);
/* -EFBIG when `bytes` is above the process's limit for files: reaching it would be a deadly SIGXFSZ. */
int dm_file_check_limit(const char *path, uint64_t bytes);

/* file_open.c */
int dm_file_open(const struct dm_uri *uri, struct dm_device **device);

/* file_create.c */
int dm_file_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device);
int dm_file_commit(struct dm_device *device);
int dm_file_destroy(const struct dm_uri *uri);
void dm_file_remove_temporary(struct dm_file *file);

/* file_space.c */
int dm_file_grow(struct dm_device *device, uint64_t size_bytes);
int dm_file_reserve(struct dm_device *device, uint64_t offset, uint64_t bytes);
int dm_file_release(struct dm_device *device, uint64_t offset, uint64_t bytes);
/* What reserve and release do on file systems without fallocate(). */
int dm_file_reserve_by_writing(struct dm_file *file, uint64_t offset, uint64_t bytes);
int dm_file_release_by_writing(struct dm_file *file, uint64_t offset, uint64_t bytes);

/* file_exclude.c */
int dm_file_exclude(struct dm_device *device, uint32_t number, int *fd);

/* file_data.c */
int dm_file_read(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes);
int dm_file_write(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes);

#endif
