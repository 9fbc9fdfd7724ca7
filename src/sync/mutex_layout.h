/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutex_layout.h: struct dmem_mutex as it lies in a pool: two lines of atomic words.  All numbers little-endian.
 *
 *   line 0:  | word | turns | holder | room | guard_off | guard_bytes | reserved 2 |
 *   line 1:  | waiter 0 | waiter 1 | ... | waiter 7 |
 *
 *   word     | owner 32 | suspect 1 | crowd 1 | waiters 1 | token 29 |      owner in the high bits
 *   waiter   | owner 32 | poked 1 | spare 2 | start 29 |                    0: nobody
 *
 * Everything is changed by CAS or atomic stores only.
 *
 *   word     Commit of everything: the lock belongs to the owner that stands in it.  Each grant makes the token the next
 *            one, and a free lock keeps it; so an owner that was away can't mistake a later grant for its own.
 *            Owner 0: free.  DM_MUTEX_RESERVED + n: free, for waiter n only.  DM_MUTEX_GIVEN_UP: nobody gets it any more.
 *            suspect: granted after its owner died, and not made consistent.  waiters: some waiter entry may be in use.
 *            crowd: somebody sleeps on `room`, because no entry was free.
 *   turns    Half turns of the token; its lowest bit is the token's highest.  When it is not, a holder died in
 *            between, and the next grant steps it: by CAS, so that it is stepped once.
 *   holder   | spare 3 | token 29 | thread 32 |: which thread of the owner, written by it after the grant of this token.
 *   room     Its low half is slept on by who finds all entries taken; steps when one becomes free.
 *   guard_*  Range of the window that is refreshed with each grant and published with each release; 0 bytes for none.
 *   waiter   A sleeping thread: its member, and the token when it came.  Its low half is slept on.  Taken from 0 and
 *                               cleared
 *            by the thread; cleared by anybody when its member has lost its rights; `poked` by who released the lock;
 *            `start`
 *            moved by anybody when it did not take what was reserved for it.
 */
#ifndef DM_SYNC_MUTEX_LAYOUT_H
#define DM_SYNC_MUTEX_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "dmem/mutex.h"

#define DM_MUTEX_WAITERS_MAX 8u

#define DM_MUTEX_TOKEN     ((UINT64_C(1) << 29) - 1)
#define DM_MUTEX_HALF_TURN (UINT64_C(1) << 28)
#define DM_MUTEX_WAITERS   (UINT64_C(1) << 29)
#define DM_MUTEX_CROWD     (UINT64_C(1) << 30)
#define DM_MUTEX_SUSPECT   (UINT64_C(1) << 31)
#define DM_MUTEX_POKED     (UINT64_C(1) << 31) /* of a waiter */

/* In the place of slot + 1, which is 4096 at most. */
#define DM_MUTEX_RESERVED UINT32_C(0x1ff0)
#define DM_MUTEX_GIVEN_UP UINT32_C(0x1fff)

struct dm_mutex_pm {
	uint64_t word;
	uint64_t turns;
	uint64_t holder;
	uint64_t room;
	uint64_t guard_off;
	uint64_t guard_bytes;
	uint64_t reserved[2];
	uint64_t waiters[DM_MUTEX_WAITERS_MAX];
};
static_assert(offsetof(struct dm_mutex_pm, waiters) == 64, "mutex");
static_assert(sizeof(struct dm_mutex_pm) == 128, "mutex");
static_assert(sizeof(struct dm_mutex_pm) == sizeof(struct dmem_mutex), "mutex");

#endif
