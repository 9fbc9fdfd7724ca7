/* SPDX-License-Identifier: Apache-2.0 */
/* file_open.c: open a pool file, or say exactly what stands in the way. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/file/file_device.h"

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device (a DAX device is opened as dax:)";
	case S_IFBLK:
		return "a block device (put a file system on it, with a file in it)";
	case S_IFIFO:
		return "a named pipe";
	case S_IFSOCK:
		return "a socket";
	default:
		return "not a regular file";
	}
}

/* The longest part of the path, from its start, that this process can't look into; "" when it can look into all. */
static void find_closed_directory(const char *path, char *directory, size_t bytes)
{
	snprintf(directory, bytes, "%s", path);
	for (char *at = strchr(directory + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (faccessat(AT_FDCWD, directory, X_OK, AT_EACCESS) != 0)
			return;
		*at = '/';
	}
	directory[0] = '\0';
}

static int say_no_access(const char *path, int err)
{
	char directory[DM_URI_PATH_BYTES];
	struct stat status;

	find_closed_directory(path, directory, sizeof(directory));
	if (directory[0] != '\0')
		return dm_fail(err,
		               "%s cannot be opened: user %u lacks search permission (x) on the directory %s: chmod it, or run "
		               "as its owner",
		               path, geteuid(), directory);
	if (stat(path, &status) != 0)
		return dm_fail(err, "%s cannot be opened: %s", path, dmem_strerror(err));
	if (err == -EPERM)
		return dm_fail(err, "%s cannot be opened for writing: it is immutable or sealed: see lsattr, chattr -i", path);
	return dm_fail(err,
	               "%s cannot be opened: user %u needs read and write permission, and it has mode %04o and owner %u: "
	               "chmod it (a pool is created with them by ?mode=0660), or run as its owner",
	               path, geteuid(), status.st_mode & 07777, status.st_uid);
}

static int say_not_opened(const struct dm_uri *uri, int err)
{
	const char *path = uri->path;

	switch (-err) {
	case ENOENT:
		return dm_fail(err, "there is no pool file %s: create it (dmemctl create %s:%s), or look at the path", path,
		               uri->scheme, path);
	case ENOTDIR:
		return dm_fail(err, "%s cannot be opened: a part of the path is a file, not a directory", path);
	case EACCES:
	case EPERM:
		return say_no_access(path, err);
	case EROFS:
		return dm_fail(err,
		               "%s is on a file system that is mounted read-only: remount it (mount -o remount,rw), or put the "
		               "pool elsewhere",
		               path);
	case EMFILE:
		return dm_fail(err, "%s cannot be opened: this process has as many open files as it may (see ulimit -n)", path);
	case EISDIR:
		return dm_fail(DMEM_E_UNSUPPORTED, "%s is a directory: a pool is a regular file", path);
	default:
		return dm_fail(err, "%s cannot be opened: %s", path, dmem_strerror(err));
	}
}

/* Before the open, because opening a device or a pipe can have effects; and after it, because names change. */
static int check_kind(const char *path, const struct stat *status)
{
	if (S_ISREG(status->st_mode))
		return 0;
	return dm_fail(DMEM_E_UNSUPPORTED, "%s is %s: a pool is a regular file", path, kind_of(status->st_mode));
}

int dm_file_open(const struct dm_uri *uri, struct dm_device **device)
{
	const char *path = uri->path;
	struct stat status;
	struct dm_file *file;
	int fd, err;

	if (stat(path, &status) != 0)
		return say_not_opened(uri, -errno);
	err = check_kind(path, &status);
	if (err != 0)
		return err;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return say_not_opened(uri, -errno);
	if (fstat(fd, &status) != 0) {
		err = dm_fail(-errno, "%s cannot be examined: %s", path, dmem_strerror(-errno));
		goto err_close;
	}
	err = check_kind(path, &status);
	if (err != 0)
		goto err_close;
	err = dm_file_new(uri, fd, &file);
	if (err != 0)
		goto err_close;
	*device = &file->device;
	return 0;

err_close:
	close(fd);
	return err;
}
