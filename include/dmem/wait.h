/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.h: sleep until a word of a pool changes, on whatever host the member runs that changes it.
 *
 * A futex between hosts.  Who changes the word does so with an atomic call, and then calls dmem_wake(); who waits reads
 * the word with an atomic call, and passes what it read: no wake-up is lost in between.
 *
 *	dmem_atomic_load_u32(&ready, &seen);                    dmem_atomic_store_u32(&ready, 1);
 *	while (seen == 0) {                                     dmem_wake(&ready, INT_MAX);
 *		dmem_wait(&ready, seen, -1);
 *		dmem_atomic_load_u32(&ready, &seen);
 *	}
 *
 * Locks and the like are made of this and are what most programs want: mutex.h, condition.h, semaphore.h.
 */
#ifndef DMEM_WAIT_H
#define DMEM_WAIT_H

#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dmem_wait() - sleep while a word holds a value, until somebody wakes.
 * @word: an atomic word in an attached pool, aligned to 4 bytes.
 * @expected: what the caller saw in it.
 * @timeout_ns: nanoseconds from now; negative for ever.
 *
 * Returns:    0: the word is another, or somebody woke, or for nothing: look at the word again; -ETIMEDOUT; -EINVAL the
 *             word is not aligned; DMEM_E_FOREIGN it is in no attached pool; DMEM_E_DETACHED, DMEM_E_LOST,
 *             DMEM_E_FENCED.
 * Threads:    safe from any thread.
 * Blocks:     until another member wakes, or the time has passed.
 * Visibility: acquire: what was published before the store that changed the word is visible after a refresh.
 * On failure: nothing has changed.
 * Crash:      leaves nothing that holds anybody up.
 * Source:     futex(2); docs/design/0011-locks-and-waiting.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns);

/**
 * dmem_wake() - wake those who sleep on a word.
 * @word: the word, which was changed before.
 * @count: at most this many of this host, 1 or more; of other hosts any number may wake, and look again.
 *
 * Returns:    how many it is known to have woken: 0 or more; a negative code: -EINVAL, DMEM_E_FOREIGN,
 *             DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED.
 * Threads:    safe from any thread.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: none of its own; the atomic call that changed the word has it.
 * On failure: sleepers of other hosts may not have been woken.
 * Crash:      who died between the change and the wake-up leaves others asleep until their time has passed: use a
 *             lock where that matters.
 * Source:     futex(2); docs/design/0011-locks-and-waiting.md.
 */
DMEM_API int dmem_wake(uint32_t *word, int count);

#ifdef __cplusplus
}
#endif
#endif
