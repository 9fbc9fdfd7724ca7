/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_create.c: a pool file appears under its name whole, or not at all.
 *
 * It is made as "PATH.new.PID" (".N" added when one process makes the same pool several times at once) and renamed when it
 * is finished.  Its creator holds flock() on it until then.  A temporary file is stale when nobody holds that lock and no
 * other process of its id runs; whoever creates the same pool next removes it.  The lock decides between pid namespaces
 * that share a /dev/shm, the id where flock() does not work.
 *
 * Sources: flock(2), rename(2) (RENAME_NOREPLACE), link(2).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/file/file_device.h"

#define MARK         ".new."
#define ATTEMPTS_MAX 64
#define MODE_DEFAULT 0600

/* "/a/b" is "/a" and "b"; the directory of "/b" is "/". */
static const char *split_path(const char *path, char *directory, size_t bytes)
{
	const char *slash = strrchr(path, '/');
	size_t length = (size_t)(slash - path);

	snprintf(directory, bytes, "%.*s", length > 0 ? (int)length : 1, path);
	return slash + 1;
}

/* The id in "NAME.new.PID" or "NAME.new.PID.N"; 0 when the entry is none of these. */
static pid_t creator_of(const char *entry, const char *name)
{
	size_t length = strlen(name);
	char *end;
	long pid;

	if (strncmp(entry, name, length) != 0 || strncmp(entry + length, MARK, strlen(MARK)) != 0)
		return 0;
	entry += length + strlen(MARK);
	if (!isdigit((unsigned char)*entry))
		return 0;
	pid = strtol(entry, &end, 10);
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	return *end == '\0' && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

static bool runs_elsewhere(pid_t pid)
{
	return pid != getpid() && (kill(pid, 0) == 0 || errno != ESRCH);
}

static bool same_file(int directory_fd, const char *entry, int fd)
{
	struct stat named, opened;

	return fstatat(directory_fd, entry, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
	       named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static void remove_if_stale(int directory_fd, const char *entry, pid_t creator)
{
	int fd;

	if (runs_elsewhere(creator))
		return;
	fd = openat(directory_fd, entry, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	/* Under the lock the name can't pass to another file: its creator would have to remove ours first. */
	if ((flock(fd, LOCK_EX | LOCK_NB) == 0 || (errno != EWOULDBLOCK && creator != getpid())) &&
	    same_file(directory_fd, entry, fd) && unlinkat(directory_fd, entry, 0) == 0)
		dm_log(DMEM_LOG_INFO, "removed %s, left by a creation that process %d did not finish", entry, (int)creator);
	close(fd);
}

static void remove_stale(const char *path)
{
	char directory[DM_URI_PATH_BYTES];
	const char *name = split_path(path, directory, sizeof(directory));
	DIR *stream = opendir(directory);
	struct dirent *entry;

	/* A directory that can be written but not listed is fine; stale files stay there. */
	if (stream == NULL)
		return;
	while ((entry = readdir(stream)) != NULL) {
		pid_t creator = creator_of(entry->d_name, name);

		if (creator != 0)
			remove_if_stale(dirfd(stream), entry->d_name, creator);
	}
	closedir(stream);
}

static int say_not_created(const char *path, int err)
{
	char directory[DM_URI_PATH_BYTES];

	split_path(path, directory, sizeof(directory));
	switch (-err) {
	case ENOENT:
		return dm_fail(err, "%s cannot be created: there is no directory %s: make it (mkdir -p), or look at the path",
		               path, directory);
	case ENOTDIR:
		return dm_fail(err, "%s cannot be created: a part of the path is a file, not a directory", path);
	case EACCES:
	case EPERM:
		return dm_fail(err,
		               "%s cannot be created: user %u lacks write and search permission on the directory %s: chmod it, "
		               "or run as its owner",
		               path, geteuid(), directory);
	case EROFS:
		return dm_fail(err,
		               "%s cannot be created: its file system is mounted read-only: remount it (mount -o remount,rw), "
		               "or put the pool elsewhere",
		               path);
	case ENAMETOOLONG:
		return dm_fail(err,
		               "%s cannot be created: the name is too long (a suffix of up to %d bytes is added while it is "
		               "made): use a shorter one",
		               path, DM_FILE_SUFFIX_BYTES - 1);
	case ENOSPC:
	case EDQUOT:
		return dm_fail(-ENOSPC, "%s cannot be created: its file system has no room for another file (see df, df -i)",
		               path);
	default:
		return dm_fail(err, "%s cannot be created: %s", path, dmem_strerror(err));
	}
}

static int say_exists(const char *path)
{
	return dm_fail(-EEXIST, "%s exists already: attach it, destroy it (dmemctl destroy), or take another name", path);
}

/* Open a new temporary file and lock it; its name goes to `new_path`. */
static int open_temporary(const char *path, char *new_path, size_t bytes, int *fd)
{
	for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
		if (attempt == 0)
			snprintf(new_path, bytes, "%s" MARK "%d", path, (int)getpid());
		else
			snprintf(new_path, bytes, "%s" MARK "%d.%d", path, (int)getpid(), attempt);
		*fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, MODE_DEFAULT);
		if (*fd < 0 && errno == EEXIST)
			continue;
		if (*fd < 0)
			return say_not_created(path, -errno);
		/* Where flock() does not work nobody else can take it either. */
		flock(*fd, LOCK_EX | LOCK_NB);
		/* Between the two calls above, another creator may have found the file unlocked and removed it. */
		if (same_file(AT_FDCWD, new_path, *fd))
			return 0;
		close(*fd);
	}
	return dm_fail(-EBUSY, "%s cannot be created: this process is creating it %d times already", path, ATTEMPTS_MAX);
}

static int check_create(const char *path, uint64_t size_bytes)
{
	struct stat status;

	if (size_bytes == 0 || !dm_is_aligned(size_bytes, 2 * DM_MIB))
		return dm_fail(DMEM_E_OPTION, "a pool file of %llu bytes is not possible: its size is a multiple of 2 MiB",
		               (unsigned long long)size_bytes);
	if (lstat(path, &status) == 0)
		return say_exists(path);
	return dm_file_check_limit(path, size_bytes);
}

/* Give a new file its size and its permissions, whatever the umask says. */
static int shape(struct dm_file *file, uint64_t size_bytes, uint32_t mode)
{
	if (file->hugetlbfs && !dm_is_aligned(size_bytes, file->device.align_bytes))
		return dm_fail(DMEM_E_OPTION, "%s has huge pages of %llu bytes: a pool of %llu is not a multiple of that",
		               file->path, (unsigned long long)file->device.align_bytes, (unsigned long long)size_bytes);
	if (fchmod(file->fd, mode != 0 ? mode : MODE_DEFAULT) != 0)
		return dm_fail(-errno, "%s cannot be given mode %04o: %s", file->path, mode, dmem_strerror(-errno));
	if (ftruncate(file->fd, (off_t)size_bytes) != 0)
		return dm_fail(-errno, "%s cannot have %llu bytes: %s: use a smaller size, or another file system", file->path,
		               (unsigned long long)size_bytes, dmem_strerror(-errno));
	dm_device_learn_bytes(&file->device, size_bytes);
	return 0;
}

int dm_file_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device)
{
	char new_path[DM_URI_PATH_BYTES + DM_FILE_SUFFIX_BYTES];
	struct dm_file *file;
	int fd, err;

	err = check_create(uri->path, size_bytes);
	if (err != 0)
		return err;
	remove_stale(uri->path);
	err = open_temporary(uri->path, new_path, sizeof(new_path), &fd);
	if (err != 0)
		return err;
	err = dm_file_new(uri, fd, &file);
	if (err != 0)
		goto err_unlink;
	err = shape(file, size_bytes, mode);
	if (err != 0)
		goto err_free;
	strcpy(file->new_path, new_path);
	file->temporary = true;
	file->creator = getpid();
	*device = &file->device;
	return 0;

err_free:
	dm_file_close_fd(file); /* it has taken over `fd` */
	free(file);
	unlink(new_path);
	return err;
err_unlink:
	unlink(new_path);
	close(fd);
	return err;
}

/* 0 or -errno. */
static int rename_to_final(const char *new_path, const char *path)
{
	if (renameat2(AT_FDCWD, new_path, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -errno;
	/* This file system's rename would replace; link() never does. */
	if (link(new_path, path) != 0)
		return -errno;
	unlink(new_path);
	return 0;
}

int dm_file_commit(struct dm_device *device)
{
	struct dm_file *file = dm_file_of(device);
	int err;

	if (!file->temporary)
		return dm_fail(-EINVAL, "%s has its name already", file->path);
	err = rename_to_final(file->new_path, file->path);
	if (err == -EEXIST)
		return say_exists(file->path);
	if (err != 0)
		return dm_fail(err, "%s cannot be given its name: %s", file->path, dmem_strerror(err));
	file->temporary = false;
	flock(file->fd, LOCK_UN);
	return 0;
}

void dm_file_remove_temporary(struct dm_file *file)
{
	if (file->temporary && file->creator == getpid() && same_file(AT_FDCWD, file->new_path, file->fd))
		unlink(file->new_path);
}

int dm_file_destroy(const struct dm_uri *uri)
{
	const char *path = uri->path;
	struct stat status;

	if (lstat(path, &status) != 0 && errno == ENOENT)
		return dm_fail(-ENOENT, "there is no pool file %s to remove: look at the path", path);
	if (lstat(path, &status) != 0)
		return dm_fail(-errno, "%s cannot be removed: %s", path, dmem_strerror(-errno));
	if (S_ISLNK(status.st_mode))
		return dm_fail(DMEM_E_UNSUPPORTED, "%s is a symbolic link: name the file it points to (readlink -f)", path);
	if (!S_ISREG(status.st_mode))
		return dm_fail(DMEM_E_UNSUPPORTED, "%s is not a regular file: it is left alone", path);
	if (unlink(path) == 0)
		return 0;
	if (errno == EACCES || errno == EPERM)
		return dm_fail(-errno,
		               "%s cannot be removed: user %u needs write permission on its directory, and where that is "
		               "sticky, as /dev/shm, must own the file (owner %u)",
		               path, geteuid(), status.st_uid);
	return dm_fail(-errno, "%s cannot be removed: %s", path, dmem_strerror(-errno));
}
