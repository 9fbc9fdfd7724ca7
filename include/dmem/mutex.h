/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutex.h: a lock between members, on whatever host, that survives its holders.
 *
 *	struct account { struct dmem_mutex lock; long balance[6]; };    in shared memory, aligned to 64 bytes
 *
 *	rc = dmem_mutex_lock(&account->lock);
 *	if (rc == DMEM_E_OWNER_DEAD) {                 held; its last holder died inside
 *		repair(account);
 *		rc = dmem_mutex_consistent(&account->lock);
 *	}
 *	if (rc == 0) {
 *		...
 *		dmem_mutex_unlock(&account->lock);
 *	}
 *
 * The holder is a thread of a member.  When its member dies or is fenced, the next to lock gets DMEM_E_OWNER_DEAD,
 * and has the
 * lock.  Each grant has a token, a number larger than those of all grants before it: what a holder writes elsewhere may
 * carry the token, and whoever sees a smaller one than it has seen before refuses it.
 *
 * In pools that are not coherent the mutex has to be aligned to 64 bytes; everywhere it is faster so.  Its two lines
 * hold nothing else.
 */
#ifndef DMEM_MUTEX_H
#define DMEM_MUTEX_H

#include <stddef.h>
#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many grants go to others at most while a thread sleeps for the lock, when it is among the eight that came
 * first: when it
 * was overtaken so often, the lock is handed to it alone.  Those before it have their turn first. */
#define DMEM_MUTEX_OVERTAKES_MAX 16384

/* To be made by dmem_mutex_init(), and touched by these calls only. */
struct dmem_mutex {
	uint64_t opaque[16];
};

