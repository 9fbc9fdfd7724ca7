/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c: identity of hosts and processes.
 *
 * A host is a running kernel: its boot id.  Machine ids are not used: clones share them.  A process is (pid, start time) in a
 * pid namespace: pids are reused, start times in ticks practically never together with the pid.
 * Sources: proc(5) (boot_id, stat field 22), pidfd_open(2), pid_namespaces(7).
 */
#include "failure/host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* FNV-1a with two starts: names of hosts in tests and demos, not a defence against anybody. */
static uint64_t hash_text(const char *text, uint64_t start)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ start;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(1099511628211);
	return hash;
}

static void id_from_name(const char *name, uint8_t id[16])
{
	uint64_t halves[2] = {hash_text(name, 0), hash_text(name, UINT64_C(0x9e3779b97f4a7c15))};

	memcpy(id, halves, 16);
}

static int id_from_boot(uint8_t id[16])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	unsigned digits = 0;
	int c;

	if (file == NULL)
		return -errno;
	memset(id, 0, 16);
	while (digits < 32 && (c = fgetc(file)) != EOF && c != '\n') {
		if (c == '-')
			continue;
		c = c >= 'a' ? c - 'a' + 10 : c - '0';
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (c & 15));
		digits++;
	}
	fclose(file);
	return digits == 32 ? 0 : -EIO;
}

void dm_host_identify(struct dm_host *host)
{
	const char *named = getenv("DMEM_HOST_ID");
	struct stat namespace;

	memset(host, 0, sizeof(*host));
	if (gethostname(host->name, sizeof(host->name) - 1) != 0)
		strcpy(host->name, "unknown");
	if (named != NULL && named[0] != 0) {
		id_from_name(named, host->id);
		snprintf(host->name, sizeof(host->name), "%s", named);
	} else if (id_from_boot(host->id) != 0) {
		id_from_name(host->name, host->id);
	}
	if (stat("/proc/self/ns/pid", &namespace) == 0)
		host->pid_namespace = namespace.st_ino;
}

uint64_t dm_host_start_ticks(pid_t pid)
{
	char path[64];
	char line[1024];
	const char *at;
	unsigned long long ticks = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	at = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL; /* the name may hold anything */
	if (at != NULL &&
	    sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
		ticks = 0;
	fclose(file);
	return ticks;
}

/* A pidfd is readable when the process has ended, also while it is a zombie. */
static int has_ended(int fd)
{
	struct pollfd ended = {.fd = fd, .events = POLLIN};

	return poll(&ended, 1, 0) == 1;
}

int dm_host_open_process(pid_t pid, uint64_t start_ticks)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t now_ticks;

	if (fd < 0)
		return -errno;
	now_ticks = dm_host_start_ticks(pid);
	if (has_ended(fd) || (start_ticks != 0 && now_ticks != 0 && now_ticks != start_ticks)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

bool dm_host_thread_alive(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
	if (access(path, F_OK) != 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%ld/task/%ld", (long)pid, (long)tid);
	return access(path, F_OK) == 0 || errno != ENOENT;
}

bool dm_host_is_pidfd(int fd, pid_t pid)
{
	char line[128];
	bool found = false;
	FILE *info;

	if (fd < 0)
		return false;
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	info = fopen(line, "re");
	while (info != NULL && !found && fgets(line, sizeof(line), info) != NULL) {
		long number;

		/* "Pid:" is -1 once the process is gone and reaped */
		found = sscanf(line, "Pid: %ld", &number) == 1 && (number == pid || number == -1);
	}
	if (info != NULL)
		fclose(info);
	return found;
}

int dm_host_process_alive(pid_t pid, uint64_t start_ticks)
{
	int fd = dm_host_open_process(pid, start_ticks);

	if (fd >= 0) {
		close(fd);
		return 1;
	}
	if (fd == -ESRCH)
		return 0;
	if (kill(pid, 0) != 0 && errno == ESRCH) /* no pidfds here */
		return 0;
	return -1;
}
