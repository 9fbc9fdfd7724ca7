/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futex.h: sleep until a word of 32 bits changes, and wake who sleeps.
 *
 * Words may be shared between processes of this machine: the kernel knows them by the file and the place in it.
 * Source: futex(2); futex_waitv in Linux 5.16.
 */
#ifndef DM_BASE_FUTEX_H
#define DM_BASE_FUTEX_H

#include <stdint.h>

#define DM_FUTEX_FOREVER INT64_C(-1)

/* 0 woken, perhaps for nothing; -EAGAIN the word is not `expected`; -ETIMEDOUT; -EINTR a signal came; -EFAULT.
 * `timeout_ns`
 * counts from now. */
int dm_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);

/* The same for up to DM_FUTEX_WORDS words at once: whichever changes first.  A kernel that can't do that makes it a
 *                                                  sleep of at
 * most `poll_ns` on the first word. */
#define DM_FUTEX_WORDS 3u
struct dm_futex {
	const uint32_t *word;
	uint32_t expected;
};
int dm_futex_wait_any(const struct dm_futex *words, unsigned count, int64_t timeout_ns, int64_t poll_ns);

/* Wake at most `count` sleepers.  How many were woken. */
int dm_futex_wake(const uint32_t *word, int count);

#endif