/**
 * dmem_mutex_init() - make a free mutex of memory that holds anything.
 * @mutex: in an attached pool; aligned to 8 bytes, in pools that are not coherent to 64.
 *
 * Returns:    0; -EINVAL not aligned, or NULL; DMEM_E_FOREIGN in no attached pool; DMEM_E_DETACHED, DMEM_E_LOST,
 *             DMEM_E_FENCED.
 * Threads:    while nobody else uses the mutex.
 * Blocks:     never.
 * Visibility: others see the mutex when they are told its address (memory model, clauses A6 and M9).
 * On failure: the memory may be changed.
 * Crash:      as its last release left it, or in part: make it again.
 * Source:     none.
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_init(struct dmem_mutex *mutex);

/**
 * dmem_mutex_guard() - name what a mutex protects, so that lock and unlock refresh and publish it.
 * @mutex: held by the caller, or not used by anybody yet.
 * @range: in the same pool; NULL with 0 bytes for none.
 * @bytes: of the range; the time of lock and unlock grows with it in pools that are not coherent, and not in others.
 *
 * Returns:    0; -EINVAL, DMEM_E_FOREIGN the range is not in the mutex's pool; DMEM_E_DETACHED, DMEM_E_LOST,
 *             DMEM_E_FENCED.
 * Threads:    as the mutex says.
 * Blocks:     never.
 * Visibility: from the next grant on (memory model, clause M12).
 * On failure: nothing is named.
 * Crash:      the old range, none, or the new one is named.
 * Source:     none.
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_guard(struct dmem_mutex *mutex, const void *range, size_t bytes);

/**
 * dmem_mutex_lock() - wait for a mutex and hold it.
 * @mutex: made by dmem_mutex_init().
 *
 * Returns:    0 held; DMEM_E_OWNER_DEAD held, and its last holder died or was fenced while it held it: what it
 *             protects may be
 *             half changed; not held: DMEM_E_NOT_RECOVERABLE somebody gave it up; -EDEADLK this thread holds it;
 *             -EINVAL, DMEM_E_FOREIGN, DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED.
 * Threads:    safe from any thread.  The thread holds it, and it alone unlocks.
 * Blocks:     until the holder unlocks or has lost its rights: spins for a moment, then sleeps.
 * Visibility: acquire; the guarded range is refreshed (memory model, clause M12).
 * On failure: not held, nothing has changed.
 * Crash:      a death before the grant leaves nothing; after it, the next to lock gets DMEM_E_OWNER_DEAD.
 * Source:     pthread_mutex_lock(3) with robust mutexes; docs/design/0011-locks-and-waiting.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_lock(struct dmem_mutex *mutex);

/**
 * dmem_mutex_trylock() - hold a mutex if that is possible at once.
 * @mutex: made by dmem_mutex_init().
 *
 * Returns:    as dmem_mutex_lock(), but -EBUSY, not held, when anybody holds it or it is handed to somebody.
 * Threads:    as dmem_mutex_lock().
 * Blocks:     never.
 * Visibility: as dmem_mutex_lock() when held.
 * On failure: not held, nothing has changed.
 * Crash:      as dmem_mutex_lock().
 * Source:     pthread_mutex_trylock(3).
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_trylock(struct dmem_mutex *mutex);

/**
 * dmem_mutex_timedlock() - wait for a mutex for some time.
 * @mutex: made by dmem_mutex_init().
 * @timeout_ns: nanoseconds from now; negative for ever.
 *
 * Returns:    as dmem_mutex_lock(), and -ETIMEDOUT, not held.
 * Threads:    as dmem_mutex_lock().
 * Blocks:     for the time at most, whatever the holder does.
 * Visibility: as dmem_mutex_lock() when held.
 * On failure: not held, nothing has changed.
 * Crash:      as dmem_mutex_lock().
 * Source:     pthread_mutex_timedlock(3), with a relative time.
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_timedlock(struct dmem_mutex *mutex, int64_t timeout_ns);

/**
 * dmem_mutex_unlock() - give a mutex back.
 * @mutex: held by this thread.
 *
 * Returns:    0; -EPERM this thread does not hold it; DMEM_E_FENCED this member was fenced, and the mutex may have
 *             gone to
 *             others: what was done under it was not all done in time; -EINVAL, DMEM_E_FOREIGN, DMEM_E_DETACHED,
 *                     DMEM_E_LOST.
 * Threads:    the thread that holds it.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: release; the guarded range is published before (memory model, clause M12).
 * On failure: the mutex is as before.
 * Crash:      free, or the next to lock gets DMEM_E_OWNER_DEAD.  Sleepers are woken in either case.  A mutex that was
 *             granted with
 *             DMEM_E_OWNER_DEAD and was not made consistent is given up: DMEM_E_NOT_RECOVERABLE for everybody, until
 *             dmem_mutex_init().
 * Source:     pthread_mutex_unlock(3).
 */
DMEM_API int dmem_mutex_unlock(struct dmem_mutex *mutex);

/**
 * dmem_mutex_consistent() - say that what a dead holder left was put right.
 * @mutex: held by this thread, which got DMEM_E_OWNER_DEAD.
 *
 * Returns:    0; -EPERM this thread does not hold it; -EINVAL it is consistent, or NULL; DMEM_E_FOREIGN, DMEM_E_DETACHED,
 *             DMEM_E_LOST, DMEM_E_FENCED.
 * Threads:    the thread that holds it.
 * Blocks:     as dmem_mutex_unlock().
 * Visibility: none.
 * On failure: nothing has changed.
 * Crash:      the next to lock gets DMEM_E_OWNER_DEAD either way.
 * Source:     pthread_mutex_consistent(3).
 */
DMEM_API DMEM_MUST_CHECK int dmem_mutex_consistent(struct dmem_mutex *mutex);

/**
 * dmem_mutex_token() - the fencing token of the caller's grant.
 * @mutex: held by this thread.
 *
 * Returns:    the token, 1 or more; larger than that of every earlier grant since dmem_mutex_init(); 0 when this
 *             member does
 *             not hold the mutex, or it can't be read.
 * Threads:    the thread that holds it.
 * Blocks:     as dmem_mutex_unlock().
 * Visibility: none.
 * On failure: 0.
 * Crash:      changes nothing.
 * Source:     docs/design/0001-one-sided-spike.md, point 6.
 */
DMEM_API uint64_t dmem_mutex_token(const struct dmem_mutex *mutex);

#ifdef __cplusplus
}
#endif
#endif
