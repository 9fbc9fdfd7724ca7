/* SPDX-License-Identifier: Apache-2.0 */
/* futex.c: the two system calls. */
#include "base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* Of Linux 5.16; the headers of older systems don't have it. */
struct wait_entry {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};
#define WORD_OF_32_BITS 2u

static _Atomic bool no_waitv;

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / DM_NS_PER_S), .tv_nsec = (long)(ns % DM_NS_PER_S)};
}

int dm_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	struct timespec timeout = to_timespec(timeout_ns < 0 ? 0 : (uint64_t)timeout_ns);

	if (syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0) == 0)
		return 0;
	return -errno;
}

static int wait_first(const struct dm_futex *words, unsigned count, int64_t timeout_ns, int64_t poll_ns)
{
	int rc;

	for (unsigned i = 1; i < count; i++)
		if (__atomic_load_n(words[i].word, __ATOMIC_ACQUIRE) != words[i].expected)
			return -EAGAIN;
	rc = dm_futex_wait(words[0].word, words[0].expected, timeout_ns < 0 || timeout_ns > poll_ns ? poll_ns : timeout_ns);
	return rc == -ETIMEDOUT && (timeout_ns < 0 || timeout_ns > poll_ns) ? 0 : rc;
}

int dm_futex_wait_any(const struct dm_futex *words, unsigned count, int64_t timeout_ns, int64_t poll_ns)
{
	struct wait_entry entries[DM_FUTEX_WORDS];
	struct timespec now;
	struct timespec until;

	if (count == 1)
		return dm_futex_wait(words[0].word, words[0].expected, timeout_ns);
	if (atomic_load_explicit(&no_waitv, memory_order_relaxed))
		return wait_first(words, count, timeout_ns, poll_ns);
	for (unsigned i = 0; i < count; i++)
		entries[i] = (struct wait_entry){
			.value = words[i].expected, .address = (uintptr_t)words[i].word, .flags = WORD_OF_32_BITS};
	if (timeout_ns >= 0) { /* this call wants a moment, not a time */
		clock_gettime(CLOCK_MONOTONIC, &now);
		until = to_timespec((uint64_t)now.tv_sec * DM_NS_PER_S + (uint64_t)now.tv_nsec + (uint64_t)timeout_ns);
	}
	if (syscall(SYS_futex_waitv, entries, count, 0, timeout_ns < 0 ? NULL : &until, CLOCK_MONOTONIC) >= 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	atomic_store_explicit(&no_waitv, true, memory_order_relaxed);
	return wait_first(words, count, timeout_ns, poll_ns);
}

int dm_futex_wake(const uint32_t *word, int count)
{
	long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);

	return woken < 0 ? 0 : (int)woken;
}
