/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.c: see fence.h.
 *
 * Every thread of the member gets the reserved signal; its handler makes the window private to the process (dm_window_cut()).
 * A signal is delivered before a thread runs any further in the program, and the first handler that is done has done it for
 * all threads, since they share their mappings.  So:
 *
 *   - a process that is stopped has the signals waiting; when it goes on, they come first;
 *   - a thread that runs on another processor is interrupted, within microseconds; the fencer waits until the window is seen to
 *     be cut, or all threads to be stopped, or 20 ms have passed;
 *   - a thread that blocks the signal is not interrupted.  It is cut off by the first other thread that goes on: at the latest
 *     the agent, which never blocks it.  Until then it may store.  Threads of the library, and threads that wait for
 *     something in it, unblock the signal.
 *
 * A signal names pool, slot and incarnation; one that names nobody here goes to the handler that was there before.  It is only
 * sent to a process that the kernel says has a handler for it, because its default action is to kill.
 *
 * Sources: rt_tgsigqueueinfo(2), signal(7), signal-safety(7), proc(5) (SigCgt, State, maps).
 */
#include "failure/fence.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/forklock.h"
#include "base/stop.h"

#define ENTRIES_MAX  64u
#define SETTLE_NS    (20 * DM_NS_PER_MS)
#define LOOK_NS      200000u
#define UUID_BITS    20
#define WINDOW_LINES 4096u /* of a process's maps, until its window must have come */

static struct {
	struct dm_forklock lock; /* of enter and leave; the handler takes no lock */
	_Atomic unsigned inside; /* handlers that may hold a window */
	_Atomic pid_t pid;       /* whose handlers those are */
	struct {
		_Atomic uint64_t name; /* 0: free; written last, and erased first */
		_Atomic(struct dm_window *) window;
	} entries[ENTRIES_MAX];
	struct sigaction before;
} fence;

/* What a signal carries: | incarnation 32 | pool 20 | slot 12 |. */
static uint64_t name_of(const struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	uint32_t pool = dm_crc32c(members->window->superblock.pool_uuid, 16) & ((1u << UUID_BITS) - 1);

	return (uint64_t)incarnation << 32 | (uint64_t)pool << 12 | slot;
}

static void call_before(int number, siginfo_t *info, void *machine)
{
	if ((fence.before.sa_flags & SA_SIGINFO) != 0)
		fence.before.sa_sigaction(number, info, machine);
	else if (fence.before.sa_handler != SIG_DFL && fence.before.sa_handler != SIG_IGN)
		fence.before.sa_handler(number);
}

static void on_fence(int number, siginfo_t *info, void *machine)
{
	uint64_t name = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
	bool ours = false;
	int saved = errno;

	atomic_fetch_add(&fence.inside, 1);
	for (unsigned i = 0; info->si_code == SI_QUEUE && name != 0 && i < ENTRIES_MAX; i++) {
		struct dm_window *window = atomic_load(&fence.entries[i].window);

		/* pairs with the erasing in dm_fence_leave(): either it sees us inside, or we see the name gone */
		if (window == NULL || atomic_load(&fence.entries[i].name) != name)
			continue;
		dm_window_cut(window);
		ours = true;
	}
	atomic_fetch_sub(&fence.inside, 1);
	if (!ours)
		call_before(number, info, machine);
	errno = saved;
}

static int install(void)
{
	struct sigaction action = {.sa_sigaction = on_fence, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	struct sigaction now;

	if (sigaction(DM_FENCE_SIGNAL, NULL, &now) != 0)
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fence)
		return 0;
	fence.before = now;
	sigfillset(&action.sa_mask);
	return sigaction(DM_FENCE_SIGNAL, &action, NULL) == 0 ? 0 : -errno;
}

int dm_fence_enter(struct dm_members *members)
{
	int rc;

	dm_forklock_lock(&fence.lock);
	if (atomic_load(&fence.pid) != getpid()) { /* a child of fork(): its parent's handlers do not run here */
		atomic_store(&fence.inside, 0);
		atomic_store(&fence.pid, getpid());
	}
	rc = install();
	for (unsigned i = 0; rc == 0 && i < ENTRIES_MAX; i++) {
		if (atomic_load(&fence.entries[i].window) != NULL)
			continue;
		atomic_store(&fence.entries[i].window, members->window);
		atomic_store(&fence.entries[i].name, name_of(members, members->slot, members->incarnation));
		members->fence_entry = i + 1;
		break;
	}
	dm_forklock_unlock(&fence.lock);
	return rc == 0 && members->fence_entry == 0 ? -ENOSPC : rc;
}

