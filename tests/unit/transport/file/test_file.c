/* SPDX-License-Identifier: Apache-2.0 */
/* test_file.c: what only the file backend has: kinds of files, permissions, stale temporary files, full file systems. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/file/file.h"
#include "transport/file/file_device.h"

#define UNIT (2 * DM_MIB)

static char folder[64];
static struct dm_uri uri;

static void set_up(void)
{
	strcpy(folder, "/dev/shm/dmem-file-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(folder), NULL));
	strcpy(uri.scheme, "file");
	snprintf(uri.path, sizeof(uri.path), "%s/pool", folder);
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_expect(zero(int, system(command)));
}

TestSuite(file, .init = set_up, .fini = tear_down);

static bool says(const char *word)
{
	return strstr(dmem_last_error(), word) != NULL;
}

static struct dm_file *make(uint64_t bytes)
{
	struct dm_device *device = NULL;

	cr_assert(zero(int, dm_transport_create(&uri, bytes, 0640, &device)), "%s", dmem_last_error());
	cr_assert(zero(int, dm_file_commit(device)), "%s", dmem_last_error());
	return dm_file_of(device);
}

static void put_file(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	cr_assert(ge(int, fd, 0));
	close(fd);
}

Test(file, what_is_not_a_regular_file_is_refused_and_named)
{
	struct dm_device *device = NULL;

	cr_assert(zero(int, mkdir(uri.path, 0700)));
	cr_expect(eq(int, dm_transport_open(&uri, &device), DMEM_E_UNSUPPORTED));
	cr_expect(says("directory"), "%s", dmem_last_error());
	cr_expect(eq(int, dm_file_destroy(&uri), DMEM_E_UNSUPPORTED));
	rmdir(uri.path);
	cr_assert(zero(int, mkfifo(uri.path, 0600)));
	cr_expect(eq(int, dm_transport_open(&uri, &device), DMEM_E_UNSUPPORTED));
	cr_expect(says("pipe"), "%s", dmem_last_error());
	unlink(uri.path);
	strcpy(uri.path, "/dev/null");
	cr_expect(eq(int, dm_transport_open(&uri, &device), DMEM_E_UNSUPPORTED));
	cr_expect(says("dax:"), "%s", dmem_last_error());
	cr_expect(eq(ptr, device, NULL));
}

Test(file, permissions_are_those_that_were_asked_for_whatever_the_umask)
{
	struct stat status;
	struct dm_file *file;

	umask(0777);
	file = make(UNIT);
	cr_assert(zero(int, stat(uri.path, &status)));
	cr_expect(eq(int, (int)(status.st_mode & 07777), 0640));
	cr_expect(eq(int, (int)status.st_blocks, 0));
	file->device.transport->region.close(&file->device);
}

/* As a user without rights: exit status 0 when the failure and the word are as expected. */
static int open_as_nobody(int code, const char *word)
{
	int status, pid = fork();

	if (pid == 0) {
		struct dm_device *device;

		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(3);
		if (dm_transport_open(&uri, &device) != code)
			_exit(1);
		_exit(says(word) ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	return status;
}

Test(file, a_missing_permission_is_named_with_its_cure)
{
	struct dm_file *file = make(UNIT);

	cr_assert(zero(int, chmod(uri.path, 0400)));
	cr_assert(zero(int, chmod(folder, 0755)));
	cr_expect(zero(int, open_as_nobody(-EACCES, "mode 0400")));
	cr_assert(zero(int, chmod(folder, 0600)));
	cr_expect(zero(int, open_as_nobody(-EACCES, "search permission")));
	chmod(folder, 0700);
	file->device.transport->region.close(&file->device);
}

Test(file, temporary_files_of_the_dead_are_removed_and_others_stay)
{
	char dead[128], alive[128], locked[128], other[128];
	struct dm_file *file;
	int fd, pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	snprintf(dead, sizeof(dead), "%s/pool.new.%d", folder, pid);
	snprintf(locked, sizeof(locked), "%s/pool.new.%d.1", folder, pid);
	snprintf(alive, sizeof(alive), "%s/pool.new.%d", folder, (int)getppid());
	snprintf(other, sizeof(other), "%s/pool.new.%dx", folder, pid);
	put_file(dead);
	put_file(alive);
	put_file(locked);
	put_file(other);
	/* In another pid namespace that process may well be alive: its lock says so. */
	fd = open(locked, O_RDWR);
	cr_assert(zero(int, flock(fd, LOCK_EX)));
	file = make(UNIT);
	cr_expect(ne(int, access(dead, F_OK), 0));
	cr_expect(zero(int, access(alive, F_OK)));
	cr_expect(zero(int, access(locked, F_OK)));
	cr_expect(zero(int, access(other, F_OK)));
	close(fd);
	file->device.transport->region.close(&file->device);
}

Test(file, a_forked_child_does_not_remove_what_its_parent_is_making)
{
	struct dm_device *device = NULL;
	int pid;

	cr_assert(zero(int, dm_transport_create(&uri, UNIT, 0600, &device)));
	pid = fork();
	if (pid == 0) {
		device->transport->region.close(device);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	cr_expect(zero(int, dm_file_commit(device)), "%s", dmem_last_error());
	device->transport->region.close(device);
}

Test(file, a_missing_directory_and_a_long_name_are_named)
{
	struct dm_device *device = NULL;

	snprintf(uri.path, sizeof(uri.path), "%s/none/pool", folder);
	cr_expect(eq(int, dm_transport_create(&uri, UNIT, 0600, &device), -ENOENT));
	cr_expect(says("none: make it"), "%s", dmem_last_error());
	snprintf(uri.path, sizeof(uri.path), "%s/%0250d", folder, 1);
	cr_expect(eq(int, dm_transport_create(&uri, UNIT, 0600, &device), -ENAMETOOLONG));
	cr_expect(says("shorter"), "%s", dmem_last_error());
}

Test(file, a_symbolic_link_is_followed_to_open_and_not_to_destroy)
{
	struct dm_file *file = make(UNIT);
	struct dm_device *device = NULL;
	char target[sizeof(uri.path)];

	strcpy(target, uri.path);
	strcat(uri.path, "-link");
	cr_assert(zero(int, symlink(target, uri.path)));
	cr_assert(zero(int, dm_transport_open(&uri, &device)), "%s", dmem_last_error());
	cr_expect(eq(int, dm_file_destroy(&uri), DMEM_E_UNSUPPORTED));
	cr_expect(zero(int, access(target, F_OK)));
	device->transport->region.close(device);
	file->device.transport->region.close(&file->device);
}

Test(file, the_limit_for_files_is_an_error_and_not_a_signal)
{
	struct rlimit limit = {UNIT, RLIM_INFINITY};
	struct dm_device *device = NULL;
	struct dm_file *file = make(UNIT);

	setrlimit(RLIMIT_FSIZE, &limit);
	cr_expect(eq(int, dm_file_grow(&file->device, 2 * UNIT), -EFBIG));
	cr_expect(says("ulimit -f"), "%s", dmem_last_error());
	strcat(uri.path, "2");
	cr_expect(eq(int, dm_transport_create(&uri, 2 * UNIT, 0600, &device), -EFBIG));
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	file->device.transport->region.close(&file->device);
}

Test(file, space_is_taken_and_given_back_without_fallocate_too)
{
	struct dm_file *file = make(2 * UNIT);
	char byte = 3, zeros = 1;
	struct stat status;

	cr_assert(zero(int, dm_file_write(&file->device, 4096, &byte, 1)));
	cr_assert(zero(int, dm_file_reserve_by_writing(file, 0, UNIT)));
	cr_assert(zero(int, fstat(file->fd, &status)));
	cr_expect(ge(u64, (uint64_t)status.st_blocks * 512, UNIT));
	cr_expect(lt(u64, (uint64_t)status.st_blocks * 512, 2 * UNIT));
	byte = 0;
	cr_expect(zero(int, dm_file_read(&file->device, 4096, &byte, 1)));
	cr_expect(eq(int, byte, 3));
	cr_assert(zero(int, dm_file_release_by_writing(file, 0, UNIT)));
	cr_expect(zero(int, dm_file_read(&file->device, 4096, &zeros, 1)));
	cr_expect(zero(int, zeros));
	file->device.transport->region.close(&file->device);
}

/* In a mount namespace of its own: a tmpfs of 8 MiB over the test's folder.  77: this machine does not let us. */
static int fill_a_small_tmpfs(void)
{
	struct dm_device *device;
	int err;

	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return 77;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", folder, "tmpfs", 0, "size=8m") != 0)
		return 77;
	if (dm_transport_create(&uri, 64 * UNIT, 0600, &device) != 0 || dm_file_commit(device) != 0)
		return 1;
	if (dm_file_reserve(device, 0, 3 * UNIT) != 0)
		return 2;
	err = dm_file_reserve(device, 3 * UNIT, 4 * UNIT);
	if (err != -ENOSPC || !says("remount,size="))
		return 3;
	if (dm_file_reserve_by_writing(dm_file_of(device), 4 * UNIT, 4 * UNIT) != -ENOSPC)
		return 4;
	if (dm_file_release(device, 0, 8 * UNIT) != 0 || dm_file_reserve(device, 40 * UNIT, 3 * UNIT) != 0)
		return 5;
	/* Read-only from here on: new handles are refused, with the cure. */
	device->transport->region.close(device);
	if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
		return 6;
	if (dm_transport_open(&uri, &device) != -EROFS || !says("remount"))
		return 7;
	return 0;
}

Test(file, a_full_and_a_read_only_file_system_are_errors_with_a_cure)
{
	int status, pid = fork();

	if (pid == 0)
		_exit(fill_a_small_tmpfs());
	waitpid(pid, &status, 0);
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("mounting is not possible here");
	cr_expect(zero(int, status), "status %#x", status);
}
