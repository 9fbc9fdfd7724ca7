/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop.c: see stop.h.
 *
 * `round` is odd while a stop is under way.  The signal carries the round it belongs to, so that one which arrives late, after
 * a stop that gave up, is ignored and not counted for the next.  Threads that are born meanwhile are found because the list
 * is read again until it shows nobody new after everybody has arrived.
 *
 * Lock: `lock`, held from stop to release; a forklock, so that a child of fork() can go on when its parent was stopping.
 *
 * Sources: rt_tgsigqueueinfo(2), futex(2), proc(5) (/proc/PID/task), getdents64(2).
 */
#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/forklock.h"

#define THREADS_MAX 256u
#define WAIT_NS     (20 * DM_NS_PER_MS)

struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short bytes;
	unsigned char type;
	char name[];
};

static struct {
	struct dm_forklock lock;
	_Atomic uint32_t round;
	_Atomic uint32_t arrived;
	_Atomic uint32_t
		inside; /* threads in the handler's wait, also those that were released and have not woken up yet */
	pid_t pid;  /* whose threads those are */
	_Atomic bool handler_set;
	unsigned count;             /* of `threads` */
	pid_t threads[THREADS_MAX]; /* that got the signal of this round */
} stop;

static void futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *limit)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, limit, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void on_stop(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	uint32_t round = (uint32_t)(uintptr_t)info->si_value.sival_ptr;

	(void)number, (void)context;
	if (info->si_code == SI_QUEUE && info->si_pid == getpid() && (round & 1) != 0 &&
	    atomic_load(&stop.round) == round) {
		atomic_fetch_add(&stop.inside, 1);
		atomic_fetch_add(&stop.arrived, 1);
		futex_wake_all(&stop.arrived);
		while (atomic_load(&stop.round) == round)
			futex_wait(&stop.round, round, NULL);
		atomic_fetch_sub(&stop.inside, 1);
	}
	errno = saved;
}

static int set_handler(void)
{
	struct sigaction action = {.sa_sigaction = on_stop, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct sigaction before;

	if (sigaction(DM_STOP_SIGNAL, NULL, &before) != 0)
		return -errno;
	if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction == on_stop)
		return 0;
	if ((before.sa_flags & SA_SIGINFO) != 0 || before.sa_handler != SIG_DFL)
		return -EBUSY;
	sigfillset(&action.sa_mask); /* no other handler runs in a thread that is stopped */
	return sigaction(DM_STOP_SIGNAL, &action, NULL) == 0 ? 0 : -errno;
}

static bool is_known(pid_t thread)
{
	for (unsigned i = 0; i < stop.count; i++)
		if (stop.threads[i] == thread)
			return true;
	return false;
}

/* What the kernel says of a thread: a line of /proc/self/task/TID/status. */
static const char *status_value(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	return line == NULL ? "" : line + strlen(name);
}

/*
 * True: it blocks the signal, and sleeps: a thread of a test harness, or of another library, which has no part in what happens
 * here.  One that blocks it and runs may be on its way out of our handler, so it is told like the others.
 */
static bool sleeps_blocked(pid_t thread)
{
	char path[64] = "/proc/self/task/";
	char status[2048];
	size_t end = strlen(path);
	uint64_t blocked = 0;
	ssize_t got;
	int fd;

	for (pid_t scale = 1000000000; scale > 0; scale /= 10)
		if (thread >= scale)
			path[end++] = (char)('0' + thread / scale % 10);
	strcpy(path + end, "/status");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (fd >= 0)
		close(fd);
	if (got < 0)
		return false; /* it is gone: the signal will say so */
	status[got] = '\0';
	for (const char *digit = status_value(status, "\nSigBlk:\t"); *digit > ' '; digit++)
		blocked = blocked << 4 | (uint64_t)(*digit <= '9' ? *digit - '0' : *digit - 'a' + 10);
	return (blocked >> (DM_STOP_SIGNAL - 1) & 1) != 0 && *status_value(status, "\nState:\t") != 'R';
}

/* 1: it got the signal; 0: it is gone, was told before, or sleeps. */
static int tell(pid_t thread, uint32_t round)
{
	siginfo_t info;

	if (is_known(thread))
		return 0;
	if (stop.count == THREADS_MAX)
		return -E2BIG;
	if (sleeps_blocked(thread))
		return 0;
	memset(&info, 0, sizeof(info));
	info.si_signo = DM_STOP_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)round;
	if (syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, DM_STOP_SIGNAL, &info) != 0)
		return errno == ESRCH ? 0 : -errno;
	stop.threads[stop.count++] = thread;
	return 1;
}

static pid_t number_of(const char *name)
{
	pid_t number = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		number = number * 10 + (*name - '0');
	return *name == '\0' ? number : 0;
}

/* Tell every thread that was not told yet.  Gives how many that were. */
static int tell_all(uint32_t round)
{
	_Alignas(struct entry) char buffer[4096];
	pid_t self = (pid_t)syscall(SYS_gettid);
	int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int told = 0;
	long got = 0;

	if (fd < 0)
		return -errno;
	while (told >= 0 && (got = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; told >= 0 && at < got;) {
			const struct entry *entry = (const void *)(buffer + at);
			pid_t thread = number_of(entry->name);
			int now = thread > 0 && thread != self ? tell(thread, round) : 0;

			told = now < 0 ? now : told + now;
			at += entry->bytes;
		}
	}
	if (got < 0)
		told = -errno;
	close(fd);
	return told;
}

/* Who was released from the last stop has left the handler, so that nobody who sleeps there is taken for a stranger. */
static int wait_for_leavers(void)
{
	uint64_t deadline = dm_clock_now_ns() + WAIT_NS;

	if (stop.pid != getpid()) { /* a child of fork(): its parent's threads are not here */
		atomic_store(&stop.inside, 0);
		stop.pid = getpid();
	}
	while (atomic_load(&stop.inside) > 0) {
		if (dm_clock_now_ns() >= deadline)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

static int wait_for_all(void)
{
	uint64_t deadline = dm_clock_now_ns() + WAIT_NS;
	uint32_t seen;

	while ((seen = atomic_load(&stop.arrived)) < stop.count) {
		uint64_t now = dm_clock_now_ns();
		struct timespec left;

		if (now >= deadline)
			return -ETIMEDOUT;
		left = (struct timespec){.tv_nsec = (long)(deadline - now)};
		futex_wait(&stop.arrived, seen, &left);
	}
	return 0;
}

void dm_stop_take_part(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, DM_STOP_SIGNAL);
	sigaddset(&signals, DM_FENCE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

int dm_stop_others(void)
{
	uint32_t round;
	int rc;

	dm_forklock_lock(&stop.lock);
	rc = set_handler();
	if (rc == 0)
		rc = wait_for_leavers();
	if (rc)
		goto err_unlock;
	stop.count = 0;
	atomic_store(&stop.arrived, 0);
	/* odd, also in a child whose parent was stopping when it forked */
	round = (atomic_load(&stop.round) + 1) | 1;
	atomic_store(&stop.round, round);
	do {
		rc = tell_all(round);
		if (rc > 0 && wait_for_all() != 0)
			rc = -ETIMEDOUT;
	} while (rc > 0);
	if (rc == 0)
		return 0;
	dm_stop_release();
	return rc;
err_unlock:
	dm_forklock_unlock(&stop.lock);
	return rc;
}

void dm_stop_release(void)
{
	atomic_fetch_add(&stop.round, 1);
	futex_wake_all(&stop.round);
	dm_forklock_unlock(&stop.lock);
}
