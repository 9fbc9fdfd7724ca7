/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_exclude.c: marks that one process of this machine has: locks on bytes far behind the file's end.
 *
 * The lock belongs to an open file description of its own, so it does not go when the program closes another descriptor of the
 * file, and it ends with the last descriptor of that description: a child of fork() closes its copy.
 *
 * Source: fcntl(2), open file description locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/file/file_device.h"

#define MARKS_OFF ((off_t)1 << 62)
#define HIGH_FD   512 /* out of the program's way */

/* The same file once more: its name may be gone. */
static int open_again(struct dm_file *file)
{
	char path[64];
	int fd = dm_file_fd(file);
	int again;
	int high;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again < 0)
		return -errno;
	high = fcntl(again, F_DUPFD_CLOEXEC, HIGH_FD);
	if (high < 0)
		return again;
	close(again);
	return high;
}

int dm_file_exclude(struct dm_device *device, uint32_t number, int *fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MARKS_OFF + (off_t)number, .l_len = 1};
	struct dm_file *file = dm_file_of(device);
	int again = open_again(file);
	int err = 0;

	if (again < 0)
		return dm_fail(again, "%s can't be opened once more: %s", file->path, dmem_strerror(again));
	if (fcntl(again, F_OFD_SETLK, &lock) == 0) {
		*fd = again;
		return 0;
	}
	err = errno == EACCES ? -EAGAIN : -errno;
	close(again);
	return err == -EAGAIN ? err : dm_fail(err, "%s can't be locked: %s", file->path, dmem_strerror(err));
}