void dm_fence_leave(struct dm_members *members)
{
	unsigned entry = members->fence_entry;

	if (entry == 0)
		return;
	dm_forklock_lock(&fence.lock);
	atomic_store(&fence.entries[entry - 1].name, 0);
	while (atomic_load(&fence.pid) == getpid() && atomic_load(&fence.inside) > 0)
		dm_clock_sleep_ns(LOOK_NS);
	atomic_store(&fence.entries[entry - 1].window, NULL);
	members->fence_entry = 0;
	dm_forklock_unlock(&fence.lock);
}

/* --- the other side --- */

/* Does the process have a handler for the signal? */
static bool takes_signal(pid_t pid)
{
	char line[256];
	uint64_t caught = 0;
	FILE *status;

	snprintf(line, sizeof(line), "/proc/%ld/status", (long)pid);
	status = fopen(line, "re");
	if (status == NULL)
		return false;
	while (fgets(line, sizeof(line), status) != NULL)
		if (sscanf(line, "SigCgt: %" SCNx64, &caught) == 1)
			break;
	fclose(status);
	return (caught >> (DM_FENCE_SIGNAL - 1) & 1) != 0;
}

static int tell(pid_t pid, pid_t thread, uint64_t name)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = DM_FENCE_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)name;
	return syscall(SYS_rt_tgsigqueueinfo, pid, thread, DM_FENCE_SIGNAL, &info) == 0 || errno == ESRCH ? 0 : -errno;
}

/* 1: it can't run the program now; 0: it can. */
static int is_stopped(pid_t pid, pid_t thread, uint64_t unused)
{
	char path[64], line[512];
	const char *state;
	FILE *file;

	(void)unused;
	snprintf(path, sizeof(path), "/proc/%ld/task/%ld/stat", (long)pid, (long)thread);
	file = fopen(path, "re");
	if (file == NULL)
		return 1;
	state = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
	fclose(file);
	return state == NULL || strchr("TtZX", state[1] == ' ' ? state[2] : '?') != NULL;
}

bool dm_fence_is_stopped(const struct dm_member_view *view)
{
	pid_t pid = view->identity.pid;

	return is_stopped(pid, view->beat.agent_tid != 0 ? (pid_t)view->beat.agent_tid : pid, 0) == 1;
}

/* Call it for each thread, until it does not give `wanted`; that is given then. */
static int each_thread(pid_t pid, int (*call)(pid_t, pid_t, uint64_t), uint64_t name, int wanted)
{
	char path[64];
	struct dirent *entry;
	int rc = wanted;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while (rc == wanted && (entry = readdir(tasks)) != NULL) {
		long thread = strtol(entry->d_name, NULL, 10);

		if (thread > 0)
			rc = call(pid, (pid_t)thread, name);
	}
	closedir(tasks);
	return rc;
}

/* The first mapping of its window is not shared any more.  Members of a pool that is not coherent work on private copies, and
 * nothing can be told from theirs. */
static bool is_cut(const struct dm_members *members, pid_t pid)
{
	char line[512], mode[8];
	bool cut = false;
	uint64_t start;
	FILE *maps;

	snprintf(line, sizeof(line), "/proc/%ld/maps", (long)pid);
	maps = members->window->coherent ? fopen(line, "re") : NULL;
	for (unsigned i = 0; maps != NULL && i < WINDOW_LINES && fgets(line, sizeof(line), maps) != NULL; i++) {
		if (sscanf(line, "%" SCNx64 "-%*x %7s", &start, mode) != 2 || start < members->window->base)
			continue;
		cut = strcmp(mode, "rw-s") != 0;
		break;
	}
	if (maps != NULL)
		fclose(maps);
	return cut;
}

int dm_fence_cut_off(struct dm_members *members, const struct dm_member_view *view)
{
	uint64_t deadline = dm_clock_now_ns() + SETTLE_NS;
	pid_t pid = view->identity.pid;
	int rc;

	if (dm_host_process_alive(pid, view->identity.start_ticks) == 0)
		return -ESRCH;
	if (!takes_signal(pid))
		return -ENOTSUP;
	rc = each_thread(pid, tell, name_of(members, view->slot, view->incarnation), 0);
	if (rc)
		return rc;
	while (each_thread(pid, is_stopped, 0, 1) == 0 && !is_cut(members, pid)) {
		if (dm_clock_now_ns() >= deadline)
			return 1;
		dm_clock_sleep_ns(LOOK_NS);
	}
	return 0;
}
